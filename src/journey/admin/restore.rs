//! `byteback-admin restore`: files of a client that is no more, on the server itself.
//!
//! What a client sent is hostile, also here. It is read by the same confined rsync as for a restore over
//! ssh, as the store's user; and it is written, with its true owners and its setuid bits, only where
//! nobody but the administrator can reach it.

use std::ffi::OsString;
use std::fs;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use nix::unistd::Uid;

use crate::journey::restore::options::Manner;
use crate::journey::restore::{self, Action, Form, Goal, Restore, Scope};
use crate::journey::server::{self, Place};
use crate::model::span::Span;
use crate::model::{ClientName, Failure, Status, escaped};
use crate::system::identity;
use crate::system::ssh::Connection;

/// How long the confined rsync may be silent.
const IO_TIMEOUT: Span = Span::seconds(300);

/// Restore a client's files on this server
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Without --to, --stdout or --tar it lists what matches. Patterns are as for byteback-restore, and absolute.

Example:
  byteback-admin restore web1 --to /root/web1 /etc '/home/jo/**'")]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag that a person types")]
pub struct Options {
    /// Whose files
    #[arg(value_name = "CLIENT")]
    client: ClientName,
    /// Look in this snapshot, in `current`, or in all with '*' (default: all)
    #[arg(short, long, default_value = "*", hide_default_value = true)]
    snapshot: String,
    /// All versions that differ, not the newest of each file only
    #[arg(short, long)]
    all: bool,
    /// List every copy; when restoring, tell each name
    #[arg(short, long)]
    verbose: bool,
    /// Restore below this directory, which is made if it is missing
    #[arg(long, value_name = "DIR")]
    to: Option<PathBuf>,
    /// Write the one file that matches to stdout
    #[arg(long, conflicts_with_all = ["to", "tar", "dry_run", "verify", "json"])]
    stdout: bool,
    /// Write what matches to stdout, as a tar archive with true owners
    #[arg(long, conflicts_with_all = ["to", "dry_run", "verify", "json"])]
    tar: bool,
    #[command(flatten)]
    manner: Manner,
    /// Tell everything as lines of JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    place: Place,
    /// Which files
    #[arg(value_name = "PATTERN", required = true)]
    patterns: Vec<OsString>,
}

/// Lists or restores.
///
/// # Errors
/// As byteback-restore; and when others could reach the files (status 2).
pub fn run(options: &Options) -> Result<Status> {
    let store = server::store_path(&options.place)?;
    let store = fs::canonicalize(&store)
        .with_context(|| format!("cannot find the store {}; is its file system mounted?", store.display()))?;
    let json = options.json;
    let action = match goal(options) {
        None if options.manner.means_restore() => {
            bail!(Failure::misuse("say where to restore to: --to DIR, --stdout or --tar"))
        }
        None => Action::List(Form { json, null: false, snapshots: false }),
        Some(goal) => {
            if let Goal::Below(directory) = &goal {
                private(directory, &store)?;
            }
            Action::Restore(options.manner.fetch(goal, false, json))
        }
    };
    let asked = Restore {
        action,
        scope: Scope {
            snapshot: options.snapshot.clone(),
            at: None,
            all: options.all,
            deleted: false,
            verbose: options.verbose,
        },
        destination: None,
        ssh_key: None,
        host_key: None,
        io_timeout: IO_TIMEOUT,
        config_dir: PathBuf::from("/nonexistent"),
        patterns: options.patterns.iter().map(absolute).collect(),
    };
    restore::run_over(&asked, &Connection::here(gate_words(options, &store)?))
}

fn goal(options: &Options) -> Option<Goal> {
    let below = options.to.clone().map(Goal::Below);
    below.or(options.stdout.then_some(Goal::Stdout)).or(options.tar.then_some(Goal::Tar))
}

fn absolute(pattern: &OsString) -> OsString {
    let bytes = pattern.as_bytes();
    if bytes.starts_with(b"/") { pattern.clone() } else { OsString::from_vec([b"/", bytes].concat()) }
}

/// What a client sent may be a setuid program: others must not find it under the true owner's name.
fn private(directory: &Path, store: &Path) -> Result<()> {
    let directory = identity::working_directory()?.join(directory);
    let shown = escaped(directory.as_os_str().as_bytes());
    let standing = directory.ancestors().find_map(|above| fs::canonicalize(above).ok());
    if standing.is_some_and(|standing| standing.starts_with(store)) {
        bail!(Failure::misuse(format!("{shown} lies in the store; choose a directory elsewhere")));
    }
    match fs::symlink_metadata(&directory) {
        Err(_) => Ok(()), // it will be made with mode 0700
        // Not one bit for others than the owner.
        Ok(found)
            if found.is_dir()
                && found.uid() == Uid::effective().as_raw()
                && found.mode().trailing_zeros() >= 6 =>
        {
            Ok(())
        }
        Ok(_) => bail!(Failure::misuse(format!(
            "others can enter {shown}, and a client's files may be setuid programs; name a new directory, or chmod 700 it"
        ))),
    }
}

/// This program in ssh's place.
fn gate_words(options: &Options, store: &Path) -> Result<Vec<String>> {
    let own = std::env::current_exe().context("cannot find this program's own path")?;
    let config = identity::working_directory()?.join(&options.place.config);
    let text = |path: &Path| match path.to_str() {
        Some(text) if !text.chars().any(char::is_control) => Ok(text.to_owned()),
        _ => Err(Failure::misuse("the paths of program, store and configuration must be plain text")),
    };
    let client = options.client.to_string();
    let mut words = vec![text(&own)?, "gate".to_owned(), "--client".to_owned(), client];
    words.extend(["--store".to_owned(), text(store)?, "--config".to_owned(), text(&config)?]);
    Ok(words)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn a_directory_that_others_can_enter_or_that_is_the_store_is_no_place_for_a_clients_files() {
        let scratch = tempfile::tempdir().unwrap();
        let root = fs::canonicalize(scratch.path()).unwrap();
        let (store, to) = (root.join("store"), root.join("to"));
        fs::create_dir_all(store.join("web1")).unwrap();
        fs::create_dir(&to).unwrap();
        let mode = |mode| fs::set_permissions(&to, fs::Permissions::from_mode(mode)).unwrap();
        mode(0o700);
        private(&to, &store).unwrap();
        private(&root.join("new/deep"), &store).unwrap();
        for bad in [0o750, 0o711, 0o707] {
            mode(bad);
            assert!(private(&to, &store).unwrap_err().to_string().contains("others can enter"), "{bad:o}");
        }
        std::os::unix::fs::symlink(&store, root.join("link")).unwrap();
        for inside in [store.clone(), store.join("web1/new"), root.join("link/x/y")] {
            assert!(private(&inside, &store).unwrap_err().to_string().contains("lies in the store"));
        }
        std::os::unix::fs::symlink("/root", root.join("trap")).unwrap();
        assert!(private(&root.join("trap"), &store).is_err());
    }

    #[test]
    fn patterns_are_taken_from_the_root() {
        assert_eq!(absolute(&"etc/*".into()), "/etc/*");
        assert_eq!(absolute(&"/etc".into()), "/etc");
    }
}
