//! The Unix user of the store: its home is the store, it has a shell for the forced command and no
//! password.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use super::Options;
use super::hands::Hands;
use crate::model::Failure;
use crate::system::account::{Account, by_name, fields};
use crate::system::process;

/// Where the backups lie when nobody says so.
const DEFAULT_STORE: &str = "/var/lib/byteback";
/// What `useradd -r` leaves in the password field, and `usermod -p` shall put there instead.
const NO_PASSWORD: &str = "*";

/// `--store`, or the home of a user that is there, or [`DEFAULT_STORE`].
pub(super) fn store_of(options: &Options) -> Result<PathBuf> {
    let store = match &options.store {
        Some(store) => store.clone(),
        None => by_name(&options.user)?.map_or_else(|| PathBuf::from(DEFAULT_STORE), |account| account.home),
    };
    if !store.is_absolute() {
        bail!(Failure::misuse(format!("the store {} must be an absolute path", store.display())));
    }
    Ok(store)
}

/// Whether the user is right, or could be made: looked at before anything is changed.
pub(super) fn check(name: &str, store: &Path) -> Result<()> {
    if let Some(account) = by_name(name)? {
        return check_home(&account, store);
    }
    let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b"_-".contains(&b);
    if !name.bytes().all(plain) || !name.starts_with(|c: char| c.is_ascii_lowercase()) || name.len() > 31 {
        bail!(Failure::misuse(format!("{name:?} cannot be a Unix user's name")));
    }
    Ok(())
}

/// The user, made if it is missing; `None` when it is missing and nothing may be changed.
pub(super) fn make(hands: &Hands, name: &str, store: &Path) -> Result<Option<Account>> {
    if let Some(account) = by_name(name)? {
        return Ok(Some(account));
    }
    let home = store.to_str().context("the store's path is not UTF-8")?;
    hands.act(format_args!("make the user {name}, with the home {home} and without a password"), || {
        run_as_admin(
            "useradd",
            &["--system", "--user-group", "--no-create-home", "--shell", "/bin/sh", "--home-dir", home, name],
        )?;
        run_as_admin("usermod", &["--password", NO_PASSWORD, name])
    })?;
    let made = by_name(name)?;
    if made.is_none() && !hands.only_look() {
        bail!("the user {name} was made and is not there");
    }
    Ok(made)
}

fn check_home(account: &Account, store: &Path) -> Result<()> {
    if account.uid.is_root() {
        bail!(Failure::misuse("the store's user must not be root; name another with --user"));
    }
    if account.home != store {
        bail!(Failure::misuse(format!(
            "the user {} has the home {}, not {}; use --store {} or another --user",
            account.name,
            account.home.display(),
            store.display(),
            account.home.display()
        )));
    }
    Ok(())
}

fn run_as_admin(program: &str, words: &[&str]) -> Result<()> {
    let candidates = [format!("/usr/sbin/{program}"), format!("/sbin/{program}")];
    let candidates: Vec<&str> = candidates.iter().map(String::as_str).collect();
    let path = process::find_program(&candidates).with_context(|| {
        Failure::failed(format!("{program} is not installed; run apt-get install passwd"))
    })?;
    process::run(process::command(path).args(words)).map(|_| ())
}

/// Says when sshd would not let the user in, and what helps (passwd(5), shadow(5), sshd_config(5)).
pub(super) fn check_login(hands: &Hands, account: &Account) -> Result<()> {
    let name = &account.name;
    let passwd = fields("passwd", name)?.unwrap_or_default();
    let shell = passwd.get(6).map_or("", String::as_str);
    if shell.ends_with("/nologin") || shell.ends_with("/false") {
        bail!(Failure::misuse(format!(
            "{name} cannot log in, its shell is {shell}, and sshd runs the gate through the shell; run usermod -s /bin/sh {name}"
        )));
    }
    let shadow = fields("shadow", name)?.unwrap_or_default();
    let locked = shadow.get(1).is_some_and(|password| password.starts_with('!'));
    if locked {
        hands.say(format_args!(
            "WARNING: the password of {name} is locked, and an sshd without PAM refuses keys then; \
             run usermod -p '{NO_PASSWORD}' {name} (no password, keys only)"
        ));
    }
    Ok(())
}
