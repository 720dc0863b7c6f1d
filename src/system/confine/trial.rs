//! The cage tried out: what a kernel says that it offers is one thing, whether it holds another.

use std::fs::{self, File};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::{ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use nix::errno::Errno;
use nix::unistd::{Pid, getppid, isatty};

use super::{Cage, Layers, Plan, Reach, Reachable, Start, landlock_rules};
use crate::system::fork::Running;
use crate::system::process;

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
    let cage = Cage::build(&Plan { trees: &trees, program: Some(program), start: Start::InTree, layers })?;
    let nothing =
        File::options().read(true).write(true).open("/dev/null").context("cannot open /dev/null")?;
    // Open files: in the cage there is no /dev.
    let nothing = || -> io::Result<Stdio> { Ok(nothing.try_clone()?.into()) };
    let mut command = process::command(program);
    command.arg("--version").stdin(nothing()?).stdout(nothing()?).stderr(nothing()?);
    let child = cage.start_and(&mut command, &[], max_memory, || fs::write(SEEN, seen()))?.go()?;
    let name = program.display();
    let status = wait_for(&child).with_context(|| format!("cannot wait for {name}"))?;
    ensure!(status.success(), "{name} --version ended with {status}");
    let seen = fs::read_to_string(scratch.join(SEEN)).context("the confined program left nothing behind")?;
    let held = |layer: &str| seen.split(' ').any(|word| word == layer);
    Ok(Held { landlock: held("landlock"), seccomp: held("seccomp"), namespace: held("namespace") })
}

fn wait_for(child: &Running) -> Result<ExitStatus> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(status);
        }
        if Instant::now() >= deadline {
            child.end();
            child.wait()?;
            bail!("it did not end within {} seconds", PATIENCE.as_secs());
        }
        thread::sleep(Duration::from_millis(2));
    }
}

/// What holds this process, found out by trying: the layers' names.
fn seen() -> String {
    let is = |outcome: io::Result<()>, errno: Errno| {
        outcome.is_err_and(|error| error.raw_os_error() == Some(errno as i32))
    };
    let held = [
        ("landlock", is(symlink("nowhere", "link"), Errno::EACCES)),
        ("seccomp", isatty(io::stdin()) == Err(Errno::EPERM)), // TCGETS is an ioctl
        ("namespace", !Path::new("/proc").exists() && getppid() == Pid::from_raw(0)),
    ];
    held.iter().filter(|(_, held)| *held).map(|(layer, _)| *layer).collect::<Vec<_>>().join(" ")
}
