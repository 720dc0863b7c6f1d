//! Searching a client's trees. What lies there is an enemy's, so a confined copy of the gate walks it, while the gate
//! watches as it watches rsync. What comes back is believed no more than what a client sends.

use std::io::{self, Write};
use std::os::fd::AsFd;
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;
use std::time::Duration;

use anyhow::{Result, bail};
use jiff::Timestamp;
use nix::sys::signal::Signal;

use super::cage;
use super::visit::Visit;
use crate::model::{Failure, Status, Tree, Version, escaped};
use crate::protocol::find_query::FindQuery;
use crate::protocol::rsync_args::Source;
use crate::store::OpenTree;
use crate::store::search::{self, Bounds, Cut, Trees};
use crate::system::clock;
use crate::system::confine::{Plan, Reach, Reachable, Start};
use crate::system::errand::{self, Limits};
use crate::system::watch::{Cause, Ended, Watch};

/// Most files that a search of the former program's restore may name.
const MOST_SOURCES: usize = 10_000;
/// Most bytes that a search brings back: more than one command can hold.
const MOST_BYTES: u64 = 1024 * 1024;
/// The longest search. What it found until then is told, and that it is not all. Well before the time after
/// which the process is ended, by which nothing more could be told.
const LONGEST_SEARCH: Duration = Duration::from_secs(900);
/// Threads of one search: it shares the processors with everybody's backups.
const MOST_THREADS: usize = 4;

/// Most bytes of a message from the copy that walks the trees.
const LONGEST_MESSAGE: usize = 1000;

/// Has `work` done by a confined copy of this process, which may read these trees and write to the client. What it
/// writes to its argument is given back.
pub(super) fn confined(
    visit: &Visit,
    trees: Trees<'_>,
    work: impl FnOnce(&mut dyn Write) -> Result<()>,
) -> Result<Vec<u8>> {
    let config = &visit.server.config;
    let home = visit.server.store.volume().home(&visit.grant.client)?;
    let reachable: Vec<Reachable<'_>> =
        trees.open().map(|open| Reachable { directory: &open.directory, reach: Reach::Read }).collect();
    let start = Start::AboveTrees(&home);
    let cage =
        cage::build(visit, &Plan { trees: &reachable, program: None, start, layers: cage::layers(config) })?;
    let keep: Vec<_> = trees.open().map(|open| open.directory.as_fd()).collect();
    let limits =
        Limits { memory: config.max_memory.0, time: config.io_timeout.duration(), result: MOST_BYTES };
    let mut watch = Watch::begin()?;
    let errand = errand::send(cage, &keep, &limits, |result| work(result))?;
    let end = watch.until_end(&errand.child, limits.time)?;
    let brought = errand.result()?;
    match failure(&end, &limits, &brought) {
        None => Ok(brought),
        Some(failure) => bail!(failure),
    }
}

/// Why the search did not come to its end, in a sentence.
fn failure(end: &Ended, limits: &Limits, brought: &[u8]) -> Option<Failure> {
    let seconds = limits.time.as_secs();
    let message = match end.cause {
        // Nobody stops a search for the room that it takes.
        Cause::Itself | Cause::Stopped => return failure_of(end.status, limits, brought),
        Cause::ConnectionLost => "the connection was lost".to_owned(),
        Cause::Silent(_) => format!("the client took nothing for {seconds} seconds"),
        Cause::Told(signal) => format!("the server ended the search ({signal})"),
    };
    Some(Failure::failed(message))
}

fn failure_of(status: ExitStatus, limits: &Limits, brought: &[u8]) -> Option<Failure> {
    let less = "ask for fewer files at once, or for those of one --snapshot";
    if let Some(code) = status.code() {
        let message = escaped(&brought[..brought.len().min(LONGEST_MESSAGE)]);
        return (code != 0).then(|| Failure { status: Status::from_code(code), message });
    }
    if status.signal() == Some(Signal::SIGALRM as i32) {
        return Some(Failure::failed(format!(
            "the search took longer than {} seconds; {less}",
            limits.time.as_secs()
        )));
    }
    // An allocation that fails ends a Rust program with SIGABRT.
    let memory = limits.memory >> 20;
    Some(Failure::failed(format!(
        "the search ended with {status}; it may use {memory} MiB of memory: {less}"
    )))
}

/// What a search may cost.
pub(super) fn bounds(visit: &Visit, entries: u64) -> Bounds {
    let longest = LONGEST_SEARCH.min(visit.server.config.io_timeout.duration() / 2);
    let until = clock::now().saturating_add(longest).unwrap_or(Timestamp::MAX);
    let processors = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    Bounds { entries, until, threads: processors.min(MOST_THREADS) }
}

/// The newest copy of everything that an old client's patterns match, by the names it asked for.
pub(super) fn sources(visit: &Visit, query: &FindQuery, trees: &[(Tree, OpenTree)]) -> Result<Vec<Source>> {
    let (all, bounds) = (Trees { searched: trees, gone_from: None }, bounds(visit, MOST_SOURCES as u64));
    let brought = confined(visit, all, |result| {
        let mut out = io::BufWriter::new(result);
        let outcome = search::run(query, all, bounds, &mut |version: Version| {
            out.write_all(version.entry.tree.as_str().as_bytes())?;
            out.write_all(b"\0")?;
            out.write_all(&version.entry.path)?;
            Ok(out.write_all(b"\0")?)
        })?;
        match outcome.cut {
            Some(cut @ Cut::Entries(_)) => {
                bail!(Failure::refused(format!("{cut}, or name a directory above them")))
            }
            Some(cut) => bail!(Failure::refused(format!("not all that matches was found: {cut}"))),
            None => Ok(out.flush()?),
        }
    })?;
    let found = found(&brought, trees)
        .ok_or_else(|| Failure::failed("the search brought back what it cannot have found"))?;
    if found.is_empty() {
        bail!(Failure::refused("no file matches"));
    }
    Ok(found)
}

/// Trees that were searched, each with a path: nothing else is taken.
fn found(brought: &[u8], trees: &[(Tree, OpenTree)]) -> Option<Vec<Source>> {
    let Some(all) = brought.strip_suffix(b"\0") else { return brought.is_empty().then(Vec::new) };
    let words: Vec<&[u8]> = all.split(|byte| *byte == 0).collect();
    let (pairs, rest) = words.as_chunks::<2>();
    let source = |[tree, path]: &[&[u8]; 2]| {
        let (tree, _) = trees.iter().find(|(searched, _)| searched.as_str().as_bytes() == *tree)?;
        Some(Source::named(tree.clone(), path))
    };
    let found = pairs.iter().map(source).collect::<Option<Vec<_>>>()?;
    (rest.is_empty() && found.len() <= MOST_SOURCES).then_some(found)
}
