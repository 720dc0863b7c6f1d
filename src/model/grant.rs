//! Which client a key belongs to and what it may do. It comes from the server's own key line, never
//! from what the client sends.

use jiff::Timestamp;

use super::{ClientName, Failure};

/// What one ssh key may ask for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Grant {
    /// The client whose trees are meant by every request.
    pub client: ClientName,
    /// Nothing that changes anything may be asked.
    pub read_only: bool,
    /// From then on nothing at all may be asked.
    pub until: Option<Timestamp>,
}

impl Grant {
    /// All that a client may do, for ever.
    pub fn full(client: ClientName) -> Self {
        Self { client, read_only: false, until: None }
    }

    /// Whether a request that reads only, or one that may change something, is allowed at this time.
    ///
    /// # Errors
    /// A refusal that says why.
    pub fn permits(&self, reads_only: bool, now: Timestamp) -> Result<(), Failure> {
        match self.until {
            Some(until) if now >= until => Err(Failure::refused(format!(
                "this key was good until {until}; the administrator gives another with byteback-admin restore-grant"
            ))),
            _ if self.read_only && !reads_only => Err(Failure::refused(format!(
                "this key may read the backups of {} and change nothing",
                self.client
            ))),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Status;

    #[test]
    fn a_grant_ends_at_its_second_and_never_lets_anything_change() {
        let until: Timestamp = "2026-12-01T00:00:00Z".parse().unwrap();
        let (before, after) =
            ("2026-11-30T23:59:59Z".parse().unwrap(), "2026-12-01T00:00:01Z".parse().unwrap());
        let full = Grant::full("web1".parse().unwrap());
        let grant = Grant { read_only: true, until: Some(until), ..full.clone() };
        assert_eq!(grant.permits(true, before), Ok(()));
        for (reads_only, now, why) in [
            (false, before, "change nothing"),
            (true, until, "was good until"),
            (true, after, "was good until"),
        ] {
            let failure = grant.permits(reads_only, now).unwrap_err();
            assert!(failure.status == Status::Refused && failure.message.contains(why), "{failure}");
        }
        assert_eq!(full.permits(false, after), Ok(()));
    }
}
