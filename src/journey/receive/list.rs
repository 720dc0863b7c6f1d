//! Finding files: JSON lines as they are found, or the former program's table.

use std::io::{self, BufWriter, Write};

use anyhow::{Context, Result};

use super::search;
use super::visit::{ListJob, Visit};
use crate::model::{Entry, Status};
use crate::protocol::listing;
use crate::store;

/// Prints what matches.
pub(super) fn print(visit: &Visit, job: &ListJob) -> Result<Status> {
    search::confined(visit, &job.trees, |_| if job.json { print_json(job) } else { print_table(job) })?;
    Ok(Status::Done)
}

fn print_json(job: &ListJob) -> Result<()> {
    let mut out = BufWriter::new(io::stdout().lock());
    let mut entries = 0;
    store::search::run(&job.query, &job.trees, &mut |entry| {
        entries += 1;
        writeln!(out, "{}", listing::print_entry(&entry)).context("the client went away")
    })?;
    writeln!(out, "{}", listing::print_end(entries, None))?;
    out.flush().context("the client went away")
}

/// The former program's clients print what they get, so they get a table.
fn print_table(job: &ListJob) -> Result<()> {
    let mut found: Vec<Entry> = Vec::new();
    store::search::run(&job.query, &job.trees, &mut |entry| {
        found.push(entry);
        Ok(())
    })?;
    found.sort_by(|a, b| (&a.path, &a.tree).cmp(&(&b.path, &b.tree)));
    let text =
        if found.is_empty() { listing::nothing_found(&job.query.patterns) } else { listing::table(&found) };
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes()).and_then(|()| out.flush()).context("the client went away")
}
