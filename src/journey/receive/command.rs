//! The rsync command of an admitted transfer: printed from the parsed request, decided here once.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::model::server_config::{Layer, ServerConfig};
use crate::model::{ClientName, Tree};
use crate::protocol::rsync_args::{Added, ConfinedRsync};
use crate::store::rsync_facts;

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
    pub(super) fn print(
        rsync: &ConfinedRsync,
        config: &ServerConfig,
        store: &Path,
        client: &ClientName,
    ) -> Self {
        let default_timeout = config.io_timeout.as_secs();
        let confine_root = confine_root(!rsync.sources().is_empty(), config, store, client);
        let mut argv = rsync.argv(&Added { default_timeout, confine_root });
        if config.is_off(Layer::FakeSuper) {
            argv.retain(|word| word != "--fake-super");
        }
        // The client may ask to be given up sooner, never later.
        let patience = Duration::from_secs(rsync.timeout().unwrap_or(default_timeout).min(default_timeout));
        Self { argv, patience, changes_tree: !rsync.changes_nothing() }
    }

    /// A client's own words, for tests of what stands behind the grammar.
    #[cfg(debug_assertions)]
    pub(super) fn raw(line: &[u8], config: &ServerConfig, store: &Path, client: &ClientName) -> Option<Self> {
        use std::os::unix::ffi::OsStringExt;
        let words = line.split(|b| *b == b' ').map(|word| OsString::from_vec(word.to_vec()));
        let mut argv: Vec<OsString> = words.collect();
        if !config.is_off(Layer::Grammar) || argv.first()? != "rsync" {
            return None;
        }
        argv.remove(0);
        let pull = argv.iter().any(|word| word == "--sender");
        if let Some(root) = confine_root(pull, config, store, client) {
            let mut word = OsString::from("--confine-root=");
            word.push(root);
            argv.push(word);
        }
        if !config.is_off(Layer::FakeSuper) {
            argv.push("--fake-super".into());
        }
        Some(Self { argv, patience: config.io_timeout.duration(), changes_tree: true })
    }
}

/// Where an rsync that knows `--confine-root` (3.5 and later, as set-up found out) keeps itself: in
/// `current` for a push, in the client's directory for a pull.
fn confine_root(pull: bool, config: &ServerConfig, store: &Path, client: &ClientName) -> Option<PathBuf> {
    let facts = rsync_facts::facts(&store.join(".byteback"), &config.rsync)?;
    let home = store.canonicalize().ok()?.join(client.as_str());
    let root = if pull { home } else { home.join(Tree::Current.as_str()) };
    facts.knows_confine_root.then_some(root)
}
