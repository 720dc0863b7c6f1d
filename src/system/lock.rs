//! Kernel locks (flock(2)): they end with the process that holds them, however it ends.

use std::fs::{File, Permissions};
use std::io::{self, Read};
use std::os::fd::AsFd;
use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt};
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg, OFlag, OpenHow, open, openat2};
use nix::sys::stat::Mode;

/// A lock that is held until this value is dropped and every child that inherited it has ended.
#[derive(Debug)]
pub struct Lock(Flock<File>);

/// What became of the wish to lock.
#[derive(Debug)]
pub enum Locking {
    /// It is ours.
    Held(Lock),
    /// Somebody else has it; the process, where the kernel tells.
    TakenBy(Option<i32>),
}

/// With whom a lock is held.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sharing {
    /// With everybody who shares it too.
    Shared,
    /// With nobody.
    Alone,
}

impl Lock {
    /// The open file behind the lock, for a child that shall hold it too.
    pub fn file(&self) -> &File {
        &self.0
    }
}

/// Takes the lock on `path` (made, mode 0600, if it is not there) without waiting.
///
/// # Errors
/// When the file cannot be opened or the kernel refuses for another reason than "taken".
pub fn try_exclusive(path: &Path) -> Result<Locking> {
    wait_exclusive(path, Duration::ZERO)
}

/// The same for a directory that is there already: nothing is written.
///
/// # Errors
/// As for [`try_exclusive`].
pub fn try_directory(path: &Path) -> Result<Locking> {
    let file = File::open(path).with_context(|| format!("cannot open {}", path.display()))?;
    lock_open_file(file, path, Duration::ZERO)
}

/// Locks an open directory, together with others (`Shared`) or alone. Through a handle of its own, so that
/// it lasts exactly as long as the value given back; `None` when somebody else has it.
///
/// # Errors
/// As for [`try_exclusive`].
pub fn try_open_directory(directory: impl AsFd, sharing: Sharing) -> io::Result<Option<Lock>> {
    let how = OpenHow::new().flags(OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC);
    let again = openat2(directory, ".", how)?;
    let wish = match sharing {
        Sharing::Shared => FlockArg::LockSharedNonblock,
        Sharing::Alone => FlockArg::LockExclusiveNonblock,
    };
    match Flock::lock(File::from(again), wish) {
        Ok(lock) => Ok(Some(Lock(lock))),
        Err((_, Errno::EWOULDBLOCK)) => Ok(None),
        Err((_, errno)) => Err(errno.into()),
    }
}

/// Tries again until the lock is free or `patience` is over.
///
/// # Errors
/// As for [`try_exclusive`].
pub fn wait_exclusive(path: &Path, patience: Duration) -> Result<Locking> {
    // Open for reading alone: a program that inherits the lock cannot write anything through it. It can take
    // its mode away (fchmod(2)), which is given back here.
    let flags = OFlag::O_RDONLY | OFlag::O_CREAT | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    let mode = Mode::from_bits_truncate(0o600);
    let mut opened = open(path, flags, mode);
    if matches!(opened, Err(Errno::EACCES))
        && std::fs::set_permissions(path, Permissions::from_mode(0o600)).is_ok()
    {
        opened = open(path, flags, mode);
    }
    let file = opened.with_context(|| format!("cannot open the lock {}", path.display()))?;
    lock_open_file(file.into(), path, patience)
}

/// Reads a small file and writes what `change` makes of it, in place, with no other process in between: whoever
/// else updates it waits. The file is made, mode 0600, if it is not there. At most `most` bytes are read. `change`
/// must be quick.
///
/// # Errors
/// When the file cannot be opened, locked, read or written.
pub fn update<T>(path: &Path, most: u64, change: impl FnOnce(&[u8]) -> (Vec<u8>, T)) -> Result<T> {
    let flags = OFlag::O_RDWR | OFlag::O_CREAT | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    let file = open(path, flags, Mode::from_bits_truncate(0o600))
        .with_context(|| format!("cannot open {}", path.display()))?;
    let file = lock_and_wait(file.into()).with_context(|| format!("cannot lock {}", path.display()))?;
    let mut text = Vec::new();
    let written = (&*file).take(most).read_to_end(&mut text).and_then(|_| {
        let (new, outcome) = change(&text);
        file.write_all_at(&new, 0)?;
        let length = new.len() as u64;
        if file.metadata()?.len() != length {
            file.set_len(length)?;
        }
        Ok(outcome)
    });
    written.with_context(|| format!("cannot update {}", path.display()))
}

fn lock_and_wait(mut file: File) -> Result<Flock<File>, Errno> {
    loop {
        file = match Flock::lock(file, FlockArg::LockExclusive) {
            Ok(lock) => return Ok(lock),
            Err((file, Errno::EINTR)) => file,
            Err((_, errno)) => return Err(errno),
        };
    }
}

/// The pauses grow, and who holds the lock is asked for only once: /proc/locks is dear to the kernel.
fn lock_open_file(mut file: File, path: &Path, patience: Duration) -> Result<Locking> {
    let inode = file.metadata().with_context(|| format!("cannot stat {}", path.display()))?.ino();
    let deadline = Instant::now() + patience;
    let mut pause = Duration::from_millis(10);
    loop {
        file = match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
            Ok(lock) => return Ok(Locking::Held(Lock(lock))),
            Err((file, Errno::EWOULDBLOCK)) => file,
            Err((_, errno)) => return Err(errno).with_context(|| format!("cannot lock {}", path.display())),
        };
        if Instant::now() >= deadline {
            return Ok(Locking::TakenBy(holder(inode)));
        }
        thread::sleep(pause);
        pause = (pause * 2).min(Duration::from_millis(500));
    }
}

/// The process that holds a lock on this file; `None` when nobody does or the kernel does not tell.
pub fn holder_of(path: &Path) -> Option<i32> {
    holder(std::fs::symlink_metadata(path).ok()?.ino())
}

/// The process that holds a flock on this inode, from /proc/locks (proc(5)). The device is not
/// compared: btrfs shows another number there than stat(2) does.
fn holder(inode: u64) -> Option<i32> {
    let locks = std::fs::read_to_string("/proc/locks").ok()?;
    locks.lines().find_map(|line| {
        let mut words = line.split_ascii_whitespace();
        let is_flock = words.by_ref().nth(1) == Some("FLOCK");
        let pid: i32 = words.nth(2)?.parse().ok()?;
        let file = words.next()?;
        (is_flock && pid > 0 && file.rsplit(':').next()?.parse() == Ok(inode)).then_some(pid)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_taker_is_told_who_holds_it() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("lock");
        let Locking::Held(first) = try_exclusive(&path).unwrap() else { panic!("a free lock was refused") };
        let Locking::TakenBy(pid) = try_exclusive(&path).unwrap() else { panic!("taken twice") };
        assert_eq!(pid, i32::try_from(std::process::id()).ok());
        drop(first);
        assert!(matches!(try_exclusive(&path).unwrap(), Locking::Held(_)));
    }
    #[test]
    fn a_directory_is_shared_by_readers_or_held_by_one() {
        let scratch = tempfile::tempdir().unwrap();
        let directory = File::open(scratch.path()).unwrap();
        let take = |sharing| try_open_directory(&directory, sharing).unwrap();
        let readers = (take(Sharing::Shared), take(Sharing::Shared));
        assert!(readers.0.is_some() && readers.1.is_some());
        assert!(take(Sharing::Alone).is_none());
        drop(readers);
        let alone = take(Sharing::Alone);
        assert!(alone.is_some() && take(Sharing::Shared).is_none());
    }
}
