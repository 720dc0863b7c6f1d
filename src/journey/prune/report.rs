//! What byteback-prune prints: for people, or as JSON with a `schema` number.

use std::collections::BTreeMap;

use anyhow::Result;
use serde::Serialize;

use super::Options;
use crate::journey::server::Server;
use crate::policy::prune::{PrunePlan, Step, Verdict};
use crate::policy::room::Room;
use crate::system::console;

/// What a run has done.
#[derive(Serialize)]
pub(super) struct Report<'a> {
    schema: u32,
    percent_free_before: f64,
    deleted: Vec<Deleted<'a>>,
    #[serde(skip)]
    wanted: bool,
}

#[derive(Serialize)]
struct Deleted<'a> {
    #[serde(flatten)]
    step: Step<'a>,
    data_bytes_back: u64,
}

#[derive(Serialize)]
struct Listing<'a> {
    schema: u32,
    percent_free: f64,
    would_begin: bool,
    steps: Vec<&'a Step<'a>>,
}

impl<'a> Report<'a> {
    pub(super) fn new(before: Room, options: &Options) -> Self {
        Self {
            schema: 1,
            percent_free_before: before.percent_free(),
            deleted: Vec::new(),
            wanted: options.json,
        }
    }

    pub(super) fn deleted(&mut self, step: &Step<'a>, data_bytes_back: u64) {
        self.deleted.push(Deleted { step: *step, data_bytes_back });
    }

    /// As JSON, if that was asked for; people have read it line by line.
    pub(super) fn print(&self) -> Result<()> {
        if self.wanted {
            console::print(serde_json::to_string(self)?);
        }
        Ok(())
    }
}

/// `--list`: as the former program printed it, with the reason behind each path. The last line goes first.
pub(super) fn list(server: &Server, plan: &PrunePlan<'_>, json: bool) -> Result<()> {
    let most_important_first: Vec<&Step<'_>> = plan.steps().iter().rev().collect();
    if json {
        let percent_free = server.store.volume().room()?.percent_free();
        let listing = Listing { schema: 1, percent_free, would_begin: false, steps: most_important_first };
        console::print(serde_json::to_string(&listing)?);
        return Ok(());
    }
    console::print("Snapshots, the most important first; the last one goes first:");
    for (number, step) in most_important_first.iter().enumerate() {
        console::print(format_args!("{number:>3}: {}  ({})", path_of(server, step), words(step)));
    }
    Ok(())
}

/// `--dry-run`: the deletions in the order in which they would be made.
pub(super) fn dry_run(server: &Server, plan: &PrunePlan<'_>, room: &Room, options: &Options) -> Result<()> {
    let steps: Vec<&Step<'_>> = plan.deletions().collect();
    if options.json {
        let listing = Listing { schema: 1, percent_free: room.percent_free(), would_begin: true, steps };
        console::print(serde_json::to_string(&listing)?);
        return Ok(());
    }
    console::print(format_args!(
        "{:.1} % are free. These would be deleted, one after the other, until {} % are free:",
        room.percent_free(),
        options.maxpercent
    ));
    for step in steps {
        console::print(format_args!("{}  ({})", path_of(server, step), words(step)));
    }
    Ok(())
}

pub(super) fn nothing_to_do(room: &Room, options: &Options) -> Result<()> {
    if options.json {
        let listing =
            Listing { schema: 1, percent_free: room.percent_free(), would_begin: false, steps: Vec::new() };
        console::print(serde_json::to_string(&listing)?);
    } else {
        console::print(format_args!("{:.1} % are free; nothing to do", room.percent_free()));
    }
    Ok(())
}

/// Why there is not more room, in one sentence.
pub(super) fn only_protected_left(plan: &PrunePlan<'_>, room: &Room, options: &Options) -> String {
    let mut protected = BTreeMap::new();
    for step in plan.steps() {
        if let Verdict::Keep(protection) = step.verdict {
            *protected.entry(protection.to_string()).or_insert(0_usize) += 1;
        }
    }
    let reasons: Vec<String> = protected.iter().map(|(reason, count)| format!("{count} {reason}")).collect();
    let reasons =
        if reasons.is_empty() { "there are no snapshots at all".to_owned() } else { reasons.join(", ") };
    format!(
        "only {:.1} % are free, {} % are wanted, and no snapshot is left that may be deleted ({reasons}); \
         enlarge the store or move a client away",
        room.percent_free(),
        options.maxpercent
    )
}

fn path_of(server: &Server, step: &Step<'_>) -> String {
    server.store.path().join(step.client.as_str()).join(step.snapshot.as_str()).display().to_string()
}

fn words(step: &Step<'_>) -> String {
    match step.verdict {
        Verdict::DeleteByRule | Verdict::Delete(_) => step.verdict.to_string(),
        Verdict::Keep(protection) => format!("kept: {protection}"),
    }
}
