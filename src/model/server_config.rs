//! `/etc/byteback/server.toml`: every key is optional, an unknown one is an error.

use std::path::PathBuf;

use serde::Deserialize;

use super::ByteSize;
use super::span::Span;

/// How the server behaves. Without a file all of it is as in [`ServerConfig::default`].
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "snake_case")]
pub struct ServerConfig {
    /// The rsync that the gate starts, by absolute path.
    pub rsync: PathBuf,
    /// At most one snapshot of a client in this time.
    pub snapshot_interval: Span,
    /// No snapshot younger than this is ever pruned.
    pub min_age: Span,
    /// rsync's I/O timeout for clients that ask for none.
    pub io_timeout: Span,
    /// What the gate insists on before it starts rsync.
    pub confinement: Confinement,
    /// A user and mount namespace of its own for each rsync, where the kernel lets an ordinary user.
    pub namespace: bool,
    /// The most memory that one rsync may use for its data.
    pub max_memory: ByteSize,
    /// Restores of all clients at once.
    pub max_restores: u32,
    /// Where the verdicts go.
    pub log: LogTarget,
    /// Layers that a test leaves out, to see what the others stop. A release build does not know it.
    #[cfg(debug_assertions)]
    pub switched_off: Vec<Layer>,
}

impl ServerConfig {
    /// Whether a test left this layer out; never in a release build.
    pub fn is_off(&self, layer: Layer) -> bool {
        #[cfg(debug_assertions)]
        let off = self.switched_off.contains(&layer);
        #[cfg(not(debug_assertions))]
        let (off, _) = (false, layer);
        off
    }
}

/// A layer of the gate that a test can leave out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Layer {
    /// The grammar: the client's words reach rsync as they are.
    Grammar,
    /// `--fake-super`.
    FakeSuper,
    /// One writer per client.
    Lock,
    /// Landlock.
    Landlock,
    /// seccomp.
    Seccomp,
    /// The namespace.
    Namespace,
}

/// What must hold rsync back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Confinement {
    /// Landlock and seccomp; a kernel without them makes the gate refuse.
    Kernel,
    /// What the kernel offers; with nothing of it, the checked arguments and fake-super alone.
    ArgumentsOnly,
}

/// Where a server program writes its log when no terminal is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LogTarget {
    /// syslog or the journal through `/dev/log`; the file when nobody listens there.
    Syslog,
    /// `STORE/.byteback/log`.
    File,
}

impl Default for ServerConfig {
    fn default() -> Self {
        Self {
            rsync: PathBuf::from("/usr/bin/rsync"),
            snapshot_interval: Span::hours(6),
            min_age: Span::days(7),
            io_timeout: Span::seconds(10_800),
            confinement: Confinement::Kernel,
            namespace: true,
            max_memory: ByteSize(4 << 30),
            max_restores: 8,
            log: LogTarget::Syslog,
            #[cfg(debug_assertions)]
            switched_off: Vec::new(),
        }
    }
}

impl ServerConfig {
    /// Parses a file's text.
    ///
    /// # Errors
    /// One sentence that names line and key, without the file's name.
    pub fn from_toml(text: &str) -> Result<Self, String> {
        let config: Self = toml::from_str(text).map_err(|error| sentence(text, &error))?;
        if config.io_timeout.as_secs() == 0 {
            return Err(
                "key io_timeout: at least one second, or a silent client would keep its lock for ever"
                    .to_owned(),
            );
        }
        if config.max_restores == 0 {
            return Err("key max_restores: at least 1, or nobody could restore".to_owned());
        }
        if !config.rsync.is_absolute() {
            return Err("key rsync: a program is named by its absolute path".to_owned());
        }
        Ok(config)
    }
}

/// `line 3 (min_age): ...` from an error of the toml crate.
fn sentence(text: &str, error: &toml::de::Error) -> String {
    let start = error.span().map_or(0, |span| span.start.min(text.len()));
    let number = text[..start].matches('\n').count();
    let key =
        text.lines().nth(number).and_then(|line| line.split_once('=')).map_or("", |(key, _)| key.trim());
    format!("line {} ({key}): {}", number + 1, error.message().replace('\n', " "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_file_is_the_default() {
        assert_eq!(ServerConfig::from_toml("").unwrap(), ServerConfig::default());
    }

    #[test]
    fn every_key_is_read() {
        let text = "rsync = '/opt/rsync'\nsnapshot_interval = '1h'\nmin_age = 0\nio_timeout = '5m'\n\
                    confinement = 'arguments-only'\nlog = 'file'\nnamespace = false\nmax_memory = '1G'\n\
                    max_restores = 2\n";
        let config = ServerConfig::from_toml(text).unwrap();
        assert_eq!(config.rsync, PathBuf::from("/opt/rsync"));
        assert_eq!(config.snapshot_interval, Span::hours(1));
        assert_eq!(config.min_age, Span::seconds(0));
        assert_eq!(config.io_timeout, Span::seconds(300));
        assert_eq!(config.confinement, Confinement::ArgumentsOnly);
        assert_eq!(config.log, LogTarget::File);
        assert_eq!((config.namespace, config.max_memory, config.max_restores), (false, ByteSize(1 << 30), 2));
    }

    #[test]
    fn errors_name_line_and_key() {
        let unknown = ServerConfig::from_toml("\n\nmin_agee = '7d'\n").unwrap_err();
        assert!(unknown.starts_with("line 3 (min_agee): ") && unknown.contains("min_agee"), "{unknown}");
        let relative = ServerConfig::from_toml("rsync = 'rsync'").unwrap_err();
        assert!(relative.contains("rsync"), "{relative}");
        for zero in ["io_timeout = 0", "max_restores = 0"] {
            assert!(ServerConfig::from_toml(zero).is_err(), "{zero}");
        }
        assert!(ServerConfig::from_toml("min_age = 'soon'").unwrap_err().contains("line 1 (min_age)"));
    }
}
