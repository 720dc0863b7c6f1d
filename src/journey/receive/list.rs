//! Finding files. The gate reads a hostile tree itself here, so it confines itself to reading first.

use std::io::{self, BufWriter, Write};
use std::os::fd::OwnedFd;

use anyhow::{Context, Result};

use super::visit::ListJob;
use crate::model::{Entry, Status};
use crate::protocol::listing;
use crate::store::search;
use crate::system::confine::{Cage, Layers, Plan, Reach, Reachable, Start};

/// Prints what matches: JSON lines as they are found, or the former program's table.
pub(super) fn print(job: &ListJob, home: &OwnedFd) -> Result<Status> {
    let trees: Vec<_> = job
        .trees
        .iter()
        .map(|(_, open)| Reachable { directory: &open.directory, reach: Reach::Read })
        .collect();
    let start = Start::AboveTrees(home);
    let cage = Cage::build(&Plan { trees: &trees, program: None, start, layers: Layers::ALL })?;
    cage.enter().context("cannot confine the search")?;
    if job.json { print_json(job) } else { print_table(job) }
}

fn print_json(job: &ListJob) -> Result<Status> {
    let mut out = BufWriter::new(io::stdout().lock());
    let mut entries = 0;
    search::run(&job.query, &job.trees, &mut |entry| {
        entries += 1;
        writeln!(out, "{}", listing::print_entry(&entry)).context("the client went away")
    })?;
    writeln!(out, "{}", listing::print_end(entries, None))?;
    out.flush()?;
    Ok(Status::Done)
}

/// The former program's clients print what they get, so they get a table.
fn print_table(job: &ListJob) -> Result<Status> {
    let mut found: Vec<Entry> = Vec::new();
    search::run(&job.query, &job.trees, &mut |entry| {
        found.push(entry);
        Ok(())
    })?;
    found.sort_by(|a, b| (&a.path, &a.tree).cmp(&(&b.path, &b.tree)));
    let text =
        if found.is_empty() { listing::nothing_found(&job.query.patterns) } else { listing::table(&found) };
    io::stdout().lock().write_all(text.as_bytes())?;
    Ok(Status::Done)
}
