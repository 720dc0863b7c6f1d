//! What is mounted in this machine's tree: `/proc/self/mountinfo` (proc(5)), read by the procfs crate.

use std::ffi::OsString;
use std::fmt::Write;
use std::fs;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use procfs::FromBufRead;
use procfs::process::{MountInfo, MountInfos};

use crate::model::Mount;

const MOUNTINFO: &str = "/proc/self/mountinfo";

/// All mounts, hidden ones too, in the kernel's order.
///
/// # Errors
/// When the kernel's list cannot be read or makes no sense; a backup without it would copy `/proc`.
pub fn all() -> Result<Vec<Mount>> {
    let bytes = fs::read(MOUNTINFO).with_context(|| format!("cannot read {MOUNTINFO}; is /proc mounted?"))?;
    parse(&bytes).with_context(|| format!("cannot understand {MOUNTINFO}"))
}

/// The mount that a path lies on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Holding {
    /// Where it is mounted.
    pub point: PathBuf,
    /// The file system's type.
    pub fs_type: String,
    /// What is mounted there, a device as a rule.
    pub source: String,
    options: Vec<String>,
}

impl Holding {
    /// Whether it is mounted with this option, of the mount or of its file system.
    pub fn has_option(&self, option: &str) -> bool {
        self.options.iter().any(|found| found == option)
    }
}

/// The mount that `path` lies on: of those on its way, the innermost, and of several on one point the
/// last.
///
/// # Errors
/// When the path is not there or the kernel's list cannot be read.
pub fn holding(path: &Path) -> Result<Holding> {
    let path = path.canonicalize().with_context(|| format!("cannot find {}", path.display()))?;
    let bytes = fs::read(MOUNTINFO).with_context(|| format!("cannot read {MOUNTINFO}; is /proc mounted?"))?;
    holding_in(&bytes, &path)?.with_context(|| format!("the kernel lists no mount for {}", path.display()))
}

fn holding_in(bytes: &[u8], path: &Path) -> Result<Option<Holding>> {
    let MountInfos(infos) = MountInfos::from_buf_read(escape_high_bytes(bytes).as_bytes())?;
    let point =
        |info: &MountInfo| PathBuf::from(OsString::from_vec(unescape(&info.mount_point.to_string_lossy())));
    let on_the_way = infos.into_iter().filter(|info| path.starts_with(point(info)));
    let innermost = on_the_way.max_by_key(|info| point(info).components().count());
    Ok(innermost.map(|info| Holding {
        point: point(&info),
        options: info.mount_options.keys().chain(info.super_options.keys()).cloned().collect(),
        fs_type: info.fs_type,
        source: info.mount_source.unwrap_or_default(),
    }))
}

fn parse(bytes: &[u8]) -> Result<Vec<Mount>> {
    let MountInfos(infos) = MountInfos::from_buf_read(escape_high_bytes(bytes).as_bytes())?;
    Ok(infos.into_iter().map(mount).collect())
}

fn mount(info: MountInfo) -> Mount {
    let point = PathBuf::from(OsString::from_vec(unescape(&info.mount_point.to_string_lossy())));
    let is_directory = is_directory(&info.root, &point);
    Mount { id: info.mnt_id, parent: info.pid, point, fs_type: info.fs_type, is_directory }
}

/// The root of a file system is a directory, which is known without asking a server that may be
/// down; only where a part of one is mounted the mount point has to be looked at.
fn is_directory(root: &str, point: &Path) -> bool {
    root == "/" || fs::symlink_metadata(point).map_or(true, |metadata| metadata.is_dir())
}

/// The crate reads text, a mount point is bytes: those above ASCII are written as the kernel itself
/// writes a space.
fn escape_high_bytes(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len());
    for &byte in bytes {
        match byte {
            // Writing to a String cannot fail.
            0x80.. => drop(write!(text, "\\{byte:03o}")),
            _ => text.push(char::from(byte)),
        }
    }
    text
}

/// `\040` and the like, as proc(5) describes them, back to bytes.
fn unescape(text: &str) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&first, after)) = rest.split_first() {
        let digits = after.get(..3).filter(|_| first == b'\\').and_then(|d| std::str::from_utf8(d).ok());
        let byte = digits.and_then(|digits| u8::from_str_radix(digits, 8).ok());
        bytes.push(byte.unwrap_or(first));
        rest = if byte.is_some() { &after[3..] } else { after };
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::os::unix::ffi::OsStrExt;

    #[test]
    fn every_mount_point_is_read_byte_for_byte() {
        let lines = b"22 1 8:1 / / rw shared:1 - ext4 /dev/sda1 rw\n\
                      30 22 0:40 / /mnt/a\\040b\\134c rw - nfs4 srv:/x rw,vers=4.2\n\
                      31 22 0:41 / /mnt/\xff\xc3\xa9 rw master:1 - fuse.sshfs  rw\n\
                      32 22 0:4 net:[4026531840] /proc/self/ns/net rw - nsfs nsfs rw\n";
        let mounts = parse(lines).unwrap();
        let points: Vec<_> = mounts.iter().map(|mount| mount.point.as_os_str().as_bytes()).collect();
        assert_eq!(points, [&b"/"[..], b"/mnt/a b\\c", b"/mnt/\xff\xc3\xa9", b"/proc/self/ns/net"]);
        assert_eq!((mounts[1].id, mounts[1].parent, mounts[1].fs_type.as_str()), (30, 22, "nfs4"));
        assert!(mounts[..3].iter().all(|mount| mount.is_directory));
    }

    #[test]
    fn a_path_lies_on_the_innermost_and_last_mount() {
        let lines = b"22 1 8:1 / / rw - ext4 /dev/sda1 rw\n\
                      30 22 0:40 / /srv rw,noatime - ext4 /dev/sdb rw\n\
                      31 30 0:41 / /srv rw,nosuid - btrfs /dev/loop3 rw,compress=zstd:3,user_subvol_rm_allowed\n";
        let store = holding_in(lines, Path::new("/srv/web1")).unwrap().unwrap();
        assert_eq!((store.source.as_str(), store.fs_type.as_str()), ("/dev/loop3", "btrfs"));
        assert!(store.has_option("user_subvol_rm_allowed") && store.has_option("nosuid"));
        assert!(!store.has_option("noatime"));
        assert_eq!(holding_in(lines, Path::new("/srvx")).unwrap().unwrap().point, Path::new("/"));
    }

    #[test]
    fn this_machine_has_a_root_and_a_proc() {
        let mounts = all().unwrap();
        for point in ["/", "/proc"] {
            assert!(mounts.iter().any(|mount| mount.point == Path::new(point)), "{point}");
        }
    }

    proptest! {
        #[test]
        fn high_bytes_survive(bytes in proptest::collection::vec(any::<u8>(), 0..30)) {
            let bytes: Vec<u8> = bytes.into_iter().filter(|b| *b != b'\\').collect();
            prop_assert_eq!(unescape(&escape_high_bytes(&bytes)), bytes);
        }
    }
}
