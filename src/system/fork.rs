//! Starting a child that ties its own hands between fork(2) and execve(2).
#![allow(unsafe_code, reason = "only between fork and exec can a child confine itself and not its parent")]

use std::io;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command};

use anyhow::{Context, Result, ensure};
use nix::libc;

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
