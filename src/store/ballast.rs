//! Room that is kept back for one case: when metadata is exhausted, a snapshot can no longer be made writable,
//! which its owner must do before deleting it, though deleting itself would still work. Files can always be
//! unlinked, so these are, and after them the pruner's first deletion gives more room than they took.
//!
//! It lies outside every client's tree, so no snapshot holds it back.

use std::fs::{self, DirBuilder, File};
use std::io::{self, Read};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::policy::room::Room;

/// On a store of this size or larger it has its full size; on smaller ones less in proportion.
const FULL_FROM: u64 = 16 << 30;
const DATA: u64 = 32 << 20;
const FILES: u64 = 2048;
/// Fewer would not be worth a leaf in each tree that a commit writes.
const FEWEST_FILES: u64 = 256;
const ATTRIBUTE: &str = "user.byteback.ballast";
/// One fits beside its inode into a quarter of a leaf of 16 KiB.
const ATTRIBUTE_BYTES: usize = 3800;
/// What such a file takes of the metadata, with its inode and names.
const FILE_METADATA: u64 = 4608;
/// Written last and removed first: where it lies, all of it is there.
const LAST: &str = "data";

/// The ballast of one store: `STORE/.byteback/ballast`.
#[derive(Debug)]
pub struct Ballast {
    directory: PathBuf,
}

impl Ballast {
    /// That of the store at this path, whether there is one or not.
    pub fn of(store: &Path) -> Self {
        Self { directory: store.join(".byteback/ballast") }
    }

    /// Whether all of it is there.
    pub fn is_there(&self) -> bool {
        self.directory.join(LAST).exists()
    }

    /// Makes what is missing of it, if there is so much room that it takes less than half. Says whether all of
    /// it is there then.
    ///
    /// # Errors
    /// When it cannot be written; what there was of it is then gone.
    pub fn make(&self, room: &Room) -> Result<bool> {
        let size = Size::fit_for(room);
        if self.is_there() || !size.is_welcome(room) {
            return Ok(self.is_there());
        }
        let made = self.write(&size);
        if made.is_err() {
            let _ = self.release();
        }
        made.with_context(|| format!("cannot make the ballast {}", self.directory.display()))?;
        Ok(true)
    }

    fn write(&self, size: &Size) -> io::Result<()> {
        DirBuilder::new().recursive(true).mode(0o700).create(&self.directory)?;
        for number in 0..size.files {
            let file = File::create(self.directory.join(number.to_string()))?;
            xattr::FileExt::set_xattr(&file, ATTRIBUTE, &[b'b'; ATTRIBUTE_BYTES])?;
        }
        let unfinished = self.directory.join("data.new");
        let mut data = File::create(&unfinished)?;
        // Other bytes would be compressed away.
        io::copy(&mut File::open("/dev/urandom")?.take(size.data), &mut data)?;
        data.sync_all()?;
        fs::rename(unfinished, self.directory.join(LAST))
    }

    /// Removes it; says whether there was anything to remove. The room is there after the next commit.
    ///
    /// # Errors
    /// When a file cannot be removed.
    pub fn release(&self) -> io::Result<bool> {
        let entries = match fs::read_dir(&self.directory) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
            Err(error) => return Err(error),
        };
        let mut paths = entries.map(|entry| Ok(entry?.path())).collect::<io::Result<Vec<_>>>()?;
        paths.sort_by_key(|path| !path.ends_with(LAST));
        paths.iter().try_for_each(fs::remove_file)?;
        fs::remove_dir(&self.directory)?;
        Ok(!paths.is_empty())
    }
}

#[derive(Debug, PartialEq, Eq)]
struct Size {
    data: u64,
    files: u64,
}

impl Size {
    fn fit_for(room: &Room) -> Self {
        let data = room.data_total.saturating_mul(room.data_copies);
        let metadata = room.meta_total.saturating_mul(room.meta_copies);
        let store = data.saturating_add(metadata).saturating_add(room.unallocated).min(FULL_FROM);
        let part = |whole: u64| whole * (store >> 20) / (FULL_FROM >> 20);
        Self { data: part(DATA), files: part(FILES).max(FEWEST_FILES) }
    }

    fn is_welcome(&self, room: &Room) -> bool {
        room.data_avail() > 2 * self.data && room.meta_avail() > 2 * self.files * FILE_METADATA
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GIB: u64 = 1 << 30;

    fn room(unallocated: u64) -> Room {
        Room { unallocated, data_copies: 1, meta_copies: 2, ..Room::default() }
    }

    #[test]
    fn a_small_store_has_a_small_one() {
        assert_eq!(Size::fit_for(&room(1 << 45)), Size { data: 32 << 20, files: 2048 });
        assert_eq!(Size::fit_for(&room(8 * GIB)), Size { data: 16 << 20, files: 1024 });
        assert_eq!(Size::fit_for(&room(GIB / 2)), Size { data: 1 << 20, files: FEWEST_FILES });
    }

    #[test]
    fn it_never_takes_the_last_room() {
        let scratch = tempfile::tempdir().unwrap();
        let ballast = Ballast::of(scratch.path());
        assert!(!ballast.make(&room(1 << 20)).unwrap());
        assert!(!ballast.is_there() && !ballast.release().unwrap());
    }

    #[test]
    fn it_is_there_when_its_last_file_is_and_goes_whole() {
        let scratch = tempfile::tempdir().unwrap();
        let ballast = Ballast::of(scratch.path());
        fs::create_dir_all(&ballast.directory).unwrap();
        fs::write(ballast.directory.join("17"), "").unwrap();
        assert!(!ballast.is_there(), "it was not finished");
        fs::write(ballast.directory.join(LAST), "x").unwrap();
        assert!(ballast.is_there());
        assert!(ballast.release().unwrap());
        assert!(!ballast.is_there() && !ballast.directory.exists());
    }
}
