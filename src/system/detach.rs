//! Starting one of byteback's own programs so that it outlives this one: a session of its own, nothing
//! open but `/dev/null`, no signal blocked, and last in line for processor and disk.
//!
//! It is never waited for: whoever starts it has an answer to give and goes.

use std::ffi::OsString;
use std::io;
use std::process::Stdio;

use anyhow::{Context, Result};
use nix::sys::signal::SigSet;
use nix::unistd::setsid;

use super::{fork, process};

/// Starts the program `name` that lies beside the running one; `/` is its directory.
///
/// # Errors
/// When it is not there or cannot be started; or this process has threads.
pub fn start(name: &str, words: impl IntoIterator<Item = OsString>) -> Result<()> {
    let own = std::env::current_exe().context("cannot tell where this program lies")?;
    let mut command = process::command(own.with_file_name(name));
    command.args(words).current_dir("/");
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    fork::spawn(&mut command, leave)
}

/// What the child does last of all as a copy of its parent.
fn leave() -> io::Result<()> {
    setsid()?;
    SigSet::empty().thread_set_mask()?;
    fork::lower_priority();
    fork::close_on_exec_from(3)
}
