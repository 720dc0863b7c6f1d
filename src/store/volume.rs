//! What a store can do, in the domain's words, so that another file system could stand behind it.

use std::os::fd::OwnedFd;

use anyhow::Result;
use jiff::Timestamp;

use crate::model::{ClientName, SnapshotName, Tree};
use crate::policy::room::Room;

/// A tree that is held open.
#[derive(Debug)]
pub struct OpenTree {
    /// Its root directory.
    pub directory: OwnedFd,
    /// Whether the file system lets nobody write to it.
    pub read_only: bool,
    /// When the subvolume was made, by the server's clock; `None` where the file system does not tell.
    pub made: Option<Timestamp>,
}

/// The backend. `current` is written by rsync alone; snapshots can be made and discarded, not changed.
pub trait Volume {
    /// Makes the client's directory and its empty `current`; what is there already is kept.
    ///
    /// # Errors
    /// When the file system refuses, with what to change.
    fn enrol(&self, client: &ClientName) -> Result<()>;

    /// All clients, by name.
    ///
    /// # Errors
    /// When the store cannot be read.
    fn clients(&self) -> Result<Vec<ClientName>>;

    /// Whether the client has a `current`.
    fn is_enrolled(&self, client: &ClientName) -> bool;

    /// The client's own directory, in which its trees lie.
    ///
    /// # Errors
    /// When it is not there.
    fn home(&self, client: &ClientName) -> Result<OwnedFd>;

    /// The client's snapshots, oldest first.
    ///
    /// # Errors
    /// When its directory cannot be read.
    fn snapshots(&self, client: &ClientName) -> Result<Vec<SnapshotName>>;

    /// Opens a tree.
    ///
    /// # Errors
    /// When there is none of that name.
    fn open(&self, client: &ClientName, tree: &Tree) -> Result<OpenTree>;

    /// Makes a snapshot of `current`: read-only from its first moment, on the disk when this returns.
    ///
    /// # Errors
    /// When the name is taken or the file system refuses.
    fn freeze(&self, client: &ClientName, name: &SnapshotName) -> Result<()>;

    /// Throws a snapshot away and returns when its space is really free. It disappears from every
    /// listing first, durably; whatever interrupts the rest, [`Volume::finish_discards`] carries on.
    ///
    /// # Errors
    /// When the file system refuses one of the steps.
    fn discard(&self, client: &ClientName, name: &SnapshotName) -> Result<()>;

    /// Finishes what an interrupted [`Volume::discard`] left; says how many there were.
    ///
    /// # Errors
    /// As for [`Volume::discard`].
    fn finish_discards(&self, client: &ClientName) -> Result<usize>;

    /// Waits, for a bounded time, for what an earlier [`Volume::discard`] did not see come back.
    ///
    /// # Errors
    /// When it is still not back: deleting more would not help against whoever holds it.
    fn finish_waiting(&self) -> Result<()>;

    /// Whether [`Volume::discard`] would be allowed, found out without touching a snapshot.
    ///
    /// # Errors
    /// What the administrator must change.
    fn check_discard(&self) -> Result<()>;

    /// How much room there is.
    ///
    /// # Errors
    /// When the kernel does not tell.
    fn room(&self) -> Result<Room>;
}
