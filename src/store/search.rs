//! Finding files in a client's trees by pattern. Literal components are looked up, never scanned for;
//! links are never followed, wherever they came from.
//!
//! What rsync's fake-super stored is told as it was on the client (`user.rsync.%stat`).

use std::collections::HashSet;
use std::ffi::{CStr, CString, OsStr};
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use jiff::Timestamp;
use nix::dir::Dir;
use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, OpenHow, ResolveFlag, openat2};
use nix::sys::stat::{FileStat, fstat, fstatat};

use super::volume::OpenTree;
use crate::model::{Entry, Kind, Tree};
use crate::protocol::fake_super::{self, Stat};
use crate::protocol::find_query::{FindQuery, Walk};

/// What lies deeper than this many bytes of path is not searched: each level holds a directory open, and
/// no program could name a file there (PATH_MAX).
const LONGEST_PATH: usize = 4096;
/// A symbolic link's target is a file's content in a fake-super tree; more than PATH_MAX is none.
const LONGEST_TARGET: usize = 4096;

/// What is done with each match.
pub type Sink<'a> = dyn FnMut(Entry) -> Result<()> + 'a;

/// Calls `sink` for each match, tree by tree in the order given (newest first). Without `--all` only
/// the first version of each path is told, with it those that differ in time or size, with
/// `--verbose` every copy.
///
/// # Errors
/// What `sink` gives back, and directories that cannot be read.
pub fn run(query: &FindQuery, trees: &[(Tree, OpenTree)], sink: &mut Sink<'_>) -> Result<()> {
    let mut told = HashSet::new();
    for (tree, open) in trees {
        let mut search = Search {
            tree,
            found: &mut |entry: Entry| {
                let version = match (query.verbose, query.all) {
                    (true, _) => None,
                    (false, true) => Some((entry.path.clone(), Some((entry.mtime, entry.size)))),
                    (false, false) => Some((entry.path.clone(), None)),
                };
                if version.is_none_or(|version| told.insert(version)) { sink(entry) } else { Ok(()) }
            },
        };
        let walk = Walk::start(&query.patterns);
        if walk.is_match() {
            search.tell_root(&open.directory)?;
        }
        search.enter(&open.directory, &mut Vec::new(), &walk)?;
    }
    Ok(())
}

struct Search<'a> {
    tree: &'a Tree,
    found: &'a mut dyn FnMut(Entry) -> Result<()>,
}

impl Search<'_> {
    /// The tree itself, which the pattern `/` means.
    fn tell_root(&mut self, directory: &OwnedFd) -> Result<()> {
        let at_rest = fstat(directory).context("cannot stat a tree's root")?;
        let place = PathBuf::from(format!("/proc/self/fd/{}", directory.as_raw_fd()));
        (self.found)(entry(self.tree.clone(), Vec::new(), &at_rest, recorded_stat(&place), &place))
    }

    /// What can still match below `directory`, which lies at `path`: looked up where only certain names
    /// can, scanned for otherwise.
    fn enter(&mut self, directory: &OwnedFd, path: &mut Vec<u8>, walk: &Walk<'_>) -> Result<()> {
        if let Some(names) = walk.only_names() {
            return names.into_iter().try_for_each(|name| self.visit(directory, path, name, walk));
        }
        names(directory)?.iter().try_for_each(|name| self.visit(directory, path, name.to_bytes(), walk))
    }

    fn visit(&mut self, directory: &OwnedFd, path: &mut Vec<u8>, name: &[u8], walk: &Walk<'_>) -> Result<()> {
        let walk = walk.enter(name);
        let length = path.len();
        push_name(path, name);
        if walk.is_match()
            && let Some(entry) = self.describe(directory, path, name)?
        {
            (self.found)(entry)?;
        }
        if !walk.is_over()
            && path.len() <= LONGEST_PATH
            && let Some(below) = open_below(directory, name)?
        {
            self.enter(&below, path, &walk)?;
        }
        path.truncate(length);
        Ok(())
    }

    fn describe(&self, directory: &OwnedFd, path: &[u8], name: &[u8]) -> Result<Option<Entry>> {
        let Ok(c_name) = CString::new(name) else { return Ok(None) };
        let at_rest = match fstatat(directory, c_name.as_c_str(), AtFlags::AT_SYMLINK_NOFOLLOW) {
            Ok(found) => found,
            Err(Errno::ENOENT | Errno::ENOTDIR | Errno::ENAMETOOLONG) => return Ok(None),
            Err(errno) => return Err(errno).context("cannot stat a file in the store"),
        };
        let place =
            PathBuf::from(format!("/proc/self/fd/{}", directory.as_raw_fd())).join(OsStr::from_bytes(name));
        let is_link = at_rest.st_mode & 0o170_000 == 0o120_000;
        let recorded = if is_link { None } else { recorded_stat(&place) };
        Ok(Some(entry(self.tree.clone(), path.to_vec(), &at_rest, recorded, &place)))
    }
}

fn entry(tree: Tree, path: Vec<u8>, at_rest: &FileStat, recorded: Option<Stat>, place: &Path) -> Entry {
    let (mode, uid, gid) = match recorded {
        Some(stat) => (stat.mode, stat.uid, stat.gid),
        None => (at_rest.st_mode, at_rest.st_uid, at_rest.st_gid),
    };
    let size = u64::try_from(at_rest.st_size).unwrap_or(0);
    let mtime = Timestamp::new(at_rest.st_mtime, i32::try_from(at_rest.st_mtime_nsec).unwrap_or(0))
        .unwrap_or(Timestamp::UNIX_EPOCH);
    let target = (Kind::from_mode(mode) == Some(Kind::Symlink)).then(|| target(at_rest, place)).flatten();
    Entry { tree, path, mode, uid, gid, size, mtime, target }
}

/// Where a link points: the content of the regular file that fake-super stored, or a real link's.
fn target(at_rest: &FileStat, place: &Path) -> Option<Vec<u8>> {
    if at_rest.st_mode & 0o170_000 == 0o120_000 {
        return Some(std::fs::read_link(place).ok()?.into_os_string().into_encoded_bytes());
    }
    if usize::try_from(at_rest.st_size).ok()? > LONGEST_TARGET {
        return None;
    }
    std::fs::read(place).ok()
}

fn recorded_stat(place: &Path) -> Option<Stat> {
    let value = xattr::get(place, fake_super::ATTRIBUTE).ok()??;
    fake_super::Stat::parse(&value).ok()
}

fn push_name(path: &mut Vec<u8>, name: &[u8]) {
    if !path.is_empty() {
        path.push(b'/');
    }
    path.extend_from_slice(name);
}

/// Opens a directory one step below; `None` for what is not there, no directory, or a link.
fn open_below(directory: &OwnedFd, name: &[u8]) -> Result<Option<OwnedFd>> {
    let how = OpenHow::new()
        .flags(OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC | OFlag::O_NOFOLLOW)
        .resolve(
            ResolveFlag::RESOLVE_BENEATH | ResolveFlag::RESOLVE_NO_SYMLINKS | ResolveFlag::RESOLVE_NO_XDEV,
        );
    match openat2(directory, OsStr::from_bytes(name), how) {
        Ok(below) => Ok(Some(below)),
        Err(
            Errno::ENOENT
            | Errno::ENOTDIR
            | Errno::ELOOP
            | Errno::EXDEV
            | Errno::EACCES
            | Errno::ENAMETOOLONG,
        ) => Ok(None),
        Err(errno) => Err(errno).context("cannot open a directory in the store"),
    }
}

/// The names in a directory, sorted, without `.` and `..`.
fn names(directory: &OwnedFd) -> Result<Vec<CString>> {
    let read = || -> io::Result<Vec<CString>> {
        let how = OpenHow::new().flags(OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC);
        let mut stream = Dir::from_fd(openat2(directory, ".", how)?)?;
        let mut names = Vec::new();
        for entry in stream.iter() {
            let entry = entry?;
            let name: &CStr = entry.file_name();
            if name.to_bytes() != b"." && name.to_bytes() != b".." {
                names.push(name.to_owned());
            }
        }
        Ok(names)
    };
    let mut names = read().context("cannot read a directory in the store")?;
    names.sort();
    Ok(names)
}
