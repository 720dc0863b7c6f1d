//! The names in one directory, for all trees that have it. Trees in which the directory is the same are one
//! group, and its names are read once for the group.

use std::collections::BTreeMap;
use std::ffi::CStr;
use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::{Context, Result};

use super::inode::{Inode, State, for_each_name};
use super::{Cut, MOST_NAMES, Search};
use crate::protocol::find_query::Walk;

/// Beside its bytes a name costs about this much.
const NAME_OVERHEAD: usize = 96;
/// How many names are read between two looks at the clock.
const OFTEN: usize = 4096;

/// Which groups of trees have a name, and in which of them it may be a directory: two bits a group.
#[derive(Debug, Clone)]
struct Groups(Box<[u64]>);

impl Groups {
    fn none(count: usize) -> Self {
        Self(vec![0; (2 * count).div_ceil(64)].into_boxed_slice())
    }

    fn add(&mut self, bit: usize) {
        self.0[bit / 64] |= 1 << (bit % 64);
    }

    fn has(&self, bit: usize) -> bool {
        self.0[bit / 64] >> (bit % 64) & 1 == 1
    }
}

/// The names that can match or lead to matches, sorted.
pub(super) struct Listing<'a> {
    /// For each group its trees, newest first.
    groups: Vec<Vec<u16>>,
    names: Vec<(Box<[u8]>, Groups)>,
    weight: usize,
    /// What all listings weigh together.
    scale: &'a AtomicUsize,
}

impl Drop for Listing<'_> {
    fn drop(&mut self) {
        self.scale.fetch_sub(self.weight, Ordering::Relaxed);
    }
}

impl<'a> Listing<'a> {
    /// The names themselves, in all these trees perhaps; nothing is read.
    pub(super) fn of_names<'n>(
        search: &'a Search<'_>,
        trees: Vec<u16>,
        names: impl IntoIterator<Item = &'n [u8]>,
    ) -> Self {
        let mut both = Groups::none(1);
        both.add(0);
        both.add(1);
        let names = names.into_iter().map(|name| (name.into(), both.clone())).collect();
        Self { groups: vec![trees], names, weight: 0, scale: &search.names }
    }

    /// Reads the directory at `path`, which these trees have in these states.
    pub(super) fn read(
        search: &'a Search<'_>,
        path: &CStr,
        found: &[(u16, Inode)],
        walk: &Walk<'_>,
    ) -> Result<Self> {
        let groups = group(search, found);
        let mut reader = Reader { search, walk, weight: 0, count: groups.len(), names: BTreeMap::new() };
        for (number, trees) in groups.iter().enumerate() {
            let Some(leader) = trees.first() else { continue };
            if let Some(directory) = search.roots[usize::from(*leader)].open_directory(path)? {
                search.scanned.fetch_add(1, Ordering::Relaxed);
                let read = for_each_name(&directory, |name, below| reader.take(name, number, below));
                match read {
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => break,
                    read => read.context("cannot read a directory in the store")?,
                }
            }
        }
        let (weight, names) = (reader.weight, reader.names.into_iter().collect());
        Ok(Self { groups, names, weight, scale: &search.names })
    }

    pub(super) fn len(&self) -> usize {
        self.names.len()
    }

    pub(super) fn name(&self, number: usize) -> &[u8] {
        &self.names[number].0
    }

    /// The trees that have the name, newest first.
    pub(super) fn having(&self, number: usize) -> Vec<u16> {
        self.trees(number, 0)
    }

    /// The trees in which it may be a directory, newest first.
    pub(super) fn entering(&self, number: usize) -> Vec<u16> {
        self.trees(number, 1)
    }

    fn trees(&self, number: usize, bit: usize) -> Vec<u16> {
        let (_, groups) = &self.names[number];
        let having = self.groups.iter().enumerate().filter(|(group, _)| groups.has(2 * group + bit));
        let mut trees: Vec<u16> = having.flat_map(|(_, trees)| trees.iter().copied()).collect();
        trees.sort_unstable();
        trees
    }
}

/// Trees that share their names; one whose state might hide a change is alone.
fn group(search: &Search<'_>, found: &[(u16, Inode)]) -> Vec<Vec<u16>> {
    let mut groups: Vec<Vec<u16>> = Vec::new();
    let mut known: BTreeMap<State, usize> = BTreeMap::new();
    for (tree, inode) in found {
        if !search.roots[usize::from(*tree)].is_settled(inode) {
            groups.push(vec![*tree]);
            continue;
        }
        let number = *known.entry(inode.state).or_insert(groups.len());
        match groups.get_mut(number) {
            Some(group) => group.push(*tree),
            None => groups.push(vec![*tree]),
        }
    }
    groups
}

struct Reader<'s, 'w> {
    search: &'s Search<'s>,
    walk: &'w Walk<'w>,
    weight: usize,
    count: usize,
    names: BTreeMap<Box<[u8]>, Groups>,
}

impl Reader<'_, '_> {
    /// Keeps a name if it matches or if something below it can. `Interrupted` ends the reading.
    fn take(&mut self, name: &CStr, group: usize, may_be_directory: bool) -> io::Result<()> {
        let name = name.to_bytes();
        if let Some(groups) = self.names.get_mut(name) {
            groups.add(2 * group);
            if may_be_directory {
                groups.add(2 * group + 1);
            }
            return Ok(());
        }
        let below = self.walk.enter(name);
        if !(below.is_match() || may_be_directory && !below.is_over()) {
            return Ok(());
        }
        let mut groups = Groups::none(self.count);
        groups.add(2 * group);
        if may_be_directory {
            groups.add(2 * group + 1);
        }
        let weight = name.len() + 8 * groups.0.len() + NAME_OVERHEAD;
        self.names.insert(name.into(), groups);
        self.weight += weight;
        let all = self.search.names.fetch_add(weight, Ordering::Relaxed) + weight;
        if all > MOST_NAMES {
            self.search.leave_out(Cut::Names);
            return Err(io::ErrorKind::Interrupted.into());
        }
        if self.names.len().is_multiple_of(OFTEN) && self.search.is_late() {
            return Err(io::ErrorKind::Interrupted.into());
        }
        Ok(())
    }
}
