//! `byteback-restore`: options for [`byteback::journey::restore`].

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;

use byteback::cli;
use byteback::journey::restore::{self, Action, Form, Restore, Scope};
use byteback::model::{Destination, client_config::DEFAULT_DIRECTORY, span::Span};
use clap::Parser;

/// List or restore files from this client's snapshots
///
/// Patterns know * ? [set] {a,b} and ** (any depth); they are taken from the working directory unless
/// they are absolute, and match a dot file only where they say so. Quote them, or the shell will
/// expand them. A pattern that matches a directory restores all below it.
#[derive(Debug, Parser)]
#[command(name = "byteback-restore")]
struct Options {
    /// List what matches (the default)
    #[arg(short, long, conflicts_with = "restore")]
    list: bool,
    /// Restore what matches into ./SNAPSHOT/
    #[arg(short, long)]
    restore: bool,
    #[command(flatten)]
    scope: Scope,
    /// The server (default: the one that byteback-setup-client saved)
    #[arg(short, long, value_name = "DESTINATION")]
    destination: Option<Destination>,
    /// The ssh key (default: `key` in the configuration directory)
    #[arg(short = 'k', long, value_name = "FILE")]
    ssh_key: Option<PathBuf>,
    /// Give up when nothing was heard for so long, in seconds or as 5m
    #[arg(short, long, value_name = "TIME", default_value = "300")]
    io_timeout: Span,
    /// Where key, destination and the server's host key are kept
    #[arg(long, value_name = "DIR", default_value = DEFAULT_DIRECTORY)]
    config_dir: PathBuf,
    /// Restore below this directory (with --all: into SNAPSHOT/ below it)
    #[arg(long, value_name = "DIR", requires = "restore")]
    to: Option<PathBuf>,
    #[command(flatten)]
    form: Form,
    /// List the snapshots: age, how the run went, what it brought, whether it is kept
    #[arg(long, conflicts_with_all = ["restore", "list", "patterns", "snapshot", "at", "all", "deleted", "verbose"])]
    snapshots: bool,
    /// Which files
    #[arg(value_name = "PATTERN", required_unless_present = "snapshots")]
    patterns: Vec<OsString>,
}

fn main() -> ExitCode {
    cli::run(|options: Options| {
        let action = if options.restore {
            Action::Restore { to: options.to }
        } else if options.snapshots {
            Action::Snapshots(options.form)
        } else {
            Action::List(options.form)
        };
        restore::run(&Restore {
            action,
            scope: options.scope,
            destination: options.destination,
            ssh_key: options.ssh_key,
            io_timeout: options.io_timeout,
            config_dir: options.config_dir,
            patterns: options.patterns,
        })
    })
}
