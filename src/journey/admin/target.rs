//! What an administrator means: a client, or one snapshot of it.

use std::fmt;
use std::str::FromStr;

use crate::model::{ClientName, SnapshotName};

/// `CLIENT` or `CLIENT/SNAPSHOT`, as typed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// Whose.
    pub client: ClientName,
    /// Which one; `None` for all of the client.
    pub snapshot: Option<SnapshotName>,
}

impl FromStr for Target {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (client, snapshot) = match text.trim_end_matches('/').split_once('/') {
            Some((client, snapshot)) => (client, Some(snapshot)),
            None => (text.trim_end_matches('/'), None),
        };
        let client = client.parse().map_err(|error| format!("no client's name: {error}"))?;
        let snapshot = snapshot.map(SnapshotName::from_str).transpose();
        Ok(Self { client, snapshot: snapshot.map_err(|error| format!("no snapshot's name: {error}"))? })
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.snapshot {
            Some(snapshot) => write!(f, "{}/{snapshot}", self.client),
            None => self.client.fmt(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_or_one_of_its_snapshots_is_meant_and_nothing_else() {
        for text in ["web1", "web1/2026-11-20T23:47+0000", "web1/saved-do-not-delete"] {
            assert_eq!(text.parse::<Target>().unwrap().to_string(), text);
        }
        assert_eq!("web1/".parse::<Target>().unwrap().snapshot, None);
        for text in ["", "/", "web1/current", "web1/a/b", "../x", "web1/.."] {
            assert!(text.parse::<Target>().is_err(), "{text}");
        }
    }
}
