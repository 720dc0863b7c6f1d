//! Random trees and random changes to them, the same for the same seed.

use std::fs::{self, File, OpenOptions, Permissions};
use std::io::Write;
use std::os::unix::fs::{MetadataExt, PermissionsExt, lchown, symlink};
use std::path::{Path, PathBuf};

use nix::fcntl::{FallocateFlags, fallocate};
use nix::sys::stat::{Mode, utimensat};
use nix::sys::time::TimeSpec;

use super::map_and_write;
use crate::torture::noise;

/// xorshift64*.
pub struct Chance(u64);

impl Chance {
    pub fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    pub fn number(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 8
    }

    pub fn below(&mut self, end: u64) -> u64 {
        self.number() % end
    }

    pub fn pick<T: Clone>(&mut self, from: &[T]) -> Option<T> {
        let at = usize::try_from(self.below(from.len().max(1) as u64)).unwrap();
        from.get(at).cloned()
    }
}

/// One tree.
pub struct Tree<'a> {
    pub root: &'a Path,
    pub chance: Chance,
    names: u64,
}

fn walk(root: &Path, keep: &mut impl FnMut(&Path, &fs::Metadata)) {
    for entry in fs::read_dir(root).unwrap() {
        let path = entry.unwrap().path();
        let metadata = path.symlink_metadata().unwrap();
        keep(&path, &metadata);
        if metadata.is_dir() {
            walk(&path, keep);
        }
    }
}

fn times_of(path: &Path) -> (TimeSpec, TimeSpec) {
    let found = path.symlink_metadata().unwrap();
    (TimeSpec::new(found.atime(), found.atime_nsec()), TimeSpec::new(found.mtime(), found.mtime_nsec()))
}

fn set_times(path: &Path, (atime, mtime): (TimeSpec, TimeSpec)) {
    let flag = nix::sys::stat::UtimensatFlags::NoFollowSymlink;
    utimensat(nix::fcntl::AT_FDCWD, path, &atime, &mtime, flag).unwrap();
}

impl<'a> Tree<'a> {
    pub fn new(root: &'a Path, seed: u64) -> Self {
        let mut tree = Self { root, chance: Chance::new(seed), names: 0 };
        for _ in 0..60 {
            tree.change_by(tree_growth());
        }
        tree
    }

    fn paths(&self, wanted: impl Fn(&fs::Metadata) -> bool) -> Vec<PathBuf> {
        let mut found = Vec::new();
        walk(self.root, &mut |path, metadata| found.extend(wanted(metadata).then(|| path.to_owned())));
        found.sort();
        found
    }

    fn file(&mut self) -> Option<PathBuf> {
        let files = self.paths(fs::Metadata::is_file);
        self.chance.pick(&files)
    }

    fn directory(&mut self) -> PathBuf {
        let mut all = self.paths(fs::Metadata::is_dir);
        all.push(self.root.to_owned());
        self.chance.pick(&all).unwrap()
    }

    fn new_name(&mut self) -> PathBuf {
        self.names += 1;
        let directory = self.directory();
        let odd = ["", "#", " x", "\n", "é", "*", "-"];
        let odd = self.chance.pick(&odd).unwrap();
        directory.join(format!("{odd}{}", self.names))
    }

    fn content(&mut self) -> Vec<u8> {
        let length = [0, 1, 500, 5_000, 60_000][usize::try_from(self.chance.below(5)).unwrap()];
        noise(self.chance.number(), length)
    }

    /// One random change; says which.
    pub fn change(&mut self) -> String {
        let kind = self.chance.below(26);
        self.change_by(kind)
    }

    fn change_by(&mut self, kind: u64) -> String {
        let what = self.try_change(kind);
        what.unwrap_or_else(|| format!("{kind}: nothing to change"))
    }

    #[allow(clippy::too_many_lines, reason = "one arm for each kind of change")]
    fn try_change(&mut self, kind: u64) -> Option<String> {
        let told = |what: &str, path: &Path| Some(format!("{what} {}", path.display()));
        match kind {
            0..=2 => {
                let (path, content) = (self.new_name(), self.content());
                fs::write(&path, content).unwrap();
                told("create", &path)
            }
            3 => {
                let path = self.new_name();
                fs::create_dir(&path).unwrap();
                told("mkdir", &path)
            }
            4 => {
                let (path, content) = (self.file()?, self.content());
                fs::write(&path, content).unwrap();
                told("write", &path)
            }
            5 => {
                let path = self.file()?;
                OpenOptions::new().append(true).open(&path).unwrap().write_all(b"more").unwrap();
                told("append", &path)
            }
            6 => {
                let path = self.file()?;
                let length = path.metadata().unwrap().len() / 2;
                OpenOptions::new().write(true).open(&path).unwrap().set_len(length).unwrap();
                told("truncate", &path)
            }
            7 => {
                let (from, to) = (self.file()?, self.new_name());
                fs::rename(&from, &to).unwrap();
                told("rename", &from)
            }
            8 => {
                let directories = self.paths(fs::Metadata::is_dir);
                let (from, to) = (self.chance.pick(&directories)?, self.new_name());
                if to.starts_with(&from) {
                    return None;
                }
                fs::rename(&from, &to).unwrap();
                told("move directory", &from)
            }
            9 | 10 => {
                let (from, to) = (self.file()?, self.new_name());
                fs::hard_link(&from, &to).unwrap();
                told("link", &from)
            }
            11 | 12 => {
                let path = self.paths(|found| !found.is_dir());
                let path = self.chance.pick(&path)?;
                fs::remove_file(&path).unwrap();
                told("unlink", &path)
            }
            13 => {
                let any = self.paths(|found| !found.is_symlink());
                let path = self.chance.pick(&any)?;
                let bits = self.chance.pick(&[0o700, 0o755, 0o711, 0o4755])?;
                fs::set_permissions(&path, Permissions::from_mode(bits)).unwrap();
                told("chmod", &path)
            }
            14 => {
                let any = self.paths(|_| true);
                let path = self.chance.pick(&any)?;
                let owner = u32::try_from(self.chance.below(5)).unwrap();
                lchown(&path, Some(owner), Some(owner)).unwrap();
                told("chown", &path)
            }
            15 => {
                let any = self.paths(|found| found.is_file() || found.is_dir());
                let path = self.chance.pick(&any)?;
                if xattr::remove(&path, "user.x").is_err() {
                    xattr::set(&path, "user.x", self.content().get(..200).unwrap_or(b"y")).unwrap();
                }
                told("xattr", &path)
            }
            16 => {
                let path = self.file()?;
                let content = self.content();
                fs::remove_file(&path).unwrap();
                fs::create_dir(&path).unwrap();
                fs::write(path.join("inside"), content).unwrap();
                told("file becomes directory", &path)
            }
            17 => {
                let directories = self.paths(fs::Metadata::is_dir);
                let (path, content) = (self.chance.pick(&directories)?, self.content());
                fs::remove_dir_all(&path).unwrap();
                fs::write(&path, content).unwrap();
                told("directory becomes file", &path)
            }
            18 => {
                // Other content, same size, same modification time.
                let path = self.file()?;
                let (times, length) = (times_of(&path), path.metadata().unwrap().len());
                fs::write(&path, noise(self.chance.number(), usize::try_from(length).unwrap())).unwrap();
                set_times(&path, times);
                told("write and set the time back", &path)
            }
            19 => {
                let path = self.file()?;
                let file = OpenOptions::new().write(true).open(&path).unwrap();
                let half = i64::try_from(path.metadata().unwrap().len() / 2).unwrap();
                let flags = FallocateFlags::FALLOC_FL_PUNCH_HOLE | FallocateFlags::FALLOC_FL_KEEP_SIZE;
                (half > 0).then(|| fallocate(&file, flags, half / 2, half).unwrap())?;
                told("punch a hole", &path)
            }
            20 => {
                let path = self.file()?;
                (path.metadata().unwrap().len() > 0).then(|| map_and_write(&path, self.chance.number()))?;
                told("mmap", &path)
            }
            21 => {
                let (one, other, between) = (self.file()?, self.file()?, self.new_name());
                fs::rename(&one, &between).unwrap();
                if other != one {
                    fs::rename(&other, &one).unwrap();
                    fs::rename(&between, &other).unwrap();
                }
                told("swap", &one)
            }
            22 => {
                let path = self.new_name();
                symlink(format!("to-{}", self.names), &path).unwrap();
                told("symlink", &path)
            }
            23 => {
                // As an editor or dpkg does it: a new inode with the old size and times, one name of several.
                let path = self.file()?;
                let (times, new) = (times_of(&path), self.new_name());
                let length = usize::try_from(path.metadata().unwrap().len()).unwrap();
                fs::write(&new, noise(self.chance.number(), length)).unwrap();
                set_times(&new, times);
                fs::rename(&new, &path).unwrap();
                told("replace", &path)
            }
            24 => {
                // A directory that looks as if nothing had been made in it.
                let directory = self.directory();
                let times = times_of(&directory);
                self.names += 1;
                File::create(directory.join(format!("hidden{}", self.names))).unwrap();
                set_times(&directory, times);
                told("create and set the directory's time back", &directory)
            }
            _ => {
                let path = self.new_name();
                nix::unistd::mkfifo(&path, Mode::from_bits_truncate(0o600)).unwrap();
                told("fifo", &path)
            }
        }
    }
}

/// While a tree is made: mostly files, some directories and links.
fn tree_growth() -> u64 {
    use std::sync::atomic::{AtomicU64, Ordering};
    static TURN: AtomicU64 = AtomicU64::new(0);
    [0, 3, 1, 9, 2, 22, 0, 3][usize::try_from(TURN.fetch_add(1, Ordering::Relaxed) % 8).unwrap()]
}
