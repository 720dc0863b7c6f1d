//! How much new data a run brought: the extents that the tree has and the tree before it had not, file by
//! file, and what the changed inodes themselves take. Told after a snapshot was taken, too, when the file
//! system calls everything in `current` shared.
//!
//! The tree is a hostile client's. Links are never followed, no file's content is read, memory is bounded by
//! the depth of the tree and not by its breadth, and the time spent on extents has an end. What this cannot
//! see (leaves of metadata that were copied for one small change) the change of used space tells.

mod extents;
mod walk;

use std::ops::AddAssign;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use jiff::Timestamp;
use nix::sys::resource::{Resource, getrlimit, setrlimit};

use super::volume::OpenTree;
use crate::system::{clock, ioctl};
use walk::{Filter, Pair, Walk};

/// The clock that stamps inodes is coarser than the one that stamps subvolumes (a tick, at most 10 ms).
const COARSE_SECONDS: i64 = 1;
/// The longest that extents are looked at; files that come later count as all new.
const PATIENCE: Duration = Duration::from_secs(300);

/// What a run brought.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct NewData {
    /// Bytes on the disk, counted once: data as long as it is uncompressed, and 512 bytes an inode.
    pub bytes: u64,
    /// How many names of anything but directories the tree has.
    pub files: u64,
    /// How many of these are another file, or another state of the same file, than in the tree before.
    pub changed: u64,
    /// How many of the changed ones have no namesake in the tree before.
    pub added: u64,
}

impl NewData {
    /// How many of the `files_before` of the tree before have gone.
    pub fn gone(&self, files_before: u64) -> u64 {
        files_before.saturating_add(self.added).saturating_sub(self.files)
    }
}

impl AddAssign for NewData {
    fn add_assign(&mut self, other: Self) {
        self.bytes = self.bytes.saturating_add(other.bytes);
        self.files += other.files;
        self.changed += other.changed;
        self.added += other.added;
    }
}

/// Measures `tree` against `before`, the snapshot before it; without one everything that is young enough is
/// new. Only inodes that changed at `since` or later are looked at, the time at which `before` was made or the
/// run began; were the clock set back meanwhile, all are. Nothing may be written to the tree meanwhile: the
/// caller holds the client's lock when it is `current`.
///
/// # Errors
/// When the tree cannot be read, or is on no btrfs.
pub fn measure(tree: &OpenTree, before: Option<&OpenTree>, since: Timestamp) -> Result<NewData> {
    measure_within(tree, before, since, PATIENCE)
}

fn measure_within(
    tree: &OpenTree,
    before: Option<&OpenTree>,
    since: Timestamp,
    patience: Duration,
) -> Result<NewData> {
    raise_open_files()?;
    if !tree.read_only {
        // What is not written yet has no extents; a snapshot was written when it was made.
        ioctl::sync(&tree.directory).context("cannot sync the store")?;
    }
    let filter = if made(tree)? < since { Filter::ALL } else { Filter::since(since) };
    let root = Pair::of(&tree.directory, before.map(|before| &before.directory))?;
    Walk::new(filter, Instant::now() + patience).run(root)
}

/// When the tree became what it is.
fn made(tree: &OpenTree) -> Result<Timestamp> {
    if !tree.read_only {
        return Ok(clock::now());
    }
    let (seconds, nanoseconds) = ioctl::subvolume(&tree.directory).context("the store is not on btrfs")?.made;
    Ok(time(seconds, nanoseconds))
}

/// The kernel's time of a subvolume.
pub(super) fn time(seconds: u64, nanoseconds: u32) -> Timestamp {
    let seconds = i64::try_from(seconds).unwrap_or(i64::MAX);
    Timestamp::new(seconds, i32::try_from(nanoseconds).unwrap_or(0)).unwrap_or(Timestamp::MAX)
}

/// Each level of a tree holds three directories open, and a path of 4096 bytes has 2048 levels.
fn raise_open_files() -> Result<()> {
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).context("cannot ask for a limit")?;
    setrlimit(Resource::RLIMIT_NOFILE, hard, hard).context("cannot raise a limit")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_gone_is_what_there_was_less_what_is_left_of_it() {
        let now = NewData { bytes: 0, files: 90, changed: 30, added: 20 };
        assert_eq!(now.gone(100), 30);
        assert_eq!(now.gone(0), 0, "nothing is known of the run before");
    }
}
