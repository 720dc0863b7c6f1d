//! What a push does to the store's room: it begins only where there is some, is watched while it grows,
//! and leaves the figures by which the pruner judges it afterwards.
//!
//! Nothing here may make a good push fail: a figure that cannot be had is left out.

use std::ffi::OsString;
use std::path::Path;
use std::time::Duration;

use anyhow::{Error, Result, bail};

use super::visit::Visit;
use crate::journey::figures;
use crate::journey::server::Server;
use crate::model::run::Push;
use crate::model::run_log::RunLog;
use crate::model::{ClientName, Failure};
use crate::policy::admission;
use crate::policy::growth::{self, Growth, Limits};
use crate::policy::room::Room;
use crate::store::ClientState;
use crate::system::{clock, console, detach, files, ioctl, memory};

/// How often a push that is at work is looked at: two reads of `/proc` and one ioctl.
pub(super) const EVERY: Duration = Duration::from_secs(1);

/// Whether there is room for a backup. If not, the pruner is started at once.
///
/// # Errors
/// Busy, with what is short.
pub(super) fn admit(visit: &Visit) -> Result<()> {
    let volume = visit.server.store.volume();
    if admission::admit(&volume.room()?).is_ok() {
        return Ok(());
    }
    // What was deleted a moment ago counts only after a commit.
    ioctl::sync(volume.home(&visit.grant.client)?)?;
    let Err(short) = admission::admit(&volume.room()?) else { return Ok(()) };
    visit.making_room.set(true);
    start_pruner(visit);
    bail!(Failure::busy(format!(
        "{short}; old snapshots are being deleted to make room; try again in some minutes, and if that does not \
         help tell the server's administrator"
    )))
}

/// Starts the program that measures what this run brought and makes room if that is needed. It outlives
/// this process. Where it cannot be started its timer does the same later.
pub(super) fn start_pruner(visit: &Visit) {
    let Visit { server, grant, .. } = visit;
    let path = |path: &Path| std::path::absolute(path).unwrap_or_else(|_| path.to_owned()).into_os_string();
    let words = [
        OsString::from("--after-run"),
        grant.client.as_str().into(),
        "--store".into(),
        path(server.store.path()),
        "--config".into(),
        path(&server.config_path),
    ];
    if let Err(error) = detach::start("byteback-prune", words) {
        let client = &grant.client;
        server.log.warning(format_args!("failed client={client} request=prune reason={error:#}"));
    }
}

/// An error of a disk so full that not even the push can be remembered, told as what it is; room is made.
pub(super) fn name_full_store(visit: &Visit, error: Error) -> Error {
    if !files::is_full(&error) {
        return error;
    }
    start_pruner(visit);
    let why = "the store is full, so that not even this backup's beginning can be remembered; old snapshots are \
               being deleted to make room; try again in some minutes";
    error.context(Failure::busy(why))
}

/// A push under observation.
pub(super) struct Observer<'a> {
    visit: &'a Visit,
    state: &'a ClientState,
    log: RunLog,
    limits: Limits,
    /// New data of the runs before that nobody has measured yet.
    carried: u64,
    /// New data that was last published in push.json.
    published: u64,
}

impl<'a> Observer<'a> {
    /// Notes the room that there is before the push.
    pub(super) fn begin(visit: &'a Visit, state: &'a ClientState, record: &mut Push) -> Result<Self> {
        let (server, client) = (&visit.server, &visit.grant.client);
        let room = server.store.volume().room()?;
        let log = state.runs().unwrap_or_else(|error| {
            server.log.warning(format_args!("failed client={client} request=push reason={error:#}"));
            RunLog::default()
        });
        figures::note_before(server, client, record);
        let carried = count_with(record, state.last_push().ok().flatten(), &log);
        let limits = Limits::of(&server.config, client, &room);
        Ok(Self { visit, state, log, limits, carried, published: 0 })
    }

    /// Whether the push is to be stopped: it is abnormally large and uses up the last room. Its client is
    /// told before its rsync ends, since then nobody listens any more.
    pub(super) fn stops(&mut self, record: &mut Push, written: u64) -> bool {
        let client = &self.visit.grant.client;
        let Ok(room) = self.visit.server.store.volume().room() else { return false };
        let (new, waiting) = self.new_so_far(record, written);
        record.new_so_far = new;
        self.publish(record);
        if self.judge(new, percent_left(&room, waiting)).is_ok() {
            return false;
        }
        // It matters now: what is only in memory yet is written, so that the room is what it is said to be;
        // and an administrator may have accepted the backup meanwhile.
        let Some(free) = self.percent_free_on_disk() else { return false };
        self.log = self.state.runs().unwrap_or_default();
        let Err(growth) = self.judge(new, free) else { return false };
        record.stopped = true;
        console::say(format_args!("byteback-receive: refused: {}", sentence(&growth, client)));
        true
    }

    fn judge(&self, new: u64, percent_free: f64) -> Result<(), Growth> {
        let minpercent = f64::from(self.visit.server.config.minpercent);
        growth::may_go_on(new, &self.log, &self.limits, clock::now(), percent_free, minpercent)
    }

    fn percent_free_on_disk(&self) -> Option<f64> {
        let volume = self.visit.server.store.volume();
        ioctl::sync(volume.home(&self.visit.grant.client).ok()?).ok()?;
        volume.room().ok().map(|room| room.percent_free())
    }

    /// What rsync has written; or what the store has lost since, where nobody else can have taken it. And how
    /// much of it may be in memory only.
    fn new_so_far(&self, record: &Push, written: u64) -> (u64, u64) {
        let written = self.carried.saturating_add(written);
        let Some(before) = record.used_before else { return (written, 0) };
        let used = self.visit.server.store.volume().used().unwrap_or(before);
        let grown = used.saturating_sub(before);
        if grown > written && is_alone(&self.visit.server, &self.visit.grant.client) {
            return (grown, 0);
        }
        (written, written.saturating_sub(grown).min(memory::not_yet_written()))
    }

    /// A pruner that is at work meanwhile should know how large this run has become.
    fn publish(&mut self, record: &Push) {
        if record.new_so_far > self.published.saturating_add(self.limits.floor / 8) {
            self.published = record.new_so_far;
            // On a full disk it cannot be written, and then there is nothing to be said either.
            let _ = self.state.announce_push(record);
        }
    }

    /// Notes the room afterwards, now that nobody waits for an answer. A complete run's data are made durable
    /// by its snapshot, and it is noted then.
    pub(super) fn conclude(&self, record: &mut Push) -> Result<()> {
        if record.is_complete() {
            return Ok(());
        }
        figures::note_after_sync(&self.visit.server, &self.visit.grant.client, record);
        self.state.announce_push(record)
    }
}

/// A run whose push begins before the last one was measured is measured together with that: otherwise a
/// client could hide a large one behind a small one that follows at once. Gives what that one wrote.
fn count_with(record: &mut Push, last: Option<Push>, log: &RunLog) -> u64 {
    let is_measured = |last: &Push| log.last().is_some_and(|run| run.started == last.started);
    let Some(last) = last.filter(|last| !is_measured(last)) else { return 0 };
    record.counts_from = Some(last.counts_from.unwrap_or(last.started));
    record.used_before = last.used_before.or(record.used_before);
    record.free_before = last.free_before.or(record.free_before);
    record.quota_before = last.quota_before.or(record.quota_before);
    last.bytes_written.max(last.new_so_far)
}

/// The room in percent, when these bytes will have come to it.
#[allow(clippy::cast_precision_loss, reason = "a percentage needs no more than 52 bits of a byte count")]
fn percent_left(room: &Room, waiting: u64) -> f64 {
    room.percent_free() - 100.0 * waiting as f64 / room.data_most().max(1) as f64
}

/// Whether no other client's push is at work, as far as their records tell.
fn is_alone(server: &Server, client: &ClientName) -> bool {
    let at_work = |other: &ClientName| {
        let state = server.store.client_state(other);
        state
            .and_then(|state| state.last_push())
            .map_or(true, |push| push.is_some_and(|push| push.ended.is_none()))
    };
    let others = server.store.volume().clients().unwrap_or_default();
    !others.iter().any(|other| other != client && at_work(other))
}

/// What the client is told.
fn sentence(growth: &Growth, client: &ClientName) -> String {
    format!(
        "{growth}, and the server is short of room; what was copied is kept; ask the server's administrator to run \
         \"byteback-admin accept {client}\""
    )
}
