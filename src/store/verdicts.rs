//! How many verdicts about a client were logged lately, so that a flood of them fills no log: of each kind
//! the first few of a minute are logged, the others counted, and their number is logged with the client's
//! first verdict after that minute.
//!
//! The count is read and written under a kernel lock that only gates of the same client ever want: of any
//! number at once each verdict is counted, and each number told, exactly once.

use std::path::Path;

use anyhow::Result;
use jiff::Timestamp;

use crate::system::lock;

/// Lines of one kind about one client that are logged in one minute.
const LOGGED: u64 = 10;
/// Longer than a count ever is.
const LONGEST: u64 = 128;
const KINDS: usize = 3;

/// What a log line is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// A request was admitted.
    Accept,
    /// A request was refused.
    Refuse,
    /// What was admitted ended badly.
    Ended,
}

impl Verdict {
    const ALL: [Self; KINDS] = [Self::Accept, Self::Refuse, Self::Ended];

    /// As it stands in the log.
    pub fn word(self) -> &'static str {
        match self {
            Self::Accept => "accept",
            Self::Refuse => "refuse",
            Self::Ended => "ended",
        }
    }
}

/// What to log.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Folded {
    /// This one is not logged.
    pub now: bool,
    /// What was not logged of a minute that is over.
    pub before: Vec<Unlogged>,
}

/// Verdicts of one kind that were counted and not logged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Unlogged {
    /// Of which kind.
    pub verdict: Verdict,
    /// How many.
    pub count: u64,
    /// When the minute began in which they came.
    pub minute: Timestamp,
}

/// Counts a verdict in `file`.
pub(super) fn count(file: &Path, now: Timestamp, verdict: Verdict) -> Result<Folded> {
    lock::update(file, LONGEST, |text| {
        let (count, folded) = next(Count::parse(text), now.as_second().div_euclid(60), verdict);
        (count.print(), folded)
    })
}

/// The verdicts of one minute, by kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Count {
    /// Minutes since 1970.
    minute: i64,
    verdicts: [u64; KINDS],
}

impl Count {
    /// A damaged count is none.
    fn parse(text: &[u8]) -> Option<Self> {
        let mut words = std::str::from_utf8(text).ok()?.split_ascii_whitespace();
        let minute = words.next()?.parse().ok()?;
        let mut verdicts = [0; KINDS];
        for count in &mut verdicts {
            *count = words.next()?.parse().ok()?;
        }
        words.next().is_none().then_some(Self { minute, verdicts })
    }

    /// Always as long, so that a shorter one never leaves the end of a longer one behind.
    fn print(&self) -> Vec<u8> {
        let [accepted, refused, ended] = self.verdicts;
        format!("{:>20} {accepted:>20} {refused:>20} {ended:>20}\n", self.minute).into_bytes()
    }

    fn unlogged(&self) -> Vec<Unlogged> {
        let Ok(minute) = Timestamp::from_second(self.minute.saturating_mul(60)) else { return Vec::new() };
        let each = Verdict::ALL.into_iter().zip(self.verdicts);
        let more = each.filter(|(_, count)| *count > LOGGED);
        more.map(|(verdict, count)| Unlogged { verdict, count: count - LOGGED, minute }).collect()
    }
}

fn next(last: Option<Count>, minute: i64, verdict: Verdict) -> (Count, Folded) {
    let (mut count, before) = match last {
        Some(same) if same.minute == minute => (same, Vec::new()),
        other => {
            (Count { minute, verdicts: [0; KINDS] }, other.map(|count| count.unlogged()).unwrap_or_default())
        }
    };
    let own = &mut count.verdicts[verdict as usize];
    *own = own.saturating_add(1);
    let now = *own > LOGGED;
    (count, Folded { now, before })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::thread;
    use tempfile::TempDir;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn unlogged(verdict: Verdict, count: u64, minute: i64) -> Unlogged {
        Unlogged { verdict, count, minute: at(minute) }
    }

    /// A directory for a count, and its file.
    fn place() -> (TempDir, std::path::PathBuf) {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("verdicts");
        (directory, file)
    }

    #[test]
    fn a_flood_of_any_kind_is_ten_lines_and_one_number() {
        for verdict in Verdict::ALL {
            let (_directory, file) = place();
            let logged = (0..100).filter(|_| !count(&file, at(5), verdict).unwrap().now).count();
            assert_eq!(logged, 10);
            let later = count(&file, at(60), verdict).unwrap();
            assert_eq!(later, Folded { now: false, before: vec![unlogged(verdict, 90, 0)] });
            assert_eq!(count(&file, at(121), verdict).unwrap(), Folded::default(), "it is told once");
        }
    }

    #[test]
    fn a_flood_of_one_kind_hides_no_other_kind() {
        let (_directory, file) = place();
        for _ in 0..50 {
            count(&file, at(0), Verdict::Accept).unwrap();
        }
        assert!(count(&file, at(1), Verdict::Accept).unwrap().now);
        assert!(!count(&file, at(1), Verdict::Refuse).unwrap().now);
        assert!(!count(&file, at(1), Verdict::Ended).unwrap().now);
        let later = count(&file, at(3600), Verdict::Refuse).unwrap();
        assert_eq!(later.before, [unlogged(Verdict::Accept, 41, 0)]);
    }

    #[test]
    fn of_many_gates_at_once_each_verdict_is_counted_and_each_number_told_once() {
        let (_directory, file) = place();
        let told = |second: i64| -> (usize, u64) {
            let judge = || {
                let mut seen = (0, 0);
                for _ in 0..50 {
                    let folded = count(&file, at(second), Verdict::Accept).unwrap();
                    seen.0 += usize::from(!folded.now);
                    seen.1 += folded.before.iter().map(|unlogged| unlogged.count).sum::<u64>();
                }
                seen
            };
            thread::scope(|scope| {
                let judges: Vec<_> = (0..8).map(|_| scope.spawn(judge)).collect();
                let seen = judges.into_iter().map(|judge| judge.join().unwrap());
                seen.fold((0, 0), |sum, one| (sum.0 + one.0, sum.1 + one.1))
            })
        };
        assert_eq!(told(0), (10, 0));
        assert_eq!(told(60), (10, 390));
        assert_eq!(told(120), (10, 390));
    }

    #[test]
    fn a_damaged_count_starts_anew() {
        let (_directory, file) = place();
        for garbage in [&b""[..], b"1 2\n", b"\0\xff", b"1 2 3 4 5", &[b'9'; 1000], b"1 -1 0 0"] {
            std::fs::write(&file, garbage).unwrap();
            assert_eq!(count(&file, at(5), Verdict::Refuse).unwrap(), Folded::default(), "{garbage:?}");
            let text = std::fs::read(&file).unwrap();
            assert_eq!(Count::parse(&text), Some(Count { minute: 0, verdicts: [0, 1, 0] }), "{garbage:?}");
        }
        std::fs::write(&file, format!("{} 99 99 {}", i64::MAX, u64::MAX)).unwrap();
        assert_eq!(count(&file, at(5), Verdict::Ended).unwrap(), Folded::default(), "a year that is none");
    }
}
