//! A root directory of its own, in which nothing exists but the trees of the plan and what rsync needs
//! to run (user_namespaces(7), mount_namespaces(7), pivot_root(2)). It closes what Landlock leaves
//! open: stat, chmod and extended attributes by path.
//!
//! Not every kernel lets an ordinary user do this, so it is one layer more and never the only one.

use std::fs;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::symlink;
use std::path::{Component, Path, PathBuf};

use nix::errno::Errno;
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sched::{CloneFlags, unshare};
use nix::sys::statvfs::{FsFlags, statvfs};
use nix::unistd::{Gid, Uid, chdir, pivot_root};

use super::Reach;

/// Where the new root is put together; every Linux has it, and only this process sees what is mounted.
const WORKSHOP: &str = "/tmp";
/// The directory of the new root that holds the trees.
const TREES: &str = "/trees";

/// A tree and the name that it gets in the new root.
#[derive(Debug)]
pub(super) struct Room {
    /// The open tree.
    pub(super) tree: OwnedFd,
    /// One path component.
    pub(super) name: String,
    /// Whether it may be written.
    pub(super) reach: Reach,
}

/// What the new root shall hold.
#[derive(Debug)]
pub(super) struct Cell {
    /// The client's trees.
    pub(super) rooms: Vec<Room>,
    /// Files and directories of the machine that are shown read-only, by absolute path.
    pub(super) shown: Vec<PathBuf>,
    /// Start in the one tree, not in the directory above the trees.
    pub(super) inside: bool,
}

/// Whether the kernel says that an ordinary user may do this (Documentation/admin-guide/sysctl).
pub(super) fn is_offered() -> bool {
    let says = |file: &str, no: &str| fs::read_to_string(file).is_ok_and(|text| text.trim() == no);
    !says("/proc/sys/user/max_user_namespaces", "0")
        && !says("/proc/sys/kernel/unprivileged_userns_clone", "0")
        && !says("/proc/sys/kernel/apparmor_restrict_unprivileged_userns", "1")
        && Path::new("/proc/self/ns/user").exists()
}

impl Cell {
    /// Moves this process in. Afterwards the working directory is the tree, or the directory above it.
    pub(super) fn enter(&self) -> io::Result<()> {
        become_master_of_mounts()?;
        mount(Some("tmpfs"), WORKSHOP, Some("tmpfs"), quiet(), Some("mode=755,size=64k"))?;
        for path in &self.shown {
            show(path)?;
        }
        let trees = format!("{WORKSHOP}{TREES}");
        fs::create_dir(&trees)?;
        for room in &self.rooms {
            room.bind(Path::new(&trees))?;
        }
        move_in()?;
        match self.rooms.as_slice() {
            [only] if self.inside => chdir(&Path::new(TREES).join(&only.name))?,
            _ => chdir(TREES)?,
        }
        Ok(())
    }
}

impl Room {
    fn bind(&self, trees: &Path) -> io::Result<()> {
        let place = trees.join(&self.name);
        fs::create_dir(&place)?;
        let source = format!("/proc/self/fd/{}", self.tree.as_raw_fd());
        bind(Path::new(&source), &place)?;
        let read_only = if self.reach == Reach::Read { MsFlags::MS_RDONLY } else { MsFlags::empty() };
        restrict(&place, read_only | MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC)
    }
}

/// A user namespace that maps nobody but ourselves gives the right to mount in a namespace of our own,
/// and no right outside.
fn become_master_of_mounts() -> io::Result<()> {
    let (uid, gid) = (Uid::effective(), Gid::effective());
    unshare(CloneFlags::CLONE_NEWUSER | CloneFlags::CLONE_NEWNS)?;
    fs::write("/proc/self/setgroups", "deny")?;
    fs::write("/proc/self/uid_map", format!("{uid} {uid} 1"))?;
    fs::write("/proc/self/gid_map", format!("{gid} {gid} 1"))?;
    let private = MsFlags::MS_REC | MsFlags::MS_PRIVATE;
    Ok(mount(None::<&str>, "/", None::<&str>, private, None::<&str>)?)
}

/// Makes the workshop the root directory and lets go of the old one.
fn move_in() -> io::Result<()> {
    chdir(WORKSHOP)?;
    pivot_root(".", ".")?;
    umount2(".", MntFlags::MNT_DETACH)?;
    chdir("/")?;
    restrict(Path::new("/"), MsFlags::MS_RDONLY | quiet())
}

/// Shows a file or directory under its own name, with the links that lead to it.
fn show(path: &Path) -> io::Result<()> {
    let mut at = PathBuf::from("/");
    for component in path.components().skip(1) {
        let Component::Normal(name) = component else { return Err(Errno::EINVAL.into()) };
        at.push(name);
        let inside = in_workshop(&at);
        let found = fs::symlink_metadata(&at)?;
        if found.is_symlink() {
            if fs::symlink_metadata(&inside).is_err() {
                symlink(fs::read_link(&at)?, &inside)?;
            }
            return show(&path.canonicalize()?);
        }
        if fs::symlink_metadata(&inside).is_ok() {
            continue;
        }
        if at != path {
            fs::create_dir(&inside)?;
        } else if found.is_dir() {
            fs::create_dir(&inside)?;
            return bind(&at, &inside).and_then(|()| restrict(&inside, MsFlags::MS_RDONLY | MsFlags::MS_NOSUID));
        } else {
            fs::write(&inside, "")?;
            return bind(&at, &inside).and_then(|()| restrict(&inside, MsFlags::MS_RDONLY | MsFlags::MS_NOSUID));
        }
    }
    Ok(())
}

fn in_workshop(path: &Path) -> PathBuf {
    Path::new(WORKSHOP).join(path.strip_prefix("/").unwrap_or(path))
}

fn quiet() -> MsFlags {
    MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC
}

fn bind(source: &Path, place: &Path) -> io::Result<()> {
    let flags = MsFlags::MS_BIND | MsFlags::MS_REC;
    Ok(mount(Some(source), place, None::<&str>, flags, None::<&str>)?)
}

/// Adds flags to a mount. Those that the machine's own mount has are locked and must be repeated.
fn restrict(place: &Path, more: MsFlags) -> io::Result<()> {
    let has = statvfs(place)?.flags();
    let mut flags = MsFlags::MS_REMOUNT | MsFlags::MS_BIND | more;
    for (kept, flag) in [
        (FsFlags::ST_RDONLY, MsFlags::MS_RDONLY),
        (FsFlags::ST_NOSUID, MsFlags::MS_NOSUID),
        (FsFlags::ST_NODEV, MsFlags::MS_NODEV),
        (FsFlags::ST_NOEXEC, MsFlags::MS_NOEXEC),
        (FsFlags::ST_NOATIME, MsFlags::MS_NOATIME),
        (FsFlags::ST_NODIRATIME, MsFlags::MS_NODIRATIME),
        (FsFlags::ST_RELATIME, MsFlags::MS_RELATIME),
    ] {
        if has.contains(kept) {
            flags |= flag;
        }
    }
    Ok(mount(None::<&str>, place, None::<&str>, flags, None::<&str>)?)
}
