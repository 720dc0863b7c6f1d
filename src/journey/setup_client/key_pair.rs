//! The client's own key pair, `CONFIG/key` and `CONFIG/key.pub`. The private key is never overwritten.

use std::path::Path;

use anyhow::{Context, Result, bail};

use crate::model::{ClientName, Failure};
use crate::protocol::public_key::{PublicKey, PublicKeyError};
use crate::system::{files, process};

const SSH_KEYGEN: &str = "/usr/bin/ssh-keygen";

/// Makes what is missing of the pair and gives the public half.
pub(super) fn ensure(config: &Path, name: &ClientName) -> Result<PublicKey> {
    let (private, public) = (config.join("key"), config.join("key.pub"));
    if !private.exists() {
        if public.exists() {
            bail!(Failure::misuse(format!(
                "there is {} but no private key beside it; bring the key back or remove key.pub",
                public.display()
            )));
        }
        generate(config, name)?;
    }
    let derived = derive(&private)?;
    // A run that was cut short, or a copied key, can leave the halves apart; the private one counts.
    let key = parse(&derived)
        .map_err(|why| Failure::misuse(format!("{} is of no use here: {why}", private.display())))?;
    let old = files::read_optional(&public)?;
    if old.and_then(|old| parse(&old).ok()).as_ref() != Some(&key) {
        files::replace(&public, &derived, 0o644)?;
    }
    Ok(key)
}

/// Made under another name and renamed, so that half a key never stands there.
fn generate(config: &Path, name: &ClientName) -> Result<()> {
    let scratch = tempfile::Builder::new().prefix(".new-").tempdir_in(config).context("cannot make a key")?;
    let made = scratch.path().join("key");
    let mut command = process::command(SSH_KEYGEN);
    command.args(["-q", "-t", "ed25519", "-N", "", "-C", name.as_str(), "-f"]).arg(&made);
    process::run(&mut command).context("cannot make a key")?;
    let content = files::read_optional(&made)?.context("ssh-keygen made no key")?;
    files::replace(&config.join("key"), &content, 0o600)
}

/// The public half, told by the private one.
fn derive(private: &Path) -> Result<Vec<u8>> {
    let mut command = process::command(SSH_KEYGEN);
    // A key with a passphrase would ask for it, and nobody could type it at night.
    command.args(["-y", "-P", "", "-f"]).arg(private);
    process::run(&mut command).map_err(|error| {
        let key = private.display();
        Failure::misuse(format!("{key} cannot be used ({error:#}); it must be a key without a passphrase"))
            .into()
    })
}

fn parse(line: &[u8]) -> Result<PublicKey, PublicKeyError> {
    PublicKey::parse(String::from_utf8_lossy(line).trim_end())
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn name() -> ClientName {
        "web1".parse().unwrap()
    }

    #[test]
    fn a_key_is_made_once_and_never_overwritten() {
        let directory = tempfile::tempdir().unwrap();
        let first = ensure(directory.path(), &name()).unwrap();
        let private = fs::read(directory.path().join("key")).unwrap();
        assert_eq!(first.algorithm(), "ssh-ed25519");
        assert!(fs::read_to_string(directory.path().join("key.pub")).unwrap().contains("web1"));
        assert_eq!(ensure(directory.path(), &name()).unwrap(), first);
        assert_eq!(fs::read(directory.path().join("key")).unwrap(), private);
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 2, "nothing else is left");
    }

    #[test]
    fn a_pair_that_was_half_written_is_made_whole() {
        let directory = tempfile::tempdir().unwrap();
        let first = ensure(directory.path(), &name()).unwrap();
        let public = directory.path().join("key.pub");
        for broken in [None, Some(""), Some("ssh-ed25519 AAAA of-another-machine\n")] {
            fs::remove_file(&public).unwrap();
            if let Some(content) = broken {
                fs::write(&public, content).unwrap();
            }
            assert_eq!(ensure(directory.path(), &name()).unwrap(), first);
            assert_eq!(parse(&fs::read(&public).unwrap()).unwrap(), first);
        }
    }

    #[test]
    fn a_public_key_alone_is_not_replaced() {
        let directory = tempfile::tempdir().unwrap();
        fs::write(directory.path().join("key.pub"), "ssh-ed25519 AAAA").unwrap();
        let error = ensure(directory.path(), &name()).unwrap_err();
        assert!(error.to_string().contains("no private key beside it"));
    }
}
