//! Whether there is room for a run to begin at all. Below this floor btrfs cannot even delete for want of
//! metadata, so nothing is let in until the pruner has been at work.

use std::fmt;

use super::room::Room;
use crate::model::ByteSize;

const MIB: u64 = 1 << 20;

/// What there is too little of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Short {
    /// Room for data.
    Data {
        /// Bytes that are left.
        left: u64,
        /// Bytes that there have to be.
        floor: u64,
    },
    /// Room for metadata.
    Metadata {
        /// Bytes that are left.
        left: u64,
        /// Bytes that there have to be.
        floor: u64,
    },
}

/// Lets a run begin, or says what it lacks. There have to be 1 GiB of data, or 2 % of what is in use if
/// that is more, and 256 MiB or 2 % of metadata; on a small store 5 % of all are enough of either.
///
/// # Errors
/// What there is too little of; metadata first, since only a lack of it can keep the pruner from working.
pub fn admit(room: &Room) -> Result<(), Short> {
    let (left, floor) = (room.meta_avail(), floor(256 * MIB, room.meta_used, room.meta_most()));
    if left < floor {
        return Err(Short::Metadata { left, floor });
    }
    let (left, floor) = (room.data_avail(), self::floor(1024 * MIB, room.data_used, room.data_most()));
    if left < floor { Err(Short::Data { left, floor }) } else { Ok(()) }
}

fn floor(least: u64, used: u64, most: u64) -> u64 {
    least.max(used / 50).min(most / 20)
}

impl fmt::Display for Short {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (kind, left, floor) = match self {
            Self::Data { left, floor } => ("data", left, floor),
            Self::Metadata { left, floor } => ("metadata", left, floor),
        };
        let (left, floor) = (ByteSize(*left), ByteSize(*floor));
        write!(
            f,
            "the store is full: it has room for {left} of {kind}, and a backup begins only with {floor}"
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const GIB: u64 = 1 << 30;

    fn room(data_free: u64, meta_free: u64, data: u64, meta: u64) -> Room {
        Room {
            data_used: data - data_free,
            data_total: data,
            meta_used: meta - meta_free,
            meta_total: meta,
            data_copies: 1,
            meta_copies: 2,
            ..Room::default()
        }
    }

    #[test]
    fn a_large_store_keeps_two_percent_and_a_small_one_five() {
        let floor = |room: &Room| {
            admit(room).map_err(|short| match short {
                Short::Data { floor, .. } => ("data", floor / MIB),
                Short::Metadata { floor, .. } => ("metadata", floor / MIB),
            })
        };
        for (room, verdict) in [
            (room(100 * GIB, 10 * GIB, 1000 * GIB, 20 * GIB), Ok(())),
            (room(10 * GIB, 10 * GIB, 1000 * GIB, 20 * GIB), Err(("data", 20_275))),
            (room(900 * MIB, 10 * GIB, 40 * GIB, 20 * GIB), Err(("data", 1024))),
            (room(100 * GIB, 200 * MIB, 1000 * GIB, 10 * GIB), Err(("metadata", 256))),
            (room(100 * MIB, 100 * MIB, GIB, GIB), Ok(())),
            (room(51 * MIB, 100 * MIB, GIB, GIB), Err(("data", 51))),
            (room(0, 0, GIB, GIB), Err(("metadata", 51))),
            (Room::default(), Ok(())),
        ] {
            assert_eq!(floor(&room), verdict, "{room:?}");
        }
    }

    #[test]
    fn unallocated_room_counts() {
        let full = room(0, 0, 10 * GIB, 10 * GIB);
        assert!(admit(&Room { unallocated: 10 * GIB, ..full }).is_ok());
    }

    #[test]
    fn a_refusal_says_what_is_short() {
        let words = admit(&room(0, GIB, 40 * GIB, 2 * GIB)).unwrap_err().to_string();
        assert_eq!(
            words,
            "the store is full: it has room for 0 bytes of data, and a backup begins only with 1.0 GiB"
        );
    }

    proptest! {
        #[test]
        fn more_room_never_turns_anybody_away(data in 0u64..100 * GIB, meta in 0u64..10 * GIB, more in 0u64..GIB) {
            let before = room(data, meta, 100 * GIB, 10 * GIB);
            let after = Room { unallocated: more, ..before };
            prop_assert!(admit(&before).is_err() || admit(&after).is_ok());
        }
    }
}
