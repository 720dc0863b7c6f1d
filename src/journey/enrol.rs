//! The server's half of setting up a client: one subvolume, one line in `authorized_keys`.
//!
//! Run over ssh by somebody who may log in as the store's user; the words come from that person, the
//! address from sshd. A name and a key belong together for ever: neither can be taken over here.

use std::net::IpAddr;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use super::server::{Place, Server};
use crate::model::{ClientName, Failure, Status};
use crate::protocol::authorized_keys::{Holder, KeyFile, Line};
use crate::protocol::public_key::PublicKey;
use crate::store::keys::Keys;
use crate::system::{account, console, environment};

/// Directories that sshd's default `PATH` holds; a gate elsewhere is written with its path.
const ON_PATH: [&str; 2] = ["/usr/bin", "/usr/local/bin"];

/// What is typed behind `byteback-setup-client-receive`.
#[derive(Debug)]
pub struct Options {
    /// The name that the client wants.
    pub name: ClientName,
    /// Its public key, as one or more words.
    pub key: Vec<String>,
    /// Let the key come from any address.
    pub no_pin_address: bool,
    /// The address that it must come from, when nobody came through ssh.
    pub from: Option<IpAddr>,
    /// The store and its configuration.
    pub place: Place,
}

/// Enrols the client, or says that it is enrolled already.
///
/// # Errors
/// A key that is not one key is a misuse (status 2); a name or key that is taken is refused (3).
pub fn run(options: &Options) -> Result<Status> {
    let key = PublicKey::parse(&options.key.join(" "))
        .map_err(|error| Failure::misuse(format!("the key of {} is no public key: {error}", options.name)))?;
    let from = address(options)?;
    let line = line_for(options, &key, from)?;
    let server = Server::open(&options.place, "byteback-setup-client-receive")?;
    let keys = Keys::lock(server.store.path(), &server.store.state_directory()?)?;
    let name = &options.name;
    if !is_new(keys.content(), name, &key)? {
        server.store.volume().enrol(name)?;
        console::print(format_args!("{name} is enrolled already with this key"));
        return Ok(Status::Done);
    }
    server.store.volume().enrol(name)?;
    keys.replace(&keys.content().with_line(&line))?;
    let pinned = from.map_or_else(|| "any address".to_owned(), |ip| ip.to_string());
    server.log.info(format_args!("enrol client={name} from={pinned}"));
    console::print(format_args!("{name} is enrolled; its key may come from {pinned}"));
    Ok(Status::Done)
}

/// Where the key may come from: the peer of this ssh connection, unless told otherwise.
fn address(options: &Options) -> Result<Option<IpAddr>> {
    if options.no_pin_address {
        return Ok(None);
    }
    if let Some(address) = options.from {
        return Ok(Some(address));
    }
    let connection = environment::text("SSH_CONNECTION").context(Failure::misuse(
        "this was not run through ssh, so the client's address is unknown; add --from ADDRESS or --no-pin-address",
    ))?;
    let address = connection.split(' ').next().unwrap_or_default();
    let address = address.split('%').next().unwrap_or_default();
    address.parse().map(Some).context("sshd told no address in SSH_CONNECTION")
}

/// Whether the line must be added. Taken names and keys are refused.
fn is_new(keys: &KeyFile, name: &ClientName, key: &PublicKey) -> Result<bool> {
    match keys.holder(key) {
        Some(Holder::Client(owner)) if owner == *name => return Ok(false),
        Some(Holder::Client(owner)) => bail!(Failure::refused(format!(
            "this key belongs to the client {owner} already; {name} needs a key of its own"
        ))),
        Some(Holder::Reader(owner)) => bail!(Failure::refused(format!(
            "this key may read the backups of {owner} for some time; {name} needs a key of its own, or have the \
             administrator end that with byteback-admin restore-grant {owner} --remove"
        ))),
        Some(Holder::Other) => bail!(Failure::refused(format!(
            "this key stands in authorized_keys already, for something else than a backup; {name} needs a key of its own"
        ))),
        None => {}
    }
    if !keys.keys_of(name).is_empty() {
        bail!(Failure::refused(format!(
            "the name {name} is taken by another key; choose another --hostname, or have the administrator remove \
             the old line from authorized_keys"
        )));
    }
    Ok(true)
}

/// The line of a store elsewhere, or of a gate elsewhere, carries where they are.
fn line_for(options: &Options, key: &PublicKey, from: Option<IpAddr>) -> Result<Line> {
    let line = new_line(&options.name, key, &options.place)?;
    Ok(match from {
        Some(address) => line.only_from(address),
        None => line,
    })
}

/// A line that calls the gate that was installed with this program.
pub(super) fn new_line(name: &ClientName, key: &PublicKey, place: &Place) -> Result<Line> {
    let own = std::env::current_exe().context("cannot find this program's own path")?;
    let directory = own.parent().unwrap_or(Path::new("/usr/bin"));
    let program = if ON_PATH.iter().any(|on_path| directory == Path::new(on_path)) {
        PathBuf::from("byteback-receive")
    } else {
        directory.join("byteback-receive")
    };
    let config = (place.config != Path::new("/etc/byteback/server.toml")).then(|| place.config.clone());
    let store = store_to_name(place)?;
    Line::new(name.clone(), key.clone(), &program, store.as_deref(), config.as_deref())
        .map_err(|error| Failure::misuse(error.to_string()).into())
}

/// The store, unless it is the home of the user that logs in.
fn store_to_name(place: &Place) -> Result<Option<PathBuf>> {
    let Some(store) = &place.store else { return Ok(None) };
    let store = store.canonicalize().with_context(|| format!("cannot find the store {}", store.display()))?;
    let owner = std::os::unix::fs::MetadataExt::uid(&store.metadata().context("cannot stat the store")?);
    let home = account::by_uid(owner)?.map(|account| account.home);
    Ok((home.and_then(|home| home.canonicalize().ok()).as_deref() != Some(&store)).then_some(store))
}
