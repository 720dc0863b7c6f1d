//! Making a server out of a machine, or checking what an earlier run made of it: the Unix user, the
//! store and its file system, `.ssh` and `.byteback`.
//!
//! Each step looks first and changes only what is missing, so it can be run again at any time. It
//! never removes anything and never touches what a client sent, but for one thing: snapshots that the
//! former program left writable become read-only.

mod account;
mod drop_in;
mod file_system;
mod hands;
mod quotas;

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt, fchown};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use nix::libc;

use super::admin::check;
use super::server::{self, Place};
use crate::model::{ByteSize, Failure, Soundness, Tree};
use crate::store::{Store, rsync_facts};
use crate::system::account::{Account, become_account, is_root};
use crate::system::{console, ioctl, sshd};
use hands::Hands;

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
    /// The server's configuration, which names the rsync.
    pub config: PathBuf,
    /// Leave it to sshd's other settings whether the user may come in by a password.
    pub allow_passwords: bool,
    /// Turn simple quotas on.
    pub quotas: bool,
    /// Change nothing, say what is to do and what is not sound.
    pub check: bool,
}

/// Sets the server up, or with `check` says what that would do. Only a check can end with less than
/// [`Soundness::Ok`].
///
/// # Errors
/// What must be changed by hand is a misuse (status 2) that says how.
pub fn run(options: &Options) -> Result<Soundness> {
    if !is_root() {
        bail!(Failure::misuse("setting up a server needs root; run it with sudo"));
    }
    let hands = Hands::new(options.check);
    let store = account::store_of(options)?;
    let account = set_up(options, &hands, &store)?;
    match account {
        Some(account) if !options.check => {
            say_what_comes_next(&store, &account);
            Ok(Soundness::Ok)
        }
        Some(_) => judge(options, &hands, &store),
        None => Ok(Soundness::Weak), // what comes next cannot be known before the first steps are done
    }
}

/// All steps; `None` when a check cannot look at what comes after a step that is to do.
fn set_up(options: &Options, hands: &Hands, store: &Path) -> Result<Option<Account>> {
    // A broken configuration is a finding of a check, and stops a run before it changes anything.
    let config = server::read_config(&options.config);
    let config = if options.check { config.unwrap_or_default() } else { config? };
    account::check(&options.user, store)?;
    if let Some(image) = &options.image
        && !file_system::mount_image(hands, image, options.size, store)?
    {
        account::make(hands, &options.user, store)?;
        return Ok(None);
    }
    file_system::check(hands, store)?;
    if options.quotas {
        quotas::enable(hands, store)?;
    }
    let Some(account) = account::make(hands, &options.user, store)? else { return Ok(None) };
    make_directories(hands, store, &account)?;
    freeze_old_snapshots(hands, store)?;
    account::check_login(hands, &account).or_else(|error| if options.check { Ok(()) } else { Err(error) })?;
    drop_in::write(hands, &account.name, options.allow_passwords)?;
    remember_rsync(hands, store, &account, &config.rsync)?;
    Ok(Some(account))
}

/// The same checks as `byteback-admin check`; what is to do makes a sound server weak.
fn judge(options: &Options, hands: &Hands, store: &Path) -> Result<Soundness> {
    let place = Place { store: Some(store.to_owned()), config: options.config.clone() };
    let found = check::tell(&check::findings(&place, Path::new(sshd::CONFIG), false)?);
    Ok(if hands.to_do() > 0 { found.max(Soundness::Weak) } else { found })
}

/// What the gate wants to know of rsync. It is written by the store's user, so this is the last step:
/// this process is not root afterwards.
fn remember_rsync(hands: &Hands, store: &Path, account: &Account, rsync: &Path) -> Result<()> {
    let state = store.join(".byteback");
    if rsync_facts::facts(&state, rsync).is_some() {
        return Ok(());
    }
    if !rsync.exists() {
        hands.say(format_args!("WARNING: {} is not there; run apt-get install rsync", rsync.display()));
        return Ok(());
    }
    hands.act(format_args!("remember what {} can do", rsync.display()), || {
        become_account(account)?;
        rsync_facts::remember(&state, &rsync_facts::probe(rsync)?)
    })
}

/// Nobody can log in to a new account yet, so the way in is said as well.
fn say_what_comes_next(store: &Path, account: &Account) {
    let keys = store.join(".ssh/authorized_keys");
    console::print(
        "The server is ready. Each client logs in once with a key of yours to be enrolled; let it in with:",
    );
    console::print(format_args!("  cat YOUR_KEY.pub >> {}", keys.display()));
    console::print("and on each client, as root, type:");
    console::print(format_args!(
        "  byteback-setup-client --destination {}@{}: --admin-key YOUR_KEY",
        account.name,
        host_name()
    ));
}

/// The store belongs to its user and is nobody else's business.
fn make_directories(hands: &Hands, store: &Path, account: &Account) -> Result<()> {
    own(hands, store, account, 0o750)?;
    for name in [".ssh", ".byteback"] {
        let path = store.join(name);
        if fs::symlink_metadata(&path).is_err() {
            hands.act(format_args!("make {}", path.display()), || {
                DirBuilder::new()
                    .mode(0o700)
                    .create(&path)
                    .with_context(|| format!("cannot make {}", path.display()))
            })?;
        }
        if path.exists() {
            own(hands, &path, account, 0o700)?;
        }
    }
    make_key_file(hands, &store.join(".ssh/authorized_keys"), account)
}

/// Gives a directory its owner and mode.
fn own(hands: &Hands, path: &Path, account: &Account, mode: u32) -> Result<()> {
    let found = fs::symlink_metadata(path).with_context(|| format!("cannot stat {}", path.display()))?;
    if !found.is_dir() {
        bail!(Failure::misuse(format!("{} is not a directory; move it away", path.display())));
    }
    let (uid, gid) = (account.uid.as_raw(), account.gid.as_raw());
    if found.uid() != 0 && found.uid() != uid {
        bail!(Failure::misuse(format!(
            "{} belongs to user {} already, not to {}; name that user with --user",
            path.display(),
            found.uid(),
            account.name
        )));
    }
    if (found.uid(), found.gid()) != (uid, gid) {
        hands.act(format_args!("give {} to {}", path.display(), account.name), || {
            let opened = open_directory(path)?;
            fchown(&opened, Some(uid), Some(gid)).with_context(|| format!("cannot chown {}", path.display()))
        })?;
    }
    if found.mode() & 0o7777 != mode {
        hands.act(format_args!("give {} the mode {mode:o}", path.display()), || {
            open_directory(path)?
                .set_permissions(fs::Permissions::from_mode(mode))
                .with_context(|| format!("cannot chmod {}", path.display()))
        })?;
    }
    Ok(())
}

/// The store's user may put a link where a directory was; what is changed here is what was opened.
fn open_directory(path: &Path) -> Result<File> {
    OpenOptions::new()
        .read(true)
        .custom_flags(libc::O_DIRECTORY | libc::O_NOFOLLOW)
        .open(path)
        .with_context(|| format!("cannot open {}", path.display()))
}

/// An empty key file with the right owner and mode, so that `cat >>` is all that an administrator needs.
fn make_key_file(hands: &Hands, path: &Path, account: &Account) -> Result<()> {
    if fs::symlink_metadata(path).is_ok() {
        return Ok(());
    }
    let make = || -> std::io::Result<()> {
        let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
        fchown(&file, Some(account.uid.as_raw()), Some(account.gid.as_raw()))
    };
    hands.act(format_args!("make {}", path.display()), || {
        make().with_context(|| format!("cannot make {}", path.display()))
    })
}

/// The former program's snapshots are writable, so a client's key could be used to change them.
fn freeze_old_snapshots(hands: &Hands, path: &Path) -> Result<()> {
    let store = Store::open(path)?;
    let volume = store.volume();
    let mut writable = Vec::new();
    for client in volume.clients()? {
        for snapshot in volume.snapshots(&client)? {
            let tree = volume.open(&client, &Tree::Snapshot(snapshot.clone()))?;
            if !tree.read_only {
                writable.push((format!("{client}/{snapshot}"), tree.directory));
            }
        }
    }
    if writable.is_empty() {
        return Ok(());
    }
    hands.act(format_args!("make {} snapshots of the former program read-only", writable.len()), || {
        writable.iter().try_for_each(|(name, directory)| {
            ioctl::set_read_only(directory, true).with_context(|| format!("cannot make {name} read-only"))
        })
    })
}

/// The machine's own name, for the line that is typed on the clients.
fn host_name() -> String {
    nix::unistd::gethostname()
        .ok()
        .and_then(|name| name.into_string().ok())
        .unwrap_or_else(|| "SERVER".to_owned())
}
