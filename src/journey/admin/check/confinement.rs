//! What holds rsync back, tried out as the store's user; and rsync itself.

use std::path::Path;

use anyhow::{Context, Result};

use crate::model::Finding;
use crate::model::server_config::ServerConfig;
use crate::policy::soundness::{self, Kernel};
use crate::store::rsync_facts;
use crate::system::confine::{Layers, trial};

/// Looks at rsync and at each layer.
pub(super) fn look(store: &Path, config: &ServerConfig, remember: bool) -> Vec<Finding> {
    let state = store.join(".byteback");
    let mut findings = match try_out(&state, config) {
        Ok(kernel) => soundness::kernel(&kernel, config.confinement),
        Err(error) => {
            let what = format!("a confined {} does not run: {error:#}", config.rsync.display());
            vec![Finding::bad("confinement", what, "mend that; until then no backup and no restore works")]
        }
    };
    findings.extend(rsync(&state, &config.rsync, remember));
    findings
}

fn try_out(state: &Path, config: &ServerConfig) -> Result<Kernel> {
    let scratch = tempfile::Builder::new()
        .prefix(".trial-")
        .tempdir_in(state)
        .with_context(|| format!("cannot write to {}", state.display()))?;
    let layers = Layers { namespace: config.namespace, ..Layers::ALL };
    let held = trial::try_out(&config.rsync, scratch.path(), layers, config.max_memory.0)?;
    Ok(Kernel {
        landlock: trial::landlock_version(),
        landlock_held: held.landlock,
        seccomp_held: held.seccomp,
        namespace_held: config.namespace.then_some(held.namespace),
    })
}

/// Asks rsync anew, and if it shall be so remembers it for the gate.
fn rsync(state: &Path, program: &Path, remember: bool) -> Vec<Finding> {
    let facts = match rsync_facts::probe(program) {
        Ok(facts) => facts,
        Err(error) => {
            let what = format!("no backup works: {error:#}");
            return vec![Finding::bad(
                "rsync",
                what,
                "install rsync, or name it with rsync = in server.toml",
            )];
        }
    };
    if remember
        && rsync_facts::facts(state, program).as_ref() != Some(&facts)
        && let Err(error) = rsync_facts::remember(state, &facts)
    {
        let what = format!("what rsync can do cannot be remembered: {error:#}");
        return vec![Finding::bad("rsync", what, "make the state directory writable for the store's user")];
    }
    soundness::rsync(program, &facts.version, facts.knows_confine_root)
}
