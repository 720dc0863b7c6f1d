//! What is backed up and what is left out, decided on this machine as it is now.

use std::ffi::{OsStr, OsString};
use std::io::ErrorKind;
use std::path::PathBuf;

use anyhow::{Context, Result, bail};

use super::Order;
use super::report::warn;
use crate::model::backup_record::BackupRecord;
use crate::model::{Failure, escaped};
use crate::policy::sources::{self, Rule};
use crate::system::mounts;

/// Checked sources and the rules that come by themselves.
pub(super) struct Selection {
    pub(super) sources: Vec<PathBuf>,
    pub(super) rules: Vec<Rule>,
}

impl Selection {
    /// Checks that every source is there; `/` is the source when none was named.
    ///
    /// # Errors
    /// Misuse that names the source; it would otherwise only be missing in the backup.
    pub(super) fn make(order: &Order, record: &mut BackupRecord) -> Result<Self> {
        let root = [OsString::from("/")];
        let asked = if order.sources.is_empty() { &root[..] } else { &order.sources };
        let mut chosen = Vec::new();
        for text in asked {
            let source = existing_source(text)?;
            if !chosen.contains(&source) {
                record.sources.push(shown(source.as_os_str()));
                chosen.push(source);
            }
        }
        warn_of_links(&chosen, record);
        let junk: Vec<_> = sources::usual_junk();
        let junk: Vec<_> = junk.into_iter().filter(|junk| junk.path().symlink_metadata().is_ok()).collect();
        let mut rules = sources::default_rules(&chosen, &mounts::all()?, &junk);
        // What the run itself writes would be a change in every run.
        let own = std::path::absolute(&order.index.state_dir)
            .context("cannot tell where the state directory is")?;
        rules.extend(sources::rule_for_own(&own, &chosen));
        Ok(Self { sources: chosen, rules })
    }
}

fn existing_source(text: &OsStr) -> Result<PathBuf> {
    let wrong = |why: String| Failure::misuse(format!("cannot back up {}: {why}", shown(text)));
    let source = sources::parse_source(text).map_err(|why| wrong(why.to_string()))?;
    match source.symlink_metadata() {
        Ok(_) => Ok(source),
        Err(error) if error.kind() == ErrorKind::NotFound => {
            bail!(wrong("there is no such file; mend the path, or mount what should be there".to_owned()))
        }
        Err(error) => bail!(wrong(error.to_string())),
    }
}

fn warn_of_links(chosen: &[PathBuf], record: &mut BackupRecord) {
    for source in chosen.iter().filter(|source| source.is_symlink()) {
        let name = shown(source.as_os_str());
        warn(record, &format!("{name} is a symbolic link, so only the link is saved; name where it points"));
    }
}

fn shown(path: &OsStr) -> String {
    escaped(path.as_encoded_bytes())
}
