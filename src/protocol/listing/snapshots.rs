//! What the gate answers to `--snapshots`: a line for each snapshot, oldest first, then one for `current`, and
//! an end line with the server's clock, by which ages are told.
//!
//! ```text
//! {"snapshot":"2026-11-20T23:47+0000","taken":"2026-11-20T23:47:31Z","started":"…","ended":"…","status":0,"new_data":52311,"kept":true,"kept_until":"…"}
//! {"schema":1,"snapshots":2,"now":"2026-11-21T06:00:00Z"}
//! ```

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::json::print;
use super::{LONGEST_LINE, ListingError};
use crate::model::snapshot_facts::{Kept, RunFacts, SnapshotFacts};

const SCHEMA: u32 = 1;

/// A line of the answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Line {
    /// One tree.
    Facts(SnapshotFacts),
    /// The last line.
    End {
        /// How many lines came before it.
        snapshots: u64,
        /// The server's clock.
        now: Timestamp,
    },
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct FactsLine {
    snapshot: String,
    taken: Option<Timestamp>,
    started: Option<Timestamp>,
    ended: Option<Timestamp>,
    status: Option<i32>,
    new_data: Option<u64>,
    kept: bool,
    kept_until: Option<Timestamp>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct EndLine {
    schema: u32,
    snapshots: u64,
    now: Timestamp,
}

/// One tree's line, without its end.
pub fn print_facts(facts: &SnapshotFacts) -> String {
    print(&FactsLine {
        snapshot: facts.tree.to_string(),
        taken: facts.taken,
        started: facts.run.map(|run| run.started),
        ended: facts.run.and_then(|run| run.ended),
        status: facts.run.and_then(|run| run.status),
        new_data: facts.run.and_then(|run| run.new_data),
        kept: facts.kept != Kept::No,
        kept_until: match facts.kept {
            Kept::Until(until) => Some(until),
            Kept::No | Kept::ForEver => None,
        },
    })
}

/// The last line, without its end.
pub fn print_end(snapshots: u64, now: Timestamp) -> String {
    print(&EndLine { schema: SCHEMA, snapshots, now })
}

/// Reads one line, with or without its end.
///
/// # Errors
/// When it is anything but what [`print_facts`] and [`print_end`] write.
pub fn parse_line(line: &[u8]) -> Result<Line, ListingError> {
    if line.len() > LONGEST_LINE {
        return Err(ListingError::TooLong);
    }
    if line.first() != Some(&b'{') {
        return Err(ListingError::Malformed("it is no JSON object".to_owned()));
    }
    let error = match serde_json::from_slice::<FactsLine>(line) {
        Ok(written) => return facts(&written).map(Line::Facts),
        Err(error) => error,
    };
    match serde_json::from_slice::<EndLine>(line) {
        Ok(end) if end.schema == SCHEMA => Ok(Line::End { snapshots: end.snapshots, now: end.now }),
        Ok(end) => Err(ListingError::Schema(end.schema)),
        Err(_) => Err(ListingError::Malformed(error.to_string())),
    }
}

fn facts(line: &FactsLine) -> Result<SnapshotFacts, ListingError> {
    let FactsLine { ended, status, new_data, .. } = *line;
    let run = match line.started {
        Some(started) => Some(RunFacts { started, ended, status, new_data }),
        None if ended.is_none() && status.is_none() && new_data.is_none() => None,
        None => return Err(ListingError::Field("started")),
    };
    let kept = match (line.kept, line.kept_until) {
        (false, None) => Kept::No,
        (true, None) => Kept::ForEver,
        (true, Some(until)) => Kept::Until(until),
        (false, Some(_)) => return Err(ListingError::Field("kept_until")),
    };
    let tree = line.snapshot.parse().map_err(|_| ListingError::Field("snapshot"))?;
    Ok(SnapshotFacts { tree, taken: line.taken, run, kept })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Tree;
    use proptest::prelude::*;

    fn time() -> impl Strategy<Value = Timestamp> {
        (0i64..4_000_000_000).prop_map(|seconds| Timestamp::from_second(seconds).unwrap())
    }

    proptest! {
        #[test]
        fn all_facts_survive_their_line(
            taken in prop::option::of(time()),
            run in prop::option::of((time(), prop::option::of(time()), any::<Option<i32>>(), any::<Option<u64>>())),
            kept in prop_oneof![Just(Kept::No), Just(Kept::ForEver), time().prop_map(Kept::Until)],
        ) {
            let run = run.map(|(started, ended, status, new_data)| RunFacts { started, ended, status, new_data });
            let facts = SnapshotFacts { tree: Tree::Current, taken, run, kept };
            prop_assert_eq!(parse_line(print_facts(&facts).as_bytes()), Ok(Line::Facts(facts)));
        }

        #[test]
        fn no_bytes_make_the_parser_panic(line: Vec<u8>) {
            let _ = parse_line(&line);
        }
    }

    #[test]
    fn the_last_line_tells_the_servers_clock() {
        let now = "2026-11-21T06:00:00Z".parse().unwrap();
        let printed = print_end(2, now);
        assert_eq!(printed, r#"{"schema":1,"snapshots":2,"now":"2026-11-21T06:00:00Z"}"#);
        assert_eq!(parse_line(printed.as_bytes()), Ok(Line::End { snapshots: 2, now }));
        assert_eq!(parse_line(printed.replace(":1", ":2").as_bytes()), Err(ListingError::Schema(2)));
    }
}
