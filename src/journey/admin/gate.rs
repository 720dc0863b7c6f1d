//! `byteback-admin gate`, which nobody types: it stands in ssh's place when files are restored on the
//! server itself, and hands to the gate what ssh would have sent there. The gate is the same, with its
//! confinement and as the store's user; nothing can be asked but to read.

use std::ffi::OsString;

use anyhow::Result;

use crate::journey::receive::{self, Ending};
use crate::journey::server::Place;
use crate::model::ClientName;

/// Serve one request of a restore on this machine
#[derive(Debug, clap::Args)]
pub struct Options {
    /// Whose backups
    #[arg(long, value_name = "NAME")]
    client: ClientName,
    #[command(flatten)]
    place: Place,
    /// A host's name, which is passed over, and the words of the request
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    words: Vec<OsString>,
}

/// Serves it.
///
/// # Errors
/// As the gate.
pub fn run(options: &Options) -> Result<Ending> {
    let words: Vec<&[u8]> = options.words.iter().skip(1).map(|word| word.as_encoded_bytes()).collect();
    let (client, place) = (Some(options.client.clone()), options.place.clone());
    let gate = receive::Options { client, read_only: true, until: None, place, explain: false };
    receive::serve(&gate, &words.join(&b' '))
}
