//! What a check of the server found out: one line for people, one object for programs.

use std::fmt;

use serde::Serialize;

/// How sound a thing is, better first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Soundness {
    /// Nobody could look; it counts neither way.
    NotChecked,
    /// As it should be.
    Ok,
    /// Something is lacking that weakens a promise of byteback(7).
    Weak,
    /// The gate refuses to work, or is never reached.
    Bad,
}

/// One thing that was looked at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// What was looked at, one word that stays the same: `landlock`, `sshd`, `key-file`, ...
    pub topic: &'static str,
    /// How it is.
    pub verdict: Soundness,
    /// What was found, and what follows from it.
    pub what: String,
    /// What to do; `None` where nothing is to do.
    pub way_out: Option<String>,
}

impl Finding {
    /// As it should be.
    pub fn ok(topic: &'static str, what: impl Into<String>) -> Self {
        Self { topic, verdict: Soundness::Ok, what: what.into(), way_out: None }
    }

    /// A promise is weaker than it could be.
    pub fn weak(topic: &'static str, what: impl Into<String>, way_out: impl Into<String>) -> Self {
        Self { topic, verdict: Soundness::Weak, what: what.into(), way_out: Some(way_out.into()) }
    }

    /// Nothing works like this.
    pub fn bad(topic: &'static str, what: impl Into<String>, way_out: impl Into<String>) -> Self {
        Self { topic, verdict: Soundness::Bad, what: what.into(), way_out: Some(way_out.into()) }
    }

    /// Nobody could look, and why.
    pub fn not_checked(topic: &'static str, why: impl Into<String>) -> Self {
        Self {
            topic,
            verdict: Soundness::NotChecked,
            what: format!("not checked: {}", why.into()),
            way_out: None,
        }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let label = match self.verdict {
            Soundness::NotChecked => "--",
            Soundness::Ok => "ok",
            Soundness::Weak => "WEAK",
            Soundness::Bad => "BAD",
        };
        write!(f, "{label:<4} {}: {}", self.topic, self.what)?;
        self.way_out.as_ref().map_or(Ok(()), |way_out| write!(f, "; {way_out}"))
    }
}

/// The worst of them; sound where there is none.
pub fn worst(findings: &[Finding]) -> Soundness {
    findings.iter().map(|finding| finding.verdict).max().unwrap_or(Soundness::Ok)
}

/// The exit status of a check: 0 sound, 1 weak, 2 bad.
impl From<Soundness> for u8 {
    fn from(soundness: Soundness) -> Self {
        match soundness {
            Soundness::NotChecked | Soundness::Ok => 0,
            Soundness::Weak => 1,
            Soundness::Bad => 2,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_finding_is_one_line_with_its_way_out() {
        let weak = Finding::weak("mount", "/srv lacks noexec", "run mount");
        assert_eq!(weak.to_string(), "WEAK mount: /srv lacks noexec; run mount");
        assert_eq!(Finding::ok("rsync", "3.5.0").to_string(), "ok   rsync: 3.5.0");
    }

    #[test]
    fn the_worst_decides_and_what_nobody_saw_does_not_count() {
        let unseen = Finding::not_checked("sshd", "needs root");
        assert_eq!(u8::from(worst(std::slice::from_ref(&unseen))), 0);
        let mut findings = vec![Finding::ok("a", ""), Finding::weak("b", "", ""), unseen];
        assert_eq!(u8::from(worst(&findings)), 1);
        findings.push(Finding::bad("c", "", ""));
        assert_eq!((worst(&findings), worst(&[])), (Soundness::Bad, Soundness::Ok));
    }
}
