//! Making room: measure the runs that ended, decide what goes, with a reason for each snapshot, and discard
//! one after the other until there is enough. A dry run prints the same plan that a run carries out.
//!
//! It never deletes what the plan keeps, and nobody's history pays for a backup that is abnormally large. It
//! stops where deleting no longer helps: when room is stranded in metadata chunks only root's balance gives it
//! back. It works on a store that is completely full: what cannot be written is told and skipped.

mod deletions;
mod known;
mod measure;
mod report;
mod simulate;

use anyhow::{Result, bail};

use super::server::{Place, Server};
use crate::model::{ClientName, Failure, Status};
use crate::policy::goal::Goal;
pub use crate::policy::prune::Order;
use crate::policy::prune::{PrunePlan, Rules};
use crate::policy::tiers;
use crate::system::lock::{self, Locking};
use crate::system::signals::Signals;
use crate::system::{clock, console};
use deletions::Deletions;
use known::{Known, Runs};

/// What is to be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Show every snapshot and delete none.
    List,
    /// Delete; `force`: also when `minpercent` is free already.
    Prune {
        /// Begin below `maxpercent`.
        force: bool,
    },
    /// The same after a run of this client, whose data have not been measured yet.
    AfterRun(ClientName),
    /// Play so many days of the future.
    Simulate(u32),
}

/// What is typed behind `byteback-prune`.
#[derive(Debug)]
pub struct Options {
    /// What is to be done.
    pub action: Action,
    /// Begin below this percentage of free room, whatever the configuration says.
    pub minpercent: Option<u8>,
    /// Go on until this percentage is free, whatever the configuration says.
    pub maxpercent: Option<u8>,
    /// What makes a snapshot worth keeping.
    pub order: Order,
    /// Show what would be deleted and delete nothing.
    pub dry_run: bool,
    /// Say what is done.
    pub verbose: bool,
    /// Print JSON.
    pub json: bool,
    /// The store and its configuration.
    pub place: Place,
}

/// A pruner at work: the server, what it was told, and its marks.
struct Pruner<'a> {
    server: Server,
    options: &'a Options,
    minpercent: u8,
    maxpercent: u8,
}

/// Lists, plays the future, or prunes.
///
/// # Errors
/// Busy (status 4) when another pruner is at work; failed (1) when room is lacking and only protected
/// snapshots are left, and while an abnormal backup waits for an administrator.
pub fn run(options: &Options) -> Result<Status> {
    let server = Server::open(&options.place, "byteback-prune")?;
    let minpercent = options.minpercent.unwrap_or(server.config.minpercent);
    let maxpercent = options.maxpercent.unwrap_or(server.config.maxpercent);
    if minpercent > maxpercent {
        bail!(Failure::misuse(format!(
            "minpercent ({minpercent}) must not be above maxpercent ({maxpercent})"
        )));
    }
    let pruner = Pruner { server, options, minpercent, maxpercent };
    for why in tiers::broken_rules(&pruner.server.config) {
        complain(&pruner.server, &why);
    }
    match &options.action {
        Action::List => report::list(&pruner, &Known::gather(&pruner.server)?),
        Action::Simulate(days) => simulate::show(&pruner, &Known::gather(&pruner.server)?, *days),
        Action::Prune { .. } if options.dry_run => pruner.rehearse(),
        Action::Prune { .. } => pruner.prune(None),
        Action::AfterRun(client) => pruner.prune(Some(client)),
    }
}

impl Pruner<'_> {
    /// What would go, in order. How many of them it takes is known only when their room is back.
    fn rehearse(&self) -> Result<Status> {
        let mut known = Known::gather(&self.server)?;
        known.catch_up_in_mind(&self.server);
        report::rehearse(self, &known)
    }

    fn prune(&self, after_run: Option<&ClientName>) -> Result<Status> {
        let server = &self.server;
        let lock = lock::try_exclusive(&server.store.state_directory()?.join("prune.lock"))?;
        let Locking::Held(_lock) = lock else {
            bail!(Failure::busy("another byteback-prune is at work"));
        };
        let signals = Signals::watch()?;
        let mut troubles = self.finish_discards()?;
        server.store.volume().finish_waiting()?;
        troubles += self.catch_up(after_run)?;
        let mut known = Known::gather(server)?;
        troubles += known.troubles;
        let mut deletions = Deletions::new(self, &signals, troubles)?;
        let plan = PrunePlan::new(&known.inventory, &self.rules(), clock::now());
        deletions.carry_out(&plan, &mut known.runs)?;
        deletions.conclude()
    }

    /// Measures what ended since the last pruner looked, before anything is decided.
    fn catch_up(&self, after_run: Option<&ClientName>) -> Result<usize> {
        let mut troubles = 0;
        for client in self.server.store.volume().clients()? {
            if let Err(error) = measure::catch_up(&self.server, &client, after_run == Some(&client)) {
                troubles += 1;
                complain(&self.server, &format!("the last backup of {client} is not measured: {error:#}"));
            }
        }
        Ok(troubles)
    }

    /// Carries on where a pruner was killed. What cannot be finished is told and keeps nobody else's room.
    fn finish_discards(&self) -> Result<usize> {
        let volume = self.server.store.volume();
        let mut troubles = 0;
        for client in volume.clients()? {
            match volume.finish_discards(&client) {
                Ok(0) => {}
                Ok(finished) => {
                    self.server.log.info(format_args!("pruned client={client} unfinished={finished}"));
                }
                Err(error) => {
                    troubles += 1;
                    complain(&self.server, &format!("{error:#}"));
                }
            }
        }
        Ok(troubles)
    }

    fn goal(&self, runs: &Runs) -> Goal {
        let force = self.options.action == Action::Prune { force: true };
        Goal::of(self.minpercent.into(), self.maxpercent.into(), force, &runs.pending())
    }

    fn rules(&self) -> Rules<'_> {
        Rules { order: self.options.order, config: &self.server.config }
    }
}

/// One line of trouble that does not end the run.
fn complain(server: &Server, trouble: &str) {
    server.log.warning(format_args!("failed {trouble}"));
    console::say(format_args!("byteback-prune: {trouble}"));
}
