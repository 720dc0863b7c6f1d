//! Making room: while too little is free, discard the least important snapshot, wait until its space
//! is really back, look again. The plan comes first, with a reason for each snapshot; a dry run prints
//! that same plan.
//!
//! It never deletes what the plan keeps, and it stops where deleting no longer helps: when room is
//! stranded in metadata chunks only root's balance gives it back.

mod report;

use std::io;

use anyhow::{Error, Result, bail};

use super::server::{Place, Server};
use crate::model::{ByteSize, Failure, Status};
pub use crate::policy::importance::Order;
use crate::policy::prune::{History, Inventory, PrunePlan, Rules, Step};
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
        let inventory = inventory(&server)?;
        report::list(&server, &plan(&server, &inventory, options.order), options.json)?;
        return Ok(Status::Done);
    }
    if options.dry_run {
        return dry_run(&server, options);
    }
    let lock = lock::try_exclusive(&server.store.state_directory()?.join("prune.lock"))?;
    let Locking::Held(_lock) = lock else {
        bail!(Failure::busy("another byteback-prune is at work"));
    };
    let unfinished = finish_discards(&server)?;
    server.store.volume().finish_waiting()?;
    make_room(&server, options, unfinished)
}

/// What would go, in order. How many of them it takes is known only when their room is back.
fn dry_run(server: &Server, options: &Options) -> Result<Status> {
    let room = server.store.volume().room()?;
    if is_enough_to_begin_with(&room, options) {
        report::nothing_to_do(&room, options)?;
        return Ok(Status::Done);
    }
    let inventory = inventory(server)?;
    report::dry_run(server, &plan(server, &inventory, options.order), &room, options)?;
    Ok(Status::Done)
}

fn is_enough_to_begin_with(room: &Room, options: &Options) -> bool {
    let mark = if options.force { options.maxpercent } else { options.minpercent };
    room.percent_free() >= f64::from(mark)
}

/// Carries on where a pruner was killed. What cannot be finished is told and keeps nobody else's room.
fn finish_discards(server: &Server) -> Result<usize> {
    let volume = server.store.volume();
    let mut failed = 0;
    for client in volume.clients()? {
        match volume.finish_discards(&client) {
            Ok(0) => {}
            Ok(finished) => server.log.info(format_args!("pruned client={client} unfinished={finished}")),
            Err(error) => {
                failed += 1;
                complain(server, &format!("{error:#}"));
            }
        }
    }
    Ok(failed)
}

/// One line of trouble that does not end the run.
fn complain(server: &Server, trouble: &str) {
    server.log.warning(format_args!("failed {trouble}"));
    console::say(format_args!("byteback-prune: {trouble}"));
}

fn make_room(server: &Server, options: &Options, unfinished: usize) -> Result<Status> {
    let before = server.store.volume().room()?;
    if is_enough_to_begin_with(&before, options) {
        if options.verbose || options.json {
            report::nothing_to_do(&before, options)?;
        }
        return Ok(if unfinished == 0 { Status::Done } else { Status::Failed });
    }
    server.store.volume().check_discard()?;
    let inventory = inventory(server)?;
    let plan = plan(server, &inventory, options.order);
    let mut report = Report::new(before, options);
    let (mut room, mut failed) = (before, unfinished);
    for step in plan.deletions() {
        if room.percent_free() >= f64::from(options.maxpercent) {
            break;
        }
        if let Some(advice) = stranded(&room, server) {
            report.print()?;
            bail!(Failure::failed(advice));
        }
        match delete(server, step, &room, options) {
            Ok((after, back)) => {
                report.deleted(step, back);
                room = after;
            }
            // Somebody reads it: the next one would not bring this one's room back.
            Err(error) if is_awaited(&error) => {
                report.print()?;
                return Err(error);
            }
            Err(error) => {
                failed += 1;
                complain(server, &format!("{error:#}"));
            }
        }
    }
    report.print()?;
    if room.percent_free() < f64::from(options.maxpercent) {
        bail!(Failure::failed(report::only_protected_left(&plan, &room, options)));
    }
    Ok(if failed == 0 { Status::Done } else { Status::Failed })
}

/// Discards one snapshot; tells the room that there is then, and how many bytes of data came back.
fn delete(server: &Server, step: &Step<'_>, room: &Room, options: &Options) -> Result<(Room, u64)> {
    let volume = server.store.volume();
    volume.discard(step.client, step.snapshot)?;
    let after = volume.room()?;
    let back = after.data_avail().saturating_sub(room.data_avail());
    let (Step { client, snapshot, verdict }, free) = (step, after.percent_free());
    server.log.info(format_args!(
        "pruned client={client} snapshot={snapshot} reason={verdict} room={back} free={free:.1}%"
    ));
    if options.verbose {
        let back = ByteSize(back);
        console::say(format_args!("{client}/{snapshot} deleted ({verdict}): {back} back, {free:.1} % free"));
    }
    Ok((after, back))
}

/// Whether it is gone from every listing and only its space is not back yet.
fn is_awaited(error: &Error) -> bool {
    let kinds = error.chain().filter_map(|cause| cause.downcast_ref::<io::Error>()).map(io::Error::kind);
    kinds.into_iter().any(|kind| kind == io::ErrorKind::TimedOut)
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

fn plan<'a>(server: &Server, inventory: &'a Inventory, order: Order) -> PrunePlan<'a> {
    PrunePlan::new(inventory, &Rules { order, config: &server.config }, clock::now())
}

/// Every snapshot of every client.
fn inventory(server: &Server) -> Result<Inventory> {
    let volume = server.store.volume();
    let history = |client| {
        let snapshots = volume.snapshots(&client)?;
        Ok(History::new(client, snapshots))
    };
    let clients = volume.clients()?.into_iter().map(history).collect::<Result<_>>()?;
    Ok(Inventory { clients })
}
