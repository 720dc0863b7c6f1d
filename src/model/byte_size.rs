//! An amount of data as people write and read it: read as `500M` or `10G`, printed as `1.5 TiB`. Powers of 1024.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer};

/// A number of bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct ByteSize(pub u64);

/// The text is no amount of data.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ByteSizeError;

impl fmt::Display for ByteSizeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an amount of data is a number with K, M, G or T behind it, such as 500G")
    }
}

impl std::error::Error for ByteSizeError {}

const UNITS: [(&str, u64); 4] = [("T", 1 << 40), ("G", 1 << 30), ("M", 1 << 20), ("K", 1 << 10)];

impl FromStr for ByteSize {
    type Err = ByteSizeError;

    fn from_str(text: &str) -> Result<Self, ByteSizeError> {
        let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
        let unit =
            text[digits.len()..].trim_end_matches(['B', 'b']).trim_end_matches('i').to_ascii_uppercase();
        let factor = match unit.as_str() {
            "" => 1,
            _ => UNITS.iter().find(|(name, _)| *name == unit).ok_or(ByteSizeError)?.1,
        };
        let digits = digits.trim();
        let whole: u64 = digits.parse().map_err(|_| ByteSizeError)?;
        if !digits.bytes().all(|b| b.is_ascii_digit()) {
            return Err(ByteSizeError);
        }
        whole.checked_mul(factor).map(Self).ok_or(ByteSizeError)
    }
}

impl<'de> Deserialize<'de> for ByteSize {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

impl fmt::Display for ByteSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some((name, factor)) = UNITS.iter().find(|(_, factor)| self.0 >= *factor) else {
            return write!(f, "{} bytes", self.0);
        };
        // Tenths, rounded down: an amount of free room is never told larger than it is.
        let tenths = u128::from(self.0) * 10 / u128::from(*factor);
        write!(f, "{}.{} {name}iB", tenths / 10, tenths % 10)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_as_people_write_them() {
        for (text, bytes) in [
            ("0", 0),
            ("4096", 4096),
            ("500M", 500 << 20),
            ("10g", 10 << 30),
            ("2TiB", 2 << 40),
            ("1 KB", 1024),
        ] {
            assert_eq!(text.parse(), Ok(ByteSize(bytes)), "{text}");
        }
        for text in ["", "G", "1.5G", "-1", "1X", "99999999T", "+1"] {
            assert!(text.parse::<ByteSize>().is_err(), "{text}");
        }
    }

    #[test]
    fn sizes_are_printed_in_the_largest_unit_that_fits() {
        for (bytes, text) in
            [(0, "0 bytes"), (1023, "1023 bytes"), (1536, "1.5 KiB"), ((4 << 30) - 1, "3.9 GiB")]
        {
            assert_eq!(ByteSize(bytes).to_string(), text);
        }
    }
}
