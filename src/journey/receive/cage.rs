//! The cage of one visit: what the configuration wants of it, and what is said where the kernel has less.

use anyhow::{Result, bail};
use nix::errno::Errno;

use super::visit::Visit;
use crate::model::Failure;
use crate::model::server_config::{Confinement, Layer, ServerConfig};
use crate::store::noted;
use crate::system::confine::{Cage, Layers, Plan};
use crate::system::identity;

/// Builds it, or refuses where the kernel offers too little.
pub(super) fn build(visit: &Visit, plan: &Plan<'_>) -> Result<Cage> {
    let cage = Cage::build(plan)?;
    let missing = cage.missing();
    if !missing.is_empty() && visit.server.config.confinement == Confinement::Kernel {
        bail!(Failure::refused(format!(
            "this server's kernel lacks {}; the administrator can allow that with confinement = \"arguments-only\"",
            missing.join(" and ")
        )));
    }
    // Without a program there is no namespace: this process shows itself nothing that it does not have.
    let no_namespace = plan.program.is_some() && plan.layers.namespace && !cage.has_cell();
    note_lacks(visit, &missing, no_namespace)?;
    Ok(cage)
}

/// What this kernel does not offer stands in the log once, and again after the next kernel.
fn note_lacks(visit: &Visit, missing: &[&str], no_namespace: bool) -> Result<()> {
    let namespace = no_namespace.then_some("user and mount namespaces for an ordinary user");
    for lack in missing.iter().copied().chain(namespace) {
        let text = format!("this kernel lacks {lack}; rsync is confined without it (byteback-admin check)");
        note(visit, lack, &text)?;
    }
    Ok(())
}

/// A namespace that was offered and could not be had all the same.
pub(super) fn note_without(visit: &Visit, why: Errno) -> Result<()> {
    let text = format!(
        "the kernel refused rsync a namespace of its own ({why}); it is confined without it (byteback-admin check)"
    );
    note(visit, "namespace", &text)
}

fn note(visit: &Visit, what: &str, text: &str) -> Result<()> {
    let state = visit.server.store.state_directory()?;
    if noted::note_once(&state, &format!("{what} {}", identity::kernel_release()), text) {
        visit.server.log.warning(text);
    }
    Ok(())
}

pub(super) fn layers(config: &ServerConfig) -> Layers {
    Layers {
        landlock: !config.is_off(Layer::Landlock),
        seccomp: !config.is_off(Layer::Seccomp),
        namespace: config.namespace && !config.is_off(Layer::Namespace),
    }
}
