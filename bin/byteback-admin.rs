//! Looking after a server.

use std::process::ExitCode;

use byteback::cli;
use byteback::journey::admin::{
    accept, check, full_run, gate, hold, holds, release, reset, restore, restore_grant,
};
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
    Hold(hold::Options),
    Release(release::Options),
    Holds(holds::Options),
    Accept(accept::Options),
    Reset(reset::Options),
    Restore(restore::Options),
    RestoreGrant(restore_grant::Options),
    #[command(hide = true)]
    Gate(gate::Options),
    FullRun(full_run::Options),
}

fn main() -> ExitCode {
    cli::run(|cli: Cli| match cli.command {
        Command::Check(options) => check::run(&options).map(u8::from),
        Command::Hold(options) => hold::run(&options).map(u8::from),
        Command::Release(options) => release::run(&options).map(u8::from),
        Command::Holds(options) => holds::run(&options).map(u8::from),
        Command::Accept(options) => accept::run(&options).map(u8::from),
        Command::Reset(options) => reset::run(&options).map(u8::from),
        Command::Restore(options) => restore::run(&options).map(u8::from),
        Command::RestoreGrant(options) => restore_grant::run(&options).map(u8::from),
        Command::Gate(options) => gate::run(&options).map(u8::from),
        Command::FullRun(options) => full_run::run(&options).map(u8::from),
    })
}
