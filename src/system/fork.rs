//! Starting a child that ties its own hands between fork(2) and execve(2), in namespaces of its own
//! where the kernel grants them, while its parent does something else.
#![allow(unsafe_code, reason = "only between fork and exec can a child confine itself and not its parent")]

use std::ffi::CStr;
use std::io::{self, Read, Write};
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::{Command, ExitStatus};

use anyhow::{Context, Error, Result, ensure};
use nix::errno::Errno;
use nix::libc;
use nix::sched::CloneFlags;
use nix::sys::signal::{SigSet, Signal, kill};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::{Pid, setpgid};

/// What a child says of itself: one of these bytes, then an error number of the machine's own order.
const WITHOUT: u8 = b'w';
const FAILED: u8 = b'f';

/// The status of a copy that panicked, as the standard library's own.
const PANICKED: u8 = 101;

/// A child that has not begun its program and waits for the word.
#[derive(Debug)]
pub struct Waiting {
    child: Running,
    channel: UnixStream,
    name: String,
}

/// A child that runs its program. It leads a process group of its own, and in namespaces of its own it is
/// their first process, whose end ends all others.
#[derive(Debug)]
pub struct Running {
    pid: Pid,
    /// Why it does without something that it can do without; `None` when it lacks nothing.
    pub without: Option<Errno>,
}

/// The child's side, before its program begins.
#[derive(Debug)]
pub struct Ties {
    channel: UnixStream,
    /// Whether it has the namespaces that it was to get.
    pub is_apart: bool,
}

impl Ties {
    /// Tells the parent why this child does without something.
    ///
    /// # Errors
    /// When the parent is gone.
    pub fn do_without(&mut self, why: &io::Error) -> io::Result<()> {
        self.say(WITHOUT, why)
    }

    fn say(&mut self, what: u8, why: &io::Error) -> io::Result<()> {
        let number = why.raw_os_error().unwrap_or(libc::EIO).to_ne_bytes();
        self.channel.write_all(&[what, number[0], number[1], number[2], number[3]])
    }

    fn wait_for_the_word(&mut self) -> io::Result<()> {
        self.channel.read_exact(&mut [0])
    }
}

/// Forks a child for `command` with `namespaces` of its own (clone(2)); if the kernel refuses those, without.
/// `tie_hands` runs in the child at once; when it fails the program never starts. stdin and the like are
/// ours, unless `command` has open files for them.
///
/// # Errors
/// When this process has more than one thread, or the kernel refuses a child.
pub fn start(
    command: &mut Command,
    namespaces: CloneFlags,
    tie_hands: impl FnOnce(&mut Ties) -> io::Result<()>,
) -> Result<Waiting> {
    ensure!(is_single_threaded()?, "a process with threads cannot fork safely");
    let name = command.get_program().to_string_lossy().into_owned();
    let (ours, theirs) = UnixStream::pair().with_context(|| format!("cannot talk to {name}"))?;
    let (pid, without) = match fork(namespaces) {
        Err(errno) if !namespaces.is_empty() => (fork(CloneFlags::empty()), Some(errno)),
        forked => (forked, None),
    };
    if let Some(pid) = pid.with_context(|| format!("cannot start {name}"))? {
        return Ok(Waiting { child: Running { pid, without }, channel: ours, name });
    }
    drop(ours); // else nobody would notice that the parent is gone
    let is_apart = without.is_none() && !namespaces.is_empty();
    become_program(command, Ties { channel: theirs, is_apart }, tie_hands)
}

/// Starts `command` and does not wait for it; `last` runs in the child before the program takes over. When it fails
/// the program never starts.
///
/// # Errors
/// When this process has more than one thread, when `last` fails, or the program cannot start.
pub fn spawn(
    command: &mut Command,
    last: impl FnMut() -> io::Result<()> + Send + Sync + 'static,
) -> Result<()> {
    ensure!(is_single_threaded()?, "a process with threads cannot fork safely");
    // SAFETY: the closure runs in a copy of this process that has only the thread that forked, and
    // there was no other (checked above), so no lock or allocator can be in a broken state.
    let command = unsafe { command.pre_exec(last) };
    let started = command.spawn().map(drop);
    started.with_context(|| format!("cannot start {}", command.get_program().to_string_lossy()))
}

/// The child's number in the parent, `None` in the child.
fn fork(namespaces: CloneFlags) -> nix::Result<Option<Pid>> {
    let flags = libc::c_long::from(namespaces.bits() | libc::SIGCHLD);
    // SAFETY: without CLONE_VM the child is a copy of this process with a stack of its own, as after fork(2).
    // This process has one thread (its caller checked), so no lock or allocator is in a broken state.
    let forked = unsafe { libc::syscall(libc::SYS_clone, flags, 0, 0, 0, 0) };
    match i32::try_from(Errno::result(forked)?) {
        Ok(0) => Ok(None),
        Ok(pid) => Ok(Some(Pid::from_raw(pid))),
        Err(_) => Err(Errno::ERANGE),
    }
}

/// Makes a copy of this process that does `work` and ends with the status that it gives. It leads a process group of
/// its own and blocks no signals; nothing of its parent is dropped or flushed when it ends.
///
/// # Errors
/// When this process has more than one thread, or the kernel refuses.
pub fn copy(work: impl FnOnce() -> u8) -> Result<Running> {
    ensure!(is_single_threaded()?, "a process with threads cannot fork safely");
    if let Some(pid) = fork(CloneFlags::empty()).context("cannot fork")? {
        let _ = setpgid(pid, pid); // whichever of the two is first
        return Ok(Running { pid, without: None });
    }
    let begun = SigSet::empty().thread_set_mask().and_then(|()| setpgid(Pid::from_raw(0), Pid::from_raw(0)));
    let status = match begun {
        Ok(()) => catch_unwind(AssertUnwindSafe(work)).unwrap_or(PANICKED),
        Err(_) => 1,
    };
    // SAFETY: the call ends this process at once; what its parent left in memory is the parent's to drop.
    unsafe { libc::_exit(status.into()) }
}

/// The rest of the child's life.
fn become_program(
    command: &mut Command,
    mut ties: Ties,
    tie_hands: impl FnOnce(&mut Ties) -> io::Result<()>,
) -> ! {
    let ready = || -> io::Result<()> {
        setpgid(Pid::from_raw(0), Pid::from_raw(0))?;
        // What the parent blocked for itself its child must hear.
        SigSet::empty().thread_set_mask()?;
        tie_hands(&mut ties)?;
        ties.wait_for_the_word()
    };
    let error = match ready() {
        Ok(()) => command.exec(),
        Err(error) => error,
    };
    // If the parent is gone too there is nobody to tell.
    let _ = ties.say(FAILED, &error);
    // SAFETY: the call ends this process at once, and nothing of its parent's is flushed or removed.
    unsafe { libc::_exit(127) }
}

impl Waiting {
    /// Lets it begin; it has begun when this returns.
    ///
    /// # Errors
    /// When it could not tie its hands, or its program cannot be executed.
    pub fn go(mut self) -> Result<Running> {
        // A child that has failed hears nothing any more; it has said why.
        let _ = self.channel.write_all(b"g");
        let mut told = Vec::new();
        // execve(2) closes the child's end.
        self.channel.read_to_end(&mut told).with_context(|| format!("cannot hear of {}", self.name))?;
        for words in told.chunks(5) {
            let &[what, a, b, c, d] = words else { break };
            let why = Errno::from_raw(i32::from_ne_bytes([a, b, c, d]));
            if what == FAILED {
                let _ = self.child.wait();
                return Err(Error::from(why).context(format!("cannot start {}", self.name)));
            }
            self.child.without = Some(why);
        }
        Ok(self.child)
    }
}

impl Running {
    /// Its process number, and that of its group.
    pub fn id(&self) -> Pid {
        self.pid
    }

    /// Waits for its end.
    ///
    /// # Errors
    /// When it cannot be waited for.
    pub fn wait(&self) -> io::Result<ExitStatus> {
        loop {
            match self.reap(WaitPidFlag::empty()) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Ok(None) => {}
                Ok(Some(status)) => return Ok(status),
                Err(error) => return Err(error),
            }
        }
    }

    /// Its end, if it has come.
    ///
    /// # Errors
    /// When it cannot be waited for.
    pub fn try_wait(&self) -> io::Result<Option<ExitStatus>> {
        self.reap(WaitPidFlag::WNOHANG)
    }

    /// Ends it, whatever it does.
    pub fn end(&self) {
        let _ = kill(self.pid, Signal::SIGKILL); // one that has ended already is what is wanted
    }

    fn reap(&self, how: WaitPidFlag) -> io::Result<Option<ExitStatus>> {
        // As wait(2) has them: the signal in the lowest bits, with 128 for a core dump, or the status above.
        Ok(match waitpid(self.pid, Some(how))? {
            WaitStatus::Exited(_, code) => Some(ExitStatus::from_raw(code << 8)),
            WaitStatus::Signaled(_, signal, core) => {
                Some(ExitStatus::from_raw(signal as i32 | i32::from(core) << 7))
            }
            WaitStatus::StillAlive
            | WaitStatus::Stopped(..)
            | WaitStatus::Continued(_)
            | WaitStatus::PtraceEvent(..)
            | WaitStatus::PtraceSyscall(_) => None,
        })
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

/// Adds attributes (`MOUNT_ATTR_RDONLY` and the like) to the mount that `root` is the root of and to all below
/// it, and has none of them take part in what the machine mounts later (mount_setattr(2), Linux 5.12).
///
/// # Errors
/// ENOSYS on an older kernel, EPERM without the right to mount.
pub fn seal_mounts(root: &OwnedFd, attributes: u64) -> io::Result<()> {
    let change =
        libc::mount_attr { attr_set: attributes, attr_clr: 0, propagation: libc::MS_PRIVATE, userns_fd: 0 };
    let path: &CStr = c"";
    let flags = libc::AT_EMPTY_PATH | libc::AT_RECURSIVE;
    // SAFETY: the descriptor is open, the path is empty and ends with NUL, the structure is the kernel's and
    // lives through the call, which only reads it.
    let done = unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            root.as_raw_fd(),
            path.as_ptr(),
            flags,
            &raw const change,
            size_of::<libc::mount_attr>(),
        )
    };
    Errno::result(done).map(|_| ()).map_err(io::Error::from)
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
