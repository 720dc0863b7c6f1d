//! The server's host key, pinned in `CONFIG/known_hosts`, so that every later run compares with what
//! was accepted today and with nothing else.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use crate::model::Failure;
use crate::system::ssh::{self, Login};
use crate::system::{files, process};

/// The files that ssh shall know host keys from while a person sits there: a new key goes into the
/// first, ours.
pub(super) fn files(login: &Login, pinned: &Path) -> Result<Vec<PathBuf>> {
    let lookup = ssh::host_key_lookup(login)?;
    Ok(std::iter::once(pinned.to_owned()).chain(lookup.user_files).collect())
}

/// After a visit: if the key was known from the person's or the system's file, ssh wrote nothing, and
/// its lines are copied.
pub(super) fn ensure_pinned(login: &Login, pinned: &Path) -> Result<()> {
    let lookup = ssh::host_key_lookup(login)?;
    if !lines_for(&lookup.name, pinned)?.is_empty() {
        return Ok(());
    }
    for file in lookup.user_files.iter().chain(&lookup.system_files) {
        let lines = lines_for(&lookup.name, file)?;
        if !lines.is_empty() {
            let mut content = files::read_optional(pinned)?.unwrap_or_default();
            content.extend_from_slice(&lines);
            return files::replace(pinned, &content, 0o644);
        }
    }
    bail!(Failure::failed(format!(
        "ssh accepted the host key of {} but wrote it nowhere; put its line into {}",
        lookup.name,
        pinned.display()
    )))
}

/// The file's lines for this host, hashed ones too (ssh-keygen(1), `-F`).
pub(in crate::journey) fn lines_for(name: &str, file: &Path) -> Result<Vec<u8>> {
    if !file.exists() {
        return Ok(Vec::new());
    }
    let mut command = process::command("/usr/bin/ssh-keygen");
    command.args(["-F", name, "-f"]).arg(file);
    // Its status is 1 when it finds nothing.
    let output = process::output(&mut command).context("cannot look for a host key")?;
    let lines = output.stdout.split_inclusive(|byte| *byte == b'\n');
    Ok(lines.filter(|line| !line.starts_with(b"#")).flatten().copied().collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_lines_of_this_host_and_port_are_found() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("known_hosts");
        let key = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGv9q1uKJDyYB5Jnh2Hc1wlkq8DhEZNmfKyKyCGNq1gT";
        std::fs::write(&file, format!("[h]:2222 {key}\nh {key}\nother {key}\n")).unwrap();
        assert_eq!(lines_for("h", &file).unwrap(), format!("h {key}\n").into_bytes());
        assert_eq!(lines_for("[h]:2222", &file).unwrap(), format!("[h]:2222 {key}\n").into_bytes());
        assert!(lines_for("absent", &file).unwrap().is_empty());
        assert!(lines_for("h", &directory.path().join("absent")).unwrap().is_empty());
    }
}
