//! The `user.rsync.%stat` attribute: where rsync's fake-super keeps what a server without root cannot
//! give a file (rsync(1), `--fake-super`): `MODE(octal) MAJOR,MINOR UID:GID`, e.g. `100644 0,0 1000:1000`.
//!
//! A client chooses every number in it, so nothing here may be believed beyond being a number, and
//! nothing may be done with it on the server but to show it.

use std::fmt;
use std::str::FromStr;

use crate::model::Kind;

/// The attribute's name on Linux, where a user's own attributes live below `user.`.
pub const ATTRIBUTE: &str = "user.rsync.%stat";

/// No value is longer: seven octal digits, four numbers of ten digits, four separators.
const LONGEST: usize = 7 + 4 * 10 + 4;

/// What a file was on the client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stat {
    /// Its `st_mode`, type bits included (inode(7)).
    pub mode: u32,
    /// A device's major number; 0 for everything else.
    pub rdev_major: u32,
    /// A device's minor number; 0 for everything else.
    pub rdev_minor: u32,
    /// Owner, by number.
    pub uid: u32,
    /// Group, by number.
    pub gid: u32,
}

/// The bytes are not what rsync writes into the attribute.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StatError;

impl fmt::Display for StatError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the attribute {ATTRIBUTE} is not of rsync's form MODE MAJOR,MINOR UID:GID")
    }
}

impl std::error::Error for StatError {}

impl Stat {
    /// Reads the attribute's value; only the spelling that rsync writes is taken.
    ///
    /// # Errors
    /// When it is anything else, or its mode is of no kind of file.
    pub fn parse(value: &[u8]) -> Result<Self, StatError> {
        let text = std::str::from_utf8(value).map_err(|_| StatError)?;
        if text.len() > LONGEST {
            return Err(StatError);
        }
        Self::split(text).filter(|stat| Kind::from_mode(stat.mode).is_some()).ok_or(StatError)
    }

    fn split(text: &str) -> Option<Self> {
        let (mode, rest) = text.split_once(' ')?;
        let (device, owner) = rest.split_once(' ')?;
        let (rdev_major, rdev_minor) = device.split_once(',')?;
        let (uid, gid) = owner.split_once(':')?;
        Some(Self {
            mode: number(mode, 8).filter(|mode| *mode <= 0o177_777)?,
            rdev_major: number(rdev_major, 10)?,
            rdev_minor: number(rdev_minor, 10)?,
            uid: number(uid, 10)?,
            gid: number(gid, 10)?,
        })
    }
}

/// Digits alone, without a sign or a leading zero, as printf(3) prints an unsigned number.
fn number(text: &str, radix: u32) -> Option<u32> {
    let canonical = text == "0" || !text.starts_with(['0', '+']);
    canonical.then(|| u32::from_str_radix(text, radix).ok())?
}

impl FromStr for Stat {
    type Err = StatError;

    fn from_str(text: &str) -> Result<Self, StatError> {
        Self::parse(text.as_bytes())
    }
}

impl fmt::Display for Stat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { mode, rdev_major, rdev_minor, uid, gid } = self;
        write!(f, "{mode:o} {rdev_major},{rdev_minor} {uid}:{gid}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_rsync_writes_is_read() {
        let device = Stat { mode: 0o060_660, rdev_major: 8, rdev_minor: 1, uid: 0, gid: 6 };
        assert_eq!(Stat::parse(b"60660 8,1 0:6"), Ok(device));
        let file = Stat { mode: 0o104_755, rdev_major: 0, rdev_minor: 0, uid: 1000, gid: u32::MAX };
        assert_eq!(Stat::parse(b"104755 0,0 1000:4294967295"), Ok(file));
        assert_eq!(file.to_string(), "104755 0,0 1000:4294967295");
    }

    #[test]
    fn what_rsync_never_writes_is_refused() {
        for value in [
            "",
            "100644",
            "100644 0,0 0:0 ",
            " 100644 0,0 0:0",
            "100644 0,0 0:0\n",
            "100644  0,0 0:0",
            "0100644 0,0 0:0",
            "100648 0,0 0:0",
            "644 0,0 0:0",
            "200644 0,0 0:0",
            "100644 0,0 4294967296:0",
            "100644 0,0 -1:0",
            "100644 +0,0 0:0",
            "100644 0,0 00:0",
            "100644 0:0 0,0",
            "100644 ,0 0:0",
            "100644 0,0 0:0\0",
            "777777777777777777777777 0,0 0:0",
        ] {
            assert_eq!(Stat::parse(value.as_bytes()), Err(StatError), "{value:?}");
        }
        assert_eq!(Stat::parse(b"100644 0,0 0:\xff"), Err(StatError));
    }

    proptest! {
        #[test]
        fn every_stat_survives_the_attribute(
            kind in prop::sample::select(vec![0o14u32, 0o12, 0o10, 0o6, 0o4, 0o2, 0o1]),
            permissions in 0u32..0o10000,
            rdev_major: u32, rdev_minor: u32, uid: u32, gid: u32,
        ) {
            let stat = Stat { mode: kind << 12 | permissions, rdev_major, rdev_minor, uid, gid };
            prop_assert_eq!(Stat::parse(stat.to_string().as_bytes()), Ok(stat));
        }

        #[test]
        fn whatever_is_taken_prints_as_it_was(value in "[0-7]{1,7} [0-9]{1,11},[0-9]{1,2} [0-9:+ -]{1,12}") {
            if let Ok(stat) = Stat::parse(value.as_bytes()) {
                prop_assert_eq!(stat.to_string(), value);
            }
        }

        #[test]
        fn no_bytes_make_the_parser_panic(value: Vec<u8>) {
            let _ = Stat::parse(&value);
        }
    }
}
