//! The gate: one request of one client, from the words that sshd passes on to the verdict and what
//! follows from it.
//!
//! The client is an enemy. Nothing that it sends reaches `exec`: words become a request, a request
//! becomes a job, and what is run is printed anew from the job. Every verdict is exactly one log line.

mod cage;
mod command;
mod explain;
mod growth;
mod list;
mod log;
mod search;
mod snapshots;
mod standing;
mod transfer;
mod visit;

use std::os::unix::ffi::OsStringExt;
use std::path::Path;

use anyhow::{Context, Error, Result};
use jiff::Timestamp;

use super::server::{Place, Server};
use super::snapshot;
use crate::model::failure::status_of;
use crate::model::{ClientName, Failure, Grant, Status};
use crate::protocol::answer::{Answer, Outcome};
use crate::protocol::lexer::Refusal;
use crate::protocol::public_key::PublicKey;
use crate::protocol::request::{Manner, Request};
use crate::system::{clock, console, environment, files};
use visit::{Job, Visit};

const PROGRAM: &str = "byteback-receive";

/// What the key line says.
#[derive(Debug)]
pub struct Options {
    /// Whose key it is; without it the former program's `BYTEBACK_HOST`.
    pub client: Option<ClientName>,
    /// Let nothing be asked that changes anything.
    pub read_only: bool,
    /// From then on let nothing be asked.
    pub until: Option<Timestamp>,
    /// The store and its configuration.
    pub place: Place,
    /// Print the verdict and run nothing.
    pub explain: bool,
}

/// How the gate ends: with a status of its own, or with rsync's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// As all programs do.
    Own(Status),
    /// rsync ran and ended with this (rsync(1), EXIT VALUES); its client must see the same.
    Rsync(u8),
}

impl From<Ending> for u8 {
    fn from(ending: Ending) -> Self {
        match ending {
            Ending::Own(status) => status as Self,
            Ending::Rsync(code) => code,
        }
    }
}

/// Serves one request.
///
/// # Errors
/// Refusals (status 3), "busy" (4), and what fails on the server (1).
pub fn run(options: &Options) -> Result<Ending> {
    serve(options, &environment::variable("SSH_ORIGINAL_COMMAND").unwrap_or_default().into_vec())
}

/// The same for a request that came by another way than sshd's environment.
///
/// # Errors
/// As for [`run`].
pub(super) fn serve(options: &Options, line: &[u8]) -> Result<Ending> {
    let grant = grant(options)?;
    let request = Request::parse(line);
    if options.explain {
        let permitted = |request| match permit(&grant, &request) {
            Ok(()) => Ok(request),
            Err(failure) => Err(Refusal(failure.message)),
        };
        let request = request.and_then(permitted);
        return explain::print(&grant, &request, &options.place).map(Ending::Own);
    }
    let server = Server::open(&options.place, PROGRAM).map_err(name_full_store)?;
    let visit = Visit::new(server, grant, peer(), key_fingerprint());
    let request = match request {
        Ok(request) => request,
        Err(refusal) => return unknown(&visit, refusal, line),
    };
    let permitted = permit(&visit.grant, &request).map_err(Into::into);
    match permitted.and_then(|()| visit.admit(&request)).map_err(name_full_store) {
        Ok(job) => {
            visit.log_accept(request.name());
            carry_out(&visit, job)
                .map_err(name_full_store)
                .inspect_err(|error| visit.log_failure(request.name(), error))
        }
        Err(error) => answer_or_fail(&visit, &request, visit.refuse(request.name(), &error)),
    }
}

/// A full disk is met in many places, at a lock, a record, a snapshot; each time it is the same, and for the same
/// person to mend.
fn name_full_store(error: Error) -> Error {
    // What says that room is being made has said enough.
    if !files::is_full(&error) || status_of(&error) == Status::Busy {
        return error;
    }
    error.context(Failure::failed(
        "the server's store is full; its administrator must make room with byteback-prune or a larger disk, then try again",
    ))
}

/// Whether the key is good for this. Only what is known to change nothing counts as reading.
fn permit(grant: &Grant, request: &Request) -> Result<(), Failure> {
    let reads_only = matches!(
        request,
        Request::Ping(_) | Request::List(_) | Request::Snapshots | Request::Pull(_) | Request::OldRestore(_)
    );
    grant.permits(reads_only, clock::now())
}

/// What the grammar does not know is refused.
fn unknown(visit: &Visit, refusal: Refusal, line: &[u8]) -> Result<Ending> {
    #[cfg(debug_assertions)]
    if let Some(job) = visit.admit_raw(line).filter(|_| !visit.grant.read_only) {
        return carry_out(visit, job?);
    }
    let _ = line;
    Err(visit.refuse("unknown", &Failure::from(refusal).into()))
}

/// The key that opened this session, where sshd is told to say so (sshd_config(5), ExposeAuthInfo).
fn key_fingerprint() -> Option<String> {
    let told = files::read_optional(Path::new(&environment::variable("SSH_USER_AUTH")?)).ok()??;
    let text = String::from_utf8(told).ok()?;
    let key = text.lines().find_map(|line| line.strip_prefix("publickey "))?;
    Some(PublicKey::parse(key).ok()?.fingerprint())
}

/// The key line names the client. Only a line of the former program, which names it in the
/// environment that sshd sets from the same line, has no `--client`.
fn grant(options: &Options) -> Result<Grant> {
    if let Some(client) = options.client.clone() {
        return Ok(Grant { client, read_only: options.read_only, until: options.until });
    }
    let nobody =
        "the key line in authorized_keys names no client; enrol the client again with byteback-setup-client";
    let name = environment::text("BYTEBACK_HOST").context(Failure::misuse(nobody))?;
    let client = name.parse().with_context(|| Failure::misuse("BYTEBACK_HOST is no client's name"))?;
    Ok(Grant { read_only: options.read_only, until: options.until, ..Grant::full(client) })
}

/// The address that sshd says the client came from (ssh(1), ENVIRONMENT).
fn peer() -> Option<String> {
    let connection = environment::text("SSH_CONNECTION")?;
    let address = connection.split(' ').next()?;
    address.parse::<std::net::IpAddr>().ok().map(|ip| ip.to_canonical().to_string())
}

fn carry_out(visit: &Visit, job: Job) -> Result<Ending> {
    match job {
        Job::Ping(manner) => Ok(tell(&visit.answer(Outcome::Ok, "the key works"), manner)),
        Job::Prepare(manner) => {
            let standing = noted(visit, standing::at_prepare(visit)).filter(|_| manner.json);
            let answer = Answer { standing, ..visit.answer(Outcome::Ok, "the backup may start") };
            Ok(tell(&answer, manner))
        }
        Job::Complete(manner) => {
            let ending = complete(visit, manner);
            growth::start_pruner(visit); // the client has its answer
            Ok(ending)
        }
        Job::List(job) => list::print(visit, &job).map(Ending::Own),
        Job::Snapshots(job) => list::print_snapshots(visit, &job).map(Ending::Own),
        Job::Push(job) => transfer::push(visit, job),
        Job::Pull(job) => transfer::pull(visit, &job),
    }
}

/// The push is over: a snapshot, if one is due. The former program's clients get the message and
/// status 0 also when none was due, as they always did.
fn complete(visit: &Visit, manner: Manner) -> Ending {
    let taken = snapshot::take(&visit.server, &visit.grant.client, clock::now());
    let answer = match taken {
        Ok(taken) => {
            let snapshot = taken.snapshot().map(ToString::to_string);
            let standing = noted(visit, standing::at_complete(visit, &taken)).flatten();
            Answer { snapshot, standing, ..visit.answer(taken.outcome(), &taken.to_string()) }
        }
        Err(error) => {
            let error = name_full_store(error);
            visit.log_failure("complete", &error);
            visit.answer(Outcome::Failed, &format!("no snapshot was taken: {error:#}"))
        }
    };
    tell(&answer, manner)
}

/// Without a standing the client makes a full run, which is no reason to refuse it.
fn noted<T>(visit: &Visit, standing: Result<T>) -> Option<T> {
    let client = &visit.grant.client;
    let note = |error: &anyhow::Error| {
        visit.server.log.warning(format_args!("no-receipt client={client} reason={error:#}"));
    };
    standing.inspect_err(note).ok()
}

/// A client that asked with `--json` gets its refusal as an answer, all others as an error.
fn answer_or_fail(visit: &Visit, request: &Request, failure: anyhow::Error) -> Result<Ending> {
    let Some(manner) = request.manner().filter(|manner| manner.json) else { return Err(failure) };
    let outcome = match status_of(&failure) {
        Status::Busy => Outcome::Busy,
        Status::Refused => Outcome::Refused,
        Status::Done | Status::Failed | Status::Misuse => Outcome::Failed,
    };
    Ok(tell(&visit.answer(outcome, &format!("{failure:#}")), manner))
}

/// A ping that went well is answered with silence, as it always was, `--verbose` or not.
fn tell(answer: &Answer, manner: Manner) -> Ending {
    let status = match answer.outcome {
        Outcome::Ok | Outcome::Snapshot => Status::Done,
        Outcome::NotDue if !manner.json => Status::Done,
        Outcome::NotDue | Outcome::Busy => Status::Busy,
        Outcome::Refused => Status::Refused,
        Outcome::Failed => Status::Failed,
    };
    if manner.json {
        console::print(answer.to_json());
    } else if status != Status::Done {
        console::say(format_args!("{PROGRAM}: {}", answer.message));
    } else if answer.outcome != Outcome::Ok {
        console::print(&answer.message);
    }
    Ending::Own(status)
}
