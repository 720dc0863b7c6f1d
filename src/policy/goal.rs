//! How much room the pruner makes. Nobody's history pays for a backup that is abnormally large: while one
//! waits for an administrator, the goal is the room that was left when it ended. What others bring since
//! then is made room for as always.

use crate::model::ClientName;
use crate::model::run_log::MeasuredRun;

/// When to begin and when to stop, in percent of free room.
#[derive(Debug, Clone, PartialEq)]
pub struct Goal {
    /// Room is made when less is free.
    pub begin: f64,
    /// And until this is free.
    pub until: f64,
    /// The client whose backup lowered the goal.
    pub because: Option<ClientName>,
}

impl Goal {
    /// The configured marks, lowered to what each pending run left free. `force` begins below `maxpercent`.
    ///
    /// A run whose end nobody saw counts by the room that it began with; one of which nothing is known
    /// lowers nothing.
    pub fn of(minpercent: f64, maxpercent: f64, force: bool, pending: &[(ClientName, &MeasuredRun)]) -> Self {
        let begin = if force { maxpercent } else { minpercent };
        let mut goal = Self { begin, until: maxpercent, because: None };
        for (client, run) in pending {
            match run.percent_free_after.or(run.percent_free_before) {
                Some(left) if left < goal.until => goal.lower(left, client),
                Some(_) | None => {}
            }
        }
        goal
    }

    fn lower(&mut self, left: f64, client: &ClientName) {
        self.until = left.max(0.0);
        self.begin = self.begin.min(self.until);
        self.because = Some(client.clone());
    }

    /// Whether there is no need to begin.
    pub fn is_met_by(&self, percent_free: f64) -> bool {
        percent_free >= self.begin
    }

    /// Whether there is no need to go on.
    pub fn is_reached_by(&self, percent_free: f64) -> bool {
        percent_free >= self.until
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::run_log::{Measure, RunVerdict};
    use jiff::Timestamp;
    use proptest::prelude::*;

    fn run(before: Option<f64>, after: Option<f64>) -> MeasuredRun {
        MeasuredRun {
            started: Timestamp::UNIX_EPOCH,
            ended: Timestamp::UNIX_EPOCH,
            snapshot: None,
            status: Some(0),
            new_data: 1 << 40,
            measure: Measure::Quota,
            files: 1,
            changed: 1,
            gone: 0,
            percent_free_before: before,
            percent_free_after: after,
            verdict: RunVerdict::Abnormal { typical: 1 },
            suspicion: None,
            accepted: false,
        }
    }

    fn goal(force: bool, runs: &[(&str, MeasuredRun)]) -> Goal {
        let pending: Vec<_> = runs.iter().map(|(client, run)| (client.parse().unwrap(), run)).collect();
        Goal::of(5.0, 10.0, force, &pending)
    }

    fn numbers(goal: &Goal) -> (f64, f64, Option<&str>) {
        (goal.begin, goal.until, goal.because.as_ref().map(ClientName::as_str))
    }

    #[test]
    fn without_an_abnormal_run_the_marks_are_the_goal() {
        assert_eq!(numbers(&goal(false, &[])), (5.0, 10.0, None));
        assert_eq!(numbers(&goal(true, &[])), (10.0, 10.0, None));
    }

    #[test]
    fn nobody_s_history_pays_for_an_abnormal_run() {
        let (some, little) = (run(None, Some(7.0)), run(Some(9.0), Some(3.0)));
        assert_eq!(numbers(&goal(false, &[("a", some.clone())])), (5.0, 7.0, Some("a")));
        assert_eq!(numbers(&goal(false, &[("b", little.clone()), ("a", some)])), (3.0, 3.0, Some("b")));
        assert_eq!(numbers(&goal(true, &[("b", little)])), (3.0, 3.0, Some("b")), "not even by force");
        assert_eq!(numbers(&goal(false, &[("c", run(None, Some(50.0)))])), (5.0, 10.0, None));
    }

    #[test]
    fn a_run_whose_end_nobody_saw_counts_by_its_begin() {
        assert_eq!(numbers(&goal(false, &[("a", run(Some(6.0), None))])), (5.0, 6.0, Some("a")));
        assert_eq!(numbers(&goal(false, &[("a", run(None, None))])), (5.0, 10.0, None));
    }

    proptest! {
        #[test]
        fn what_others_bring_after_it_is_made_room_for(left in 0.5f64..20.0, brought in 0.1f64..10.0) {
            let goal = goal(false, &[("a", run(None, Some(left)))]);
            prop_assert!(goal.begin <= goal.until && goal.until <= left.min(10.0));
            let then = goal.begin - brought;
            prop_assert!(!goal.is_met_by(then) && !goal.is_reached_by(then));
        }
    }
}
