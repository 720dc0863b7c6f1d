//! `byteback-admin full-run`: the next backup of a client walks everything, whatever its index says.

use anyhow::Result;

use super::open_for;
use crate::journey::server::Place;
use crate::model::receipt::Receipt;
use crate::model::{ClientName, Status};
use crate::system::console;

/// Have a client's next backup walk everything
///
/// Do so after its tree was changed on the server, or may have suffered. The client is told in the answer to
/// its next request for a backup, and says in its own output why it obeys. The next complete backup ends it.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  byteback-admin full-run web1 --reason 'disk repaired'")]
pub struct Options {
    /// Whose next backup
    #[arg(value_name = "CLIENT")]
    pub client: ClientName,
    /// Why, for whoever reads the client's output
    #[arg(long, value_name = "TEXT", default_value = "its administrator says so")]
    pub reason: String,
    /// Which server.
    #[command(flatten)]
    pub place: Place,
}

/// Makes the client's receipt void.
///
/// # Errors
/// Misuse for a client that is not there.
pub fn run(options: &Options) -> Result<Status> {
    let (server, client) = (open_for(&options.place, &options.client)?, &options.client);
    server.store.client_state(client)?.remember_receipt(&Receipt::void(&options.reason))?;
    console::print(format_args!("the next backup of {client} will be a full one"));
    Ok(Status::Done)
}
