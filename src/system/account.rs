//! Unix users: who this process is, and where the store's user lives.

use std::path::PathBuf;

use anyhow::{Context, Result};
use nix::unistd::{Gid, Group, Uid, User, initgroups, setgid, setuid};

use super::process;

/// A user of this machine.
#[derive(Debug, Clone)]
pub struct Account {
    /// The login name.
    pub name: String,
    /// Its number.
    pub uid: Uid,
    /// Its main group.
    pub gid: Gid,
    /// Its home directory, by default the store.
    pub home: PathBuf,
}

impl From<User> for Account {
    fn from(user: User) -> Self {
        Self { name: user.name, uid: user.uid, gid: user.gid, home: user.dir }
    }
}

/// The user of this name; `None` if there is none.
///
/// # Errors
/// When the user database cannot be read.
pub fn by_name(name: &str) -> Result<Option<Account>> {
    let found = User::from_name(name).with_context(|| format!("cannot look up the user {name}"))?;
    Ok(found.map(Account::from))
}

/// The user with this number; `None` if there is none.
///
/// # Errors
/// When the user database cannot be read.
pub fn by_uid(uid: u32) -> Result<Option<Account>> {
    let found = User::from_uid(Uid::from_raw(uid)).with_context(|| format!("cannot look up user {uid}"))?;
    Ok(found.map(Account::from))
}

/// The number of the group of this name; `None` if there is none, or the database cannot be read.
pub fn group_number(name: &str) -> Option<u32> {
    Some(Group::from_name(name).ok()??.gid.as_raw())
}

/// The user that this process acts as.
///
/// # Errors
/// When it has no entry in the user database.
pub fn own() -> Result<Account> {
    by_uid(Uid::effective().as_raw())?.context("this process runs as a user without an entry in /etc/passwd")
}

/// The fields of a user's line in the database `passwd` or `shadow` (passwd(5), shadow(5)), as getent(1)
/// finds it; `None` where there is none or this user may not see it. Of `shadow` no other user's line
/// ever comes into this process.
///
/// # Errors
/// When getent cannot be started.
pub fn fields(database: &str, name: &str) -> Result<Option<Vec<String>>> {
    let getent =
        process::find_program(&["/usr/bin/getent", "/bin/getent"]).context("getent(1) is not installed")?;
    let output = process::output(process::command(getent).args([database, name]))?;
    let text = String::from_utf8_lossy(&output.stdout);
    let fields = |line: &str| line.split(':').map(str::to_owned).collect::<Vec<_>>();
    Ok(text.lines().map(fields).find(|fields| fields[0] == name))
}

/// Whether this process is root.
pub fn is_root() -> bool {
    Uid::effective().is_root()
}

/// Stops being root for good: from here on this process is `account` and nobody else.
///
/// # Errors
/// When the kernel refuses one of the steps.
pub fn become_account(account: &Account) -> Result<()> {
    let name = std::ffi::CString::new(account.name.as_str()).context("a user's name with a NUL byte")?;
    initgroups(&name, account.gid)
        .and_then(|()| setgid(account.gid))
        .and_then(|()| setuid(account.uid))
        .with_context(|| format!("cannot become user {}", account.name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_is_found_in_the_database_and_nobody_else() {
        let root = fields("passwd", "root").unwrap().unwrap();
        assert_eq!((root[0].as_str(), root[2].as_str()), ("root", "0"));
        assert_eq!(fields("passwd", "no-such-user").unwrap(), None);
    }
}
