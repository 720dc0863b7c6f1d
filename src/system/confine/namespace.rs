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
use nix::sys::stat::{fstat, stat};
use nix::sys::statvfs::{FsFlags, statvfs};
use nix::unistd::{Gid, Uid, chdir, pivot_root};

use super::Reach;

/// Where the new root is put together; every Linux has it, and only this process sees what is mounted.
const WORKSHOP: &str = "/tmp";

/// A tree that stands in the new root where it stands in the old one.
#[derive(Debug)]
pub(super) struct Room {
    /// The open tree.
    pub(super) tree: OwnedFd,
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
    /// The working directory: one of the trees, or the directory above them.
    pub(super) start: OwnedFd,
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
    /// Moves this process in; the working directory has the same path as before.
    /// `false` when the kernel does not let us, and all is as before but for rights in a namespace that
    /// holds nothing.
    ///
    /// # Errors
    /// When the old root is gone and the new one cannot be finished: the process must not go on.
    pub(super) fn enter(&self) -> io::Result<bool> {
        let start = path_of(&self.start)?;
        if self.furnish().is_err() {
            return Ok(false);
        }
        move_in()?;
        chdir(&start)?;
        Ok(true)
    }

    fn furnish(&self) -> io::Result<()> {
        become_master_of_mounts()?;
        mount(Some("tmpfs"), WORKSHOP, Some("tmpfs"), quiet(), Some("mode=755,size=64k"))?;
        for path in &self.shown {
            show(path)?;
        }
        self.rooms.iter().try_for_each(Room::bind)
    }
}

impl Room {
    fn bind(&self) -> io::Result<()> {
        // The open directory lies in the mounts of before; its path leads to the same one in ours.
        let path = path_of(&self.tree)?;
        let place = in_workshop(&path);
        fs::create_dir_all(&place)?;
        bind(&path, &place)?;
        let (wanted, found) = (fstat(&self.tree)?, stat(&place)?);
        if (wanted.st_dev, wanted.st_ino) != (found.st_dev, found.st_ino) {
            return Err(Errno::ESTALE.into());
        }
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
    let mut rest = path.components();
    rest.next(); // the root
    while let Some(component) = rest.next() {
        let Component::Normal(name) = component else { return Err(Errno::EINVAL.into()) };
        let directory = at.clone();
        at.push(name);
        let (inside, found) = (in_workshop(&at), fs::symlink_metadata(&at)?);
        if found.is_symlink() {
            let target = fs::read_link(&at)?;
            if fs::symlink_metadata(&inside).is_err() {
                symlink(&target, &inside)?;
            }
            return show(&without_dots(&directory.join(target).join(rest.as_path())));
        }
        if at == path {
            return show_itself(&at, &inside, found.is_dir());
        }
        if fs::symlink_metadata(&inside).is_err() {
            fs::create_dir(&inside)?;
        }
    }
    Ok(())
}

fn show_itself(path: &Path, inside: &Path, is_directory: bool) -> io::Result<()> {
    if fs::symlink_metadata(inside).is_ok() {
        return Ok(()); // a directory above it is shown already
    }
    if is_directory {
        fs::create_dir(inside)?;
    } else {
        fs::write(inside, "")?;
    }
    bind(path, inside)?;
    restrict(inside, MsFlags::MS_RDONLY | MsFlags::MS_NOSUID)
}

/// The path without `..`, which is right here: every component before one was found to be a directory.
fn without_dots(path: &Path) -> PathBuf {
    let mut plain = PathBuf::from("/");
    for component in path.components() {
        match component {
            Component::ParentDir => drop(plain.pop()),
            Component::Normal(name) => plain.push(name),
            Component::RootDir | Component::CurDir | Component::Prefix(_) => {}
        }
    }
    plain
}

/// The path of an open directory, as the kernel tells it (proc(5), /proc/PID/fd).
fn path_of(directory: &OwnedFd) -> io::Result<PathBuf> {
    fs::read_link(format!("/proc/self/fd/{}", directory.as_raw_fd()))
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
