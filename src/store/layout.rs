//! What lies where below the store:
//!
//! ```text
//! STORE/.ssh/authorized_keys            who may come (keys.rs)
//! STORE/.byteback/log                   verdicts, where no syslog listens
//! STORE/.byteback/prune.lock            one pruner at a time
//! STORE/.byteback/rsync.json            what the installed rsync can do (rsync_facts.rs)
//! STORE/.byteback/noted.json, noted.lock  what was logged once (noted.rs)
//! STORE/.byteback/awaited               destroyed snapshots whose space was not back in time (btrfs/discard.rs)
//! STORE/.byteback/ballast/              room for the day when there is none (ballast.rs)
//! STORE/.byteback/keys.lock             one enrolment at a time
//! STORE/.byteback/restores/N            one restore each, max_restores of them
//! STORE/.byteback/clients/NAME/lock     one writer per client
//! STORE/.byteback/clients/NAME/records.lock  who changes runs.json or holds.json (records.rs)
//! STORE/.byteback/clients/NAME/push.json  how the last push ended
//! STORE/.byteback/clients/NAME/receipt.json  what its last completed push was given
//! STORE/.byteback/clients/NAME/runs.json  how much new data each run brought
//! STORE/.byteback/clients/NAME/holds.json  what must be kept
//! STORE/.byteback/clients/NAME/wanted.json  which snapshots only a reader keeps from going (readers.rs)
//! STORE/.byteback/clients/NAME/verdicts  how many verdicts this minute had (verdicts.rs)
//! STORE/NAME/current, STORE/NAME/<snapshot>
//! ```

use std::fs::{self, DirBuilder};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};
use jiff::Timestamp;
use serde::de::DeserializeOwned;

use super::ballast::Ballast;
use super::btrfs::Btrfs;
use super::verdicts::{self, Folded, Verdict};
use super::volume::Volume;
use crate::model::hold::Holds;
use crate::model::receipt::Receipt;
use crate::model::run::Push;
use crate::model::run_log::RunLog;
use crate::model::{ClientName, Failure};
use crate::system::files;
use crate::system::lock::{self, Lock, Locking};

const RECEIPT: &str = "receipt.json";

/// A store, open.
pub struct Store {
    path: PathBuf,
    volume: Box<dyn Volume>,
}

/// What the server remembers of one client, below `.byteback/clients/NAME`.
#[derive(Debug, Clone)]
pub struct ClientState {
    pub(super) directory: PathBuf,
}

impl Store {
    /// Opens the store at `path`; its state directory is made if it is not there.
    ///
    /// # Errors
    /// When the path is no directory or the state directory cannot be made.
    pub fn open(path: &Path) -> Result<Self> {
        let volume = Btrfs::open(path)
            .context(Failure::failed("the store is missing; is its file system mounted?"))?;
        Ok(Self { path: path.to_owned(), volume: Box::new(volume) })
    }

    /// Where it lies.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Its backend.
    pub fn volume(&self) -> &dyn Volume {
        self.volume.as_ref()
    }

    /// The room that is kept back.
    pub fn ballast(&self) -> Ballast {
        Ballast::of(&self.path)
    }

    /// The server's own state directory, mode 0700.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn state_directory(&self) -> Result<PathBuf> {
        let directory = self.path.join(".byteback");
        make_private_directory(&directory)?;
        Ok(directory)
    }

    /// What is remembered of a client; its directory is made if it is not there.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn client_state(&self, client: &ClientName) -> Result<ClientState> {
        let directory = self.path.join(".byteback/clients").join(client.as_str());
        make_private_directory(&directory)?;
        Ok(ClientState { directory })
    }
}

impl Store {
    /// One of the places for restores, of which there are `most`; `None` when all are taken.
    ///
    /// # Errors
    /// When a lock file cannot be opened.
    pub fn lock_restore_place(&self, most: u32) -> Result<Option<Lock>> {
        lock_place(&self.state_directory()?.join("restores"), most)
    }
}

impl ClientState {
    /// Takes the right to write the client's `current`, waiting for at most `patience`.
    ///
    /// # Errors
    /// When the lock file cannot be opened.
    pub fn lock_writer(&self, patience: Duration) -> Result<Locking> {
        lock::wait_exclusive(&self.directory.join("lock"), patience)
    }

    /// How the last push began and ended; `None` before the first one.
    ///
    /// # Errors
    /// When the record cannot be read or is damaged.
    pub fn last_push(&self) -> Result<Option<Push>> {
        let path = self.push_path();
        let Some(bytes) = files::read_optional(&path)? else { return Ok(None) };
        serde_json::from_slice(&bytes).map(Some).with_context(|| {
            format!("{} is damaged; remove it and have the client back up again", path.display())
        })
    }

    /// Remembers a push.
    ///
    /// # Errors
    /// When it cannot be written; the record before it is then intact.
    pub fn remember_push(&self, push: &Push) -> Result<()> {
        files::replace(&self.push_path(), &serde_json::to_vec(push)?, 0o600)
    }

    /// Remembers a push that is about to begin. The disk is not waited for: the caller remembers it anew,
    /// durably, as soon as rsync runs.
    ///
    /// # Errors
    /// When it cannot be written; the push must then not begin.
    pub fn announce_push(&self, push: &Push) -> Result<()> {
        files::replace_for_now(&self.push_path(), &serde_json::to_vec(push)?, 0o600)
    }

    /// What the last completed push was given. A record that is damaged counts as none: it costs a full run.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn receipt(&self) -> Result<Receipt> {
        let bytes = files::read_optional(&self.directory.join(RECEIPT))?;
        Ok(bytes.and_then(|bytes| serde_json::from_slice(&bytes).ok()).unwrap_or_default())
    }

    /// Remembers a receipt, durably.
    ///
    /// # Errors
    /// When it cannot be written; the one before is then intact.
    pub fn remember_receipt(&self, receipt: &Receipt) -> Result<()> {
        files::replace(&self.directory.join(RECEIPT), &serde_json::to_vec(receipt)?, 0o600)
    }

    /// What the client's runs brought; empty before the first one.
    ///
    /// # Errors
    /// When the log cannot be read or is damaged.
    pub fn runs(&self) -> Result<RunLog> {
        self.recall("runs.json", "move it away to begin a new one")
    }

    /// Remembers what the runs brought.
    ///
    /// # Errors
    /// When it cannot be written; the log before it is then intact.
    pub fn remember_runs(&self, runs: &RunLog) -> Result<()> {
        files::replace(&self.directory.join("runs.json"), &serde_json::to_vec(runs)?, 0o600)
    }

    /// What of the client must be kept; nothing, where nobody said so.
    ///
    /// # Errors
    /// When the holds cannot be read or are damaged; then everything must be kept.
    pub fn holds(&self) -> Result<Holds> {
        self.recall("holds.json", "mend it, or move it away and hold again what must be kept")
    }

    /// Remembers what must be kept.
    ///
    /// # Errors
    /// When it cannot be written; the holds before are then intact.
    pub fn remember_holds(&self, holds: &Holds) -> Result<()> {
        files::replace(&self.directory.join("holds.json"), &serde_json::to_vec(holds)?, 0o600)
    }

    fn recall<T: DeserializeOwned + Default>(&self, name: &str, advice: &str) -> Result<T> {
        let path = self.directory.join(name);
        let Some(bytes) = files::read_optional(&path)? else { return Ok(T::default()) };
        serde_json::from_slice(&bytes).with_context(|| format!("{} is damaged; {advice}", path.display()))
    }

    /// Counts a verdict about the client; says what of it is logged.
    ///
    /// # Errors
    /// When the count cannot be written.
    pub fn count_verdict(&self, now: Timestamp, verdict: Verdict) -> Result<Folded> {
        verdicts::count(&self.directory.join("verdicts"), now, verdict)
    }

    /// One of the places that this client has for searches and restores, of which there are `most`.
    ///
    /// # Errors
    /// When the directory of the lock files cannot be made.
    pub fn lock_place(&self, most: u32) -> Result<Option<Lock>> {
        lock_place(&self.directory.join("restores"), most)
    }

    fn push_path(&self) -> PathBuf {
        self.directory.join("push.json")
    }
}

/// A place whose lock cannot be opened is passed over: the others are as good.
fn lock_place(directory: &Path, most: u32) -> Result<Option<Lock>> {
    make_private_directory(directory)?;
    let places = (1..=most).map(|number| lock::try_exclusive(&directory.join(number.to_string())));
    Ok(places.flatten().find_map(|outcome| match outcome {
        Locking::Held(lock) => Some(lock),
        Locking::TakenBy(_) => None,
    }))
}

fn make_private_directory(path: &Path) -> Result<()> {
    if fs::symlink_metadata(path).is_ok_and(|found| found.is_dir()) {
        return Ok(());
    }
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)
        .with_context(|| format!("cannot make {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_push_is_remembered_and_a_damaged_record_is_an_error() {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(directory.path()).unwrap();
        let state = store.client_state(&"web1".parse().unwrap()).unwrap();
        assert_eq!(state.last_push().unwrap(), None);
        let push =
            Push { status: Some(0), ..Push::begin(Timestamp::UNIX_EPOCH, Some("::1".to_owned()), None) };
        state.remember_push(&push).unwrap();
        assert_eq!(state.last_push().unwrap(), Some(push));
        fs::write(state.push_path(), "{").unwrap();
        assert!(format!("{:#}", state.last_push().unwrap_err()).contains("push.json"));
    }

    #[test]
    fn runs_and_holds_are_remembered_and_damaged_ones_are_an_error() {
        let directory = tempfile::tempdir().unwrap();
        let state = Store::open(directory.path()).unwrap().client_state(&"web1".parse().unwrap()).unwrap();
        assert_eq!((state.runs().unwrap(), state.holds().unwrap()), (RunLog::default(), Holds::default()));
        let mut runs = RunLog::default();
        runs.accept(Timestamp::UNIX_EPOCH);
        state.remember_runs(&runs).unwrap();
        state.remember_holds(&Holds::default()).unwrap();
        assert_eq!((state.runs().unwrap(), state.holds().unwrap()), (runs, Holds::default()));
        for (name, error) in [("runs.json", 0), ("holds.json", 1)] {
            fs::write(state.directory.join(name), "{\"schema\":").unwrap();
            let told = [state.runs().err(), state.holds().err()][error].take().unwrap();
            assert!(format!("{told:#}").contains(name), "{told:#}");
        }
    }

    #[test]
    fn a_client_has_one_writer() {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(directory.path()).unwrap();
        let state = store.client_state(&"web1".parse().unwrap()).unwrap();
        let first = state.lock_writer(Duration::ZERO).unwrap();
        assert!(matches!(first, Locking::Held(_)));
        assert!(matches!(state.lock_writer(Duration::ZERO).unwrap(), Locking::TakenBy(_)));
    }
}
