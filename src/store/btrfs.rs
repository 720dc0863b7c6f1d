//! The btrfs backend: one subvolume for `current`, read-only snapshots beside it.
//!
//! Works as the ordinary user that owns the store. Needs the mount option `user_subvol_rm_allowed` to
//! discard (btrfs(5)).

mod discard;
mod renew;
mod space;

use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use jiff::Timestamp;
use nix::dir::Dir;
use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, OpenHow, ResolveFlag, openat2};
use nix::sys::stat::{FchmodatFlags, Mode, fchmodat, fstat, fstatat, mkdirat};
use nix::unistd::Uid;

use super::growth;
use super::volume::{OpenTree, QuotaMode, Volume};
use crate::model::snapshot_name::CURRENT;
use crate::model::{ClientName, Failure, SnapshotName, Tree};
use crate::policy::room::Room;
use crate::system::ioctl;

/// Made and destroyed to learn whether destroying is allowed.
const PROBE: &str = "probe";
/// Every root of a btrfs subvolume has this inode number.
const SUBVOLUME_INODE: u64 = 256;

/// A store on btrfs, held open.
#[derive(Debug)]
pub struct Btrfs {
    root: OwnedFd,
    path: PathBuf,
}

impl Btrfs {
    /// Opens the store's root directory.
    ///
    /// # Errors
    /// When it is not there or may not be read.
    pub fn open(path: &Path) -> Result<Self> {
        let directory =
            File::open(path).with_context(|| format!("cannot open the store {}", path.display()))?;
        Ok(Self { root: directory.into(), path: path.to_owned() })
    }

    fn where_is(&self, client: &ClientName, tree: &str) -> String {
        self.path.join(client.as_str()).join(tree).display().to_string()
    }
}

impl Volume for Btrfs {
    fn enrol(&self, client: &ClientName) -> Result<()> {
        match mkdirat(&self.root, client.as_str(), Mode::from_bits_truncate(0o750)) {
            Ok(()) | Err(Errno::EEXIST) => {}
            Err(errno) => {
                return Err(errno)
                    .with_context(|| format!("cannot make {}", self.path.join(client.as_str()).display()));
            }
        }
        let home = self.home(client)?;
        match ioctl::create_subvolume(&home, CURRENT) {
            Err(error) if error.raw_os_error() == Some(Errno::EEXIST as i32) => {
                self.open(client, &Tree::Current).map(|_| ())
            }
            made => {
                made.with_context(|| format!("cannot make the subvolume {}", self.where_is(client, CURRENT)))
            }
        }?;
        ioctl::sync(&self.root).context("cannot sync the store")
    }

    fn clients(&self) -> Result<Vec<ClientName>> {
        let names =
            names_in(&self.root).with_context(|| format!("cannot read the store {}", self.path.display()))?;
        let mut clients: Vec<ClientName> =
            names.iter().filter_map(|name| name.parse().ok()).filter(|name| self.is_enrolled(name)).collect();
        clients.sort();
        Ok(clients)
    }

    fn is_enrolled(&self, client: &ClientName) -> bool {
        self.home(client).is_ok_and(|home| is_subvolume(&home, CURRENT))
    }

    fn home(&self, client: &ClientName) -> Result<OwnedFd> {
        open_directory(&self.root, client.as_str())
            .with_context(|| format!("cannot open {}", self.path.join(client.as_str()).display()))
    }

    fn snapshots(&self, client: &ClientName) -> Result<Vec<SnapshotName>> {
        let home = self.home(client)?;
        let names = names_in(&home).with_context(|| format!("cannot read {}", self.where_is(client, "")))?;
        let mut snapshots: Vec<SnapshotName> = names
            .iter()
            .filter_map(|name| name.parse().ok())
            .filter(|name: &SnapshotName| is_subvolume(&home, name.as_str()))
            .collect();
        snapshots.sort();
        Ok(snapshots)
    }

    fn open(&self, client: &ClientName, tree: &Tree) -> Result<OpenTree> {
        let place = || self.where_is(client, tree.as_str());
        let home = self.home(client)?;
        if *tree == Tree::Current {
            let_owner_in(&home).with_context(|| format!("cannot open {}", place()))?;
        }
        let directory =
            open_subvolume(&home, tree.as_str()).with_context(|| format!("cannot open {}", place()))?;
        let read_only =
            ioctl::is_read_only(&directory).with_context(|| format!("cannot ask about {}", place()))?;
        let made = ioctl::subvolume(&directory).ok().map(|found| growth::time(found.made.0, found.made.1));
        Ok(OpenTree { directory, read_only, made })
    }

    fn freeze(&self, client: &ClientName, name: &SnapshotName) -> Result<()> {
        let home = self.home(client)?;
        let current = self.open(client, &Tree::Current)?.directory;
        if ioctl::has_nested_subvolumes(&current).context("cannot look for nested subvolumes")? {
            bail!(Failure::failed(format!(
                "{} holds another subvolume, whose files a snapshot would leave out; the administrator must move it away",
                self.where_is(client, CURRENT)
            )));
        }
        let owner = fstat(&current).context("cannot stat current")?.st_uid;
        if !Uid::effective().is_root() && owner != Uid::effective().as_raw() {
            bail!(Failure::failed(format!(
                "{} belongs to user {owner}; the administrator must chown it to the store's user",
                self.where_is(client, CURRENT)
            )));
        }
        ioctl::snapshot(&current, home, name.as_str(), true)
            .with_context(|| format!("cannot make the snapshot {}", self.where_is(client, name.as_str())))
    }

    fn discard(&self, client: &ClientName, name: &SnapshotName) -> Result<()> {
        let results = self.throw_away(&[(client.clone(), name.clone())]);
        results.into_iter().collect()
    }

    fn discard_batch(&self, batch: &[(ClientName, SnapshotName)]) -> Vec<Result<()>> {
        self.throw_away(batch)
    }

    fn renew(&self, client: &ClientName, from: Option<&SnapshotName>) -> Result<()> {
        self.renew_current(client, from)
    }

    fn finish_discards(&self, client: &ClientName) -> Result<usize> {
        self.finish(client)
    }

    fn room(&self) -> Result<Room> {
        let spaces = ioctl::spaces(&self.root).context("the store is not on btrfs")?;
        let unallocated = ioctl::unallocated(&self.root).context("cannot ask for the devices' free space")?;
        Ok(space::room_of(&spaces, unallocated))
    }

    fn used(&self) -> Result<u64> {
        Ok(space::used(&ioctl::spaces(&self.root).context("the store is not on btrfs")?))
    }

    fn quota(&self, client: &ClientName) -> Result<Option<u64>> {
        space::quota(&self.open(client, &Tree::Current)?.directory)
    }

    fn quota_mode(&self) -> Result<Option<QuotaMode>> {
        space::quota_mode(&self.root)
    }

    fn made(&self, client: &ClientName, name: &SnapshotName) -> Result<Timestamp> {
        let tree = self.open(client, &Tree::Snapshot(name.clone()))?;
        let (seconds, nanoseconds) = ioctl::subvolume(&tree.directory)
            .with_context(|| format!("cannot ask about {}", self.where_is(client, name.as_str())))?
            .made;
        Ok(growth::time(seconds, nanoseconds))
    }

    fn finish_waiting(&self) -> Result<()> {
        self.await_again()
    }

    fn check_discard(&self) -> Result<()> {
        let state = open_directory(&self.root, ".byteback").context("cannot open the state directory")?;
        let _ = ioctl::destroy_subvolume(&state, PROBE);
        match ioctl::create_subvolume(&state, PROBE) {
            Ok(()) => {}
            // On a full disk there is no room for the probe; what is asked for here is to make room.
            Err(error) if error.raw_os_error() == Some(Errno::ENOSPC as i32) => return Ok(()),
            Err(error) => return Err(error).context("cannot make a subvolume in the store"),
        }
        ioctl::destroy_subvolume(&state, PROBE).with_context(|| {
            Failure::misuse(format!(
                "the store's user may not delete snapshots; mount {} with the option user_subvol_rm_allowed",
                self.path.display()
            ))
        })
    }
}

/// Opens a directory one step below `parent`, never through a link and never outside.
fn open_directory(parent: &OwnedFd, name: &str) -> io::Result<OwnedFd> {
    let how = OpenHow::new().flags(OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC).resolve(
        ResolveFlag::RESOLVE_BENEATH | ResolveFlag::RESOLVE_NO_SYMLINKS | ResolveFlag::RESOLVE_NO_MAGICLINKS,
    );
    Ok(openat2(parent, name, how)?)
}

/// Whether a subvolume stands there, also one that cannot be entered.
fn is_subvolume(parent: &OwnedFd, name: &str) -> bool {
    fstatat(parent, name, AtFlags::AT_SYMLINK_NOFOLLOW)
        .is_ok_and(|found| found.st_ino == SUBVOLUME_INODE && found.st_mode & 0o170_000 == 0o040_000)
}

/// Whoever writes `current` may take its owner's rights from its root, by accident or to be in the way: then it
/// could be neither written, read, nor, once frozen, deleted.
fn let_owner_in(home: &OwnedFd) -> nix::Result<()> {
    let found = fstatat(home, CURRENT, AtFlags::AT_SYMLINK_NOFOLLOW)?;
    if found.st_mode & 0o700 == 0o700 || found.st_ino != SUBVOLUME_INODE {
        return Ok(());
    }
    let mode = Mode::from_bits_truncate(found.st_mode | 0o700);
    fchmodat(home, CURRENT, mode, FchmodatFlags::FollowSymlink)
}

fn open_subvolume(parent: &OwnedFd, name: &str) -> io::Result<OwnedFd> {
    let directory = open_directory(parent, name)?;
    match fstat(&directory)?.st_ino {
        SUBVOLUME_INODE => Ok(directory),
        _ => Err(io::Error::new(io::ErrorKind::InvalidInput, "it is a directory, not a btrfs subvolume")),
    }
}

/// The names in a directory, but those that are not UTF-8, which nobody here has made.
fn names_in(directory: &OwnedFd) -> io::Result<Vec<String>> {
    let again = openat2(
        directory,
        ".",
        OpenHow::new().flags(OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC),
    )?;
    let mut stream = Dir::from_fd(again)?;
    let mut names = Vec::new();
    for entry in stream.iter() {
        if let Ok(name) = entry?.file_name().to_str() {
            names.push(name.to_owned());
        }
    }
    Ok(names)
}
