//! What the gate answers to `--ping`, `--prepare` and `--complete` when the client asks with `--json`:
//! one line of JSON. Without `--json` (the former program's clients) only the message is sent.

use serde::{Deserialize, Serialize};

/// The answer to one request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answer {
    /// The version of this form: 1.
    pub schema: u32,
    /// What was decided.
    pub outcome: Outcome,
    /// The client that the key belongs to.
    pub client: String,
    /// The snapshot that was taken, or the last one when none was due.
    pub snapshot: Option<String>,
    /// One sentence for a person.
    pub message: String,
    /// The server is short of room and makes some just now, so asking again soon makes sense. An older
    /// server does not say it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub making_room: bool,
}

/// What was decided.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// Ping: the key works. Prepare: the push may start.
    Ok,
    /// Complete: a snapshot was taken.
    Snapshot,
    /// Complete: the last snapshot is too young for another one.
    NotDue,
    /// A rule said no.
    Refused,
    /// Another request of this client is at work.
    Busy,
    /// Something failed on the server.
    Failed,
}

impl Answer {
    /// One line, without its end.
    pub fn to_json(&self) -> String {
        serde_json::to_string(self).unwrap_or_default()
    }

    /// Reads the last line of what the gate printed.
    ///
    /// # Errors
    /// When that is no answer: an older server, or something else that speaks there.
    pub fn parse(printed: &[u8]) -> Result<Self, serde_json::Error> {
        let last = printed.trim_ascii_end().rsplit(|b| *b == b'\n').next().unwrap_or_default();
        serde_json::from_slice(last)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_survives_the_wire_also_behind_a_banner() {
        let answer = Answer {
            schema: 1,
            outcome: Outcome::NotDue,
            client: "web1".to_owned(),
            snapshot: Some("2026-11-20T23:47+0000".to_owned()),
            message: "too soon".to_owned(),
            making_room: true,
        };
        let printed = format!("Welcome!\n{}\n", answer.to_json());
        assert!(printed.contains("\"not-due\""));
        assert_eq!(Answer::parse(printed.as_bytes()).unwrap(), answer);
        assert!(Answer::parse(b"").is_err());
        let older = br#"{"schema":1,"outcome":"ok","client":"web1","snapshot":null,"message":"x"}"#;
        assert!(!Answer::parse(older).unwrap().making_room);
    }
}
