//! What a person or a program is told while files come back: the paths on stdout, talk on stderr; with
//! `--json` everything as lines of JSON on stdout, the last of which is the end.

use std::cell::Cell;
use std::path::Path;
use std::time::Duration;

use anyhow::Result;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value, json};

use super::itemise::Change;
use crate::model::backup_record::Transfer;
use crate::model::{Failure, Status, Tree, escaped};
use crate::system::console;
use crate::system::progress::Progress;

/// The version of the lines of JSON.
const SCHEMA: u32 = 1;
/// No more than one line of progress in so many seconds.
const PACE: Duration = Duration::from_secs(1);

/// Where it is told.
pub(super) struct Report {
    json: bool,
    last: Cell<Option<Duration>>,
}

impl Report {
    /// As lines of JSON, or for a person.
    pub(super) fn new(json: bool) -> Self {
        Self { json, last: Cell::new(None) }
    }

    /// How far it is; for a person the bar shows that.
    pub(super) fn progress(&self, progress: Progress, elapsed: Duration) {
        let due =
            self.last.get().is_none_or(|last| elapsed.checked_sub(last).is_none_or(|since| since >= PACE));
        if !self.json || !due {
            return;
        }
        self.last.set(Some(elapsed));
        let files = progress.files;
        console::print(json!({
            "event": "progress", "bytes": progress.bytes, "elapsed_ms": u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX),
            "files_done": files.map(|files| files.done), "files_known": files.map(|files| files.known),
            "files_known_is_final": files.map(|files| files.complete),
        }));
    }

    /// Something stands where it was asked for.
    pub(super) fn restored(&self, tree: &Tree, place: &Path) {
        let place = place.as_os_str().as_encoded_bytes();
        if self.json { event("restored", tree, place, &[]) } else { console::print(escaped(place)) }
    }

    /// What would be changed.
    pub(super) fn would_change(&self, tree: &Tree, change: &Change) {
        if self.json {
            return event("would-change", tree, &change.path, &details(change));
        }
        console::print(format_args!("{}{}", line(change), from(tree)));
    }

    /// What is not as in the backup.
    pub(super) fn differs(&self, tree: &Tree, change: &Change) {
        if self.json {
            return event("differs", tree, &change.path, &details(change));
        }
        let what = if change.reasons.is_empty() { "missing".to_owned() } else { change.reasons.join(", ") };
        console::print(format_args!("differs: /{}: {what}{}", escaped(&change.path), from(tree)));
    }

    /// What was asked for and did not come.
    pub(super) fn missing(&self, tree: &Tree, path: &[u8]) {
        if self.json {
            return event("not-restored", tree, path, &[]);
        }
        console::say(format_args!("not restored: /{}{}", escaped(path), from(tree)));
    }
}

/// `replace /etc/fstab (size, time)`.
fn line(change: &Change) -> String {
    let word = change.deed.word();
    let path = escaped(&change.path);
    let why = change.reasons.join(", ");
    if why.is_empty() { format!("{word} /{path}") } else { format!("{word} /{path} ({why})") }
}

fn from(tree: &Tree) -> String {
    format!(" from {tree}")
}

fn details(change: &Change) -> [(&'static str, Value); 2] {
    [("change", change.deed.word().into()), ("reasons", change.reasons.clone().into())]
}

fn event(name: &str, tree: &Tree, path: &[u8], more: &[(&str, Value)]) {
    let mut fields = Map::new();
    fields.insert("event".to_owned(), name.into());
    fields.insert("snapshot".to_owned(), tree.as_str().into());
    match std::str::from_utf8(path) {
        Ok(path) => fields.insert("path".to_owned(), path.into()),
        Err(_) => fields.insert("path_base64".to_owned(), STANDARD.encode(path).into()),
    };
    fields.extend(more.iter().map(|(name, value)| ((*name).to_owned(), value.clone())));
    console::print(Value::Object(fields));
}

/// What came of it all.
#[derive(Default)]
pub(super) struct Outcome {
    /// rsync's counts together.
    pub(super) transfer: Transfer,
    /// What was asked for and is not as it was asked for, one sentence each.
    pub(super) troubles: Vec<String>,
}

impl Outcome {
    /// Adds the counts of one run.
    pub(super) fn count(&mut self, transfer: &Transfer) {
        self.transfer.files += transfer.files;
        self.transfer.files_sent += transfer.files_sent;
        self.transfer.changed_bytes += transfer.changed_bytes;
        self.transfer.received_bytes += transfer.received_bytes;
    }

    /// Tells it, and whether it was all.
    ///
    /// # Errors
    /// When not everything is as it was asked for.
    pub(super) fn tell(self, report: &Report, verb: &str) -> Result<Status> {
        let Transfer { files, files_sent, changed_bytes, received_bytes, .. } = self.transfer;
        if report.json {
            console::print(json!({
                "event": "end", "schema": SCHEMA, "files": files, "files_copied": files_sent,
                "bytes": changed_bytes, "received_bytes": received_bytes, "complete": self.troubles.is_empty(), "troubles": self.troubles,
            }));
        } else {
            console::say(format_args!(
                "{verb} {files} files and directories; {files_sent} files were copied, {changed_bytes} bytes"
            ));
        }
        match self.troubles.as_slice() {
            [] => Ok(Status::Done),
            [only] => Err(Failure::failed(format!("not everything was restored: {only}")).into()),
            [first, rest @ ..] => Err(Failure::failed(format!(
                "not everything was restored: {first}, and {} more like it",
                rest.len()
            ))
            .into()),
        }
    }
}
