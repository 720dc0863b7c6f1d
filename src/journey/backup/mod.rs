//! A backup, told from the client: settings, lock, sources, hooks, `prepare`, rsync with retries,
//! `complete`, hooks, one record.
//!
//! Nothing is sent before all that can be checked here is checked. A hook of `pre-backup.d` that fails
//! is named and the run goes on, since files that are safe are better than none; it ends with status 1.
//! The hooks of `post-backup.d` run after a backup that went well and never after another: sites hang
//! reports of success on them, and a false one costs more than a hook that is missing. A dry run runs
//! no hook, asks for no snapshot and changes nothing anywhere. What was copied when a run fails stays
//! on the server, so the next run goes on from there.

mod answers;
mod attempts;
mod change_list;
mod hooks;
mod report;
mod rsync;
mod selection;
mod settings;

use std::ffi::OsString;
use std::path::PathBuf;

use anyhow::{Result, bail};

use crate::model::backup_record::{BackupRecord, Outcome};
use crate::model::client_config::{POST_BACKUP, PRE_BACKUP};
use crate::model::span::Span;
use crate::model::{Failure, Status};
use crate::protocol::answer::Answer;
use crate::system::lock::Lock;
use crate::system::signals::Signals;
use crate::system::{clock, console};
use change_list::Plan;
use selection::Selection;
use settings::Settings;

/// What was asked on the command line.
#[derive(Debug, Clone)]
pub struct Order {
    /// The server; the file `destination` says it otherwise.
    pub destination: Option<String>,
    /// What to back up; `/` when it is empty.
    pub sources: Vec<OsString>,
    /// rsync patterns that are left out besides the usual ones.
    pub excludes: Vec<OsString>,
    /// Name every file.
    pub verbose: bool,
    /// Further attempts after one that failed.
    pub retry_number: u32,
    /// Between two attempts.
    pub retry_delay: Span,
    /// How long the connection may be silent; the file `io_timeout` says it otherwise.
    pub io_timeout: Option<Span>,
    /// The private key; `key` in the configuration directory otherwise.
    pub ssh_key: Option<PathBuf>,
    /// Where the client's files lie.
    pub config_dir: PathBuf,
    /// Only tell what would be done.
    pub dry_run: bool,
    /// How far the index is trusted.
    pub index: IndexUse,
    /// Print the record of the run.
    pub json: bool,
}

/// How far the index of the last run is trusted, and where it is.
#[derive(Debug, Clone, clap::Args)]
pub struct IndexUse {
    /// Have rsync walk everything, whatever the index of the last run says
    #[arg(long)]
    pub full: bool,
    /// The same, comparing the content of all files and not their size and time alone
    #[arg(long)]
    pub checksum: bool,
    /// Every how many runs rsync walks everything, to prove the index right; 0 is never [default: 7]
    #[arg(long, default_value_t = 7, hide_default_value = true, value_name = "RUNS")]
    pub full_every: u32,
    /// Where the index of the last run is kept; it is not backed up [default: /var/lib/byteback]
    #[arg(long, default_value = "/var/lib/byteback", hide_default_value = true, value_name = "DIR")]
    pub state_dir: PathBuf,
}

/// One run: what is known before it and does not change.
struct Run<'a> {
    order: &'a Order,
    settings: Settings,
    selection: Selection,
    signals: Signals,
    lock: Lock,
}

/// Makes one backup, and prints its record also when it failed.
///
/// # Errors
/// A [`Failure`] in one sentence, unless the machine itself is at fault.
pub fn run(order: &Order) -> Result<Status> {
    let mut record = BackupRecord::begin(clock::now(), order.dry_run);
    let result = back_up(order, &mut record);
    report::close(&mut record, &result);
    if order.json {
        console::print(record.to_json());
    }
    result
}

fn back_up(order: &Order, record: &mut BackupRecord) -> Result<Status> {
    let signals = Signals::watch()?;
    let settings = Settings::read(order)?;
    record.destination = Some(settings.login.destination.to_string());
    let lock = settings.lock()?;
    let selection = Selection::make(order, record)?;
    let run = Run { order, settings, selection, signals, lock };
    if order.dry_run { run.rehearse(record) } else { run.perform(record) }
}

impl Run<'_> {
    fn perform(&self, record: &mut BackupRecord) -> Result<Status> {
        hooks::run_all(self, PRE_BACKUP, record)?;
        let taken = self.bring(record);
        if let Err(error) = taken {
            hooks::tell_skipped(self, POST_BACKUP);
            return Err(error);
        }
        hooks::run_all(self, POST_BACKUP, record)?;
        Ok(hooks::verdict(record))
    }

    fn bring(&self, record: &mut BackupRecord) -> Result<()> {
        let mut plan = Plan::make(self)?;
        let answer = attempts::deliver(self, &mut plan, record)?;
        self.conclude(&plan, &answer, record)
    }

    /// The files are safe; the server says what became of the snapshot.
    fn conclude(&self, plan: &Plan, answer: &Answer, record: &mut BackupRecord) -> Result<()> {
        let (outcome, message) = answers::verdict(answer)?;
        plan.check_canary(answer)?;
        plan.remember(self, answer, record);
        record.snapshot.clone_from(&answer.snapshot);
        record.outcome = outcome;
        self.result(&message);
        Ok(())
    }

    fn rehearse(&self, record: &mut BackupRecord) -> Result<Status> {
        report::announce(self)?;
        attempts::rehearse(self, record)?;
        record.outcome = Outcome::DryRun;
        Ok(Status::Done)
    }

    /// One line of the result: on stdout, unless that is kept for the record.
    fn result(&self, line: &str) {
        if self.order.json { console::say(line) } else { console::print(line) }
    }
}

/// An error if we were told to stop.
fn check(signals: &Signals) -> Result<()> {
    signals.caught().map_or(Ok(()), |signal| bail!(interrupted(signal)))
}

fn interrupted(signal: &str) -> Failure {
    Failure::failed(format!(
        "interrupted by {signal}; what was copied is kept and the next run goes on from there"
    ))
}
