//! The line that enrolment adds to the key file. A shell reads the command in it, so nothing gets into
//! that command that a shell could take for anything but a word.

use std::fmt;
use std::net::IpAddr;
use std::path::{Component, Path, PathBuf};

use jiff::{SignedDuration, Timestamp};

use super::is_gate;
use crate::model::{ClientName, escaped};
use crate::protocol::public_key::PublicKey;

/// One line: `restrict,from="ADDRESS",command="PROGRAM --client NAME [--store DIR] [--config FILE]" KEY`;
/// a restore grant has `expiry-time="TIME"` too, and `--read-only --until TIME` in its command.
#[derive(Debug, Clone)]
pub struct Line {
    from: Option<IpAddr>,
    program: PathBuf,
    client: ClientName,
    store: Option<PathBuf>,
    config: Option<PathBuf>,
    read_until: Option<Timestamp>,
    key: PublicKey,
}

/// sshd reads `expiry-time` in its own time zone, of which none is further than this ahead of UTC. So
/// sshd never ends a grant early; the gate ends it to the second.
const FURTHEST_ZONE: SignedDuration = SignedDuration::from_hours(14);

/// A path that may not stand in a forced command, which a shell reads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LineError(PathBuf);

impl fmt::Display for LineError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = escaped(self.0.as_os_str().as_encoded_bytes());
        write!(
            f,
            "the path {path} cannot stand in a key line: a shell reads it there, so it must be absolute, \
             without '..', and of letters, digits and '._/+-' alone"
        )
    }
}

impl std::error::Error for LineError {}

impl Line {
    /// A line for the gate `program` (`byteback-receive` or an absolute path that ends in it). A `store`
    /// and a `config` are named only where they are not the default ones.
    ///
    /// # Errors
    /// When one of the paths holds what a shell could read as something else.
    pub fn new(
        client: ClientName,
        key: PublicKey,
        program: &Path,
        store: Option<&Path>,
        config: Option<&Path>,
    ) -> Result<Self, LineError> {
        if !program.to_str().is_some_and(is_gate) || (program.is_absolute() && !is_plain(program)) {
            return Err(LineError(program.to_owned()));
        }
        if let Some(path) = [store, config].into_iter().flatten().find(|path| !is_plain(path)) {
            return Err(LineError(path.to_owned()));
        }
        let (store, config) = (store.map(Path::to_owned), config.map(Path::to_owned));
        let (from, read_until) = (None, None);
        Ok(Self { from, program: program.to_owned(), client, store, config, read_until, key })
    }

    /// The same, for a key that may read and nothing else, and that only before this time.
    #[must_use]
    pub fn to_read_until(mut self, until: Timestamp) -> Self {
        self.read_until = Some(until);
        self
    }

    /// The same, for a key that is taken from this address alone. An IPv4 address in IPv6 clothes is
    /// written as IPv4, since sshd compares it in that form.
    #[must_use]
    pub fn only_from(mut self, address: IpAddr) -> Self {
        self.from = Some(address.to_canonical());
        self
    }
}

/// Absolute, no `..`, and no byte that means anything to a shell, to sshd's quotes or to `--option`.
fn is_plain(path: &Path) -> bool {
    let bytes = path.as_os_str().as_encoded_bytes();
    path.is_absolute()
        && bytes.iter().all(|byte| byte.is_ascii_alphanumeric() || b"._/+-".contains(byte))
        && !path.components().any(|component| component == Component::ParentDir)
}

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("restrict,")?;
        if let Some(address) = self.from {
            write!(f, "from=\"{address}\",")?;
        }
        let expiry = self.read_until.map(|until| until.saturating_add(FURTHEST_ZONE).unwrap_or(until));
        if let Some(expiry) = expiry {
            write!(f, "expiry-time=\"{}\",", expiry.strftime("%Y%m%d%H%M%S"))?;
        }
        write!(f, "command=\"{} --client {}", self.program.display(), self.client)?;
        for (option, path) in [("--store", &self.store), ("--config", &self.config)] {
            if let Some(path) = path {
                write!(f, " {option} {}", path.display())?;
            }
        }
        if let Some(until) = self.read_until {
            write!(f, " --read-only --until {until}")?;
        }
        write!(f, "\" {}", self.key)
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Holder, KeyFile};
    use super::*;
    use proptest::prelude::*;

    const KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIM94et2jwUVZWxvrGnZVvgs4IpEPtg8MBO3TYdb/xqhE me";

    fn line(program: &str, store: Option<&str>, config: Option<&str>) -> Result<Line, LineError> {
        let (client, key) = ("web1".parse().unwrap(), KEY.parse().unwrap());
        Line::new(client, key, Path::new(program), store.map(Path::new), config.map(Path::new))
    }

    #[test]
    fn the_line_is_the_documented_one() {
        let plain = line("byteback-receive", None, None).unwrap();
        assert_eq!(plain.to_string(), format!("restrict,command=\"byteback-receive --client web1\" {KEY}"));
        let full =
            line("/usr/bin/byteback-receive", Some("/srv/store"), Some("/etc/byteback/b.toml")).unwrap();
        assert_eq!(
            full.only_from("192.0.2.7".parse().unwrap()).to_string(),
            format!(
                "restrict,from=\"192.0.2.7\",command=\"/usr/bin/byteback-receive --client web1 \
                 --store /srv/store --config /etc/byteback/b.toml\" {KEY}"
            )
        );
    }

    #[test]
    fn a_restore_grant_ends_at_sshd_and_at_the_gate() {
        let line = line("byteback-receive", None, None).unwrap();
        assert_eq!(
            line.to_read_until("2026-12-01T00:00:00Z".parse().unwrap()).to_string(),
            format!(
                "restrict,expiry-time=\"20261201140000\",command=\"byteback-receive --client web1 \
                 --read-only --until 2026-12-01T00:00:00Z\" {KEY}"
            )
        );
    }

    #[test]
    fn an_address_is_written_as_sshd_compares_it() {
        for (given, written) in
            [("::ffff:192.0.2.7", "192.0.2.7"), ("2001:DB8::0:1", "2001:db8::1"), ("10.1.2.3", "10.1.2.3")]
        {
            let line = line("byteback-receive", None, None).unwrap().only_from(given.parse().unwrap());
            assert!(line.to_string().starts_with(&format!("restrict,from=\"{written}\",command=")), "{line}");
        }
    }

    #[test]
    fn no_path_reaches_the_shell_as_anything_but_a_word() {
        for path in
            ["store", "", "/a b", "/a;b", "/a\"b", "/a$b", "/a\nb", "/a/../b", "/a~", "/é", "/a,b", "/a\\b"]
        {
            assert_eq!(line("byteback-receive", Some(path), None).err(), Some(LineError(path.into())));
            assert!(line("byteback-receive", None, Some(path)).is_err(), "{path}");
        }
        for program in
            ["", "sh", "./byteback-receive", "/a b/byteback-receive", "/bin/sh", "/../byteback-receive"]
        {
            assert!(line(program, None, None).is_err(), "{program}");
        }
    }

    proptest! {
        #[test]
        fn every_line_reads_back_as_its_client_s(
            client in "[a-z0-9][a-zA-Z0-9_-]{0,20}",
            store in proptest::option::of("/[a-zA-Z0-9/_+-]{0,20}"),
            comment in "[ -~]{0,30}",
            address: Option<std::net::IpAddr>,
        ) {
            let client: ClientName = client.parse().unwrap();
            let key: PublicKey = format!("{} {comment}", KEY.rsplit_once(' ').unwrap().0).parse().unwrap();
            let program = Path::new("byteback-receive");
            let line = Line::new(client.clone(), key.clone(), program, store.as_deref().map(Path::new), None);
            let line = match address {
                Some(address) => line.unwrap().only_from(address),
                None => line.unwrap(),
            };
            let file = KeyFile::parse(line.to_string().as_bytes());
            prop_assert_eq!(file.holder(&key), Some(Holder::Client(client)));
        }
    }
}
