//! What the server remembers of a client's last push: enough to know whether its tree is whole, and what
//! it takes to measure afterwards how much new data it brought.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::SnapshotName;

/// The record of one push, kept in `STORE/.byteback/clients/NAME/push.json`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
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
    /// The run's own name, where the gate gave it one.
    #[serde(default)]
    pub id: Option<String>,
    /// When the first of the runs before it began that nobody had measured when it began: their new data
    /// counts with its own, and the figures of before are theirs.
    #[serde(default)]
    pub counts_from: Option<Timestamp>,
    /// Bytes in use in the whole store when it began, metadata times its copies.
    #[serde(default)]
    pub used_before: Option<u64>,
    /// The same when it had ended.
    #[serde(default)]
    pub used_after: Option<u64>,
    /// Percent of free room when it began.
    #[serde(default)]
    pub free_before: Option<f64>,
    /// The same when it had ended.
    #[serde(default)]
    pub free_after: Option<f64>,
    /// What the kernel's simple quota charged to `current` when it began, in bytes; `None` without quotas.
    #[serde(default)]
    pub quota_before: Option<u64>,
    /// The same when it had ended.
    #[serde(default)]
    pub quota_after: Option<u64>,
    /// New bytes so far, as the gate's watch saw them while it ran; published from time to time.
    #[serde(default)]
    pub new_so_far: u64,
    /// It was abnormally large and the room ran short, so the gate ended it.
    #[serde(default)]
    pub stopped: bool,
    /// The snapshot that was taken of it.
    #[serde(default)]
    pub snapshot: Option<SnapshotName>,
}

impl Push {
    /// A push that has just begun.
    pub fn begin(started: Timestamp, peer: Option<String>, key: Option<String>) -> Self {
        Self {
            schema: 1,
            started,
            ended: None,
            status: None,
            peer,
            key,
            bytes_read: 0,
            bytes_written: 0,
            id: None,
            counts_from: None,
            used_before: None,
            used_after: None,
            free_before: None,
            free_after: None,
            quota_before: None,
            quota_after: None,
            new_so_far: 0,
            stopped: false,
            snapshot: None,
        }
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

    #[test]
    fn a_record_of_before_there_were_measures_is_read() {
        let old = r#"{"schema":1,"started":"2026-11-20T23:47:31Z","ended":null,"status":null,"peer":null}"#;
        let push: Push = serde_json::from_str(old).unwrap();
        assert_eq!(push, Push::begin("2026-11-20T23:47:31Z".parse().unwrap(), None, None));
    }

    #[test]
    fn a_push_survives_its_record() {
        let push = Push {
            free_before: Some(12.345),
            quota_after: Some(u64::MAX),
            stopped: true,
            snapshot: Some("2026-11-20T23:47+0000".parse().unwrap()),
            ..Push::begin(Timestamp::UNIX_EPOCH, None, None)
        };
        assert_eq!(serde_json::from_str::<Push>(&serde_json::to_string(&push).unwrap()).unwrap(), push);
    }
}
