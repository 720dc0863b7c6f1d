//! The server's host key on a machine that has nothing: compared with a fingerprint that somebody
//! brought, or shown to a person who knows it. Nothing is sent to a server before that.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use tempfile::TempDir;

use crate::journey::setup_client::host_key::lines_for;
use crate::model::{Failure, escaped};
use crate::protocol::public_key::PublicKey;
use crate::system::ssh::{self, Login};
use crate::system::{console, files};

/// Has the login take the right host key alone. The directory, if there is one, must live as long as the
/// connection: the key stands in it.
///
/// # Errors
/// When the key is another one, nobody can be asked about it, or the server does not answer.
pub(super) fn settle(login: &mut Login, fingerprint: Option<&str>) -> Result<Option<TempDir>> {
    if fingerprint.is_none() && is_known(login)? {
        return Ok(None);
    }
    let host = login.destination.known_hosts_name();
    if fingerprint.is_none() && !console::can_ask() {
        bail!(Failure::misuse(format!(
            "the host key of {host} is not known here, and nobody is here to be asked; give --host-key SHA256:…, \
             which ssh-keygen -l -f /etc/ssh/ssh_host_ed25519_key.pub prints on the server"
        )));
    }
    let directory =
        tempfile::Builder::new().prefix("byteback-").tempdir().context("cannot make a directory")?;
    let file = directory.path().join("known_hosts");
    ssh::fetch_host_key(login, &file)?;
    let (key, found) = offered(&file)?;
    match fingerprint {
        Some(wanted) if is_same(wanted, &found) => {}
        Some(wanted) => bail!(Failure::refused(format!(
            "the host key of {host} is {found} and not {}, so this may be another machine; ask the server's administrator",
            escaped(wanted.as_bytes())
        ))),
        None => ask(&host, &key, &found)?,
    }
    login.known_hosts = Some(file);
    Ok(Some(directory))
}

/// Whether a pinned file or one of ssh's own knows the host.
fn is_known(login: &Login) -> Result<bool> {
    if login.known_hosts.as_deref().is_some_and(Path::exists) {
        return Ok(true);
    }
    let lookup = ssh::host_key_lookup(login)?;
    let files: Vec<&PathBuf> = lookup.user_files.iter().chain(&lookup.system_files).collect();
    for file in files {
        if !lines_for(&lookup.name, file)?.is_empty() {
            return Ok(true);
        }
    }
    Ok(false)
}

/// The key that ssh wrote down, and its fingerprint.
fn offered(file: &Path) -> Result<(String, String)> {
    let content = files::read_optional(file)?.unwrap_or_default();
    let text = String::from_utf8_lossy(&content);
    let mut keys = text.lines().filter_map(|line| line.split_once(' ')?.1.parse::<PublicKey>().ok());
    let key = keys.next().context(Failure::failed("the server offered no host key that is understood"))?;
    Ok((key.algorithm().to_owned(), key.fingerprint()))
}

fn is_same(wanted: &str, found: &str) -> bool {
    let bare = |text: &str| text.trim().trim_start_matches("SHA256:").trim_end_matches('=').to_owned();
    bare(wanted) == bare(found)
}

fn ask(host: &str, key: &str, fingerprint: &str) -> Result<()> {
    console::say(format_args!("{host} has the host key {fingerprint} ({key}), which is not known here."));
    if console::confirm("Is that the backup server's? [yes/no]")? {
        console::say(format_args!("next time, --host-key {fingerprint} answers this"));
        return Ok(());
    }
    bail!(Failure::refused(format!("the host key of {host} was not accepted")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fingerprint_is_the_same_in_each_spelling_and_no_other_is() {
        assert!(is_same("SHA256:abc", "SHA256:abc") && is_same("abc=", "SHA256:abc"));
        assert!(!is_same("SHA256:abd", "SHA256:abc") && !is_same("", "SHA256:abc"));
        assert!(!is_same("SHA256:ABC", "SHA256:abc"));
    }

    #[test]
    fn the_key_that_ssh_wrote_down_is_read_with_its_fingerprint() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("known_hosts");
        let key = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIM94et2jwUVZWxvrGnZVvgs4IpEPtg8MBO3TYdb/xqhE";
        std::fs::write(&file, format!("[h]:2222 {key}\n")).unwrap();
        let (kind, fingerprint) = offered(&file).unwrap();
        assert_eq!(
            (kind.as_str(), fingerprint),
            ("ssh-ed25519", key.parse::<PublicKey>().unwrap().fingerprint())
        );
        std::fs::write(&file, "").unwrap();
        assert!(offered(&file).is_err());
    }
}
