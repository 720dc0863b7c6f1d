//! `/etc/byteback/server.toml`: every key is optional, an unknown one is an error.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::Deserialize;

use super::keep::Rule;
use super::span::Span;
use super::{ByteSize, ClientName};

/// How the server behaves. Without a file all of it is as in [`ServerConfig::default`].
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "snake_case")]
pub struct ServerConfig {
    /// The rsync that the gate starts, by absolute path.
    pub rsync: PathBuf,
    /// At most one snapshot of a client in this time.
    pub snapshot_interval: Span,
    /// No snapshot younger than this is ever pruned.
    pub min_age: Span,
    /// Room is made when less than this percentage is free.
    pub minpercent: u8,
    /// And until this percentage is free.
    pub maxpercent: u8,
    /// The last so many good snapshots of a client are never pruned.
    pub min_keep: u32,
    /// What is kept by rule; without it snapshots go only when room is needed.
    pub keep: Option<Rule>,
    /// A run is abnormal when it brings more than so many times a client's usual amount of new data,
    pub growth_factor: f64,
    /// and more than this, and more than 2 % of the store.
    pub growth_floor: ByteSize,
    /// A run is suspicious when so many percent of the files that were there are gone,
    pub suspicious_gone: u8,
    /// or so many percent of the files that are there are changed or new.
    pub suspicious_changed: u8,
    /// A tree with fewer files is never suspicious.
    pub suspicious_min_files: u64,
    /// What is different for single clients.
    pub clients: BTreeMap<ClientName, ClientRules>,
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

/// What is different for one client: the table `[clients.NAME]`.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "snake_case")]
pub struct ClientRules {
    /// In place of the store's `keep`.
    pub keep: Option<Rule>,
    /// In place of the store's `min_keep`.
    pub min_keep: Option<u32>,
    /// In place of the store's `growth_factor`.
    pub growth_factor: Option<f64>,
    /// In place of the store's `growth_floor`.
    pub growth_floor: Option<ByteSize>,
}

impl ServerConfig {
    /// What is kept by rule of this client.
    pub fn keep_of(&self, client: &ClientName) -> Option<&Rule> {
        self.clients.get(client).and_then(|own| own.keep.as_ref()).or(self.keep.as_ref())
    }

    /// How many of this client's last snapshots are never pruned.
    pub fn min_keep_of(&self, client: &ClientName) -> u32 {
        self.clients.get(client).and_then(|own| own.min_keep).unwrap_or(self.min_keep)
    }

    /// From how many times its usual amount on a run of this client is abnormal.
    pub fn growth_factor_of(&self, client: &ClientName) -> f64 {
        self.clients.get(client).and_then(|own| own.growth_factor).unwrap_or(self.growth_factor)
    }

    /// Up to how much new data no run of this client is abnormal.
    pub fn growth_floor_of(&self, client: &ClientName) -> ByteSize {
        self.clients.get(client).and_then(|own| own.growth_floor).unwrap_or(self.growth_floor)
    }
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
            minpercent: 5,
            maxpercent: 10,
            min_keep: 3,
            keep: None,
            growth_factor: 4.0,
            growth_floor: ByteSize(2 << 30),
            suspicious_gone: 50,
            suspicious_changed: 80,
            suspicious_min_files: 100,
            clients: BTreeMap::new(),
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
        config.check_room().map(|()| config)
    }

    fn check_room(&self) -> Result<(), String> {
        for (key, percent) in [
            ("maxpercent", self.maxpercent),
            ("suspicious_gone", self.suspicious_gone),
            ("suspicious_changed", self.suspicious_changed),
        ] {
            if percent > 100 {
                return Err(format!("key {key}: a percentage is at most 100"));
            }
        }
        if self.minpercent > self.maxpercent {
            return Err("key minpercent: it must not be above maxpercent".to_owned());
        }
        let own = self.clients.values().filter_map(|own| own.growth_factor);
        if own.chain([self.growth_factor]).any(|factor| !(factor.is_finite() && factor >= 1.0)) {
            return Err("key growth_factor: at least 1, or every run would be abnormal".to_owned());
        }
        Ok(())
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
                    max_restores = 2\nminpercent = 3\nmaxpercent = 30\nmin_keep = 0\n\
                    keep = { daily = 3 }\ngrowth_factor = 2.5\ngrowth_floor = '10M'\nsuspicious_gone = 20\n\
                    suspicious_changed = 30\nsuspicious_min_files = 7\n";
        let config = ServerConfig::from_toml(text).unwrap();
        assert_eq!(config.rsync, PathBuf::from("/opt/rsync"));
        assert_eq!(config.snapshot_interval, Span::hours(1));
        assert_eq!(config.min_age, Span::seconds(0));
        assert_eq!(config.io_timeout, Span::seconds(300));
        assert_eq!(config.confinement, Confinement::ArgumentsOnly);
        assert_eq!(config.log, LogTarget::File);
        assert_eq!((config.namespace, config.max_memory, config.max_restores), (false, ByteSize(1 << 30), 2));
        assert_eq!((config.minpercent, config.maxpercent, config.min_keep), (3, 30, 0));
        assert!(matches!(config.keep, Some(Rule::Valid(keep)) if keep.daily == 3));
        assert_eq!((config.growth_factor, config.growth_floor), (2.5, ByteSize(10 << 20)));
        let suspicious = (config.suspicious_gone, config.suspicious_changed, config.suspicious_min_files);
        assert_eq!(suspicious, (20, 30, 7));
    }

    #[test]
    fn a_client_s_own_table_stands_above_the_rest() {
        let text = "min_keep = 5\n[clients.'web1.example.org']\nmin_keep = 9\nkeep = { dayly = 1 }\n\
                    growth_factor = 10\ngrowth_floor = '1M'\n[clients.db]\nkeep = { yearly = 1 }\n";
        let config = ServerConfig::from_toml(text).unwrap();
        let [web1, db, other] = ["web1.example.org", "db", "other"].map(|name| name.parse().unwrap());
        assert_eq!([&web1, &db, &other].map(|client| config.min_keep_of(client)), [9, 5, 5]);
        assert!(matches!(config.keep_of(&web1), Some(Rule::Broken(_))));
        assert!(matches!(config.keep_of(&db), Some(Rule::Valid(_))));
        assert_eq!(config.keep_of(&other), None);
        let factors = [&web1, &db].map(|client| config.growth_factor_of(client).to_string());
        assert_eq!(factors, ["10", "4"]);
        assert_eq!([&web1, &db].map(|client| config.growth_floor_of(client).0), [1 << 20, 2 << 30]);
        let unquoted = ServerConfig::from_toml("[clients.web1.example.org]\nmin_keep = 9\n").unwrap_err();
        assert!(unquoted.contains("example"), "{unquoted}");
        assert!(ServerConfig::from_toml("[clients.'../x']\n").unwrap_err().contains("client"));
    }

    #[test]
    fn marks_that_make_no_sense_are_refused() {
        for (text, key) in [
            ("minpercent = 20", "minpercent"),
            ("maxpercent = 101", "maxpercent"),
            ("suspicious_gone = 200", "suspicious_gone"),
            ("growth_factor = 0.5", "growth_factor"),
            ("growth_factor = nan", "growth_factor"),
            ("[clients.a]\ngrowth_factor = -1", "growth_factor"),
        ] {
            assert!(ServerConfig::from_toml(text).unwrap_err().contains(key), "{text}");
        }
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
