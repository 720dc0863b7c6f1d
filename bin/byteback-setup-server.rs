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
/// system in a file, mounted now and at every boot. Tells sshd that the user may do nothing but log in
/// with a key. It can be run again without harm.
#[derive(Parser)]
#[command(
    name = "byteback-setup-server",
    after_help = "Examples:
  byteback-setup-server --image /var/lib/byteback.img --size 500G
  byteback-setup-server --store /srv/backups        (a mounted btrfs)
  byteback-setup-server --check                     (what has drifted since?)"
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
    /// The server's configuration; it need not be there
    #[arg(long, value_name = "FILE", default_value = "/etc/byteback/server.toml")]
    config: PathBuf,
    /// Do not turn passwords off for the user in sshd's configuration
    #[arg(long)]
    allow_passwords: bool,
    /// Turn simple quotas on (Linux 6.7), so that the kernel counts what each client brings
    #[arg(long)]
    quotas: bool,
    /// Change nothing: say what is to do, and what is not sound; status 0 only if there is nothing
    #[arg(long)]
    check: bool,
}

fn main() -> ExitCode {
    cli::run(|cli: Cli| {
        let Cli { store, image, size, user, config, allow_passwords, quotas, check } = cli;
        setup_server::run(&Options { store, image, size, user, config, allow_passwords, quotas, check })
    })
}
