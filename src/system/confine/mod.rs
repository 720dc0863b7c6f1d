//! The cage that rsync runs in, whatever it was told: Landlock for files, sockets and signals, seccomp
//! for system calls that Landlock does not see, and a bare process around both.
//!
//! It is built by the gate and entered by its child between fork and exec. What a kernel does not
//! offer [`Cage::missing`] and [`Cage::has_cell`] say. A namespace that is offered and fails all the
//! same is one layer less; only [`trial`] finds that out, for byteback-admin check.

mod landlock_rules;
mod namespace;
mod seccomp_program;
mod seccomp_rules;
pub mod trial;

use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::Path;

use anyhow::{Context, Result, bail};
use landlock::RulesetCreated;
use nix::errno::Errno;
use nix::fcntl::{FcntlArg, FdFlag, fcntl};
use nix::sys::prctl::set_pdeathsig;
use nix::sys::resource::{Resource, setrlimit};
use nix::sys::signal::Signal;
use nix::sys::stat::{Mode, fstat, stat, umask};
use nix::unistd::chdir;
use seccompiler::BpfProgram;

use super::fork;
use namespace::{Cell, Room};

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
    /// A user and mount namespace.
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
        let landlock = if plan.layers.landlock && landlock_rules::is_offered() {
            Some(landlock_rules::ruleset(plan).context("cannot make the Landlock rules")?)
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
                Some(cell(plan, program, &start)?)
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

    /// Goes in: from here on nothing that this thread or its children do can undo it. The working
    /// directory is the plan's afterwards. A namespace that the kernel refuses is done without.
    ///
    /// # Errors
    /// When the kernel refuses a rule that it said it offers.
    pub fn enter(&mut self) -> io::Result<()> {
        let moved = match &self.cell {
            Some(cell) => cell.enter()?,
            None => false,
        };
        if !moved {
            go_back_to(&self.start)?;
        }
        if let Some(rules) = self.landlock.take() {
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

fn cell(plan: &Plan<'_>, program: &Path, start: &OwnedFd) -> Result<Cell> {
    let room = |tree: &Reachable<'_>| -> io::Result<Room> {
        Ok(Room { tree: tree.directory.try_clone()?, reach: tree.reach })
    };
    let rooms =
        plan.trees.iter().map(room).collect::<io::Result<_>>().context("cannot keep the tree open")?;
    let start = start.try_clone().context("cannot keep the tree open")?;
    Ok(Cell { rooms, shown: landlock_rules::needed_by(program), start })
}

/// Makes the process as bare as a child that touches client bytes should be: private files (umask 077),
/// no core dump, bounded memory, low priority, the first to go when memory is short, ended with its
/// parent, and every descriptor but the standard three and `keep` closed on exec.
///
/// # Errors
/// When the kernel refuses one of them.
pub fn strip_process(keep: &[OwnedFd], max_memory: u64) -> io::Result<()> {
    umask(Mode::from_bits_truncate(0o077));
    set_pdeathsig(Signal::SIGTERM)?;
    setrlimit(Resource::RLIMIT_CORE, 0, 0)?;
    setrlimit(Resource::RLIMIT_DATA, max_memory, max_memory)?;
    // Politeness that a kernel may refuse without harm.
    let _ = std::fs::write("/proc/self/oom_score_adj", "500");
    fork::lower_priority();
    fork::close_on_exec_from(3)?;
    for descriptor in keep {
        fcntl(descriptor, FcntlArg::F_SETFD(FdFlag::empty()))?;
    }
    Ok(())
}
