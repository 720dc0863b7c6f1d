//! Which snapshots a client has, and what it may know of them: its own runs, how much they brought, and what is
//! kept. Not why something is held, nor anything that depends on others: how full the store is, or what was
//! thought of a run.

use anyhow::Result;
use jiff::Timestamp;

use super::visit::{SnapshotsJob, Visit};
use crate::model::Tree;
use crate::model::hold::Holds;
use crate::model::run::Push;
use crate::model::run_log::RunLog;
use crate::model::snapshot_facts::{Kept, RunFacts, SnapshotFacts};

/// What is remembered of one client.
struct Memory {
    log: RunLog,
    push: Option<Push>,
    /// `None` when it cannot be read; the pruner then keeps everything.
    holds: Option<Holds>,
}

/// The facts of each snapshot, oldest first, and of `current`.
pub(super) fn facts(visit: &Visit, job: &SnapshotsJob, now: Timestamp) -> Result<Vec<SnapshotFacts>> {
    let state = visit.server.store.client_state(&visit.grant.client)?;
    let unreadable = |error: &anyhow::Error| visit.log_failure("snapshots", error);
    let memory = Memory {
        log: state.runs().inspect_err(unreadable).unwrap_or_default(),
        push: state.last_push().inspect_err(unreadable).unwrap_or_default(),
        holds: state.holds().inspect_err(unreadable).ok(),
    };
    let trees = job.trees.iter().rev().map(|(tree, open)| memory.facts(tree, open.made, now));
    Ok(trees.chain([memory.facts(&Tree::Current, None, now)]).collect())
}

impl Memory {
    fn facts(&self, tree: &Tree, made: Option<Timestamp>, now: Timestamp) -> SnapshotFacts {
        let tree = tree.clone();
        match &tree {
            Tree::Current => SnapshotFacts { run: self.last_run(), taken: None, kept: Kept::ForEver, tree },
            Tree::Snapshot(name) => {
                let measured = self.log.runs.iter().rev().find(|run| run.snapshot.as_ref() == Some(name));
                let run = measured.map(|run| RunFacts {
                    started: run.started,
                    ended: Some(run.ended),
                    status: run.status,
                    new_data: Some(run.new_data),
                });
                let last = || self.last_run().filter(|_| self.is_last(&tree));
                let held = |holds: &Holds| match holds.holding(name, now).map(|hold| hold.until) {
                    None => Kept::No,
                    Some(None) => Kept::ForEver,
                    Some(Some(until)) => Kept::Until(until),
                };
                let kept = match (name.time(), &self.holds) {
                    (None, _) | (_, None) => Kept::ForEver,
                    (Some(_), Some(holds)) => held(holds),
                };
                SnapshotFacts { run: run.or_else(last), taken: made.or(name.time()), kept, tree }
            }
        }
    }

    /// The run before the last measure.
    fn last_run(&self) -> Option<RunFacts> {
        let Push { started, ended, status, .. } = *self.push.as_ref()?;
        Some(RunFacts { started, ended, status, new_data: None })
    }

    fn is_last(&self, tree: &Tree) -> bool {
        let snapshot = self.push.as_ref().and_then(|push| push.snapshot.as_ref());
        snapshot.is_some_and(|snapshot| snapshot.as_str() == tree.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::hold::Hold;

    const NAME: &str = "2026-11-20T23:47+0000";

    fn time(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    fn kept(tree: &str, holds: Option<Vec<Hold>>) -> Kept {
        let holds = holds.map(|holds| Holds { holds, ..Holds::default() });
        let memory = Memory { log: RunLog::default(), push: None, holds };
        memory.facts(&tree.parse().unwrap(), None, time("2026-11-21T12:00:00Z")).kept
    }

    #[test]
    fn a_client_learns_what_is_kept_and_until_when_but_not_why() {
        let hold = |until: Option<&str>| Hold {
            snapshot: None,
            reason: "police".to_owned(),
            since: time("2026-11-20T00:00:00Z"),
            until: until.map(time),
            automatic: false,
        };
        let until = "2026-12-01T00:00:00Z";
        assert_eq!(kept(NAME, Some(vec![])), Kept::No);
        assert_eq!(kept(NAME, Some(vec![hold(Some(until))])), Kept::Until(time(until)));
        assert_eq!(kept(NAME, Some(vec![hold(None)])), Kept::ForEver);
        assert_eq!(kept(NAME, None), Kept::ForEver, "the pruner takes nothing while it cannot read them");
        assert_eq!(kept("saved", Some(vec![])), Kept::ForEver);
    }

    #[test]
    fn the_run_that_filled_a_snapshot_is_told_with_it() {
        let name = NAME.parse().unwrap();
        let push =
            Push { status: Some(24), snapshot: Some(name), ..Push::begin(Timestamp::UNIX_EPOCH, None, None) };
        let memory = Memory { log: RunLog::default(), push: Some(push), holds: None };
        let run = |tree: &str| memory.facts(&tree.parse().unwrap(), None, Timestamp::UNIX_EPOCH).run;
        assert_eq!(run(NAME).unwrap().status, Some(24));
        assert_eq!(run("current").unwrap().status, Some(24));
        assert_eq!(run("2026-11-19T23:47+0000"), None);
    }
}
