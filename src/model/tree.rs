//! Which of a client's trees is meant: the writable one or a snapshot of it.

use std::fmt;
use std::str::FromStr;

use super::snapshot_name::{CURRENT, SnapshotName, SnapshotNameError};

/// `current` or a snapshot, as one path component below the client's directory.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Tree {
    /// A read-only snapshot.
    Snapshot(SnapshotName),
    /// The one writable subvolume.
    Current,
}

impl Tree {
    /// The path component.
    pub fn as_str(&self) -> &str {
        match self {
            Self::Snapshot(name) => name.as_str(),
            Self::Current => CURRENT,
        }
    }
}

impl FromStr for Tree {
    type Err = SnapshotNameError;

    fn from_str(text: &str) -> Result<Self, SnapshotNameError> {
        if text == CURRENT { Ok(Self::Current) } else { text.parse().map(Self::Snapshot) }
    }
}

impl fmt::Display for Tree {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
