//! Room that is kept back for one case: when metadata is exhausted a snapshot can be neither renamed nor made
//! writable, which its owner must do before deleting it. Unlinking stops too, once it has eaten half of the
//! kernel's reserve. What always works is destroying a writable subvolume, so the ballast is one, and after it
//! the pruner's first deletion gives more room than it took.
//!
//! It holds metadata alone, since no step of a deletion needs data, and lies outside every client's tree, so no
//! snapshot holds it back.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use nix::errno::Errno;

use crate::policy::room::Room;
use crate::system::{files, ioctl};

/// Beside what refills the kernel's reserve. A rename of a subvolume is nine items, and the kernel wants three
/// times 256 KiB for each (fs/btrfs/inode.c, btrfs_rename; fs/btrfs/transaction.c): 6.75 MiB.
const STEP: u64 = 8 << 20;
const NAME: &str = "ballast";
const ATTRIBUTE: &str = "user.byteback.ballast";
/// Four to a leaf of 16 KiB, each with its inode and names.
const ATTRIBUTE_BYTES: usize = 3800;
const FILE_METADATA: u64 = 4608;
/// Written last, with the number of files: where it lies, all of it is there.
const LAST: &str = "whole";

/// The ballast of one store: `STORE/.byteback/ballast`.
#[derive(Debug)]
pub struct Ballast {
    state: PathBuf,
    directory: PathBuf,
}

impl Ballast {
    /// That of the store at this path, whether there is one or not.
    pub fn of(store: &Path) -> Self {
        let state = store.join(".byteback");
        Self { directory: state.join(NAME), state }
    }

    /// Whether all of it is there.
    pub fn is_there(&self) -> bool {
        self.files() > 0
    }

    fn files(&self) -> u64 {
        let text = files::read_optional(&self.directory.join(LAST)).ok().flatten().unwrap_or_default();
        String::from_utf8_lossy(&text).trim().parse().unwrap_or(0)
    }

    /// Makes it, or makes it larger when the kernel's reserve has outgrown it, if there is so much room that it
    /// takes less than half. Says whether all of it is there then.
    ///
    /// # Errors
    /// When it cannot be written; what there was of it is then gone.
    pub fn make(&self, room: &Room) -> Result<bool> {
        let (wanted, there) = (files_wanted(room), self.files());
        let is_enough = there >= wanted / 2 && there > 0;
        if is_enough || room.meta_avail() < 2 * wanted * FILE_METADATA {
            return Ok(there > 0);
        }
        let made = self.write(wanted);
        if made.is_err() {
            let _ = self.release();
        }
        made.with_context(|| format!("cannot make the ballast {}", self.directory.display()))?;
        Ok(true)
    }

    fn write(&self, wanted: u64) -> Result<()> {
        match ioctl::create_subvolume(File::open(&self.state)?, NAME) {
            Err(error) if error.raw_os_error() == Some(Errno::EEXIST as i32) => {}
            made => made?,
        }
        for number in 0..wanted {
            let file = File::create(self.directory.join(number.to_string()))?;
            xattr::FileExt::set_xattr(&file, ATTRIBUTE, &[b'b'; ATTRIBUTE_BYTES])?;
        }
        files::replace(&self.directory.join(LAST), wanted.to_string().as_bytes(), 0o600)
    }

    /// Destroys it; the number of the subvolume whose space then comes back, `None` when there was none.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn release(&self) -> io::Result<Option<u64>> {
        let ballast = match File::open(&self.directory) {
            Ok(ballast) => ballast,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        let number = ioctl::subvolume(&ballast)?.id;
        drop(ballast);
        ioctl::destroy_subvolume(File::open(&self.state)?, NAME)?;
        Ok(Some(number))
    }
}

/// Half of the reserve can be gone, and is refilled before anybody else gets anything.
fn files_wanted(room: &Room) -> u64 {
    (room.meta_reserved / 2 + STEP) / FILE_METADATA
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn room(unallocated: u64) -> Room {
        Room { unallocated, meta_reserved: 512 << 20, data_copies: 1, meta_copies: 2, ..Room::default() }
    }

    #[test]
    fn it_refills_the_kernels_reserve_and_never_takes_the_last_room() {
        let scratch = tempfile::tempdir().unwrap();
        let ballast = Ballast::of(scratch.path());
        assert_eq!(files_wanted(&room(0)), (264 << 20) / FILE_METADATA);
        assert!(!ballast.make(&room(1054 << 20)).unwrap());
        assert!(!ballast.is_there());
        assert_eq!(ballast.release().unwrap(), None);
    }

    #[test]
    fn it_is_there_when_its_last_file_is() {
        let scratch = tempfile::tempdir().unwrap();
        let ballast = Ballast::of(scratch.path());
        fs::create_dir_all(&ballast.directory).unwrap();
        fs::write(ballast.directory.join("17"), "").unwrap();
        assert!(!ballast.is_there(), "it was not finished");
        fs::write(ballast.directory.join(LAST), "60000").unwrap();
        assert!(ballast.is_there());
        assert!(ballast.make(&room(1 << 40)).unwrap(), "it is enough");
    }
}
