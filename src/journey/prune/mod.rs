//! Making room: while too little is free, discard the least important snapshot, wait until its space
//! is really back, look again. The plan comes first, with a reason for each snapshot; a dry run prints
//! that same plan.
//!
//! It never deletes what the plan keeps, and it stops where deleting no longer helps: when room is
//! stranded in metadata chunks only root's balance gives it back.

mod report;

use anyhow::{Result, bail};

use super::server::{Place, Server};
use crate::model::{ByteSize, ClientName, Failure, SnapshotName, Status};
pub use crate::policy::importance::Order;
use crate::policy::prune::PrunePlan;
use crate::policy::room::Room;
use crate::system::lock::{self, Locking};
use crate::system::{clock, console};
use report::Report;

/// What is typed behind `byteback-prune`.
#[derive(Debug)]
#[allow(clippy::struct_excessive_bools, reason = "each is a flag of its own on the command line")]
pub struct Options {
    /// Show every snapshot and delete none.
    pub list: bool,
    /// Begin although `minpercent` is free.
    pub force: bool,
    /// Begin below this percentage of free room.
    pub minpercent: u8,
    /// Go on until this percentage is free.
    pub maxpercent: u8,
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

/// Lists or prunes.
///
/// # Errors
/// Busy (status 4) when another pruner is at work; failed (1) when only protected snapshots are left.
pub fn run(options: &Options) -> Result<Status> {
    if options.minpercent > options.maxpercent {
        bail!(Failure::misuse(format!(
            "minpercent ({}) must not be above maxpercent ({})",
            options.minpercent, options.maxpercent
        )));
    }
    let server = Server::open(&options.place, "byteback-prune")?;
    if options.list {
        report::list(&server, &plan(&server, options.order)?, options.json)?;
        return Ok(Status::Done);
    }
    if options.dry_run {
        return dry_run(&server, options);
    }
    let lock = lock::try_exclusive(&server.store.state_directory()?.join("prune.lock"))?;
    let Locking::Held(_lock) = lock else {
        bail!(Failure::busy("another byteback-prune is at work"));
    };
    finish_discards(&server)?;
    make_room(&server, options)
}

/// What would go, in order. How many of them it takes is known only when their room is back.
fn dry_run(server: &Server, options: &Options) -> Result<Status> {
    let room = server.store.volume().room()?;
    if is_enough_to_begin_with(&room, options) {
        report::nothing_to_do(&room, options)?;
        return Ok(Status::Done);
    }
    report::dry_run(server, &plan(server, options.order)?, &room, options)?;
    Ok(Status::Done)
}

fn is_enough_to_begin_with(room: &Room, options: &Options) -> bool {
    let mark = if options.force { options.maxpercent } else { options.minpercent };
    room.percent_free() >= f64::from(mark)
}

/// Carries on where a pruner was killed.
fn finish_discards(server: &Server) -> Result<()> {
    let volume = server.store.volume();
    for client in volume.clients()? {
        let finished = volume.finish_discards(&client)?;
        if finished > 0 {
            server.log.info(format_args!("pruned client={client} unfinished={finished}"));
        }
    }
    Ok(())
}

fn make_room(server: &Server, options: &Options) -> Result<Status> {
    let volume = server.store.volume();
    let before = volume.room()?;
    if is_enough_to_begin_with(&before, options) {
        if options.verbose || options.json {
            report::nothing_to_do(&before, options)?;
        }
        return Ok(Status::Done);
    }
    volume.check_discard()?;
    let plan = plan(server, options.order)?;
    let mut report = Report::new(before, options);
    let mut room = before;
    for step in plan.deletions() {
        if room.percent_free() >= f64::from(options.maxpercent) {
            break;
        }
        if let Some(advice) = stranded(&room, server) {
            report.print()?;
            bail!(Failure::failed(advice));
        }
        volume.discard(&step.client, &step.snapshot)?;
        let after = volume.room()?;
        let back = after.data_avail().saturating_sub(room.data_avail());
        server.log.info(format_args!(
            "pruned client={} snapshot={} reason={} room={back} free={:.1}%",
            step.client,
            step.snapshot,
            step.verdict,
            after.percent_free()
        ));
        if options.verbose {
            console::say(format_args!(
                "{}/{} deleted ({}): {} back, {:.1} % free",
                step.client,
                step.snapshot,
                step.verdict,
                ByteSize(back),
                after.percent_free()
            ));
        }
        report.deleted(step, back);
        room = after;
    }
    report.print()?;
    if room.percent_free() < f64::from(options.maxpercent) {
        bail!(Failure::failed(report::only_protected_left(&plan, &room, options)));
    }
    Ok(Status::Done)
}

/// Deleting would throw history away without giving data any room.
fn stranded(room: &Room, server: &Server) -> Option<String> {
    let short_of_data = room.data_avail() < room.meta_avail();
    let would_help = room.stranded_metadata() > room.data_avail() && room.stranded_metadata() > 1 << 30;
    (short_of_data && would_help).then(|| {
        let store = server.store.path().display();
        format!(
            "{} lie idle in metadata chunks, and no deletion gives them back; as root, run: \
             btrfs balance start -musage=40 {store}",
            ByteSize(room.stranded_metadata())
        )
    })
}

fn plan(server: &Server, order: Order) -> Result<PrunePlan> {
    Ok(PrunePlan::new(&snapshots(server)?, clock::now(), server.config.min_age, order))
}

/// Every snapshot of every client.
fn snapshots(server: &Server) -> Result<Vec<(ClientName, SnapshotName)>> {
    let volume = server.store.volume();
    let mut all = Vec::new();
    for client in volume.clients()? {
        all.extend(volume.snapshots(&client)?.into_iter().map(|snapshot| (client.clone(), snapshot)));
    }
    Ok(all)
}
