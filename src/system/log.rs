//! The log of the server half: one line a verdict, to syslog or the journal through `/dev/log`
//! (RFC 3164, facility daemon), or appended to a file where nobody listens there.
//!
//! A line that cannot be written is lost and nothing else happens: a full log must not stop a restore.

use std::fmt::Display;
use std::io::Write;
use std::os::unix::net::UnixDatagram;
use std::path::PathBuf;

use super::{clock, files};
use crate::model::server_config::LogTarget;

/// Facility daemon (3) times 8, plus severity informational (6) or warning (4).
const INFO: u8 = 30;
const WARNING: u8 = 28;

/// Where the lines go.
#[derive(Debug)]
pub struct Log {
    program: &'static str,
    socket: Option<UnixDatagram>,
    file: PathBuf,
}

impl Log {
    /// A log for this program; `file` is used when `target` says so or no syslog listens.
    pub fn open(program: &'static str, target: LogTarget, file: PathBuf) -> Self {
        let socket = match target {
            LogTarget::Syslog => connect(),
            LogTarget::File => None,
        };
        Self { program, socket, file }
    }

    /// A line that tells what happened.
    pub fn info(&self, line: impl Display) {
        self.write(INFO, &line.to_string());
    }

    /// A line that an administrator should look at.
    pub fn warning(&self, line: impl Display) {
        self.write(WARNING, &line.to_string());
    }

    fn write(&self, priority: u8, line: &str) {
        let (program, pid) = (self.program, std::process::id());
        let packet = format!("<{priority}>{program}[{pid}]: {line}");
        let sent = self.socket.as_ref().is_some_and(|socket| {
            socket.send(packet.as_bytes()).is_ok()
                // Started anew meanwhile, it has another socket.
                || connect().is_some_and(|again| again.send(packet.as_bytes()).is_ok())
        });
        if sent {
            return;
        }
        if let Ok(mut file) = files::append(&self.file, 0o600) {
            let now = clock::now().strftime("%Y-%m-%dT%H:%M:%SZ");
            let _ = file.write_all(format!("{now} {program}[{pid}]: {line}\n").as_bytes());
        }
    }
}

fn connect() -> Option<UnixDatagram> {
    let socket = UnixDatagram::unbound().ok()?;
    socket.connect("/dev/log").ok()?;
    // A syslogd that hangs must not hang every gate.
    socket.set_nonblocking(true).ok()?;
    Some(socket)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_in_the_file_is_one_line_with_time_program_and_text() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("log");
        let log = Log::open("byteback-test", LogTarget::File, path.clone());
        log.info("accept client=a");
        log.warning("refuse client=b");
        let text = std::fs::read_to_string(path).unwrap();
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.len(), 2);
        assert!(lines[0].contains("Z byteback-test[") && lines[0].ends_with("]: accept client=a"));
    }
}
