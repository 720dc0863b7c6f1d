//! What the kernel offers to hold rsync back, and what is left without it.

use crate::model::Finding;
use crate::model::server_config::Confinement;

/// What was tried out on this machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kernel {
    /// Landlock's interface version (landlock(7)); 0 without Landlock. Those above 6 count as 6.
    pub landlock: u32,
    /// A confined program could not make a link.
    pub landlock_held: bool,
    /// A confined program could not call ioctl.
    pub seccomp_held: bool,
    /// A confined program saw nothing of the machine; `None` when server.toml switches that off.
    pub namespace_held: Option<bool>,
}

/// What keeps rsync from the same where Landlock does not.
#[derive(Clone, Copy)]
enum StandIn {
    Nothing,
    Seccomp,
    /// The namespace for signals, seccomp for sockets.
    Namespace,
}

/// A right that came with an interface version, what its lack means, and what stands in.
const RIGHTS: [(u32, &str, &str, StandIn); 5] = [
    (2, "REFER", "backups with hard links or --delay-updates fail", StandIn::Nothing),
    (3, "TRUNCATE", "an exploited rsync can empty files of other clients' current by name", StandIn::Nothing),
    (4, "network", "seccomp alone keeps rsync from the network", StandIn::Seccomp),
    (5, "ioctl on devices", "seccomp alone keeps rsync from ioctl", StandIn::Seccomp),
    (
        6,
        "scoped signals and sockets",
        "only its namespace keeps an exploited rsync from ending other clients' runs",
        StandIn::Namespace,
    ),
];

/// Which Linux brought an interface version.
const SINCE: [&str; 7] = ["", "5.13", "5.19", "6.2", "6.7", "6.10", "6.12"];

/// One finding for each layer, and one for each right that Landlock lacks.
pub fn kernel(kernel: &Kernel, wanted: Confinement) -> Vec<Finding> {
    let mut findings = landlock(kernel, wanted);
    findings.push(if kernel.seccomp_held {
        Finding::ok("seccomp", "tried: a confined program cannot call ioctl")
    } else {
        let what = "this machine has no working seccomp: a confined rsync could delete any client's snapshots by number";
        lacking("seccomp", what, "use a kernel with CONFIG_SECCOMP_FILTER on amd64, arm64 or riscv64", wanted)
    });
    findings.push(namespace(kernel.namespace_held));
    findings
}

fn landlock(kernel: &Kernel, wanted: Confinement) -> Vec<Finding> {
    const TOPIC: &str = "landlock";
    if kernel.landlock == 0 || !kernel.landlock_held {
        let what = "this kernel lacks Landlock: a confined rsync could reach every client's files";
        let way_out = "use Linux 5.13 or newer with landlock in its lsm list (/sys/kernel/security/lsm)";
        return vec![lacking(TOPIC, what, way_out, wanted)];
    }
    let since = |version: u32| SINCE.get(version as usize).copied().unwrap_or_default();
    let lacking = RIGHTS.iter().filter(|(version, ..)| *version > kernel.landlock);
    let found = lacking.map(|(version, right, consequence, stand_in)| {
        let what = format!("interface {} lacks {right}: {consequence}", kernel.landlock);
        let is_stood_in_for = match stand_in {
            StandIn::Nothing => false,
            StandIn::Seccomp => kernel.seccomp_held,
            StandIn::Namespace => kernel.seccomp_held && kernel.namespace_held == Some(true),
        };
        if is_stood_in_for {
            Finding::ok(TOPIC, what)
        } else {
            Finding::weak(TOPIC, what, format!("use Linux {} or newer", since(*version)))
        }
    });
    let found: Vec<_> = found.collect();
    if !found.is_empty() {
        return found;
    }
    let what =
        format!("interface {} or newer; tried: a confined program cannot make a link", kernel.landlock);
    vec![Finding::ok(TOPIC, what)]
}

/// A layer that the gate insists on, unless the administrator does without.
fn lacking(topic: &'static str, what: &str, way_out: &str, wanted: Confinement) -> Finding {
    match wanted {
        Confinement::Kernel => Finding::bad(
            topic,
            format!("{what}; the gate refuses to work"),
            format!("{way_out}, or do without by confinement = \"arguments-only\" in server.toml"),
        ),
        Confinement::ArgumentsOnly => Finding::weak(topic, what, way_out),
    }
}

fn namespace(held: Option<bool>) -> Finding {
    const TOPIC: &str = "namespace";
    const WITHOUT: &str = "an exploited rsync could see and change modes and times of other clients' current, and start any number of processes";
    match held {
        Some(true) => {
            Finding::ok(TOPIC, "tried: a confined program sees nothing of the machine but its tree")
        }
        Some(false) => Finding::weak(
            TOPIC,
            format!("an ordinary user cannot have namespaces for mounts and processes here: {WITHOUT}"),
            "allow it: user.max_user_namespaces above 0, and 0 in kernel.apparmor_restrict_unprivileged_userns (sysctl(8))",
        ),
        None => Finding::weak(
            TOPIC,
            format!("server.toml switches it off: {WITHOUT}"),
            "take namespace = false out of server.toml",
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Soundness;
    use crate::model::finding::worst;

    const GOOD: Kernel =
        Kernel { landlock: 6, landlock_held: true, seccomp_held: true, namespace_held: Some(true) };

    #[test]
    fn a_kernel_with_everything_is_sound() {
        assert!(kernel(&GOOD, Confinement::Kernel).iter().all(|finding| finding.verdict == Soundness::Ok));
    }

    #[test]
    fn what_the_gate_refuses_without_is_bad_unless_the_administrator_does_without() {
        for lacking in [
            Kernel { landlock: 0, ..GOOD },
            Kernel { landlock_held: false, ..GOOD },
            Kernel { seccomp_held: false, ..GOOD },
        ] {
            assert_eq!(worst(&kernel(&lacking, Confinement::Kernel)), Soundness::Bad);
            assert_eq!(worst(&kernel(&lacking, Confinement::ArgumentsOnly)), Soundness::Weak);
        }
        for held in [None, Some(false)] {
            assert_eq!(
                worst(&kernel(&Kernel { namespace_held: held, ..GOOD }, Confinement::Kernel)),
                Soundness::Weak
            );
        }
    }

    #[test]
    fn each_right_that_landlock_lacks_is_named_with_the_linux_that_has_it() {
        let debian_12 = kernel(&Kernel { landlock: 2, ..GOOD }, Confinement::Kernel);
        let text: Vec<_> = debian_12.iter().map(ToString::to_string).collect();
        assert!(
            text[0].starts_with("WEAK landlock: interface 2 lacks TRUNCATE") && text[0].contains("Linux 6.2")
        );
        assert!(text[1].starts_with("ok   landlock: interface 2 lacks network"), "{text:?}");
        assert!(text[3].starts_with("ok   landlock: interface 2 lacks scoped signals"), "{text:?}");
        assert!(!text.concat().contains("REFER"), "{text:?}");
        let bare = Kernel { landlock: 2, namespace_held: Some(false), ..GOOD };
        let text = kernel(&bare, Confinement::Kernel)[3].to_string();
        assert!(text.starts_with("WEAK landlock") && text.contains("6.12"), "{text}");
        let alone = kernel(&Kernel { landlock: 3, seccomp_held: false, ..GOOD }, Confinement::ArgumentsOnly);
        assert!(alone[0].to_string().starts_with("WEAK landlock: interface 3 lacks network"));
    }
}
