//! A length of time as people write it in a configuration: `90`, `300s`, `15m`, `6h`, `7d`, `2w`.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Deserializer};

/// A whole number of seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Span(u64);

const UNITS: [(&str, u64); 5] = [("w", 604_800), ("d", 86_400), ("h", 3_600), ("m", 60), ("s", 1)];

/// The text is no length of time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SpanError;

impl fmt::Display for SpanError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a length of time is a whole number with s, m, h, d or w behind it, such as 6h")
    }
}

impl std::error::Error for SpanError {}

impl Span {
    /// That many seconds.
    pub const fn seconds(seconds: u64) -> Self {
        Self(seconds)
    }

    /// That many hours.
    pub const fn hours(hours: u64) -> Self {
        Self(hours * 3_600)
    }

    /// That many days of 24 hours.
    pub const fn days(days: u64) -> Self {
        Self(days * 86_400)
    }

    /// In seconds.
    pub const fn as_secs(self) -> u64 {
        self.0
    }

    /// As the standard library's type.
    pub const fn duration(self) -> Duration {
        Duration::from_secs(self.0)
    }
}

impl FromStr for Span {
    type Err = SpanError;

    fn from_str(text: &str) -> Result<Self, SpanError> {
        let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
        let unit = &text[digits.len()..];
        let factor = match unit {
            "" => 1,
            _ => UNITS.iter().find(|(name, _)| *name == unit).ok_or(SpanError)?.1,
        };
        if !digits.bytes().all(|b| b.is_ascii_digit()) {
            return Err(SpanError);
        }
        let number: u64 = digits.parse().map_err(|_| SpanError)?;
        number.checked_mul(factor).filter(|s| *s <= 100 * 365 * 86_400).map(Self).ok_or(SpanError)
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Days are the largest unit in print: "7d" is what an operator wrote and looks for.
        let fitting =
            UNITS[1..].iter().find(|(_, factor)| self.0 >= *factor && self.0.is_multiple_of(*factor));
        let (unit, factor) = fitting.unwrap_or(&("s", 1));
        write!(f, "{}{unit}", self.0 / factor)
    }
}

impl<'de> Deserialize<'de> for Span {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Written {
            Seconds(u64),
            Text(String),
        }
        match Written::deserialize(deserializer)? {
            Written::Seconds(seconds) => seconds.to_string().parse().map_err(serde::de::Error::custom),
            Written::Text(text) => text.parse().map_err(serde::de::Error::custom),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_are_read_and_printed_in_the_largest_unit_that_fits() {
        for (text, seconds, printed) in [
            ("90", 90, "90s"),
            ("300s", 300, "5m"),
            ("6h", 21_600, "6h"),
            ("1w", 604_800, "7d"),
            ("0", 0, "0s"),
            ("36h", 129_600, "36h"),
        ] {
            let span: Span = text.parse().unwrap();
            assert_eq!((span.as_secs(), span.to_string().as_str()), (seconds, printed));
        }
    }

    #[test]
    fn what_is_no_span_is_refused() {
        for text in ["", "h", "-1h", "1.5h", "6 h", "6hours", "99999999999999999999", "1000000w", "+5"] {
            assert!(text.parse::<Span>().is_err(), "{text:?}");
        }
    }
}
