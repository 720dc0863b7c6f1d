//! Backups at rest: what lies where below the store, and the few things that can be done to it.
//!
//! The store's root is opened once; everything below is reached through handles, never through a name
//! that could have become a link meanwhile. Nothing here decides: policy says what, a journey when.

pub mod ballast;
mod btrfs;
pub mod growth;
pub mod keys;
mod layout;
pub mod noted;
mod readers;
mod records;
pub mod rsync_facts;
pub mod search;
pub mod verdicts;
mod volume;

pub use btrfs::Btrfs;
pub use layout::{ClientState, Store};
pub use volume::{BeingRead, OpenTree, QuotaMode, Volume};
