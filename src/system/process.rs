//! Other programs: named by absolute path, started with a cleared environment.
#![allow(clippy::disallowed_methods, reason = "this is the one place that starts programs")]

use std::ffi::OsStr;
use std::fs::File;
use std::io::{Read, Seek};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::thread;
use std::time::{Duration, Instant};

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

/// The most that [`output_within`] keeps of each output.
const MOST_OUTPUT: u64 = 256 * 1024;

/// As [`output`], but a program that takes longer is killed, and only the first 256 KiB are kept.
///
/// # Errors
/// When it cannot be started, or did not end in time.
pub fn output_within(command: &mut Command, patience: Duration) -> Result<Output> {
    let name = command.get_program().to_string_lossy().into_owned();
    // Files take whatever is printed without a thread that reads: the caller may want to fork later.
    let file = || tempfile::tempfile().context("cannot make a temporary file");
    let (mut stdout, mut stderr) = (file()?, file()?);
    command.stdin(Stdio::null()).stdout(stdout.try_clone()?).stderr(stderr.try_clone()?);
    let mut child = command.spawn().with_context(|| format!("cannot start {name}"))?;
    let status = wait_within(&mut child, &name, patience)?;
    Ok(Output { status, stdout: beginning(&mut stdout)?, stderr: beginning(&mut stderr)? })
}

/// Waits for a child, which is killed when it takes longer.
///
/// # Errors
/// When it did not end in time.
pub fn wait_within(child: &mut Child, name: &str, patience: Duration) -> Result<ExitStatus> {
    let deadline = Instant::now() + patience;
    loop {
        if let Some(status) = child.try_wait().with_context(|| format!("cannot wait for {name}"))? {
            return Ok(status);
        }
        if Instant::now() >= deadline {
            let _ = child.kill();
            let _ = child.wait();
            bail!("{name} did not end within {} seconds", patience.as_secs());
        }
        thread::sleep(Duration::from_millis(2));
    }
}

fn beginning(file: &mut File) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    file.rewind()?;
    file.take(MOST_OUTPUT).read_to_end(&mut bytes)?;
    Ok(bytes)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_that_does_not_end_is_killed_and_one_that_ends_is_heard() {
        let started = Instant::now();
        let slow = output_within(command("/bin/sleep").arg("60"), Duration::from_millis(50)).unwrap_err();
        assert!(slow.to_string().contains("/bin/sleep") && started.elapsed() < Duration::from_secs(30));
        let mut echo = command("/bin/sh");
        let heard =
            output_within(echo.args(["-c", "echo out; echo err >&2; exit 3"]), Duration::from_secs(30));
        let heard = heard.unwrap();
        assert_eq!(
            (heard.status.code(), &*heard.stdout, &*heard.stderr),
            (Some(3), &b"out\n"[..], &b"err\n"[..])
        );
    }
}
