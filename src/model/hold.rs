//! A hold keeps a snapshot, or all of a client, from being pruned. Kept in
//! `STORE/.byteback/clients/NAME/holds.json`.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::SnapshotName;

/// One hold.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Hold {
    /// The one snapshot that it keeps. `None`: all of the client; those that came later too, unless the
    /// hold is automatic.
    #[serde(default)]
    pub snapshot: Option<SnapshotName>,
    /// Why, in an administrator's words or our own.
    pub reason: String,
    /// Since when.
    pub since: Timestamp,
    /// Until when; `None` for ever.
    #[serde(default)]
    pub until: Option<Timestamp>,
    /// It was not made by a person, but after a suspicious run.
    #[serde(default)]
    pub automatic: bool,
}

/// All holds of a client, expired ones too.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Holds {
    /// The version of this form: 1.
    pub schema: u32,
    /// In the order in which they were made.
    pub holds: Vec<Hold>,
}

impl Default for Holds {
    fn default() -> Self {
        Self { schema: 1, holds: Vec::new() }
    }
}

impl Hold {
    /// Whether it no longer keeps anything.
    pub fn has_expired(&self, now: Timestamp) -> bool {
        self.until.is_some_and(|until| until <= now)
    }

    /// Whether it is about this snapshot, expired or not. An automatic hold of a whole client covers what
    /// existed when it was made: otherwise a hostile client could be suspicious once and then fill the
    /// store with snapshots that nobody may delete.
    pub fn covers(&self, snapshot: &SnapshotName) -> bool {
        match &self.snapshot {
            Some(held) => held == snapshot,
            None => !self.automatic || snapshot.time().is_none_or(|time| time <= self.since),
        }
    }
}

impl Holds {
    /// The hold that keeps this snapshot now; of several the one that lasts longest.
    pub fn holding(&self, snapshot: &SnapshotName, now: Timestamp) -> Option<&Hold> {
        let holding = self.holds.iter().filter(|hold| hold.covers(snapshot) && !hold.has_expired(now));
        holding.max_by_key(|hold| hold.until.unwrap_or(Timestamp::MAX))
    }

    /// The automatic hold that stands, also an expired one: no new one is made until a person has
    /// released it, or a hostile client could keep all its snapshots for ever at the others' cost.
    pub fn automatic(&self) -> Option<&Hold> {
        self.holds.iter().find(|hold| hold.automatic)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn time(day: u8) -> Timestamp {
        format!("2026-11-{day:02}T12:00:00Z").parse().unwrap()
    }

    fn name(day: u8) -> SnapshotName {
        SnapshotName::at(time(day))
    }

    fn hold(snapshot: Option<SnapshotName>, until: Option<Timestamp>, automatic: bool) -> Hold {
        Hold { snapshot, reason: "because".to_owned(), since: time(10), until, automatic }
    }

    fn holds(list: &[Hold]) -> Holds {
        Holds { holds: list.to_vec(), ..Holds::default() }
    }

    #[test]
    fn a_hold_keeps_its_snapshot_until_its_day() {
        let holds = holds(&[hold(Some(name(5)), Some(time(20)), false)]);
        assert!(holds.holding(&name(5), time(19)).is_some());
        assert_eq!(holds.holding(&name(5), time(20)), None);
        assert_eq!(holds.holding(&name(6), time(19)), None);
    }

    #[test]
    fn a_client_s_hold_keeps_all_that_it_has_and_will_have() {
        let holds = holds(&[hold(None, None, false)]);
        for snapshot in [name(1), name(10), name(28), "saved".parse().unwrap()] {
            assert!(holds.holding(&snapshot, time(30)).is_some(), "{snapshot}");
        }
    }

    #[test]
    fn an_automatic_hold_keeps_what_existed_and_nothing_that_came_after() {
        let holds = holds(&[hold(None, Some(time(20)), true)]);
        assert!(holds.holding(&name(10), time(15)).is_some());
        assert_eq!(holds.holding(&name(11), time(15)), None);
        assert_eq!(holds.holding(&name(10), time(20)), None);
        assert!(holds.automatic().is_some(), "it stands until a person releases it");
    }

    #[test]
    fn of_several_holds_the_longest_counts() {
        let (short, long) = (hold(None, Some(time(20)), false), hold(Some(name(5)), None, false));
        let holds = holds(&[short.clone(), long.clone()]);
        assert_eq!(holds.holding(&name(5), time(12)), Some(&long));
        assert_eq!(holds.holding(&name(6), time(12)), Some(&short));
    }

    #[test]
    fn holds_survive_their_record() {
        let holds = holds(&[hold(Some(name(5)), Some(time(20)), true), hold(None, None, false)]);
        assert_eq!(serde_json::from_str::<Holds>(&serde_json::to_string(&holds).unwrap()).unwrap(), holds);
        assert!(serde_json::from_str::<Holds>(r#"{"schema":1,"holds":[{"reason":"x"}]}"#).is_err());
    }
}
