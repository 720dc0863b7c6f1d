//! What would be deleted, in which order, and why; and what would not, and why. A dry run prints the same
//! plan that a real run carries out: it deletes one after the other until there is room.

use std::collections::HashMap;
use std::fmt;

use jiff::Timestamp;
use serde::ser::SerializeStruct;
use serde::{Serialize, Serializer};

use super::importance::{Order, Reason, rank};
use crate::model::span::Span;
use crate::model::{ClientName, SnapshotName};

/// Every snapshot of a store with its verdict, in pruning order: the first one goes first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct PrunePlan {
    steps: Vec<Step>,
}

/// One snapshot and its verdict.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// Whose it is.
    pub client: ClientName,
    /// Which one.
    pub snapshot: SnapshotName,
    /// What becomes of it.
    pub verdict: Verdict,
}

/// What becomes of a snapshot; printed as its reason in words.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It may be deleted when its turn comes; how much it is worth.
    Delete(Reason),
    /// It stays, however little room there is.
    Keep(Protection),
}

/// What keeps a snapshot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protection {
    /// Its name is no time: a person gave it.
    Held,
    /// Its time lies in the future, so nobody knows how old it is.
    Future,
    /// It is the newest of its client.
    LastOfClient,
    /// It is younger than this.
    Younger(Span),
}

impl PrunePlan {
    /// The plan for all snapshots of a store: the order, and over it what is never deleted. That is a
    /// snapshot younger than `min_age` by its name, one dated in the future, one whose name is no time,
    /// and the newest of each client that is not dated in the future.
    pub fn new(
        snapshots: &[(ClientName, SnapshotName)],
        now: Timestamp,
        min_age: Span,
        order: Order,
    ) -> Self {
        let ranked = rank(snapshots, now, order);
        let newest = newest_of_each(snapshots, now);
        let steps = ranked.iter().rev().map(|ranked| {
            let is_newest = newest.get(ranked.client) == Some(&ranked.snapshot);
            let verdict = verdict(ranked.snapshot, ranked.reason, is_newest, now, min_age);
            Step { client: ranked.client.clone(), snapshot: ranked.snapshot.clone(), verdict }
        });
        Self { steps: steps.chain(held(snapshots)).collect() }
    }

    /// Every snapshot, the first to go first.
    pub fn steps(&self) -> &[Step] {
        &self.steps
    }

    /// What may be deleted, the first to go first.
    pub fn deletions(&self) -> impl Iterator<Item = &Step> {
        self.steps.iter().filter(|step| matches!(step.verdict, Verdict::Delete(_)))
    }
}

fn newest_of_each(
    snapshots: &[(ClientName, SnapshotName)],
    now: Timestamp,
) -> HashMap<&ClientName, &SnapshotName> {
    let mut newest = HashMap::new();
    for (client, snapshot) in snapshots {
        if snapshot.time().is_some_and(|time| time <= now) {
            let best = newest.entry(client).or_insert(snapshot);
            *best = snapshot.max(*best);
        }
    }
    newest
}

fn verdict(
    snapshot: &SnapshotName,
    reason: Reason,
    is_newest: bool,
    now: Timestamp,
    min_age: Span,
) -> Verdict {
    let Some(time) = snapshot.time() else { return Verdict::Keep(Protection::Held) };
    let age = now.as_second().saturating_sub(time.as_second());
    match u64::try_from(age) {
        Err(_) => Verdict::Keep(Protection::Future),
        Ok(_) if is_newest => Verdict::Keep(Protection::LastOfClient),
        Ok(age) if age < min_age.as_secs() => Verdict::Keep(Protection::Younger(min_age)),
        Ok(_) => Verdict::Delete(reason),
    }
}

/// The snapshots that a person named, by client and name.
fn held(snapshots: &[(ClientName, SnapshotName)]) -> Vec<Step> {
    let mut named: Vec<_> = snapshots.iter().filter(|(_, snapshot)| snapshot.time().is_none()).collect();
    named.sort();
    let keep = Verdict::Keep(Protection::Held);
    let step = |(client, snapshot): &(ClientName, SnapshotName)| Step {
        client: client.clone(),
        snapshot: snapshot.clone(),
        verdict: keep,
    };
    named.into_iter().map(step).collect()
}

impl fmt::Display for Protection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Held => f.write_str("held: not a time"),
            Self::Future => f.write_str("dated in the future"),
            Self::LastOfClient => f.write_str("last of its client"),
            Self::Younger(span) if span.as_secs() >= 2 * 86_400 && span.as_secs().is_multiple_of(86_400) => {
                write!(f, "younger than {} days", span.as_secs() / 86_400)
            }
            Self::Younger(span) => write!(f, "younger than {span}"),
        }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Delete(reason) => reason.fmt(f),
            Self::Keep(protection) => protection.fmt(f),
        }
    }
}

/// `{"client":"web1","snapshot":"2026-10-04T01:00+0000","verdict":"delete","reason":"surplus"}`
impl Serialize for Step {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let verdict = match self.verdict {
            Verdict::Delete(_) => "delete",
            Verdict::Keep(_) => "keep",
        };
        let mut step = serializer.serialize_struct("Step", 4)?;
        step.serialize_field("client", self.client.as_str())?;
        step.serialize_field("snapshot", self.snapshot.as_str())?;
        step.serialize_field("verdict", verdict)?;
        step.serialize_field("reason", &self.verdict.to_string())?;
        step.end()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn now() -> Timestamp {
        "2026-11-21T23:47:31Z".parse().unwrap()
    }

    fn of(client: &str, snapshots: &[&str]) -> Vec<(ClientName, SnapshotName)> {
        snapshots.iter().map(|name| (client.parse().unwrap(), name.parse().unwrap())).collect()
    }

    fn plan(snapshots: &[(ClientName, SnapshotName)]) -> PrunePlan {
        PrunePlan::new(snapshots, now(), Span::days(7), Order::Importance)
    }

    fn words(plan: &PrunePlan) -> Vec<String> {
        plan.steps()
            .iter()
            .map(|step| format!("{} {}: {}", step.client, step.snapshot, step.verdict))
            .collect()
    }

    #[test]
    fn every_snapshot_stands_in_the_plan_with_its_reason() {
        let mut snapshots = of(
            "web1",
            &[
                "2026-11-21T01:00+0000",
                "2026-11-20T01:00+0000",
                "2026-11-09T01:00+0000",
                "2026-11-08T01:00+0000",
                "2026-11-07T01:00+0000",
                "2030-01-01T00:00+0000",
                "saved-do-not-delete",
            ],
        );
        snapshots.extend(of("db", &["2026-01-01T01:00+0000", "2026-11-19T01:00+0000"]));
        let plan = PrunePlan::new(&snapshots, now(), Span::days(7), Order::Age);
        assert_eq!(
            words(&plan),
            [
                "db 2026-01-01T01:00+0000: by age",
                "web1 2026-11-07T01:00+0000: by age",
                "web1 2026-11-08T01:00+0000: by age",
                "web1 2026-11-09T01:00+0000: by age",
                "db 2026-11-19T01:00+0000: last of its client",
                "web1 2026-11-20T01:00+0000: younger than 7 days",
                "web1 2026-11-21T01:00+0000: last of its client",
                "web1 2030-01-01T00:00+0000: dated in the future",
                "web1 saved-do-not-delete: held: not a time",
            ]
        );
        assert_eq!(plan.deletions().count(), 4);
    }

    #[test]
    fn surplus_goes_before_the_oldest_target() {
        let days: Vec<String> = (1..=30).rev().map(|day| format!("2026-10-{day:02}T01:00+0000")).collect();
        let mut snapshots = of("web1", &days.iter().map(String::as_str).collect::<Vec<_>>());
        snapshots.extend(of("web1", &["2026-09-27T12:00+0000"]));
        let plan = plan(&snapshots);
        let words = words(&plan);
        assert_eq!(words[0], "web1 2026-10-01T01:00+0000: surplus");
        assert_eq!(words.last().unwrap(), "web1 2026-10-30T01:00+0000: last of its client");
        assert_eq!(words[words.len() - 12], "web1 2026-09-27T12:00+0000: target: fourth Sunday 2026-09-27");
    }

    #[test]
    fn the_newest_that_can_be_trusted_is_kept_beside_one_from_the_future() {
        let plan = plan(&of("web1", &["2026-01-01T01:00+0000", "2030-01-01T00:00+0000", "saved"]));
        assert_eq!(plan.deletions().count(), 0);
        assert!(words(&plan)[0].ends_with("last of its client"));
    }

    #[test]
    fn the_plan_is_json_for_a_program() {
        let plan = plan(&of("web1", &["2026-01-01T01:00+0000", "saved"]));
        assert_eq!(
            serde_json::to_string(&plan).unwrap(),
            r#"[{"client":"web1","snapshot":"2026-01-01T01:00+0000","verdict":"keep","reason":"last of its client"},"#
                .to_owned()
                + r#"{"client":"web1","snapshot":"saved","verdict":"keep","reason":"held: not a time"}]"#
        );
    }

    proptest! {
        #[test]
        fn no_plan_deletes_what_must_stay(
            list in prop::collection::vec((0u8..4, -500i64..30), 0..80),
            min_age in 0u64..20,
            by_age: bool,
        ) {
            let day = 86_400;
            let snapshots: Vec<(ClientName, SnapshotName)> = list
                .iter()
                .map(|(client, offset)| {
                    let time = Timestamp::from_second(now().as_second() + offset * day).unwrap();
                    (format!("c{client}").parse().unwrap(), SnapshotName::at(time))
                })
                .collect();
            let order = if by_age { Order::Age } else { Order::Importance };
            let plan = PrunePlan::new(&snapshots, now(), Span::days(min_age), order);
            prop_assert_eq!(plan.steps().len(), snapshots.len());
            for step in plan.deletions() {
                let age = now().as_second() - step.snapshot.time().unwrap().as_second();
                prop_assert!(u64::try_from(age).unwrap() >= min_age * 86_400);
                let has_newer = snapshots.iter().any(|(client, snapshot)| {
                    *client == step.client && *snapshot > step.snapshot && snapshot.time() <= Some(now())
                });
                prop_assert!(has_newer, "{:?}", step);
            }
        }
    }
}
