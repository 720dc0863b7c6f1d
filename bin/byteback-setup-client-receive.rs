//! The server's half of setting up a client.

use std::net::IpAddr;
use std::process::ExitCode;

use byteback::cli;
use byteback::journey::enrol::{self, Options};
use byteback::journey::server::Place;
use byteback::model::ClientName;
use clap::Parser;

/// Make a client known to this server: its subvolume and its line in authorized_keys.
///
/// byteback-setup-client runs this over ssh. By hand, as root or as the store's user, it enrols a
/// client whose public key was brought here another way.
#[derive(Parser)]
#[command(
    name = "byteback-setup-client-receive",
    after_help = "Example:
  byteback-setup-client-receive web1 --from 192.0.2.7 ssh-ed25519 AAAA..."
)]
struct Cli {
    /// The client's name
    name: ClientName,
    /// Its public key, as it stands in key.pub
    #[arg(required = true, value_name = "KEY")]
    key: Vec<String>,
    /// Let the key come from any address
    #[arg(long)]
    no_pin_address: bool,
    /// The address that the key must come from [default: the address of this ssh connection]
    #[arg(long, value_name = "ADDRESS", conflicts_with = "no_pin_address")]
    from: Option<IpAddr>,
    #[command(flatten)]
    place: Place,
}

fn main() -> ExitCode {
    cli::run(|cli: Cli| {
        let Cli { name, key, no_pin_address, from, place } = cli;
        enrol::run(&Options { name, key, no_pin_address, from, place })
    })
}
