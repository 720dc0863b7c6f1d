//! A child that is watched while it runs: its output is handed on line by line as it comes, and a
//! signal to us ends it with all that it started. Nothing of it outlives the call but a daemon that
//! left its process group on purpose.

use std::io::Read;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;

use super::signals::{Signals, TICK};
use crate::model::escaped;

/// A line that is longer is cut into pieces; file names are shorter, and memory is finite.
const LONGEST_LINE: usize = 64 * 1024;
/// How long a child may take to tidy up after a signal before it is killed.
const GRACE: Duration = Duration::from_secs(10);
/// How long output is waited for after the child's end, when something else holds the pipe open.
const LINGER: Duration = Duration::from_secs(1);

/// Where a line came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stream {
    /// Standard output.
    Out,
    /// Standard error.
    Err,
}

/// How a child ended.
#[derive(Debug, Clone, Copy)]
pub struct Ended {
    /// What the kernel says.
    pub status: ExitStatus,
    /// The signal to us that made us end it.
    pub interrupted: Option<&'static str>,
}

impl Ended {
    /// `exit status 23`, or which signal killed it.
    pub fn describe(&self) -> String {
        match (self.status.code(), self.status.signal()) {
            (Some(code), _) => format!("exit status {code}"),
            (None, Some(signal)) => format!("killed by signal {signal}"),
            (None, None) => "no exit status".to_owned(),
        }
    }
}

/// Runs it to its end in a process group of its own. Lines end with `\n` or `\r`, which is cut off;
/// empty ones are left out. stdin is the caller's to set, both outputs are taken.
///
/// # Errors
/// When it cannot be started or waited for.
pub fn run(
    command: &mut Command,
    signals: &Signals,
    mut on_line: impl FnMut(Stream, &[u8]),
) -> Result<Ended> {
    command.stdout(Stdio::piped());
    attend(command, signals, &mut on_line)
}

/// The same for a program whose output goes where ours goes; only its stderr is handed on.
///
/// # Errors
/// As for [`run`].
pub fn run_on_stdout(
    command: &mut Command,
    signals: &Signals,
    mut on_line: impl FnMut(&[u8]),
) -> Result<Ended> {
    command.stdin(Stdio::null()).stdout(Stdio::inherit());
    attend(command, signals, &mut |_, line: &[u8]| on_line(line))
}

fn attend(
    command: &mut Command,
    signals: &Signals,
    on_line: &mut impl FnMut(Stream, &[u8]),
) -> Result<Ended> {
    command.stderr(Stdio::piped()).process_group(0);
    let program = command.get_program().to_string_lossy().into_owned();
    let mut child = command.spawn().with_context(|| format!("cannot start {program}"))?;
    let (sender, lines) = sync_channel(256);
    read_lines(child.stdout.take(), Stream::Out, sender.clone());
    read_lines(child.stderr.take(), Stream::Err, sender);
    let mut reaper = Reaper { child: &mut child, signals, interrupted: None };
    let status = reaper.wait(&lines, on_line).with_context(|| format!("cannot wait for {program}"))?;
    Ok(Ended { status, interrupted: reaper.interrupted.map(|(name, _)| name) })
}

/// The name of a running process's program (`/proc/PID/comm`, proc(5)); `None` when it has ended.
pub fn program_of(pid: i32) -> Option<String> {
    let name = std::fs::read(format!("/proc/{pid}/comm")).ok()?;
    Some(escaped(name.trim_ascii()))
}

struct Reaper<'a> {
    child: &'a mut Child,
    signals: &'a Signals,
    interrupted: Option<(&'static str, Instant)>,
}

impl Reaper<'_> {
    fn wait(
        &mut self,
        lines: &Receiver<(Stream, Vec<u8>)>,
        on_line: &mut impl FnMut(Stream, &[u8]),
    ) -> std::io::Result<ExitStatus> {
        let mut ended: Option<(ExitStatus, Instant)> = None;
        loop {
            let all_read = match lines.recv_timeout(TICK) {
                Ok((stream, line)) => {
                    on_line(stream, &line);
                    false
                }
                Err(RecvTimeoutError::Timeout) => false,
                Err(RecvTimeoutError::Disconnected) => true,
            };
            match ended {
                Some((status, since)) if all_read || since.elapsed() > LINGER => return Ok(status),
                Some(_) => {}
                None => {
                    self.obey_signals();
                    ended = self.child.try_wait()?.map(|status| (status, Instant::now()));
                    if all_read && ended.is_none() {
                        thread::sleep(TICK);
                    }
                }
            }
        }
    }

    /// First asks the whole group to end, later makes it end. The child is not reaped yet, so the
    /// number still is its own.
    fn obey_signals(&mut self) {
        let send = |signal| {
            let group = i32::try_from(self.child.id()).map(Pid::from_raw);
            // A group that has ended meanwhile needs no signal.
            let _ = group.map(|group| killpg(group, signal));
        };
        match (self.interrupted, self.signals.caught()) {
            (None, Some(name)) => {
                send(Signal::SIGTERM);
                self.interrupted = Some((name, Instant::now()));
            }
            (Some((_, since)), _) if since.elapsed() > GRACE => send(Signal::SIGKILL),
            _ => {}
        }
    }
}

fn read_lines(pipe: Option<impl Read + Send + 'static>, stream: Stream, to: SyncSender<(Stream, Vec<u8>)>) {
    let Some(mut pipe) = pipe else { return };
    thread::spawn(move || {
        let (mut buffer, mut line) = ([0; 8192], Vec::new());
        // An interrupted read is tried again by read_to_end and friends only, so it counts as an end
        // only when it says so.
        loop {
            let count = match pipe.read(&mut buffer) {
                Ok(0) => break,
                Ok(count) => count,
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
                Err(_) => break,
            };
            for &byte in &buffer[..count] {
                let ends = matches!(byte, b'\n' | b'\r');
                if !ends {
                    line.push(byte);
                }
                if (ends || line.len() >= LONGEST_LINE)
                    && !line.is_empty()
                    && to.send((stream, std::mem::take(&mut line))).is_err()
                {
                    return;
                }
            }
        }
        if !line.is_empty() {
            // Nobody listens any more: nothing to do.
            let _ = to.send((stream, line));
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::system::process;

    fn shell(script: &str) -> Command {
        let mut command = process::command("/bin/sh");
        command.args(["-c", script]).stdin(Stdio::null());
        command
    }

    #[test]
    fn both_outputs_come_line_by_line_also_without_an_end() {
        let signals = Signals::watch().unwrap();
        let mut lines = Vec::new();
        let script = "printf 'a\\r b\\n\\n'; sleep 0.2; echo err >&2; sleep 0.2; printf c; exit 7";
        let ended =
            run(&mut shell(script), &signals, |stream, line| lines.push((stream, line.to_vec()))).unwrap();
        assert_eq!(ended.describe(), "exit status 7");
        assert!(ended.interrupted.is_none());
        let expected: [(Stream, &[u8]); 4] =
            [(Stream::Out, b"a"), (Stream::Out, b" b"), (Stream::Err, b"err"), (Stream::Out, b"c")];
        assert_eq!(lines, expected.map(|(stream, line)| (stream, line.to_vec())));
    }

    #[test]
    fn a_grandchild_that_keeps_the_pipe_open_does_not_keep_us() {
        let signals = Signals::watch().unwrap();
        let begin = Instant::now();
        let mut lines = 0;
        let ended = run(&mut shell("echo x; sleep 30 & exit 0"), &signals, |_, _| lines += 1).unwrap();
        assert!(ended.status.success() && begin.elapsed() < Duration::from_secs(15));
        assert_eq!(lines, 1);
    }

    #[test]
    fn a_line_without_end_does_not_fill_the_memory() {
        let signals = Signals::watch().unwrap();
        let mut longest = 0;
        let script = "head -c 1000000 /dev/zero";
        run(&mut shell(script), &signals, |_, line| longest = longest.max(line.len())).unwrap();
        assert_eq!(longest, LONGEST_LINE);
    }

    #[test]
    fn a_signal_ends_the_child_and_what_it_started() {
        let signals = Signals::watch().unwrap();
        let mut pids = Vec::new();
        let ended = run(&mut shell("sleep 1000 & echo $!; wait; wait"), &signals, |_, line| {
            pids.push(String::from_utf8(line.to_vec()).unwrap());
            signals.pretend(nix::libc::SIGTERM);
        })
        .unwrap();
        assert_eq!(ended.interrupted, Some("SIGTERM"));
        let begin = Instant::now();
        let runs = |pid: &str| {
            let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
            !stat.is_empty() && !stat.contains(") Z ")
        };
        while runs(&pids[0]) && begin.elapsed() < GRACE {
            thread::sleep(TICK);
        }
        assert!(!runs(&pids[0]), "the grandchild still runs");
    }

    #[test]
    fn a_program_that_is_not_there_is_named() {
        let signals = Signals::watch().unwrap();
        let error = run(&mut process::command("/nonexistent/x"), &signals, |_, _| ()).unwrap_err();
        assert!(format!("{error:#}").contains("/nonexistent/x"));
    }
}
