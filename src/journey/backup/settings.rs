//! The command line and the files of the configuration directory together: what this run goes by.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use super::Order;
use crate::model::client_config::{self, ClientConfig, ClientFiles};
use crate::model::span::Span;
use crate::model::{Destination, Failure};
use crate::system::files;
use crate::system::lock::{self, Lock, Locking};
use crate::system::ssh::Login;
use crate::system::supervise;

/// What rsync waits for a silent server when nobody says otherwise.
const IO_TIMEOUT: Span = Span::seconds(10_800);
/// The longest timeout that the server takes.
const LONGEST_IO_TIMEOUT: Span = Span::days(7);

/// Everything that is set, each file checked.
pub(super) struct Settings {
    pub(super) login: Login,
    pub(super) directory: PathBuf,
    /// For rsync's `--exclude-from`, if it is there.
    pub(super) excludes: Option<PathBuf>,
    /// For rsync's `merge`, if it is there.
    pub(super) filter: Option<PathBuf>,
    /// Further options for rsync.
    pub(super) flags: Vec<OsString>,
}

impl Settings {
    /// Reads the files; what the command line says counts more.
    ///
    /// # Errors
    /// Misuse, in one sentence: no destination, no key, or a value that makes no sense.
    pub(super) fn read(order: &Order) -> Result<Self> {
        let directory = absolute(&order.config_dir)?;
        let config = read_files(&directory)?;
        let key = match &order.ssh_key {
            Some(key) => absolute(key)?,
            None => directory.join(client_config::KEY),
        };
        let login = Login {
            destination: destination(order, config.destination, &directory)?,
            key: Some(existing_key(key)?),
            known_hosts: Some(directory.join(client_config::KNOWN_HOSTS)),
            config: Some(directory.join(client_config::SSH_CONFIG)),
            io_timeout: checked_timeout(order.io_timeout.or(config.io_timeout).unwrap_or(IO_TIMEOUT))?,
        };
        let present = |name| Some(directory.join(name)).filter(|path| path.exists());
        Ok(Self {
            login,
            excludes: present(client_config::EXCLUDES),
            filter: present(client_config::RSYNC_FILTER),
            flags: config.rsync_flags,
            directory,
        })
    }

    /// One backup at a time on this machine. The lock is on the directory itself, so nothing is written
    /// there; without one, on the key's directory.
    pub(super) fn lock(&self) -> Result<Lock> {
        let beside_the_key = self.login.key.as_deref().and_then(Path::parent).unwrap_or(Path::new("/"));
        let place = if self.directory.is_dir() { &self.directory } else { beside_the_key };
        match lock::try_directory(place)? {
            Locking::Held(lock) => Ok(lock),
            Locking::TakenBy(pid) => bail!(Failure::busy(format!(
                "another backup is at work on this machine: {} holds the lock on {}; let it end, or end it",
                holder(pid),
                place.display()
            ))),
        }
    }
}

/// rsync inherits the lock, so it can outlive the program that took it.
fn holder(pid: Option<i32>) -> String {
    let Some(pid) = pid else { return "some process".to_owned() };
    match supervise::program_of(pid) {
        Some(name) => format!("process {pid} ({name})"),
        None => format!("the rsync that process {pid} left behind when it was killed"),
    }
}

fn absolute(path: &Path) -> Result<PathBuf> {
    std::path::absolute(path).with_context(|| format!("cannot tell where {} is", path.display()))
}

fn read_files(directory: &Path) -> Result<ClientConfig> {
    let read = |name: &str| files::read_optional(&directory.join(name));
    let files = ClientFiles {
        destination: read(client_config::DESTINATION)?,
        io_timeout: read(client_config::IO_TIMEOUT)?,
        rsync_flags: read(client_config::RSYNC_FLAGS)?,
    };
    let parsed = ClientConfig::parse(&files);
    parsed.map_err(|error| Failure::misuse(format!("{}/{error}", directory.display())).into())
}

fn destination(order: &Order, configured: Option<Destination>, directory: &Path) -> Result<Destination> {
    if let Some(text) = &order.destination {
        let parsed = text.parse();
        return parsed.map_err(|why| Failure::misuse(format!("--destination {text}: {why}")).into());
    }
    configured.ok_or_else(|| {
        let why = format!(
            "no destination is given and there is none in {}; run byteback-setup-client --destination \
             user@host:",
            directory.join(client_config::DESTINATION).display()
        );
        Failure::misuse(why).into()
    })
}

fn existing_key(key: PathBuf) -> Result<PathBuf> {
    if !key.exists() {
        let why = format!(
            "there is no ssh key {}; run byteback-setup-client --destination user@host: to make one",
            key.display()
        );
        bail!(Failure::misuse(why));
    }
    Ok(key)
}

fn checked_timeout(timeout: Span) -> Result<Span> {
    if timeout > LONGEST_IO_TIMEOUT {
        let why = format!("an I/O timeout of {timeout} is too long; the longest is {LONGEST_IO_TIMEOUT}");
        bail!(Failure::misuse(why));
    }
    Ok(timeout)
}
