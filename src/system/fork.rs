//! Starting a child that ties its own hands between fork(2) and execve(2).
#![allow(unsafe_code, reason = "only between fork and exec can a child confine itself and not its parent")]

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::{Child, Command, ExitStatus};

use anyhow::{Context, Result, ensure};
use nix::errno::Errno;
use nix::libc;
use nix::sys::signal::SigSet;
use nix::unistd::{Pid, setpgid};

/// The status of a copy that panicked, as the standard library's own.
const PANICKED: u8 = 101;

/// Starts `command`; `tie_hands` runs in the child, last thing before the program takes over. When it
/// fails the program never starts.
///
/// # Errors
/// When this process has more than one thread, when `tie_hands` fails, or the program cannot start.
pub fn spawn_confined(
    command: &mut Command,
    tie_hands: impl FnMut() -> io::Result<()> + Send + Sync + 'static,
) -> Result<Child> {
    ensure!(is_single_threaded()?, "a process with threads cannot fork safely");
    // SAFETY: the closure runs in a copy of this process that has only the thread that forked, and
    // there was no other (checked above), so no lock or allocator can be in a broken state.
    let command = unsafe { command.pre_exec(tie_hands) };
    command.spawn().with_context(|| format!("cannot start {}", command.get_program().to_string_lossy()))
}

/// A copy of this process that goes on with work of its own.
#[derive(Debug)]
pub struct Forked(Pid);

/// Makes a copy of this process that does `work` and ends with the status that it gives. It leads a process group of
/// its own and blocks no signals; nothing of its parent is dropped or flushed when it ends.
///
/// # Errors
/// When this process has more than one thread, or the kernel refuses.
pub fn fork(work: impl FnOnce() -> u8) -> Result<Forked> {
    ensure!(is_single_threaded()?, "a process with threads cannot fork safely");
    // SAFETY: there is no thread but this one (checked above), so in the copy no lock or allocator can be in
    // a broken state.
    let pid = match unsafe { libc::fork() } {
        -1 => return Err(io::Error::last_os_error()).context("cannot fork"),
        0 => {
            let begun =
                SigSet::empty().thread_set_mask().and_then(|()| setpgid(Pid::from_raw(0), Pid::from_raw(0)));
            let status = match begun {
                Ok(()) => catch_unwind(AssertUnwindSafe(work)).unwrap_or(PANICKED),
                Err(_) => 1,
            };
            // SAFETY: the call ends this process at once; what its parent left in memory is the parent's to drop.
            unsafe { libc::_exit(status.into()) }
        }
        pid => Pid::from_raw(pid),
    };
    let _ = setpgid(pid, pid); // whichever of the two is first
    Ok(Forked(pid))
}

/// A child that can be waited for.
pub trait Waitable {
    /// Its process.
    fn id(&self) -> u32;

    /// Waits for its end; once.
    ///
    /// # Errors
    /// When there is no such child.
    fn wait(&mut self) -> io::Result<ExitStatus>;
}

impl Waitable for Child {
    fn id(&self) -> u32 {
        Self::id(self)
    }

    fn wait(&mut self) -> io::Result<ExitStatus> {
        Self::wait(self)
    }
}

impl Waitable for Forked {
    fn id(&self) -> u32 {
        self.0.as_raw().unsigned_abs()
    }

    fn wait(&mut self) -> io::Result<ExitStatus> {
        loop {
            let mut status = 0;
            // SAFETY: the call writes one number, which is there for it.
            match unsafe { libc::waitpid(self.0.as_raw(), &raw mut status, 0) } {
                -1 if Errno::last() == Errno::EINTR => {}
                -1 => return Err(io::Error::last_os_error()),
                _ => return Ok(ExitStatus::from_raw(status)),
            }
        }
    }
}

/// Closes every descriptor but the standard three and these (close_range(2), Linux 5.9). For a copy that ends by
/// itself alone: whoever owns one of them in its memory must not use or drop it.
///
/// # Errors
/// When the kernel refuses.
pub fn close_all_but(keep: &[BorrowedFd<'_>]) -> io::Result<()> {
    let mut kept: Vec<u32> =
        keep.iter().map(|fd| fd.as_raw_fd().unsigned_abs()).filter(|fd| *fd > 2).collect();
    kept.sort_unstable();
    let mut first = 3;
    for fd in kept.into_iter().chain([u32::MAX]) {
        if first < fd {
            // SAFETY: nothing in this process uses these descriptors again: see above.
            match unsafe { libc::close_range(first, fd - 1, 0) } {
                0 => {}
                _ => return Err(io::Error::last_os_error()),
            }
        }
        first = fd.saturating_add(1);
    }
    Ok(())
}

fn is_single_threaded() -> Result<bool> {
    let tasks = std::fs::read_dir("/proc/self/task").context("cannot read /proc/self/task")?;
    Ok(tasks.count() == 1)
}

/// Has every descriptor from `first` on closed by the next execve(2) (close_range(2), Linux 5.11).
///
/// # Errors
/// EINVAL on an older kernel.
pub fn close_on_exec_from(first: u32) -> io::Result<()> {
    let flag = libc::CLOSE_RANGE_CLOEXEC.cast_signed();
    // SAFETY: the call changes a flag of descriptors; nothing is closed, so nobody loses one.
    match unsafe { libc::close_range(first, u32::MAX, flag) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Lets everybody else go first: nice 10 (setpriority(2)), and the lowest level of
/// the ordinary class of disk access (ioprio_set(2)); the idle class could starve for ever. It is politeness: a kernel that refuses is not asked twice.
pub fn lower_priority() {
    const IOPRIO_WHO_PROCESS: libc::c_int = 1;
    const BEST_EFFORT_LOWEST: libc::c_int = 2 << 13 | 7;
    // SAFETY: the call takes three numbers and changes this process's own priority.
    let _ = unsafe { libc::setpriority(libc::PRIO_PROCESS, 0, 10) };
    // SAFETY: the call takes three numbers and changes this process's own priority.
    let _ = unsafe { libc::syscall(libc::SYS_ioprio_set, IOPRIO_WHO_PROCESS, 0, BEST_EFFORT_LOWEST) };
}
