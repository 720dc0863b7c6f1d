//! Where restored files go, and the proof that they came.

use std::collections::BTreeSet;
use std::fs::{self, DirBuilder};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use crate::model::{Failure, Tree, escaped};

/// The rule for where a tree's files go.
#[derive(Debug)]
pub(super) enum Place {
    /// A directory of the tree's name below this one, so that trees do not mix.
    ForEachTree(PathBuf),
    /// This very directory.
    Here(PathBuf),
    /// Where they came from.
    Original,
}

impl Place {
    /// `--to DIR` is DIR itself, unless several versions of one file would meet there.
    pub(super) fn new(to: Option<PathBuf>, all: bool, working_directory: PathBuf) -> Self {
        match to {
            None => Self::ForEachTree(working_directory),
            Some(to) if all => Self::ForEachTree(working_directory.join(to)),
            Some(to) => Self::Here(working_directory.join(to)),
        }
    }

    /// The directory for this tree; it need not be there.
    pub(super) fn of(&self, tree: &Tree) -> Result<PathBuf> {
        match self {
            Self::Original => Ok(PathBuf::from("/")),
            Self::Here(directory) => Ok(directory.clone()),
            Self::ForEachTree(parent) => not_elsewhere(parent.join(tree.as_str())),
        }
    }

    /// The directory for this tree, made (mode 0700) if it is missing.
    pub(super) fn directory(&self, tree: &Tree) -> Result<PathBuf> {
        let directory = self.of(tree)?;
        let shown = || escaped(directory.as_os_str().as_bytes());
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&directory)
            .with_context(|| format!("cannot make {}", shown()))?;
        fs::canonicalize(&directory).with_context(|| format!("cannot find {}", shown()))
    }
}

/// What stands in the way of a restore in place: a directory above a chosen path that is now a link or
/// no directory. rsync would put a directory in the place of such a link, and whoever made the link chose
/// where it leads, so neither is done.
pub(super) fn obstacle(root: &Path, chosen: &[Vec<u8>]) -> Option<PathBuf> {
    let mut seen = BTreeSet::new();
    for path in chosen {
        let slashes = (0..path.len()).filter(|at| path[*at] == b'/');
        for above in slashes.map(|at| below(root, &path[..at])) {
            if seen.contains(&above) {
                continue;
            }
            match fs::symlink_metadata(&above) {
                Ok(found) if found.is_dir() => drop(seen.insert(above)),
                Ok(_) => return Some(above),
                Err(_) => break,
            }
        }
    }
    None
}

/// A tree's name can be guessed, so a link that stands there in a directory such as /tmp may be a trap.
fn not_elsewhere(directory: PathBuf) -> Result<PathBuf> {
    match fs::symlink_metadata(&directory) {
        Ok(metadata) if !metadata.is_dir() => {
            let shown = escaped(directory.as_os_str().as_bytes());
            bail!(Failure::misuse(format!("{shown} is no directory; move it away or use --to")))
        }
        _ => Ok(directory),
    }
}

/// Whether each directory above a chosen path is there.
pub(super) fn has_parents(root: &Path, chosen: &[Vec<u8>]) -> bool {
    let parent =
        |path: &Vec<u8>| path.iter().rposition(|byte| *byte == b'/').map(|at| below(root, &path[..at]));
    let parents: BTreeSet<PathBuf> = chosen.iter().filter_map(parent).collect();
    parents.iter().all(|parent| parent.is_dir())
}

/// Those of the chosen paths that did not come.
pub(super) fn missing<'a>(directory: &Path, chosen: &'a [Vec<u8>]) -> Vec<&'a [u8]> {
    let is_there = |path: &[u8]| fs::symlink_metadata(below(directory, path)).is_ok();
    chosen.iter().map(Vec::as_slice).filter(|path| !is_there(path)).collect()
}

/// The place of one path of a tree.
pub(super) fn below(directory: &Path, path: &[u8]) -> PathBuf {
    directory.join(std::ffi::OsStr::from_bytes(path))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_of_one_file_never_meet() {
        let scratch = tempfile::tempdir().unwrap();
        let root = fs::canonicalize(scratch.path()).unwrap();
        let tree: Tree = "2026-11-20T23:47+0000".parse().unwrap();
        let made = |to: Option<&str>, all| {
            Place::new(to.map(PathBuf::from), all, root.clone()).directory(&tree).unwrap()
        };
        assert_eq!(made(None, false), root.join(tree.as_str()));
        assert_eq!(made(Some("d"), false), root.join("d"));
        assert_eq!(made(Some("d"), true), root.join("d").join(tree.as_str()));
        assert_eq!(missing(&root, &[b"d".to_vec(), b"x".to_vec()]), [b"x"]);
    }

    #[test]
    fn a_link_in_the_place_of_a_tree_is_not_followed() {
        let scratch = tempfile::tempdir().unwrap();
        std::os::unix::fs::symlink("/etc", scratch.path().join("current")).unwrap();
        let place = Place::new(None, false, scratch.path().to_owned());
        assert!(place.directory(&Tree::Current).unwrap_err().to_string().contains("is no directory"));
    }

    #[test]
    fn a_link_above_a_chosen_path_is_in_the_way_of_a_restore_in_place() {
        let scratch = tempfile::tempdir().unwrap();
        let root = scratch.path();
        fs::create_dir_all(root.join("home/jo")).unwrap();
        std::os::unix::fs::symlink("/etc", root.join("home/jo/x")).unwrap();
        fs::write(root.join("file"), "").unwrap();
        let in_the_way = |path: &str| obstacle(root, &[b"home/jo/f".to_vec(), path.as_bytes().to_vec()]);
        assert_eq!(in_the_way("home/jo/x/passwd"), Some(root.join("home/jo/x")));
        assert_eq!(in_the_way("file/x"), Some(root.join("file")));
        assert_eq!(in_the_way("home/jo/x"), None, "the link itself is replaced, never followed");
        assert_eq!(in_the_way("gone/a/b"), None);
        assert!(has_parents(root, &[b"home/jo/f".to_vec(), b"top".to_vec()]));
        assert!(!has_parents(root, &[b"home/jo/f".to_vec(), b"gone/x".to_vec()]));
    }
}
