//! Whether a run brought abnormally much, or left abnormally little: judged by the client's own past.
//!
//! All that is compared is what a client did in a day, never a single run: otherwise a hostile one would
//! split its junk into many small runs, or teach us within one night that huge ones are usual for it.
//! Nothing here ever forgets by itself that a run was abnormal; only an administrator's word does.

use std::collections::BTreeMap;
use std::fmt;

use jiff::{SignedDuration, Timestamp};

use super::room::Room;
use crate::model::run_log::{DAYS, MeasuredRun, RunLog, RunVerdict};
use crate::model::server_config::ServerConfig;
use crate::model::{ByteSize, ClientName, SnapshotName};

/// Runs within this time of each other are one night's work: a nightly run may come a little early.
const ONE_NIGHT: SignedDuration = SignedDuration::from_hours(20);

/// From what size on a run is abnormal; it has to exceed both.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Limits {
    /// Times the client's typical new data.
    pub factor: f64,
    /// Bytes.
    pub floor: u64,
}

/// What is thought of an amount of new data.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Growth {
    /// As usual.
    Normal,
    /// There is no complete run to compare it with. As an error: it does not fit into the free room.
    First,
    /// More than the limits.
    Abnormal {
        /// The usual number of bytes.
        typical: u64,
        /// How many times as much this is.
        times: f64,
    },
}

/// What a run did to the tree.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Changes {
    /// Files in the tree afterwards.
    pub files: u64,
    /// How many of them are new or changed.
    pub changed: u64,
    /// How many of those that were there before are gone.
    pub gone: u64,
}

/// From when on changes are suspicious.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Thresholds {
    /// Percent of the files that were there.
    pub gone: u8,
    /// Percent of the files that are there.
    pub changed: u8,
    /// A tree that had fewer files is never suspicious.
    pub min_files: u64,
}

impl Limits {
    /// The limits for a client: its own configuration, and 2 % of what the store can hold at most.
    pub fn of(config: &ServerConfig, client: &ClientName, room: &Room) -> Self {
        let floor = config.growth_floor_of(client).0.max(room.data_most() / 50);
        Self { factor: config.growth_factor_of(client), floor }
    }
}

impl Thresholds {
    /// The configured ones.
    pub fn of(config: &ServerConfig) -> Self {
        Self {
            gone: config.suspicious_gone,
            changed: config.suspicious_changed,
            min_files: config.suspicious_min_files,
        }
    }
}

/// Whether a run tells what is usual for its client.
fn is_usual(run: &MeasuredRun) -> bool {
    run.is_complete() && (run.accepted || run.verdict == RunVerdict::Normal)
}

/// What a day brings usually, in bytes: the median (the lower of two) of the last 14 days that had a
/// complete run that was normal or accepted; `None` before there is one.
pub fn typical(log: &RunLog) -> Option<u64> {
    let mut days: BTreeMap<i64, u64> = BTreeMap::new();
    for run in log.runs.iter().filter(|run| is_usual(run)) {
        let day = run.ended.as_second().div_euclid(86_400);
        let brought = days.entry(day).or_default();
        *brought = brought.saturating_add(run.new_data);
    }
    let mut last: Vec<u64> = days.into_values().rev().take(DAYS).collect();
    last.sort_unstable();
    last.get(last.len().saturating_sub(1) / 2).copied()
}

/// Judges what a run that ended (or is at work) at `now` brought so far, together with what the client's
/// other runs of the same night brought and no administrator accepted.
///
/// Before a complete run all is first. Before a usual one there is only the first to compare with, which
/// held all that the machine had: more than that is abnormal.
pub fn judge(new_data: u64, log: &RunLog, limits: &Limits, now: Timestamp) -> Growth {
    let Some(typical) = typical(log) else { return judge_by_first(new_data, log, limits, now) };
    judge_by(typical, limits.factor, night(new_data, log, now), limits.floor)
}

fn judge_by_first(new_data: u64, log: &RunLog, limits: &Limits, now: Timestamp) -> Growth {
    match log.runs.iter().find(|run| run.is_complete()) {
        None => Growth::First,
        Some(first) => judge_by(first.new_data, 1.0, night(new_data, log, now), limits.floor),
    }
}

#[allow(clippy::cast_precision_loss, reason = "a ratio needs no more than 52 bits of a byte count")]
fn judge_by(typical: u64, factor: f64, brought: u64, floor: u64) -> Growth {
    let times = brought as f64 / typical.max(1) as f64;
    if brought > floor && times > factor { Growth::Abnormal { typical, times } } else { Growth::Normal }
}

/// A first run is none of the night's own: it was judged by the room that there was.
fn night(new_data: u64, log: &RunLog, now: Timestamp) -> u64 {
    let since = now.checked_sub(ONE_NIGHT).unwrap_or(Timestamp::MIN);
    let own = |run: &&MeasuredRun| run.ended > since && !run.accepted && run.verdict != RunVerdict::First;
    log.runs.iter().filter(own).fold(new_data, |sum, run| sum.saturating_add(run.new_data))
}

/// The verdict on a run that ended, for the log. `percent_free` is what was free then. A first run that
/// is larger than the floor and left less than `minpercent` must not cost others their history, so it
/// counts as abnormal.
pub fn verdict(
    new_data: u64,
    was_stopped: bool,
    log: &RunLog,
    limits: &Limits,
    ended: Timestamp,
    room: (Option<f64>, f64),
) -> RunVerdict {
    let (percent_free, minpercent) = room;
    match judge(new_data, log, limits, ended) {
        _ if was_stopped => RunVerdict::Stopped { typical: typical(log).unwrap_or(0) },
        Growth::Normal => RunVerdict::Normal,
        Growth::First if new_data > limits.floor && percent_free.is_some_and(|free| free < minpercent) => {
            RunVerdict::Abnormal { typical: 0 }
        }
        Growth::First => RunVerdict::First,
        Growth::Abnormal { typical, .. } => RunVerdict::Abnormal { typical },
    }
}

/// Whether a run at work may go on, by what it brought so far and the room that is left.
///
/// # Errors
/// What is wrong with it, when it drives the room below `minpercent` and is abnormal or a first run that
/// is larger than the floor. An administrator's word lets it go on.
pub fn may_go_on(
    new_so_far: u64,
    log: &RunLog,
    limits: &Limits,
    now: Timestamp,
    percent_free: f64,
    minpercent: f64,
) -> Result<(), Growth> {
    if log.accepted.is_some() || percent_free >= minpercent {
        return Ok(());
    }
    match judge(new_so_far, log, limits, now) {
        Growth::Normal => Ok(()),
        Growth::First if new_so_far <= limits.floor => Ok(()),
        growth @ (Growth::First | Growth::Abnormal { .. }) => Err(growth),
    }
}

/// The last run that is abnormal and that nobody accepted. Later runs do not clear it, however small:
/// otherwise a second run would be all that it takes to have others' history pay for the first.
pub fn is_pending(log: &RunLog) -> Option<&MeasuredRun> {
    pending(log).last()
}

/// All such runs, the oldest first.
pub fn pending(log: &RunLog) -> impl DoubleEndedIterator<Item = &MeasuredRun> {
    log.runs.iter().filter(|run| run.is_open())
}

/// The snapshots of runs that were abnormal or suspicious and that nobody accepted: they do not count as
/// a client's last good ones.
pub fn doubtful(log: &RunLog) -> impl Iterator<Item = &SnapshotName> {
    let is_doubtful = |run: &&MeasuredRun| !run.accepted && (run.is_large() || run.suspicion.is_some());
    log.runs.iter().filter(is_doubtful).filter_map(|run| run.snapshot.as_ref())
}

/// Why a complete run looks as if the machine had been emptied or scrambled, in words.
pub fn suspicion(changes: Changes, before: &RunLog, thresholds: &Thresholds) -> Option<String> {
    let last = before.runs.iter().rev().find(|run| run.is_complete())?;
    if last.files < thresholds.min_files {
        return None;
    }
    let Changes { files, changed, gone } = changes;
    for (count, all, threshold, what) in [
        (gone, last.files, thresholds.gone, "that were there before are gone"),
        (changed, files, thresholds.changed, "are new or changed"),
    ] {
        if u128::from(count) * 100 >= u128::from(all) * u128::from(threshold) && count > 0 {
            return Some(format!("{count} of the {all} files {what}"));
        }
    }
    None
}

/// Words for a person: what is wrong with "this backup".
impl fmt::Display for Growth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Normal => f.write_str("this backup is as large as usual"),
            Self::First => f.write_str("this first backup does not fit into the free space"),
            Self::Abnormal { typical: 0, .. } => {
                f.write_str("this backup is abnormally large; usual is no new data at all")
            }
            Self::Abnormal { typical, times } => {
                let digits = usize::from(*times < 10.0);
                let typical = ByteSize(*typical);
                write!(f, "this backup is {times:.digits$} times larger than usual ({typical} of new data)")
            }
        }
    }
}

#[cfg(test)]
mod tests;
