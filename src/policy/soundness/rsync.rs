//! The server's rsync: old ones have holes that a client can reach.

use std::path::Path;

use crate::model::Finding;

/// The first version without the holes that were found up to 2026.
const MENDED: [u32; 2] = [3, 5];

/// Judges the program by what it says of itself.
pub fn rsync(program: &Path, version: &str, knows_confine_root: bool) -> Vec<Finding> {
    const TOPIC: &str = "rsync";
    let shown = program.display();
    let mut findings = vec![if numbers(version) < Some(MENDED) {
        let what = format!(
            "{shown} is {version}, with holes that a client can use to take it over (CVE-2024-12084 and others), \
             so all rests on its confinement"
        );
        Finding::weak(
            TOPIC,
            what,
            "install rsync 3.5.0 or newer, or name another with rsync = in server.toml",
        )
    } else {
        Finding::ok(TOPIC, format!("{shown} is {version}"))
    }];
    findings.push(if knows_confine_root {
        Finding::ok(TOPIC, "it knows --confine-root")
    } else {
        Finding::weak(
            TOPIC,
            "it does not know --confine-root, one layer less",
            "install rsync 3.5.0 or newer",
        )
    });
    findings
}

/// `3.5` from `3.5.0`, `3.2.7-1` or `3.5.0dev`; `None` for what is no version, which counts as old.
fn numbers(version: &str) -> Option<[u32; 2]> {
    let mut numbers = version.split(|c: char| !c.is_ascii_digit()).map(str::parse);
    Some([numbers.next()?.ok()?, numbers.next()?.ok()?])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Soundness;

    #[test]
    fn an_rsync_with_known_holes_is_weak() {
        let judged = |version| rsync(Path::new("/usr/bin/rsync"), version, true)[0].verdict;
        for old in ["3.2.7", "3.4.1", "2.6.9", "unknown", ""] {
            assert_eq!(judged(old), Soundness::Weak, "{old}");
        }
        for new in ["3.5.0", "3.5.0dev", "3.10.1", "4.0.0"] {
            assert_eq!(judged(new), Soundness::Ok, "{new}");
        }
        assert_eq!(rsync(Path::new("/r"), "3.5.0", false)[1].verdict, Soundness::Weak);
    }
}
