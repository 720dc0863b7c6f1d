//! What one run of byteback-backup did: the line that `--json` prints.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// One run, from its first look at the configuration to its last hook.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BackupRecord {
    /// The version of this form: 1.
    pub schema: u32,
    /// When it began.
    pub started: Timestamp,
    /// When it ended.
    pub ended: Timestamp,
    /// Whether it only told what it would do.
    pub dry_run: bool,
    /// The server; `null` when none was known.
    pub destination: Option<String>,
    /// What was backed up; bytes that are not UTF-8 as `\xHH`.
    pub sources: Vec<String>,
    /// What ended each attempt, the last one last.
    pub attempts: Vec<Attempt>,
    /// How the run went about it; `null` when it did not come so far.
    #[serde(default)]
    pub mode: Option<RunMode>,
    /// Why it was a full one.
    #[serde(default)]
    pub full_run_reason: Option<String>,
    /// The server's receipt.
    #[serde(default)]
    pub receipt: Option<String>,
    /// What a full run had to correct that the index did not know: a defect.
    #[serde(default)]
    pub index_defects: u64,
    /// What rsync counted in the last attempt that ended in order.
    pub transfer: Option<Transfer>,
    /// The snapshot that was taken, or the one that is too young for another.
    pub snapshot: Option<String>,
    /// How the run ended.
    pub outcome: Outcome,
    /// The hooks that ran, in their order.
    pub hooks: Vec<HookRun>,
    /// What an operator should look at, one sentence each.
    pub warnings: Vec<String>,
    /// The error that ended the run.
    pub error: Option<String>,
    /// The program's exit status.
    pub status: u8,
}

/// One attempt to reach the server and to copy.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attempt {
    /// When it began.
    pub started: Timestamp,
    /// When it ended.
    pub ended: Timestamp,
    /// What rsync exited with; `null` when it was not started or was killed.
    pub rsync_status: Option<i32>,
    /// Why it failed.
    pub error: Option<String>,
}

/// What rsync's `--stats` tells.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Transfer {
    /// Files, directories and everything else that was looked at.
    pub files: u64,
    /// Files that were new on the server.
    pub created: u64,
    /// Files that were deleted on the server.
    pub deleted: u64,
    /// Regular files whose content was sent.
    pub files_sent: u64,
    /// The size of all files together, in bytes.
    pub total_bytes: u64,
    /// The size of the files whose content was sent, in bytes.
    pub changed_bytes: u64,
    /// What went to the server, in bytes.
    pub sent_bytes: u64,
    /// What came from the server, in bytes.
    pub received_bytes: u64,
}

impl Transfer {
    /// Adds what another call of rsync counted.
    pub fn add(&mut self, other: &Self) {
        let pairs = [
            (&mut self.files, other.files),
            (&mut self.created, other.created),
            (&mut self.deleted, other.deleted),
            (&mut self.files_sent, other.files_sent),
            (&mut self.total_bytes, other.total_bytes),
            (&mut self.changed_bytes, other.changed_bytes),
            (&mut self.sent_bytes, other.sent_bytes),
            (&mut self.received_bytes, other.received_bytes),
        ];
        for (sum, more) in pairs {
            *sum = sum.saturating_add(more);
        }
    }
}

/// How a run went about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RunMode {
    /// rsync walked everything.
    Full,
    /// rsync was given what had changed.
    Changes,
    /// Nothing had changed, and rsync was not started.
    Unchanged,
}

/// How a run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// All files are on the server and a snapshot was taken.
    Snapshot,
    /// All files are on the server; the last snapshot is too young for another one.
    NotDue,
    /// Nothing was changed: a dry run that ended well.
    DryRun,
    /// A rule of the server said no.
    Refused,
    /// Another run is at work, here or on the server.
    Busy,
    /// Anything else; what was copied is kept.
    Failed,
}

/// One hook.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HookRun {
    /// Its directory and name, such as `pre-backup.d/10-dump`.
    pub name: String,
    /// What it exited with; `null` when it could not be started or was killed.
    pub status: Option<i32>,
}

impl BackupRecord {
    /// The record of a run that just began.
    pub fn begin(now: Timestamp, dry_run: bool) -> Self {
        Self {
            schema: 1,
            started: now,
            ended: now,
            dry_run,
            destination: None,
            sources: Vec::new(),
            attempts: Vec::new(),
            mode: None,
            full_run_reason: None,
            receipt: None,
            index_defects: 0,
            transfer: None,
            snapshot: None,
            outcome: Outcome::Failed,
            hooks: Vec::new(),
            warnings: Vec::new(),
            error: None,
            status: 1,
        }
    }

    /// One line, without its end.
    pub fn to_json(&self) -> String {
        serde_json::to_string(self).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_is_one_line_with_rfc_3339_times_and_whole_numbers() {
        let mut record = BackupRecord::begin("2026-11-20T23:47:31Z".parse().unwrap(), false);
        record.outcome = Outcome::NotDue;
        record.warnings.push("two\nlines".to_owned());
        record.transfer = Some(Transfer { sent_bytes: u64::MAX, ..Transfer::default() });
        let json = record.to_json();
        assert!(!json.contains('\n'));
        for part in ["\"schema\":1", "\"2026-11-20T23:47:31Z\"", "\"not-due\"", "18446744073709551615"] {
            assert!(json.contains(part), "{json}");
        }
        assert_eq!(serde_json::from_str::<BackupRecord>(&json).unwrap(), record);
    }
}
