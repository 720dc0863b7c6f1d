//! The walk over this machine's own file systems, in parallel, each directory compared with the index as
//! soon as it was read. Nothing is opened but directories, and no symbolic link is followed.
//!
//! Every file system is flushed before its first directory is looked at. Only then does the kernel give a
//! new change time to a file that a process goes on writing through a mapping it had before.

mod attributes;
mod devices;
mod seen;

use std::collections::BTreeMap;
use std::ffi::CString;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;

use nix::dir::{Dir, Type};
use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag};
use nix::sys::stat::{FileStat, Mode, fstat, fstatat, lstat};

use super::index::{Block, Index};
use crate::model::escaped;
use crate::policy::changes::{self, DIRECTORY, Moment, Named, REGULAR, Stamp};
use crate::policy::filters::{Filters, Verdict};
use devices::{Device, Devices};
pub(super) use seen::Seen;
use seen::{give_whole_groups, joined};

/// Waiting for a disk costs no processor, so there are more than there are processors.
const MOST_THREADS: usize = 16;

/// What a walk goes by.
pub(super) struct Walk<'a> {
    pub(super) sources: &'a [PathBuf],
    pub(super) filters: &'a Filters,
    pub(super) old: Option<&'a Index>,
    pub(super) start: Moment,
    /// Whether to stop: a signal came.
    pub(super) stop: &'a (dyn Fn() -> bool + Sync),
}

/// The directories that wait, and how many are being read.
#[derive(Default)]
struct Queue {
    waiting: Vec<Vec<u8>>,
    at_work: usize,
}

struct Shared<'a> {
    walk: &'a Walk<'a>,
    devices: Devices,
    queue: Mutex<Queue>,
    change: Condvar,
}

/// Poisoning means a panic in another thread, which ends the scope and the run by itself.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Walk<'_> {
    /// Walks. A walk that was stopped is not whole.
    pub(super) fn run(&self) -> Seen {
        let known = self.old.map(|old| old.header.devices.clone()).unwrap_or_default();
        let shared = Shared {
            walk: self,
            devices: Devices::new(known),
            queue: Mutex::default(),
            change: Condvar::new(),
        };
        let mut seen = Seen::default();
        // One after the other, so that what lies below two sources is read once.
        for source in self.sources {
            shared.begin(source, &mut seen);
        }
        shared.see_what_is_above(&mut seen);
        seen.blocks.sort_unstable_by(|one, other| one.path.cmp(&other.path));
        self.list_where_directories_are_gone(&mut seen);
        give_whole_groups(&mut seen);
        seen.devices = shared.devices.into_names();
        seen
    }

    /// A directory that went changes the one above it, whose new time says so already. Should that fail,
    /// this does not.
    fn list_where_directories_are_gone(&self, seen: &mut Seen) {
        let has = |path: &[u8]| seen.blocks.binary_search_by(|block| block.path[..].cmp(path)).is_ok();
        let gone = self.old.into_iter().flat_map(Index::paths).filter(|path| !has(path));
        let above: Vec<Vec<u8>> = gone.map(parent).filter(|path| has(path)).map(<[u8]>::to_vec).collect();
        seen.lists.listings.extend(above);
        seen.lists.listings.sort_unstable();
        seen.lists.listings.dedup();
    }
}

fn parent(path: &[u8]) -> &[u8] {
    path.iter().rposition(|byte| *byte == b'/').map_or(&[], |at| &path[..at])
}

/// The source as rsync names it there: without the leading slash.
fn relative(source: &Path) -> Vec<u8> {
    let bytes = source.as_os_str().as_encoded_bytes();
    bytes.strip_prefix(b"/").unwrap_or(bytes).to_vec()
}

pub(super) fn absolute(path: &[u8]) -> PathBuf {
    use std::os::unix::ffi::OsStringExt;
    PathBuf::from(std::ffi::OsString::from_vec([b"/", path].concat()))
}

fn kind(stat: &FileStat) -> u8 {
    u8::try_from((stat.st_mode >> 12) & 0o17).unwrap_or_default()
}

impl Shared<'_> {
    /// Walks a source that is a directory and was not met yet.
    fn begin(&self, source: &Path, seen: &mut Seen) {
        let path = relative(source);
        let is_directory = lstat(source).is_ok_and(|stat| kind(&stat) == DIRECTORY);
        let met = seen.blocks.iter().any(|block| block.path == path);
        if !is_directory || met || !self.takes(&path, true, seen) {
            return;
        }
        locked(&self.queue).waiting.push(path);
        let threads = thread::available_parallelism().map_or(2, |cores| 2 * cores.get()).min(MOST_THREADS);
        let found: Vec<Seen> = thread::scope(|scope| {
            let workers: Vec<_> = (0..threads).map(|_| scope.spawn(|| self.work())).collect();
            workers.into_iter().filter_map(|worker| worker.join().ok()).collect()
        });
        for mut part in found {
            seen.blocks.append(&mut part.blocks);
            seen.lists.append(part.lists);
            seen.linked.append(&mut part.linked);
            seen.entries += part.entries;
            seen.moved |= part.moved;
            seen.doubt = seen.doubt.take().or(part.doubt);
        }
        // What lies below two sources.
        seen.blocks.sort_unstable_by(|one, other| one.path.cmp(&other.path));
        seen.blocks.dedup_by(|one, other| one.path == other.path);
    }

    fn work(&self) -> Seen {
        let mut seen = Seen::default();
        while let Some(path) = self.next() {
            if !(self.walk.stop)() {
                let below = self.read(path, &mut seen);
                locked(&self.queue).waiting.extend(below);
            }
            locked(&self.queue).at_work -= 1;
            self.change.notify_all();
        }
        seen
    }

    fn next(&self) -> Option<Vec<u8>> {
        let mut queue = locked(&self.queue);
        loop {
            if let Some(path) = queue.waiting.pop() {
                queue.at_work += 1;
                return Some(path);
            }
            if queue.at_work == 0 {
                return None;
            }
            queue = self.change.wait(queue).unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn takes(&self, path: &[u8], is_directory: bool, seen: &mut Seen) -> bool {
        if path.is_empty() {
            return true;
        }
        let verdict = self.walk.filters.verdict(path, is_directory);
        if verdict == Verdict::Unclear {
            let why = || format!("a pattern that begins with ** may or may not match /{}", escaped(path));
            seen.doubt.get_or_insert_with(why);
        }
        verdict != Verdict::LeftOut
    }

    /// Reads one directory and compares it; gives those in it.
    fn read(&self, path: Vec<u8>, seen: &mut Seen) -> Vec<Vec<u8>> {
        let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        let mut directory = match Dir::open(&absolute(&path), flags, Mode::empty()) {
            Ok(directory) => directory,
            // It went meanwhile, which the one above it will tell.
            Err(Errno::ENOENT | Errno::ENOTDIR | Errno::ELOOP) => return Vec::new(),
            Err(_) => {
                seen.leave_to_rsync(path);
                return Vec::new();
            }
        };
        let Some((stamp, device, number)) = self.look_at(&directory) else {
            seen.leave_to_rsync(path);
            return Vec::new();
        };
        let (names, mut whole) = names_in(&mut directory);
        let (mut below, mut stats) = (Vec::new(), Vec::new());
        for (name, file_type) in names {
            let entry = joined(&path, name.to_bytes());
            let stat = || fstatat(&directory, name.as_c_str(), AtFlags::AT_SYMLINK_NOFOLLOW);
            let known = if file_type.is_none() { stat().ok() } else { None };
            let is_directory = file_type == Some(Type::Directory)
                || known.as_ref().is_some_and(|stat| kind(stat) == DIRECTORY);
            if !self.takes(&entry, is_directory, seen) {
                continue;
            }
            if is_directory {
                below.push(entry);
                continue;
            }
            match known.map_or_else(stat, Ok) {
                // A directory has taken its place; the one above it has changed then.
                Ok(stat) if kind(&stat) == DIRECTORY => below.push(entry),
                Ok(stat) => {
                    let device = self.device_of(&stat, device, number, &entry);
                    stats.push((name, self.stamp(&stat, device)));
                }
                Err(Errno::ENOENT) => {}
                Err(_) => whole = false,
            }
        }
        stats.sort_unstable_by(|one, other| one.0.cmp(&other.0));
        let files: Vec<Named<'_>> = stats.iter().map(|(name, stamp)| (name.to_bytes(), *stamp)).collect();
        let stamp = Stamp { certain: stamp.certain && whole, ..stamp };
        self.compare(&path, &stamp, &files, seen);
        seen.entries += 1 + files.len() as u64;
        seen.blocks.push(Block::new(path, &stamp, &files));
        below
    }

    fn look_at(&self, directory: &Dir) -> Option<(Stamp, Device, u64)> {
        let number = fstat(directory).ok()?.st_dev;
        let device = self.devices.of(number, directory.as_fd());
        // Only now, since what flushed the file system was done for this.
        let stat = fstat(directory).ok()?;
        Some((self.stamp(&stat, device), device, number))
    }

    /// A single file can be mounted, and an overlay's files lie on several file systems.
    fn device_of(&self, stat: &FileStat, directory: Device, number: u64, path: &[u8]) -> Device {
        match kind(stat) {
            _ if stat.st_dev == number => directory,
            DIRECTORY | REGULAR => self.devices.of_file(stat.st_dev, &absolute(path)),
            _ => Device { is_half_honest: false, ..directory },
        }
    }

    fn stamp(&self, stat: &FileStat, device: Device) -> Stamp {
        let moment = |seconds: i64, nanoseconds: i64| (seconds, u32::try_from(nanoseconds).unwrap_or(0));
        let ctime = moment(stat.st_ctime, stat.st_ctime_nsec);
        let kind = kind(stat);
        let is_believed = if kind == REGULAR { device.is_honest } else { device.is_half_honest };
        Stamp {
            kind,
            device: device.number,
            inode: stat.st_ino,
            ctime,
            mtime: moment(stat.st_mtime, stat.st_mtime_nsec),
            size: u64::try_from(stat.st_size).unwrap_or(0),
            linked: kind != DIRECTORY && stat.st_nlink > 1,
            certain: is_believed && changes::is_before(ctime, self.walk.start),
        }
    }

    fn compare(&self, path: &[u8], stamp: &Stamp, files: &[Named<'_>], seen: &mut Seen) {
        let old = self.walk.old.and_then(|old| old.directory(path));
        if old.as_ref().is_some_and(|(was, _)| was.certain && was.device != stamp.device) {
            seen.moved = true;
            seen.doubt.get_or_insert_with(|| format!("/{} lies on another file system", escaped(path)));
        }
        let old = old.as_ref().map(|(stamp, files)| (stamp, &files[..]));
        let changes = changes::compare(old, (stamp, files));
        if changes.listing {
            seen.lists.listings.push(path.to_vec());
        }
        seen.note_linked(path, files, &changes.files);
        seen.lists.take_files(path, &changes.files);
    }

    /// The directories on the way to a source, which rsync makes with their attributes, and the sources
    /// that are no directories.
    fn see_what_is_above(&self, seen: &mut Seen) {
        let mut above: BTreeMap<Vec<u8>, Vec<Vec<u8>>> = BTreeMap::new();
        for source in self.walk.sources {
            let path = relative(source);
            if path.is_empty() {
                continue;
            }
            let mut directory = parent(&path);
            let files = above.entry(directory.to_vec()).or_default();
            if !seen.blocks.iter().any(|block| block.path == path) && self.takes(&path, false, seen) {
                files.push(path.clone());
            }
            while !directory.is_empty() {
                directory = parent(directory);
                above.entry(directory.to_vec()).or_default();
            }
        }
        above.retain(|path, _| !seen.blocks.iter().any(|block| block.path == *path));
        for (path, files) in above {
            self.see_above(path, files, seen);
        }
    }

    /// Of a directory above a source only its attributes matter, whatever comes and goes in it.
    fn see_above(&self, path: Vec<u8>, mut files: Vec<Vec<u8>>, seen: &mut Seen) {
        files.sort_unstable();
        files.dedup();
        let of = |path: &[u8]| {
            let stat = lstat(&absolute(path)).ok()?;
            let none = Device { number: 0, is_honest: false, is_half_honest: false };
            let device = self.device_of(&stat, none, u64::MAX, path);
            Some((self.stamp(&stat, device), stat))
        };
        let Some((stamp, stat)) = of(&path) else { return };
        let attributes = attributes::fingerprint(&stat, &absolute(&path));
        let stamp = Stamp { inode: attributes, ctime: (0, 0), mtime: (0, 0), certain: true, ..stamp };
        if stamp.kind != DIRECTORY {
            let why = format!("a source lies behind the symbolic link /{}", escaped(&path));
            seen.doubt.get_or_insert(why);
        }
        let stem = if path.is_empty() { 0 } else { path.len() + 1 };
        let stamped = files.iter().filter_map(|file| Some((&file[stem..], of(file)?.0)));
        let stamped: Vec<Named<'_>> = stamped.collect();
        let old = self.walk.old.and_then(|old| old.directory(&path));
        let same_self = changes::is_same(old.as_ref().map(|(stamp, _)| stamp), &stamp);
        let changes = changes::compare(old.as_ref().map(|(s, f)| (s, &f[..])), (&stamp, &stamped));
        if !same_self && !path.is_empty() {
            seen.lists.attributes.push(path.clone());
        }
        seen.note_linked(&path, &stamped, &changes.files);
        seen.lists.take_files(&path, &changes.files);
        seen.entries += 1 + stamped.len() as u64;
        seen.blocks.push(Block::new(path, &stamp, &stamped));
    }
}

/// All names, and whether they could be read to the end.
fn names_in(directory: &mut Dir) -> (Vec<(CString, Option<Type>)>, bool) {
    let mut names = Vec::new();
    for entry in directory.iter() {
        let Ok(entry) = entry else { return (names, false) };
        if !matches!(entry.file_name().to_bytes(), b"." | b"..") {
            names.push((entry.file_name().to_owned(), entry.file_type()));
        }
    }
    (names, true)
}
