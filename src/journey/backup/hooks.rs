//! The operator's programs before and after a backup.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use anyhow::{Result, bail};

use super::report::warn;
use super::{Run, check, interrupted};
use crate::model::backup_record::{BackupRecord, HookRun};
use crate::model::{Status, escaped};
use crate::policy::hook_order;
use crate::system::{console, hooks, supervise};

/// A hook as it is shown and where it is.
struct Hook {
    name: String,
    path: PathBuf,
}

/// Runs the hooks of this directory of the configuration, one after the other.
///
/// # Errors
/// When the directory cannot be read, or a signal ends the run; not when a hook fails.
pub(super) fn run_all(run: &Run, directory: &str, record: &mut BackupRecord) -> Result<()> {
    for hook in find(run, directory)? {
        check(&run.signals)?;
        run_one(run, &hook, record)?;
    }
    check(&run.signals)
}

/// The names of the hooks that a real run would start.
pub(super) fn listed(run: &Run, directory: &str) -> Result<Vec<String>> {
    Ok(find(run, directory)?.into_iter().map(|hook| hook.name).collect())
}

/// After a failure: says which hooks an operator may miss now.
pub(super) fn tell_skipped(run: &Run, directory: &str) {
    let names = listed(run, directory).unwrap_or_default();
    if !names.is_empty() {
        console::say(format_args!("not run, since the backup failed: {}", names.join(", ")));
    }
}

/// Whether all hooks of this run ended well.
pub(super) fn verdict(record: &BackupRecord) -> Status {
    let well = record.hooks.iter().all(|hook| hook.status == Some(0));
    if well { Status::Done } else { Status::Failed }
}

fn find(run: &Run, directory: &str) -> Result<Vec<Hook>> {
    let place = run.settings.directory.join(directory);
    let names = hook_order::in_order(hooks::names(&place)?);
    let hooks = names.into_iter().map(|name| Hook {
        name: format!("{directory}/{}", escaped(&name)),
        path: place.join(OsStr::from_bytes(&name)),
    });
    Ok(hooks.filter(|hook| hooks::is_runnable(&hook.path)).collect())
}

fn run_one(run: &Run, hook: &Hook, record: &mut BackupRecord) -> Result<()> {
    let name = &hook.name;
    let on_line = |_, line: &[u8]| console::say(format_args!("{name}: {}", escaped(line)));
    let ended = supervise::run(&mut hooks::command(&hook.path), &run.signals, on_line);
    let status = ended.as_ref().ok().and_then(|ended| ended.status.code());
    record.hooks.push(HookRun { name: name.clone(), status });
    if let Ok(Some(signal)) = ended.as_ref().map(|ended| ended.interrupted) {
        bail!(interrupted(signal));
    }
    if status != Some(0) {
        let why = ended.map_or_else(|error| format!("{error:#}"), |ended| ended.describe());
        warn(record, &format!("the hook {name} failed ({why}); the run goes on and will end with status 1"));
    }
    Ok(())
}
