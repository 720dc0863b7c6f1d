//! Makes room in the store.

use std::process::ExitCode;

use byteback::cli;
use byteback::journey::prune::{self, Action, Options, Order};
use byteback::journey::server::Place;
use byteback::model::ClientName;
use clap::{ArgGroup, Parser};

/// Delete the least important snapshots until enough space is really free.
///
/// Starts when less than minpercent of the store is free and goes on until maxpercent is. Never
/// deletes a client's last snapshots, one younger than min_age (7 days), one under a hold, or one whose
/// name is no time. Nobody's history pays for a backup that is abnormally large.
#[derive(Parser)]
#[command(
    name = "byteback-prune",
    override_usage = "byteback-prune [OPTIONS] <--list|--prune|--prune-force|--simulate <DAYS>>",
    after_help = "Examples:
  byteback-prune --list            every snapshot, the last line goes first
  byteback-prune --prune --dry-run
  byteback-prune --simulate 90     what goes when, if all goes on as it did"
)]
#[command(group = ArgGroup::new("action").required(true).args(["list", "prune", "prune_force", "after_run", "simulate"]))]
#[allow(clippy::struct_excessive_bools, reason = "each is a flag of its own on the command line")]
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
    /// As --prune, after a backup of this client; the gate runs this
    #[arg(long, value_name = "CLIENT", hide = true)]
    after_run: Option<ClientName>,
    /// Play so many days of the future and show what is deleted when
    #[arg(long, value_name = "DAYS", value_parser = clap::value_parser!(u32).range(1..=3660))]
    simulate: Option<u32>,
    /// Begin below this percentage of free space [default: server.toml, else 5]
    #[arg(short, long, value_name = "PERCENT", value_parser = clap::value_parser!(u8).range(0..=99))]
    minpercent: Option<u8>,
    /// Go on until this percentage is free [default: server.toml, else 10]
    #[arg(short = 'a', long, value_name = "PERCENT", value_parser = clap::value_parser!(u8).range(1..=100))]
    maxpercent: Option<u8>,
    /// What makes a snapshot worth keeping
    #[arg(short, long, value_name = "importance|age", default_value_t = Order::Importance)]
    order: Order,
    /// Print what would be deleted, in order, and delete nothing
    #[arg(short = 'n', long, conflicts_with_all = ["list", "simulate", "after_run"])]
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
        let action = match (cli.list, cli.after_run, cli.simulate) {
            (true, ..) => Action::List,
            (_, Some(client), _) => Action::AfterRun(client),
            (.., Some(days)) => Action::Simulate(days),
            _ => Action::Prune { force: cli.prune_force },
        };
        let Cli { minpercent, maxpercent, order, dry_run, verbose, json, place, .. } = cli;
        prune::run(&Options { action, minpercent, maxpercent, order, dry_run, verbose, json, place })
    })
}
