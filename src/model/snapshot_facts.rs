//! What a client may know of one of its trees: when it was taken, how the run before it went, and whether it
//! is kept. Nothing about other clients or about the room on the server is in it.

use jiff::Timestamp;

use super::Tree;

/// One tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SnapshotFacts {
    /// Its name.
    pub tree: Tree,
    /// When it was made; `None` for `current`.
    pub taken: Option<Timestamp>,
    /// The run that filled it, where it is remembered.
    pub run: Option<RunFacts>,
    /// Whether the pruner may take it.
    pub kept: Kept,
}

/// How a run went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RunFacts {
    /// When it began.
    pub started: Timestamp,
    /// When it ended; `None` while it is at work, and after a crash.
    pub ended: Option<Timestamp>,
    /// rsync's exit status; `None` when it did not end by itself.
    pub status: Option<i32>,
    /// Bytes that it brought, as the server measured them.
    pub new_data: Option<u64>,
}

/// Whether a snapshot is kept from being pruned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kept {
    /// It goes when its turn comes.
    No,
    /// It has a name of its own, or an administrator holds it, without an end.
    ForEver,
    /// It is held until then. The administrator's reason is not the client's.
    Until(Timestamp),
}
