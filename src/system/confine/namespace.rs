//! A root directory of its own, in which nothing exists but the trees of the plan and what rsync needs
//! to run (user_namespaces(7), mount_namespaces(7)), and processes of its own, so that there
//! is no other to send a signal to (pid_namespaces(7)). It closes what Landlock leaves open: stat, chmod and
//! extended attributes by path, before Linux 6.12 signals, and any number of processes.
//!
//! Not every kernel lets an ordinary user do this, so it is one layer more and never the only one.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::symlink;
use std::path::{Component, Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{OFlag, open};
use nix::libc::{MOUNT_ATTR_NODEV, MOUNT_ATTR_NOEXEC, MOUNT_ATTR_NOSUID, MOUNT_ATTR_RDONLY};
use nix::mount::{MsFlags, mount};
use nix::sched::CloneFlags;
use nix::sys::prctl::set_dumpable;
use nix::sys::stat::{Mode, fstat};
use nix::unistd::{Gid, Uid, chdir, chroot};

use super::Reach;
use crate::system::fork::seal_mounts;

/// Where the new root is put together; every Linux has it, and only this process sees what is mounted.
const WORKSHOP: &str = "/tmp";

/// The namespaces that a child must have been started in. Mounts in those of a new user are no longer
/// shared with the machine's, so that nothing done here is seen there.
pub(super) const NAMESPACES: CloneFlags =
    CloneFlags::CLONE_NEWUSER.union(CloneFlags::CLONE_NEWNS).union(CloneFlags::CLONE_NEWPID);

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
    /// Files and directories of the machine that are shown read-only, by absolute path, directories first.
    pub(super) shown: Vec<PathBuf>,
    /// The working directory: one of the trees, or the directory above them.
    pub(super) start: OwnedFd,
    /// Who the process is, in the cell as outside.
    pub(super) owner: (Uid, Gid),
}

/// Whether it is worth trying: Ubuntu gives an ordinary user the namespaces and no rights in them
/// (Documentation/admin-guide/sysctl/kernel.rst, apparmor_restrict_unprivileged_userns). All other kernels
/// that refuse say so at once.
pub(super) fn is_offered() -> bool {
    let restricts = fs::read("/proc/sys/kernel/apparmor_restrict_unprivileged_userns");
    !restricts.is_ok_and(|text| text.trim_ascii() == b"1")
}

/// Whether neither the program nor the trees lie where the new root is put together.
pub(super) fn can_show(program: &Path, start: &OwnedFd) -> bool {
    !program.starts_with(WORKSHOP) && path_of(start).is_ok_and(|path| !path.starts_with(WORKSHOP))
}

impl Cell {
    /// Puts the new root together.
    ///
    /// # Errors
    /// When the kernel does not let us: the old root is still there then, seen through mounts of our own,
    /// some of which may be the unfinished new root's.
    pub(super) fn furnish(&self) -> io::Result<()> {
        self.become_owner()?;
        mount(Some("tmpfs"), WORKSHOP, Some("tmpfs"), quiet(), Some("mode=755,size=64k"))?;
        let mut furniture = Furniture::default();
        self.shown.iter().try_for_each(|path| furniture.show(path))?;
        // The open directories lie in the mounts of before; their paths lead to the same ones in ours.
        let paths: Vec<PathBuf> =
            self.rooms.iter().map(|room| path_of(&room.tree)).collect::<io::Result<_>>()?;
        paths.iter().try_for_each(|path| fs::create_dir_all(in_workshop(path)))?;
        seal_mounts(
            &open_place(Path::new(WORKSHOP))?,
            MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV,
        )?;
        self.rooms.iter().zip(&paths).try_for_each(|(room, path)| room.bind(path))
    }

    /// Makes it the root directory; the working directory has the same path as before.
    ///
    /// chroot(2) is enough here: execve(2) takes all rights in the user namespace away, who is chrooted can
    /// make no other one (user_namespaces(7)), and no directory outside stays open. pivot_root(2) needs
    /// the old root unmounted, which waits for every processor: milliseconds where others are at work.
    ///
    /// # Errors
    /// When it cannot be entered: the process must not go on.
    pub(super) fn move_in(&self) -> io::Result<()> {
        let start = path_of(&self.start)?;
        chroot(WORKSHOP)?;
        Ok(chdir(&start)?)
    }

    /// A user namespace that maps nobody but ourselves gives the right to mount in a namespace of our own,
    /// and no right outside.
    fn become_owner(&self) -> io::Result<()> {
        // Who was root is not the owner of its own /proc/self (proc(5)). sshd's children are: they became
        // the user before they were executed.
        set_dumpable(true)?;
        let (uid, gid) = self.owner;
        fs::write("/proc/self/setgroups", "deny")?;
        fs::write("/proc/self/uid_map", format!("{uid} {uid} 1"))?;
        fs::write("/proc/self/gid_map", format!("{gid} {gid} 1"))
    }
}

impl Room {
    fn bind(&self, path: &Path) -> io::Result<()> {
        let place = in_workshop(path);
        bind(path, &place)?;
        let root = open_place(&place)?;
        let (wanted, found) = (fstat(&self.tree)?, fstat(&root)?);
        if (wanted.st_dev, wanted.st_ino) != (found.st_dev, found.st_ino) {
            return Err(Errno::ESTALE.into());
        }
        let read_only = if self.reach == Reach::Read { MOUNT_ATTR_RDONLY } else { 0 };
        seal_mounts(&root, read_only | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC)
    }
}

/// What stands in the new root by now, by the names of the old one.
#[derive(Debug, Default)]
struct Furniture {
    /// Directories of its own, in which more can be made.
    directories: BTreeSet<PathBuf>,
    /// The machine's own directories, in which everything is.
    shown: BTreeSet<PathBuf>,
}

impl Furniture {
    /// Shows a file or directory under its own name, with the links that lead to it.
    fn show(&mut self, path: &Path) -> io::Result<()> {
        let mut at = PathBuf::from("/");
        let mut rest = path.components();
        rest.next(); // the root
        let mut is_there = false;
        while let Some(component) = rest.next() {
            let Component::Normal(name) = component else { return Err(Errno::EINVAL.into()) };
            let directory = at.clone();
            at.push(name);
            is_there |= self.shown.contains(&at);
            if self.directories.contains(&at) {
                continue;
            }
            let found = fs::symlink_metadata(&at)?;
            if found.is_symlink() {
                let target = fs::read_link(&at)?;
                if !is_there {
                    unless_there(symlink(&target, in_workshop(&at)))?;
                }
                return self.show(&without_dots(&directory.join(target).join(rest.as_path())));
            }
            match (is_there, at == path) {
                (true, _) => {}
                (false, true) => return self.show_itself(at, found.is_dir()),
                (false, false) => {
                    fs::create_dir(in_workshop(&at))?;
                    self.directories.insert(at.clone());
                }
            }
        }
        Ok(())
    }

    fn show_itself(&mut self, path: PathBuf, is_directory: bool) -> io::Result<()> {
        let place = in_workshop(&path);
        if is_directory {
            fs::create_dir(&place)?;
        } else {
            fs::write(&place, "")?;
        }
        bind(&path, &place)?;
        if is_directory {
            self.shown.insert(path);
        }
        Ok(())
    }
}

fn unless_there(made: io::Result<()>) -> io::Result<()> {
    made.or_else(|error| if error.kind() == io::ErrorKind::AlreadyExists { Ok(()) } else { Err(error) })
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

/// Opens what is mounted there, also where it may not be read.
fn open_place(place: &Path) -> io::Result<OwnedFd> {
    Ok(open(place, OFlag::O_PATH | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC, Mode::empty())?)
}
