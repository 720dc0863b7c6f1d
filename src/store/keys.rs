//! `STORE/.ssh/authorized_keys`: read whole, changed under a lock, replaced whole.

use std::fs::{self, DirBuilder};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::model::Failure;
use crate::protocol::authorized_keys::KeyFile;
use crate::system::files;
use crate::system::lock::{self, Lock, Locking};

const PATIENCE: Duration = Duration::from_secs(10);

/// The key file, locked against every other byteback program that wants to change it.
#[derive(Debug)]
pub struct Keys {
    path: PathBuf,
    content: KeyFile,
    _lock: Lock,
}

impl Keys {
    /// Locks and reads the key file of the store; a missing one is empty.
    ///
    /// # Errors
    /// When somebody else holds the lock for ten seconds, or the file cannot be read.
    pub fn lock(store: &Path, state: &Path) -> Result<Self> {
        let directory = store.join(".ssh");
        if !directory.is_dir() {
            DirBuilder::new()
                .mode(0o700)
                .create(&directory)
                .with_context(|| format!("cannot make {}", directory.display()))?;
        }
        let lock = match lock::wait_exclusive(&state.join("keys.lock"), PATIENCE)? {
            Locking::Held(lock) => lock,
            Locking::TakenBy(_) => bail!(Failure::busy("another enrolment is at work; try again")),
        };
        let path = directory.join("authorized_keys");
        // A key file that is a link elsewhere is the administrator's choice; it is replaced where it lies.
        let path = fs::canonicalize(&path).unwrap_or(path);
        let content = KeyFile::parse(&files::read_optional(&path)?.unwrap_or_default());
        Ok(Self { path, content, _lock: lock })
    }

    /// What it says.
    pub fn content(&self) -> &KeyFile {
        &self.content
    }

    /// Puts `bytes` in its place, mode 0600.
    ///
    /// # Errors
    /// When it cannot be written; the old file is then intact.
    pub fn replace(&self, bytes: &[u8]) -> Result<()> {
        files::replace(&self.path, bytes, 0o600)
    }
}
