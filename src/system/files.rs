//! Small files that must never be seen half written.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::Path;

use anyhow::{Context, Error, Result};
use nix::errno::Errno;

/// Replaces `path` by `content`: a temporary file beside it, written, flushed to the disk, renamed,
/// and the directory flushed too. After a crash there is the old file or the new one.
///
/// # Errors
/// When any of these steps fails; the old file is then untouched.
pub fn replace(path: &Path, content: &[u8], mode: u32) -> Result<()> {
    let directory = path.parent().context("a file without a directory")?;
    let write = || -> io::Result<()> {
        let mut file = tempfile::Builder::new().prefix(".new-").tempfile_in(directory)?;
        file.write_all(content)?;
        file.as_file().set_permissions(fs::Permissions::from_mode(mode))?;
        file.as_file().sync_all()?;
        file.persist(path).map_err(|error| error.error)?;
        File::open(directory)?.sync_all()
    };
    write().with_context(|| format!("cannot write {}", path.display()))
}

/// The same without waiting for the disk: every process sees the old file or the new one, but after a
/// crash of the machine it may be the old one again.
///
/// # Errors
/// When any of the steps fails; the old file is then untouched.
pub fn replace_for_now(path: &Path, content: &[u8], mode: u32) -> Result<()> {
    let directory = path.parent().context("a file without a directory")?;
    let write = || -> io::Result<()> {
        let mut file = tempfile::Builder::new().prefix(".new-").tempfile_in(directory)?;
        file.write_all(content)?;
        file.as_file().set_permissions(fs::Permissions::from_mode(mode))?;
        file.persist(path).map(|_| ()).map_err(|error| error.error)
    };
    write().with_context(|| format!("cannot write {}", path.display()))
}

/// The file's bytes; `None` when there is no such file.
///
/// # Errors
/// When it is there and cannot be read.
pub fn read_optional(path: &Path) -> Result<Option<Vec<u8>>> {
    match fs::read(path) {
        Ok(content) => Ok(Some(content)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error).with_context(|| format!("cannot read {}", path.display())),
    }
}

/// Whether anything in the chain says that the disk, or what of it this user may have, is full.
pub fn is_full(error: &Error) -> bool {
    let full = |kind| matches!(kind, io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded);
    error.chain().any(|cause| {
        cause.downcast_ref().is_some_and(|error: &io::Error| full(error.kind()))
            || matches!(cause.downcast_ref(), Some(Errno::ENOSPC | Errno::EDQUOT))
    })
}

/// When the inode at this path last changed, the path's last component not followed, in seconds and
/// nanoseconds since 1970; `None` when there is nothing or it cannot be looked at.
pub fn change_time(path: &Path) -> Option<(i64, u32)> {
    let found = fs::symlink_metadata(path).ok()?;
    Some((found.ctime(), u32::try_from(found.ctime_nsec()).unwrap_or(0)))
}

/// Opens a file for appending, made with this mode if it is not there.
///
/// # Errors
/// When it cannot be opened.
pub fn append(path: &Path, mode: u32) -> io::Result<File> {
    OpenOptions::new().append(true).create(true).mode(mode).open(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_replaced_whole_and_with_its_mode() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("state");
        assert_eq!(read_optional(&path).unwrap(), None);
        replace(&path, b"one", 0o600).unwrap();
        replace(&path, b"two", 0o640).unwrap();
        assert_eq!(read_optional(&path).unwrap().unwrap(), b"two");
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o640);
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1, "no temporary file is left");
    }

    #[test]
    fn a_full_disk_is_known_by_its_error_however_it_is_wrapped() {
        use std::io::{Error as Io, ErrorKind};
        for errno in [Errno::ENOSPC, Errno::EDQUOT] {
            assert!(is_full(&Error::from(errno).context("cannot open the lock")));
            assert!(is_full(&Error::from(Io::from(errno)).context("a").context("b")));
            let wrapped = Io::new(Io::from(errno).kind(), "at path x");
            assert!(is_full(&wrapped.into()), "as tempfile does it");
        }
        assert!(!is_full(&Error::from(Errno::EACCES)));
        assert!(!is_full(&Error::from(Io::from(ErrorKind::NotFound)).context("No space left on device")));
    }

    #[test]
    fn a_failed_write_names_the_file() {
        let error = replace(Path::new("/nonexistent/x/state"), b"", 0o600).unwrap_err();
        assert!(format!("{error:#}").contains("/nonexistent/x/state"));
    }
}
