//! `byteback-admin full-run`: the next backup of a client walks everything, whatever its index says.

use anyhow::{Result, bail};

use crate::journey::server::{Place, Server};
use crate::model::receipt::Receipt;
use crate::model::{ClientName, Failure, Status};
use crate::system::console;

/// Have a client's next backup walk everything
///
/// Do so after its tree was changed on the server, or may have suffered. The client is told in the answer to
/// its next request for a backup, and says in its own output why it obeys. The next complete backup ends it.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  byteback-admin full-run --client web1 --reason 'disk repaired'")]
pub struct Options {
    /// Whose next backup
    #[arg(long, value_name = "NAME")]
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
    let server = Server::open(&options.place, "byteback-admin")?;
    let client = &options.client;
    if !server.store.volume().is_enrolled(client) {
        bail!(Failure::misuse(format!("there is no client {client} in {}", server.store.path().display())));
    }
    server.store.client_state(client)?.remember_receipt(&Receipt::void(&options.reason))?;
    console::print(format_args!("the next backup of {client} will be a full one"));
    Ok(Status::Done)
}
