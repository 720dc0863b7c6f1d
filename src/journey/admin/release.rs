//! `byteback-admin release`: holds end.

use anyhow::{Result, bail};
use serde::Serialize;

use super::open_for;
use super::target::Target;
use crate::journey::server::Place;
use crate::model::hold::Hold;
use crate::model::{Failure, Status};
use crate::system::console;

/// End the holds on a client or on one of its snapshots
///
/// CLIENT ends those on the whole client, also the automatic one; holds on single snapshots are ended
/// one by one.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  byteback-admin release web1/2026-11-20T23:47+0000")]
pub struct Options {
    /// The client, or one snapshot of it
    #[arg(value_name = "CLIENT[/SNAPSHOT]")]
    pub target: Target,
    /// Print what was released as JSON
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
    released: &'a [Hold],
}

/// Releases.
///
/// # Errors
/// A misuse when nothing is held there.
pub fn run(options: &Options) -> Result<Status> {
    let Target { client, snapshot } = &options.target;
    // The snapshot itself may have gone meanwhile, and its hold may have stayed.
    let server = open_for(&options.place, client)?;
    let state = server.store.client_state(client)?;
    let mut released = Vec::new();
    state.change_holds(|holds| {
        let here = |hold: &Hold| hold.snapshot == *snapshot;
        released = holds.holds.iter().filter(|hold| here(hold)).cloned().collect();
        holds.holds.retain(|hold| !here(hold));
    })?;
    if released.is_empty() {
        bail!(Failure::misuse(format!(
            "nothing holds {}; byteback-admin holds shows all holds",
            options.target
        )));
    }
    for hold in &released {
        server.log.info(format_args!("release target={} reason={}", options.target, hold.reason));
    }
    if options.json {
        let answer = Answer { schema: 1, client: client.as_str(), released: &released };
        console::print(serde_json::to_string(&answer)?);
    } else {
        for hold in &released {
            console::print(format_args!("{} is released: {}", options.target, hold.reason));
        }
    }
    Ok(Status::Done)
}
