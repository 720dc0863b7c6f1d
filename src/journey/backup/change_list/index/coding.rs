//! Numbers, texts and stamps as bytes: seven bits a byte, the lowest first, the highest bit on all but
//! the last.

use crate::policy::changes::{Moment, Stamp};

const LINKED: u8 = 0x10;
const CERTAIN: u8 = 0x20;
/// The change time stands for the modification time too, as in most files.
const ONE_TIME: u8 = 0x40;

pub(super) fn put_number(to: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        to.push(number.to_le_bytes()[0] | 0x80);
        number >>= 7;
    }
    to.push(number.to_le_bytes()[0]);
}

pub(super) fn put_bytes(to: &mut Vec<u8>, bytes: &[u8]) {
    put_number(to, bytes.len() as u64);
    to.extend_from_slice(bytes);
}

/// The sign goes into the lowest bit, so that times before 1970 are short too.
fn put_moment(to: &mut Vec<u8>, (seconds, nanoseconds): Moment) {
    put_number(to, (seconds.cast_unsigned() << 1) ^ (seconds >> 63).cast_unsigned());
    put_number(to, u64::from(nanoseconds));
}

pub(super) fn put_stamp(to: &mut Vec<u8>, stamp: &Stamp) {
    let flag = |set: bool, flag: u8| if set { flag } else { 0 };
    let one_time = stamp.ctime == stamp.mtime;
    let flags = flag(stamp.linked, LINKED) | flag(stamp.certain, CERTAIN) | flag(one_time, ONE_TIME);
    to.push(stamp.kind & 0x0f | flags);
    put_number(to, u64::from(stamp.device));
    put_number(to, stamp.inode);
    put_number(to, stamp.size);
    put_moment(to, stamp.ctime);
    if !one_time {
        put_moment(to, stamp.mtime);
    }
}

/// What is left to read; whatever does not fit is `None`.
pub(super) struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    fn byte(&mut self) -> Option<u8> {
        let (first, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(*first)
    }

    pub(super) fn number(&mut self) -> Option<u64> {
        let mut number = 0;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            number |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Some(number);
            }
        }
        None
    }

    pub(super) fn bytes(&mut self) -> Option<&'a [u8]> {
        let length = usize::try_from(self.number()?).ok()?;
        let (bytes, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(bytes)
    }

    fn moment(&mut self) -> Option<Moment> {
        let folded = self.number()?;
        let seconds = (folded >> 1).cast_signed() ^ -((folded & 1).cast_signed());
        Some((seconds, u32::try_from(self.number()?).ok()?))
    }

    pub(super) fn stamp(&mut self) -> Option<Stamp> {
        let first = self.byte()?;
        let device = u32::try_from(self.number()?).ok()?;
        let (inode, size, ctime) = (self.number()?, self.number()?, self.moment()?);
        let mtime = if first & ONE_TIME == 0 { self.moment()? } else { ctime };
        let (linked, certain) = (first & LINKED != 0, first & CERTAIN != 0);
        Some(Stamp { kind: first & 0x0f, device, inode, ctime, mtime, size, linked, certain })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn any_stamp_survives(
            kind in 0u8..16, device: u32, inode: u64, ctime: (i64, u32), mtime: (i64, u32), size: u64,
            linked: bool, certain: bool, one_time: bool,
        ) {
            let mtime = if one_time { ctime } else { mtime };
            let stamp = Stamp { kind, device, inode, ctime, mtime, size, linked, certain };
            let mut bytes = Vec::new();
            put_stamp(&mut bytes, &stamp);
            let mut reader = Reader::new(&bytes);
            prop_assert_eq!(reader.stamp(), Some(stamp));
            prop_assert!(reader.is_empty());
        }
    }
}
