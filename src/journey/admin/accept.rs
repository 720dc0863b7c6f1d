//! `byteback-admin accept`: a backup that is abnormally large is in order.

use anyhow::Result;
use serde::Serialize;

use super::open_for;
use crate::journey::server::Place;
use crate::model::run_log::MeasuredRun;
use crate::model::{ByteSize, ClientName, Status};
use crate::policy::growth;
use crate::system::{clock, console};

/// Accept that a client's backup is far larger than usual
///
/// The backup that was found abnormal counts as usual from now on, old snapshots may be deleted for it
/// again, and the client's next complete backup may be of any size.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  byteback-admin accept web1")]
pub struct Options {
    /// Whose backup
    #[arg(value_name = "CLIENT")]
    pub client: ClientName,
    /// Print what was accepted as JSON
    #[arg(long)]
    pub json: bool,
    /// Which server.
    #[command(flatten)]
    pub place: Place,
}

#[derive(Serialize)]
struct Answer<'a> {
    schema: u32,
    client: &'a str,
    accepted: Option<&'a MeasuredRun>,
}

/// Accepts.
///
/// # Errors
/// When there is no such client, or its run log cannot be read or written.
pub fn run(options: &Options) -> Result<Status> {
    let client = &options.client;
    let server = open_for(&options.place, client)?;
    let mut pending = None;
    server.store.client_state(client)?.change_runs(|log| {
        pending = growth::is_pending(log).cloned();
        log.accept(clock::now());
    })?;
    server
        .log
        .info(format_args!("accept client={client} new={}", pending.as_ref().map_or(0, |run| run.new_data)));
    if options.json {
        let answer = Answer { schema: 1, client: client.as_str(), accepted: pending.as_ref() };
        console::print(serde_json::to_string(&answer)?);
        return Ok(Status::Done);
    }
    if let Some(run) = &pending {
        let (size, started) = (ByteSize(run.new_data), run.started);
        console::print(format_args!(
            "the {size} of new data that {client} brought on {started} are accepted"
        ));
    }
    console::print(format_args!("the next complete backup of {client} may be of any size"));
    Ok(Status::Done)
}
