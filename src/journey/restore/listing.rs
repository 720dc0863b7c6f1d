//! What the server has of the files that were asked for.

use std::os::unix::ffi::OsStrExt;

use anyhow::{Context, Result, bail};

use crate::model::{Entry, Failure, Status, Tree, escaped};
use crate::protocol::listing::{self, Line};
use crate::system::process;
use crate::system::ssh::Connection;

/// A question to the server.
#[derive(Debug)]
pub(super) struct Question {
    /// The tree to look in; all snapshots when `None`.
    pub(super) tree: Option<Tree>,
    /// Versions that differ, not the newest only.
    pub(super) all: bool,
    /// Every copy.
    pub(super) every_copy: bool,
    /// Absolute patterns.
    pub(super) patterns: Vec<Vec<u8>>,
}

/// The whole answer.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Found {
    pub(super) entries: Vec<Entry>,
    /// Why there are not more, in the server's words.
    pub(super) cut: Option<String>,
}

/// Asks, and waits for the whole answer.
pub(super) fn ask(connection: &Connection, question: &Question) -> Result<Found> {
    let words = words(question);
    if words.len() > 250 || words.iter().map(|word| word.len() + 1).sum::<usize>() > 16 * 1024 {
        bail!(Failure::misuse("these are more patterns than the server takes at once; name a directory"));
    }
    let mut command = connection.command(&words);
    let output = process::output(&mut command)?;
    if !output.status.success() {
        let last = output.stderr.trim_ascii().rsplit(|byte| *byte == b'\n').next().unwrap_or_default();
        let status = output.status.code().map_or(Status::Failed, Status::from_code);
        let message = format!("the server did not list the files ({})", escaped(last));
        bail!(Failure { status, message });
    }
    read(&output.stdout)
}
