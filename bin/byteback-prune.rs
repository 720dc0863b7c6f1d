//! Makes room in the store.

use std::process::ExitCode;

use byteback::cli;
use byteback::journey::prune::{self, Options, Order};
use byteback::journey::server::Place;
use clap::{ArgGroup, Parser};

/// Delete the least important snapshots until enough space is really free.
///
/// Starts when less than minpercent of the store is free and goes on until maxpercent is. Never
/// deletes a client's newest snapshot, one younger than min_age (7 days), or one whose name is no time.
#[derive(Parser)]
#[allow(clippy::struct_excessive_bools, reason = "each is a flag of its own on the command line")]
#[command(
    name = "byteback-prune",
    after_help = "Examples:
  byteback-prune --list            every snapshot, the last line goes first
  byteback-prune --prune --dry-run
  byteback-prune --prune --verbose"
)]
#[command(group = ArgGroup::new("action").required(true).args(["list", "prune", "prune_force"]))]
struct Cli {
    /// Show all snapshots, the most important first, with the reason for each
    #[arg(short, long)]
    list: bool,
    /// Delete snapshots if less than minpercent is free
    #[arg(short, long)]
    prune: bool,
    /// Delete snapshots until maxpercent is free, also if minpercent is free already
    #[arg(short = 'r', long)]
    prune_force: bool,
    /// Begin below this percentage of free space
    #[arg(short, long, value_name = "PERCENT", default_value_t = 5, value_parser = clap::value_parser!(u8).range(0..=99))]
    minpercent: u8,
    /// Go on until this percentage is free
    #[arg(short = 'a', long, value_name = "PERCENT", default_value_t = 10, value_parser = clap::value_parser!(u8).range(1..=100))]
    maxpercent: u8,
    /// What makes a snapshot worth keeping
    #[arg(short, long, value_name = "importance|age", default_value_t = Order::Importance)]
    order: Order,
    /// Print what would be deleted, in order, and delete nothing
    #[arg(short = 'n', long, conflicts_with = "list")]
    dry_run: bool,
    /// Say what is done
    #[arg(short, long)]
    verbose: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    place: Place,
}

fn main() -> ExitCode {
    cli::run(|cli: Cli| {
        let Cli { list, prune_force, minpercent, maxpercent, order, dry_run, verbose, json, place, prune: _ } =
            cli;
        prune::run(&Options {
            list,
            force: prune_force,
            minpercent,
            maxpercent,
            order,
            dry_run,
            verbose,
            json,
            place,
        })
    })
}
