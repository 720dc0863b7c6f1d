//! One version of one file in the history of a client: what it was, and how long it stood.

use super::{Entry, Tree};

/// A version. Copies of it stood in one or more trees.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Version {
    /// The copy in the newest of those trees.
    pub entry: Entry,
    /// What is known beside that; absent where it was not asked for.
    pub history: Option<History>,
}

/// How long a version stood, and what a file system needs to show it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct History {
    /// The oldest tree in which it stood; the newest is the entry's own.
    pub first: Tree,
    /// In how many trees.
    pub copies: u32,
    /// Its inode number on the server: equal numbers in one tree are hard links of one file.
    pub inode: u64,
    /// Hard links of it.
    pub links: u32,
    /// Major and minor number, for a device.
    pub device: Option<(u32, u32)>,
}

impl From<Entry> for Version {
    fn from(entry: Entry) -> Self {
        Self { entry, history: None }
    }
}
