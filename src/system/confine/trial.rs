//! The cage tried out: what a kernel says that it offers is one thing, whether it holds another.

use std::fs::{self, File};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use nix::errno::Errno;
use nix::sys::prctl::set_dumpable;
use nix::unistd::isatty;

use super::{Cage, Layers, Plan, Reach, Reachable, Start, landlock_rules, strip_process};
use crate::system::{fork, process};

/// The file in which the confined child leaves what it saw.
const SEEN: &str = "seen";

const PATIENCE: Duration = Duration::from_secs(10);

/// Which layers held.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Held {
    /// A link could not be made.
    pub landlock: bool,
    /// ioctl was refused.
    pub seccomp: bool,
    /// The machine could not be seen.
    pub namespace: bool,
}

/// The version of Landlock's interface (landlock(7)): 0 without Landlock; those above 6 count as 6.
pub fn landlock_version() -> u32 {
    landlock_rules::version()
}

/// Has `program --version` run in the cage that the gate makes for a push, with `scratch` as its tree,
/// an empty directory whose content is lost. Beforehand the child tries what the layers forbid.
///
/// # Errors
/// When the cage cannot be made or the program does not run in it.
pub fn try_out(program: &Path, scratch: &Path, layers: Layers, max_memory: u64) -> Result<Held> {
    let directory: OwnedFd =
        File::open(scratch).with_context(|| format!("cannot open {}", scratch.display()))?.into();
    let trees = [Reachable { directory: &directory, reach: Reach::Write }];
    let mut cage =
        Cage::build(&Plan { trees: &trees, program: Some(program), start: Start::InTree, layers })?;
    let mut command = process::command(program);
    command.arg("--version").stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let mut child = fork::spawn_confined(&mut command, move || {
        // Who was root is not the owner of its own /proc/self (proc(5)), and without that there is no
        // namespace. sshd's children are: they became the user before they were executed.
        set_dumpable(true)?;
        strip_process(&[], max_memory)?;
        cage.enter()?;
        fs::write(SEEN, seen())
    })?;
    let name = program.display().to_string();
    let status = process::wait_within(&mut child, &name, PATIENCE)?;
    ensure!(status.success(), "{name} --version ended with {status}");
    let seen = fs::read_to_string(scratch.join(SEEN)).context("the confined program left nothing behind")?;
    let held = |layer: &str| seen.split(' ').any(|word| word == layer);
    Ok(Held { landlock: held("landlock"), seccomp: held("seccomp"), namespace: held("namespace") })
}

/// What holds this process, found out by trying: the layers' names.
fn seen() -> String {
    let is = |outcome: io::Result<()>, errno: Errno| {
        outcome.is_err_and(|error| error.raw_os_error() == Some(errno as i32))
    };
    let held = [
        ("landlock", is(symlink("nowhere", "link"), Errno::EACCES)),
        ("seccomp", isatty(io::stdin()) == Err(Errno::EPERM)), // TCGETS is an ioctl
        ("namespace", !Path::new("/proc").exists()),
    ];
    held.iter().filter(|(_, held)| *held).map(|(layer, _)| *layer).collect::<Vec<_>>().join(" ")
}
