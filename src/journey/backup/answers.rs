//! What the gate is asked before and after rsync, and what its answers mean for the run.

use std::process::Stdio;

use anyhow::Result;

use super::attempts::Trouble;
use super::report::last_words;
use super::{Run, interrupted};
use crate::model::backup_record;
use crate::model::{Failure, escaped};
use crate::protocol::answer::{Answer, Outcome, Standing};
use crate::protocol::request;
use crate::system::ssh::Connection;
use crate::system::supervise::{self, Ended, Stream};

/// What the gate's own talk begins with.
pub(super) const GATE: &[u8] = b"byteback-receive: ";
/// More than any answer needs; what a strange server prints beyond it is not kept.
const MOST_KEPT: usize = 64 * 1024;
/// ssh's own status when the connection failed (ssh(1), EXIT STATUS).
const SSH_FAILED: i32 = 255;

/// Asks whether the push may start; gives what the server has. A server that makes room is asked again; and on a later
/// attempt "busy" is most likely the last one of our own, which the server has not yet given up.
pub(super) fn prepare(
    run: &Run,
    connection: &Connection,
    attempt: usize,
) -> Result<Option<Standing>, Trouble> {
    let answer = ask(run, connection, "prepare", &request::prepare_words())?;
    let message = sentence(&answer);
    match answer.outcome {
        Outcome::Ok => Ok(answer.standing),
        Outcome::Busy if attempt > 1 || answer.making_room => Err(Trouble::Passing(busy(&message))),
        Outcome::Busy => Err(Failure::busy(busy(&message)).into()),
        Outcome::Refused => Err(Failure::refused(refused(&message)).into()),
        Outcome::Failed | Outcome::Snapshot | Outcome::NotDue => {
            Err(Failure::failed(format!("the server cannot take a backup now: {message}")).into())
        }
    }
}

/// Says that all files are there, and asks for a snapshot.
pub(super) fn complete(run: &Run, connection: &Connection) -> Result<Answer, Trouble> {
    ask(run, connection, "complete", &request::complete_words())
}

/// What the answer to `complete` means: the outcome and the sentence for the operator.
///
/// # Errors
/// With the status that fits when there was neither a snapshot nor a young enough one.
pub(super) fn verdict(answer: &Answer) -> Result<(backup_record::Outcome, String)> {
    let message = sentence(answer);
    let failed = format!("the files are on the server, but completing the backup failed: {message}");
    match answer.outcome {
        Outcome::Snapshot => Ok((backup_record::Outcome::Snapshot, message)),
        Outcome::NotDue => Ok((backup_record::Outcome::NotDue, message)),
        Outcome::Refused => Err(Failure::refused(failed).into()),
        Outcome::Busy => Err(Failure::busy(failed).into()),
        Outcome::Failed | Outcome::Ok => Err(Failure::failed(failed).into()),
    }
}

/// The server's sentence, with the snapshot's name if it does not stand in it, and without the word
/// that the outcome says already.
fn sentence(answer: &Answer) -> String {
    let told = ["refused: ", "busy: "].iter().find_map(|word| answer.message.strip_prefix(word));
    let sentence = escaped(told.unwrap_or(&answer.message).as_bytes());
    let snapshot = answer.snapshot.as_deref().map(|name| escaped(name.as_bytes())).unwrap_or_default();
    if sentence.contains(&snapshot) { sentence } else { format!("{sentence} (snapshot {snapshot})") }
}

fn ask(run: &Run, connection: &Connection, request: &str, words: &[String]) -> Result<Answer, Trouble> {
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let mut command = connection.command(words);
    command.stdin(Stdio::null());
    let ended = supervise::run(&mut command, &run.signals, |stream, line| {
        let kept = if stream == Stream::Out { &mut out } else { &mut err };
        if kept.len() + line.len() < MOST_KEPT {
            kept.extend_from_slice(line);
            kept.push(b'\n');
        }
    })?;
    if let Some(signal) = ended.interrupted {
        return Err(interrupted(signal).into());
    }
    Answer::parse(&out).map_err(|_| no_answer(run, request, ended, &[err, out].concat()))
}

/// Something else than our gate spoke, or the connection was lost.
fn no_answer(run: &Run, request: &str, ended: Ended, said: &[u8]) -> Trouble {
    let host = run.settings.login.destination.host();
    if let Some(refused) = said.split(|byte| *byte == b'\n').find_map(refusal) {
        return Failure::refused(refused).into();
    }
    let words = last_words(said);
    if ended.status.code() == Some(SSH_FAILED) {
        return Trouble::Passing(format!("the connection to {host} was lost (ssh said: {words})"));
    }
    let why = format!(
        "{host} did not answer to \"{request}\" as a byteback server does ({}, it said: {words}); is its \
         byteback older than this one?",
        ended.describe()
    );
    Failure::failed(why).into()
}

/// The reason in a line of the gate that refuses.
pub(super) fn refusal(line: &[u8]) -> Option<String> {
    let reason = line.strip_prefix(GATE)?.strip_prefix(b"refused")?;
    Some(refused(&escaped(reason.strip_prefix(b": ").unwrap_or(reason).trim_ascii())))
}

fn refused(why: &str) -> String {
    format!("the server refused: {why}")
}

fn busy(why: &str) -> String {
    format!("the server is busy: {why}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Status;

    fn answer(outcome: Outcome, message: &str) -> Answer {
        let snapshot = Some("2026-11-20T23:47+0000".to_owned());
        let (client, message) = ("web1".to_owned(), message.to_owned());
        Answer { schema: 1, outcome, client, snapshot, message, making_room: false, standing: None }
    }

    #[test]
    fn every_answer_but_a_snapshot_or_not_due_fails_the_backup_with_its_status() {
        for (outcome, status) in [
            (Outcome::Refused, Status::Refused),
            (Outcome::Busy, Status::Busy),
            (Outcome::Failed, Status::Failed),
            (Outcome::Ok, Status::Failed),
        ] {
            let error = verdict(&answer(outcome, "why")).unwrap_err();
            let failure = error.downcast_ref::<Failure>().unwrap();
            assert_eq!(failure.status, status);
            assert!(failure.message.contains("failed: why"), "{}", failure.message);
        }
        let (outcome, message) = verdict(&answer(Outcome::NotDue, "too soon")).unwrap();
        assert_eq!(outcome, backup_record::Outcome::NotDue);
        assert_eq!(message, "too soon (snapshot 2026-11-20T23:47+0000)");
    }

    #[test]
    fn a_server_cannot_write_on_the_terminal() {
        let (_, message) = verdict(&answer(Outcome::Snapshot, "taken \x1b[2J\n")).unwrap();
        assert!(!message.chars().any(char::is_control), "{message}");
    }

    #[test]
    fn a_refusal_is_told_from_other_talk() {
        assert_eq!(
            refusal(b"byteback-receive: refused: no such client").unwrap(),
            "the server refused: no such client"
        );
        assert_eq!(refusal(b"byteback-receive: busy: x"), None);
        assert_eq!(refusal(b"refused"), None);
    }
}
