//! A table of system calls as a program for seccomp(2): a binary search, so that a call takes seven
//! comparisons. A list that is gone through from its beginning takes hundreds, for each call that rsync
//! makes, and for each call that exists when the kernel takes the program in (seccomp_cache_prepare in
//! kernel/seccomp.c): that alone took a quarter of a millisecond.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use nix::libc;
use seccompiler::{BpfProgram, sock_filter};

/// What becomes of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Answer {
    /// The kernel does it.
    Allow,
    /// EPERM.
    Refuse,
    /// ENOSYS, as from a kernel that does not have the call.
    Absent,
    /// clone(2): EPERM when it asks for a namespace, which would give it rights there, and the kernel more
    /// to get wrong.
    UnlessNamespaces,
    /// A call whose first argument is a process: EPERM unless it is 0, the caller itself.
    IfOwn,
    /// The process is killed.
    Kill,
}

const NAMESPACES: i32 = libc::CLONE_NEWNS
    | libc::CLONE_NEWCGROUP
    | libc::CLONE_NEWUTS
    | libc::CLONE_NEWIPC
    | libc::CLONE_NEWUSER
    | libc::CLONE_NEWPID
    | libc::CLONE_NEWNET;

/// The processor that this program was compiled for, as the kernel calls it (linux/audit.h: the number of
/// its ELF machine, 64 bits, little end first).
#[cfg(target_arch = "x86_64")]
pub(super) const OWN_ARCH: Option<u32> = Some(0xC000_0000 | 0x3E);
#[cfg(target_arch = "aarch64")]
pub(super) const OWN_ARCH: Option<u32> = Some(0xC000_0000 | 0xB7);
#[cfg(target_arch = "riscv64")]
pub(super) const OWN_ARCH: Option<u32> = Some(0xC000_0000 | 0xF3);
#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64", target_arch = "riscv64")))]
pub(super) const OWN_ARCH: Option<u32> = None;

/// Bit 30 of a call's number means x32, a second table of calls on the same processor.
#[cfg(target_arch = "x86_64")]
const X32_BIT: u32 = 0x4000_0000;

// Where struct seccomp_data has what is looked at (linux/seccomp.h); of an argument its lower half, which
// is the first one on the processors above.
const NUMBER: u32 = 0;
const ARCH: u32 = 4;
const FIRST_ARGUMENT: u32 = 16;

/// The program. Calls that are not listed are allowed.
///
/// # Errors
/// When there are too many calls for jumps of at most 255 instructions.
pub(super) fn compile(arch: u32, calls: &[(u32, Answer)]) -> Result<BpfProgram> {
    let mut program = vec![load(ARCH), jump(libc::BPF_JEQ, arch, 1, 0), give(Answer::Kill), load(NUMBER)];
    program.extend(search(&ranges(calls))?);
    Ok(program)
}

/// The answer from each number on, up to the next one; the first number is 0.
fn ranges(calls: &[(u32, Answer)]) -> Vec<(u32, Answer)> {
    let mut from: BTreeMap<u32, Answer> = calls.iter().map(|(call, _)| (call + 1, Answer::Allow)).collect();
    from.entry(0).or_insert(Answer::Allow);
    from.extend(calls.iter().copied());
    #[cfg(target_arch = "x86_64")]
    from.insert(X32_BIT, Answer::Kill);
    let mut ranges: Vec<(u32, Answer)> = from.into_iter().collect();
    ranges.dedup_by_key(|(_, answer)| *answer);
    ranges
}

fn search(ranges: &[(u32, Answer)]) -> Result<BpfProgram> {
    if let [(_, answer)] = ranges {
        return Ok(decide(*answer));
    }
    let (below, above) = ranges.split_at(ranges.len() / 2);
    let (first, below, above) =
        (above.first().map_or(0, |(first, _)| *first), search(below)?, search(above)?);
    let over = u8::try_from(below.len()).context("too many system calls for one program")?;
    Ok([jump(libc::BPF_JGE, first, over, 0)].into_iter().chain(below).chain(above).collect())
}

fn decide(answer: Answer) -> BpfProgram {
    let either = |test| vec![load(FIRST_ARGUMENT), test, give(Answer::Refuse), give(Answer::Allow)];
    match answer {
        Answer::Allow | Answer::Refuse | Answer::Absent | Answer::Kill => vec![give(answer)],
        Answer::UnlessNamespaces => either(jump(libc::BPF_JSET, NAMESPACES.cast_unsigned(), 0, 1)),
        Answer::IfOwn => either(jump(libc::BPF_JEQ, 0, 1, 0)),
    }
}

fn load(offset: u32) -> sock_filter {
    instruction(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0, 0, offset)
}

/// Goes over so many instructions when the comparison with `with` holds, and when it does not.
fn jump(comparison: u32, with: u32, holds: u8, holds_not: u8) -> sock_filter {
    instruction(libc::BPF_JMP | libc::BPF_K | comparison, holds, holds_not, with)
}

fn give(answer: Answer) -> sock_filter {
    let value = match answer {
        Answer::Allow => libc::SECCOMP_RET_ALLOW,
        Answer::Kill => libc::SECCOMP_RET_KILL_PROCESS,
        Answer::Absent => libc::SECCOMP_RET_ERRNO | libc::ENOSYS.cast_unsigned(),
        Answer::Refuse | Answer::UnlessNamespaces | Answer::IfOwn => {
            libc::SECCOMP_RET_ERRNO | libc::EPERM.cast_unsigned()
        }
    };
    instruction(libc::BPF_RET | libc::BPF_K, 0, 0, value)
}

fn instruction(code: u32, jt: u8, jf: u8, k: u32) -> sock_filter {
    let [low, high, ..] = code.to_le_bytes(); // no code of linux/bpf_common.h has more
    sock_filter { code: u16::from_le_bytes([low, high]), jt, jf, k }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINE: u32 = 4711;

    /// What the kernel would do, and after how many instructions.
    fn run(program: &BpfProgram, arch: u32, number: u32, argument: u32) -> (u32, usize) {
        let (mut at, mut value, mut steps) = (0, 0, 0);
        loop {
            let sock_filter { code, jt, jf, k } = program[at];
            let jump = |holds: bool| usize::from(if holds { jt } else { jf });
            (at, steps) = (at + 1, steps + 1);
            match u32::from(code) {
                0x20 => value = [number, arch, 0, 0, argument][(k / 4) as usize],
                0x15 => at += jump(value == k),
                0x35 => at += jump(value >= k),
                0x45 => at += jump(value & k != 0),
                0x06 => return (k, steps),
                other => panic!("{other:#x} is no instruction of ours"),
            }
        }
    }

    const REFUSED: u32 = 0x0005_0000 | 1;
    const ALLOWED: u32 = 0x7fff_0000;
    const KILLED: u32 = 0x8000_0000;

    #[test]
    fn each_call_gets_its_answer_and_its_neighbours_get_theirs() {
        let calls =
            [(0, Answer::Refuse), (3, Answer::Refuse), (4, Answer::Refuse), (9, Answer::UnlessNamespaces)];
        let calls = [&calls[..], &[(10, Answer::IfOwn), (300, Answer::Refuse)]].concat();
        let program = compile(MINE, &calls).unwrap();
        for number in (0..1000).chain([0x3fff_ffff]) {
            let refused = [0, 3, 4, 300].contains(&number);
            let wanted = if refused { REFUSED } else { ALLOWED };
            let harmless = u32::from(number == 9) * 0x11; // SIGCHLD, as fork(3) has it
            assert_eq!(run(&program, MINE, number, harmless).0, wanted, "{number}");
            assert_eq!(run(&program, MINE + 1, number, harmless).0, KILLED, "another processor");
        }
        for namespace in
            [0x0002_0000, 0x0200_0000, 0x0400_0000, 0x0800_0000, 0x1000_0000, 0x2000_0000, 0x4000_0000]
        {
            assert_eq!(run(&program, MINE, 9, namespace | 0x11).0, REFUSED, "{namespace:#x}");
        }
        assert_eq!(run(&program, MINE, 10, 1).0, REFUSED, "another process");
    }

    #[test]
    fn without_calls_everything_of_this_processor_is_allowed() {
        assert_eq!(run(&compile(MINE, &[]).unwrap(), MINE, 7, 0).0, ALLOWED);
    }

    #[cfg(target_arch = "x86_64")]
    #[test]
    fn the_second_table_of_calls_kills() {
        let program = compile(MINE, &[(1, Answer::Refuse)]).unwrap();
        for number in [X32_BIT, X32_BIT + 1, X32_BIT + 2, u32::MAX] {
            assert_eq!(run(&program, MINE, number, 0).0, KILLED);
        }
    }

    #[test]
    fn a_hundred_calls_far_apart_take_a_dozen_steps_and_a_thousand_are_an_error() {
        let apart = |count: u32| (0..count).map(|n| (n * 3, Answer::Refuse)).collect::<Vec<_>>();
        let program = compile(MINE, &apart(80)).unwrap();
        assert!((0..300).all(|number| run(&program, MINE, number, 0).1 <= 13));
        assert!(compile(MINE, &apart(1000)).is_err());
    }
}
