//! How much room a btrfs store really has. statfs(2) hardly moves when snapshots are thinned (what is
//! freed is nearly all metadata, which it does not count), so a pruner that believed it would delete all
//! history without reaching its goal. The kernel's own figures tell the truth: `BTRFS_IOC_SPACE_INFO`
//! and `BTRFS_IOC_DEV_INFO`.

/// The kernel's figures, all in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Room {
    /// In use within the data chunks.
    pub data_used: u64,
    /// The size of the data chunks.
    pub data_total: u64,
    /// In use within the metadata chunks.
    pub meta_used: u64,
    /// The size of the metadata chunks.
    pub meta_total: u64,
    /// The global reserve, which lies within the metadata chunks and is not for us.
    pub meta_reserved: u64,
    /// On the devices, in no chunk yet: the sum of their sizes less what is allocated.
    pub unallocated: u64,
    /// On how many places of a device each byte of data lies (1 for single, 2 for DUP and RAID1).
    pub data_copies: u64,
    /// The same for metadata.
    pub meta_copies: u64,
}

impl Room {
    /// Bytes of data that can still be written, if no metadata took the unallocated room.
    pub fn data_avail(&self) -> u64 {
        self.data_total.saturating_sub(self.data_used).saturating_add(self.new_chunks(self.data_copies))
    }

    /// Bytes of metadata that can still be written, if no data took the unallocated room.
    pub fn meta_avail(&self) -> u64 {
        let unused = self.meta_total.saturating_sub(self.meta_used).saturating_sub(self.meta_reserved);
        unused.saturating_add(self.new_chunks(self.meta_copies))
    }

    /// Free room in percent of what there could be at most, of data or of metadata, whichever is less:
    /// from 0 to 100. A kind of which there could be nothing at all limits nothing, since deleting
    /// would not bring any of it back.
    pub fn percent_free(&self) -> f64 {
        percent(self.data_avail(), self.data_most()).min(percent(self.meta_avail(), self.meta_most()))
    }

    /// Bytes of data that the store could hold, if no further metadata took the unallocated room.
    pub fn data_most(&self) -> u64 {
        self.data_total.saturating_add(self.new_chunks(self.data_copies))
    }

    /// Bytes of metadata that the store could hold, if no further data took the unallocated room.
    pub fn meta_most(&self) -> u64 {
        self.meta_total.saturating_add(self.new_chunks(self.meta_copies))
    }

    /// Bytes that lie in metadata chunks far beyond what metadata uses (half as much again is normal).
    /// They serve no data until root gives the chunks back with `btrfs balance start -musage=40`. When
    /// data is short and this is large, deleting snapshots helps nobody.
    pub fn stranded_metadata(&self) -> u64 {
        self.meta_total.saturating_sub(self.meta_used.saturating_add(self.meta_used / 2))
    }

    /// What the unallocated room gives, where each byte is stored so many times.
    fn new_chunks(&self, copies: u64) -> u64 {
        self.unallocated / copies.max(1)
    }
}

#[allow(clippy::cast_precision_loss, reason = "a percentage needs no more than 52 bits of a byte count")]
fn percent(avail: u64, most: u64) -> f64 {
    if most == 0 { 100.0 } else { (avail as f64 / most as f64 * 100.0).min(100.0) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const GIB: u64 = 1 << 30;

    fn usual() -> Room {
        Room {
            data_used: 6 * GIB,
            data_total: 8 * GIB,
            meta_used: GIB,
            meta_total: 2 * GIB,
            meta_reserved: GIB / 2,
            unallocated: 4 * GIB,
            data_copies: 1,
            meta_copies: 2,
        }
    }

    #[test]
    fn room_is_what_the_chunks_and_the_rest_of_the_devices_hold() {
        let room = usual();
        assert_eq!(room.data_avail(), 6 * GIB);
        assert_eq!(room.meta_avail(), GIB / 2 + 2 * GIB);
        assert!((room.percent_free() - 50.0).abs() < 1e-9, "data: 6 of 12");
        assert_eq!(room.stranded_metadata(), GIB / 2);
    }

    #[test]
    fn the_scarcer_kind_decides() {
        let full_of_metadata = Room { unallocated: 0, meta_used: 3 * GIB / 2, ..usual() };
        assert!(full_of_metadata.percent_free().abs() < 1e-9);
        let full_of_data = Room { unallocated: 0, data_used: 8 * GIB, ..usual() };
        assert!(full_of_data.percent_free().abs() < 1e-9);
    }

    #[test]
    fn a_store_that_is_measured_as_nothing_calls_for_no_deletion() {
        assert!((Room::default().percent_free() - 100.0).abs() < 1e-9);
        let mixed = Room { meta_total: 0, meta_used: 0, meta_reserved: 0, unallocated: 0, ..usual() };
        assert!((mixed.percent_free() - 25.0).abs() < 1e-9, "a kind that is not there does not count");
    }

    proptest! {
        #[test]
        fn no_figures_overflow_or_leave_the_scale(figures: [u64; 8]) {
            let [data_used, data_total, meta_used, meta_total, meta_reserved, unallocated, data_copies, meta_copies] =
                figures;
            let room = Room {
                data_used, data_total, meta_used, meta_total, meta_reserved, unallocated, data_copies, meta_copies,
            };
            prop_assert!((0.0..=100.0).contains(&room.percent_free()));
            prop_assert!(room.stranded_metadata() <= meta_total);
        }

        #[test]
        fn deleting_never_seems_to_cost_room(freed in 0u64..6 * GIB, meta_freed in 0u64..GIB) {
            let before = usual();
            let after =
                Room { data_used: before.data_used - freed, meta_used: before.meta_used - meta_freed, ..before };
            prop_assert!(after.percent_free() >= before.percent_free());
        }
    }
}
