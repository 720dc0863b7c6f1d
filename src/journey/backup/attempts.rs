//! The way to the server, tried again where that can help: connect, prepare, rsync, complete. What an
//! attempt has brought over is not brought over again by the next one.

use std::time::Instant;

use anyhow::{Error, Result, bail};

use super::change_list::{self, Pass, Plan};
use super::report::{self, seconds};
use super::{Order, Run, answers, check, interrupted, rsync};
use crate::model::backup_record::{Attempt, BackupRecord};
use crate::model::{Failure, Status};
use crate::protocol::answer::Answer;
use crate::system::signals::Signals;
use crate::system::ssh::Connection;
use crate::system::{clock, console};

/// Why an attempt failed.
#[derive(Debug)]
pub(super) enum Trouble {
    /// It may work in a while; the reason, as a sentence.
    Passing(String),
    /// Another attempt would end the same way.
    Final(Error),
}

impl From<Error> for Trouble {
    fn from(error: Error) -> Self {
        Self::Final(error)
    }
}

impl From<Failure> for Trouble {
    fn from(failure: Failure) -> Self {
        Self::Final(failure.into())
    }
}

/// Brings everything to the server and gives its answer to `complete`. Connection, `prepare`, every rsync
/// and `complete` share one handshake.
///
/// # Errors
/// The last attempt's reason, or the first that is final.
pub(super) fn deliver(run: &Run, plan: &mut Plan, record: &mut BackupRecord) -> Result<Answer> {
    let mut copied = false;
    persist(run.order, &run.signals, record, |record, attempt| {
        let connection = connect(run)?;
        if !copied {
            let begin = Instant::now();
            let standing = answers::prepare(run, &connection, record.attempts.len() + 1)?;
            plan.decide(run, standing.as_ref(), record);
            while let Some(pass) = plan.next_pass(run.order.index.checksum)? {
                let changed = rsync::push(run, &connection, record, attempt, &pass)?;
                plan.judge(run, &pass, &changed, record);
                plan.is_done();
            }
            copied = true;
            plan.tell(run, record, begin.elapsed());
        }
        answers::complete(run, &connection)
    })
}

/// Lets rsync tell what it would do.
///
/// # Errors
/// As for [`deliver`].
pub(super) fn rehearse(run: &Run, record: &mut BackupRecord) -> Result<()> {
    persist(run.order, &run.signals, record, |record, attempt| {
        let begin = Instant::now();
        let pass = Pass::full(run.order.index.checksum, change_list::canary_of(run));
        rsync::push(run, &connect(run)?, record, attempt, &pass)?;
        run.result(&report::summary(&record.transfer.unwrap_or_default(), begin.elapsed(), true));
        Ok(())
    })
}

fn persist<T>(
    order: &Order,
    signals: &Signals,
    record: &mut BackupRecord,
    mut one: impl FnMut(&mut BackupRecord, &mut Attempt) -> Result<T, Trouble>,
) -> Result<T> {
    let all = order.retry_number.saturating_add(1);
    for number in 1..=all {
        let now = clock::now();
        let mut attempt = Attempt { started: now, ended: now, rsync_status: None, error: None };
        let outcome = one(record, &mut attempt);
        attempt.ended = clock::now();
        attempt.error = match &outcome {
            Ok(_) => None,
            Err(Trouble::Passing(why)) => Some(why.clone()),
            Err(Trouble::Final(error)) => Some(format!("{error:#}")),
        };
        record.attempts.push(attempt);
        match outcome {
            Ok(value) => return Ok(value),
            Err(Trouble::Final(error)) => return Err(error),
            Err(Trouble::Passing(why)) if number == all => bail!(given_up(all, &why)),
            Err(Trouble::Passing(why)) => {
                let delay = order.retry_delay;
                console::say(format_args!(
                    "attempt {number} of {all} failed: {why}; trying again in {}",
                    seconds(delay.as_secs())
                ));
                signals.sleep(delay.duration());
                check(signals)?;
            }
        }
    }
    bail!("no attempt was made")
}

fn given_up(attempts: u32, why: &str) -> Failure {
    match attempts {
        1 => Failure::failed(why),
        _ => Failure::failed(format!("gave up after {attempts} attempts: {why}")),
    }
}

/// Only "cannot be reached" may pass by itself: a refused key or a changed host key does not.
fn connect(run: &Run) -> Result<Connection, Trouble> {
    check(&run.signals)?;
    Connection::open(&run.settings.login).map_err(|error| {
        if let Some(signal) = run.signals.caught() {
            return interrupted(signal).into();
        }
        match error.downcast_ref::<Failure>() {
            Some(failure) if failure.status == Status::Failed => Trouble::Passing(failure.message.clone()),
            _ => Trouble::Final(error),
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::journey::backup::IndexUse;
    use crate::model::span::Span;

    fn attempts_until(retry_number: u32, outcomes: &[Option<bool>]) -> (Result<()>, usize) {
        let order = Order {
            destination: None,
            sources: Vec::new(),
            excludes: Vec::new(),
            verbose: false,
            retry_number,
            retry_delay: Span::seconds(0),
            io_timeout: None,
            ssh_key: None,
            config_dir: "/nonexistent".into(),
            dry_run: false,
            index: IndexUse { full: false, checksum: false, full_every: 7, state_dir: "/nonexistent".into() },
            json: false,
        };
        let mut record = BackupRecord::begin(clock::now(), false);
        let mut outcomes = outcomes.iter();
        let result =
            persist(&order, &Signals::watch().unwrap(), &mut record, |_, _| match outcomes.next().unwrap() {
                Some(true) => Ok(()),
                Some(false) => Err(Failure::refused("final").into()),
                None => Err(Trouble::Passing("passing".to_owned())),
            });
        (result, record.attempts.len())
    }

    #[test]
    fn only_what_may_pass_is_tried_again_and_not_for_ever() {
        let (result, attempts) = attempts_until(3, &[None, None, Some(true)]);
        assert!(result.is_ok() && attempts == 3);
        let (result, attempts) = attempts_until(3, &[Some(false)]);
        assert_eq!((result.unwrap_err().to_string().as_str(), attempts), ("final", 1));
        let (result, attempts) = attempts_until(1, &[None, None]);
        assert_eq!(result.unwrap_err().to_string(), "gave up after 2 attempts: passing");
        assert_eq!(attempts, 2);
        assert_eq!(attempts_until(0, &[None]).0.unwrap_err().to_string(), "passing");
    }
}
