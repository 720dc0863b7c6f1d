//! `--explain`: the verdict on `SSH_ORIGINAL_COMMAND` as JSON, with the command line that would be
//! run. Nothing is run or logged.

use std::ffi::OsString;

use anyhow::Result;
use serde::Serialize;

use super::command::Command;
use crate::journey::server::{self, Place};
use crate::model::{Failure, Grant, Status, Tree, escaped};
use crate::protocol::find_query::FindQuery;
use crate::protocol::lexer::Refusal;
use crate::protocol::request::{OldRestore, Request};
use crate::protocol::rsync_args::{ConfinedRsync, Source};
use crate::system::console;

#[derive(Serialize)]
struct Explanation<'a> {
    schema: u32,
    verdict: &'static str,
    client: &'a str,
    request: &'static str,
    reason: String,
    argv: Vec<String>,
    /// What is searched for, where the request is a search or begins with one.
    #[serde(skip_serializing_if = "Option::is_none")]
    search: Option<Search>,
}

#[derive(Serialize)]
struct Search {
    /// `*` for all of them.
    snapshot: String,
    all: bool,
    patterns: Vec<String>,
}

impl Search {
    fn of(query: &FindQuery) -> Self {
        let snapshot = query.tree.as_ref().map_or("*".to_owned(), ToString::to_string);
        let patterns = query.patterns.iter().map(|pattern| escaped(pattern.as_bytes())).collect();
        Self { snapshot, all: query.all, patterns }
    }
}

/// Prints the explanation; status 0 for "allow", 3 for "refuse".
pub(super) fn print(grant: &Grant, request: &Result<Request, Refusal>, place: &Place) -> Result<Status> {
    let config = server::read_config(&place.config)?;
    let store = server::store_path(place)?;
    let words = |argv: Vec<OsString>| -> Vec<String> {
        let program = config.rsync.clone().into_os_string();
        std::iter::once(program).chain(argv).map(|word| escaped(word.as_encoded_bytes())).collect()
    };
    let (verdict, name, reason, argv, status) = match request {
        Ok(request) => {
            let command = |rsync: &ConfinedRsync| Command::print(rsync, &config, &store, &grant.client).argv;
            let argv = match request {
                Request::OldRestore(old) => Some(without_sources(old, command)?),
                Request::Push(rsync) | Request::Pull(rsync) => Some(command(rsync)),
                Request::Ping(_)
                | Request::Prepare(_)
                | Request::Complete(_)
                | Request::List(_)
                | Request::Snapshots => None,
            };
            let argv = argv.map(words).unwrap_or_default();
            ("allow", request.name(), "the request is well formed".to_owned(), argv, Status::Done)
        }
        Err(refusal) => ("refuse", "unknown", refusal.to_string(), Vec::new(), Status::Refused),
    };
    let client = grant.client.as_str();
    let search = request.as_ref().ok().and_then(Request::query).map(Search::of);
    let explanation = Explanation { schema: 1, verdict, client, request: name, reason, argv, search };
    console::print(serde_json::to_string(&explanation)?);
    Ok(status)
}

/// The command of an old restore up to its sources, which only the search finds.
fn without_sources(
    old: &OldRestore,
    command: impl Fn(&ConfinedRsync) -> Vec<OsString>,
) -> Result<Vec<OsString>> {
    let any = vec![Source::named(Tree::Current, b"any")];
    let rsync = ConfinedRsync::pull(old.options.clone(), any).map_err(Failure::from)?;
    let mut argv = command(&rsync);
    argv.pop();
    Ok(argv)
}
