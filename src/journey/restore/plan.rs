//! What to ask rsync for, so that exactly the chosen files come: pure, from listing to batches.
//!
//! All that comes from one tree comes in one run where that can be, for only within a run does rsync
//! know which names are hard links of one file. Up to two hundred plain names stand on the remote
//! command line. More do not fit there, and some cannot stand there: the gate takes no control
//! characters, and rsync's clients spell wildcards, backslashes, `~` and `` ` `` each in its own way
//! (3.2.7 and 3.5.0 differ). Then the closest plain directory above all of them is asked for, and
//! filter rules, which travel inside rsync's protocol, select just those names.

use std::collections::{BTreeMap, BTreeSet};

use crate::model::{Entry, Kind, Tree};
use crate::protocol::{lexer, rsync_args};

/// What the gate takes in one command, less what rsync's own options need.
const SOURCES: usize = rsync_args::MAX_SOURCES;
const COMMAND_LINE: usize = lexer::MAX_BYTES - 4 * 1024;
/// The gate bounds a source with its tree's name in bytes, so that rsync never cuts one short.
const LONGEST_SOURCE: usize = 3700;
/// Each name that the server's rsync meets is compared with the rules, one after the other, so their
/// number is bounded. Beyond it, and only there, hard links between two runs become copies.
const CHOSEN_BY_RULES: usize = 50_000;

/// What one run of rsync fetches.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Batch {
    /// The tree that all of it comes from.
    pub(super) tree: Tree,
    /// The paths on the remote command line, below the tree; the empty one is the tree itself.
    pub(super) sources: Vec<Vec<u8>>,
    /// Filter rules, as lines of rsync's `--filter=merge`; none for plain names.
    pub(super) rules: Vec<Rule>,
    /// What was chosen, for the proof that it came.
    pub(super) chosen: Vec<Vec<u8>>,
}

/// One filter rule, anchored at the tree's root.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Rule {
    /// Send what matches.
    Include(Vec<u8>),
    /// Pass over what matches.
    Exclude(Vec<u8>),
}

/// One file or directory to bring back.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Chosen {
    path: Vec<u8>,
    is_directory: bool,
}

impl Batch {
    /// A run that fetches these plain paths of one tree.
    pub(super) fn of_plain(tree: &Tree, paths: &[&[u8]]) -> Self {
        let sources: Vec<Vec<u8>> = paths.iter().map(|path| path.to_vec()).collect();
        Self { tree: tree.clone(), chosen: sources.clone(), sources, rules: Vec::new() }
    }

    /// Whether this path was chosen, or lies below what was: the directories above come along unasked.
    pub(super) fn asks_for(&self, path: &[u8]) -> bool {
        self.chosen.iter().any(|chosen| path == chosen || is_below(path, chosen))
    }
}

/// A run that fetches exactly these, of directories nothing but themselves.
pub(super) fn alone(tree: &Tree, paths: &[&[u8]]) -> Batch {
    let alone = |path: &&[u8]| Chosen { path: path.to_vec(), is_directory: false };
    let chosen: Vec<Chosen> = paths.iter().map(alone).collect();
    by_rules(tree, common_parent(&chosen), &chosen)
}

/// Batches, the oldest tree first, so that the newest of what two trees hold is written last.
pub(super) fn batches(entries: &[Entry]) -> Vec<Batch> {
    let mut trees: BTreeMap<&Tree, Vec<Chosen>> = BTreeMap::new();
    for entry in entries {
        let is_directory = entry.kind() == Kind::Directory;
        trees.entry(&entry.tree).or_default().push(Chosen { path: entry.path.clone(), is_directory });
    }
    trees.into_iter().flat_map(|(tree, chosen)| batches_of(tree, topmost(chosen))).collect()
}

/// Without what lies below a chosen directory: that comes with it.
fn topmost(mut chosen: Vec<Chosen>) -> Vec<Chosen> {
    // By component, so that what lies below a directory follows it at once.
    chosen.sort_by(|a, b| a.path.split(is_slash).cmp(b.path.split(is_slash)));
    let mut kept: Vec<Chosen> = Vec::new();
    for next in chosen {
        let covered = kept.last().is_some_and(|last| {
            last.path == next.path || last.is_directory && is_below(&next.path, &last.path)
        });
        if !covered {
            kept.push(next);
        }
    }
    kept
}

fn is_below(path: &[u8], directory: &[u8]) -> bool {
    directory.is_empty() || path.strip_prefix(directory).is_some_and(|rest| rest.starts_with(b"/"))
}

fn batches_of(tree: &Tree, chosen: Vec<Chosen>) -> Vec<Batch> {
    if fits_command_line(tree, &chosen) {
        let sources: Vec<Vec<u8>> = chosen.into_iter().map(|chosen| chosen.path).collect();
        return vec![Batch { tree: tree.clone(), chosen: sources.clone(), sources, rules: Vec::new() }];
    }
    chosen.chunks(CHOSEN_BY_RULES).map(|some| by_rules(tree, common_parent(some), some)).collect()
}

fn fits_command_line(tree: &Tree, chosen: &[Chosen]) -> bool {
    chosen.len() <= SOURCES
        && chosen.iter().all(|chosen| is_plain(&chosen.path))
        && chosen.iter().map(|chosen| words_length(tree, &chosen.path)).sum::<usize>() <= COMMAND_LINE
}

/// `TREE/./PATH` and a space, each byte escaped at worst.
fn words_length(tree: &Tree, path: &[u8]) -> usize {
    2 * (tree.as_str().len() + path.len() + 4)
}

/// The longest plain directory above all of these, perhaps the tree itself.
fn common_parent(chosen: &[Chosen]) -> &[u8] {
    let Some((first, rest)) = chosen.split_first() else { return b"" };
    let holds_all = |parent: &&[u8]| rest.iter().all(|other| is_below(&other.path, parent));
    parents(&first.path).find(|parent| is_plain(parent) && holds_all(parent)).unwrap_or_default()
}

/// The directories above a path, the nearest first, without the tree itself.
fn parents(path: &[u8]) -> impl Iterator<Item = &[u8]> {
    (0..path.len()).rev().filter(|at| path[*at] == b'/').map(|at| &path[..at])
}

/// Directories above a name are let through on the way to it, nothing else in them is.
fn by_rules(tree: &Tree, parent: &[u8], chosen: &[Chosen]) -> Batch {
    let (mut rules, mut above) = (Vec::new(), BTreeSet::new());
    for Chosen { path, is_directory } in chosen {
        let mut between: Vec<&[u8]> = parents(path).take_while(|at| at.len() > parent.len()).collect();
        between.reverse();
        let new = between.into_iter().filter(|directory| above.insert(*directory));
        rules.extend(new.map(|directory| Rule::Include(pattern(directory, b"/"))));
        rules.push(Rule::Include(pattern(path, if *is_directory { b"/***" } else { b"" })));
    }
    rules.push(Rule::Exclude(pattern(parent, if parent.is_empty() { b"**" } else { b"/**" })));
    let chosen = chosen.iter().map(|chosen| chosen.path.clone()).collect();
    Batch { tree: tree.clone(), sources: vec![parent.to_vec()], rules, chosen }
}

/// An anchored pattern that means these very bytes. A backslash escapes only in a pattern that holds a
/// wildcard; elsewhere it is a backslash (rsync(1), PATTERN MATCHING RULES).
fn pattern(path: &[u8], suffix: &[u8]) -> Vec<u8> {
    let is_wild = |byte: &u8| b"*?[".contains(byte);
    let escapes = path.iter().chain(suffix).any(is_wild);
    let mut pattern = vec![b'/'];
    for byte in path {
        if escapes && (is_wild(byte) || *byte == b'\\') {
            pattern.push(b'\\');
        }
        pattern.push(*byte);
    }
    pattern.extend_from_slice(suffix);
    pattern
}

fn is_plain(path: &[u8]) -> bool {
    let spelled_alike = |byte: &u8| !byte.is_ascii_control() && !b"*?[]\\~`".contains(byte);
    path.len() <= LONGEST_SOURCE && path.iter().all(spelled_alike)
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "the signature that slice::split wants")]
fn is_slash(byte: &u8) -> bool {
    *byte == b'/'
}

#[cfg(test)]
mod tests {
    use super::*;
    use jiff::Timestamp;
    use proptest::prelude::*;

    fn entry(tree: &str, path: &[u8], mode: u32) -> Entry {
        Entry {
            tree: tree.parse().unwrap(),
            path: path.to_vec(),
            mode,
            uid: 0,
            gid: 0,
            size: 0,
            mtime: Timestamp::UNIX_EPOCH,
            target: None,
        }
    }

    fn file(path: &[u8]) -> Entry {
        entry("s1", path, 0o100_644)
    }

    fn directory(path: &[u8]) -> Entry {
        entry("s1", path, 0o040_755)
    }

    fn chosen(entries: &[Entry]) -> Vec<Vec<u8>> {
        batches(entries).into_iter().flat_map(|batch| batch.chosen).collect()
    }

    #[test]
    fn what_lies_below_a_chosen_directory_is_not_asked_for_twice() {
        let entries =
            [file(b"a/c"), directory(b"a-b"), directory(b"a"), file(b"a/c"), file(b"a-b/x"), file(b"ab")];
        assert_eq!(chosen(&entries), [b"a".to_vec(), b"a-b".to_vec(), b"ab".to_vec()]);
        assert_eq!(chosen(&[file(b"etc/x"), directory(b""), directory(b"etc")]), [b"".to_vec()]);
        assert_eq!(chosen(&[file(b"a"), file(b"a/b")]).len(), 2, "a file hides nothing");
    }

    #[test]
    fn the_newest_tree_is_written_last() {
        let trees = ["current", "2026-11-20T23:47+0000", "2025-11-20T23:47+0000", "kept"];
        let entries: Vec<_> = trees.iter().map(|tree| entry(tree, b"f", 0o100_644)).collect();
        let order: Vec<_> = batches(&entries).into_iter().map(|batch| batch.tree.to_string()).collect();
        assert_eq!(order, [trees[3], trees[2], trees[1], trees[0]]);
    }

    #[test]
    fn what_comes_from_one_tree_comes_in_one_run_so_that_hard_links_stay_links() {
        let few: Vec<_> = (0..200).map(|n| file(format!("a/f{n}").as_bytes())).collect();
        assert_eq!((batches(&few).len(), batches(&few)[0].sources.len()), (1, 200));
        let many: Vec<_> = (0..450).map(|n| file(format!("a/b{}/f{n}", n % 3).as_bytes())).collect();
        let planned = batches(&many);
        assert_eq!((planned.len(), planned[0].sources.as_slice()), (1, &[b"a".to_vec()][..]));
        assert_eq!(planned[0].rules.len(), 450 + 3 + 1, "each file, each directory above, and the end");
        let long: Vec<_> = (0..9).map(|n| file(format!("{n}{}", "x".repeat(4000)).as_bytes())).collect();
        assert_eq!(batches(&long).len(), 1, "rules below the tree itself");
    }

    #[test]
    fn a_name_that_cannot_be_spelled_is_selected_by_rules_below_a_plain_parent() {
        let planned = batches(&[file(b"a b/c/new\nline/x*y"), file(b"a b/c/q")]);
        assert_eq!(planned.len(), 1);
        assert_eq!(planned[0].sources, [b"a b/c".to_vec()]);
        assert_eq!(
            planned[0].rules,
            [
                Rule::Include(b"/a b/c/new\nline/".to_vec()),
                Rule::Include(b"/a b/c/new\nline/x\\*y".to_vec()),
                Rule::Include(b"/a b/c/q".to_vec()),
                Rule::Exclude(b"/a b/c/**".to_vec()),
            ]
        );
        assert_eq!(batches(&[file(b"ab/x~"), file(b"ab/y"), file(b"abc")])[0].sources, [b"".to_vec()]);
    }

    #[test]
    fn a_directory_alone_comes_without_what_is_in_it() {
        let batch = alone(&Tree::Current, &[b"a/d"]);
        let rules = [Rule::Include(b"/a/d".to_vec()), Rule::Exclude(b"/a/**".to_vec())];
        assert_eq!((batch.sources.as_slice(), batch.rules.as_slice()), (&[b"a".to_vec()][..], &rules[..]));
    }

    #[test]
    fn a_backslash_is_doubled_only_where_a_wildcard_makes_it_an_escape() {
        assert_eq!(pattern(b"a\\b", b""), b"/a\\b");
        assert_eq!(pattern(b"a\\b", b"/***"), b"/a\\\\b/***");
        assert_eq!(pattern(b"a\\*", b""), b"/a\\\\\\*");
        let top = batches(&[directory(b"~x")]);
        let rules = [Rule::Include(b"/~x/***".to_vec()), Rule::Exclude(b"/**".to_vec())];
        assert_eq!(
            (top[0].sources.as_slice(), top[0].rules.as_slice()),
            ([b"".to_vec()].as_slice(), &rules[..])
        );
    }

    proptest! {
        #[test]
        fn nothing_odd_reaches_the_command_line_and_nothing_is_forgotten(
            paths in proptest::collection::vec("[a~*\\\\\n ]{1,3}(/[a~*\\\\\n ]{1,3}){0,3}", 1..20)
        ) {
            let entries: Vec<_> = paths.iter().map(|path| file(path.as_bytes())).collect();
            let planned = batches(&entries);
            prop_assert!(planned.iter().flat_map(|batch| &batch.sources).all(|source| is_plain(source)));
            let came: Vec<_> = planned.into_iter().flat_map(|batch| batch.chosen).collect();
            prop_assert!(paths.iter().all(|path| came.iter().any(|one| one == path.as_bytes())));
        }
    }
}
