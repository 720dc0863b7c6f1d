//! The attributes of one directory as a number.

use std::path::Path;

use nix::sys::stat::FileStat;
use sha2::{Digest, Sha256};

/// A number that changes when mode, owner, extended attributes or ACLs change. What cannot be read counts
/// as not there, as it does for rsync.
pub(super) fn fingerprint(stat: &FileStat, path: &Path) -> u64 {
    let mut digest = Sha256::new();
    for number in [stat.st_mode, stat.st_uid, stat.st_gid] {
        digest.update(number.to_le_bytes());
    }
    let mut names: Vec<_> = xattr::list(path).into_iter().flatten().collect();
    names.sort();
    for name in names {
        let value = xattr::get(path, &name).ok().flatten().unwrap_or_default();
        for text in [name.as_encoded_bytes(), &value] {
            digest.update((text.len() as u64).to_le_bytes());
            digest.update(text);
        }
    }
    let digest = digest.finalize();
    u64::from_le_bytes([0, 1, 2, 3, 4, 5, 6, 7].map(|at| digest[at]))
}
