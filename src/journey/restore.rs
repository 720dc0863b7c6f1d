//! How files come back: ask the server what it has, show it, or fetch exactly that.
//!
//! The server's list is asked for first in both cases, so a person restores what a list would show.
//! rsync then gets names from that list alone, writes below one directory, and nothing is called
//! restored before it stands there.

pub mod find;
mod listing;
mod patterns;
mod place;
mod plan;
mod pull;
mod when;

use std::ffi::OsString;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use anyhow::{Result, bail};

pub use self::find::{Form, Scope};
use self::place::Place;
use self::plan::Batch;
use self::pull::{Puller, Trouble};
use crate::model::client_config::{self, ClientConfig, ClientFiles};
use crate::model::span::Span;
use crate::model::{Destination, Failure, Status, escaped};
use crate::protocol::find_query::{FindQuery, Pattern};
use crate::system::signals::Signals;
use crate::system::ssh::{Connection, Login};
use crate::system::{console, files, identity};

/// What was asked for.
#[derive(Debug)]
pub struct Restore {
    /// Show or fetch.
    pub action: Action,
    /// Where is looked, and how much of what is there counts.
    pub scope: Scope,
    /// The server; `None` takes the saved one.
    pub destination: Option<Destination>,
    /// The key; `None` takes `CONFIG/key`.
    pub ssh_key: Option<PathBuf>,
    /// How long the network may be silent.
    pub io_timeout: Span,
    /// Where key and destination are kept.
    pub config_dir: PathBuf,
    /// As typed, any bytes.
    pub patterns: Vec<OsString>,
}

/// Show or fetch.
#[derive(Debug)]
pub enum Action {
    /// Show what matches.
    List(Form),
    /// Show which snapshots there are.
    Snapshots(Form),
    /// Fetch it.
    Restore {
        /// Into this directory instead of `./SNAPSHOT`.
        to: Option<PathBuf>,
    },
}

/// Lists or restores.
///
/// # Errors
/// A [`Failure`] when the server cannot be asked or not everything came.
pub fn run(asked: &Restore) -> Result<Status> {
    let working_directory = identity::working_directory()?;
    let query = query(asked, &working_directory)?;
    let login = login(asked)?;
    let signals = Signals::watch()?;
    let connection = Connection::open(&login)?;
    match &asked.action {
        Action::List(form) => find::list(&connection, &signals, &query, *form),
        Action::Snapshots(form) => find::snapshots(&connection, &signals, *form),
        Action::Restore { to } => {
            let found = listing::ask(&connection, &signals, &query)?;
            if found.entries.is_empty() {
                return Ok(find::say_nothing_found(&query));
            }
            if let Some(why) = found.cut {
                let why = escaped(why.as_bytes());
                bail!(Failure::failed(format!("the list is not whole ({why}); restore less at once")));
            }
            let place = Place::new(to.clone(), asked.scope.all, working_directory);
            let (io_timeout, verbose) = (asked.io_timeout, asked.scope.verbose);
            let puller = Puller { connection: &connection, signals: &signals, io_timeout, verbose };
            fetch(&puller, &place, &plan::batches(&found.entries))
        }
    }
}

fn query(asked: &Restore, working_directory: &Path) -> Result<FindQuery> {
    let directory = working_directory.as_os_str().as_bytes();
    let patterns = asked.patterns.iter().map(|typed| pattern(typed.as_bytes(), directory));
    asked.scope.query(patterns.collect::<Result<_>>()?, matches!(asked.action, Action::List(_)))
}

fn pattern(typed: &[u8], directory: &[u8]) -> Result<Pattern> {
    Pattern::parse(&patterns::absolute(typed, directory)).map_err(|why| {
        Failure::misuse(format!("the pattern '{}' cannot be looked for: {why}", escaped(typed))).into()
    })
}

fn login(asked: &Restore) -> Result<Login> {
    let file = |name| asked.config_dir.join(name);
    let destination = match &asked.destination {
        Some(destination) => destination.clone(),
        None => saved_destination(&asked.config_dir)?,
    };
    Ok(Login {
        destination,
        key: Some(asked.ssh_key.clone().unwrap_or_else(|| file(client_config::KEY))),
        known_hosts: Some(file(client_config::KNOWN_HOSTS)),
        config: Some(file(client_config::SSH_CONFIG)),
        io_timeout: asked.io_timeout,
    })
}

fn saved_destination(config_dir: &Path) -> Result<Destination> {
    let path = config_dir.join(client_config::DESTINATION);
    let files = ClientFiles { destination: files::read_optional(&path)?, ..ClientFiles::default() };
    let parsed = ClientConfig::parse(&files)
        .map_err(|error| Failure::misuse(format!("in {}: {error}", config_dir.display())))?;
    parsed.destination.ok_or_else(|| {
        let message =
            format!("there is no {}; give --destination or run byteback-setup-client", path.display());
        Failure::misuse(message).into()
    })
}

fn fetch(puller: &Puller, place: &Place, batches: &[Batch]) -> Result<Status> {
    if !identity::is_root() {
        console::say("without root, owners cannot be set and devices cannot be made");
    }
    let mut outcome = Outcome::default();
    for batch in batches {
        let directory = place.directory(&batch.tree)?;
        let came = puller.pull(batch, &directory)?;
        outcome.count(batch, &directory, &came);
        if let Some(Trouble { partial: false, .. }) = came.trouble {
            break;
        }
    }
    outcome.tell()
}

/// What came of it all.
#[derive(Default)]
struct Outcome {
    files: u64,
    copied: u64,
    bytes: u64,
    troubles: Vec<String>,
}

impl Outcome {
    fn count(&mut self, batch: &Batch, directory: &Path, pulled: &pull::Pulled) {
        let missing = place::missing(directory, &batch.chosen);
        for path in batch.chosen.iter().filter(|path| !missing.contains(&path.as_slice())) {
            let restored = place::below(directory, path).into_os_string().into_vec();
            console::print(escaped(&restored));
        }
        self.files += pulled.transfer.files;
        self.copied += pulled.transfer.files_sent;
        self.bytes += pulled.transfer.changed_bytes;
        self.troubles.extend(pulled.trouble.as_ref().map(|trouble| trouble.why.clone()));
        if pulled.trouble.is_none() {
            let told =
                missing.iter().map(|path| format!("/{} of {} did not come", escaped(path), batch.tree));
            self.troubles.extend(told);
        }
    }

    fn tell(self) -> Result<Status> {
        let Self { files, copied, bytes, troubles } = self;
        console::say(format_args!(
            "restored {files} files and directories; {copied} files were copied, {bytes} bytes"
        ));
        match troubles.as_slice() {
            [] => Ok(Status::Done),
            [only] => bail!(Failure::failed(format!("not everything was restored: {only}"))),
            [first, rest @ ..] => bail!(Failure::failed(format!(
                "not everything was restored: {first}, and {} more like it",
                rest.len()
            ))),
        }
    }
}
