//! What the server remembers of a client's runs: how much new data each brought, and what was thought of
//! it. Kept in `STORE/.byteback/clients/NAME/runs.json`.

use std::collections::BTreeSet;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::SnapshotName;

/// As many runs are remembered: two months of nights.
pub const LONGEST: usize = 60;

/// As many days with a good run tell what is usual, and are never pushed out by further runs.
pub const DAYS: usize = 14;

/// A client's measured runs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RunLog {
    /// The version of this form: 1.
    pub schema: u32,
    /// An administrator's word that a large backup is in order; it holds until the next complete run.
    #[serde(default)]
    pub accepted: Option<Accepted>,
    /// The oldest first, at most [`LONGEST`].
    pub runs: Vec<MeasuredRun>,
}

/// An administrator's word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Accepted {
    /// When it was given.
    pub at: Timestamp,
}

/// One run, measured after its end.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MeasuredRun {
    /// When rsync was started.
    pub started: Timestamp,
    /// When it ended.
    pub ended: Timestamp,
    /// The snapshot that was taken of it.
    pub snapshot: Option<SnapshotName>,
    /// What rsync exited with; `None` when it did not end by itself.
    pub status: Option<i32>,
    /// Bytes that it added to the store, by `measure`.
    pub new_data: u64,
    /// How they were measured.
    pub measure: Measure,
    /// Files, directories and all else in the tree when it was measured.
    pub files: u64,
    /// How many of them are new or changed since the run before.
    pub changed: u64,
    /// How many went since the run before.
    pub gone: u64,
    /// Percent of free room when it began.
    pub percent_free_before: Option<f64>,
    /// The same when it had ended.
    pub percent_free_after: Option<f64>,
    /// What was thought of its size.
    pub verdict: RunVerdict,
    /// Why it looks as if the machine had been emptied or scrambled, in words.
    #[serde(default)]
    pub suspicion: Option<String>,
    /// An administrator said that its size is in order.
    #[serde(default)]
    pub accepted: bool,
}

/// How new data was measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Measure {
    /// By what the kernel's simple quota charges to the client.
    Quota,
    /// By the unshared extents of the files that changed.
    Extents,
    /// By the change of the room in use in the whole store, while nobody else wrote or deleted.
    UsedSpace,
}

/// What is thought of a run's size.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RunVerdict {
    /// As usual.
    Normal,
    /// There was nothing to compare it with.
    First,
    /// Far more new data than usual.
    Abnormal {
        /// The usual number of bytes.
        typical: u64,
    },
    /// The same, and the gate ended it since the room ran short.
    Stopped {
        /// The usual number of bytes; 0 for a first run.
        typical: u64,
    },
}

impl Default for RunLog {
    fn default() -> Self {
        Self { schema: 1, accepted: None, runs: Vec::new() }
    }
}

impl RunLog {
    /// Appends the run that ended last; the oldest are forgotten as long as they are not needed. An administrator's word marks it, and is
    /// used up when the run is complete.
    pub fn add(&mut self, mut run: MeasuredRun) {
        run.accepted |= self.accepted.is_some();
        if run.is_complete() {
            self.accepted = None;
        }
        self.runs.push(run);
        while self.runs.len() > LONGEST {
            self.runs.remove(self.dispensable());
        }
    }

    /// The oldest run that nothing depends on. A client may push as often as it likes, so what was abnormal
    /// and what is usual must not be pushed out of the log by many small or failing runs.
    fn dispensable(&self) -> usize {
        let is_needed = |at: usize| {
            let (run, later) = (&self.runs[at], &self.runs[at + 1..]);
            if run.is_open() {
                !later.iter().any(MeasuredRun::is_open)
            } else {
                run.is_last_of_a_late_day(later)
            }
        };
        (0..self.runs.len()).find(|at| !is_needed(*at)).unwrap_or(0)
    }

    /// Forgets the runs that wait for an administrator: what they brought was thrown away.
    pub fn forget_open(&mut self) {
        self.runs.retain(|run| !run.is_open());
    }

    /// The last run.
    pub fn last(&self) -> Option<&MeasuredRun> {
        self.runs.last()
    }

    /// Takes an administrator's word: the size of the last runs is in order. Where they did not end with a
    /// complete one that was too large, the word is kept for the next complete run.
    pub fn accept(&mut self, at: Timestamp) {
        let is_answered = self.last().is_some_and(|run| run.is_large() && run.is_complete());
        self.accepted = (!is_answered).then_some(Accepted { at });
        for run in self.runs.iter_mut().rev().take_while(|run| run.is_large()) {
            run.accepted = true;
        }
    }
}

impl MeasuredRun {
    /// Whether it brought all that the client meant to send; see [`super::run::Push::is_complete`].
    pub fn is_complete(&self) -> bool {
        matches!(self.status, Some(0 | 24))
    }

    /// Whether it waits for an administrator's word: its size was found abnormal, and nobody accepted it.
    pub fn is_open(&self) -> bool {
        self.is_large() && !self.accepted
    }

    /// Whether it is the last good one of its day, of one of the last [`DAYS`] days that have one.
    fn is_last_of_a_late_day(&self, later: &[Self]) -> bool {
        let is_good = |run: &&Self| run.is_complete() && !run.is_open();
        let day = |run: &Self| run.ended.as_second().div_euclid(86_400);
        let days: BTreeSet<i64> = later.iter().filter(is_good).map(day).collect();
        is_good(&self) && !days.contains(&day(self)) && days.len() < DAYS
    }

    /// Whether its size was found abnormal, accepted or not.
    pub fn is_large(&self) -> bool {
        matches!(self.verdict, RunVerdict::Abnormal { .. } | RunVerdict::Stopped { .. })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(night: i64, verdict: RunVerdict, status: Option<i32>) -> MeasuredRun {
        let time = Timestamp::from_second(night * 86_400).unwrap();
        MeasuredRun {
            started: time,
            ended: time,
            snapshot: None,
            status,
            new_data: 1 << 20,
            measure: Measure::Extents,
            files: 10,
            changed: 1,
            gone: 0,
            percent_free_before: Some(20.5),
            percent_free_after: None,
            verdict,
            suspicion: None,
            accepted: false,
        }
    }

    #[test]
    fn two_months_are_remembered_and_the_oldest_forgotten() {
        let mut log = RunLog::default();
        (0..100).for_each(|night| log.add(run(night, RunVerdict::Normal, Some(0))));
        assert_eq!(log.runs.len(), LONGEST);
        assert_eq!(log.last().unwrap().started.as_second(), 99 * 86_400);
        assert!(log.runs.is_sorted_by_key(|run| run.started));
    }

    #[test]
    fn many_small_runs_push_neither_the_abnormal_nor_the_usual_out_of_the_log() {
        let mut log = RunLog::default();
        (0..14).for_each(|night| log.add(run(night, RunVerdict::Normal, Some(0))));
        log.add(run(14, RunVerdict::Abnormal { typical: 5 }, Some(0)));
        (0..200).for_each(|_| log.add(run(15, RunVerdict::Normal, Some(12))));
        (0..200).for_each(|_| log.add(run(15, RunVerdict::Normal, Some(0))));
        assert_eq!(log.runs.len(), LONGEST);
        assert_eq!(log.runs.iter().filter(|run| run.is_open()).count(), 1);
        let days: BTreeSet<_> = log.runs.iter().map(|run| run.ended.as_second() / 86_400).collect();
        assert_eq!(days, (1..16).collect(), "the last 14 good days, and the abnormal one");
        log.forget_open();
        assert!(log.runs.iter().all(|run| !run.is_open()));
    }

    #[test]
    fn an_administrator_s_word_holds_until_the_next_complete_run() {
        let mut log = RunLog::default();
        let stopped = RunVerdict::Stopped { typical: 5 };
        log.add(run(1, RunVerdict::Normal, Some(0)));
        log.add(run(2, stopped, None));
        log.add(run(3, stopped, None));
        log.accept(Timestamp::UNIX_EPOCH);
        log.add(run(4, stopped, None));
        assert!(log.accepted.is_some(), "not used up by a run that failed");
        log.add(run(5, RunVerdict::Abnormal { typical: 5 }, Some(24)));
        log.add(run(6, RunVerdict::Abnormal { typical: 5 }, Some(0)));
        let accepted = |log: &RunLog| log.runs.iter().map(|run| run.accepted).collect::<Vec<_>>();
        assert_eq!(accepted(&log), [false, true, true, true, true, false]);
        log.accept(Timestamp::UNIX_EPOCH);
        log.add(run(7, RunVerdict::Abnormal { typical: 5 }, Some(0)));
        assert_eq!(accepted(&log)[5..], [true, false], "what was complete already used the word up");
    }

    #[test]
    fn a_log_survives_its_record_and_is_strict_about_it() {
        let mut log = RunLog::default();
        log.add(run(1, RunVerdict::First, Some(0)));
        log.add(run(2, RunVerdict::Abnormal { typical: 7 }, Some(0)));
        log.accept(Timestamp::UNIX_EPOCH);
        let json = serde_json::to_string(&log).unwrap();
        assert_eq!(serde_json::from_str::<RunLog>(&json).unwrap(), log);
        assert!(json.contains(r#""verdict":{"abnormal":{"typical":7}}"#), "{json}");
        assert!(json.contains(r#""1970-01-02T00:00:00Z""#), "{json}");
        assert!(serde_json::from_str::<RunLog>(r#"{"schema":1,"runs":[],"x":1}"#).is_err());
    }
}
