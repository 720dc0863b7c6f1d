//! One snapshot by hand.

use std::path::PathBuf;
use std::process::ExitCode;

use byteback::cli;
use byteback::journey::server::Place;
use byteback::journey::snapshot::{self, Options};
use byteback::model::ClientName;
use clap::Parser;

/// Take a read-only snapshot of a client's current tree, if one is due.
///
/// The gate does this by itself after each complete backup. Never while a backup is being written,
/// never after one that failed, at most one in snapshot_interval (6 hours).
#[derive(Parser)]
#[command(name = "byteback-snapshot", after_help = "Example:\n  byteback-snapshot --client web1")]
struct Cli {
    /// Whose current tree
    #[arg(long, value_name = "NAME", required_unless_present = "root")]
    client: Option<ClientName>,
    /// The client's directory, STORE/NAME, as the former program wanted it
    #[arg(long, value_name = "DIR", conflicts_with_all = ["client", "store"])]
    root: Option<PathBuf>,
    /// Accepted for the former program's callers: a snapshot is taken anyway
    #[arg(long, hide = true)]
    snapshot: bool,
    #[command(flatten)]
    place: Place,
}

fn main() -> ExitCode {
    cli::run(|cli: Cli| snapshot::run(Options { client: cli.client, root: cli.root, place: cli.place }))
}
