//! seccomp(2): system calls that no rsync server makes, and that Landlock does not see. Above all
//! ioctl: with it a process that may only read its own tree can delete any client's subvolume by number.

use std::io;

use anyhow::Result;
use nix::libc;
use seccompiler::BpfProgram;

use super::seccomp_program::{self, Answer};

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

/// Any other call is allowed; one that means more than one thing is looked at more closely.
const LOOKED_AT: [(i64, Answer); 3] = [
    (libc::SYS_clone, Answer::UnlessNamespaces),
    // Its flags lie in memory, where no rule can look at them. pthread_create(3) uses clone where it is absent,
    // and a search reads with several threads.
    (libc::SYS_clone3, Answer::Absent),
    (libc::SYS_prlimit64, Answer::IfOwn),
];

/// The rule, compiled; `None` on a processor that it was not written for. A process of another
/// architecture is killed.
///
/// # Errors
/// When there are too many calls for one program.
pub(super) fn program() -> Result<Option<BpfProgram>> {
    let Some(arch) = seccomp_program::OWN_ARCH else { return Ok(None) };
    let refused = REFUSED.iter().map(|call| (*call, Answer::Refuse));
    let calls: Vec<(u32, Answer)> = refused
        .chain(LOOKED_AT)
        .map(|(call, answer)| Ok((u32::try_from(call)?, answer)))
        .collect::<Result<_>>()?;
    seccomp_program::compile(arch, &calls).map(Some)
}

/// Installs the rule for this thread and its children; sets no_new_privs too.
pub(super) fn apply(program: &BpfProgram) -> io::Result<()> {
    seccompiler::apply_filter(program).map_err(io::Error::other)
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;

    #[test]
    fn a_confined_search_may_have_threads() {
        let confined = thread::spawn(|| {
            apply(&program().unwrap().unwrap()).unwrap();
            thread::Builder::new().spawn(|| 42).map(|helper| helper.join().unwrap()).unwrap()
        });
        assert_eq!(confined.join().unwrap(), 42);
    }
}
