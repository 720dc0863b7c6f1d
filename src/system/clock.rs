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

/// The kernel's boot id and the whole seconds since boot, suspended ones included (proc(5)); empty and 0
/// where the kernel does not tell.
pub fn boot() -> (String, u64) {
    let read = |path| std::fs::read_to_string(path).unwrap_or_default();
    let uptime = read("/proc/uptime");
    let seconds = uptime.split('.').next().and_then(|whole| whole.parse().ok());
    (read("/proc/sys/kernel/random/boot_id").trim().to_owned(), seconds.unwrap_or(0))
}
