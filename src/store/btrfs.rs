//! The btrfs backend: one subvolume for `current`, read-only snapshots beside it.
//!
//! Works as the ordinary user that owns the store. Needs the mount option `user_subvol_rm_allowed` to
//! discard (btrfs(5)).

use std::fs::{File, Permissions};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use jiff::Timestamp;
use nix::dir::Dir;
use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, OpenHow, ResolveFlag, openat2, renameat};
use nix::sys::stat::{FchmodatFlags, Mode, fchmodat, fstat, fstatat, mkdirat};
use nix::unistd::{Uid, fsync};

use super::volume::{OpenTree, Volume};
use crate::model::snapshot_name::CURRENT;
use crate::model::{ClientName, Failure, SnapshotName, Tree};
use crate::policy::room::Room;
use crate::system::{files, ioctl};

/// A snapshot on its way out has this before its name; no snapshot's name can begin with a dot.
const DISCARDED: &str = ".discarded-";
/// Made and destroyed to learn whether destroying is allowed.
const PROBE: &str = "probe";
/// Every root of a btrfs subvolume has this inode number.
const SUBVOLUME_INODE: u64 = 256;
/// How often the cleaner is woken while its work is waited for.
const TICK: Duration = Duration::from_millis(250);
/// The longest wait for one snapshot's space.
const PATIENCE: Duration = Duration::from_secs(60);
/// The number of a destroyed snapshot whose space did not come back in time.
const AWAITED: &str = ".byteback/awaited";

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

    /// Clears read-only, destroys, and waits until the space is back.
    fn destroy_hidden(&self, home: &OwnedFd, hidden: &str) -> io::Result<()> {
        let tree = open_directory(home, hidden)?;
        let id = ioctl::subvolume_id(&tree)?;
        if ioctl::is_read_only(&tree)? {
            ioctl::set_read_only(&tree, false)?;
        }
        // Its owner may destroy it only if its root lets the owner write and search it.
        File::from(tree).set_permissions(Permissions::from_mode(0o700))?;
        ioctl::destroy_subvolume(home, hidden)?;
        self.await_space(id)
    }

    /// Waits for the space of a destroyed subvolume. Somebody who still reads it keeps its space, so the
    /// wait is bounded, and its number is written down for the next pruner.
    fn await_space(&self, id: u64) -> io::Result<()> {
        let waited = self.wait_until_cleaned(id);
        if waited.as_ref().is_err_and(|error| error.kind() == io::ErrorKind::TimedOut) {
            let _ = files::replace(&self.path.join(AWAITED), id.to_string().as_bytes(), 0o600);
        }
        waited
    }

    /// The wait ends only after a commit, and an idle file system commits twice a minute, so commits are
    /// asked for meanwhile. The kernel's own wait has no bound: a thread sits in it, and is left behind when
    /// the time is over.
    fn wait_until_cleaned(&self, id: u64) -> io::Result<()> {
        ioctl::sync(&self.root)?;
        let (root, (tell, told)) = (self.root.try_clone()?, mpsc::channel());
        thread::spawn(move || tell.send(ioctl::wait_until_cleaned(&root, id)));
        for _ in 0..PATIENCE.as_millis() / TICK.as_millis() {
            match told.recv_timeout(TICK) {
                Ok(Err(error)) if error.raw_os_error() == Some(Errno::ENOENT as i32) => return Ok(()),
                Ok(Err(error)) if error.raw_os_error() == Some(Errno::ENOTTY as i32) => {
                    return self.wait_until_used_space_rests();
                }
                Ok(waited) => return waited,
                Err(_) => ioctl::sync(&self.root)?,
            }
        }
        Err(io::Error::new(
            io::ErrorKind::TimedOut,
            "its space is not given back: somebody still reads it, a restore that must end first",
        ))
    }

    /// Before Linux 6.13 nobody tells when the cleaner is through: wait until the space in use has not
    /// moved for two seconds.
    fn wait_until_used_space_rests(&self) -> io::Result<()> {
        let used =
            || -> io::Result<u64> { Ok(ioctl::spaces(&self.root)?.iter().map(|space| space.used).sum()) };
        let (mut last, mut quiet) = (used()?, 0);
        for _ in 0..PATIENCE.as_millis() / TICK.as_millis() {
            ioctl::sync(&self.root)?;
            thread::sleep(TICK);
            let now = used()?;
            quiet = if now == last { quiet + 1 } else { 0 };
            if quiet == 8 {
                break;
            }
            last = now;
        }
        Ok(())
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
        let made = ioctl::subvolume_made(&directory).ok().and_then(|made| Timestamp::from_second(made).ok());
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
        ioctl::snapshot_read_only(&current, home, name.as_str())
            .with_context(|| format!("cannot make the snapshot {}", self.where_is(client, name.as_str())))
    }

    fn discard(&self, client: &ClientName, name: &SnapshotName) -> Result<()> {
        let home = self.home(client)?;
        let hidden = format!("{DISCARDED}{name}");
        let steps = || -> io::Result<()> {
            renameat(&home, name.as_str(), &home, hidden.as_str())?;
            fsync(&home)?;
            self.destroy_hidden(&home, &hidden)
        };
        steps().with_context(|| {
            format!(
                "cannot discard {} (mounted without user_subvol_rm_allowed?)",
                self.where_is(client, name.as_str())
            )
        })
    }

    fn finish_discards(&self, client: &ClientName) -> Result<usize> {
        let home = self.home(client)?;
        let names = names_in(&home).with_context(|| format!("cannot read {}", self.where_is(client, "")))?;
        let left: Vec<&String> = names.iter().filter(|name| name.starts_with(DISCARDED)).collect();
        for hidden in &left {
            self.destroy_hidden(&home, hidden)
                .with_context(|| format!("cannot finish discarding {}", self.where_is(client, hidden)))?;
        }
        Ok(left.len())
    }

    fn room(&self) -> Result<Room> {
        let spaces = ioctl::spaces(&self.root).context("the store is not on btrfs")?;
        let unallocated = ioctl::unallocated(&self.root).context("cannot ask for the devices' free space")?;
        Ok(room_of(&spaces, unallocated))
    }

    fn finish_waiting(&self) -> Result<()> {
        let path = self.path.join(AWAITED);
        let Some(text) = files::read_optional(&path)? else { return Ok(()) };
        let id = std::str::from_utf8(&text).ok().and_then(|text| text.trim().parse().ok());
        if let Some(id) = id {
            self.await_space(id).context("the last snapshot that was deleted is not gone yet")?;
        }
        std::fs::remove_file(&path).with_context(|| format!("cannot remove {}", path.display()))
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

/// The kernel's flags of a block group (linux/btrfs_tree.h), as `BTRFS_IOC_SPACE_INFO` reports them.
const DATA: u64 = 1;
const METADATA: u64 = 1 << 2;
const TWICE: u64 = 1 << 4 | 1 << 5 | 1 << 6; // RAID1, DUP, RAID10
const THRICE: u64 = 1 << 9; // RAID1C3
const FOUR_TIMES: u64 = 1 << 10; // RAID1C4
const GLOBAL_RESERVE: u64 = 1 << 49;

/// Sums the kinds up. In a file system with mixed block groups data and metadata share them, so such a
/// group counts as both.
fn room_of(spaces: &[ioctl::Space], unallocated: u64) -> Room {
    let mut room = Room { unallocated, data_copies: 1, meta_copies: 1, ..Room::default() };
    for space in spaces {
        if space.flags & GLOBAL_RESERVE != 0 {
            room.meta_reserved = space.total;
            continue;
        }
        if space.flags & DATA != 0 {
            room.data_total += space.total;
            room.data_used += space.used;
            room.data_copies = room.data_copies.max(copies(space.flags));
        }
        if space.flags & METADATA != 0 {
            room.meta_total += space.total;
            room.meta_used += space.used;
            room.meta_copies = room.meta_copies.max(copies(space.flags));
        }
    }
    room
}

fn copies(flags: u64) -> u64 {
    match flags {
        flags if flags & FOUR_TIMES != 0 => 4,
        flags if flags & THRICE != 0 => 3,
        flags if flags & TWICE != 0 => 2,
        _ => 1,
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::system::ioctl::Space;

    #[test]
    fn the_kernels_block_groups_become_room() {
        let spaces = [
            Space { flags: DATA, total: 100, used: 60 },
            Space { flags: 1 << 1 | 1 << 5, total: 8, used: 1 }, // system, DUP: nobody's room
            Space { flags: METADATA | 1 << 5, total: 40, used: 10 },
            Space { flags: METADATA | GLOBAL_RESERVE, total: 5, used: 0 },
        ];
        let room = room_of(&spaces, 20);
        assert_eq!((room.data_total, room.data_used, room.data_copies), (100, 60, 1));
        assert_eq!((room.meta_total, room.meta_used, room.meta_copies), (40, 10, 2));
        assert_eq!((room.meta_reserved, room.unallocated), (5, 20));
    }
}
