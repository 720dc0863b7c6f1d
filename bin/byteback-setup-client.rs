//! `byteback-setup-client`: options for [`byteback::journey::setup_client`].

use std::path::PathBuf;
use std::process::ExitCode;

use byteback::cli;
use byteback::journey::setup_client::{self, SetupClient};
use byteback::model::Destination;
use byteback::model::client_config::DEFAULT_DIRECTORY;
use clap::Parser;

/// Set this machine up as a client of a byteback server
///
/// Makes a key if there is none, reaches the server as a person would, has it enrol this machine,
/// pins the server's host key and proves the new key. Running it again changes nothing.
#[derive(Debug, Parser)]
#[command(name = "byteback-setup-client")]
struct Options {
    /// The server: [user@]host: or ssh://[user@]host:port/ (default: the one saved by an earlier run)
    #[arg(short, long, value_name = "DESTINATION")]
    destination: Option<Destination>,

    /// The name of this client (default: this machine's fully qualified name)
    #[arg(long, value_name = "NAME")]
    hostname: Option<String>,

    /// Where key, destination and the server's host key are kept
    #[arg(long, value_name = "DIR", default_value = DEFAULT_DIRECTORY)]
    config_dir: PathBuf,

    /// Log in to enrol with this key (default: whatever ssh finds, or a password)
    #[arg(long, value_name = "FILE")]
    admin_key: Option<PathBuf>,

    /// Let the key be used from any address, not from this machine's present one only
    #[arg(long)]
    no_pin_address: bool,

    /// Take an unknown host key of the server without asking
    #[arg(long)]
    accept_new_host_key: bool,

    /// Tell each step
    #[arg(short, long)]
    verbose: bool,
}

fn main() -> ExitCode {
    cli::run(|options: Options| {
        setup_client::run(&SetupClient {
            destination: options.destination,
            hostname: options.hostname,
            config_dir: options.config_dir,
            admin_key: options.admin_key,
            pin_address: !options.no_pin_address,
            accept_new_host_key: options.accept_new_host_key,
            verbose: options.verbose,
        })
    })
}
