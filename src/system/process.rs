//! Other programs: named by absolute path, started with a cleared environment.
#![allow(clippy::disallowed_methods, reason = "this is the one place that starts programs")]

use std::ffi::OsStr;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use anyhow::{Context, Result, bail};

/// The environment of every program that byteback starts.
pub const PATH: &str = "/usr/sbin:/usr/bin:/sbin:/bin";

/// A command with nothing but `PATH`, `HOME=/nonexistent` and `LC_ALL=C.UTF-8` in its environment.
pub fn command(program: impl AsRef<Path>) -> Command {
    let mut command = Command::new(program.as_ref());
    command.env_clear().env("PATH", PATH).env("HOME", "/nonexistent").env("LC_ALL", "C.UTF-8");
    command
}

/// Runs it to its end and gives what it printed; a failure carries command, status and stderr.
///
/// # Errors
/// When it cannot be started or ends with another status than 0.
pub fn run(command: &mut Command) -> Result<Vec<u8>> {
    let output = output(command)?;
    if !output.status.success() {
        bail!(describe_failure(command, &output));
    }
    Ok(output.stdout)
}

/// Runs it to its end, stdin empty, both outputs kept.
///
/// # Errors
/// When it cannot be started.
pub fn output(command: &mut Command) -> Result<Output> {
    command
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("cannot start {}", command.get_program().to_string_lossy()))
}

/// `mkfs.btrfs /x failed (exit status: 1): no space left`.
pub fn describe_failure(command: &Command, output: &Output) -> String {
    let words: Vec<_> = std::iter::once(command.get_program())
        .chain(command.get_args())
        .map(OsStr::to_string_lossy)
        .collect();
    let stderr = String::from_utf8_lossy(&output.stderr);
    let last = stderr.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or("it printed nothing");
    format!("{} failed ({}): {}", words.join(" "), output.status, last.trim())
}

/// The first of these absolute paths that exists.
pub fn find_program<'a>(candidates: &[&'a str]) -> Option<&'a Path> {
    candidates.iter().map(|path| Path::new(*path)).find(|path| path.exists())
}
