//! How many refusals a client has had lately, so that a flood of them fills no log: the first few of a
//! minute are logged, the others counted, and their number is logged when the minute is over.

use std::fs::OpenOptions;
use std::io::{Read, Seek, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use anyhow::{Context, Result};
use jiff::Timestamp;

/// Refusals of one client that are logged in one minute.
const LOGGED: u64 = 10;

/// What to log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Folded {
    /// This one is not logged.
    pub now: bool,
    /// So many of a minute that is over were not logged.
    pub before: u64,
}

/// Counts a verdict in `file`, which holds the minute and the number of its refusals. Two at once may
/// count as one: it is a log's measure, not a book.
pub(super) fn count(file: &Path, now: Timestamp, refused: bool) -> Result<Folded> {
    let minute = now.as_second() / 60;
    let open =
        OpenOptions::new().read(true).write(true).create(refused).truncate(false).mode(0o600).open(file);
    let mut open = match open {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            return Ok(Folded { now: false, before: 0 });
        }
        open => open.with_context(|| format!("cannot open {}", file.display()))?,
    };
    let mut text = String::new();
    (&open).take(64).read_to_string(&mut text).unwrap_or_default();
    let (folded, state) = next(parse(&text), minute, refused);
    if let Some((minute, refusals)) = state {
        open.rewind()?;
        open.write_all(format!("{minute:>20} {refusals:>20}\n").as_bytes())?;
    }
    Ok(folded)
}

fn parse(text: &str) -> Option<(i64, u64)> {
    let mut words = text.split_ascii_whitespace();
    Some((words.next()?.parse().ok()?, words.next()?.parse().ok()?))
}

/// What to log, and what to write down if it changed.
fn next(last: Option<(i64, u64)>, minute: i64, refused: bool) -> (Folded, Option<(i64, u64)>) {
    match last {
        Some((same, refusals)) if same == minute => {
            let refusals = refusals + u64::from(refused);
            (Folded { now: refused && refusals > LOGGED, before: 0 }, refused.then_some((minute, refusals)))
        }
        Some((_, refusals)) => {
            let before = refusals.saturating_sub(LOGGED);
            let state = (refused || refusals > 0).then_some((minute, u64::from(refused)));
            (Folded { now: false, before }, state)
        }
        None => (Folded { now: false, before: 0 }, refused.then_some((minute, 1))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    #[test]
    fn a_flood_is_ten_lines_and_one_number_and_no_verdict_is_lost() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("refusals");
        assert_eq!(count(&file, at(0), false).unwrap(), Folded { now: false, before: 0 });
        let logged = (0..100).filter(|_| !count(&file, at(5), true).unwrap().now).count();
        assert_eq!(logged, 10);
        assert_eq!(count(&file, at(59), false).unwrap(), Folded { now: false, before: 0 });
        assert_eq!(count(&file, at(60), true).unwrap(), Folded { now: false, before: 90 });
        assert_eq!(count(&file, at(121), false).unwrap(), Folded { now: false, before: 0 });
    }

    #[test]
    fn a_damaged_count_starts_anew() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("refusals");
        std::fs::write(&file, "\u{0}garbage that is far longer than a line of numbers can ever be, really")
            .unwrap();
        assert_eq!(count(&file, at(5), true).unwrap(), Folded { now: false, before: 0 });
        assert_eq!(count(&file, at(6), true).unwrap(), Folded { now: false, before: 0 });
        let text = std::fs::read_to_string(&file).unwrap();
        assert_eq!(parse(&text), Some((0, 2)));
    }
}
