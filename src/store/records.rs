//! Changing what is remembered of a client: read, changed and written under a lock, since the pruner and an
//! administrator may do so at the same time.

use std::fs;
use std::io;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use super::ClientState;
use crate::model::Failure;
use crate::model::hold::Holds;
use crate::model::run_log::RunLog;
use crate::system::lock::{self, Lock, Locking};

/// Far longer than it takes to write a small file.
const PATIENCE: Duration = Duration::from_secs(10);

impl ClientState {
    /// Changes the run log.
    ///
    /// # Errors
    /// When it is damaged or cannot be written; it is as it was then.
    pub fn change_runs(&self, change: impl FnOnce(&mut RunLog)) -> Result<RunLog> {
        let _lock = self.lock_records()?;
        let mut log = self.runs()?;
        change(&mut log);
        self.remember_runs(&log)?;
        Ok(log)
    }

    /// Changes the holds.
    ///
    /// # Errors
    /// As for [`ClientState::change_runs`].
    pub fn change_holds(&self, change: impl FnOnce(&mut Holds)) -> Result<Holds> {
        let _lock = self.lock_records()?;
        let mut holds = self.holds()?;
        change(&mut holds);
        self.remember_holds(&holds)?;
        Ok(holds)
    }

    /// Forgets the last push: the tree is no longer what it made of it. The caller holds the writer's lock.
    ///
    /// # Errors
    /// When the record cannot be removed.
    pub fn forget_push(&self) -> Result<()> {
        let path = self.directory.join("push.json");
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(error).with_context(|| format!("cannot remove {}", path.display()))
            }
            _ => Ok(()),
        }
    }

    fn lock_records(&self) -> Result<Lock> {
        match lock::wait_exclusive(&self.directory.join("records.lock"), PATIENCE)? {
            Locking::Held(lock) => Ok(lock),
            Locking::TakenBy(_) => bail!(Failure::busy(format!(
                "somebody else changes the records in {}; try again",
                self.directory.display()
            ))),
        }
    }
}
