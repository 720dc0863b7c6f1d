//! Which pieces of a file lie elsewhere on the disk than in the file before: btrfs never overwrites, so what
//! was written since has a new place, and what was not has the old one.

use std::fs::File;
use std::io;
use std::time::Instant;
use std::vec;

use crate::system::ioctl::{self, Extent};

/// Bytes of `file`, which is `size` bytes long, that `before` does not have at the same offset in the same
/// place. Both are read side by side, a few extents at a time, however many there are.
///
/// # Errors
/// `TimedOut` after `deadline`; else what the kernel says.
pub(super) fn new_bytes(file: &File, size: u64, before: Option<&File>, deadline: Instant) -> io::Result<u64> {
    let new = Extents::of(file, deadline).map(|extent| extent.map(|extent| trimmed(extent, size)));
    match before {
        Some(before) => fresh(new, Extents::of(before, deadline)),
        None => fresh(new, std::iter::empty()),
    }
}

fn fresh(
    new: impl Iterator<Item = io::Result<Extent>>,
    old: impl Iterator<Item = io::Result<Extent>>,
) -> io::Result<u64> {
    let mut old = old.peekable();
    let mut fresh = 0_u64;
    for extent in new {
        let extent = extent?;
        let mut kept = 0;
        while let Some(other) = old.next_if(|other| is_before_end(other, &extent)) {
            let other = other?;
            if is_same(&extent, &other) {
                kept += overlap(&extent, &other);
            }
        }
        // The last one reaches further: it is also looked at for the next extent.
        if let Some(Ok(other)) = old.peek()
            && is_same(&extent, other)
        {
            kept += overlap(&extent, other);
        }
        fresh = fresh.saturating_add(extent.length.saturating_sub(kept));
    }
    Ok(fresh)
}

/// Data within the metadata is told in whole blocks, and is no longer than the file.
fn trimmed(extent: Extent, size: u64) -> Extent {
    match extent.flags & Extent::INLINE {
        0 => extent,
        _ => Extent { length: extent.length.min(size), ..extent },
    }
}

/// Whether an old extent ends within or before this one; an error counts so, that it comes out.
fn is_before_end(other: &io::Result<Extent>, extent: &Extent) -> bool {
    other.as_ref().map_or(true, |other| end(other) <= end(extent))
}

fn end(extent: &Extent) -> u64 {
    extent.logical.saturating_add(extent.length)
}

fn overlap(one: &Extent, other: &Extent) -> u64 {
    end(one).min(end(other)).saturating_sub(one.logical.max(other.logical))
}

/// All pieces of a compressed extent tell where it begins; of others each tells where it lies itself.
fn is_same(one: &Extent, other: &Extent) -> bool {
    const NOWHERE: u32 = Extent::INLINE | Extent::UNKNOWN;
    let place = |extent: &Extent| match extent.flags & Extent::ENCODED {
        0 => extent.physical.wrapping_sub(extent.logical),
        _ => extent.physical,
    };
    (one.flags | other.flags) & NOWHERE == 0
        && (one.flags ^ other.flags) & Extent::ENCODED == 0
        && place(one) == place(other)
}

/// The extents of a file, fetched as they are needed.
struct Extents<'a> {
    file: &'a File,
    deadline: Instant,
    fetched: vec::IntoIter<Extent>,
    /// Where to go on; `None` behind the last one.
    from: Option<u64>,
}

impl<'a> Extents<'a> {
    fn of(file: &'a File, deadline: Instant) -> Self {
        Self { file, deadline, fetched: Vec::new().into_iter(), from: Some(0) }
    }

    fn fetch(&mut self, from: u64) -> io::Result<()> {
        if Instant::now() >= self.deadline {
            return Err(io::ErrorKind::TimedOut.into());
        }
        let extents = ioctl::extents(self.file, from)?;
        // One that leads nowhere would be asked for for ever.
        let more = extents.last().filter(|last| last.flags & Extent::LAST == 0 && end(last) > from);
        self.from = more.map(end);
        self.fetched = extents.into_iter();
        Ok(())
    }
}

impl Iterator for Extents<'_> {
    type Item = io::Result<Extent>;

    fn next(&mut self) -> Option<Self::Item> {
        if let Some(extent) = self.fetched.next() {
            return Some(Ok(extent));
        }
        let from = self.from.take()?;
        match self.fetch(from) {
            Ok(()) => self.fetched.next().map(Ok),
            Err(error) => Some(Err(error)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn at(logical: u64, physical: u64, length: u64) -> Extent {
        Extent { logical, physical, length, flags: 0 }
    }

    fn bytes(new: &[Extent], old: &[Extent]) -> u64 {
        fresh(new.iter().copied().map(Ok), old.iter().copied().map(Ok)).unwrap()
    }

    #[test]
    fn what_lies_where_it_lay_is_not_new() {
        let old = [at(0, 1000, 100)];
        assert_eq!(bytes(&old, &old), 0);
        assert_eq!(bytes(&old, &[]), 100);
        assert_eq!(bytes(&[], &old), 0);
        let rewritten_inside = [at(0, 1000, 40), at(40, 5000, 10), at(50, 1050, 50)];
        assert_eq!(bytes(&rewritten_inside, &old), 10);
        assert_eq!(bytes(&old, &rewritten_inside), 10, "and back");
        assert_eq!(bytes(&[at(0, 1000, 150)], &old), 50, "it has grown");
        assert_eq!(bytes(&[at(10, 1000, 90)], &old), 90, "the same place at another offset is other data");
    }

    #[test]
    fn pieces_of_one_compressed_extent_are_the_same_wherever_they_are_cut() {
        let piece = |logical, length| Extent { flags: Extent::ENCODED, ..at(logical, 7000, length) };
        assert_eq!(bytes(&[piece(0, 40), at(40, 9000, 20), piece(60, 68)], &[piece(0, 128)]), 20);
    }

    #[test]
    fn data_within_the_metadata_is_always_new() {
        let inline = Extent { flags: Extent::INLINE | Extent::LAST, ..at(0, 0, 4096) };
        assert_eq!(bytes(&[trimmed(inline, 700)], &[inline]), 700);
        assert_eq!(trimmed(at(0, 0, 4096), 700), at(0, 0, 4096), "on the disk it fills its block");
    }

    #[test]
    fn an_error_in_either_file_is_an_error() {
        let broken = || std::iter::once(Err(io::Error::from(io::ErrorKind::TimedOut)));
        assert!(fresh(broken(), std::iter::empty()).is_err());
        assert!(fresh(std::iter::once(Ok(at(0, 0, 1))), broken()).is_err());
    }

    /// A file of up to 64 blocks, each of a few places or a hole, as extents cut at random.
    fn file() -> impl Strategy<Value = Vec<Extent>> {
        prop::collection::vec((0u64..4, any::<bool>()), 0..64).prop_map(|blocks| {
            let mut extents: Vec<Extent> = Vec::new();
            for (logical, (place, cut)) in (0..).zip(blocks).filter(|(_, (place, _))| *place > 0) {
                let physical = place * 1000 + logical;
                match extents.last_mut() {
                    Some(last) if !cut && end(last) == logical && last.physical + last.length == physical => {
                        last.length += 1;
                    }
                    _ => extents.push(at(logical, physical, 1)),
                }
            }
            extents
        })
    }

    proptest! {
        #[test]
        fn it_counts_as_block_for_block(new in file(), old in file()) {
            let blocks = |extents: &[Extent]| -> std::collections::HashSet<(u64, u64)> {
                let blocks = |e: &Extent| (0..e.length).map(|n| (e.logical + n, e.physical + n)).collect::<Vec<_>>();
                extents.iter().flat_map(blocks).collect()
            };
            let expected = blocks(&new).difference(&blocks(&old)).count() as u64;
            prop_assert_eq!(bytes(&new, &old), expected);
        }
    }
}
