//! What a backup reads and what it leaves out by itself: everything that is mounted from elsewhere
//! (network, memory, kernel) and the usual junk. Pure; it must never leave out `/` nor a source.
//!
//! A place that is left out is opened again along the way to a source below it, and no further:
//! `--source / --source /mnt/nfs/home` saves that one directory of `/mnt/nfs`.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fmt;
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};

use crate::model::Mount;

/// File systems that keep files on this machine, so that they are backed up.
const LOCAL: [&str; 19] = [
    "bcachefs", "btrfs", "exfat", "ext2", "ext3", "ext4", "f2fs", "fuseblk", "jfs", "nilfs", "nilfs2",
    "ntfs3", "overlay", "reiser4", "reiserfs", "rootfs", "vfat", "xfs", "zfs",
];

/// How much of a place is left out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Extent {
    /// What is below it; the directory itself stays, so that a restored machine has it.
    Content,
    /// A directory with all below it.
    Directory,
    /// Whatever is there.
    Itself,
}

/// A place that is not worth a backup.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Junk {
    path: PathBuf,
    extent: Extent,
}

impl Junk {
    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

/// The usual junk; it is left out where it exists.
pub fn usual_junk() -> Vec<Junk> {
    use Extent::{Content, Directory, Itself};
    [
        ("/swap.file", Itself),
        ("/tmp", Content),
        ("/var/tmp", Content),
        ("/var/cache/apt/archives", Content),
        ("/var/backups/localhost", Directory),
        ("/var/lib/php5", Directory),
        ("/var/lib/mysql", Directory),
    ]
    .map(|(path, extent)| Junk { path: PathBuf::from(path), extent })
    .into()
}

/// A rule for rsync, its pattern anchored at the root; the first rule that matches counts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Rule {
    /// Take it, although a later rule would leave it out.
    Include(Vec<u8>),
    /// Leave it out.
    Exclude(Vec<u8>),
}

/// Why a text is no source.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SourceError {
    /// It does not start with `/`.
    Relative,
    /// It holds `..`, whose meaning depends on symbolic links.
    Parent,
}

impl fmt::Display for SourceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Relative => "a source is an absolute path",
            Self::Parent => "a source is written without '..'",
        })
    }
}

impl std::error::Error for SourceError {}

/// A source in its plainest spelling. `.` and double slashes go: to rsync's `--relative` a `/./` means
/// that all before it is cut off, which would put the files elsewhere on the server.
///
/// # Errors
/// When it is relative or holds `..`.
pub fn parse_source(text: &OsStr) -> Result<PathBuf, SourceError> {
    let path = Path::new(text);
    if !path.is_absolute() {
        return Err(SourceError::Relative);
    }
    if path.components().any(|component| component == Component::ParentDir) {
        return Err(SourceError::Parent);
    }
    Ok(path.components().collect())
}

/// The rule that leaves out a directory of our own, unless a source lies in it.
pub fn rule_for_own(directory: &Path, sources: &[PathBuf]) -> Option<Rule> {
    let is_wanted = sources.iter().any(|source| source.starts_with(directory));
    (!is_wanted).then(|| Rule::Exclude(pattern(directory, Extent::Directory)))
}

/// The rules that leave out what is mounted from elsewhere and this junk, and nothing that is a source.
pub fn default_rules(sources: &[PathBuf], mounts: &[Mount], junk: &[Junk]) -> Vec<Rule> {
    let elsewhere = mounts.iter().filter(|mount| is_foreign(mount) && is_visible(mount, mounts));
    let mut places: BTreeSet<Junk> = elsewhere.map(place_of).chain(junk.iter().cloned()).collect();
    places.retain(|place| place.path != Path::new("/") && !sources.contains(&place.path));
    let outer: Vec<_> = places.iter().filter(|place| !is_opened(place, sources)).cloned().collect();
    places.retain(|place| !outer.iter().any(|above| is_below(&place.path, &above.path)));

    let (mut includes, mut excludes) = (BTreeSet::new(), BTreeSet::new());
    for place in &places {
        open_for_sources(place, sources, &mut includes, &mut excludes);
    }
    includes.into_iter().map(Rule::Include).chain(excludes.into_iter().map(Rule::Exclude)).collect()
}

fn place_of(mount: &Mount) -> Junk {
    let extent = if mount.is_directory { Extent::Content } else { Extent::Itself };
    Junk { path: mount.point.clone(), extent }
}

fn is_foreign(mount: &Mount) -> bool {
    !LOCAL.contains(&mount.fs_type.as_str())
}

/// Whether a path leads to this mount: nothing is mounted on top of it, nor on a directory above it
/// later than it. A rule for a hidden mount would hit the local files that hide it.
fn is_visible(mount: &Mount, mounts: &[Mount]) -> bool {
    let mut current = mount;
    // A chain of parents is not longer than the list, whatever the list says.
    for _ in 0..mounts.len() {
        let hidden = mounts.iter().any(|other| {
            let on_top = other.parent == current.id && other.id != current.id && other.point == current.point;
            on_top && std::ptr::eq(current, mount)
                || other.parent == current.parent && is_below(&current.point, &other.point)
        });
        if hidden {
            return false;
        }
        match mounts.iter().find(|other| other.id == current.parent && other.id != current.id) {
            Some(parent) => current = parent,
            None => return true,
        }
    }
    true
}

fn is_below(path: &Path, above: &Path) -> bool {
    path != above && path.starts_with(above)
}

fn is_opened(place: &Junk, sources: &[PathBuf]) -> bool {
    sources.iter().any(|source| is_below(source, &place.path))
}

/// The rules of one place. On the way down to a source each directory is taken and the rest of its
/// content is not.
fn open_for_sources(
    place: &Junk,
    sources: &[PathBuf],
    includes: &mut BTreeSet<Vec<u8>>,
    excludes: &mut BTreeSet<Vec<u8>>,
) {
    let below: Vec<_> = sources.iter().filter(|source| is_below(source, &place.path)).collect();
    if below.is_empty() {
        excludes.insert(pattern(&place.path, place.extent));
        return;
    }
    excludes.insert(pattern(&place.path, Extent::Content));
    for source in &below {
        if below.iter().any(|other| is_below(source, other)) {
            continue;
        }
        includes.insert(pattern(source, Extent::Itself));
        for directory in source.ancestors().skip(1).take_while(|path| is_below(path, &place.path)) {
            includes.insert(pattern(directory, Extent::Itself));
            excludes.insert(pattern(directory, Extent::Content));
        }
    }
}

/// rsync(1), PATTERN MATCHING RULES: a backslash quotes only where the pattern holds one of `*?[`.
fn pattern(path: &Path, extent: Extent) -> Vec<u8> {
    let bytes = path.as_os_str().as_bytes();
    let wild = extent == Extent::Content || bytes.iter().any(|b| b"*?[".contains(b));
    let mut pattern = Vec::with_capacity(bytes.len() + 2);
    for &byte in bytes {
        if wild && b"*?[\\".contains(&byte) {
            pattern.push(b'\\');
        }
        pattern.push(byte);
    }
    pattern.extend_from_slice(match extent {
        Extent::Content => b"/*",
        Extent::Directory => b"/",
        Extent::Itself => b"",
    });
    pattern
}

impl Rule {
    /// rsync's option for it.
    pub fn option(&self) -> Vec<u8> {
        let (name, pattern) = match self {
            Self::Include(pattern) => ("--include=", pattern),
            Self::Exclude(pattern) => ("--exclude=", pattern),
        };
        [name.as_bytes(), pattern].concat()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn mount(id: i32, parent: i32, point: &str, fs_type: &str) -> Mount {
        Mount { id, parent, point: PathBuf::from(point), fs_type: fs_type.to_owned(), is_directory: true }
    }

    fn paths(texts: &[&str]) -> Vec<PathBuf> {
        texts.iter().map(PathBuf::from).collect()
    }

    fn words(rules: &[Rule]) -> Vec<String> {
        rules.iter().map(|rule| String::from_utf8(rule.option()).unwrap()).collect()
    }

    #[test]
    fn a_usual_machine_leaves_out_kernel_memory_network_and_junk() {
        let mounts = [
            mount(1, 0, "/", "ext4"),
            mount(2, 1, "/proc", "proc"),
            mount(3, 2, "/proc/sys/fs/binfmt_misc", "binfmt_misc"),
            mount(4, 1, "/home", "xfs"),
            mount(5, 4, "/home/nfs dir", "nfs4"),
            mount(6, 1, "/tmp", "tmpfs"),
            Mount { is_directory: false, ..mount(7, 1, "/etc/resolv.conf", "tmpfs") },
        ];
        let rules = default_rules(&paths(&["/"]), &mounts, &usual_junk());
        assert_eq!(
            words(&rules),
            [
                "--exclude=/etc/resolv.conf",
                "--exclude=/home/nfs dir/*",
                "--exclude=/proc/*",
                "--exclude=/swap.file",
                "--exclude=/tmp/*",
                "--exclude=/var/backups/localhost/",
                "--exclude=/var/cache/apt/archives/*",
                "--exclude=/var/lib/mysql/",
                "--exclude=/var/lib/php5/",
                "--exclude=/var/tmp/*",
            ]
        );
    }

    #[test]
    fn a_source_is_never_left_out_and_only_the_way_to_it_is_opened() {
        let mounts = [mount(1, 0, "/", "tmpfs"), mount(2, 1, "/mnt/nfs", "nfs"), mount(3, 1, "/srv", "nfs")];
        let sources = paths(&["/", "/srv", "/mnt/nfs/a/b", "/mnt/nfs/a/b/c", "/var/lib/mysql/dump"]);
        let junk: Vec<_> = usual_junk().into_iter().filter(|j| j.path().ends_with("mysql")).collect();
        assert_eq!(
            words(&default_rules(&sources, &mounts, &junk)),
            [
                "--include=/mnt/nfs/a",
                "--include=/mnt/nfs/a/b",
                "--include=/var/lib/mysql/dump",
                "--exclude=/mnt/nfs/*",
                "--exclude=/mnt/nfs/a/*",
                "--exclude=/var/lib/mysql/*",
            ]
        );
    }

    #[test]
    fn a_local_file_system_on_top_of_an_automount_is_backed_up() {
        let mounts = [mount(1, 0, "/", "ext4"), mount(2, 1, "/srv", "autofs"), mount(3, 2, "/srv", "ext4")];
        assert!(default_rules(&paths(&["/"]), &mounts, &[]).is_empty());
    }

    #[test]
    fn a_network_mount_on_top_of_an_automount_is_left_out() {
        let mounts = [mount(1, 0, "/", "ext4"), mount(2, 1, "/srv", "autofs"), mount(3, 2, "/srv", "nfs")];
        assert_eq!(words(&default_rules(&paths(&["/"]), &mounts, &[])), ["--exclude=/srv/*"]);
    }

    #[test]
    fn local_files_that_hide_a_network_mount_are_backed_up() {
        let mounts = [mount(1, 0, "/", "ext4"), mount(2, 1, "/a/b", "nfs"), mount(3, 1, "/a", "ext4")];
        assert!(default_rules(&paths(&["/"]), &mounts, &[]).is_empty());
    }

    #[test]
    fn pattern_characters_in_a_path_stand_for_themselves() {
        assert_eq!(pattern(Path::new("/a*[\\?"), Extent::Content), br"/a\*\[\\\?/*");
        assert_eq!(pattern(Path::new("/a\\b"), Extent::Itself), br"/a\b");
        assert_eq!(pattern(Path::new("/a\\b*"), Extent::Itself), br"/a\\b\*");
    }

    #[test]
    fn sources_are_absolute_and_plain() {
        assert_eq!(parse_source(OsStr::new("/srv/./x//y/")).unwrap(), Path::new("/srv/x/y"));
        assert!(!parse_source(OsStr::new("/srv/./x")).unwrap().as_os_str().as_bytes().contains(&b'.'));
        assert_eq!(parse_source(OsStr::new("srv")), Err(SourceError::Relative));
        assert_eq!(parse_source(OsStr::new("")), Err(SourceError::Relative));
        assert_eq!(parse_source(OsStr::new("/srv/../etc")), Err(SourceError::Parent));
    }

    proptest! {
        #[test]
        fn neither_root_nor_a_source_nor_a_way_to_one_is_ever_left_out(
            sources in proptest::collection::vec("(/[ab]){1,4}", 1..4),
            points in proptest::collection::vec("(/[ab]){0,4}", 0..6),
        ) {
            let sources: Vec<_> = sources.iter().map(PathBuf::from).collect();
            // Each has a parent of its own, so that none hides another.
            let mounts: Vec<_> = points.iter().zip(2..).map(|(point, id)| {
                let point = if point.is_empty() { "/" } else { point };
                mount(id, 100 + id, point, "nfs")
            }).collect();
            let rules = default_rules(&sources, &mounts, &[]);
            for source in &sources {
                for path in source.ancestors().filter(|path| *path != Path::new("/")) {
                    let bytes = path.as_os_str().as_bytes();
                    let content = pattern(path.parent().unwrap(), Extent::Content);
                    let verdict = rules.iter().find(|rule| match rule {
                        Rule::Include(p) => p == bytes,
                        Rule::Exclude(p) => p == bytes || *p == content,
                    });
                    prop_assert!(!matches!(verdict, Some(Rule::Exclude(_))), "{:?} {:?}", path, rules);
                }
            }
        }
    }
}
