//! The file systems that a walk meets. The kernel's numbers for them change from boot to boot, so where
//! a file system has an id of its own, that counts.

use std::collections::HashMap;
use std::os::fd::BorrowedFd;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use nix::fcntl::{OFlag, open};
use nix::sys::stat::Mode;
use nix::sys::statfs::{self, FsType, Statfs};
use nix::unistd::syncfs;

/// File systems on a local disk that stamp every change of an inode, give an inode a lasting number, and
/// notice writing through a mapping once they were flushed. Not among them: those without change times
/// (vfat, exfat, ntfs), and those whose times another machine or program makes (nfs, fuse). What lies on
/// such a one is given to rsync in every run.
const HONEST: [i64; 9] = [
    0xef53,      // ext2, ext3, ext4
    0x5846_5342, // xfs
    0x9123_683e, // btrfs
    0xf2f5_2010, // f2fs
    0x794c_7630, // overlay
    0x2fc1_2fc1, // zfs
    0xca45_1a4e, // bcachefs
    0x3153_464a, // jfs
    0x3434,      // nilfs2
];

/// tmpfs does not notice writing through a mapping, which only regular files suffer.
const TMPFS: i64 = 0x0102_1994;

/// One file system.
#[derive(Debug, Clone, Copy)]
pub(super) struct Device {
    /// Its place among all that were met.
    pub(super) number: u32,
    /// The change times of its regular files can be believed.
    pub(super) is_honest: bool,
    /// Those of everything else.
    pub(super) is_half_honest: bool,
}

#[derive(Default)]
struct Met {
    names: Vec<String>,
    by_kernel_number: HashMap<u64, Device>,
}

/// Those that were met.
pub(super) struct Devices(Mutex<Met>);

impl Devices {
    /// Begins with those that an index knows, so that the same one has the same number.
    pub(super) fn new(names: Vec<String>) -> Self {
        Self(Mutex::new(Met { names, ..Met::default() }))
    }

    pub(super) fn into_names(self) -> Vec<String> {
        self.0.into_inner().unwrap_or_else(PoisonError::into_inner).names
    }

    /// The one with this kernel number, on which the open directory lies. It is flushed when it is met
    /// first, and nobody else gets it before that is done.
    pub(super) fn of(&self, kernel_number: u64, directory: BorrowedFd<'_>) -> Device {
        self.find(kernel_number, || {
            let flushed = syncfs(directory).is_ok();
            (statfs::fstatfs(directory).ok(), flushed)
        })
    }

    /// The same by path, of what is no symbolic link: a directory or a regular file, which is opened for it.
    pub(super) fn of_file(&self, kernel_number: u64, path: &Path) -> Device {
        self.find(kernel_number, || {
            let flags = OFlag::O_RDONLY | OFlag::O_NONBLOCK | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
            let file = open(path, flags, Mode::empty()).ok();
            let flushed = file.is_some_and(|file| syncfs(file).is_ok());
            (statfs::statfs(path).ok(), flushed)
        })
    }

    fn find(&self, kernel_number: u64, ask: impl FnOnce() -> (Option<Statfs>, bool)) -> Device {
        let mut met = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(device) = met.by_kernel_number.get(&kernel_number) {
            return *device;
        }
        let (told, flushed) = ask();
        let kind = told.as_ref().map(Statfs::filesystem_type);
        let name = name(kernel_number, told.as_ref());
        let place = met.names.iter().position(|known| *known == name).unwrap_or(met.names.len());
        if place == met.names.len() {
            met.names.push(name);
        }
        let is_honest = flushed && kind.is_some_and(|FsType(kind)| HONEST.contains(&kind));
        let is_half_honest = is_honest || kind == Some(FsType(TMPFS));
        let number = u32::try_from(place).unwrap_or(u32::MAX);
        let device = Device { number, is_honest, is_half_honest };
        met.by_kernel_number.insert(kernel_number, device);
        device
    }
}

/// `0xef53 [12, 34]`, or the kernel's number where the file system has none (statfs(2), f_fsid).
fn name(kernel_number: u64, told: Option<&Statfs>) -> String {
    let Some(told) = told else { return format!("unknown {kernel_number}") };
    let FsType(kind) = told.filesystem_type();
    let id = format!("{:?}", told.filesystem_id());
    let has_id = id.bytes().any(|byte| matches!(byte, b'1'..=b'9'));
    if has_id { format!("{kind:#x} {id}") } else { format!("{kind:#x} device {kernel_number}") }
}
