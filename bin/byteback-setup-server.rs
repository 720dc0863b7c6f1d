//! Makes a server out of a machine.

use std::path::PathBuf;
use std::process::ExitCode;

use byteback::cli;
use byteback::journey::setup_server::{self, Options};
use byteback::model::ByteSize;
use clap::Parser;

/// Make a backup server out of this machine, or check what an earlier run made of it.
///
/// Makes the Unix user, the store with the right owner and mode, and with --image the store's file
/// system in a file, mounted now and at every boot. It can be run again without harm.
#[derive(Parser)]
#[command(
    name = "byteback-setup-server",
    after_help = "Examples:
  byteback-setup-server --image /var/lib/byteback.img --size 500G
  byteback-setup-server --store /srv/backups        (a mounted btrfs)"
)]
struct Cli {
    /// Where the backups lie [default: the user's home, else /var/lib/byteback]
    #[arg(long, value_name = "DIR")]
    store: Option<PathBuf>,
    /// Keep the store in this file; it is made if it is not there
    #[arg(long, value_name = "FILE")]
    image: Option<PathBuf>,
    /// How large a new image shall be, such as 500G; room is used only as it fills
    #[arg(long, value_name = "SIZE", requires = "image")]
    size: Option<ByteSize>,
    /// The Unix user that owns the store; it is made if it is not there
    #[arg(long, value_name = "NAME", default_value = "byteback")]
    user: String,
}

fn main() -> ExitCode {
    cli::run(|cli: Cli| {
        let Cli { store, image, size, user } = cli;
        setup_server::run(&Options { store, image, size, user })
    })
}
