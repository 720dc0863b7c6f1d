//! The operator's own programs in a directory: what is there, and how one of them is started. Which
//! names count and in what order they run is decided elsewhere (`policy::hook_order`).

use std::ffi::OsStr;
use std::fs;
use std::io::ErrorKind;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result};
use nix::unistd::{AccessFlags, access};

use super::{environment, process};

/// Variables that a hook keeps: programs find their configuration and their tools by them
/// (`mysqldump` reads `~/.my.cnf`).
const KEPT: [&str; 6] = ["HOME", "USER", "LOGNAME", "PATH", "LANG", "TMPDIR"];

/// All names in the directory; none when there is no directory.
///
/// # Errors
/// When it is there and cannot be read.
pub fn names(directory: &Path) -> Result<Vec<Vec<u8>>> {
    let entries = match fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error).with_context(|| format!("cannot read {}", directory.display())),
    };
    entries
        .map(|entry| Ok(entry?.file_name().as_bytes().to_vec()))
        .collect::<std::io::Result<_>>()
        .with_context(|| format!("cannot read {}", directory.display()))
}

/// Whether it is, behind symbolic links, a regular file that we may execute.
pub fn is_runnable(path: &Path) -> bool {
    path.is_file() && access(path, AccessFlags::X_OK).is_ok()
}

/// The hook as a command: nothing to read on stdin, and besides [`KEPT`] the usual bare environment.
pub fn command(path: &Path) -> Command {
    let mut command = process::command(path);
    let kept = KEPT.iter().filter_map(|name| Some((OsStr::new(name), environment::variable(name)?)));
    command.envs(kept).stdin(Stdio::null());
    command
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::{PermissionsExt, symlink};

    #[test]
    fn only_executable_regular_files_are_runnable() {
        let directory = tempfile::tempdir().unwrap();
        let at = |name: &str| directory.path().join(name);
        for (name, mode) in [("run", 0o755), ("text", 0o644)] {
            fs::write(at(name), "#!/bin/sh\n").unwrap();
            fs::set_permissions(at(name), fs::Permissions::from_mode(mode)).unwrap();
        }
        fs::create_dir(at("directory")).unwrap();
        symlink("run", at("link")).unwrap();
        symlink("nowhere", at("dangling")).unwrap();
        let mut names = names(directory.path()).unwrap();
        names.retain(|name| is_runnable(&directory.path().join(OsStr::from_bytes(name))));
        names.sort();
        assert_eq!(names, [b"link".to_vec(), b"run".to_vec()]);
    }

    #[test]
    fn no_directory_means_no_hooks_and_a_file_in_its_place_is_an_error() {
        assert!(names(Path::new("/nonexistent/pre-backup.d")).unwrap().is_empty());
        assert!(names(Path::new("/dev/null")).is_err());
    }
}
