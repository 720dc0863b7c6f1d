//! Independent checks that two trees are the same, and that one has not changed.

use std::collections::BTreeMap;
use std::collections::hash_map::DefaultHasher;
use std::fs;
use std::hash::{Hash, Hasher};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::run::run;

/// Insists that stock rsync, as root, finds nothing to do in either direction: names, types, owners, modes,
/// times, hard links, ACLs, attributes, devices, link targets and every byte.
#[track_caller]
pub fn assert_equal_both_ways(one: &Path, other: &Path) {
    let entries = fs::read_dir(one).unwrap().count();
    assert!(entries > 0, "{} is empty: nothing is proved by comparing it", one.display());
    for (from, to) in [(one, other), (other, one)] {
        let ran = run(Command::new("rsync")
            .args(["-naHAX", "--numeric-ids", "--checksum", "--itemize-changes", "--delete"])
            .arg(slashed(from))
            .arg(slashed(to)))
        .must(0);
        assert!(ran.all().is_empty(), "the trees differ: {}", ran.story());
    }
}

/// What rsync would have to do to make `to` equal to `from`.
pub fn differences(from: &Path, to: &Path) -> String {
    let words = ["-naHAX", "--numeric-ids", "--checksum", "--itemize-changes", "--delete"];
    run(Command::new("rsync").args(words).arg(slashed(from)).arg(slashed(to))).must(0).text()
}

fn slashed(path: &Path) -> PathBuf {
    path.join("")
}

/// What can be seen of each file below a place: everything but times of access.
pub type Fingerprint = BTreeMap<PathBuf, u64>;

/// Looks at everything below `root`, except below the places that are named.
pub fn fingerprint(root: &Path, except: &[&Path]) -> Fingerprint {
    let mut seen = Fingerprint::new();
    look_at(root, except, &mut seen);
    seen
}

fn look_at(path: &Path, except: &[&Path], seen: &mut Fingerprint) {
    if except.contains(&path) {
        return;
    }
    let metadata = fs::symlink_metadata(path).unwrap();
    let mut hash = DefaultHasher::new();
    (metadata.mode(), metadata.uid(), metadata.gid(), metadata.rdev(), metadata.nlink()).hash(&mut hash);
    (metadata.mtime(), metadata.mtime_nsec(), metadata.ctime(), metadata.ctime_nsec()).hash(&mut hash);
    let mut names: Vec<_> = xattr::list(path).unwrap().collect();
    names.sort();
    for name in names {
        (&name, xattr::get(path, &name).unwrap()).hash(&mut hash);
    }
    let kind = metadata.file_type();
    if kind.is_file() {
        fs::read(path).unwrap().hash(&mut hash);
    } else if kind.is_symlink() {
        fs::read_link(path).unwrap().hash(&mut hash);
    } else if kind.is_dir() {
        for entry in fs::read_dir(path).unwrap() {
            look_at(&entry.unwrap().path(), except, seen);
        }
    } else {
        (kind.is_fifo(), kind.is_socket()).hash(&mut hash);
    }
    seen.insert(path.to_owned(), hash.finish());
}

/// Insists that nothing was added, removed or touched, and names what was.
#[track_caller]
pub fn assert_untouched(before: &Fingerprint, after: &Fingerprint) {
    let paths = before.keys().chain(after.keys());
    let changed: Vec<_> = paths.filter(|path| before.get(*path) != after.get(*path)).collect();
    assert!(changed.is_empty(), "changed: {changed:?}");
}
