//! Work on an enemy's files by a copy of this process that is confined first, and the few bytes that it brings back.
//! They lie in a file in memory, so that nobody has to read them while the copy is at work.

use std::fs::File;
use std::io::{self, Read, Seek, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

use anyhow::{Context, Result};
use nix::fcntl::{FcntlArg, SealFlag, fcntl};
use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::unistd::alarm;

use super::confine::{self, Cage};
use super::fork::{self, Running};
use crate::model::failure::status_of;

/// What the copy may take.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Bytes of data.
    pub memory: u64,
    /// Time; then SIGALRM ends it.
    pub time: Duration,
    /// Bytes of the result; more is an error.
    pub result: u64,
}

/// A copy at work.
#[derive(Debug)]
pub struct Errand {
    /// Its process, to be waited for.
    pub child: Running,
    result: File,
    most: u64,
}

/// Has a copy of this process enter the cage, do `work` and end with its status (0 when it went well, else what the
/// error says, with the error's text as the result). Nothing is open to it but the standard three, `keep`, and the
/// file that `work` gets for its result.
///
/// # Errors
/// When the copy cannot be made. When it cannot be confined, it ends without any work.
pub fn send(
    cage: Cage,
    keep: &[BorrowedFd<'_>],
    limits: &Limits,
    work: impl FnOnce(&mut File) -> Result<()>,
) -> Result<Errand> {
    let mut result = sheet(limits.result).context("cannot make a file in memory")?;
    let child = fork::copy(|| {
        let done = tie_hands(cage, limits).map_err(Into::into).and_then(|()| {
            let keep: Vec<BorrowedFd<'_>> = keep.iter().copied().chain([result.as_fd()]).collect();
            fork::close_all_but(&keep)?;
            work(&mut result)
        });
        done.map_or_else(|error| report(&mut result, &error), |()| 0)
    })?;
    Ok(Errand { child, result, most: limits.result })
}

/// A file that cannot grow beyond this, whoever writes to it (memfd_create(2), fcntl(2) F_ADD_SEALS).
fn sheet(size: u64) -> io::Result<File> {
    let file = File::from(memfd_create("errand", MFdFlags::MFD_CLOEXEC | MFdFlags::MFD_ALLOW_SEALING)?);
    file.set_len(size)?;
    fcntl(&file, FcntlArg::F_ADD_SEALS(SealFlag::F_SEAL_GROW | SealFlag::F_SEAL_SHRINK))?;
    Ok(file)
}

fn tie_hands(cage: Cage, limits: &Limits) -> io::Result<()> {
    confine::strip_process(&[], limits.memory)?;
    fork::lower_priority();
    alarm::set(u32::try_from(limits.time.as_secs()).unwrap_or(u32::MAX));
    cage.enter()
}

/// Leaves the error's text in place of whatever was brought so far, and gives the status.
fn report(result: &mut File, error: &anyhow::Error) -> u8 {
    let _ = result.rewind().and_then(|()| result.write_all(format!("{error:#}").as_bytes())); // the status says enough
    status_of(error).into()
}

impl Errand {
    /// What it brought back, when it has ended.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn result(mut self) -> Result<Vec<u8>> {
        let mut read = || -> io::Result<Vec<u8>> {
            let written = self.result.stream_position()?; // both have the same place in the file: fork(2)
            let mut bytes = Vec::new();
            self.result.rewind()?;
            (&self.result).take(written.min(self.most)).read_to_end(&mut bytes)?;
            Ok(bytes)
        };
        read().context("cannot read what was found")
    }
}
