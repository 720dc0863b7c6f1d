//! What of a file must be the same in two trees, read by ourselves: no rsync has a say in it.

use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

#[derive(PartialEq, Eq)]
pub struct Seen {
    mode: u32,
    owner: (u32, u32),
    device: u64,
    time: Option<(i64, i64)>,
    attributes: BTreeMap<String, Vec<u8>>,
    /// A regular file's bytes, a link's target.
    content: Vec<u8>,
    /// The first of all names of the same file.
    same_as: PathBuf,
}

impl fmt::Debug for Seen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<&String> = self.attributes.keys().collect();
        write!(f, "{:o} {:?} dev {:x} {:?} {} bytes ", self.mode, self.owner, self.device, self.time, self.content.len())?;
        write!(f, "{names:?} {:?}", self.same_as)
    }
}

impl Seen {
    pub fn is_file(&self) -> bool {
        self.mode & 0o170_000 == 0o100_000
    }
}

pub type Tree = BTreeMap<PathBuf, Seen>;

/// Looks at everything below `root`, itself included; times only where they count.
pub fn look(root: &Path, with_times: bool) -> Tree {
    let (mut tree, mut names) = (Tree::new(), BTreeMap::new());
    look_at(root, Path::new(""), with_times, &mut names, &mut tree);
    tree
}

fn look_at(
    root: &Path,
    name: &Path,
    with_times: bool,
    names: &mut BTreeMap<u64, PathBuf>,
    tree: &mut Tree,
) {
    let path = root.join(name);
    let metadata = fs::symlink_metadata(&path).unwrap();
    let kind = metadata.file_type();
    let attributes = xattr::list(&path).unwrap().map(|name| {
        let value = xattr::get(&path, &name).unwrap().unwrap_or_default();
        (name.to_string_lossy().into_owned(), value)
    });
    let content = if kind.is_file() {
        fs::read(&path).unwrap()
    } else if kind.is_symlink() {
        fs::read_link(&path).unwrap().into_os_string().into_encoded_bytes()
    } else {
        Vec::new()
    };
    let is_device = kind.is_block_device() || kind.is_char_device();
    let seen = Seen {
        mode: metadata.mode(),
        owner: (metadata.uid(), metadata.gid()),
        device: if is_device { metadata.rdev() } else { 0 },
        time: with_times.then(|| (metadata.mtime(), metadata.mtime_nsec())),
        attributes: attributes.collect(),
        content,
        same_as: if kind.is_dir() { name.to_owned() } else { first_name(names, metadata.ino(), name) },
    };
    tree.insert(name.to_owned(), seen);
    if kind.is_dir() {
        let mut inner: Vec<_> = fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        inner.sort();
        for inner in inner {
            look_at(root, &name.join(inner), with_times, names, tree);
        }
    }
}

fn first_name(names: &mut BTreeMap<u64, PathBuf>, inode: u64, name: &Path) -> PathBuf {
    names.entry(inode).or_insert_with(|| name.to_owned()).clone()
}

/// What is not the same in two trees, as an error.
pub fn same(what: &str, one: &Tree, other: &Tree) -> Result<(), String> {
    assert!(one.len() > 100, "{what}: hardly anything was compared");
    let names = one.keys().chain(other.keys()).filter(|name| one.get(*name) != other.get(*name));
    let different: Vec<String> = names
        .take(5)
        .map(|name| format!("\n    {name:?}\n      {:?}\n      {:?}", one.get(name), other.get(name)))
        .collect();
    if different.is_empty() { Ok(()) } else { Err(format!("{what} differs:{}", different.concat())) }
}
