//! What every server program does first: find the store, read the configuration, open the log, and
//! stop being root.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use crate::model::Failure;
use crate::model::server_config::ServerConfig;
use crate::store::Store;
use crate::system::log::Log;
use crate::system::{account, files};

/// The user whose home is the store, when root asks without saying which store.
pub const DEFAULT_USER: &str = "byteback";

/// Where the server's things lie; the same two options for every server program.
#[derive(Debug, Clone, clap::Args)]
pub struct Place {
    /// The store [default: the home directory; for root that of the user byteback]
    #[arg(long, value_name = "DIR")]
    pub store: Option<PathBuf>,
    /// The server's configuration; it need not be there
    #[arg(long, value_name = "FILE", default_value = "/etc/byteback/server.toml")]
    pub config: PathBuf,
}

/// A server at work.
pub struct Server {
    /// The backups.
    pub store: Store,
    /// How to behave.
    pub config: ServerConfig,
    /// Where that stands, for a program that is started from here.
    pub config_path: PathBuf,
    /// Where verdicts go.
    pub log: Log,
}

impl Server {
    /// Opens everything. A root process becomes the store's owner first, so that nothing in the store
    /// ever belongs to root.
    ///
    /// # Errors
    /// When the configuration is wrong (status 2) or the store is not there.
    pub fn open(place: &Place, program: &'static str) -> Result<Self> {
        let config = read_config(&place.config)?;
        let path = store_path(place)?;
        act_as_owner_of(&path)?;
        let store = Store::open(&path)?;
        let log = Log::open(program, config.log, store.state_directory()?.join("log"));
        Ok(Self { store, config, config_path: place.config.clone(), log })
    }
}

/// The store that is meant: `--store`, or the home of the user (for root: of [`DEFAULT_USER`]).
///
/// # Errors
/// When there is no such user.
pub fn store_path(place: &Place) -> Result<PathBuf> {
    if let Some(path) = &place.store {
        return Ok(path.clone());
    }
    let account = if account::is_root() { account::by_name(DEFAULT_USER)? } else { Some(account::own()?) };
    let missing = || Failure::misuse("there is no user byteback; name the store with --store");
    Ok(account.ok_or_else(missing)?.home)
}

/// Reads the configuration; the default where there is no file. The file decides which program is
/// executed, so it must not be in the hands of the service user.
pub(super) fn read_config(path: &Path) -> Result<ServerConfig> {
    let Some(bytes) = files::read_optional(path)? else { return Ok(ServerConfig::default()) };
    let found = fs::metadata(path).with_context(|| format!("cannot stat {}", path.display()))?;
    if found.uid() != 0 || found.mode() & 0o022 != 0 {
        bail!(Failure::misuse(format!(
            "{} must belong to root and be writable by nobody else; chown root and chmod 644 it",
            path.display()
        )));
    }
    let text = String::from_utf8_lossy(&bytes);
    ServerConfig::from_toml(&text)
        .map_err(|error| Failure::misuse(format!("{}, {error}", path.display())).into())
}

/// A root process becomes the owner of the store; everybody else stays who they are.
///
/// # Errors
/// When the store is not there or its owner is no user of this machine.
pub fn act_as_owner_of(store: &Path) -> Result<()> {
    if !account::is_root() {
        return Ok(());
    }
    let owner = fs::metadata(store)
        .with_context(|| format!("cannot open the store {}; is its file system mounted?", store.display()))?
        .uid();
    if owner == 0 {
        bail!(Failure::misuse(format!(
            "the store {} belongs to root: its file system is not mounted, or byteback-setup-server never ran here",
            store.display()
        )));
    }
    let account =
        account::by_uid(owner)?.with_context(|| format!("user {owner}, who owns the store, has no name"))?;
    account::become_account(&account)
}
