//! Making a server out of a machine, or checking what an earlier run made of it: the Unix user, the
//! store and its file system, `.ssh` and `.byteback`.
//!
//! Each step looks first and changes only what is missing, so it can be run again at any time. It
//! never removes anything and never touches what a client sent, but for one thing: snapshots that the
//! former program left writable become read-only.

mod account;
mod file_system;

use std::fs::{self, DirBuilder, OpenOptions};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt, chown};
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
    account::check(&options.user, &store)?;
    if let Some(image) = &options.image {
        file_system::mount_image(image, options.size, &store)?;
    }
    file_system::check(&store)?;
    let account = account::make(&options.user, &store)?;
    make_directories(&store, &account)?;
    let frozen = freeze_old_snapshots(&store)?;
    if frozen > 0 {
        done(format_args!("{frozen} snapshots of the former program are read-only now"));
    }
    account::check_login(&account)?;
    say_what_comes_next(&store, &account);
    Ok(Status::Done)
}

/// Nobody can log in to a new account yet, so the way in is said as well.
fn say_what_comes_next(store: &Path, account: &Account) {
    let keys = store.join(".ssh/authorized_keys");
    console::print(
        "The server is ready. Each client logs in once with a key of yours to be enrolled; let it in with:",
    );
    console::print(format_args!(
        "  install -o {0} -g {0} -m 600 YOUR_KEY.pub {1}",
        account.name,
        keys.display()
    ));
    console::print("and on each client, as root, type:");
    console::print(format_args!(
        "  byteback-setup-client --destination {}@{}: --admin-key YOUR_KEY",
        account.name,
        host_name()
    ));
}

/// The store belongs to its user and is nobody else's business.
fn make_directories(store: &Path, account: &Account) -> Result<()> {
    let own = |path: &Path, mode: u32| -> Result<()> {
        let found = fs::symlink_metadata(path).with_context(|| format!("cannot stat {}", path.display()))?;
        if !found.is_dir() {
            bail!(Failure::misuse(format!("{} is not a directory; move it away", path.display())));
        }
        if found.uid() != 0 && found.uid() != account.uid.as_raw() {
            bail!(Failure::misuse(format!(
                "{} belongs to user {} already, not to {}; name that user with --user",
                path.display(),
                found.uid(),
                account.name
            )));
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
    make_key_file(&store.join(".ssh/authorized_keys"), account)
}

/// An empty key file with the right owner and mode, so that `cat >>` is all that an administrator needs.
fn make_key_file(path: &Path, account: &Account) -> Result<()> {
    if fs::symlink_metadata(path).is_ok() {
        return Ok(());
    }
    let make = || -> std::io::Result<()> {
        OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
        chown(path, Some(account.uid.as_raw()), Some(account.gid.as_raw()))
    };
    make().with_context(|| format!("cannot make {}", path.display()))
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
