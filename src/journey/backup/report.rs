//! What the operator reads: plans, warnings, figures, and the record at the end.

use std::time::Duration;

use anyhow::Result;

use super::{Run, hooks};
use crate::model::backup_record::{BackupRecord, Outcome, Transfer};
use crate::model::client_config::{POST_BACKUP, PRE_BACKUP};
use crate::model::failure::status_of;
use crate::model::{Status, escaped};
use crate::policy::sources::Rule;
use crate::system::{clock, console};

/// So many warnings are kept in the record; all of them are said.
const MOST_WARNINGS: usize = 100;

/// Says what an operator should look at, and keeps it for the record.
pub(super) fn warn(record: &mut BackupRecord, text: &str) {
    console::say(format_args!("warning: {text}"));
    remember(record, text);
}

/// Keeps a warning that was said already.
pub(super) fn remember(record: &mut BackupRecord, text: &str) {
    if record.warnings.len() < MOST_WARNINGS {
        record.warnings.push(text.to_owned());
    }
}

/// Writes the end of the run into its record.
pub(super) fn close(record: &mut BackupRecord, result: &Result<Status>) {
    record.ended = clock::now();
    let status = result.as_ref().map_or_else(status_of, |status| *status);
    record.status = status as u8;
    if let Err(error) = result {
        record.error = Some(format!("{error:#}"));
        record.outcome = match status {
            Status::Refused => Outcome::Refused,
            Status::Busy => Outcome::Busy,
            Status::Done | Status::Failed | Status::Misuse => Outcome::Failed,
        };
    }
}

/// A dry run's plan.
pub(super) fn announce(run: &Run) -> Result<()> {
    let sources: Vec<_> =
        run.selection.sources.iter().map(|source| escaped(source.as_os_str().as_encoded_bytes())).collect();
    run.result(&format!("would back up {} to {}", sources.join(", "), run.settings.login.destination));
    let (mut taken, mut left_out) = (Vec::new(), Vec::new());
    for rule in &run.selection.rules {
        match rule {
            Rule::Include(pattern) => taken.push(escaped(pattern)),
            Rule::Exclude(pattern) => left_out.push(escaped(pattern)),
        }
    }
    for (what, names) in [
        ("would leave out by itself", left_out),
        ("would take nevertheless", taken),
        ("would run before", hooks::listed(run, PRE_BACKUP)?),
        ("would run afterwards", hooks::listed(run, POST_BACKUP)?),
    ] {
        if !names.is_empty() {
            run.result(&format!("{what}: {}", names.join(", ")));
        }
    }
    Ok(())
}

/// One line on what rsync did, or would do.
pub(super) fn summary(transfer: &Transfer, took: Duration, dry_run: bool) -> String {
    let files = grouped(transfer.files);
    if dry_run {
        return format!(
            "{files} files looked at, {} would be sent ({} in size), {} would be deleted on the server",
            grouped(transfer.files_sent),
            bytes(transfer.changed_bytes),
            grouped(transfer.deleted)
        );
    }
    let wire = bytes(transfer.sent_bytes.saturating_add(transfer.received_bytes));
    let sent = grouped(transfer.files_sent);
    format!("{files} files looked at, {sent} sent, {wire} over the wire in {}", seconds(took.as_secs()))
}

/// `12,345`.
pub(super) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.char_indices() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// `4.2 MiB`, rounded down.
pub(super) fn bytes(number: u64) -> String {
    const UNITS: [&str; 6] = ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
    if number < 1024 {
        return format!("{number} bytes");
    }
    let power = number.ilog2() / 10;
    let unit = UNITS[power as usize - 1];
    let tenths = (u128::from(number) * 10) >> (10 * power);
    format!("{}.{} {unit}", tenths / 10, tenths % 10)
}

/// `3 s`, `5 min`, `1 h 2 min`.
pub(super) fn seconds(number: u64) -> String {
    let (hours, minutes, rest) = (number / 3600, number / 60 % 60, number % 60);
    let parts = [(hours, "h"), (minutes, "min"), (rest, "s")];
    let told: Vec<_> =
        parts.iter().filter(|(n, _)| *n > 0).take(2).map(|(n, unit)| format!("{n} {unit}")).collect();
    if told.is_empty() { "less than a second".to_owned() } else { told.join(" ") }
}

/// The last line that says something, for the end of a sentence.
pub(super) fn last_words(said: &[u8]) -> String {
    let mut lines = said.rsplit(|byte| *byte == b'\n').map(<[u8]>::trim_ascii);
    lines.find(|line| !line.is_empty()).map_or_else(|| "nothing".to_owned(), escaped)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_read_well() {
        for (number, text) in [(0, "0"), (999, "999"), (1_000, "1,000"), (12_345_678, "12,345,678")] {
            assert_eq!(grouped(number), text);
        }
        for (number, text) in [
            (1_023, "1023 bytes"),
            (1_024, "1.0 KiB"),
            (4_456_448, "4.2 MiB"),
            (1_048_575, "1023.9 KiB"),
            (u64::MAX, "15.9 EiB"),
        ] {
            assert_eq!(bytes(number), text);
        }
        for (number, text) in [
            (0, "less than a second"),
            (3, "3 s"),
            (300, "5 min"),
            (3_601, "1 h 1 s"),
            (90_061, "25 h 1 min"),
        ] {
            assert_eq!(seconds(number), text);
        }
    }

    #[test]
    fn the_summary_is_one_line() {
        let transfer = Transfer {
            files: 12_345,
            files_sent: 37,
            sent_bytes: 4_400_000,
            received_bytes: 56_448,
            ..Transfer::default()
        };
        assert_eq!(
            summary(&transfer, Duration::from_millis(3_900), false),
            "12,345 files looked at, 37 sent, 4.2 MiB over the wire in 3 s"
        );
    }

    #[test]
    fn the_last_words_are_the_last_line_that_says_something() {
        assert_eq!(last_words(b"one\ntwo\x1b \n \n"), "two\\x1b");
        assert_eq!(last_words(b"\n"), "nothing");
    }
}
