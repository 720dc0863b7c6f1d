//! Whether a snapshot of a client is taken now: only of a tree that is whole, and not too often.

use std::fmt;

use jiff::{SignedDuration, Timestamp};

use crate::model::SnapshotName;
use crate::model::run::Push;
use crate::model::span::Span;

/// The verdict.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Due {
    /// Take one, under this name.
    Take(SnapshotName),
    /// The last one is younger than the interval.
    TooSoon {
        /// The last one.
        last: SnapshotName,
        /// From when on the next one is taken.
        due_at: Timestamp,
    },
    /// The last push did not end well, so the tree is half old and half new.
    PushFailed {
        /// What rsync exited with; `None` when something else ended it.
        status: Option<i32>,
    },
    /// A push has begun and its end is not recorded. It is still at work; or, where nobody holds the
    /// client's lock, the server went down in its middle.
    StillRunning {
        /// When it began.
        started: Timestamp,
    },
    /// There is a snapshot of this minute already: the interval is shorter than a minute.
    NameTaken(SnapshotName),
}

/// Decides.
///
/// `snapshots` are the client's snapshots, all of them or the last alone, in any order; those without a
/// time do not count. `push` is the client's last push; a client without any (an adopted store) may have
/// its tree kept.
///
/// A snapshot dated in the future, from before a clock was set right, counts as long as it is at most
/// one `interval` ahead, and then for `interval` from its date, so the wait is at most two intervals.
/// One dated further ahead does not count: it would stop all snapshots until that day.
pub fn due<'a>(
    now: Timestamp,
    snapshots: impl IntoIterator<Item = &'a SnapshotName>,
    interval: Span,
    push: Option<&Push>,
) -> Due {
    if let Some(push) = push.filter(|push| !push.is_complete()) {
        return unfinished(push);
    }
    let name = SnapshotName::at(now);
    let mut name_is_taken = false;
    let mut last: Option<(Timestamp, &SnapshotName)> = None;
    let horizon = later(now, interval);
    for snapshot in snapshots {
        name_is_taken |= *snapshot == name;
        let dated = snapshot.time().filter(|time| *time <= horizon).map(|time| (time, snapshot));
        last = last.max(dated);
    }
    match last.map(|(time, last)| (later(time, interval), last)) {
        Some((due_at, last)) if now < due_at => Due::TooSoon { last: last.clone(), due_at },
        _ if name_is_taken => Due::NameTaken(name),
        _ => Due::Take(name),
    }
}

fn unfinished(push: &Push) -> Due {
    match (push.ended, push.status) {
        (None, None) => Due::StillRunning { started: push.started },
        (_, status) => Due::PushFailed { status },
    }
}

/// The end of time is late enough for a sum beyond it.
fn later(time: Timestamp, span: Span) -> Timestamp {
    let span = SignedDuration::try_from(span.duration()).unwrap_or(SignedDuration::MAX);
    time.checked_add(span).unwrap_or(Timestamp::MAX)
}

impl fmt::Display for Due {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Take(name) => write!(f, "a snapshot is due: {name}"),
            Self::TooSoon { last, due_at } => {
                let due_at = due_at.strftime("%Y-%m-%dT%H:%M:%SZ");
                write!(f, "too soon since the last snapshot {last}; the next one is due at {due_at}")
            }
            Self::PushFailed { status: Some(status) } => {
                write!(f, "the last push failed (rsync's status {status}), so its tree is not whole")
            }
            Self::PushFailed { status: None } => {
                write!(f, "the last push was stopped before its end, so its tree is not whole")
            }
            Self::StillRunning { started } => {
                let started = started.strftime("%Y-%m-%dT%H:%M:%SZ");
                write!(f, "the push that began at {started} has not ended, so its tree is not whole")
            }
            Self::NameTaken(name) => write!(f, "there is a snapshot {name} of this minute already"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const NOW: &str = "2026-11-20T23:47:31Z";

    fn now() -> Timestamp {
        NOW.parse().unwrap()
    }

    fn names(texts: &[&str]) -> Vec<SnapshotName> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    fn take() -> Due {
        Due::Take(SnapshotName::at(now()))
    }

    fn push(ended: Option<Timestamp>, status: Option<i32>) -> Push {
        Push { ended, status, ..Push::begin(Timestamp::UNIX_EPOCH, None, None) }
    }

    #[test]
    fn only_a_whole_tree_is_kept() {
        let ended = Some(now());
        for (push, verdict) in [
            (None, take()),
            (Some(push(ended, Some(0))), take()),
            (Some(push(ended, Some(24))), take()),
            (Some(push(ended, Some(23))), Due::PushFailed { status: Some(23) }),
            (Some(push(ended, None)), Due::PushFailed { status: None }),
            (Some(push(None, Some(12))), Due::PushFailed { status: Some(12) }),
            (Some(push(None, None)), Due::StillRunning { started: Timestamp::UNIX_EPOCH }),
        ] {
            assert_eq!(due(now(), None, Span::hours(6), push.as_ref()), verdict);
        }
    }

    #[test]
    fn there_is_one_snapshot_in_an_interval() {
        let too_soon = |last: &str, due_at: &str| Due::TooSoon {
            last: last.parse().unwrap(),
            due_at: due_at.parse().unwrap(),
        };
        for (snapshots, verdict) in [
            (names(&[]), take()),
            (names(&["2026-11-20T17:47+0000", "2026-11-19T12:00+0000"]), take()),
            (names(&["2026-11-20T17:48+0000"]), too_soon("2026-11-20T17:48+0000", "2026-11-20T23:48:00Z")),
            (
                names(&["2026-11-20T10:00+0000", "2026-11-20T20:00+0100", "saved"]),
                too_soon("2026-11-20T20:00+0100", "2026-11-21T01:00:00Z"),
            ),
            (names(&["saved-do-not-delete"]), take()),
        ] {
            assert_eq!(due(now(), &snapshots, Span::hours(6), None), verdict, "{snapshots:?}");
        }
    }

    #[test]
    fn a_clock_set_back_does_not_stop_snapshots_until_it_has_caught_up() {
        let interval = Span::hours(6);
        let [near, far] = ["2026-11-21T05:47+0000", "2027-11-20T23:47+0000"].map(|t| names(&[t]));
        assert!(matches!(due(now(), &near, interval, None), Due::TooSoon { .. }));
        assert_eq!(due(now(), &far, interval, None), take());
        let both = names(&["2027-11-20T23:47+0000", "2026-11-20T23:00+0000"]);
        assert!(matches!(due(now(), &both, interval, None), Due::TooSoon { .. }), "the interval still holds");
    }

    #[test]
    fn a_second_snapshot_of_one_minute_is_told_not_tried() {
        let taken = names(&["2026-11-20T23:47+0000"]);
        assert_eq!(due(now(), taken.first(), Span::seconds(0), None), Due::NameTaken(taken[0].clone()));
    }

    proptest! {
        #[test]
        fn the_wait_is_at_most_two_intervals(
            offsets in prop::collection::vec(-1_000_000i64..1_000_000, 0..6),
            interval in 60u64..100_000,
        ) {
            let snapshots: Vec<_> =
                offsets.iter().map(|s| SnapshotName::at(now() + SignedDuration::from_secs(*s))).collect();
            let verdict = due(now(), &snapshots, Span::seconds(interval), None);
            if let Due::TooSoon { due_at, .. } = verdict {
                prop_assert!(now() < due_at && due_at <= later(now(), Span::seconds(2 * interval)));
            } else {
                prop_assert_eq!(verdict, take());
            }
        }
    }
}
