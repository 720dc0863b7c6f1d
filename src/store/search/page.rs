//! The work for one directory, or for a part of one with many names: what in it matches, and what lies below.

use std::ffi::{CStr, CString};
use std::sync::Arc;

use anyhow::Result;

use super::fold::Folded;
use super::inode::{Described, Inode, State};
use super::listing::Listing;
use super::{Cut, DEEPEST, Search};
use crate::model::version::History;
use crate::model::{Tree, Version};
use crate::protocol::find_query::Walk;

/// What lies deeper than this many bytes of path is not searched: no program could name a file there
/// (PATH_MAX).
const LONGEST_PATH: usize = 4096;
/// Looks into trees that one page may cost, so that the first result comes soon and several threads can share
/// a directory with many names.
const LOOKS_PER_PAGE: usize = 4096;
/// Most names on one page: each may be a directory, which waits to be read.
const NAMES_PER_PAGE: usize = 128;

/// What is told or done next, in order.
pub(super) enum Item<'a> {
    Found(Version),
    Below(Task<'a>),
}

/// A page still to be read.
pub(super) struct Task<'a> {
    /// The directory, without a leading slash; empty is the root.
    path: Vec<u8>,
    work: Work<'a>,
}

enum Work<'a> {
    /// Find out in which of these trees it is a directory, and read it.
    Directory { above: Arc<Place<'a>>, trees: Vec<u16> },
    /// Go through some of its names.
    Names { place: Arc<Place<'a>>, listing: Arc<Listing<'a>>, from: usize },
}

/// A directory as the patterns see it.
struct Place<'a> {
    walk: Walk<'a>,
    depth: usize,
}

impl<'a> Task<'a> {
    /// Everything.
    pub(super) fn whole(search: &'a Search<'_>) -> Result<Vec<Item<'a>>> {
        let place = Place { walk: Walk::start(&search.query.patterns), depth: 0 };
        let trees: Vec<u16> = (0..search.roots.len()).filter_map(|root| u16::try_from(root).ok()).collect();
        let mut items = Vec::new();
        if place.walk.is_match() {
            tell(search, &[], c"", &trees, &mut items)?;
        }
        if !place.walk.is_over() {
            open(search, &[], &Arc::new(place), trees, &mut items)?;
        }
        Ok(items)
    }

    /// Its place in the order of what is told. NUL is in no name, so it stands for the slash and sorts first.
    pub(super) fn order(&self) -> Vec<u8> {
        let mut order = self.path.clone();
        if let Work::Names { listing, from, .. } = &self.work {
            push_name(&mut order, listing.name(*from));
        }
        order.iter_mut().filter(|byte| **byte == b'/').for_each(|byte| *byte = 0);
        order
    }

    pub(super) fn read(self, search: &'a Search<'_>) -> Result<Vec<Item<'a>>> {
        let mut items = Vec::new();
        match self.work {
            Work::Directory { above, trees } => {
                let name = self.path.rsplit(|byte| *byte == b'/').next().unwrap_or_default();
                let place = Place { walk: above.walk.enter(name), depth: above.depth + 1 };
                open(search, &self.path, &Arc::new(place), trees, &mut items)?;
            }
            Work::Names { place, listing, from } => {
                go_through(search, &self.path, &place, &listing, from, &mut items)?;
            }
        }
        Ok(items)
    }
}

/// Where only certain names can match they are looked up; otherwise the directory is read.
fn open<'a>(
    search: &'a Search<'_>,
    path: &[u8],
    place: &Arc<Place<'a>>,
    trees: Vec<u16>,
    items: &mut Vec<Item<'a>>,
) -> Result<()> {
    let Ok(c_path) = CString::new(path) else { return Ok(()) };
    let mut found = copies(search, &c_path, trees, false)?;
    found.retain(|(_, inode)| inode.is_directory());
    if !found.iter().any(|(tree, _)| search.roots[usize::from(*tree)].tree().is_some()) {
        return Ok(());
    }
    let listing = if let Some(names) = place.walk.only_names() {
        Listing::of_names(search, found.into_iter().map(|(tree, _)| tree).collect(), names)
    } else if place.depth > DEEPEST {
        search.leave_out(Cut::Depth);
        return Ok(());
    } else {
        Listing::read(search, &c_path, &found, &place.walk)?
    };
    let at_once = page_length(search);
    if listing.len() <= at_once {
        return go_through(search, path, place, &Arc::new(listing), 0, items);
    }
    let listing = Arc::new(listing);
    items.extend((0..listing.len()).step_by(at_once).map(|from| {
        let work = Work::Names { place: Arc::clone(place), listing: Arc::clone(&listing), from };
        Item::Below(Task { path: path.to_vec(), work })
    }));
    Ok(())
}

fn page_length(search: &Search<'_>) -> usize {
    (LOOKS_PER_PAGE / search.roots.len().max(1)).clamp(16, NAMES_PER_PAGE)
}

fn go_through<'a>(
    search: &'a Search<'_>,
    path: &[u8],
    place: &Arc<Place<'a>>,
    listing: &Arc<Listing<'a>>,
    from: usize,
    items: &mut Vec<Item<'a>>,
) -> Result<()> {
    for number in from..listing.len().min(from + page_length(search)) {
        let name = listing.name(number);
        let below = place.walk.enter(name);
        let mut path = path.to_vec();
        push_name(&mut path, name);
        if below.is_match()
            && let Ok(c_path) = CString::new(path.as_slice())
        {
            tell(search, &path, &c_path, &listing.having(number), items)?;
        }
        let trees = if below.is_over() { Vec::new() } else { listing.entering(number) };
        if !trees.is_empty() && path.len() <= LONGEST_PATH {
            items.push(Item::Below(Task { path, work: Work::Directory { above: Arc::clone(place), trees } }));
        }
    }
    Ok(())
}

/// What stands at a path in these trees; only the first of it where one is enough.
fn copies(search: &Search<'_>, path: &CStr, trees: Vec<u16>, one: bool) -> Result<Vec<(u16, Inode)>> {
    let mut found = Vec::with_capacity(if one { 1 } else { trees.len() });
    for tree in trees {
        if let Some(inode) = search.roots[usize::from(tree)].look(path)? {
            found.push((tree, inode));
            if one {
                break;
            }
        }
    }
    Ok(found)
}

/// What was read of a file, and its numbers if it is a device.
type Told = (Described, Option<(u32, u32)>);

/// The versions of a path.
fn tell<'a>(
    search: &'a Search<'_>,
    path: &[u8],
    c_path: &CStr,
    trees: &[u16],
    items: &mut Vec<Item<'a>>,
) -> Result<()> {
    let found = copies(search, c_path, trees.to_vec(), search.fold.needs_one())?;
    // The tree that is only looked at comes first, if there is one.
    match found.first() {
        Some((first, _)) if search.roots[usize::from(*first)].tree().is_some() => {}
        _ => return Ok(()),
    }
    let states: Vec<State> = found.iter().map(|(_, inode)| inode.state).collect();
    let mut last: Option<(State, Told)> = None;
    for folded in search.fold.versions(&states) {
        let (newest, inode) = &found[folded.newest];
        let root = &search.roots[usize::from(*newest)];
        let (described, device) = match last.take() {
            Some((state, described)) if state == inode.state => described,
            _ => root.describe(c_path, inode),
        };
        last = Some((inode.state, (described.clone(), device)));
        let Some(tree) = root.tree() else { continue };
        let entry = described.entry(tree.clone(), path.to_vec(), &inode.state);
        let history = search.query.history.then(|| history(search, &found, folded, device));
        items.push(Item::Found(Version { entry, history: history.flatten() }));
    }
    Ok(())
}

fn history(
    search: &Search<'_>,
    found: &[(u16, Inode)],
    folded: Folded,
    device: Option<(u32, u32)>,
) -> Option<History> {
    let (newest, oldest) = (&found[folded.newest], &found[folded.oldest]);
    let first: Tree = search.roots[usize::from(oldest.0)].tree()?.clone();
    let (inode, links) = (newest.1.state.number, newest.1.links);
    Some(History { first, copies: folded.copies, inode, links, device })
}

fn push_name(path: &mut Vec<u8>, name: &[u8]) {
    if !path.is_empty() {
        path.push(b'/');
    }
    path.extend_from_slice(name);
}
