//! Making a server out of a machine, or checking what an earlier run made of it: the Unix user, the
//! store and its file system, `.ssh` and `.byteback`.
//!
//! Each step looks first and changes only what is missing, so it can be run again at any time. It
//! never removes anything and never touches what a client sent, but for one thing: snapshots that the
//! former program left writable become read-only.

mod account;
mod file_system;

use std::fs::{self, DirBuilder};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use crate::model::{ByteSize, Failure, Status, Tree};
use crate::store::Store;
use crate::system::account::{Account, is_root};
use crate::system::{console, ioctl};

/// What is typed behind `byteback-setup-server`.
#[derive(Debug)]
pub struct Options {
    /// Where the backups shall lie.
    pub store: Option<PathBuf>,
    /// A file that holds the store's file system.
    pub image: Option<PathBuf>,
    /// How large a new image shall be.
    pub size: Option<ByteSize>,
    /// The Unix user that owns the store.
    pub user: String,
}

/// Sets the server up.
///
/// # Errors
/// What must be changed by hand is a misuse (status 2) that says how.
pub fn run(options: &Options) -> Result<Status> {
    if !is_root() {
        bail!(Failure::misuse("setting up a server needs root; run it with sudo"));
    }
    let store = account::store_of(options)?;
    let account = account::make(&options.user, &store)?;
    if let Some(image) = &options.image {
        file_system::mount_image(image, options.size, &store)?;
    }
    file_system::check(&store)?;
    make_directories(&store, &account)?;
    let frozen = freeze_old_snapshots(&store)?;
    if frozen > 0 {
        done(format_args!("{frozen} snapshots of the former program are read-only now"));
    }
    account::check_login(&account)?;
    console::print(format_args!("The server is ready. On each client, as root, type:"));
    console::print(format_args!("  byteback-setup-client --destination {}@{}:", account.name, host_name()));
    Ok(Status::Done)
}

/// The store belongs to its user and is nobody else's business.
fn make_directories(store: &Path, account: &Account) -> Result<()> {
    let own = |path: &Path, mode: u32| -> Result<()> {
        let found = fs::symlink_metadata(path).with_context(|| format!("cannot stat {}", path.display()))?;
        if !found.is_dir() {
            bail!(Failure::misuse(format!("{} is not a directory; move it away", path.display())));
        }
        if (found.uid(), found.gid()) != (account.uid.as_raw(), account.gid.as_raw()) {
            chown(path, Some(account.uid.as_raw()), Some(account.gid.as_raw()))
                .with_context(|| format!("cannot chown {}", path.display()))?;
            done(format_args!("{} belongs to {}", path.display(), account.name));
        }
        if found.mode() & 0o7777 != mode {
            fs::set_permissions(path, fs::Permissions::from_mode(mode))
                .with_context(|| format!("cannot chmod {}", path.display()))?;
        }
        Ok(())
    };
    own(store, 0o750)?;
    for name in [".ssh", ".byteback"] {
        let path = store.join(name);
        if fs::symlink_metadata(&path).is_err() {
            DirBuilder::new()
                .mode(0o700)
                .create(&path)
                .with_context(|| format!("cannot make {}", path.display()))?;
            done(format_args!("{} made", path.display()));
        }
        own(&path, 0o700)?;
    }
    Ok(())
}

/// The former program's snapshots are writable, so a client's key could be used to change them.
fn freeze_old_snapshots(path: &Path) -> Result<usize> {
    let store = Store::open(path)?;
    let volume = store.volume();
    let mut frozen = 0;
    for client in volume.clients()? {
        for snapshot in volume.snapshots(&client)? {
            let tree = volume.open(&client, &Tree::Snapshot(snapshot.clone()))?;
            if !tree.read_only {
                ioctl::set_read_only(&tree.directory, true)
                    .with_context(|| format!("cannot make {client}/{snapshot} read-only"))?;
                frozen += 1;
            }
        }
    }
    Ok(frozen)
}

/// One line of what was done or found right.
fn done(line: impl std::fmt::Display) {
    console::say(format_args!("  {line}"));
}

/// The machine's own name, for the line that is typed on the clients.
fn host_name() -> String {
    nix::unistd::gethostname()
        .ok()
        .and_then(|name| name.into_string().ok())
        .unwrap_or_else(|| "SERVER".to_owned())
}
