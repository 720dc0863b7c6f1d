//! How files come back: ask the server what it has, show it, or fetch exactly that.
//!
//! The server's list is asked for first in both cases, so a person restores what a list would show.
//! rsync then gets names from that list alone, writes below one directory, and nothing is called
//! restored before it stands there.

mod deliver;
mod fetch;
pub mod find;
mod host_key;
mod itemise;
mod listing;
pub mod options;
mod owners;
mod patterns;
mod place;
mod plan;
mod pull;
mod report;
mod staging;
mod when;

use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use anyhow::{Result, bail};

pub use self::fetch::{Fetch, Goal};
pub use self::find::{Form, Scope};
pub use self::owners::{Mapping, MappingError, Owners};
use self::pull::Puller;
use self::report::Report;
use crate::model::client_config::{self, ClientConfig, ClientFiles};
use crate::model::span::Span;
use crate::model::{Destination, Failure, Status, escaped};
use crate::protocol::find_query::{FindQuery, Pattern};
use crate::system::signals::Signals;
use crate::system::ssh::{Connection, Login};
use crate::system::{files, identity};

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
    /// The fingerprint of the server's host key, which is then taken from nowhere else.
    pub host_key: Option<String>,
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
    /// Show what matches, or which snapshots there are.
    List(Form),
    /// Fetch it.
    Restore(Fetch),
}

/// Lists or restores what a server elsewhere has of this machine.
///
/// # Errors
/// A [`Failure`] when the server cannot be asked or not everything came.
pub fn run(asked: &Restore) -> Result<Status> {
    let here = identity::working_directory()?;
    let query = query(asked, &here)?;
    let mut login = login(asked)?;
    let signals = Signals::watch()?;
    let _host_key = host_key::settle(&mut login, asked.host_key.as_deref())?;
    answer(asked, &query, &here, &Connection::open(&login)?, &signals)
}

/// The same over a way that is there already; patterns must be absolute.
///
/// # Errors
/// As for [`run`].
pub(super) fn run_over(asked: &Restore, connection: &Connection) -> Result<Status> {
    let query = query(asked, Path::new("/"))?;
    answer(asked, &query, &identity::working_directory()?, connection, &Signals::watch()?)
}

fn answer(
    asked: &Restore,
    query: &FindQuery,
    here: &Path,
    connection: &Connection,
    signals: &Signals,
) -> Result<Status> {
    let fetch = match &asked.action {
        Action::List(form) if form.snapshots => return find::snapshots(connection, signals, *form),
        Action::List(form) => return find::list(connection, signals, query, *form),
        Action::Restore(fetch) => fetch,
    };
    let found = listing::ask(connection, signals, query)?;
    match fetch {
        // Whoever reads a pipe must not take the sentence for a file.
        Fetch { goal: Goal::Stdout | Goal::Tar, .. } if found.entries.is_empty() => {
            bail!(Failure::failed("no file matches, so nothing was written"))
        }
        _ if found.entries.is_empty() => Ok(find::say_nothing_found(query, fetch.json)),
        _ => {
            if let Some(why) = found.cut {
                let why = escaped(why.as_bytes());
                bail!(Failure::failed(format!("the list is not whole ({why}); restore less at once")));
            }
            let (io_timeout, verbose) = (asked.io_timeout, asked.scope.verbose);
            let report = Report::new(fetch.json);
            let puller = Puller { connection, signals, io_timeout, verbose, report: &report };
            fetch::run(&puller, fetch, &found.entries, asked.scope.all, here)
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
