//! The name of a snapshot: made by the server's clock, or given by a person who wants it kept.

use std::cmp::Ordering;
use std::fmt;
use std::str::FromStr;

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::{Offset, TimeZone};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// The client's one writable subvolume, which can never be a snapshot's name.
pub const CURRENT: &str = "current";

/// One path component that can be neither `current`, nor hidden, nor an option, nor a path.
///
/// Names are kept byte for byte; those of the form `2026-11-20T23:47+0000` (seconds and `Z` are
/// understood too) carry a time, all others (`saved-hacked-do-not-delete`) are held for ever.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct SnapshotName {
    text: String,
    time: Option<Timestamp>,
}

/// The text is no snapshot's name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SnapshotNameError;

impl fmt::Display for SnapshotNameError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(
            "a snapshot's name is a time such as 2026-11-20T23:47+0000, or letters, digits and '._:+-' \
             after a first letter or digit, and never 'current'",
        )
    }
}

impl std::error::Error for SnapshotNameError {}

impl SnapshotName {
    /// The name of a snapshot that is taken now, to the minute, in UTC.
    pub fn at(now: Timestamp) -> Self {
        let text = now.to_zoned(TimeZone::UTC).strftime("%Y-%m-%dT%H:%M+0000").to_string();
        let time = parse_time(&text);
        Self { text, time }
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The time that the name tells; `None` for a name that a person gave.
    pub fn time(&self) -> Option<Timestamp> {
        self.time
    }
}

impl FromStr for SnapshotName {
    type Err = SnapshotNameError;

    fn from_str(text: &str) -> Result<Self, SnapshotNameError> {
        let bytes = text.as_bytes();
        let fits = (1..=200).contains(&bytes.len())
            && bytes[0].is_ascii_alphanumeric()
            && bytes.iter().all(|b| b.is_ascii_alphanumeric() || b"._:+-".contains(b))
            && !text.contains("..")
            && text != CURRENT;
        if fits { Ok(Self { text: text.to_owned(), time: parse_time(text) }) } else { Err(SnapshotNameError) }
    }
}

/// `YYYY-MM-DDTHH:MM[:SS](+HHMM|-HHMM|Z)`, the fixed widths of strftime's `%Y-%m-%dT%H:%M%z`.
fn parse_time(text: &str) -> Option<Timestamp> {
    let clock_end = match text.as_bytes().get(16) {
        Some(b':') => 19,
        _ => 16,
    };
    let (clock, zone) = (text.get(..clock_end)?, text.get(clock_end..)?);
    let format = if clock_end == 19 { "%Y-%m-%dT%H:%M:%S" } else { "%Y-%m-%dT%H:%M" };
    let civil = DateTime::strptime(format, clock).ok()?;
    let offset = parse_offset(zone)?;
    offset.to_timestamp(civil).ok()
}

fn parse_offset(zone: &str) -> Option<Offset> {
    if zone == "Z" {
        return Some(Offset::UTC);
    }
    let digits = zone.get(1..).filter(|d| d.len() == 4 && d.bytes().all(|b| b.is_ascii_digit()))?;
    let sign = match zone.as_bytes()[0] {
        b'+' => 1,
        b'-' => -1,
        _ => return None,
    };
    let (hours, minutes): (i32, i32) = (digits[..2].parse().ok()?, digits[2..].parse().ok()?);
    (minutes < 60).then(|| Offset::from_seconds(sign * (hours * 3600 + minutes * 60)).ok())?
}

/// By time; names without one come first (they are the oldest, for ever), by their text.
impl Ord for SnapshotName {
    fn cmp(&self, other: &Self) -> Ordering {
        (self.time, &self.text).cmp(&(other.time, &other.text))
    }
}

impl PartialOrd for SnapshotName {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl fmt::Display for SnapshotName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl Serialize for SnapshotName {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.text)
    }
}

impl<'de> Deserialize<'de> for SnapshotName {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn name(text: &str) -> SnapshotName {
        text.parse().unwrap()
    }

    #[test]
    fn a_name_made_from_a_time_parses_to_that_time_to_the_minute() {
        let now: Timestamp = "2026-11-20T23:47:31Z".parse().unwrap();
        let made = SnapshotName::at(now);
        assert_eq!(made.as_str(), "2026-11-20T23:47+0000");
        assert_eq!(made, name(made.as_str()));
        assert_eq!(made.time().unwrap(), "2026-11-20T23:47:00Z".parse().unwrap());
    }

    #[test]
    fn old_names_in_a_local_zone_sort_by_their_instant() {
        let summer = name("2015-08-10T18:34+0100");
        assert_eq!(summer.time().unwrap(), "2015-08-10T17:34:00Z".parse().unwrap());
        assert!(name("2015-08-10T18:00+0000") > summer);
        assert_eq!(name("2015-08-10T17:34:00Z").time(), summer.time());
        assert_eq!(name("2015-08-10T13:04-0430").time(), summer.time());
    }

    #[test]
    fn names_that_are_no_times_are_kept_without_one() {
        for text in ["saved-hacked-do-not-delete", "2026-13-01T00:00+0000", "2026-11-20", "2026-11-20T23:47"]
        {
            assert_eq!(name(text).time(), None, "{text}");
        }
    }

    #[test]
    fn what_is_no_snapshot_is_refused() {
        for text in ["", "current", ".byteback", "-x", "a/b", "..", "a..b", "a b", "é", "a\n"] {
            assert!(text.parse::<SnapshotName>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn a_state_file_cannot_smuggle_in_what_is_no_name() {
        let read = serde_json::from_str::<SnapshotName>;
        assert_eq!(read(r#""2026-11-20T23:47+0000""#).unwrap(), name("2026-11-20T23:47+0000"));
        assert_eq!(serde_json::to_string(&name("saved")).unwrap(), r#""saved""#);
        for text in [r#""../x""#, r#""current""#, "1", r#""""#] {
            assert!(read(text).is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn any_minute_survives_its_name(seconds in 0i64..4_102_444_800) {
            let now = Timestamp::from_second(seconds).unwrap();
            let made = SnapshotName::at(now);
            prop_assert_eq!(made.time().unwrap().as_second(), seconds - seconds % 60);
            prop_assert_eq!(&name(made.as_str()), &made);
        }

        #[test]
        fn no_text_makes_the_parser_panic(text in ".{0,40}") {
            let _ = text.parse::<SnapshotName>();
        }
    }
}
