//! Looking after a server.

use std::process::ExitCode;

use byteback::cli;
use byteback::journey::admin::{check, full_run};
use clap::{Parser, Subcommand};

/// Look after a backup server.
///
/// Run it as root, or as the store's user, who cannot see all of it.
#[derive(Parser)]
#[command(name = "byteback-admin", after_help = "Example:\n  byteback-admin check")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Check(check::Options),
    FullRun(full_run::Options),
}

fn main() -> ExitCode {
    cli::run(|cli: Cli| match cli.command {
        Command::Check(options) => check::run(&options).map(u8::from),
        Command::FullRun(options) => full_run::run(&options).map(u8::from),
    })
}
