//! The cage that rsync runs in, whatever it was told: Landlock for files, sockets and signals, seccomp
//! for system calls that Landlock does not see, and a bare process around both.
//!
//! It is built by the gate and entered by its child between fork and exec. What a kernel does not
//! offer [`Cage::missing`] and [`Cage::has_cell`] say. A namespace that is offered and refused all the
//! same is one layer less; [`Running::without`] says why.
//!
//! [`Running::without`]: super::fork::Running::without

mod landlock_rules;
mod namespace;
mod seccomp_program;
mod seccomp_rules;
pub mod trial;

use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail};
use landlock::RulesetCreated;
use nix::errno::Errno;
use nix::fcntl::{FcntlArg, FdFlag, fcntl};
use nix::sched::CloneFlags;
use nix::sys::prctl::set_pdeathsig;
use nix::sys::resource::{Resource, setrlimit};
use nix::sys::signal::Signal;
use nix::sys::stat::{Mode, fstat, stat, umask};
use nix::unistd::{Gid, Uid, chdir};
use seccompiler::BpfProgram;

use super::fork::{self, Ties, Waiting};
use super::identity;
use landlock_rules::Need;
use namespace::{Cell, Room};

/// The most processes in a namespace of its own: rsync is one, its receiver two; a client gets no more out of
/// an rsync that it has taken over.
const MOST_PROCESSES: u64 = 4;
/// Since this Linux RLIMIT_NPROC counts a user's processes in each user namespace by itself (commit
/// 21d1c5e386bc); before it counts those of all clients together.
const COUNTS_BY_NAMESPACE: (u32, u32) = (5, 14);

/// What the confined program may do with one tree.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reach {
    /// Read, write, make and remove regular files and directories. No links, devices or sockets:
    /// fake-super stores those as regular files.
    Write,
    /// Read files and directories.
    Read,
}

/// A tree that may be reached.
#[derive(Debug, Clone, Copy)]
pub struct Reachable<'a> {
    /// Its root, open.
    pub directory: &'a OwnedFd,
    /// What may be done below it.
    pub reach: Reach,
}

/// What may be reached: nothing but these trees and the program itself with its libraries.
#[derive(Debug)]
pub struct Plan<'a> {
    /// The trees.
    pub trees: &'a [Reachable<'a>],
    /// The program that will be executed; `None` when this process confines itself to read.
    pub program: Option<&'a Path>,
    /// Where the program starts: one of the trees, or the directory above them.
    pub start: Start<'a>,
    /// Which layers are wanted; all of them but in tests and by the administrator's word.
    pub layers: Layers,
}

/// The working directory of the confined program.
#[derive(Debug, Clone, Copy)]
pub enum Start<'a> {
    /// The only tree of the plan.
    InTree,
    /// The client's directory, in which its trees lie.
    AboveTrees(&'a OwnedFd),
}

/// The layers of the cage that can be had one by one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Layers {
    /// Landlock.
    pub landlock: bool,
    /// seccomp.
    pub seccomp: bool,
    /// Namespaces for the user, mounts and processes.
    pub namespace: bool,
}

impl Layers {
    /// All of them.
    pub const ALL: Self = Self { landlock: true, seccomp: true, namespace: true };
}

/// A cage that is ready to be entered.
pub struct Cage {
    landlock: Option<RulesetCreated>,
    seccomp: Option<BpfProgram>,
    cell: Option<Cell>,
    /// The working directory where there is no cell.
    start: OwnedFd,
    layers: Layers,
}

impl Cage {
    /// Prepares the rules; nothing is confined yet.
    ///
    /// # Errors
    /// When a rule cannot be made although the kernel offers the mechanism.
    pub fn build(plan: &Plan<'_>) -> Result<Self> {
        let needs = plan.program.map_or_else(|| Ok(Vec::new()), landlock_rules::needed_by)?;
        let landlock = if plan.layers.landlock && landlock_rules::is_offered() {
            Some(landlock_rules::ruleset(plan, &needs).context("cannot make the Landlock rules")?)
        } else {
            None
        };
        let seccomp = if plan.layers.seccomp { seccomp_rules::program()? } else { None };
        let start = match (plan.start, plan.trees) {
            (Start::AboveTrees(directory), _) => directory,
            (Start::InTree, [tree]) => tree.directory,
            (Start::InTree, _) => bail!("a cage that starts in its tree has exactly one"),
        };
        let start = start.try_clone().context("cannot keep the tree open")?;
        let cell = match plan.program {
            Some(program)
                if plan.layers.namespace
                    && namespace::is_offered()
                    && namespace::can_show(program, &start) =>
            {
                Some(cell(plan, &needs, &start)?)
            }
            _ => None,
        };
        Ok(Self { landlock, seccomp, cell, start, layers: plan.layers })
    }

    /// What this kernel does not offer of that without which confinement is too little, in words.
    pub fn missing(&self) -> Vec<&'static str> {
        let mut missing = Vec::new();
        if self.landlock.is_none() && self.layers.landlock {
            missing.push("Landlock (Linux 5.13, with landlock in the kernel's lsm list)");
        }
        if self.seccomp.is_none() && self.layers.seccomp {
            missing.push("seccomp for this processor");
        }
        missing
    }

    /// Whether a namespace of its own will be tried.
    pub fn has_cell(&self) -> bool {
        self.cell.is_some()
    }

    /// Has this process go in: from here on nothing that this thread or its children do can undo it. The
    /// working directory is the plan's afterwards. There is no namespace for it.
    ///
    /// # Errors
    /// When the kernel refuses a rule that it said it offers.
    pub fn enter(self) -> io::Result<()> {
        go_back_to(&self.start)?;
        self.lock()
    }

    /// Starts `command` in a child that goes in at once, as bare as one that touches client bytes should be,
    /// and waits for the word. It inherits nothing but `keep`, and has at most `max_memory` bytes of data.
    ///
    /// # Errors
    /// As for [`fork::start`].
    pub fn start(self, command: &mut Command, keep: &[OwnedFd], max_memory: u64) -> Result<Waiting> {
        self.start_and(command, keep, max_memory, || Ok(()))
    }

    /// The same; `inside` is what the child does last.
    fn start_and(
        self,
        command: &mut Command,
        keep: &[OwnedFd],
        max_memory: u64,
        inside: impl FnOnce() -> io::Result<()>,
    ) -> Result<Waiting> {
        let namespaces = if self.has_cell() { namespace::NAMESPACES } else { CloneFlags::empty() };
        let bounded = counts_by_namespace(&identity::kernel_release());
        fork::start(command, namespaces, |ties| {
            strip_process(keep, max_memory)?;
            if ties.is_apart && bounded {
                setrlimit(Resource::RLIMIT_NPROC, MOST_PROCESSES, MOST_PROCESSES)?;
            }
            self.change_root(ties)?;
            // Not before: whoever waits for us need not wait for everybody else.
            fork::lower_priority();
            self.lock()?;
            inside()
        })
    }

    /// A cell that cannot be had is done without, and the parent is told.
    fn change_root(&self, ties: &mut Ties) -> io::Result<()> {
        match self.cell.as_ref().filter(|_| ties.is_apart).map(Cell::furnish) {
            Some(Ok(())) => return self.cell.as_ref().map_or(Ok(()), Cell::move_in),
            Some(Err(why)) => ties.do_without(&why)?,
            None => {}
        }
        go_back_to(&self.start)
    }

    fn lock(self) -> io::Result<()> {
        if let Some(rules) = self.landlock {
            landlock_rules::restrict(rules)?;
        }
        if let Some(program) = &self.seccomp {
            seccomp_rules::apply(program)?;
        }
        Ok(())
    }
}

/// Makes an open directory the working directory by its path: a namespace that could not be furnished
/// has mounts of its own, in which the open one does not lie. Another directory of that name is refused.
fn go_back_to(directory: &OwnedFd) -> io::Result<()> {
    chdir(&std::fs::read_link(format!("/proc/self/fd/{}", directory.as_raw_fd()))?)?;
    let (wanted, found) = (fstat(directory)?, stat(".")?);
    if (wanted.st_dev, wanted.st_ino) == (found.st_dev, found.st_ino) {
        Ok(())
    } else {
        Err(Errno::ESTALE.into())
    }
}

fn cell(plan: &Plan<'_>, needs: &[Need], start: &OwnedFd) -> Result<Cell> {
    let room = |tree: &Reachable<'_>| -> io::Result<Room> {
        Ok(Room { tree: tree.directory.try_clone()?, reach: tree.reach })
    };
    let rooms =
        plan.trees.iter().map(room).collect::<io::Result<_>>().context("cannot keep the tree open")?;
    let start = start.try_clone().context("cannot keep the tree open")?;
    let shown = needs.iter().map(|need| need.path.clone()).collect();
    Ok(Cell { rooms, shown, start, owner: (Uid::effective(), Gid::effective()) })
}

/// Whether this kernel counts processes as [`MOST_PROCESSES`] needs it, by its release (uname(2)).
fn counts_by_namespace(release: &str) -> bool {
    let mut numbers = release.split(['.', '-']).map_while(|number| number.parse::<u32>().ok());
    numbers.next().zip(numbers.next()).is_some_and(|version| version >= COUNTS_BY_NAMESPACE)
}

/// Makes the process bare: private files (umask 077), no core dump, bounded memory, the first to go when
/// memory is short, ended with its parent, and every descriptor but the standard three and `keep` closed on
/// exec.
pub(super) fn strip_process(keep: &[OwnedFd], max_memory: u64) -> io::Result<()> {
    umask(Mode::from_bits_truncate(0o077));
    // The first process of a namespace hears no other signal before it asks to (pid_namespaces(7)).
    set_pdeathsig(Signal::SIGKILL)?;
    setrlimit(Resource::RLIMIT_CORE, 0, 0)?;
    setrlimit(Resource::RLIMIT_DATA, max_memory, max_memory)?;
    // Politeness that a kernel may refuse without harm.
    let _ = std::fs::write("/proc/self/oom_score_adj", "500");
    fork::close_on_exec_from(3)?;
    for descriptor in keep {
        fcntl(descriptor, FcntlArg::F_SETFD(FdFlag::empty()))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn processes_are_bounded_where_the_kernel_counts_each_namespace_by_itself() {
        for release in ["5.14.0", "5.14", "6.1.0-30-amd64", "6.18.44-fc-v669", "10.0-rc1"] {
            assert!(counts_by_namespace(release), "{release}");
        }
        for release in ["5.13.19", "5.4.0-1-amd64", "4.19.0", "", "unknown", "6"] {
            assert!(!counts_by_namespace(release), "{release}");
        }
    }
}
