//! How a plan is told: in words for people, and as JSON for programs.

use std::fmt;

use serde::ser::SerializeStruct;
use serde::{Serialize, Serializer};

use super::{Protection, PrunePlan, Step, Verdict};
use crate::model::escaped;

impl fmt::Display for Protection<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Named => f.write_str("held: not a time"),
            Self::Held(hold) => {
                write!(f, "held")?;
                if let Some(until) = hold.until {
                    write!(f, " until {}", until.strftime("%Y-%m-%d"))?;
                }
                write!(f, ": {}", escaped(hold.reason.as_bytes()))
            }
            Self::HoldsUnreadable => f.write_str("its client's holds cannot be read"),
            Self::Future => f.write_str("dated in the future"),
            Self::LastOfClient => f.write_str("last of its client"),
            Self::Younger(span) if span.as_secs() >= 2 * 86_400 && span.as_secs().is_multiple_of(86_400) => {
                write!(f, "younger than {} days", span.as_secs() / 86_400)
            }
            Self::Younger(span) => write!(f, "younger than {span}"),
            Self::MinKeep(count) => write!(f, "one of the last {count} good ones of its client"),
            Self::Abnormal => f.write_str("its client's latest backup is abnormally large"),
        }
    }
}

impl fmt::Display for Verdict<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::DeleteByRule => f.write_str("beyond what its keep rule keeps"),
            Self::Delete(reason) => reason.fmt(f),
            Self::Keep(protection) => protection.fmt(f),
        }
    }
}

/// `{"client":"web1","snapshot":"2026-10-04T01:00+0000","verdict":"delete","reason":"surplus"}`
impl Serialize for Step<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let verdict = match self.verdict {
            Verdict::DeleteByRule => "delete-by-rule",
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

/// The steps, the first to go first.
impl Serialize for PrunePlan<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.steps())
    }
}
