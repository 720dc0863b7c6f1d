//! Finding files: JSON lines as they are found, or the former program's table. And which snapshots there are.

use std::fmt::Write as _;
use std::io::{self, StdoutLock, Write};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use super::search::{self, bounds};
use super::snapshots;
use super::visit::{ListJob, SnapshotsJob, Visit};
use crate::model::{Entry, Status, Version};
use crate::protocol::listing;
use crate::store::search::{Bounds, Sink, Trees, run};
use crate::system::clock;

/// Lines of one answer. A million names are some hundred megabytes for the client to read.
const MOST_ENTRIES: u64 = 1_000_000;
/// The table of the former program's clients is kept whole before it is printed.
const MOST_ROWS: u64 = 100_000;
/// No line is kept back longer while the next is looked for.
const LONGEST_HOLD: Duration = Duration::from_millis(100);

/// Prints what matches.
pub(super) fn print(visit: &Visit, job: &ListJob) -> Result<Status> {
    let bounds = bounds(visit, if job.json { MOST_ENTRIES } else { MOST_ROWS });
    let trees = Trees { searched: &job.trees, gone_from: job.gone_from.as_ref() };
    search::confined(visit, trees, |_| {
        if job.json { print_json(job, trees, bounds) } else { print_table(job, trees, bounds) }
    })?;
    Ok(Status::Done)
}

fn print_json(job: &ListJob, trees: Trees<'_>, bounds: Bounds) -> Result<()> {
    let mut lines = Lines { out: io::stdout().lock(), kept: Vec::new(), since: Instant::now(), begun: false };
    let outcome = run(&job.query, trees, bounds, &mut lines)?;
    let cut = outcome.cut.map(|cut| cut.to_string());
    lines.push(&listing::print_end(job.query.history, outcome.entries, cut.as_deref()));
    lines.pass_on()
}

/// Lines on their way: many at once, but none waits long.
struct Lines<'a> {
    out: StdoutLock<'a>,
    kept: Vec<u8>,
    since: Instant,
    begun: bool,
}

impl Lines<'_> {
    fn push(&mut self, line: &str) {
        self.kept.extend_from_slice(line.as_bytes());
        self.kept.push(b'\n');
    }

    fn pass_on(&mut self) -> Result<()> {
        self.out.write_all(&self.kept).and_then(|()| self.out.flush()).context("the client went away")?;
        self.kept.clear();
        self.since = Instant::now();
        Ok(())
    }
}

impl Sink for Lines<'_> {
    fn found(&mut self, version: Version) -> Result<()> {
        self.push(&listing::print_version(&version));
        let first = !std::mem::replace(&mut self.begun, true);
        if first || self.kept.len() > 64 << 10 { self.pass_on() } else { Ok(()) }
    }

    fn breathe(&mut self) -> Result<()> {
        if self.kept.is_empty() || self.since.elapsed() < LONGEST_HOLD { Ok(()) } else { self.pass_on() }
    }
}

/// The former program's clients print what they get, so they get a table.
fn print_table(job: &ListJob, trees: Trees<'_>, bounds: Bounds) -> Result<()> {
    let mut found: Vec<Entry> = Vec::new();
    let outcome = run(&job.query, trees, bounds, &mut |version: Version| {
        found.push(version.entry);
        Ok(())
    })?;
    found.sort_by(|a, b| (&a.path, &a.tree).cmp(&(&b.path, &b.tree)));
    let mut text =
        if found.is_empty() { listing::nothing_found(&job.query.patterns) } else { listing::table(&found) };
    if let Some(cut) = outcome.cut {
        let _ = writeln!(text, "** This list is not whole: {cut}"); // a String takes everything
    }
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes()).and_then(|()| out.flush()).context("the client went away")
}

/// Prints which snapshots there are, oldest first, and `current`.
pub(super) fn print_snapshots(visit: &Visit, job: &SnapshotsJob) -> Result<Status> {
    let now = clock::now();
    let facts = snapshots::facts(visit, job, now)?;
    let mut text: String = facts.iter().map(|facts| listing::snapshots::print_facts(facts) + "\n").collect();
    text.push_str(&listing::snapshots::print_end(facts.len() as u64, now));
    text.push('\n');
    io::stdout().lock().write_all(text.as_bytes())?;
    Ok(Status::Done)
}
