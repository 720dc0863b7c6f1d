//! Where a client's backups go: `[user@]host:[path]` or `ssh://[user@]host[:port]/[path]`.

use std::fmt;
use std::str::FromStr;

/// The Unix user on the server when the destination names none.
pub const DEFAULT_USER: &str = "byteback";

/// A server that ssh can reach. User and host never start with `-` and hold no character that ssh,
/// a shell or rsync would read as something else.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Destination {
    user: Option<String>,
    host: String,
    port: Option<u16>,
    path: String,
}

/// Why a text is no [`Destination`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DestinationError {
    /// No `:` behind the host, so rsync would take it for a local path.
    NoColon,
    /// `host::module` or `rsync://`: an rsync daemon, which byteback does not use.
    Daemon,
    /// The user is empty, starts with `-` or holds a strange character.
    BadUser,
    /// The host is empty, starts with `-` or holds a strange character.
    BadHost,
    /// The port is no number from 1 to 65535.
    BadPort,
    /// The path holds a control character.
    BadPath,
}

impl fmt::Display for DestinationError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NoColon => "write it as host: or user@host: (with the colon), or ssh://user@host:port/",
            Self::Daemon => "an rsync daemon is not used; write host: with one colon",
            Self::BadUser => "its user is not a Unix user's name",
            Self::BadHost => "its host is not a host's name or address",
            Self::BadPort => "its port is not a number from 1 to 65535",
            Self::BadPath => "its path holds a control character",
        })
    }
}

impl std::error::Error for DestinationError {}

impl Destination {
    /// The user to log in as; [`DEFAULT_USER`] when none was written.
    pub fn user(&self) -> &str {
        self.user.as_deref().unwrap_or(DEFAULT_USER)
    }

    /// The host, without the brackets of an IPv6 address.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The port, if one was written.
    pub fn port(&self) -> Option<u16> {
        self.port
    }

    /// How known_hosts spells it: `host`, or `[host]:port` when the port is not 22.
    pub fn known_hosts_name(&self) -> String {
        match self.port {
            None | Some(22) => self.host.clone(),
            Some(port) => format!("[{}]:{port}", self.host),
        }
    }
}

impl FromStr for Destination {
    type Err = DestinationError;

    fn from_str(text: &str) -> Result<Self, DestinationError> {
        let text = text.trim();
        if text.starts_with("rsync://") {
            return Err(DestinationError::Daemon);
        }
        let destination = match text.strip_prefix("ssh://") {
            Some(rest) => parse_url(rest)?,
            None => parse_scp(text)?,
        };
        destination.checked()
    }
}

fn parse_url(rest: &str) -> Result<Destination, DestinationError> {
    let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
    let (user, host_port) = split_user(authority);
    let (host, port) = match host_port.strip_prefix('[').and_then(|inner| inner.split_once(']')) {
        Some((host, "")) => (host, None),
        Some((host, after)) => (host, Some(after.strip_prefix(':').ok_or(DestinationError::BadPort)?)),
        None => match host_port.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (host_port, None),
        },
    };
    let port = port.map(parse_port).transpose()?;
    Ok(Destination { user, host: host.to_owned(), port, path: path.to_owned() })
}

/// In its one spelling: no sign, no zero in front.
fn parse_port(text: &str) -> Result<u16, DestinationError> {
    let port: u16 = text.parse().map_err(|_| DestinationError::BadPort)?;
    if port > 0 && port.to_string() == text { Ok(port) } else { Err(DestinationError::BadPort) }
}

fn parse_scp(text: &str) -> Result<Destination, DestinationError> {
    let (user, rest) = split_user(text);
    let (host, path) = match rest.strip_prefix('[') {
        Some(inner) => inner.split_once("]:").ok_or(DestinationError::NoColon)?,
        None => rest.split_once(':').ok_or(DestinationError::NoColon)?,
    };
    if path.starts_with(':') {
        return Err(DestinationError::Daemon);
    }
    Ok(Destination { user, host: host.to_owned(), port: None, path: path.to_owned() })
}

fn split_user(text: &str) -> (Option<String>, &str) {
    match text.split_once('@') {
        Some((user, rest)) => (Some(user.to_owned()), rest),
        None => (None, text),
    }
}

impl Destination {
    fn checked(self) -> Result<Self, DestinationError> {
        let plain = |text: &str, extra: &[u8]| {
            !text.is_empty()
                && !text.starts_with('-')
                && text.bytes().all(|b| b.is_ascii_alphanumeric() || extra.contains(&b))
        };
        if self.user.as_deref().is_some_and(|user| !plain(user, b"._-$")) {
            return Err(DestinationError::BadUser);
        }
        if !plain(&self.host, b"._-:%") {
            return Err(DestinationError::BadHost);
        }
        if self.path.chars().any(char::is_control) {
            return Err(DestinationError::BadPath);
        }
        Ok(self)
    }
}

impl fmt::Display for Destination {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let host = if self.host.contains(':') { format!("[{}]", self.host) } else { self.host.clone() };
        match self.port {
            Some(port) => write!(f, "ssh://{}@{host}:{port}/{}", self.user(), self.path),
            // Behind a colon, a second one would make it an rsync daemon's module.
            None if self.path.starts_with(':') => write!(f, "ssh://{}@{host}/{}", self.user(), self.path),
            None => write!(f, "{}@{host}:{}", self.user(), self.path),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn both_spellings_are_understood_and_printed_so_that_they_parse_again() {
        for (text, printed) in [
            ("host:", "byteback@host:"),
            ("bb@host:path\n", "bb@host:path"),
            ("bb@[::1]:", "bb@[::1]:"),
            ("ssh://bb@host:2222/", "ssh://bb@host:2222/"),
            ("ssh://host", "byteback@host:"),
            ("ssh://[fe80::1%eth0]:22/x", "ssh://byteback@[fe80::1%eth0]:22/x"),
            ("ssh://host/:x", "ssh://byteback@host/:x"),
        ] {
            let parsed: Destination = text.parse().unwrap();
            assert_eq!(parsed.to_string(), printed);
            assert_eq!(printed.parse::<Destination>().unwrap().to_string(), printed);
        }
    }

    #[test]
    fn nothing_that_ssh_could_take_for_an_option_or_a_command_gets_through() {
        use DestinationError::{BadHost, BadPath, BadPort, BadUser, Daemon, NoColon};
        for (text, why) in [
            ("host", NoColon),
            ("-oProxyCommand=x:", BadHost),
            ("-lx@host:", BadUser),
            ("@host:", BadUser),
            ("u@:", BadHost),
            ("a b:", BadHost),
            ("host::module", Daemon),
            ("rsync://host/x", Daemon),
            ("ssh://h:0/", BadPort),
            ("ssh://h:99999/", BadPort),
            ("ssh://h:+22/", BadPort),
            ("ssh://h:022/", BadPort),
            ("ssh://[::1]22/", BadPort),
            ("host:a\u{7}b", BadPath),
            ("$(id):", BadHost),
        ] {
            assert_eq!(text.parse::<Destination>(), Err(why), "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn what_parses_prints_to_the_same_again(text in "[ -~]{0,30}") {
            if let Ok(parsed) = text.parse::<Destination>() {
                let again: Destination = parsed.to_string().parse().unwrap();
                prop_assert_eq!(again.host(), parsed.host());
                prop_assert_eq!(again.user(), parsed.user());
                prop_assert_eq!(again.port(), parsed.port());
            }
        }
    }
}
