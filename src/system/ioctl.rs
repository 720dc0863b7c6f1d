//! btrfs spoken by ioctl(2), never by its command. Every call works on an open directory, so no path
//! can change under it; each is sound for any open file, the kernel answers ENOTTY elsewhere.
//!
//! Numbers and structures: linux/btrfs.h. What an ordinary user may do was measured on Linux 6.18.
#![allow(unsafe_code, reason = "ioctl(2) takes a pointer to a structure whose layout the kernel defines")]

use std::io;
use std::os::fd::{AsFd, AsRawFd, RawFd};

use nix::errno::Errno;

mod structures;
use structures::{
    DevInfo, ExtentArgs, ExtentHead, FsInfo, QuotaCtl, RawExtent, RootRefs, SpaceArgs, SpaceHead, SubvolInfo,
    SubvolWait, VolArgs, VolArgsV2,
};

const BTRFS: u8 = 0x94;
/// `BTRFS_SUBVOL_RDONLY`, as the get/set flags calls and snapshot creation use it.
const READ_ONLY: u64 = 1 << 1;
/// How many space descriptions are asked for; btrfs has fewer kinds of block groups.
const SPACE_SLOTS: usize = 32;
/// How many extents are asked for at once.
const EXTENT_SLOTS: u32 = 128;
/// `BTRFS_QUOTA_CTL_ENABLE_SIMPLE_QUOTA` (Linux 6.7).
const ENABLE_SIMPLE_QUOTA: u64 = 4;

/// The calls themselves, as nix's macros make them.
mod call {
    #![allow(missing_docs, unreachable_pub, reason = "nix's macros make undocumented public functions")]
    use super::{
        BTRFS, DevInfo, ExtentHead, FsInfo, QuotaCtl, RootRefs, SpaceHead, SubvolInfo, SubvolWait, VolArgs,
        VolArgsV2,
    };
    use nix::{ioctl_none, ioctl_read, ioctl_readwrite, ioctl_write_ptr};

    ioctl_none!(sync, BTRFS, 8);
    ioctl_write_ptr!(subvol_create, BTRFS, 14, VolArgs);
    ioctl_write_ptr!(snap_destroy, BTRFS, 15, VolArgs);
    ioctl_readwrite!(space_info, BTRFS, 20, SpaceHead);
    ioctl_write_ptr!(snap_create_v2, BTRFS, 23, VolArgsV2);
    ioctl_read!(subvol_getflags, BTRFS, 25, u64);
    ioctl_write_ptr!(subvol_setflags, BTRFS, 26, u64);
    ioctl_readwrite!(dev_info, BTRFS, 30, DevInfo);
    ioctl_read!(fs_info, BTRFS, 31, FsInfo);
    ioctl_read!(get_subvol_info, BTRFS, 60, SubvolInfo);
    ioctl_readwrite!(get_subvol_rootref, BTRFS, 61, RootRefs);
    ioctl_write_ptr!(subvol_sync_wait, BTRFS, 65, SubvolWait);
    ioctl_readwrite!(quota_ctl, BTRFS, 40, QuotaCtl);
    ioctl_readwrite!(fiemap, b'f', 11, ExtentHead);
}

/// Makes an empty subvolume `name` in `parent`. Not durable before the next commit.
///
/// # Errors
/// EEXIST, EPERM, ENOSPC; ENOTTY when this is no btrfs.
pub fn create_subvolume(parent: impl AsFd, name: &str) -> io::Result<()> {
    let args = VolArgs { fd: 0, name: c_name(name)? };
    // SAFETY: `args` is the 4096-byte structure that the call reads, alive until it returns.
    done(unsafe { call::subvol_create(raw(&parent), &raw const args) })
}

/// Makes a snapshot of the subvolume `source`, read-only from its first moment or writable. The kernel
/// flushes the source and commits: on return both are on the disk.
///
/// # Errors
/// EPERM when the source's root belongs to somebody else, EEXIST, ENOSPC, EINVAL for no subvolume.
pub fn snapshot(source: impl AsFd, parent: impl AsFd, name: &str, read_only: bool) -> io::Result<()> {
    let args = VolArgsV2 {
        fd: i64::from(raw(&source)),
        transid: 0,
        flags: if read_only { READ_ONLY } else { 0 },
        unused: [0; 4],
        name: c_name(name)?,
    };
    // SAFETY: `args` is the 4096-byte structure that the call reads, alive until it returns.
    done(unsafe { call::snap_create_v2(raw(&parent), &raw const args) })
}

/// Destroys the writable subvolume `name` in `parent`. Its space comes back later.
///
/// # Errors
/// EROFS for a read-only one, EPERM without the mount option `user_subvol_rm_allowed`, ENOTEMPTY
/// when another subvolume lies in it.
pub fn destroy_subvolume(parent: impl AsFd, name: &str) -> io::Result<()> {
    let args = VolArgs { fd: 0, name: c_name(name)? };
    // SAFETY: `args` is the 4096-byte structure that the call reads, alive until it returns.
    done(unsafe { call::snap_destroy(raw(&parent), &raw const args) })
}

/// Whether the subvolume that this directory is the root of is read-only.
///
/// # Errors
/// EINVAL when the directory is not the root of a subvolume.
pub fn is_read_only(subvolume: impl AsFd) -> io::Result<bool> {
    let mut flags = 0_u64;
    // SAFETY: the call writes one u64 to a live one.
    done(unsafe { call::subvol_getflags(raw(&subvolume), &raw mut flags) })?;
    Ok(flags & READ_ONLY != 0)
}

/// Makes a subvolume read-only or writable; its owner may. Commits.
///
/// # Errors
/// EPERM, EINVAL; ENOSPC when metadata is exhausted.
pub fn set_read_only(subvolume: impl AsFd, read_only: bool) -> io::Result<()> {
    let flags = if read_only { READ_ONLY } else { 0 };
    // SAFETY: the call reads one u64 from a live one.
    done(unsafe { call::subvol_setflags(raw(&subvolume), &raw const flags) })
}

/// What the kernel tells of a subvolume.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Subvolume {
    /// Its number, which no other ever gets.
    pub id: u64,
    /// When it was made: seconds since 1970, and nanoseconds.
    pub made: (u64, u32),
}

/// The subvolume that this file lies in.
///
/// # Errors
/// ENOTTY when this is no btrfs.
pub fn subvolume(file: impl AsFd) -> io::Result<Subvolume> {
    let mut info = SubvolInfo {
        treeid: 0,
        name: [0; 256],
        before: [0; 16],
        made_seconds: 0,
        made_nanoseconds: 0,
        rest: [0; 25],
    };
    // SAFETY: the call fills the 504-byte structure, alive until it returns.
    done(unsafe { call::get_subvol_info(raw(&file), &raw mut info) })?;
    Ok(Subvolume { id: info.treeid, made: (info.made_seconds, info.made_nanoseconds) })
}

/// Whether other subvolumes lie in the one that this directory belongs to.
///
/// # Errors
/// ENOTTY when this is no btrfs.
pub fn has_nested_subvolumes(subvolume: impl AsFd) -> io::Result<bool> {
    let mut refs = RootRefs { min_treeid: 0, refs: [[0; 2]; 255], num_items: 0, align: [0; 7] };
    // SAFETY: the call fills the 4096-byte structure, alive until it returns.
    match done(unsafe { call::get_subvol_rootref(raw(&subvolume), &raw mut refs) }) {
        // EOVERFLOW: there are more than the structure holds.
        Err(error) if error.raw_os_error() == Some(Errno::EOVERFLOW as i32) => Ok(true),
        other => other.map(|()| refs.num_items > 0),
    }
}

/// Commits the file system and wakes its cleaner.
///
/// # Errors
/// EIO, ENOSPC.
pub fn sync(file: impl AsFd) -> io::Result<()> {
    // SAFETY: the call takes no argument.
    done(unsafe { call::sync(raw(&file)) })
}

/// Waits until the destroyed subvolume `id` has given back its space (Linux 6.13). It ends only
/// after a commit, so somebody has to call [`sync`] meanwhile.
///
/// # Errors
/// ENOENT: it is gone already. EEXIST: it was not destroyed. ENOTTY: an older kernel.
pub fn wait_until_cleaned(file: impl AsFd, id: u64) -> io::Result<()> {
    let args = SubvolWait { subvolid: id, mode: 0, count: 0 };
    // SAFETY: `args` is the 16-byte structure that the call reads, alive until it returns.
    done(unsafe { call::subvol_sync_wait(raw(&file), &raw const args) })
}

/// One kind of block groups: its `BTRFS_BLOCK_GROUP_*` flags, and bytes counted once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Space {
    /// Kind and profile.
    pub flags: u64,
    /// Bytes that chunks of this kind can hold.
    pub total: u64,
    /// Bytes in use.
    pub used: u64,
}

/// The block groups of the file system.
///
/// # Errors
/// ENOTTY when this is no btrfs.
pub fn spaces(file: impl AsFd) -> io::Result<Vec<Space>> {
    let mut args = SpaceArgs { slots: SPACE_SLOTS as u64, total: 0, spaces: [[0; 3]; SPACE_SLOTS] };
    // SAFETY: the call reads the head and writes at most `slots` entries behind it; `SpaceArgs` begins
    // with the head and has room for that many, and the pointer is derived from the whole of it.
    done(unsafe { call::space_info(raw(&file), (&raw mut args).cast()) })?;
    let filled = usize::try_from(args.total).unwrap_or(0).min(SPACE_SLOTS);
    Ok(args.spaces[..filled]
        .iter()
        .map(|[flags, total, used]| Space { flags: *flags, total: *total, used: *used })
        .collect())
}

/// Bytes on all devices that belong to no chunk yet.
///
/// # Errors
/// ENOTTY when this is no btrfs.
pub fn unallocated(file: impl AsFd) -> io::Result<u64> {
    let info = file_system(&file)?;
    let mut free = 0_u64;
    for devid in 1..=info.max_id {
        let mut device = DevInfo { devid, uuid: [0; 16], bytes_used: 0, total_bytes: 0, rest: [0; 507] };
        // SAFETY: the call reads `devid` and fills the 4096-byte structure, alive until it returns.
        match done(unsafe { call::dev_info(raw(&file), &raw mut device) }) {
            Ok(()) => free = free.saturating_add(device.total_bytes.saturating_sub(device.bytes_used)),
            // Numbers of devices that were removed stay unused.
            Err(error) if error.raw_os_error() == Some(Errno::ENODEV as i32) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(free)
}

/// The file system's UUID.
///
/// # Errors
/// ENOTTY when this is no btrfs.
pub fn uuid(file: impl AsFd) -> io::Result<[u8; 16]> {
    file_system(&file).map(|info| info.uuid)
}

fn file_system(file: &impl AsFd) -> io::Result<FsInfo> {
    let mut info = FsInfo { max_id: 0, num_devices: 0, uuid: [0; 16], rest: [0; 124] };
    // SAFETY: the call fills the 1024-byte structure, alive until it returns.
    done(unsafe { call::fs_info(raw(file), &raw mut info) })?;
    Ok(info)
}

/// Turns simple quotas on, which charge each extent to the subvolume that allocated it (Linux 6.7). Only
/// root may; older kernels and older btrfs-progs refuse the file system from then on.
///
/// # Errors
/// EPERM; EINVAL from a kernel that does not know them.
pub fn enable_simple_quotas(file: impl AsFd) -> io::Result<()> {
    let mut args = QuotaCtl { command: ENABLE_SIMPLE_QUOTA, status: 0 };
    // SAFETY: the call reads and writes the 16-byte structure, alive until it returns.
    done(unsafe { call::quota_ctl(raw(&file), &raw mut args) })
}

/// A piece of a file as it lies on the disk (linux/fiemap.h), in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Extent {
    /// Where in the file.
    pub logical: u64,
    /// Where in the file system; for a compressed piece the begin of the whole that it is part of.
    pub physical: u64,
    /// How long in the file.
    pub length: u64,
    /// `FIEMAP_EXTENT_*`.
    pub flags: u32,
}

impl Extent {
    /// It is the last one of the file.
    pub const LAST: u32 = 1;
    /// It has no place on the disk yet.
    pub const UNKNOWN: u32 = 2;
    /// It is compressed.
    pub const ENCODED: u32 = 8;
    /// It lies within the metadata.
    pub const INLINE: u32 = 0x200;
}

/// The next extents of a file from this offset on, 128 at most; none behind the last one. Whether they are
/// shared is the kernel's costly afterthought and not told.
///
/// # Errors
/// EOPNOTSUPP where files have no extents.
#[inline(never)] // its 7 KiB shall not stand in a caller's frame
pub fn extents(file: impl AsFd, from: u64) -> io::Result<Vec<Extent>> {
    let empty =
        RawExtent { logical: 0, physical: 0, length: 0, reserved: [0; 2], flags: 0, more_reserved: [0; 3] };
    let head = ExtentHead {
        start: from,
        length: u64::MAX - from,
        flags: 0,
        mapped: 0,
        slots: EXTENT_SLOTS,
        reserved: 0,
    };
    let mut args = ExtentArgs { head, extents: [empty; EXTENT_SLOTS as usize] };
    // SAFETY: the call reads the head and writes at most `slots` entries behind it; `ExtentArgs` begins
    // with the head and has room for that many, and the pointer is derived from the whole of it.
    done(unsafe { call::fiemap(raw(&file), (&raw mut args).cast()) })?;
    let mapped = args.head.mapped.min(EXTENT_SLOTS) as usize;
    let extent = |raw: &RawExtent| Extent {
        logical: raw.logical,
        physical: raw.physical,
        length: raw.length,
        flags: raw.flags,
    };
    Ok(args.extents[..mapped].iter().map(extent).collect())
}

fn c_name<const N: usize>(name: &str) -> io::Result<[u8; N]> {
    let mut bytes = [0; N];
    let fits = name.len() < N.min(256) && !name.is_empty() && !name.bytes().any(|b| b == 0 || b == b'/');
    if !fits {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    bytes[..name.len()].copy_from_slice(name.as_bytes());
    Ok(bytes)
}

fn raw(file: &impl AsFd) -> RawFd {
    file.as_fd().as_raw_fd()
}

fn done(answer: nix::Result<i32>) -> io::Result<()> {
    answer.map(|_| ()).map_err(io::Error::from)
}

#[cfg(test)]
mod tests {
    use std::fs::File;

    use super::*;

    #[test]
    fn elsewhere_than_on_btrfs_every_call_says_so() {
        let proc = File::open("/proc").unwrap();
        let enotty = Some(Errno::ENOTTY as i32);
        assert_eq!(spaces(&proc).unwrap_err().raw_os_error(), enotty);
        assert_eq!(subvolume(&proc).unwrap_err().raw_os_error(), enotty);
        assert_eq!(create_subvolume(&proc, "x").unwrap_err().raw_os_error(), enotty);
    }

    #[test]
    fn a_name_is_one_component() {
        let proc = File::open("/proc").unwrap();
        for name in ["", "a/b", "a\0", &"x".repeat(256)] {
            assert_eq!(create_subvolume(&proc, name).unwrap_err().kind(), io::ErrorKind::InvalidInput);
        }
    }
}
