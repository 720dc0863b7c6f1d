//! The way through two trees side by side, shared between two threads.
//!
//! A directory that somebody is idle for is handed over; all others are entered at once, so that as many are
//! open as the tree is deep and not as it is broad.

use std::collections::HashMap;
use std::ffi::CStr;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Instant;

use anyhow::{Context, Result, anyhow};
use jiff::Timestamp;
use nix::dir::Dir;
use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, OpenHow, ResolveFlag, openat2};
use nix::sys::stat::{FileStat, fstatat};
use xattr::FileExt;

use super::{COARSE_SECONDS, NewData, extents};

const WORKERS: usize = 2;
/// Directories that wait for a worker.
const MOST_WAITING: usize = 2 * WORKERS;
/// For 2048 levels and more.
const STACK: usize = 64 << 20;
/// What an inode with its names takes of the metadata, roughly.
const INODE: u64 = 512;
/// So many files with several names are remembered; of others each name counts for its part.
const MOST_LINKED: usize = 1 << 20;

const REGULAR: u32 = 0o100_000;
const DIRECTORY: u32 = 0o040_000;
const LINK: u32 = 0o120_000;

/// Which inodes are looked at: those that changed at this second and nanosecond or later.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Filter(i64, i64);

impl Filter {
    pub(super) const ALL: Self = Self(i64::MIN, 0);

    pub(super) fn since(time: Timestamp) -> Self {
        Self(time.as_second().saturating_sub(COARSE_SECONDS), time.subsec_nanosecond().into())
    }

    fn takes(self, found: &FileStat) -> bool {
        (found.st_ctime, found.st_ctime_nsec) >= (self.0, self.1)
    }
}

/// A directory and its namesake in the tree before.
pub(super) struct Pair {
    now: File,
    before: Option<File>,
}

impl Pair {
    pub(super) fn of(now: &OwnedFd, before: Option<&OwnedFd>) -> Result<Self> {
        let open = |directory| open_below(directory, c".", OFlag::O_DIRECTORY);
        let now = open(now).context("cannot open the tree")?;
        Ok(Self { now, before: before.map(open).transpose().context("cannot open the tree before")? })
    }

    /// The directory of this name; `None` when it may not be read, or is none any more.
    fn below(&self, name: &CStr) -> Option<Self> {
        let open = |directory: &File| open_below(directory, name, OFlag::O_DIRECTORY).ok();
        Some(Self { now: open(&self.now)?, before: self.before.as_ref().and_then(open) })
    }
}

/// One measurement.
pub(super) struct Walk {
    filter: Filter,
    deadline: Instant,
    linked: Mutex<HashMap<u64, Linked>>,
    queue: Mutex<Queue>,
    woken: Condvar,
}

#[derive(Default)]
struct Queue {
    waiting: Vec<Pair>,
    at_work: usize,
}

impl Walk {
    pub(super) fn new(filter: Filter, deadline: Instant) -> Self {
        Self { filter, deadline, linked: Mutex::default(), queue: Mutex::default(), woken: Condvar::new() }
    }

    pub(super) fn run(&self, root: Pair) -> Result<NewData> {
        hold(&self.queue).waiting.push(root);
        thread::scope(|scope| {
            let worker = || thread::Builder::new().stack_size(STACK).spawn_scoped(scope, || self.work());
            let workers: io::Result<Vec<_>> = (0..WORKERS).map(|_| worker()).collect();
            let mut sum = NewData::default();
            for worker in workers.context("cannot start a thread")? {
                sum += worker.join().map_err(|_| anyhow!("the measure broke down"))??;
            }
            let linked = hold(&self.linked).values().map(|linked| linked.bytes).sum();
            Ok(NewData { bytes: sum.bytes.saturating_add(linked), ..sum })
        })
    }

    /// Takes directories until there are none and nobody is left who could bring more.
    fn work(&self) -> Result<NewData> {
        let mut sum = NewData::default();
        let mut queue = hold(&self.queue);
        loop {
            if let Some(pair) = queue.waiting.pop() {
                queue.at_work += 1;
                drop(queue);
                let walked = self.enter(&pair, &mut sum);
                queue = hold(&self.queue);
                queue.at_work -= 1;
                self.woken.notify_all();
                walked?;
            } else if queue.at_work == 0 {
                return Ok(sum);
            } else {
                queue = self.woken.wait(queue).unwrap_or_else(PoisonError::into_inner);
            }
        }
    }

    /// Leaves the directory to another worker, if one may be idle.
    fn offer(&self, pair: Pair) -> Option<Pair> {
        let mut queue = hold(&self.queue);
        if queue.waiting.len() >= MOST_WAITING {
            return Some(pair);
        }
        queue.waiting.push(pair);
        self.woken.notify_one();
        None
    }

    fn enter(&self, pair: &Pair, sum: &mut NewData) -> Result<()> {
        let mut names = Dir::from_fd(open_below(&pair.now, c".", OFlag::O_DIRECTORY)?.into())?;
        for entry in names.iter() {
            let entry = entry.context("cannot read a directory in the store")?;
            let name = entry.file_name();
            if name != c"." && name != c".." {
                self.visit(pair, name, sum)?;
            }
        }
        Ok(())
    }

    fn visit(&self, pair: &Pair, name: &CStr, sum: &mut NewData) -> Result<()> {
        let found = match fstatat(&pair.now, name, AtFlags::AT_SYMLINK_NOFOLLOW) {
            Ok(found) => found,
            Err(Errno::ENOENT) => return Ok(()),
            Err(errno) => return Err(errno).context("cannot stat a file in the store"),
        };
        let is_directory = kind(&found) == DIRECTORY;
        sum.files += u64::from(!is_directory);
        if self.filter.takes(&found) {
            *sum += self.look_at(pair, name, &found);
        }
        if is_directory
            && let Some(below) = pair.below(name)
            && let Some(below) = self.offer(below)
        {
            self.enter(&below, sum)?;
        }
        Ok(())
    }

    /// An inode that may have changed. It has not when the tree before has it with the same time: a snapshot
    /// keeps both, and a client can set neither.
    fn look_at(&self, pair: &Pair, name: &CStr, found: &FileStat) -> NewData {
        let then =
            pair.before.as_ref().and_then(|before| fstatat(before, name, AtFlags::AT_SYMLINK_NOFOLLOW).ok());
        if then.is_some_and(|then| is_unchanged(&then, found)) {
            return NewData::default();
        }
        let changed = u64::from(kind(found) != DIRECTORY);
        let added = if then.is_none() { changed } else { 0 };
        NewData { bytes: self.weigh(pair, name, found, then.as_ref()), files: 0, changed, added }
    }

    fn weigh(&self, pair: &Pair, name: &CStr, found: &FileStat, then: Option<&FileStat>) -> u64 {
        if found.st_nlink > 1 && kind(found) != DIRECTORY {
            let is_same = then.is_some_and(|then| then.st_ino == found.st_ino);
            return self.weigh_linked(pair, name, found, is_same);
        }
        self.weigh_inode(pair, name, found)
    }

    fn weigh_inode(&self, pair: &Pair, name: &CStr, found: &FileStat) -> u64 {
        let data = match kind(found) {
            REGULAR => self.weigh_file(pair, name, found).unwrap_or_else(|_| on_disk(found)),
            DIRECTORY => open_below(&pair.now, name, OFlag::O_DIRECTORY).map_or(0, |file| attributes(&file)),
            LINK => u64::try_from(found.st_size).unwrap_or(0),
            _ => 0,
        };
        data.saturating_add(INODE)
    }

    /// A file with several names counts once, and by the name that it had before: beside a name that is new
    /// all of it would seem new. What it weighs is added at the end.
    fn weigh_linked(&self, pair: &Pair, name: &CStr, found: &FileStat, is_same: bool) -> u64 {
        let (known, is_full) = {
            let linked = hold(&self.linked);
            (linked.get(&found.st_ino).copied(), linked.len() >= MOST_LINKED)
        };
        match known {
            Some(known) if known.is_same || !is_same => return 0,
            None if is_full => return on_disk(found) / names(found) + INODE,
            Some(_) | None => {}
        }
        let weight = Linked { bytes: self.weigh_inode(pair, name, found), is_same };
        let mut linked = hold(&self.linked);
        let kept = linked.entry(found.st_ino).or_insert(weight);
        if is_same {
            *kept = weight;
        }
        0
    }

    /// The new extents and the attributes of a file; an error when it cannot be opened or time is over.
    fn weigh_file(&self, pair: &Pair, name: &CStr, found: &FileStat) -> io::Result<u64> {
        // A name may have become a pipe's meanwhile, which must not be waited for.
        let open = |directory: &File| open_below(directory, name, OFlag::O_NONBLOCK);
        let file = open(&pair.now)?;
        let before = pair.before.as_ref().and_then(|before| open(before).ok());
        let size = u64::try_from(found.st_size).unwrap_or(0);
        let data = extents::new_bytes(&file, size, before.as_ref(), self.deadline)?;
        Ok(data.saturating_add(attributes(&file)))
    }
}

/// What a file with several names weighs, and whether that was found by a name that it had before.
#[derive(Debug, Clone, Copy)]
struct Linked {
    bytes: u64,
    is_same: bool,
}

fn is_unchanged(then: &FileStat, now: &FileStat) -> bool {
    let state = |found: &FileStat| (found.st_ino, found.st_ctime, found.st_ctime_nsec);
    state(then) == state(now)
}

fn on_disk(found: &FileStat) -> u64 {
    u64::try_from(found.st_blocks).unwrap_or(0).saturating_mul(512)
}

#[allow(clippy::useless_conversion, reason = "the kernel's number of links is narrower elsewhere")]
fn names(found: &FileStat) -> u64 {
    u64::from(found.st_nlink).max(1)
}

fn kind(found: &FileStat) -> u32 {
    found.st_mode & 0o170_000
}

/// Bytes of the names and values of all extended attributes.
fn attributes(file: &File) -> u64 {
    let Ok(names) = file.list_xattr() else { return 0 };
    let length = |value: io::Result<Option<Vec<u8>>>| value.ok().flatten().map_or(0, |value| value.len());
    names.map(|name| (name.len() + length(file.get_xattr(&name))) as u64).sum()
}

/// Opens for reading what lies one step below, never through a link and never in another file system.
fn open_below(directory: impl AsFd, name: &CStr, more: OFlag) -> io::Result<File> {
    let how = OpenHow::new().flags(OFlag::O_RDONLY | OFlag::O_CLOEXEC | more).resolve(
        ResolveFlag::RESOLVE_BENEATH | ResolveFlag::RESOLVE_NO_SYMLINKS | ResolveFlag::RESOLVE_NO_XDEV,
    );
    Ok(File::from(openat2(directory, name, how)?))
}

fn hold<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
