//! What time it is. Everything else takes "now" as an argument.
#![allow(clippy::disallowed_methods, reason = "this is the one place that reads the clock")]

use jiff::tz::TimeZone;
use jiff::{Timestamp, Zoned};

/// The wall clock.
pub fn now() -> Timestamp {
    Timestamp::now()
}

/// The wall clock in the zone of this machine (TZ, else /etc/localtime; tzset(3)), by which a person means "yesterday".
pub fn here() -> Zoned {
    now().to_zoned(TimeZone::system())
}
