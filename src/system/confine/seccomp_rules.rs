//! seccomp(2): system calls that no rsync server makes, and that Landlock does not see. Above all
//! ioctl: with it a process that may only read its own tree can delete any client's subvolume by number.

use std::collections::BTreeMap;
use std::io;

use anyhow::{Context, Result};
use nix::libc;
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter, SeccompRule,
    TargetArch, sock_filter,
};

/// Calls that get EPERM.
const REFUSED: &[i64] = &[
    libc::SYS_ioctl,
    libc::SYS_ptrace,
    libc::SYS_process_vm_readv,
    libc::SYS_process_vm_writev,
    libc::SYS_bpf,
    libc::SYS_keyctl,
    libc::SYS_add_key,
    libc::SYS_request_key,
    libc::SYS_mount,
    libc::SYS_umount2,
    libc::SYS_pivot_root,
    libc::SYS_chroot,
    libc::SYS_unshare,
    libc::SYS_setns,
    libc::SYS_fsopen,
    libc::SYS_fsconfig,
    libc::SYS_fsmount,
    libc::SYS_fspick,
    libc::SYS_move_mount,
    libc::SYS_open_tree,
    libc::SYS_mount_setattr,
    libc::SYS_io_uring_setup,
    libc::SYS_io_uring_enter,
    libc::SYS_io_uring_register,
    libc::SYS_perf_event_open,
    libc::SYS_userfaultfd,
    libc::SYS_kexec_load,
    libc::SYS_init_module,
    libc::SYS_finit_module,
    libc::SYS_delete_module,
    libc::SYS_open_by_handle_at,
    libc::SYS_name_to_handle_at,
    libc::SYS_personality,
    libc::SYS_acct,
    libc::SYS_swapon,
    libc::SYS_swapoff,
    libc::SYS_reboot,
    libc::SYS_settimeofday,
    libc::SYS_clock_settime,
    libc::SYS_adjtimex,
    libc::SYS_clock_adjtime,
    libc::SYS_pidfd_getfd,
    libc::SYS_quotactl,
    libc::SYS_syslog,
    libc::SYS_socket,
    libc::SYS_bind,
    libc::SYS_connect,
    libc::SYS_listen,
    libc::SYS_accept,
    libc::SYS_accept4,
    libc::SYS_mknodat,
    libc::SYS_execveat,
    libc::SYS_setuid,
    libc::SYS_setgid,
    libc::SYS_setgroups,
    // Out of the process group that the gate ends with the session.
    libc::SYS_setsid,
    libc::SYS_setpgid,
    // Other processes of the same user: their limits are below.
    libc::SYS_setpriority,
    libc::SYS_ioprio_set,
    libc::SYS_sched_setaffinity,
    libc::SYS_sched_setattr,
    libc::SYS_sched_setparam,
    libc::SYS_sched_setscheduler,
    libc::SYS_migrate_pages,
    libc::SYS_move_pages,
    libc::SYS_process_madvise,
    libc::SYS_process_mrelease,
    libc::SYS_pidfd_open,
    libc::SYS_pidfd_send_signal,
    libc::SYS_kcmp,
    // Memory that stays when the session ends, or that can be executed although the tree cannot.
    libc::SYS_shmget,
    libc::SYS_shmat,
    libc::SYS_shmctl,
    libc::SYS_semget,
    libc::SYS_semop,
    libc::SYS_semtimedop,
    libc::SYS_semctl,
    libc::SYS_msgget,
    libc::SYS_msgsnd,
    libc::SYS_msgrcv,
    libc::SYS_msgctl,
    libc::SYS_mq_open,
    libc::SYS_mq_unlink,
    libc::SYS_memfd_create,
    libc::SYS_memfd_secret,
    // What others do in their trees.
    libc::SYS_inotify_init1,
    libc::SYS_fanotify_init,
    // Its flags lie in memory, where no rule can look at them; fork(3) uses clone.
    libc::SYS_clone3,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_mknod,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_inotify_init,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_iopl,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_ioperm,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_modify_ldt,
];

/// clone(2) with one of these would give it rights over a namespace of its own, and the kernel more to get wrong.
const NAMESPACES: [i32; 7] = [
    libc::CLONE_NEWNS,
    libc::CLONE_NEWCGROUP,
    libc::CLONE_NEWUTS,
    libc::CLONE_NEWIPC,
    libc::CLONE_NEWUSER,
    libc::CLONE_NEWPID,
    libc::CLONE_NEWNET,
];

/// Bit 30 of a call's number means x32, a second table of calls on the same processor.
#[cfg(target_arch = "x86_64")]
const X32_BIT: u32 = 0x4000_0000;

/// The rule, compiled; `None` on a processor that seccompiler does not know. A process of another
/// architecture is killed.
pub(super) fn program() -> Result<Option<BpfProgram>> {
    let Ok(arch) = TargetArch::try_from(std::env::consts::ARCH) else { return Ok(None) };
    let mut calls: BTreeMap<i64, _> = REFUSED.iter().map(|call| (*call, Vec::new())).collect();
    calls.insert(libc::SYS_clone, new_namespaces().context("the rule for clone cannot be made")?);
    calls.insert(libc::SYS_prlimit64, other_processes().context("the rule for prlimit cannot be made")?);
    let refusal = SeccompAction::Errno(libc::EPERM.unsigned_abs());
    let filter = SeccompFilter::new(calls, SeccompAction::Allow, refusal, arch)
        .context("the seccomp rule cannot be made")?;
    let program: BpfProgram = filter.try_into().context("the seccomp rule does not compile")?;
    Ok(Some(without_x32(program)))
}

/// One rule for each flag: any of them is enough.
fn new_namespaces() -> Result<Vec<SeccompRule>, seccompiler::BackendError> {
    let rule = |flag: &i32| {
        let flag = u64::from(flag.unsigned_abs());
        let asked = SeccompCmpOp::MaskedEq(flag);
        SeccompRule::new(vec![SeccompCondition::new(0, SeccompCmpArgLen::Qword, asked, flag)?])
    };
    NAMESPACES.iter().map(rule).collect()
}

/// Its own limits a process may read and lower: number 0.
fn other_processes() -> Result<Vec<SeccompRule>, seccompiler::BackendError> {
    let other = SeccompCondition::new(0, SeccompCmpArgLen::Dword, SeccompCmpOp::Ne, 0)?;
    Ok(vec![SeccompRule::new(vec![other])?])
}

/// Puts three instructions in front: a call with the x32 bit kills the process.
#[cfg(target_arch = "x86_64")]
fn without_x32(program: BpfProgram) -> BpfProgram {
    let instruction = |code, jt, jf, k| sock_filter { code, jt, jf, k };
    let load_number = instruction(0x20, 0, 0, 0); // BPF_LD | BPF_W | BPF_ABS: seccomp_data.nr
    let is_x32 = instruction(0x35, 0, 1, X32_BIT); // BPF_JMP | BPF_JGE | BPF_K: else skip the next one
    let kill = instruction(0x06, 0, 0, libc::SECCOMP_RET_KILL_PROCESS); // BPF_RET | BPF_K
    [load_number, is_x32, kill].into_iter().chain(program).collect()
}

#[cfg(not(target_arch = "x86_64"))]
fn without_x32(program: BpfProgram) -> BpfProgram {
    program
}

/// Installs the rule for this thread and its children; sets no_new_privs too.
pub(super) fn apply(program: &BpfProgram) -> io::Result<()> {
    seccompiler::apply_filter(program).map_err(io::Error::other)
}
