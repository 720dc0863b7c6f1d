//! Who this machine and this process are.

use std::path::PathBuf;

use anyhow::{Context, Result};
use nix::unistd;

use super::process;

/// The machine's fully qualified name as `hostname -f` tells it, else its short name; any text, since
/// nothing was checked. `None` when it has no name that is UTF-8.
pub fn host_name() -> Option<String> {
    fully_qualified().or_else(|| unistd::gethostname().ok()?.into_string().ok())
}

fn fully_qualified() -> Option<String> {
    let program = process::find_program(&["/usr/bin/hostname", "/bin/hostname"])?;
    let printed = process::run(process::command(program).arg("-f")).ok()?;
    let name = String::from_utf8(printed).ok()?;
    Some(name.trim().to_owned()).filter(|name| !name.is_empty() && name != "localhost")
}

/// The running kernel's release, as `uname -r` prints it (proc(5)).
pub fn kernel_release() -> String {
    let text = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    text.trim().to_owned()
}

/// Whether this process may set owners and make devices.
pub fn is_root() -> bool {
    unistd::Uid::effective().is_root()
}

/// The directory in which this program was started.
///
/// # Errors
/// When it was removed meanwhile.
pub fn working_directory() -> Result<PathBuf> {
    std::env::current_dir().context("cannot tell the working directory")
}
