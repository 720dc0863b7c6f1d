//! Finding files in a client's trees by pattern, all trees at once, path by path.
//!
//! Trees are walked together, so a path's whole history is at hand when it is told, nothing has to be
//! remembered from tree to tree, and the first line comes at once. Literal components are looked up, never
//! scanned for; links are never followed, wherever they came from; what rsync's fake-super stored is told as
//! it was on the client.
//!
//! - [`inode`]: what the kernel tells of a file, and when two of these mean one and the same state of it;
//! - [`listing`]: the names in a directory, read once for all trees in which it is the same;
//! - [`fold`]: copies into versions;
//! - [`page`]: the work for one directory;
//! - [`queue`]: pages read by several threads, told in order.
//!
//! Bounds, against an enemy's trees and patterns: entries and time ([`Bounds`]), depth of directories that are
//! scanned ([`DEEPEST`]), and memory: names of directories that are open at a time ([`MOST_NAMES`] bytes),
//! results that wait for their turn (`queue::MOST_HELD`). What was left out is said, never passed over.

mod fold;
mod inode;
mod listing;
mod page;
mod queue;

use std::fmt;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::{Context, Result};
use jiff::Timestamp;

use self::fold::Fold;
use self::inode::Root;
use super::volume::OpenTree;
use crate::model::{Tree, Version};
use crate::protocol::find_query::FindQuery;
use crate::system::clock;

/// Directories that lie deeper are not scanned: what waits to be read grows with the depth.
pub const DEEPEST: usize = 256;
/// Bytes that the names (with what belongs to them) of all directories being read may take.
pub const MOST_NAMES: usize = 256 << 20;

/// What a search may cost.
#[derive(Debug, Clone, Copy)]
pub struct Bounds {
    /// Entries that are told.
    pub entries: u64,
    /// When it ends at the latest.
    pub until: Timestamp,
    /// Threads that read, this one included.
    pub threads: usize,
}

/// Why a search did not tell everything.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cut {
    /// More matches than [`Bounds::entries`].
    Entries(u64),
    /// [`Bounds::until`] came.
    Time,
    /// Deeper than [`DEEPEST`].
    Depth,
    /// More than [`MOST_NAMES`].
    Names,
}

impl fmt::Display for Cut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Entries(most) => write!(f, "more than {most} match; ask for less at once"),
            Self::Time => f.write_str("the time for one search is over; name a directory or a snapshot"),
            Self::Depth => {
                write!(f, "directories more than {DEEPEST} deep were not searched; name one of them")
            }
            Self::Names => f.write_str("a directory holds more names than one search may keep; name a file"),
        }
    }
}

/// How a search ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Outcome {
    /// How many matches were told.
    pub entries: u64,
    /// Why not more.
    pub cut: Option<Cut>,
    /// Directories whose names were read: none for a plain path.
    pub scanned: usize,
}

/// What is done with what comes.
pub trait Sink {
    /// One match.
    ///
    /// # Errors
    /// Ends the search.
    fn found(&mut self, version: Version) -> Result<()>;

    /// Called again and again, also while nothing matches: time to pass on what was kept back.
    ///
    /// # Errors
    /// Ends the search.
    fn breathe(&mut self) -> Result<()> {
        Ok(())
    }
}

impl<F: FnMut(Version) -> Result<()>> Sink for F {
    fn found(&mut self, version: Version) -> Result<()> {
        self(version)
    }
}

/// Where is looked.
#[derive(Debug, Clone, Copy)]
pub struct Trees<'a> {
    /// Newest first.
    pub searched: &'a [(Tree, OpenTree)],
    /// With it only paths that it does not hold are told.
    pub gone_from: Option<&'a OpenTree>,
}

impl<'a> Trees<'a> {
    /// All that are looked at.
    pub fn open(self) -> impl Iterator<Item = &'a OpenTree> {
        self.searched.iter().map(|(_, open)| open).chain(self.gone_from)
    }
}

/// Tells each match, sorted by path, component by component. Of one path come: the newest copy; with `all`
/// the newest of each time and size; with `history` too each state that its inode had, oldest first; with
/// `verbose` every copy, newest first.
///
/// # Errors
/// What the sink gives back, and directories that cannot be read.
pub fn run(query: &FindQuery, trees: Trees<'_>, bounds: Bounds, sink: &mut dyn Sink) -> Result<Outcome> {
    let search = Search::new(query, trees, bounds)?;
    let entries = queue::run(&search, sink)?;
    let cut = *search.cut.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    Ok(Outcome { entries, cut, scanned: search.scanned.load(Ordering::Relaxed) })
}

/// What all threads of one search share.
struct Search<'a> {
    query: &'a FindQuery,
    fold: Fold,
    /// Newest first; a tree that only says what is still there comes before all others.
    roots: Vec<Root<'a>>,
    bounds: Bounds,
    names: AtomicUsize,
    scanned: AtomicUsize,
    cut: Mutex<Option<Cut>>,
}

impl<'a> Search<'a> {
    fn new(query: &'a FindQuery, trees: Trees<'a>, bounds: Bounds) -> Result<Self> {
        let reference = trees.gone_from.map(Root::reference);
        let searched = trees.searched.iter().map(|(tree, open)| Root::searched(tree, open));
        let roots = reference.into_iter().chain(searched).collect::<Result<_>>();
        let roots = roots.context("cannot stat a tree's root")?;
        let (names, scanned) = (AtomicUsize::new(0), AtomicUsize::new(0));
        Ok(Self { query, fold: Fold::of(query), roots, bounds, names, scanned, cut: Mutex::new(None) })
    }

    /// The first reason is told.
    fn leave_out(&self, why: Cut) {
        self.cut.lock().unwrap_or_else(std::sync::PoisonError::into_inner).get_or_insert(why);
    }

    fn is_late(&self) -> bool {
        clock::now() >= self.bounds.until
    }
}
