//! `byteback-backup`: sends this machine's files to the backup server.

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;

use byteback::cli;
use byteback::journey::backup::{self, IndexUse, Order};
use byteback::model::span::Span;
use clap::Parser;

/// Back this machine up to its byteback server.
///
/// All that is needed stands in /etc/byteback (byteback-setup-client puts it there). Without any option the
/// whole machine is saved, except what is mounted from elsewhere and the usual junk.
#[derive(Parser)]
#[command(name = "byteback-backup")]
struct Options {
    /// The server, as [user@]host: or ssh://[user@]host[:port]/ [default: the file]
    #[arg(short, long)]
    destination: Option<String>,
    /// Absolute paths to back up; may be given several times [default: /]
    #[arg(short, long = "source", num_args = 1.., value_name = "PATH")]
    sources: Vec<OsString>,
    /// rsync patterns to leave out besides the usual ones; may be given several times
    #[arg(short = 'x', long = "exclude", num_args = 1.., value_name = "PATTERN")]
    excludes: Vec<OsString>,
    /// Name every file that is sent or deleted
    #[arg(short, long)]
    verbose: bool,
    /// How often to try again after a network failure or files that could not be copied [default: 3]
    #[arg(short, long, default_value_t = 3, hide_default_value = true, value_name = "NUMBER")]
    retry_number: u32,
    /// How long to wait before trying again, in seconds or as 5m, 1h [default: 300]
    #[arg(short = 'e', long, default_value = "300", hide_default_value = true, value_name = "TIME")]
    retry_delay: Span,
    /// How long the server may be silent [default: the file, or 10800]
    #[arg(short, long, value_name = "TIME")]
    io_timeout: Option<Span>,
    /// The private ssh key [default: `key` in the configuration directory]
    #[arg(short = 'k', long, value_name = "FILE")]
    ssh_key: Option<PathBuf>,
    /// Where the configuration lies [default: /etc/byteback]
    #[arg(long, default_value = "/etc/byteback", hide_default_value = true, value_name = "DIR")]
    config_dir: PathBuf,
    /// Only tell what would be done; with --verbose, list every change
    #[arg(short = 'n', long)]
    dry_run: bool,
    /// How far the index is trusted.
    #[command(flatten)]
    index: IndexUse,
    /// Print the record of the run as one line of JSON, also when it failed
    #[arg(long)]
    json: bool,
}

impl From<Options> for Order {
    fn from(options: Options) -> Self {
        Self {
            destination: options.destination,
            sources: options.sources,
            excludes: options.excludes,
            verbose: options.verbose,
            retry_number: options.retry_number,
            retry_delay: options.retry_delay,
            io_timeout: options.io_timeout,
            ssh_key: options.ssh_key,
            config_dir: options.config_dir,
            dry_run: options.dry_run,
            index: options.index,
            json: options.json,
        }
    }
}

fn main() -> ExitCode {
    cli::run(|options: Options| backup::run(&options.into()))
}
