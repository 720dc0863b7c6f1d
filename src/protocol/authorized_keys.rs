//! The key file of the store's user (sshd(8), "`AUTHORIZED_KEYS` FILE FORMAT"): which key belongs to which
//! client, and the line that enrolment adds.
//!
//! People and the former program write this file too. Nothing that stands in it is ever changed: a line
//! is added behind all of its bytes, whatever they are. And where a line is doubtful, its key counts as
//! taken by somebody, never as free.

use std::path::Path;

use jiff::Timestamp;

use super::public_key::PublicKey;
use crate::model::ClientName;

mod line;
mod options;

pub use line::{Line, LineError};
use options::KeyOption;

/// The forced command of every client's key.
const GATE: &str = "byteback-receive";

/// The variable that named the client in the former program's lines.
const FORMER_VARIABLE: &str = "BYTEBACK_HOST";

/// Whose a key is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Holder {
    /// It lets this client through the gate.
    Client(ClientName),
    /// It lets somebody read this client's backups for some time.
    Reader(ClientName),
    /// It stands in a line that is not a client's: an administrator's key, a certificate authority, or a
    /// line that sshd itself would not take.
    Other,
}

/// The whole file.
#[derive(Debug, Clone)]
pub struct KeyFile {
    content: Vec<u8>,
    lines: Vec<KeyLine>,
}

/// What a line that holds a key says.
#[derive(Debug, Clone)]
struct KeyLine {
    client: Option<ClientName>,
    grant: Option<RestoreGrant>,
    key: PublicKey,
}

/// A line that lets somebody read one client's backups.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RestoreGrant {
    /// Whose.
    pub client: ClientName,
    /// Until when; `None` where somebody wrote the line without it.
    pub until: Option<Timestamp>,
    /// The `from=` of the line.
    pub from: Option<String>,
    /// Who may.
    pub key: PublicKey,
}

impl KeyFile {
    /// Reads a file; there is none that cannot be read.
    pub fn parse(content: &[u8]) -> Self {
        let lines = content.split(|byte| *byte == b'\n').filter_map(KeyLine::parse).collect();
        Self { content: content.to_vec(), lines }
    }

    /// Whose key this is, by the first line that holds it: sshd takes that one too.
    pub fn holder(&self, key: &PublicKey) -> Option<Holder> {
        let line = self.lines.iter().find(|line| line.key == *key)?;
        Some(match (&line.grant, &line.client) {
            (Some(grant), _) => Holder::Reader(grant.client.clone()),
            (None, Some(client)) => Holder::Client(client.clone()),
            (None, None) => Holder::Other,
        })
    }

    /// The keys that let this client through the gate, to do all that a client may.
    pub fn keys_of(&self, client: &ClientName) -> Vec<&PublicKey> {
        self.lines.iter().filter(|line| line.client.as_ref() == Some(client)).map(|line| &line.key).collect()
    }

    /// Who may read whose backups.
    pub fn grants(&self) -> impl Iterator<Item = &RestoreGrant> {
        self.lines.iter().filter_map(|line| line.grant.as_ref())
    }

    /// The file's bytes without the lines of these grants. Every other byte stays as it is.
    pub fn without_grants(&self, ends: impl Fn(&RestoreGrant) -> bool) -> Vec<u8> {
        let goes =
            |line: &[u8]| KeyLine::parse(line).and_then(|line| line.grant).is_some_and(|grant| ends(&grant));
        let lines = self.content.split_inclusive(|byte| *byte == b'\n');
        lines.filter(|line| !goes(line.strip_suffix(b"\n").unwrap_or(line))).flatten().copied().collect()
    }

    /// The file's bytes with one line more behind them.
    pub fn with_line(&self, line: &Line) -> Vec<u8> {
        let mut content = self.content.clone();
        if content.last().is_some_and(|last| *last != b'\n') {
            content.push(b'\n');
        }
        content.extend_from_slice(line.to_string().as_bytes());
        content.push(b'\n');
        content
    }
}

impl KeyLine {
    /// `None` for a comment, an empty line and whatever holds no key that sshd could find.
    fn parse(line: &[u8]) -> Option<Self> {
        let line = trim_blanks(line.strip_suffix(b"\r").unwrap_or(line));
        if line.is_empty() || line[0] == b'#' {
            return None;
        }
        if let Ok(key) = PublicKey::at_start_of(line) {
            return Some(Self { client: None, grant: None, key });
        }
        let (text, rest) = line.split_at(options::end(line));
        let key = PublicKey::at_start_of(trim_blanks(rest)).ok()?;
        let options = options::parse(text).unwrap_or_default();
        let client = client_of(&options);
        let grant = client.clone().and_then(|client| grant_of(&options, client, &key));
        Some(Self { client: client.filter(|_| grant.is_none()), grant, key })
    }
}

fn trim_blanks(mut line: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', rest @ ..] = line {
        line = rest;
    }
    line
}

/// The client whose gate these options open. A certificate authority's line is nobody's: its key logs
/// nobody in by itself.
fn client_of(options: &[KeyOption]) -> Option<ClientName> {
    if options.iter().any(|(name, _)| name == "cert-authority") {
        return None;
    }
    let words = gate_words(options)?;
    let is_named = words.iter().any(|word| word.starts_with("--client"));
    if is_named { named_client(&words) } else { former_client(options) }
}

/// A gate that is told `--read-only` lets nobody in to back up.
fn grant_of(options: &[KeyOption], client: ClientName, key: &PublicKey) -> Option<RestoreGrant> {
    let words = gate_words(options)?;
    words.iter().find(|word| **word == "--read-only")?;
    let until =
        words.iter().position(|word| *word == "--until").and_then(|at| words.get(at + 1)?.parse().ok());
    let from = options.iter().find(|(name, _)| name == "from").and_then(|(_, value)| value.clone());
    let from = from.map(|from| String::from_utf8_lossy(&from).into_owned());
    Some(RestoreGrant { client, until, from, key: key.clone() })
}

/// What stands behind the gate's name in the forced command. sshd refuses a line with two commands.
fn gate_words(options: &[KeyOption]) -> Option<Vec<&str>> {
    let mut commands = options.iter().filter(|(name, _)| name == "command");
    let (_, value) = commands.next().filter(|_| commands.next().is_none())?;
    let mut words = std::str::from_utf8(value.as_deref()?).ok()?.split_ascii_whitespace();
    let program = words.next()?;
    is_gate(program).then(|| words.collect())
}

fn is_gate(program: &str) -> bool {
    program == GATE || (program.starts_with('/') && Path::new(program).ends_with(GATE))
}

/// `--client NAME` or `--client=NAME`, once.
fn named_client(words: &[&str]) -> Option<ClientName> {
    let mut names =
        words.iter().enumerate().filter_map(|(at, word)| match word.strip_prefix("--client")? {
            "" => Some(words.get(at + 1).copied().unwrap_or_default()),
            value => Some(value.strip_prefix('=').unwrap_or_default()),
        });
    let name = names.next()?;
    names.next().is_none().then(|| name.parse().ok())?
}

/// The first `environment="BYTEBACK_HOST=NAME"`; sshd ignores a variable's later values.
fn former_client(options: &[KeyOption]) -> Option<ClientName> {
    options
        .iter()
        .filter(|(name, _)| name == "environment")
        .find_map(|(_, value)| {
            let text = std::str::from_utf8(value.as_deref()?).ok()?;
            text.strip_prefix(FORMER_VARIABLE)?.strip_prefix('=').map(str::parse)
        })?
        .ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const ONE: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIM94et2jwUVZWxvrGnZVvgs4IpEPtg8MBO3TYdb/xqhE one";
    const TWO: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIM94et2jwUVZWxvrGnZVvgs4IpEPtg8MBO3TYdb/xqhF two";

    fn key(text: &str) -> PublicKey {
        text.parse().unwrap()
    }

    fn name(text: &str) -> ClientName {
        text.parse().unwrap()
    }

    fn new_line() -> Line {
        Line::new(name("web2"), key(TWO), Path::new("byteback-receive"), None, None).unwrap()
    }

    #[test]
    fn a_client_s_line_is_known_in_every_form_that_was_ever_written() {
        for options in [
            r#"restrict,command="byteback-receive --client web1""#,
            r#"restrict,from="192.0.2.7",command="/usr/bin/byteback-receive --store /s --client=web1""#,
            r#"no-pty,COMMAND="byteback-receive --config /c --client web1 --store /s",No-X11-Forwarding"#,
            r#"command="byteback-receive",from="192.0.2.7",environment="BYTEBACK_HOST=web1""#,
            r#"environment="LANG=C",Environment="BYTEBACK_HOST=web1",command="/opt/b/byteback-receive""#,
        ] {
            let file = KeyFile::parse(format!("  {options}\t{ONE}\r\n").as_bytes());
            assert_eq!(file.holder(&key(ONE)), Some(Holder::Client(name("web1"))), "{options}");
            assert_eq!(file.keys_of(&name("web1")), [&key(ONE)]);
        }
    }

    #[test]
    fn a_key_in_any_other_line_is_taken_too() {
        for options in [
            "",
            "restrict ",
            r#"cert-authority,command="byteback-receive --client web1" "#,
            r#"command="sh -c 'byteback-receive --client web1'" "#,
            r#"command="not-byteback-receive --client web1" "#,
            r#"command="bin/byteback-receive --client web1" "#,
            r#"command="byteback-receive --client ../web1" "#,
            r#"command="byteback-receive --client web1 --client web2" "#,
            r#"command="byteback-receive --client web1;sh" "#,
            r#"command="byteback-receive --client",environment="BYTEBACK_HOST=web1" "#,
            r#"command="byteback-receive --client web1",command="sh" "#,
            r#"command="byteback-receive" "#,
            r#"environment="BYTEBACK_HOST=web1" "#,
            r#"command="byteback-receive --client web1"junk "#,
        ] {
            let file = KeyFile::parse(format!("{options}{ONE}").as_bytes());
            assert_eq!(file.holder(&key(ONE)), Some(Holder::Other), "{options}");
            assert!(file.keys_of(&name("web1")).is_empty(), "{options}");
        }
    }

    #[test]
    fn what_sshd_does_not_see_as_a_key_takes_none() {
        for line in [format!("# {ONE}"), format!("restrict,command=\"never closed {ONE}"), String::new()] {
            assert_eq!(KeyFile::parse(line.as_bytes()).holder(&key(ONE)), None, "{line}");
        }
    }

    #[test]
    fn the_first_line_with_a_key_decides_as_in_sshd() {
        let gate = r#"restrict,command="byteback-receive --client"#;
        let file = KeyFile::parse(format!("{gate} a\" {ONE}\n{gate} b\" {ONE}\n").as_bytes());
        assert_eq!(file.holder(&key(ONE)), Some(Holder::Client(name("a"))));
    }

    #[test]
    fn a_restore_grant_is_no_enrolment_and_goes_alone() {
        let until: Timestamp = "2026-12-01T00:00:00Z".parse().unwrap();
        let own = format!("restrict,command=\"byteback-receive --client web2\" {ONE}");
        let grant = new_line().only_from("192.0.2.7".parse().unwrap()).to_read_until(until).to_string();
        let file = KeyFile::parse(format!("# kept\r\n{grant}\n{own}\nodd \u{e9}").as_bytes());
        assert_eq!(file.holder(&key(TWO)), Some(Holder::Reader(name("web2"))));
        assert_eq!(file.keys_of(&name("web2")), [&key(ONE)], "the name is not taken by a grant");
        let found: Vec<_> = file.grants().collect();
        let from = Some("192.0.2.7".to_owned());
        assert_eq!(found, [&RestoreGrant { client: name("web2"), until: Some(until), from, key: key(TWO) }]);
        assert_eq!(file.without_grants(|_| true), format!("# kept\r\n{own}\nodd \u{e9}").as_bytes());
        assert_eq!(file.without_grants(|grant| grant.client != name("web2")), file.content);
    }

    #[test]
    fn a_missing_final_newline_does_not_join_two_lines() {
        let file = KeyFile::parse(KeyFile::parse(ONE.as_bytes()).with_line(&new_line()).as_slice());
        assert_eq!(file.holder(&key(ONE)), Some(Holder::Other));
        assert_eq!(file.holder(&key(TWO)), Some(Holder::Client(name("web2"))));
        assert_eq!(KeyFile::parse(b"").with_line(&new_line()), format!("{}\n", new_line()).as_bytes());
    }

    proptest! {
        #[test]
        fn a_line_is_added_behind_any_bytes_and_none_of_them_changes(content: Vec<u8>) {
            let longer = KeyFile::parse(&content).with_line(&new_line());
            prop_assert!(longer.starts_with(&content));
            let added = String::from_utf8(longer[content.len()..].to_vec()).unwrap();
            prop_assert_eq!(added.trim_start_matches('\n'), format!("{}\n", new_line()));
            prop_assert_eq!(KeyFile::parse(&longer).holder(&key(TWO)), Some(Holder::Client(name("web2"))));
        }
    }
}
