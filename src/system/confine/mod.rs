//! The cage that rsync runs in, whatever it was told: Landlock for files, sockets and signals, seccomp
//! for system calls that Landlock does not see, and a bare process around both.
//!
//! It is built by the gate and entered by its child between fork and exec. What a kernel does not
//! offer is reported, never silently left out: [`Cage::build`] says what it got.

mod landlock_rules;
mod seccomp_rules;

use std::io;
use std::os::fd::OwnedFd;
use std::path::PathBuf;

use anyhow::{Context, Result};
use landlock::RulesetCreated;
use nix::fcntl::{FcntlArg, FdFlag, fcntl};
use nix::sys::resource::{Resource, setrlimit};
use nix::sys::stat::{Mode, umask};
use seccompiler::BpfProgram;

use super::fork;

/// What the confined program may do with one tree.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reach {
    /// Read, write, make and remove regular files and directories. No links, devices or sockets:
    /// fake-super stores those as regular files.
    Write,
    /// Read files and directories.
    Read,
}

/// What may be reached: nothing but these trees and the program itself with its libraries.
#[derive(Debug)]
pub struct Plan<'a> {
    /// Open directories, and what may be done below them.
    pub trees: &'a [(&'a OwnedFd, Reach)],
    /// The program that will be executed; `None` when this process confines itself to read.
    pub program: Option<PathBuf>,
}

/// A cage that is ready to be entered.
pub struct Cage {
    landlock: Option<RulesetCreated>,
    seccomp: Option<BpfProgram>,
}

impl Cage {
    /// Prepares the rules; nothing is confined yet.
    ///
    /// # Errors
    /// When a rule cannot be made although the kernel offers the mechanism.
    pub fn build(plan: &Plan<'_>) -> Result<Self> {
        let landlock = if landlock_rules::is_offered() {
            Some(landlock_rules::ruleset(plan).context("cannot make the Landlock rules")?)
        } else {
            None
        };
        let seccomp = seccomp_rules::program().context("cannot make the seccomp rules")?;
        Ok(Self { landlock, seccomp })
    }

    /// What this kernel does not offer, in words; empty when the cage is whole.
    pub fn missing(&self) -> Vec<&'static str> {
        let mut missing = Vec::new();
        if self.landlock.is_none() {
            missing.push("Landlock (Linux 5.13, with landlock in the kernel's lsm list)");
        }
        if self.seccomp.is_none() {
            missing.push("seccomp for this processor");
        }
        missing
    }

    /// Goes in. From here on nothing that this thread or its children do can undo it.
    ///
    /// # Errors
    /// When the kernel refuses a rule that it said it offers.
    pub fn enter(&mut self) -> io::Result<()> {
        if let Some(rules) = self.landlock.take() {
            landlock_rules::restrict(rules)?;
        }
        if let Some(program) = &self.seccomp {
            seccomp_rules::apply(program)?;
        }
        Ok(())
    }
}

/// Makes the process as bare as a child that touches client bytes should be: private files (umask
/// 077), no core dump, and every descriptor but the standard three and `keep` closed on exec.
///
/// # Errors
/// When the kernel refuses one of them.
pub fn strip_process(keep: &[OwnedFd]) -> io::Result<()> {
    umask(Mode::from_bits_truncate(0o077));
    setrlimit(Resource::RLIMIT_CORE, 0, 0)?;
    fork::close_on_exec_from(3)?;
    for descriptor in keep {
        fcntl(descriptor, FcntlArg::F_SETFD(FdFlag::empty()))?;
    }
    Ok(())
}
