//! Looking after a server, one file for each sub-command of `byteback-admin`.

pub mod accept;
pub mod check;
pub mod gate;
pub mod hold;
pub mod holds;
pub mod release;
pub mod reset;
pub mod restore;
pub mod restore_grant;
mod target;

use anyhow::{Result, bail};

use super::server::{Place, Server};
use crate::model::{ClientName, Failure};
use target::Target;

const PROGRAM: &str = "byteback-admin";

/// The server, if it has this client.
fn open_for(place: &Place, client: &ClientName) -> Result<Server> {
    let server = Server::open(place, PROGRAM)?;
    if !server.store.volume().is_enrolled(client) {
        bail!(Failure::misuse(format!("there is no client {client} in {}", server.store.path().display())));
    }
    Ok(server)
}

/// The server, if it has this client and this snapshot.
fn open_for_target(place: &Place, target: &Target) -> Result<Server> {
    let server = open_for(place, &target.client)?;
    if let Some(snapshot) = &target.snapshot
        && !server.store.volume().snapshots(&target.client)?.contains(snapshot)
    {
        bail!(Failure::misuse(format!(
            "there is no snapshot {target}; byteback-prune --list shows all that there are"
        )));
    }
    Ok(server)
}
pub mod full_run;
