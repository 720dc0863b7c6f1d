//! Watching a child that serves a client, to its end: it ends by itself, or it is ended with its whole
//! process group because the client is gone, says nothing any more, or we were told to stop.
//!
//! rsync's own `--timeout` does not notice a client that stays connected and says nothing: its
//! keep-alives fit into the socket's buffer and count as activity. Here only work counts: bytes that
//! were read or written, or processor time beyond what keep-alives take.

use std::fs;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::process::ExitStatus;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigSet, Signal, killpg};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::sys::wait::{Id, WaitPidFlag, WaitStatus, waitid};
use nix::unistd::Pid;

use super::fork::Running;

/// How long rsync may tidy up when its client is gone, and again after it was asked to end.
const GRACE: Duration = Duration::from_secs(10);
/// The kernel counts processor time in ticks of a hundredth of a second (proc(5), `USER_HZ`).
const TICK: Duration = Duration::from_millis(10);

/// How the child ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cause {
    /// By itself.
    Itself,
    /// The connection was gone.
    ConnectionLost,
    /// Nothing was done for the client for so long.
    Silent(Duration),
    /// This process was told to stop.
    Told(Signal),
    /// Who looked after it had it ended.
    Stopped,
}

/// The end of a child.
#[derive(Debug, Clone, Copy)]
pub struct Ended {
    /// What it exited with.
    pub status: ExitStatus,
    /// Why.
    pub cause: Cause,
    /// Bytes that it and its children read, from files and connections.
    pub bytes_read: u64,
    /// Bytes that they wrote.
    pub bytes_written: u64,
}

/// The signals that are waited for, blocked for everybody else. Must exist before the child does.
#[derive(Debug)]
pub struct Watch {
    signals: SignalFd,
    /// What this process had read and written before: afterwards the kernel adds what its child did.
    before: (u64, u64),
}

impl Watch {
    /// Begins to collect signals.
    ///
    /// # Errors
    /// When the kernel refuses a signalfd(2).
    pub fn begin() -> Result<Self> {
        let mut wanted = SigSet::empty();
        for signal in [Signal::SIGCHLD, Signal::SIGTERM, Signal::SIGHUP, Signal::SIGINT] {
            wanted.add(signal);
        }
        wanted.thread_block().context("cannot block signals")?;
        let flags = SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK;
        let signals = SignalFd::with_flags(&wanted, flags).context("cannot wait for signals")?;
        Ok(Self { signals, before: own_traffic() })
    }

    /// Waits for the child, which leads a process group of its own. `patience` is how long it may do
    /// nothing.
    ///
    /// # Errors
    /// When the child cannot be waited for.
    pub fn until_end(&mut self, child: &Running, patience: Duration) -> Result<Ended> {
        self.until_end_or(child, patience, Duration::MAX, |_| false)
    }

    /// The same, but every so often `stops` is asked, with the bytes that the child and its children have
    /// written so far, whether it is to be ended.
    ///
    /// # Errors
    /// As for [`Watch::until_end`].
    pub fn until_end_or(
        &mut self,
        child: &Running,
        patience: Duration,
        every: Duration,
        mut stops: impl FnMut(u64) -> bool,
    ) -> Result<Ended> {
        let mut cause = Cause::Itself;
        let mut deadline = None;
        let mut activity = Activity::begin(child.id());
        let step = (patience / 20).clamp(Duration::from_millis(250), Duration::from_secs(60)).min(every);
        let mut asked = Instant::now();
        loop {
            if has_ended(child.id())? {
                // Whatever it left behind, while its number cannot yet be anybody else's.
                end_group(child.id(), Signal::SIGKILL);
                let status = child.wait().context("cannot wait for rsync")?;
                let (read, written) = own_traffic();
                return Ok(Ended {
                    status,
                    cause,
                    bytes_read: read.saturating_sub(self.before.0),
                    bytes_written: written.saturating_sub(self.before.1),
                });
            }
            let gone = cause == Cause::Itself && self.sleep(deadline.map_or(step, |_| GRACE / 20))?;
            let told = self.told()?;
            if let Some(signal) = told.filter(|_| cause == Cause::Itself) {
                cause = Cause::Told(signal);
            } else if gone {
                cause = Cause::ConnectionLost;
            } else if cause == Cause::Itself && activity.rests_for(patience) {
                cause = Cause::Silent(patience);
            } else if cause == Cause::Itself && asked.elapsed() >= every {
                asked = Instant::now();
                if stops(written_by(child.id(), 0)) {
                    cause = Cause::Stopped;
                }
            }
            if cause != Cause::Itself {
                self.press(child.id(), cause, &mut deadline)?;
            }
        }
    }

    /// Ends the group: at once where nothing is to be tidied up, then with less and less patience.
    fn press(&mut self, group: Pid, cause: Cause, deadline: &mut Option<(Instant, Signal)>) -> Result<()> {
        let now = Instant::now();
        match *deadline {
            None if cause == Cause::ConnectionLost => *deadline = Some((now + GRACE, Signal::SIGTERM)),
            None => {
                end_group(group, Signal::SIGTERM);
                *deadline = Some((now + GRACE, Signal::SIGKILL));
            }
            Some((when, signal)) if now >= when => {
                end_group(group, signal);
                *deadline = Some((now + GRACE, Signal::SIGKILL));
            }
            Some(_) => {
                self.wait_for_signal(GRACE / 20)?;
            }
        }
        Ok(())
    }

    /// Waits for a signal, or the end of the connection: `true`. A hang-up shows on stdout whether sshd
    /// gave us a pipe or a socket (poll(2): POLLERR, POLLHUP).
    fn sleep(&self, most: Duration) -> Result<bool> {
        let stdout = io::stdout();
        let mut waited =
            [watched(self.signals.as_fd(), PollFlags::POLLIN), watched(stdout.as_fd(), PollFlags::empty())];
        poll_for(&mut waited, most)?;
        let hung_up = PollFlags::POLLERR | PollFlags::POLLHUP;
        Ok(waited[1].revents().is_some_and(|events| events.intersects(hung_up)))
    }

    fn wait_for_signal(&self, most: Duration) -> Result<()> {
        poll_for(&mut [watched(self.signals.as_fd(), PollFlags::POLLIN)], most)
    }

    /// The signal that tells us to stop, if there was one. SIGCHLD has done its work by waking us.
    fn told(&mut self) -> Result<Option<Signal>> {
        let mut told = None;
        while let Some(info) = self.signals.read_signal().context("cannot read signals")? {
            let signal = i32::try_from(info.ssi_signo).ok().and_then(|number| Signal::try_from(number).ok());
            told = told.or(signal.filter(|signal| *signal != Signal::SIGCHLD));
        }
        Ok(told)
    }
}

/// Ends the child with its whole process group, at once.
///
/// # Errors
/// When the child cannot be waited for.
pub fn end(child: &Running) -> Result<()> {
    end_group(child.id(), Signal::SIGKILL);
    child.wait().map(drop).context("cannot wait for rsync")
}

/// Whether the child has ended; it is not reaped (waitid(2), WNOWAIT).
fn has_ended(pid: Pid) -> Result<bool> {
    let flags = WaitPidFlag::WEXITED | WaitPidFlag::WNOHANG | WaitPidFlag::WNOWAIT;
    let state = waitid(Id::Pid(pid), flags).context("cannot wait for rsync")?;
    Ok(state != WaitStatus::StillAlive)
}

fn watched(descriptor: BorrowedFd<'_>, events: PollFlags) -> PollFd<'_> {
    PollFd::new(descriptor, events)
}

fn poll_for(waited: &mut [PollFd<'_>], most: Duration) -> Result<()> {
    let timeout = PollTimeout::try_from(most).unwrap_or(PollTimeout::MAX);
    match poll(waited, timeout) {
        Ok(_) | Err(nix::errno::Errno::EINTR) => Ok(()),
        Err(errno) => Err(errno).context("cannot wait for the client"),
    }
}

fn end_group(leader: Pid, signal: Signal) {
    let _ = killpg(leader, signal); // nobody left is what is wanted
}

/// What the child and its children have done so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Work {
    /// Bytes read and written, from files and connections alike, and from disks (proc(5), /proc/PID/io).
    bytes: u64,
    /// Ticks of processor time.
    ticks: u64,
}

#[derive(Debug)]
struct Activity {
    pid: Pid,
    since: Instant,
    last: Work,
}

impl Activity {
    fn begin(pid: Pid) -> Self {
        Self { pid, since: Instant::now(), last: Work::default() }
    }

    /// Whether nothing was done for this long.
    fn rests_for(&mut self, patience: Duration) -> bool {
        let now = work_of(self.pid, 0);
        let rested = self.since.elapsed();
        if now.bytes != self.last.bytes || is_busy(now.ticks.saturating_sub(self.last.ticks), rested) {
            (self.since, self.last) = (Instant::now(), now);
            return false;
        }
        rested >= patience
    }
}

/// More than a hundredth of the time, and more than a moment: keep-alives take less.
fn is_busy(ticks: u64, of: Duration) -> bool {
    let spent = TICK * u32::try_from(ticks).unwrap_or(u32::MAX);
    ticks > 2 && spent > of / 100
}

/// rsync's receiver forks once; deeper families than this are not ours.
const GENERATIONS: u32 = 4;

fn work_of(pid: Pid, generation: u32) -> Work {
    let mut work = own_work(pid);
    for child in children(pid).filter(|_| generation < GENERATIONS) {
        let more = work_of(child, generation + 1);
        work = Work { bytes: work.bytes.wrapping_add(more.bytes), ticks: work.ticks + more.ticks };
    }
    work
}

fn children(pid: Pid) -> impl Iterator<Item = Pid> {
    let listed = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
    let numbers: Vec<_> =
        listed.split_ascii_whitespace().filter_map(|word| Some(Pid::from_raw(word.parse().ok()?))).collect();
    numbers.into_iter()
}

/// Bytes that the process and its children have written (proc(5), `wchar`). The kernel adds what ended
/// children did to the parent that waited for them.
fn written_by(pid: Pid, generation: u32) -> u64 {
    let io = fs::read_to_string(format!("/proc/{pid}/io")).unwrap_or_default();
    let own = io.lines().find_map(|line| line.strip_prefix("wchar:")?.trim().parse().ok()).unwrap_or(0);
    children(pid)
        .filter(|_| generation < GENERATIONS)
        .fold(own, |sum: u64, child| sum.saturating_add(written_by(child, generation + 1)))
}

/// Bytes that this process and the children that it has waited for have read and written.
fn own_traffic() -> (u64, u64) {
    let io = fs::read_to_string("/proc/self/io").unwrap_or_default();
    let number =
        |name: &str| io.lines().find_map(|line| line.strip_prefix(name)?.trim().parse().ok()).unwrap_or(0);
    (number("rchar:"), number("wchar:"))
}

/// Bytes read count, bytes written do not: what is written to a silent client is keep-alives. What is
/// written to the disk was read from the client before.
fn own_work(pid: Pid) -> Work {
    let io = fs::read_to_string(format!("/proc/{pid}/io")).unwrap_or_default();
    let counted = |line: &str| line.starts_with("rchar:") || line.starts_with("read_bytes:");
    let numbers = io.lines().filter(|line| counted(line));
    let bytes = numbers.filter_map(|line| line.rsplit(' ').next()?.parse::<u64>().ok()).sum();
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    // Fields 14 and 15 of proc(5), counted behind the name, which may hold anything.
    let behind_name = stat.rsplit_once(')').map_or("", |(_, rest)| rest);
    let ticks =
        behind_name.split_ascii_whitespace().skip(11).take(2).filter_map(|n| n.parse::<u64>().ok()).sum();
    Work { bytes, ticks }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_that_reads_is_at_work() {
        let own = Pid::this();
        let before = own_work(own);
        let _ = fs::read("/proc/self/status").unwrap();
        assert!(own_work(own).bytes > before.bytes);
    }

    #[test]
    fn what_a_process_writes_is_counted() {
        let before = written_by(Pid::this(), GENERATIONS);
        fs::write("/dev/null", vec![0; 100_000]).unwrap();
        assert!(written_by(Pid::this(), GENERATIONS) >= before + 100_000);
    }

    #[test]
    fn keep_alives_are_no_work() {
        assert!(!is_busy(2, Duration::from_secs(1)));
        assert!(!is_busy(30, Duration::from_secs(60)));
        assert!(is_busy(100, Duration::from_secs(60)));
    }
}
