//! Who reads a client's snapshots, and for how long that keeps them from being deleted.
//!
//! A restore holds its trees by a shared lock. If that held for as long as it likes, a hostile client could
//! keep all its snapshots by reading them slowly, and others' would be deleted in their place. So it has two
//! days from the moment at which a pruner first wanted the snapshot; then the restores of that client are
//! told to end (SIGTERM: the gate ends its rsync and says so).

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use jiff::{SignedDuration, Timestamp};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde::{Deserialize, Serialize};

use crate::model::{ClientName, Tree};
use crate::system::{files, lock, supervise};

/// How long a reader keeps a snapshot that is wanted.
const TIME: SignedDuration = SignedDuration::from_hours(48);
/// What was wanted so long ago and is still there has been forgotten by the pruner.
const FORGOTTEN: SignedDuration = SignedDuration::from_hours(30 * 24);
/// What is told to end; the kernel keeps so many bytes of a program's name.
const GATE: &str = "byteback-receiv";

/// The readers of one client.
pub(super) struct Readers {
    state: PathBuf,
}

#[derive(Debug, Default, Serialize, Deserialize)]
struct Wanted {
    schema: u32,
    since: BTreeMap<String, Timestamp>,
}

impl Readers {
    pub(super) fn of(store: &Path, client: &ClientName) -> Self {
        Self { state: store.join(".byteback/clients").join(client.as_str()) }
    }

    /// Notes that this tree is wanted now; whether it was first wanted long enough ago. What cannot be written
    /// down on a full disk begins anew next time.
    pub(super) fn have_had_their_time(&self, tree: &Tree, now: Timestamp) -> bool {
        let path = self.state.join("wanted.json");
        let bytes = files::read_optional(&path).ok().flatten().unwrap_or_default();
        let mut wanted: Wanted = serde_json::from_slice(&bytes).unwrap_or_default();
        if let Some(since) = wanted.since.get(tree.as_str()).filter(|since| **since <= now) {
            return now.duration_since(*since) >= TIME;
        }
        wanted.schema = 1;
        wanted.since.retain(|_, since| *since <= now && now.duration_since(*since) < FORGOTTEN);
        wanted.since.insert(tree.as_str().to_owned(), now);
        if let Ok(json) = serde_json::to_vec(&wanted) {
            let _ = files::replace(&path, &json, 0o600);
        }
        false
    }

    /// Tells every restore of the client to end.
    pub(super) fn end(&self) {
        let places = fs::read_dir(self.state.join("restores")).into_iter().flatten().flatten();
        for process in places.filter_map(|place| lock::holder_of(&place.path())) {
            // The kernel names the holder by an inode's number, which another file system may have too.
            if supervise::program_of(process).is_some_and(|name| name == GATE) {
                let _ = kill(Pid::from_raw(process), Signal::SIGTERM);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reader_has_two_days_from_when_the_snapshot_was_first_wanted() {
        let store = tempfile::tempdir().unwrap();
        let readers = Readers::of(store.path(), &"web1".parse().unwrap());
        fs::create_dir_all(&readers.state).unwrap();
        let tree: Tree = "2026-11-20T23:47+0000".parse().unwrap();
        let at = |hour: i64| Timestamp::from_second(1_800_000_000 + hour * 3600).unwrap();
        assert!(!readers.have_had_their_time(&tree, at(0)));
        assert!(!readers.have_had_their_time(&tree, at(47)));
        assert!(readers.have_had_their_time(&tree, at(48)));
        assert!(!readers.have_had_their_time(&Tree::Current, at(48)), "another one has its own time");
        assert!(!readers.have_had_their_time(&tree, at(-5)), "the clock was set back: it begins anew");
        assert!(readers.have_had_their_time(&tree, at(43)));
    }

    #[test]
    fn where_nothing_can_be_written_readers_are_left_alone() {
        let readers = Readers::of(Path::new("/nonexistent"), &"web1".parse().unwrap());
        let tree = Tree::Current;
        assert!(!readers.have_had_their_time(&tree, Timestamp::UNIX_EPOCH));
        readers.end();
    }
}
