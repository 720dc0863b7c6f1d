//! The plan carried out: first what a rule says, then what the room needs, the least important first.
//!
//! Between two snapshots it may be ended at any moment, and a backup that is at work gets its share of the
//! disk. A snapshot that somebody reads is left for the next run.

use std::io;
use std::time::{Duration, Instant};

use anyhow::{Error, Result, bail};

use super::known::Runs;
use super::report::{self, Report};
use super::{Pruner, complain};
use crate::model::{ByteSize, Failure, Status};
use crate::policy::goal::Goal;
use crate::policy::prune::{PrunePlan, Step};
use crate::policy::room::Room;
use crate::system::console;
use crate::system::signals::Signals;

/// The room is looked at, and who is abnormal, at least after so many deletions.
const BATCH: usize = 5;
/// The longest that a backup at work is given between two batches.
const LONGEST_PAUSE: Duration = Duration::from_secs(10);

/// Deletions so far.
pub(super) struct Deletions<'a> {
    pruner: &'a Pruner<'a>,
    signals: &'a Signals,
    report: Report,
    room: Room,
    troubles: usize,
    may_discard: bool,
}

impl<'a> Deletions<'a> {
    pub(super) fn new(pruner: &'a Pruner<'a>, signals: &'a Signals, troubles: usize) -> Result<Self> {
        let room = pruner.server.store.volume().room()?;
        let report = Report::new(&room, pruner.options.json);
        Ok(Self { pruner, signals, report, room, troubles, may_discard: false })
    }

    /// Deletes until there is room.
    ///
    /// # Errors
    /// When it is told to end, when deleting does not help any more, and when room is lacking although all
    /// is deleted that may be.
    pub(super) fn carry_out(&mut self, plan: &PrunePlan<'_>, runs: &mut Runs) -> Result<()> {
        for step in plan.by_rule() {
            self.delete(step)?;
        }
        let mut goal = self.pruner.goal(runs);
        if !goal.is_met_by(self.room.percent_free()) {
            goal = self.make_room(plan, runs, goal)?;
            if !goal.is_reached_by(self.room.percent_free()) {
                self.report.print(&self.room)?;
                let protected = report::only_protected_left(plan, runs, &self.room, &goal);
                bail!(Failure::failed(protected));
            }
        } else if self.report.is_empty() && self.pruner.options.verbose {
            report::nothing_to_do(&self.room);
        }
        self.report.pending(&self.pruner.server, runs, &goal);
        Ok(())
    }

    /// The least important first, in batches; gives the goal as it is in the end.
    fn make_room(&mut self, plan: &PrunePlan<'_>, runs: &mut Runs, mut goal: Goal) -> Result<Goal> {
        let steps: Vec<&Step<'_>> = plan.by_need().collect();
        let mut begun = Instant::now();
        for (number, step) in steps.into_iter().enumerate() {
            if number % BATCH == 0 {
                self.let_others_work(runs, begun.elapsed());
                begun = Instant::now();
                runs.look_again(&self.pruner.server);
                goal = self.pruner.goal(runs);
            }
            if goal.is_reached_by(self.room.percent_free()) {
                break;
            }
            if let Some(advice) = stranded(&self.room, self.pruner) {
                self.report.print(&self.room)?;
                bail!(Failure::failed(advice));
            }
            if !runs.is_growing(step.client) {
                self.delete(step)?;
            }
        }
        Ok(goal)
    }

    /// Discards one snapshot; the room is as it is then.
    fn delete(&mut self, step: &Step<'_>) -> Result<()> {
        if let Some(signal) = self.signals.caught() {
            self.report.print(&self.room)?;
            bail!(Failure::failed(format!(
                "ended by {signal} between two deletions; run it again to go on"
            )));
        }
        let server = &self.pruner.server;
        let volume = server.store.volume();
        if !self.may_discard {
            volume.check_discard()?;
            self.may_discard = true;
        }
        let before = volume.used()?;
        match volume.discard(step.client, step.snapshot) {
            Ok(()) => {
                self.room = volume.room()?;
                self.tell(step, before.saturating_sub(volume.used()?));
            }
            // Nothing was done to it; the next run finds it again.
            Err(error) if is_being_read(&error) => {
                let Step { client, snapshot, .. } = step;
                server.log.info(format_args!("skipped client={client} snapshot={snapshot} reason=being read"));
                console::say(format_args!("{client}/{snapshot} is left for now: somebody reads it"));
            }
            // Gone, but somebody reads it: the next one would not bring this one's room back.
            Err(error) if is_awaited(&error) => {
                self.report.print(&self.room)?;
                return Err(error);
            }
            Err(error) => {
                self.troubles += 1;
                complain(server, &format!("{error:#}"));
            }
        }
        Ok(())
    }

    fn tell(&mut self, step: &Step<'_>, back: u64) {
        let (Step { client, snapshot, verdict }, free) = (step, self.room.percent_free());
        self.pruner.server.log.info(format_args!(
            "pruned client={client} snapshot={snapshot} reason={verdict} room={back} free={free:.1}%"
        ));
        if self.pruner.options.verbose {
            let back = ByteSize(back);
            console::say(format_args!("{client}/{snapshot} deleted ({verdict}): {back} back, {free:.1} % free"));
        }
        self.report.deleted(step, back);
    }

    /// While somebody backs up, deletions take at most half of the time.
    fn let_others_work(&self, runs: &Runs, took: Duration) {
        if runs.somebody_writes {
            self.signals.sleep(took.min(LONGEST_PAUSE));
        }
    }

    /// Prints the report; tells how it ended.
    pub(super) fn conclude(mut self) -> Result<Status> {
        self.report.print(&self.room)?;
        let is_fine = self.troubles == 0 && !self.report.waits_for_somebody();
        Ok(if is_fine { Status::Done } else { Status::Failed })
    }
}

fn io_errors(error: &Error) -> impl Iterator<Item = &io::Error> {
    error.chain().filter_map(|cause| cause.downcast_ref::<io::Error>())
}

/// Whether it is gone from every listing and only its space is not back yet.
fn is_awaited(error: &Error) -> bool {
    io_errors(error).any(|error| error.kind() == io::ErrorKind::TimedOut)
}

/// Deleting would throw history away without giving data any room.
fn stranded(room: &Room, pruner: &Pruner<'_>) -> Option<String> {
    let short_of_data = room.data_avail() < room.meta_avail();
    let would_help = room.stranded_metadata() > room.data_avail() && room.stranded_metadata() > 1 << 30;
    (short_of_data && would_help).then(|| {
        let store = pruner.server.store.path().display();
        format!(
            "{} lie idle in metadata chunks, and no deletion gives them back; as root, run: \
             btrfs balance start -musage=40 {store}",
            ByteSize(room.stranded_metadata())
        )
    })
}
