//! What an index is bound to, and whether the rules of this run can be told without rsync.

use anyhow::Result;
use sha2::{Digest, Sha256};

use super::super::Run;
use super::index::{Binding, hex};
use crate::model::escaped;
use crate::policy::filters::Filters;
use crate::policy::{full_run, sources};
use crate::system::{files, identity};

/// The rules, in the order in which rsync gets them.
///
/// # Errors
/// Why they cannot be told without rsync.
pub(super) fn filters(run: &Run) -> Result<Filters, String> {
    if let Some(flag) = full_run::first_unknown_flag(&run.settings.flags) {
        let flag = escaped(flag.as_encoded_bytes());
        return Err(format!("rsync_flags has {flag}, whose meaning for a list of changes is not known"));
    }
    let mut filters = Filters::default();
    for pattern in &run.order.excludes {
        filters.exclude(pattern.as_encoded_bytes())?;
    }
    let read = |path| files::read_optional(path).map_err(|error| format!("{error:#}"));
    if let Some(content) = run.settings.excludes.as_deref().map(read).transpose()?.flatten() {
        filters.exclude_from(&content)?;
    }
    if let Some(content) = run.settings.filter.as_deref().map(read).transpose()?.flatten() {
        filters.merge(&content)?;
    }
    filters.add(&run.selection.rules)?;
    Ok(filters)
}

/// Fingerprints of all that decides what is sent and how.
pub(super) fn binding(run: &Run) -> Result<Binding> {
    let (order, settings) = (run.order, &run.settings);
    let content = |path: &Option<std::path::PathBuf>| -> Result<Vec<u8>> {
        Ok(path.as_deref().map(files::read_optional).transpose()?.flatten().unwrap_or_default())
    };
    let excludes = order.excludes.iter().map(|text| text.as_encoded_bytes().to_vec());
    let rules = run.selection.rules.iter().map(sources::Rule::option);
    let files = [content(&settings.excludes)?, content(&settings.filter)?];
    let flags = settings.flags.iter().map(|flag| flag.as_encoded_bytes().to_vec());
    let sources = run.selection.sources.iter().map(|path| path.as_os_str().as_encoded_bytes().to_vec());
    Ok(Binding {
        destination: fingerprint([settings.login.destination.to_string().into_bytes()]),
        sources: fingerprint(sources),
        filters: fingerprint(excludes.chain([b"files".to_vec()]).chain(files).chain(rules)),
        options: fingerprint(flags.chain([env!("CARGO_PKG_VERSION").as_bytes().to_vec()])),
    })
}

/// Of texts, each with its length, so that no two lists look alike.
fn fingerprint(texts: impl IntoIterator<Item = Vec<u8>>) -> String {
    let mut digest = Sha256::new();
    for text in texts {
        digest.update((text.len() as u64).to_le_bytes());
        digest.update(text);
    }
    hex(&digest.finalize()[..])
}

/// What tells this client from others, for the turn of its full runs.
pub(super) fn stable_offset_text(run: &Run) -> String {
    format!("{} {}", identity::host_name().unwrap_or_default(), run.settings.login.destination)
}
