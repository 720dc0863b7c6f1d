//! Finding files: what is asked for, and how the answer is shown, line by line as it comes.

use anyhow::Result;
use clap::Args;
use jiff::Timestamp;

use super::{listing, when};
use crate::model::snapshot_facts::{Kept, RunFacts, SnapshotFacts};
use crate::model::{ByteSize, Failure, Status, Tree, Version, escaped};
use crate::protocol::find_query::{FindQuery, Pattern};
use crate::protocol::listing::{Table, nothing_found, print_end, print_version, snapshots as lines};
use crate::system::signals::Signals;
use crate::system::ssh::Connection;
use crate::system::{clock, console};

/// Where is looked, and how much of what is there counts.
#[derive(Debug, Clone, Args)]
pub struct Scope {
    /// Look in this snapshot, in `current`, or in all with '*' (default: all)
    #[arg(short, long, default_value = "*", hide_default_value = true)]
    pub snapshot: String,
    /// As it was then: 2026-11-01, '3 days ago', yesterday
    #[arg(long, value_name = "TIME", conflicts_with_all = ["snapshot", "all"])]
    pub at: Option<String>,
    /// Each version, not the newest of each file only
    #[arg(short, long)]
    pub all: bool,
    /// Only what the last backup no longer held
    #[arg(long, conflicts_with = "at")]
    pub deleted: bool,
    /// List every copy; when restoring, tell each name
    #[arg(short, long)]
    pub verbose: bool,
}

/// How a list looks.
#[derive(Debug, Clone, Copy, Args)]
pub struct Form {
    /// Tell everything as lines of JSON
    #[arg(long)]
    pub json: bool,
    /// List SNAPSHOT/PATH alone, ended by NULs
    #[arg(short = '0', long = "null", conflicts_with_all = ["json", "restore", "to", "in_place", "stdout", "tar", "dry_run", "verify"])]
    pub null: bool,
    /// List the snapshots: age, run, new data, whether kept
    #[arg(long, conflicts_with_all = ["restore", "list", "patterns", "snapshot", "at", "all", "deleted", "verbose"])]
    pub snapshots: bool,
}

impl Scope {
    /// What the server is asked. A restore takes each version once, however much it says.
    pub(super) fn query(&self, patterns: Vec<Pattern>, listing: bool) -> Result<FindQuery> {
        let tree = match self.snapshot.as_str() {
            "*" => None,
            name => Some(name.parse::<Tree>().map_err(|why| {
                let shown = escaped(name.as_bytes());
                Failure::misuse(format!("--snapshot {shown} can name no snapshot: {why}"))
            })?),
        };
        let at = self.at.as_deref().map(moment).transpose()?;
        let verbose = self.verbose && listing;
        let history = self.all && !verbose;
        Ok(FindQuery { tree, at, all: self.all, verbose, deleted: self.deleted, history, patterns })
    }
}

fn moment(text: &str) -> Result<Timestamp> {
    when::resolve(text, &clock::here()).ok_or_else(|| {
        let shown = escaped(text.as_bytes());
        let forms = "2026-11-01, '2026-11-01 14:30', '3 days ago' or yesterday";
        Failure::misuse(format!("--at '{shown}' is no time; write it as {forms}")).into()
    })
}

/// Lists what matches.
pub(super) fn list(
    connection: &Connection,
    signals: &Signals,
    query: &FindQuery,
    form: Form,
) -> Result<Status> {
    if query.tree == Some(Tree::Current) {
        console::say(
            "current is the server's working copy: a backup that is at work or failed leaves it half old, half new",
        );
    }
    let (mut table, mut history) = (None, false);
    let told = listing::ask_each(connection, signals, query, |version| {
        history = version.history.is_some();
        match form {
            Form { json: true, .. } => console::print(print_version(&version)),
            Form { null: true, .. } => console::print_raw(&name(&version)),
            Form { .. } => console::print(table.get_or_insert_with(|| Table::new(history)).row(&version)),
        }
    })?;
    let cut = told.cut.as_deref();
    if form.json {
        console::print(print_end(history, told.versions, cut));
    } else if told.versions == 0 && !form.null {
        say_nothing_found(query, false);
    }
    if let Some(why) = cut {
        console::say(format_args!("the list is not whole: {}", escaped(why.as_bytes())));
    }
    Ok(if told.versions == 0 || cut.is_some() { Status::Failed } else { Status::Done })
}

/// As a restore calls it below the working directory.
fn name(version: &Version) -> Vec<u8> {
    [version.entry.tree.as_str().as_bytes(), b"/", &version.entry.path, b"\0"].concat()
}

/// Says that nothing matches, in JSON by a list without entries.
pub(super) fn say_nothing_found(query: &FindQuery, json: bool) -> Status {
    if json {
        console::print(print_end(false, 0, None));
        return Status::Failed;
    }
    let patterns: Vec<_> = query.patterns.iter().map(Pattern::as_bytes).collect();
    console::print(nothing_found(&patterns).trim_end());
    Status::Failed
}

/// Lists the snapshots.
pub(super) fn snapshots(connection: &Connection, signals: &Signals, form: Form) -> Result<Status> {
    let (facts, now) = listing::ask_snapshots(connection, signals)?;
    if form.json {
        for facts in &facts {
            console::print(lines::print_facts(facts));
        }
        console::print(lines::print_end(facts.len() as u64, now));
    } else if form.null {
        for facts in &facts {
            console::print_raw(format!("{}\0", facts.tree).as_bytes());
        }
    } else {
        table_of(&facts, now).iter().for_each(console::print);
    }
    Ok(Status::Done)
}

fn table_of(facts: &[SnapshotFacts], now: Timestamp) -> Vec<String> {
    let heading = ["snapshot", "age", "run", "new data", "kept"].map(str::to_owned);
    let rows: Vec<_> = std::iter::once(heading).chain(facts.iter().map(|facts| row(facts, now))).collect();
    let widths: [usize; 5] =
        std::array::from_fn(|column| rows.iter().map(|row| row[column].len()).max().unwrap_or(0));
    let padded = |row: &[String; 5]| {
        let columns: Vec<String> =
            row.iter().zip(widths).map(|(text, width)| format!("{text:<width$}")).collect();
        columns.join("  ").trim_end().to_owned()
    };
    rows.iter().map(padded).collect()
}

fn row(facts: &SnapshotFacts, now: Timestamp) -> [String; 5] {
    let new_data = facts.run.and_then(|run| run.new_data);
    [
        facts.tree.to_string(),
        facts.taken.map_or_else(String::new, |taken| age(now.duration_since(taken).as_secs())),
        facts.run.map_or_else(String::new, |run| outcome(&run)),
        new_data.map_or_else(String::new, |bytes| ByteSize(bytes).to_string()),
        match (&facts.tree, facts.kept) {
            (Tree::Current, _) => "working copy".to_owned(),
            (Tree::Snapshot(_), Kept::No) => String::new(),
            (Tree::Snapshot(_), Kept::ForEver) => "for ever".to_owned(),
            (Tree::Snapshot(_), Kept::Until(until)) => format!("until {}", until.strftime("%Y-%m-%d")),
        },
    ]
}

/// In the largest unit of which there are two.
fn age(seconds: i64) -> String {
    let units = [("days", 86_400), ("hours", 3_600), ("minutes", 60)];
    let fitting = units.iter().find(|(_, length)| seconds >= 2 * length);
    fitting.map_or_else(
        || format!("{} seconds", seconds.max(0)),
        |(name, length)| format!("{} {name}", seconds / length),
    )
}

/// As rsync(1) means its exit values.
fn outcome(run: &RunFacts) -> String {
    match (run.ended, run.status) {
        (None, _) => "at work".to_owned(),
        (Some(_), Some(0)) => "complete".to_owned(),
        (Some(_), Some(24)) => "complete, files vanished".to_owned(),
        (Some(_), Some(status)) => format!("failed ({status})"),
        (Some(_), None) => "broken off".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn time(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    #[test]
    fn the_snapshots_stand_in_a_table() {
        let run = RunFacts {
            started: time("2026-11-20T23:40:00Z"),
            ended: Some(time("2026-11-20T23:47:00Z")),
            status: Some(0),
            new_data: Some(5 << 20),
        };
        let facts = |tree: &str, taken: Option<&str>, run, kept| SnapshotFacts {
            tree: tree.parse().unwrap(),
            taken: taken.map(time),
            run,
            kept,
        };
        let rows = table_of(
            &[
                facts("saved", None, None, Kept::ForEver),
                facts(
                    "2026-11-20T23:47+0000",
                    Some("2026-11-20T23:47:31Z"),
                    Some(run),
                    Kept::Until(time("2026-12-01T00:00:00Z")),
                ),
                facts("current", None, Some(RunFacts { ended: None, new_data: None, ..run }), Kept::ForEver),
            ],
            time("2026-11-23T00:00:00Z"),
        );
        assert_eq!(
            rows,
            [
                "snapshot               age     run       new data  kept",
                "saved                                              for ever",
                "2026-11-20T23:47+0000  2 days  complete  5.0 MiB   until 2026-12-01",
                "current                        at work             working copy",
            ]
        );
    }

    #[test]
    fn an_age_is_told_so_that_it_says_something() {
        for (seconds, text) in [
            (-5, "0 seconds"),
            (90, "90 seconds"),
            (3_600, "60 minutes"),
            (86_400, "24 hours"),
            (172_800, "2 days"),
        ] {
            assert_eq!(age(seconds), text);
        }
    }

    #[test]
    fn a_restore_takes_each_version_once() {
        let scope = Scope { snapshot: "*".to_owned(), at: None, all: true, deleted: false, verbose: true };
        let listed = scope.query(Vec::new(), true).unwrap();
        assert!(listed.verbose && !listed.history);
        let restored = scope.query(Vec::new(), false).unwrap();
        assert!(!restored.verbose && restored.history && restored.all);
        let wrong = Scope { snapshot: "a/b".to_owned(), ..scope.clone() };
        assert!(wrong.query(Vec::new(), true).is_err());
        let wrong = Scope { at: Some("soon".to_owned()), ..scope };
        assert!(wrong.query(Vec::new(), true).unwrap_err().to_string().contains("is no time"));
    }
}
