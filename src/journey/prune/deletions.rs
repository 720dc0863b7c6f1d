//! The plan carried out: first what a rule says, then what the room needs, the least important first.
//!
//! Several are discarded together, so that their room is waited for together, but never more than the room is
//! likely to need. Between two batches it may be ended at any moment, and a backup that is at work gets its
//! share of the disk. A snapshot that somebody reads is left for the next run.

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
use crate::store::BeingRead;
use crate::system::console;
use crate::system::signals::Signals;

/// The room is looked at, and who is abnormal, at least after so many deletions.
const MOST_AT_ONCE: usize = 5;
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
    /// Left since somebody reads them.
    skipped: usize,
    /// How much of the store, in percent, one deletion gave back when it was seen last.
    usual_gain: Option<f64>,
}

impl<'a> Deletions<'a> {
    pub(super) fn new(pruner: &'a Pruner<'a>, signals: &'a Signals, troubles: usize) -> Result<Self> {
        let room = pruner.server.store.volume().room()?;
        let report = Report::new(&room, pruner.options.json);
        Ok(Self { pruner, signals, report, room, troubles, may_discard: false, skipped: 0, usual_gain: None })
    }

    /// Deletes until there is room.
    ///
    /// # Errors
    /// When it is told to end, when deleting does not help any more, and when room is lacking although all
    /// is deleted that may be.
    pub(super) fn carry_out(&mut self, plan: &PrunePlan<'_>, runs: &mut Runs) -> Result<()> {
        for batch in plan.by_rule().chunks(MOST_AT_ONCE) {
            let begun = Instant::now();
            self.delete(&batch.iter().collect::<Vec<_>>())?;
            runs.look_again(&self.pruner.server);
            self.let_others_work(runs, begun.elapsed());
        }
        self.usual_gain = self.usual_gain.or(first_guess(&self.room, plan.steps().len()));
        let mut goal = self.pruner.goal(runs);
        let begins = !goal.is_met_by(self.room.percent_free());
        if begins {
            goal = self.make_room(plan, runs, goal)?;
        } else if self.report.is_empty() && self.pruner.options.verbose {
            report::nothing_to_do(&self.room);
        }
        self.report.pending(&self.pruner.server, runs, &goal);
        if begins && self.wants_more(&goal) {
            self.report.print(&self.room)?;
            bail!(Failure::failed(match self.skipped {
                0 => report::only_protected_left(plan, runs, &self.room, &goal),
                skipped => report::only_read_left(skipped, &self.room, &goal),
            }));
        }
        Ok(())
    }

    /// The least important first; gives the goal as it is in the end.
    fn make_room(&mut self, plan: &PrunePlan<'_>, runs: &mut Runs, mut goal: Goal) -> Result<Goal> {
        let mut steps = plan.by_need().peekable();
        while self.wants_more(&goal) && steps.peek().is_some() {
            if let Some(advice) = stranded(&self.room, self.pruner) {
                self.report.print(&self.room)?;
                bail!(Failure::failed(advice));
            }
            let begun = Instant::now();
            let batch: Vec<&Step<'_>> = steps
                .by_ref()
                .filter(|step| !runs.is_growing(step.client))
                .take(self.at_once(&goal))
                .collect();
            self.delete(&batch)?;
            runs.look_again(&self.pruner.server);
            goal = self.pruner.goal(runs);
            self.let_others_work(runs, begun.elapsed());
        }
        Ok(goal)
    }

    fn wants_more(&self, goal: &Goal) -> bool {
        !goal.is_reached_by(self.room.percent_free())
    }

    /// As many as the room surely needs, going by what the last ones gave back.
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "from 1 to 5")]
    fn at_once(&self, goal: &Goal) -> usize {
        let Some(gain) = self.usual_gain else { return 1 };
        let lacks = (goal.until - self.room.percent_free()) / gain.max(0.001);
        lacks.clamp(1.0, 5.0) as usize
    }

    /// Discards these and waits for their room.
    fn delete(&mut self, steps: &[&Step<'_>]) -> Result<()> {
        if let Some(signal) = self.signals.caught() {
            self.report.print(&self.room)?;
            bail!(Failure::failed(format!("ended by {signal} between two deletions; run it again to go on")));
        }
        let volume = self.pruner.server.store.volume();
        if !self.may_discard {
            volume.check_discard()?;
            self.may_discard = true;
        }
        let (used, free) = (volume.used()?, self.room.percent_free());
        let batch: Vec<_> = steps.iter().map(|step| (step.client.clone(), step.snapshot.clone())).collect();
        let results = volume.discard_batch(&batch);
        self.room = volume.room()?;
        let done = results.iter().filter(|result| result.is_ok()).count();
        let share = |whole: u64| whole / u64::try_from(done.max(1)).unwrap_or(1);
        let back = share(used.saturating_sub(volume.used()?));
        if let Some(done) = u32::try_from(done).ok().filter(|done| *done > 0) {
            self.usual_gain = Some((self.room.percent_free() - free).max(0.0) / f64::from(done));
        }
        for (step, result) in steps.iter().zip(results) {
            match result {
                Ok(()) => self.tell(step, back, done),
                Err(error) => self.bear(step, error)?,
            }
        }
        Ok(())
    }

    /// One that could not be deleted.
    fn bear(&mut self, step: &Step<'_>, error: Error) -> Result<()> {
        let server = &self.pruner.server;
        if error.chain().any(<dyn std::error::Error>::is::<BeingRead>) {
            // Nothing was done to it; the next run finds it again.
            self.skipped += 1;
            let Step { client, snapshot, .. } = step;
            server.log.info(format_args!("skipped client={client} snapshot={snapshot} reason=being read"));
            console::say(format_args!("{client}/{snapshot} is left for now: somebody reads it"));
            return Ok(());
        }
        if is_awaited(&error) {
            // Gone, but somebody reads it: the next one would not bring this one's room back.
            self.report.print(&self.room)?;
            return Err(error);
        }
        self.troubles += 1;
        complain(server, &format!("{error:#}"));
        Ok(())
    }

    /// `back` is its share of what as many as `of` gave back together.
    fn tell(&mut self, step: &Step<'_>, back: u64, of: usize) {
        let (Step { client, snapshot, verdict }, free) = (step, self.room.percent_free());
        self.pruner.server.log.info(format_args!(
            "pruned client={client} snapshot={snapshot} reason={verdict} room={back} of={of} free={free:.1}%"
        ));
        if self.pruner.options.verbose {
            let back = ByteSize(back);
            console::say(format_args!(
                "{client}/{snapshot} deleted ({verdict}): {back} back, {free:.1} % free"
            ));
        }
        self.report.deleted(step, back);
    }

    /// While somebody backs up, deletions take at most half of the time.
    fn let_others_work(&self, runs: &Runs, took: Duration) {
        if runs.somebody_writes {
            self.signals.sleep(took.min(LONGEST_PAUSE));
        }
    }

    /// Makes the ballast anew where there is room again, prints the report, and tells how it ended.
    pub(super) fn conclude(mut self) -> Result<Status> {
        let server = &self.pruner.server;
        if let Err(error) = server.store.ballast().make(&self.room) {
            complain(server, &format!("{error:#}"));
        }
        self.report.print(&self.room)?;
        let is_fine = self.troubles == 0 && !self.report.waits_for_somebody();
        Ok(if is_fine { Status::Done } else { Status::Failed })
    }
}

/// Before one is deleted: twice what a snapshot gives back if all take the same, so that the first ones are
/// rather too few than too many.
fn first_guess(room: &Room, snapshots: usize) -> Option<f64> {
    let snapshots = u32::try_from(snapshots).ok().filter(|snapshots| *snapshots > 0)?;
    Some(2.0 * (100.0 - room.percent_free()) / f64::from(snapshots))
}

/// Whether it is gone from every listing and only its space is not back yet.
fn is_awaited(error: &Error) -> bool {
    let kinds = error.chain().filter_map(|cause| cause.downcast_ref::<io::Error>()).map(io::Error::kind);
    kinds.into_iter().any(|kind| kind == io::ErrorKind::TimedOut)
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
