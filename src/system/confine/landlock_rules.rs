//! Landlock (landlock(7)): which files, ports, sockets and signals the confined program can reach.
//! The list of rights was measured: with fewer a transfer breaks, more are not given.

use std::io;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use landlock::{
    ABI, Access, AccessFs, AccessNet, BitFlags, CompatLevel, Compatible, PathBeneath, PathFd, Ruleset,
    RulesetAttr, RulesetCreated, RulesetCreatedAttr, Scope,
};

use super::{Plan, Reach};

/// The newest interface whose rights are all denied by default; older kernels deny what they know.
const NEWEST: ABI = ABI::V6;

/// Something outside the trees that the program needs, held open.
pub(super) struct Need {
    pub(super) path: PathBuf,
    open: PathFd,
    access: BitFlags<AccessFs>,
}

/// Where the dynamic loader lies (ld.so(8)); the kernel opens it for `execve`.
const LOADERS: [&str; 4] = [
    "/lib64/ld-linux-x86-64.so.2",
    "/lib/ld-linux-aarch64.so.1",
    "/lib/ld-linux-riscv64-lp64d.so.1",
    "/lib/ld-linux-armhf.so.3",
];

/// Shared libraries may be read there, not listed and not executed as programs.
const LIBRARIES: [&str; 6] = [
    "/usr/lib/x86_64-linux-gnu",
    "/usr/lib/aarch64-linux-gnu",
    "/usr/lib/riscv64-linux-gnu",
    "/usr/lib/arm-linux-gnueabihf",
    "/usr/lib64",
    "/etc/ld.so.cache",
];

/// `LC_ALL=C.UTF-8` is read from there.
const LOCALES: &str = "/usr/lib/locale";

/// Whether the running kernel has Landlock switched on.
pub(super) fn is_offered() -> bool {
    Ruleset::default()
        .set_compatibility(CompatLevel::HardRequirement)
        .handle_access(AccessFs::from_all(ABI::V1))
        .and_then(Ruleset::create)
        .is_ok()
}

/// The interface version of the running kernel (landlock(7)) as far as its rights tell: 0 without
/// Landlock, 6 also for newer ones, which deny nothing more.
pub(super) fn version() -> u32 {
    let has = |abi: ABI| -> bool {
        let rules = Ruleset::default().set_compatibility(CompatLevel::HardRequirement);
        let with_files = rules.handle_access(AccessFs::from_all(abi));
        let with_net = if abi >= ABI::V4 {
            with_files.and_then(|rules| rules.handle_access(AccessNet::from_all(abi)))
        } else {
            with_files
        };
        let all = if abi >= ABI::V6 {
            with_net.and_then(|rules| rules.scope(Scope::from_all(abi)))
        } else {
            with_net
        };
        all.and_then(Ruleset::create).is_ok()
    };
    let known = [ABI::V1, ABI::V2, ABI::V3, ABI::V4, ABI::V5, ABI::V6];
    known.into_iter().take_while(|abi| has(*abi)).fold(0, |version, _| version + 1)
}

/// Everything denied but the plan's trees, the program and what it is linked with.
pub(super) fn ruleset(plan: &Plan<'_>, needs: &[Need]) -> Result<RulesetCreated> {
    let mut rules = Ruleset::default()
        .set_compatibility(CompatLevel::BestEffort)
        .handle_access(AccessFs::from_all(NEWEST))?
        .handle_access(AccessNet::from_all(NEWEST))?
        .scope(Scope::from_all(NEWEST))?
        .create()?;
    for tree in plan.trees {
        rules = rules.add_rule(PathBeneath::new(tree.directory, rights(tree.reach)))?;
    }
    for need in needs {
        rules = rules.add_rule(PathBeneath::new(&need.open, need.access))?;
    }
    Ok(rules)
}

/// Everything outside the trees that the program needs, as far as it is there. Directories come first.
///
/// # Errors
/// When the program itself is not there.
pub(super) fn needed_by(program: &Path) -> Result<Vec<Need>> {
    let read = BitFlags::from(AccessFs::ReadFile);
    let run = AccessFs::Execute | AccessFs::ReadFile;
    let machine = LIBRARIES.map(|path| (path, read)).into_iter();
    let machine = machine.chain([(LOCALES, read | AccessFs::ReadDir)]).chain(LOADERS.map(|path| (path, run)));
    let need =
        |path: &Path, access| PathFd::new(path).map(|open| Need { path: path.to_owned(), open, access });
    let mut needs: Vec<Need> =
        machine.filter_map(|(path, access)| need(Path::new(path), access).ok()).collect();
    needs.push(need(program, run).with_context(|| format!("cannot open {}", program.display()))?);
    Ok(needs)
}

/// Nine rights for a tree that is written: no MAKE_SYM, MAKE_FIFO, MAKE_SOCK, MAKE_CHAR, MAKE_BLOCK, so
/// that the kernel itself guarantees a tree without links. REFER is renaming between directories.
fn rights(reach: Reach) -> BitFlags<AccessFs> {
    let read = AccessFs::ReadFile | AccessFs::ReadDir;
    match reach {
        Reach::Read => read,
        Reach::Write => {
            read | AccessFs::WriteFile
                | AccessFs::RemoveFile
                | AccessFs::RemoveDir
                | AccessFs::MakeReg
                | AccessFs::MakeDir
                | AccessFs::Refer
                | AccessFs::Truncate
        }
    }
}

/// Applies the rules to this thread and its children; sets no_new_privs too.
pub(super) fn restrict(rules: RulesetCreated) -> io::Result<()> {
    rules.restrict_self().map(|_| ()).map_err(io::Error::other)
}
