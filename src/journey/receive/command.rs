//! The rsync command of an admitted transfer: printed from the parsed request, decided here once.

use std::ffi::OsString;
use std::time::Duration;

use crate::model::server_config::{Layer, ServerConfig};
use crate::protocol::rsync_args::{Added, ConfinedRsync};

/// What is run, and how it is watched.
pub(super) struct Command {
    /// The words behind the program's name.
    pub(super) argv: Vec<OsString>,
    /// How long it may do nothing.
    pub(super) patience: Duration,
    /// Whether it can change the tree, so that its end says something about the tree.
    pub(super) changes_tree: bool,
}

impl Command {
    pub(super) fn print(rsync: &ConfinedRsync, config: &ServerConfig) -> Self {
        let default_timeout = config.io_timeout.as_secs();
        let mut argv = rsync.argv(&Added { default_timeout, confine_root: None });
        if config.is_off(Layer::FakeSuper) {
            argv.retain(|word| word != "--fake-super");
        }
        let patience = Duration::from_secs(rsync.timeout().unwrap_or(default_timeout).max(1));
        Self { argv, patience, changes_tree: !rsync.changes_nothing() }
    }

    /// A client's own words, for tests of what stands behind the grammar.
    #[cfg(debug_assertions)]
    pub(super) fn raw(line: &[u8], config: &ServerConfig) -> Option<Self> {
        use std::os::unix::ffi::OsStringExt;
        let words = line.split(|b| *b == b' ').map(|word| OsString::from_vec(word.to_vec()));
        let mut argv: Vec<OsString> = words.collect();
        if !config.is_off(Layer::Grammar) || argv.first()? != "rsync" {
            return None;
        }
        argv.remove(0);
        if !config.is_off(Layer::FakeSuper) {
            argv.push("--fake-super".into());
        }
        Some(Self { argv, patience: config.io_timeout.duration(), changes_tree: true })
    }
}
