//! What time it is. Everything else takes "now" as an argument.
#![allow(clippy::disallowed_methods, reason = "this is the one place that reads the clock")]

use jiff::Timestamp;

/// The wall clock.
pub fn now() -> Timestamp {
    Timestamp::now()
}
