//! What the server remembers of a client's last push: enough to know whether its tree is whole.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// The record of one push, kept in `STORE/.byteback/clients/NAME/push.json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Push {
    /// The version of this form: 1.
    pub schema: u32,
    /// When rsync was started.
    pub started: Timestamp,
    /// When it ended; `None` while it runs, and after a crash of the server.
    pub ended: Option<Timestamp>,
    /// What rsync exited with; `None` when it did not end by itself.
    pub status: Option<i32>,
    /// The address that the client came from, as sshd told it.
    pub peer: Option<String>,
    /// The fingerprint of its key, where sshd told it.
    #[serde(default)]
    pub key: Option<String>,
    /// Bytes that rsync read, from the connection and from files; 0 while it runs.
    #[serde(default)]
    pub bytes_read: u64,
    /// Bytes that rsync wrote, to the connection and to files; 0 while it runs.
    #[serde(default)]
    pub bytes_written: u64,
}

impl Push {
    /// A push that has just begun.
    pub fn begin(started: Timestamp, peer: Option<String>, key: Option<String>) -> Self {
        Self { schema: 1, started, ended: None, status: None, peer, key, bytes_read: 0, bytes_written: 0 }
    }

    /// Whether the tree is what the client meant to send. rsync's 24 means that files vanished on the
    /// client while it read, which is normal for a machine that is in use (rsync(1), EXIT VALUES).
    pub fn is_complete(&self) -> bool {
        matches!(self.status, Some(0 | 24))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_push_that_ended_well_is_complete() {
        let push = |status| Push { status, ..Push::begin(Timestamp::UNIX_EPOCH, None, None) };
        assert!(push(Some(0)).is_complete() && push(Some(24)).is_complete());
        for status in [None, Some(12), Some(20), Some(23), Some(-9)] {
            assert!(!push(status).is_complete(), "{status:?}");
        }
    }
}
