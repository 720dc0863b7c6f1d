//! A private directory for what goes on to somewhere else: a pipe, a tar stream. It takes as much room
//! as what passes through it, is removed however this process ends in order, and what a killed one left
//! behind goes with the next.

use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use nix::sys::statvfs::statvfs;
use nix::unistd::Uid;
use tempfile::TempDir;

use crate::model::{Failure, escaped};
use crate::system::environment;
use crate::system::lock::{self, Lock, Locking};

const PREFIX: &str = "byteback-restore.";
const DEFAULT: &str = "/var/tmp";

/// The directory; dropping it removes it.
pub(super) struct Staging {
    directory: TempDir,
    /// Says that somebody is at work in it.
    _lock: Lock,
}

impl Staging {
    /// Makes it below `TMPDIR` or /var/tmp.
    pub(super) fn new() -> Result<Self> {
        let parent = environment::variable("TMPDIR").map_or_else(|| PathBuf::from(DEFAULT), PathBuf::from);
        let shown = escaped(parent.as_os_str().as_encoded_bytes());
        sweep(&parent);
        let mut builder = tempfile::Builder::new();
        builder.prefix(PREFIX).permissions(Permissions::from_mode(0o700));
        // Another restore may sweep it away before it is locked.
        for _ in 0..10 {
            let directory = builder.tempdir_in(&parent).with_context(|| {
                format!("cannot make a private directory in {shown}; set TMPDIR to another")
            })?;
            match lock::try_directory(directory.path()) {
                Ok(Locking::Held(lock)) if directory.path().exists() => {
                    return Ok(Self { directory, _lock: lock });
                }
                _ => {}
            }
        }
        bail!(Failure::busy(format!("other restores are at work in {shown}; try again")))
    }

    /// Where it is.
    pub(super) fn path(&self) -> &Path {
        self.directory.path()
    }

    /// Refuses what would not fit: `bytes`, as the server tells, with a twentieth for what holds them.
    pub(super) fn check_room(&self, bytes: u64) -> Result<()> {
        let space = statvfs(self.path()).context("cannot ask for the free space")?;
        let free = space.blocks_available() * space.fragment_size();
        if bytes.saturating_add(bytes / 20) <= free {
            return Ok(());
        }
        let parent = self.path().parent().unwrap_or(Path::new("/"));
        bail!(Failure::failed(format!(
            "{bytes} bytes pass through {}, where {free} are free; set TMPDIR to a directory with more room, or use --to",
            escaped(parent.as_os_str().as_encoded_bytes())
        )))
    }
}

/// Removes what this user's killed restores left: theirs are the names, nobody holds the lock.
fn sweep(parent: &Path) {
    let Ok(entries) = fs::read_dir(parent) else { return };
    for entry in entries.flatten() {
        let path = entry.path();
        let is_ours = entry.file_name().as_encoded_bytes().starts_with(PREFIX.as_bytes())
            && fs::symlink_metadata(&path)
                .is_ok_and(|found| found.is_dir() && found.uid() == Uid::effective().as_raw());
        if is_ours && let Ok(Locking::Held(_alone)) = lock::try_directory(&path) {
            // What cannot be removed now is tried again by the next one.
            let _ = fs::remove_dir_all(&path);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_killed_restore_left_is_swept_and_what_is_in_use_is_not() {
        let parent = tempfile::tempdir().unwrap();
        let path = |name: &str| parent.path().join(name);
        for name in ["byteback-restore.left", "byteback-restore.used", "other"] {
            fs::create_dir(path(name)).unwrap();
            fs::write(path(name).join("f"), "x").unwrap();
        }
        let Locking::Held(lock) = lock::try_directory(&path("byteback-restore.used")).unwrap() else {
            panic!("nobody else knows this directory")
        };
        std::os::unix::fs::symlink(path("other"), path("byteback-restore.link")).unwrap();
        sweep(parent.path());
        assert!(!path("byteback-restore.left").exists());
        assert!(path("byteback-restore.used/f").exists() && path("other/f").exists());
        drop(lock);
    }

    #[test]
    fn more_than_fits_is_refused_before_it_is_fetched() {
        let staging = Staging::new().unwrap();
        staging.check_room(1).unwrap();
        assert!(staging.check_room(u64::MAX).unwrap_err().to_string().contains("TMPDIR"));
        let path = staging.path().to_owned();
        drop(staging);
        assert!(!path.exists());
    }
}
