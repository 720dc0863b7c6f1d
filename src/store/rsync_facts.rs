//! What the installed rsync says of itself, remembered in `STORE/.byteback/rsync.json` so that the gate
//! need not start it to know. It counts only as long as the program's file is the same.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};

use crate::model::escaped;
use crate::system::{files, process};

const PATIENCE: Duration = Duration::from_secs(10);
const LONGEST_VERSION: usize = 40;

/// One rsync.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RsyncFacts {
    /// 1
    pub schema: u32,
    /// The program's absolute path, as server.toml names it.
    pub path: PathBuf,
    /// Such as `3.5.0`; `unknown` when it does not say.
    pub version: String,
    /// Whether it takes `--confine-root=DIR`.
    pub knows_confine_root: bool,
    /// The file that it is.
    pub file: Identity,
}

/// By which a changed file is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    device: u64,
    inode: u64,
    size: u64,
    /// Seconds and nanoseconds since 1970 UTC.
    modified: (i64, i64),
}

impl Identity {
    fn of(program: &Path) -> Result<Self> {
        let found = fs::metadata(program).with_context(|| format!("cannot stat {}", program.display()))?;
        Ok(Self {
            device: found.dev(),
            inode: found.ino(),
            size: found.size(),
            modified: (found.mtime(), found.mtime_nsec()),
        })
    }
}

/// What is remembered of this program in the state directory; `None` when nothing is, or its file is
/// another one by now. Nothing is run.
pub fn facts(state: &Path, program: &Path) -> Option<RsyncFacts> {
    let bytes = files::read_optional(&path(state)).ok()??;
    let facts: RsyncFacts = serde_json::from_slice(&bytes).ok()?;
    let same = facts.schema == 1 && facts.path == program && Identity::of(program).ok()? == facts.file;
    same.then_some(facts)
}

/// Asks the program itself: `--version` and `--help` (rsync(1)), each for at most ten seconds.
///
/// # Errors
/// When it cannot be run or fails.
pub fn probe(program: &Path) -> Result<RsyncFacts> {
    let file = Identity::of(program)?;
    let version = version_in(&ask(program, "--version")?);
    let knows_confine_root = ask(program, "--help")?
        .split(|c: char| c.is_whitespace() || c == '=' || c == ',')
        .any(|word| word == "--confine-root");
    Ok(RsyncFacts { schema: 1, path: program.to_owned(), version, knows_confine_root, file })
}

/// Remembers the facts, mode 0600. The caller is the store's user.
///
/// # Errors
/// When they cannot be written; what was remembered before is then intact.
pub fn remember(state: &Path, facts: &RsyncFacts) -> Result<()> {
    files::replace(&path(state), &serde_json::to_vec(facts)?, 0o600)
}

fn path(state: &Path) -> PathBuf {
    state.join("rsync.json")
}

fn ask(program: &Path, question: &str) -> Result<String> {
    let mut command = process::command(program);
    let output = process::output_within(command.arg(question), PATIENCE)?;
    if !output.status.success() {
        bail!(process::describe_failure(&command, &output));
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// `3.5.0` from `rsync  version v3.5.0  protocol version 32`.
fn version_in(text: &str) -> String {
    let mut words = text.lines().next().unwrap_or_default().split_ascii_whitespace();
    let found = words.by_ref().any(|word| word == "version").then(|| words.next()).flatten();
    let version = found.map_or("unknown", |word| word.trim_start_matches('v'));
    escaped(version.as_bytes()).chars().take(LONGEST_VERSION).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    fn script(directory: &Path, help: &str) -> PathBuf {
        let program = directory.join("rsync");
        let text = format!(
            "#!/bin/sh\n[ -z \"$SECRET\" ] || exit 1\ncase $1 in\n--version) echo 'rsync  version 3.9.1  protocol version 33';;\n--help) echo '{help}';;\nesac\n"
        );
        fs::write(&program, text).unwrap();
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
        program
    }

    #[test]
    fn facts_count_as_long_as_the_program_is_the_same() {
        let directory = tempfile::tempdir().unwrap();
        let program = script(directory.path(), "--confine-root=DIR  refuse");
        assert_eq!(facts(directory.path(), &program), None);
        let probed = probe(&program).unwrap();
        assert_eq!((probed.version.as_str(), probed.knows_confine_root), ("3.9.1", true));
        remember(directory.path(), &probed).unwrap();
        assert_eq!(facts(directory.path(), &program), Some(probed.clone()));
        assert_eq!(
            facts(directory.path(), Path::new("/bin/true")),
            None,
            "of another program nothing is known"
        );
        let older = script(directory.path(), "--no-confine-root-here, --confine-rootless");
        assert_eq!(facts(directory.path(), &older), None, "the file has changed");
        assert!(!probe(&older).unwrap().knows_confine_root);
    }

    #[test]
    fn a_damaged_record_is_no_record() {
        let directory = tempfile::tempdir().unwrap();
        fs::write(path(directory.path()), "{\"schema\":1").unwrap();
        assert_eq!(facts(directory.path(), Path::new("/bin/true")), None);
    }

    #[test]
    fn a_program_that_is_not_there_or_fails_is_an_error() {
        assert!(probe(Path::new("/nonexistent/rsync")).is_err());
        assert!(probe(Path::new("/bin/false")).is_err());
    }

    #[test]
    fn the_version_is_found_in_the_first_line() {
        for (line, version) in [
            ("rsync  version 3.2.7  protocol version 31\nversion 9", "3.2.7"),
            ("rsync  version v3.5.0dev  protocol version 32", "3.5.0dev"),
            ("openrsync: protocol version", "unknown"),
            ("", "unknown"),
            ("rsync version \u{1b}[2J", "\\x1b[2J"),
        ] {
            assert_eq!(version_in(line), version, "{line}");
        }
    }
}
