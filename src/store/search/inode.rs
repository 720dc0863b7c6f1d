//! What the kernel tells of a file in a tree, and which two answers mean one and the same state of it.
//!
//! In btrfs a file that did not change between two snapshots is the same item of the metadata in both: inode
//! number, time of birth, ctime, mtime and size are equal. The other way round:
//!
//! - The time of birth (statx(2), `stx_btime`) stands for the generation that `FS_IOC_GETVERSION` gives: it is
//!   set once, when the inode is made, and nothing sets it later. It tells a number apart that was given out a
//!   second time, as after `current` was made anew from a snapshot. It needs no open file, and no ioctl(2),
//!   which a confined search may not call.
//! - Whatever changes an inode (content, mode, attributes, links; for a directory: every name that is added,
//!   removed or exchanged) sets its ctime to the server's clock, and no call sets it to anything else. So a
//!   client can prevent that two states are told apart only if it changes a file twice within one tick of
//!   that clock (10 ms at most) with a snapshot in between; a snapshot is taken only between two pushes.
//! - For directories, whose names are not read again where they are the same, even that is excluded: see
//!   [`Root::is_settled`].
//!
//! What a directory's ctime does *not* guard is everything about the files in it but their names and numbers.
//! Each of them is asked about in each tree.

use std::ffi::CStr;
use std::io;
use std::os::fd::OwnedFd;

use anyhow::{Context, Result};
use jiff::Timestamp;
use rustix::fs::{AtFlags, Mode, OFlags, ResolveFlags, Statx, StatxFlags, StatxTimestamp, openat2, statx};
use rustix::io::Errno;

use crate::model::{Entry, Kind, Tree};
use crate::protocol::fake_super::{self, Stat};
use crate::store::OpenTree;

/// A symbolic link's target is a file's content in a fake-super tree; more than PATH_MAX is none.
const LONGEST_TARGET: usize = 4096;

/// A time as the kernel tells it: seconds and nanoseconds.
type Time = (i64, u32);

/// What statx(2) says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Inode {
    pub(super) state: State,
    mode: u32,
    uid: u32,
    gid: u32,
    pub(super) links: u32,
}

/// Equal for two copies exactly when nothing was changed between them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct State {
    pub(super) number: u64,
    pub(super) born: Time,
    pub(super) changed: Time,
    pub(super) modified: Time,
    pub(super) size: u64,
}

impl Inode {
    fn new(found: &Statx) -> Self {
        let time = |time: &StatxTimestamp| (time.tv_sec, time.tv_nsec);
        Self {
            state: State {
                number: found.stx_ino,
                born: time(&found.stx_btime),
                changed: time(&found.stx_ctime),
                modified: time(&found.stx_mtime),
                size: found.stx_size,
            },
            mode: u32::from(found.stx_mode),
            uid: found.stx_uid,
            gid: found.stx_gid,
            links: found.stx_nlink,
        }
    }

    pub(super) fn is_directory(&self) -> bool {
        Kind::from_mode(self.mode) == Some(Kind::Directory)
    }
}

/// One tree, open.
pub(super) struct Root<'a> {
    /// `None` for one that is only looked at, never told.
    tree: Option<&'a Tree>,
    directory: &'a OwnedFd,
    device: (u32, u32),
    /// When the snapshot was made, in seconds; `None` where nobody knows.
    made: Option<i64>,
}

impl<'a> Root<'a> {
    pub(super) fn searched(tree: &'a Tree, open: &'a OpenTree) -> Result<Self> {
        Self::new(Some(tree), open)
    }

    /// A tree of which only matters what it holds.
    pub(super) fn reference(open: &'a OpenTree) -> Result<Self> {
        Self::new(None, open)
    }

    fn new(tree: Option<&'a Tree>, open: &'a OpenTree) -> Result<Self> {
        let found = statx(&open.directory, "", AtFlags::EMPTY_PATH, StatxFlags::TYPE)?;
        // What is written to is later than every snapshot.
        let made = match tree {
            None | Some(Tree::Current) => Some(i64::MAX),
            Some(Tree::Snapshot(_)) => open.made.map(Timestamp::as_second),
        };
        let device = (found.stx_dev_major, found.stx_dev_minor);
        Ok(Self { tree, directory: &open.directory, device, made })
    }

    pub(super) fn tree(&self) -> Option<&'a Tree> {
        self.tree
    }

    /// Whether another tree that has this directory in the same state has the same names in it. A directory
    /// that was changed less than a second before the snapshot might have been changed again behind it without
    /// a new ctime, since the kernel's clock has ticks; anything later than that would show.
    pub(super) fn is_settled(&self, directory: &Inode) -> bool {
        self.made.is_some_and(|made| directory.state.changed.0.saturating_add(1) < made)
    }

    /// What stands at a path; the empty one is the root. `None` for what is not there or lies in another
    /// subvolume: so even if a link stood in the way, nothing outside the tree is told.
    ///
    /// The path's directories were found to be directories before. In a snapshot they stay that.
    pub(super) fn look(&self, path: &CStr) -> Result<Option<Inode>> {
        let how = AtFlags::EMPTY_PATH | AtFlags::SYMLINK_NOFOLLOW | AtFlags::NO_AUTOMOUNT;
        match statx(self.directory, path, how, StatxFlags::BASIC_STATS | StatxFlags::BTIME) {
            Ok(found) if (found.stx_dev_major, found.stx_dev_minor) == self.device => {
                Ok(Some(Inode::new(&found)))
            }
            Ok(_) => Ok(None),
            Err(errno) if is_absence(errno) => Ok(None),
            Err(errno) => Err(errno).context("cannot stat a file in the store"),
        }
    }

    /// Opens a directory for reading its names; `None` for what is not there, none, or closed to us.
    pub(super) fn open_directory(&self, path: &CStr) -> Result<Option<OwnedFd>> {
        let path = if path.is_empty() { c"." } else { path };
        match self.open_beneath(path, OFlags::RDONLY | OFlags::DIRECTORY) {
            Ok(directory) => Ok(Some(directory)),
            Err(errno) if is_absence(errno) => Ok(None),
            Err(errno) => Err(errno).context("cannot open a directory in the store"),
        }
    }

    fn open_beneath(&self, path: &CStr, how: OFlags) -> Result<OwnedFd, Errno> {
        let how = how | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_XDEV;
        openat2(self.directory, path, how, Mode::empty(), resolve)
    }

    /// The file as it was on the client, and its device numbers if it was a device. What fake-super's
    /// attribute says is believed only as far as being numbers; one that is malformed or too long is none.
    pub(super) fn describe(&self, path: &CStr, inode: &Inode) -> (Described, Option<(u32, u32)>) {
        let at_rest = Kind::from_mode(inode.mode);
        let open = match at_rest {
            Some(Kind::File | Kind::Directory) => {
                let path = if path.is_empty() { c"." } else { path };
                self.open_beneath(path, OFlags::RDONLY | OFlags::NONBLOCK).ok()
            }
            _ => None,
        };
        let recorded = open.as_ref().and_then(recorded_stat);
        let (mode, uid, gid) = match recorded {
            Some(stat) => (stat.mode, stat.uid, stat.gid),
            None => (inode.mode, inode.uid, inode.gid),
        };
        let kind = Kind::from_mode(mode);
        let target = match (kind, at_rest, open) {
            (Some(Kind::Symlink), Some(Kind::Symlink), _) => self.link_target(path),
            (Some(Kind::Symlink), _, Some(file)) => stored_target(&file, inode.state.size),
            _ => None,
        };
        let device = recorded
            .filter(|_| matches!(kind, Some(Kind::BlockDevice | Kind::CharDevice)))
            .map(|stat| (stat.rdev_major, stat.rdev_minor));
        (Described { mode, uid, gid, target }, device)
    }

    /// Where a real link points. Our own rsync makes none; an older store may hold some.
    fn link_target(&self, path: &CStr) -> Option<Vec<u8>> {
        let link = self.open_beneath(path, OFlags::PATH).ok()?;
        Some(rustix::fs::readlinkat(&link, "", Vec::new()).ok()?.into_bytes())
    }
}

/// What had to be read beyond statx(2).
#[derive(Debug, Clone)]
pub(super) struct Described {
    mode: u32,
    uid: u32,
    gid: u32,
    target: Option<Vec<u8>>,
}

impl Described {
    pub(super) fn entry(self, tree: Tree, path: Vec<u8>, state: &State) -> Entry {
        let Self { mode, uid, gid, target } = self;
        let (seconds, nanoseconds) = state.modified;
        let mtime =
            Timestamp::new(seconds, i32::try_from(nanoseconds).unwrap_or(0)).unwrap_or(Timestamp::UNIX_EPOCH);
        Entry { tree, path, mode, uid, gid, size: state.size, mtime, target }
    }
}

/// The content of the regular file that fake-super stored. It may grow while it is read.
fn stored_target(file: &OwnedFd, size: u64) -> Option<Vec<u8>> {
    let size = usize::try_from(size).ok().filter(|size| *size <= LONGEST_TARGET)?;
    let mut target = vec![0; size + 1];
    let mut read = 0;
    while read < target.len() {
        match rustix::io::read(file, &mut target[read..]) {
            Ok(0) => break,
            Ok(more) => read += more,
            Err(Errno::INTR) => {}
            Err(_) => return None,
        }
    }
    target.truncate(read);
    (read <= LONGEST_TARGET).then_some(target)
}

/// A value that does not fit is longer than any that rsync writes.
fn recorded_stat(file: &OwnedFd) -> Option<Stat> {
    let mut value = [0; 128];
    let length = rustix::fs::fgetxattr(file, fake_super::ATTRIBUTE, &mut value).ok()?;
    Stat::parse(&value[..length]).ok()
}

fn is_absence(errno: Errno) -> bool {
    [Errno::NOENT, Errno::NOTDIR, Errno::LOOP, Errno::XDEV, Errno::ACCESS, Errno::NAMETOOLONG]
        .contains(&errno)
}

/// The names in an open directory, each with whether it may be a directory; never `.` and `..`.
pub(super) fn for_each_name(
    directory: &OwnedFd,
    mut each: impl FnMut(&CStr, bool) -> io::Result<()>,
) -> io::Result<()> {
    use rustix::fs::{FileType, RawDir};
    let mut buffer = Vec::with_capacity(32 << 10);
    let mut names = RawDir::new(directory, buffer.spare_capacity_mut());
    while let Some(name) = names.next() {
        let name = name?;
        let may_be_directory = matches!(name.file_type(), FileType::Directory | FileType::Unknown);
        if name.file_name() != c"." && name.file_name() != c".." {
            each(name.file_name(), may_be_directory)?;
        }
    }
    Ok(())
}
