//! `byteback-admin holds`: what is held, since when, until when and why.

use anyhow::Result;
use jiff::Timestamp;
use serde::Serialize;

use super::PROGRAM;
use super::hold::until;
use crate::journey::server::{Place, Server};
use crate::model::hold::Hold;
use crate::model::{ClientName, Status};
use crate::system::{clock, console};

/// List all holds
///
/// An automatic one is made when a backup looks as if the machine had been emptied or scrambled. One
/// that has expired keeps nothing any more, but as long as it is not released no new automatic one is
/// made.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  byteback-admin holds --json")]
pub struct Options {
    /// Print JSON
    #[arg(long)]
    pub json: bool,
    /// Which server.
    #[command(flatten)]
    pub place: Place,
}

#[derive(Serialize)]
struct Listing {
    schema: u32,
    holds: Vec<Listed>,
}

#[derive(Serialize)]
struct Listed {
    client: ClientName,
    #[serde(flatten)]
    hold: Hold,
    expired: bool,
}

/// Lists. A client whose holds cannot be read is named, and the others are listed all the same.
///
/// # Errors
/// When the store cannot be read.
pub fn run(options: &Options) -> Result<Status> {
    let server = Server::open(&options.place, PROGRAM)?;
    let now = clock::now();
    let (mut listed, mut status) = (Vec::new(), Status::Done);
    for client in server.store.volume().clients()? {
        match server.store.client_state(&client).and_then(|state| state.holds()) {
            Ok(holds) => listed.extend(holds.holds.into_iter().map(|hold| list(&client, hold, now))),
            Err(error) => {
                status = Status::Failed;
                console::say(format_args!("{PROGRAM}: {error:#}"));
            }
        }
    }
    if options.json {
        console::print(serde_json::to_string(&Listing { schema: 1, holds: listed })?);
    } else {
        listed.iter().for_each(print);
    }
    Ok(status)
}

fn list(client: &ClientName, hold: Hold, now: Timestamp) -> Listed {
    Listed { client: client.clone(), expired: hold.has_expired(now), hold }
}

fn print(listed: &Listed) {
    let Listed { client, hold, expired } = listed;
    let snapshot = hold.snapshot.as_ref().map(|snapshot| format!("/{snapshot}")).unwrap_or_default();
    let kind = match (hold.automatic, expired) {
        (false, false) => "held",
        (false, true) => "was held",
        (true, false) => "held automatically",
        (true, true) => "was held automatically",
    };
    let (since, end) = (hold.since, until(hold.until));
    console::print(format_args!("{client}{snapshot} {kind} since {since} {end}: {}", hold.reason));
}
