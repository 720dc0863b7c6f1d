//! `byteback-restore`: options for [`byteback::journey::restore`].

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;

use byteback::cli;
use byteback::journey::restore::options::{Manner, Target};
use byteback::journey::restore::{self, Action, Form, Restore, Scope};
use byteback::model::{Destination, client_config::DEFAULT_DIRECTORY, span::Span};
use clap::Parser;

/// List or restore files from this client's snapshots
#[derive(Debug, Parser)]
#[command(name = "byteback-restore", after_help = PATTERNS)]
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
    /// The server's host key must have this fingerprint (SHA256:…)
    #[arg(long, value_name = "FINGERPRINT")]
    host_key: Option<String>,
    /// Give up when nothing was heard for so long, in seconds or as 5m
    #[arg(short, long, value_name = "TIME", default_value = "300")]
    io_timeout: Span,
    /// Where key, destination and the server's host key are kept
    #[arg(long, value_name = "DIR", default_value = DEFAULT_DIRECTORY)]
    config_dir: PathBuf,
    #[command(flatten)]
    target: Target,
    #[command(flatten)]
    manner: Manner,
    #[command(flatten)]
    form: Form,
    /// Which files
    #[arg(value_name = "PATTERN", required_unless_present = "snapshots")]
    patterns: Vec<OsString>,
}

/// Not a longer description, with which clap would give each option three lines.
const PATTERNS: &str = "\
Patterns know * ? [set] {a,b} and ** (any depth); they are taken from the working directory unless
they are absolute, and match a dot file only where they say so. Quote them, or the shell will
expand them. A pattern that matches a directory restores all below it.";

fn main() -> ExitCode {
    cli::run(|options: Options| {
        let (target, manner) = (options.target, options.manner);
        let action = if options.restore || target.means_restore() || manner.means_restore() {
            Action::Restore(manner.fetch(target.goal(), target.yes(), options.form.json))
        } else {
            Action::List(options.form)
        };
        restore::run(&Restore {
            action,
            scope: options.scope,
            destination: options.destination,
            ssh_key: options.ssh_key,
            host_key: options.host_key,
            io_timeout: options.io_timeout,
            config_dir: options.config_dir,
            patterns: options.patterns,
        })
    })
}
