//! What the kernel's figures of block groups mean, and what its simple quotas charge to a subvolume.

use std::fmt::Write as _;
use std::os::fd::AsFd;
use std::path::PathBuf;

use anyhow::{Context, Result};

use crate::policy::room::Room;
use crate::store::volume::QuotaMode;
use crate::system::{files, ioctl};

/// The kernel's flags of a block group (linux/btrfs_tree.h), as `BTRFS_IOC_SPACE_INFO` reports them.
const DATA: u64 = 1;
const METADATA: u64 = 1 << 2;
const TWICE: u64 = 1 << 4 | 1 << 5 | 1 << 6; // RAID1, DUP, RAID10
const THRICE: u64 = 1 << 9; // RAID1C3
const FOUR_TIMES: u64 = 1 << 10; // RAID1C4
const GLOBAL_RESERVE: u64 = 1 << 49;

/// Sums the kinds up. In a file system with mixed block groups data and metadata share them, so such a
/// group counts as both.
pub(super) fn room_of(spaces: &[ioctl::Space], unallocated: u64) -> Room {
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

/// Bytes in use on the devices: data and metadata, as often as they are stored.
pub(super) fn used(spaces: &[ioctl::Space]) -> u64 {
    let counts =
        |space: &&ioctl::Space| space.flags & GLOBAL_RESERVE == 0 && space.flags & (DATA | METADATA) != 0;
    spaces.iter().filter(counts).map(|space| space.used.saturating_mul(copies(space.flags))).sum()
}

/// What simple quotas (Linux 6.7) charge to the subvolume: every extent that was written through it and is
/// still there, in whatever snapshot. `None` where they are off; full quota groups count something else.
pub(super) fn quota(subvolume: impl AsFd) -> Result<Option<u64>> {
    let groups = quota_groups(subvolume.as_fd())?;
    let mode = files::read_optional(&groups.join("mode"))?.unwrap_or_default();
    if mode.trim_ascii() != b"squota" {
        return Ok(None);
    }
    let id = ioctl::subvolume(subvolume).context("cannot ask for the subvolume's number")?.id;
    let path = groups.join(format!("0_{id}/referenced"));
    let Some(text) = files::read_optional(&path)? else { return Ok(None) };
    let bytes = std::str::from_utf8(&text).ok().and_then(|text| text.trim().parse().ok());
    bytes.map(Some).with_context(|| format!("{} is no number", path.display()))
}

/// Which kind of quotas is turned on; kernels before 6.7 know full ones alone and do not name them.
pub(super) fn quota_mode(file: impl AsFd) -> Result<Option<QuotaMode>> {
    let groups = quota_groups(file)?;
    let mode = files::read_optional(&groups.join("mode"))?;
    Ok(match mode.as_deref().map(<[u8]>::trim_ascii) {
        Some(b"squota") => Some(QuotaMode::Simple),
        Some(b"disabled") => None,
        Some(_) => Some(QuotaMode::Full),
        None => groups.exists().then_some(QuotaMode::Full),
    })
}

/// Where sysfs tells of them (Documentation/ABI/testing/sysfs-fs-btrfs has no page; fs/btrfs/sysfs.c).
fn quota_groups(file: impl AsFd) -> Result<PathBuf> {
    let mut name = String::new();
    for (number, byte) in ioctl::uuid(file).context("the store is not on btrfs")?.into_iter().enumerate() {
        let dash = if matches!(number, 4 | 6 | 8 | 10) { "-" } else { "" };
        let _ = write!(name, "{dash}{byte:02x}");
    }
    Ok(PathBuf::from("/sys/fs/btrfs").join(name).join("qgroups"))
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
        assert_eq!(used(&spaces), 60 + 2 * 10, "metadata lies there twice, the reserve is none of it");
    }
}
