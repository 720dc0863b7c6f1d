//! The structures that the kernel reads and fills (linux/btrfs.h, linux/fiemap.h), byte for byte.

use super::{EXTENT_SLOTS, SPACE_SLOTS};

#[repr(C)]
pub(super) struct VolArgs {
    pub(super) fd: i64,
    pub(super) name: [u8; 4088],
}

#[repr(C)]
pub(super) struct VolArgsV2 {
    pub(super) fd: i64,
    pub(super) transid: u64,
    pub(super) flags: u64,
    pub(super) unused: [u64; 4],
    pub(super) name: [u8; 4040],
}

#[repr(C)]
pub(super) struct SubvolInfo {
    pub(super) treeid: u64,
    pub(super) name: [u8; 256],
    /// `parent_id`, `dirid`, generation, flags, three UUIDs, four transaction numbers, the time of the last change.
    pub(super) before: [u64; 16],
    pub(super) made_seconds: u64,
    pub(super) made_nanoseconds: u32,
    /// The end of that time, the times of sending and receiving, reserve.
    pub(super) rest: [u32; 25],
}

#[repr(C)]
pub(super) struct RootRefs {
    pub(super) min_treeid: u64,
    pub(super) refs: [[u64; 2]; 255],
    pub(super) num_items: u8,
    pub(super) align: [u8; 7],
}

#[repr(C)]
pub(super) struct SpaceArgs {
    pub(super) slots: u64,
    pub(super) total: u64,
    pub(super) spaces: [[u64; 3]; SPACE_SLOTS],
}

#[repr(C)]
pub(super) struct SpaceHead {
    pub(super) slots: u64,
    pub(super) total: u64,
}

#[repr(C)]
pub(super) struct DevInfo {
    pub(super) devid: u64,
    pub(super) uuid: [u8; 16],
    pub(super) bytes_used: u64,
    pub(super) total_bytes: u64,
    pub(super) rest: [u64; 507],
}

#[repr(C)]
pub(super) struct FsInfo {
    pub(super) max_id: u64,
    pub(super) num_devices: u64,
    pub(super) uuid: [u8; 16],
    pub(super) rest: [u64; 124],
}

#[repr(C)]
pub(super) struct QuotaCtl {
    pub(super) command: u64,
    pub(super) status: u64,
}

#[repr(C)]
pub(super) struct ExtentHead {
    pub(super) start: u64,
    pub(super) length: u64,
    pub(super) flags: u32,
    pub(super) mapped: u32,
    pub(super) slots: u32,
    pub(super) reserved: u32,
}

#[repr(C)]
#[derive(Clone, Copy)]
pub(super) struct RawExtent {
    pub(super) logical: u64,
    pub(super) physical: u64,
    pub(super) length: u64,
    pub(super) reserved: [u64; 2],
    pub(super) flags: u32,
    pub(super) more_reserved: [u32; 3],
}

#[repr(C)]
pub(super) struct ExtentArgs {
    pub(super) head: ExtentHead,
    pub(super) extents: [RawExtent; EXTENT_SLOTS as usize],
}

#[repr(C)]
pub(super) struct SubvolWait {
    pub(super) subvolid: u64,
    pub(super) mode: u32,
    pub(super) count: u32,
}

const _: () = assert!(size_of::<VolArgs>() == 4096 && size_of::<VolArgsV2>() == 4096);
const _: () = assert!(size_of::<SubvolInfo>() == 504 && size_of::<RootRefs>() == 4096);
const _: () = assert!(size_of::<DevInfo>() == 4096 && size_of::<FsInfo>() == 1024);
const _: () = assert!(size_of::<SubvolWait>() == 16 && size_of::<SpaceHead>() == 16);
const _: () = assert!(size_of::<ExtentHead>() == 32 && size_of::<RawExtent>() == 56);
const _: () = assert!(size_of::<QuotaCtl>() == 16);
