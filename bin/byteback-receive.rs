//! The gate: the forced command behind every client's ssh key.

use std::process::ExitCode;

use byteback::cli;
use byteback::journey::receive::{self, Options};
use byteback::journey::server::Place;
use byteback::model::ClientName;
use clap::Parser;
use jiff::Timestamp;

/// Serve one request of one client; sshd runs this, people do not.
///
/// It stands as the forced command in authorized_keys and reads what the client asked from
/// SSH_ORIGINAL_COMMAND. It answers ping, prepare, complete and list, confines rsync to the client's
/// own tree, and refuses everything else.
#[derive(Parser)]
#[command(
    name = "byteback-receive",
    after_help = "Example, a line of authorized_keys:
  restrict,from=\"192.0.2.7\",command=\"byteback-receive --client web1\" ssh-ed25519 AAAA..."
)]
struct Cli {
    /// Whose key it is
    #[arg(long, value_name = "NAME")]
    client: Option<ClientName>,
    /// Refuse whatever changes anything: a restore grant
    #[arg(long)]
    read_only: bool,
    /// Refuse everything from then on
    #[arg(long, value_name = "TIME")]
    until: Option<Timestamp>,
    #[command(flatten)]
    place: Place,
    /// Print the verdict on SSH_ORIGINAL_COMMAND as JSON and run nothing
    #[arg(long)]
    explain: bool,
}

fn main() -> ExitCode {
    cli::run(|Cli { client, read_only, until, place, explain }: Cli| {
        receive::run(&Options { client, read_only, until, place, explain })
    })
}
