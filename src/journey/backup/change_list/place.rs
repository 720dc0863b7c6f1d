//! Where a client keeps what it knows of one destination, below `--state-dir`:
//!
//! ```text
//! ID/index                       what the walk before the last completed run saw (index.rs)
//! ID/run.json                    which receipt that index belongs to; written last, so that it seals
//! ID/list                        the names that rsync is given at the moment
//! ID/canary/~byteback/canary     the token of the last run
//! ```
//!
//! None of it is backed up, and all of it may be deleted: the next run is a full one then.

use std::fs::DirBuilder;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::index::hex;
use crate::protocol::answer::CANARY;
use crate::system::files;

/// What binds an index to what the server has.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Seal {
    /// The version of this form: 1.
    pub(super) schema: u32,
    /// The checksum of the index.
    pub(super) index: String,
    /// The server's receipt for the run.
    pub(super) receipt: String,
    /// The token that the last rsync brought.
    pub(super) canary: String,
    /// Completed runs since the last full one.
    pub(super) runs_since_full: u32,
}

/// One destination's directory.
#[derive(Debug)]
pub(super) struct Place(PathBuf);

impl Place {
    /// The place of this destination, which need not be there.
    ///
    /// # Errors
    /// When a relative path cannot be made absolute.
    pub(super) fn of(state_dir: &Path, destination: &str) -> Result<Self> {
        let id = hex(&Sha256::digest(destination)[..8]);
        Ok(Self(std::path::absolute(state_dir).context("cannot tell where the state directory is")?.join(id)))
    }

    /// Makes the directory if it is not there.
    ///
    /// # Errors
    /// When it cannot be made, as for a user who may not write there.
    pub(super) fn make(state_dir: &Path, destination: &str) -> Result<Self> {
        let place = Self::of(state_dir, destination)?;
        let directory = place.canary().with_file_name("");
        let made = DirBuilder::new().recursive(true).mode(0o700).create(&directory);
        made.with_context(|| format!("cannot make {}", directory.display()))?;
        Ok(place)
    }

    pub(super) fn index(&self) -> PathBuf {
        self.0.join("index")
    }

    fn seal_path(&self) -> PathBuf {
        self.0.join("run.json")
    }

    /// The last run's seal; one that cannot be understood counts as none.
    pub(super) fn seal(&self) -> Option<Seal> {
        let bytes = files::read_optional(&self.seal_path()).ok()??;
        serde_json::from_slice(&bytes).ok()
    }

    pub(super) fn put_seal(&self, seal: &Seal) -> Result<()> {
        files::replace(&self.seal_path(), &serde_json::to_vec(seal)?, 0o600)
    }

    fn canary(&self) -> PathBuf {
        self.0.join("canary").join(CANARY)
    }

    /// The token as rsync is told to bring it: all before `/./` is cut off on the server (rsync(1),
    /// --relative).
    pub(super) fn canary_argument(&self) -> PathBuf {
        self.0.join("canary/.").join(CANARY)
    }

    pub(super) fn put_canary(&self, token: &str) -> Result<()> {
        files::replace_for_now(&self.canary(), token.as_bytes(), 0o600)
    }

    /// Names for `--files-from --from0`. Each begins with a slash: rsync cuts it off, and takes one that
    /// begins with `#` or `;` for a comment otherwise.
    pub(super) fn put_list(&self, names: impl Iterator<Item = Vec<u8>>) -> Result<PathBuf> {
        let path = self.0.join("list");
        let text: Vec<u8> = names.flat_map(|name| [&name[..], b"\0"].concat()).collect();
        files::replace_for_now(&path, &text, 0o600)?;
        Ok(path)
    }
}
