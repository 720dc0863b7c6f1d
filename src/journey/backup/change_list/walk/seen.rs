//! What a walk found: what has to be given to rsync, and what the next index holds.

use std::collections::HashSet;

use super::super::index::Block;
use crate::policy::changes::{DIRECTORY, How, Named, Stamp};

/// What has to be given to rsync; paths without a leading slash.
#[derive(Debug, Default, PartialEq, Eq)]
pub(in super::super) struct Lists {
    /// Directories with all that they hold, one level deep.
    pub(in super::super) listings: Vec<Vec<u8>>,
    /// Directories above a source: their own attributes alone.
    pub(in super::super) attributes: Vec<Vec<u8>>,
    /// Files to be compared and written in place.
    pub(in super::super) content: Vec<Vec<u8>>,
    /// Files to be compared and written anew.
    pub(in super::super) anew: Vec<Vec<u8>>,
}

impl Lists {
    pub(in super::super) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub(in super::super) fn len(&self) -> usize {
        self.listings.len() + self.attributes.len() + self.content.len() + self.anew.len()
    }

    pub(super) fn append(&mut self, mut other: Self) {
        self.listings.append(&mut other.listings);
        self.attributes.append(&mut other.attributes);
        self.content.append(&mut other.content);
        self.anew.append(&mut other.anew);
    }
}

/// What a walk found.
#[derive(Debug, Default)]
pub(in super::super) struct Seen {
    /// For the next index, sorted by path.
    pub(in super::super) blocks: Vec<Block>,
    pub(in super::super) lists: Lists,
    pub(super) linked: Vec<Linked>,
    pub(in super::super) devices: Vec<String>,
    pub(in super::super) entries: u64,
    /// A directory lies on another file system than it did, so that all below it counts as changed.
    pub(in super::super) moved: bool,
    /// Why only a full run can be right; the first that was found.
    pub(in super::super) doubt: Option<String>,
}

/// One name of a file that has several.
#[derive(Debug)]
pub(super) struct Linked {
    /// Its file system and inode.
    inode: (u32, u64),
    path: Vec<u8>,
    /// It is given to rsync already.
    is_given: bool,
}

/// A name of a linked file moves with its directory, which changes nothing of the file itself: so where one
/// name is given to rsync all are, or it could not link them.
pub(super) fn give_whole_groups(seen: &mut Seen) {
    let linked = std::mem::take(&mut seen.linked);
    let given: HashSet<(u32, u64)> = linked.iter().filter(|one| one.is_given).map(|one| one.inode).collect();
    let others = linked.into_iter().filter(|one| !one.is_given && given.contains(&one.inode));
    seen.lists.anew.extend(others.map(|one| one.path));
}

pub(super) fn joined(directory: &[u8], name: &[u8]) -> Vec<u8> {
    let slash: &[u8] = if directory.is_empty() { b"" } else { b"/" };
    [directory, slash, name].concat()
}

impl Seen {
    /// What cannot be read here is rsync's to read, or to complain of, in every run.
    pub(super) fn leave_to_rsync(&mut self, path: Vec<u8>) {
        let stamp = Stamp {
            kind: DIRECTORY,
            device: 0,
            inode: 0,
            ctime: (0, 0),
            mtime: (0, 0),
            size: 0,
            linked: false,
            certain: false,
        };
        self.entries += 1;
        self.lists.listings.push(path.clone());
        self.blocks.push(Block::new(path, &stamp, &[]));
    }

    pub(super) fn note_linked(&mut self, directory: &[u8], files: &[Named<'_>], given: &[(&[u8], How)]) {
        for (name, stamp) in files.iter().filter(|(_, stamp)| stamp.linked) {
            let is_given = given.binary_search_by(|(other, _)| other.cmp(name)).is_ok();
            let inode = (stamp.device, stamp.inode);
            self.linked.push(Linked { inode, path: joined(directory, name), is_given });
        }
    }
}

impl Lists {
    pub(super) fn take_files(&mut self, directory: &[u8], files: &[(&[u8], How)]) {
        for (name, how) in files {
            let path = joined(directory, name);
            match how {
                How::Content => self.content.push(path),
                How::Anew => self.anew.push(path),
            }
        }
    }
}
