//! Files, directories and the mount: who owns them and who may write to them.

use std::path::Path;

use crate::model::Finding;

/// Owner and mode of something that is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Seen {
    /// Its owner's number.
    pub owner: u32,
    /// Its mode, the last twelve bits.
    pub mode: u32,
}

/// What the store's user lives in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Thing {
    /// The store, which is the user's home.
    Store,
    /// `STORE/.ssh`
    SshDirectory,
    /// `STORE/.ssh/authorized_keys`
    KeyFile,
    /// `STORE/.byteback`
    State,
}

impl Thing {
    fn topic(self) -> &'static str {
        match self {
            Self::Store => "store",
            Self::SshDirectory => "ssh-directory",
            Self::KeyFile => "key-file",
            Self::State => "state",
        }
    }

    /// The mode that byteback-setup-server gives it.
    fn mode(self) -> u32 {
        match self {
            Self::Store => 0o750,
            Self::SshDirectory | Self::State => 0o700,
            Self::KeyFile => 0o600,
        }
    }

    /// Bits that let other users see what is not theirs.
    fn secret(self) -> u32 {
        match self {
            Self::Store => 0o007,
            Self::State => 0o077,
            Self::SshDirectory | Self::KeyFile => 0,
        }
    }
}

/// Judges one of them. `strict` is sshd's `StrictModes`: with it keys that others could have written are
/// not accepted at all (sshd_config(5)).
pub fn thing(thing: Thing, path: &Path, seen: Option<Seen>, user: (&str, u32), strict: bool) -> Finding {
    let (topic, path, (name, uid)) = (thing.topic(), path.display(), user);
    let Some(seen) = seen else {
        let what = format!("{path} is missing, so no client gets in");
        return Finding::bad(topic, what, "run byteback-setup-server, which makes it");
    };
    let root_is_fine = matches!(thing, Thing::SshDirectory | Thing::KeyFile);
    if seen.owner != uid && !(root_is_fine && seen.owner == 0) {
        let what = format!("{path} belongs to user {}, not to {name}, so no client gets in", seen.owner);
        return Finding::bad(topic, what, format!("run chown {name}: {path}"));
    }
    let way_out = format!("run chmod {:o} {path}", thing.mode());
    if seen.mode & 0o022 != 0 {
        let what =
            format!("others may write to {path} (mode {:o}), so they could let themselves in", seen.mode);
        return if strict {
            Finding::bad(topic, format!("{what}; sshd accepts no key until that is mended"), way_out)
        } else {
            Finding::weak(topic, what, way_out)
        };
    }
    if seen.mode & thing.secret() != 0 {
        let what = format!("other users of this machine can look into {path} (mode {:o})", seen.mode);
        return Finding::weak(topic, what, way_out);
    }
    Finding::ok(
        topic,
        format!("{path} is {}'s, mode {:o}", if seen.owner == 0 { "root" } else { name }, seen.mode),
    )
}

/// Judges the server's configuration: `seen` is the file, `directory` what it lies in, `parsed` what
/// came of reading it.
pub fn configuration(
    path: &Path,
    seen: Option<Seen>,
    directory: Option<Seen>,
    parsed: Result<(), String>,
) -> Finding {
    const TOPIC: &str = "server.toml";
    let in_roots_hands = |seen: Seen| seen.owner == 0 && seen.mode & 0o022 == 0;
    let shown = path.display();
    if seen.is_some_and(|seen| !in_roots_hands(seen)) {
        let what = format!(
            "{shown} names the program that the gate runs and is not in root's hands alone, so every request is refused"
        );
        return Finding::bad(TOPIC, what, format!("run chown root: {shown} and chmod 644 {shown}"));
    }
    if let Err(error) = parsed {
        return Finding::bad(
            TOPIC,
            format!("every request is refused: {error}"),
            "correct it (byteback.toml(5))",
        );
    }
    if let (Some(seen), Some(parent)) = (directory.filter(|seen| !in_roots_hands(*seen)), path.parent()) {
        let what = format!(
            "{} is user {}'s (mode {:o}): somebody else than root could put another file there",
            parent.display(),
            seen.owner,
            seen.mode
        );
        return Finding::weak(
            TOPIC,
            what,
            format!("run chown root: {0} and chmod 755 {0}", parent.display()),
        );
    }
    match seen {
        Some(_) => Finding::ok(TOPIC, format!("{shown} is root's and has no errors")),
        None => Finding::ok(TOPIC, format!("{shown} is not there; the defaults hold")),
    }
}

/// Judges what the store is mounted with (mount(8), btrfs(5)).
pub fn mount(point: &Path, fs_type: &str, has: impl Fn(&str) -> bool) -> Vec<Finding> {
    const TOPIC: &str = "mount";
    let point = point.display();
    if fs_type != "btrfs" {
        let what = format!("the store lies on {fs_type} ({point}), and without btrfs there are no snapshots");
        return vec![Finding::bad(TOPIC, what, "mount a btrfs there (byteback-setup-server(8))")];
    }
    let way_out = |options: &str| {
        format!("run mount -o remount,{options} {point} and add that to its line in /etc/fstab")
    };
    let mut findings = Vec::new();
    if !has("user_subvol_rm_allowed") {
        let what =
            format!("{point} lacks user_subvol_rm_allowed: nothing can be pruned, so the disk fills up");
        findings.push(Finding::weak(TOPIC, what, way_out("user_subvol_rm_allowed")));
    }
    let lacking: Vec<_> = ["nosuid", "nodev", "noexec"].into_iter().filter(|option| !has(option)).collect();
    if !lacking.is_empty() {
        let lacking = lacking.join(",");
        let what = format!("{point} lacks {lacking}: what a client uploaded could be run on the server");
        findings.push(Finding::weak(TOPIC, what, way_out(&lacking)));
    }
    if findings.is_empty() {
        let what = format!("{point} is a btrfs with user_subvol_rm_allowed,nosuid,nodev,noexec");
        findings.push(Finding::ok(TOPIC, what));
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Soundness;

    const USER: (&str, u32) = ("byteback", 990);

    fn judged(what: Thing, owner: u32, mode: u32, strict: bool) -> Soundness {
        thing(what, Path::new("/s"), Some(Seen { owner, mode }), USER, strict).verdict
    }

    #[test]
    fn what_others_may_write_lets_nobody_in() {
        for what in [Thing::Store, Thing::SshDirectory, Thing::KeyFile, Thing::State] {
            assert_eq!(judged(what, 990, what.mode(), true), Soundness::Ok);
            for mode in [what.mode() | 0o020, what.mode() | 0o002] {
                assert_eq!(judged(what, 990, mode, true), Soundness::Bad, "{what:?} {mode:o}");
                assert_eq!(judged(what, 990, mode, false), Soundness::Weak, "{what:?} {mode:o}");
            }
            assert_eq!(judged(what, 1000, what.mode(), true), Soundness::Bad, "{what:?}");
            assert_eq!(thing(what, Path::new("/s"), None, USER, true).verdict, Soundness::Bad);
        }
        assert_eq!(judged(Thing::KeyFile, 0, 0o644, true), Soundness::Ok, "root may keep the keys itself");
        assert_eq!(judged(Thing::State, 0, 0o700, true), Soundness::Bad, "the gate could not write there");
        assert_eq!(judged(Thing::Store, 990, 0o755, true), Soundness::Weak);
    }

    #[test]
    fn a_configuration_that_the_gate_refuses_is_bad() {
        let judged = |owner, mode, parsed: Result<(), String>| {
            configuration(Path::new("/etc/byteback/server.toml"), Some(Seen { owner, mode }), None, parsed)
                .verdict
        };
        assert_eq!(judged(0, 0o644, Ok(())), Soundness::Ok);
        assert_eq!(judged(990, 0o644, Ok(())), Soundness::Bad);
        assert_eq!(judged(0, 0o664, Ok(())), Soundness::Bad);
        assert_eq!(judged(0, 0o644, Err("line 1".to_owned())), Soundness::Bad);
        let open = Some(Seen { owner: 0, mode: 0o777 });
        assert_eq!(configuration(Path::new("/e/s"), None, open, Ok(())).verdict, Soundness::Weak);
        assert_eq!(configuration(Path::new("/e/s"), None, None, Ok(())).verdict, Soundness::Ok);
    }

    #[test]
    fn each_mount_option_that_is_lacking_is_named() {
        let judged = |lacking: &str| mount(Path::new("/s"), "btrfs", |option| option != lacking);
        assert_eq!(judged("")[0].verdict, Soundness::Ok);
        for option in ["user_subvol_rm_allowed", "nosuid", "nodev", "noexec"] {
            let findings = judged(option);
            assert_eq!((findings.len(), findings[0].verdict), (1, Soundness::Weak));
            assert!(findings[0].what.contains(&format!("lacks {option}:")), "{}", findings[0]);
        }
        assert_eq!(mount(Path::new("/s"), "ext4", |_| true)[0].verdict, Soundness::Bad);
    }
}
