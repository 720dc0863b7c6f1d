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
    /// Prepare and complete: what the server has of this client. An older server does not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub standing: Option<Standing>,
}

/// What the server has of a client, for a client that keeps an index of what it sent.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Standing {
    /// The receipt of the last push that was completed; `None` when another one has begun since, or when
    /// there is none. A client whose index belongs to another receipt makes a full run.
    pub receipt: Option<String>,
    /// The token that the last push brought: read back from the snapshot, or from `current` where none was
    /// taken.
    pub canary: Option<String>,
    /// Why the server wants a full run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub full_run: Option<String>,
    /// There is nothing yet.
    #[serde(default)]
    pub empty: bool,
}

/// Where in `current` the token lies that each push brings: rsync sends it last, unless a name in the root
/// sorts behind it.
pub const CANARY: &str = "~byteback/canary";

/// Whether a text is a token: 32 hexadecimal digits, and nothing that could harm who prints it.
pub fn is_token(text: &str) -> bool {
    text.len() == 32 && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
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
            standing: Some(Standing { receipt: Some("0".repeat(32)), ..Standing::default() }),
        };
        let printed = format!("Welcome!\n{}\n", answer.to_json());
        assert!(printed.contains("\"not-due\""));
        assert_eq!(Answer::parse(printed.as_bytes()).unwrap(), answer);
        assert!(Answer::parse(b"").is_err());
        let older = br#"{"schema":1,"outcome":"ok","client":"web1","snapshot":null,"message":"x"}"#;
        assert!(!Answer::parse(older).unwrap().making_room);
    }

    #[test]
    fn an_older_servers_answer_has_no_standing() {
        let printed = br#"{"schema":1,"outcome":"ok","client":"web1","snapshot":null,"message":"x"}"#;
        assert_eq!(Answer::parse(printed).unwrap().standing, None);
    }

    #[test]
    fn only_32_digits_are_a_token() {
        assert!(is_token("0123456789abcdef0123456789abcdef"));
        for text in ["", "0123456789abcdef0123456789abcdeg", "0123456789abcdef0123456789abcde"] {
            assert!(!is_token(text), "{text}");
        }
    }
}
