//! `byteback-admin hold`: a snapshot, or all of a client, is kept from the pruner.

use anyhow::{Result, bail};
use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use serde::Serialize;

use super::open_for_target;
use super::target::Target;
use crate::journey::server::Place;
use crate::model::hold::Hold;
use crate::model::{Failure, Status, escaped};
use crate::system::{clock, console};

/// Keep a snapshot, or all snapshots of a client, from being pruned
///
/// Snapshots whose name is no time, such as saved-do-not-delete, are held by that for ever.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  byteback-admin hold web1 --reason 'break-in of 2026-11-20, ask Anna'
  byteback-admin hold web1/2026-11-20T23:47+0000 --reason 'tax year' --until 2037-01-01")]
pub struct Options {
    /// The client, or one snapshot of it
    #[arg(value_name = "CLIENT[/SNAPSHOT]")]
    pub target: Target,
    /// Why, for whoever finds it
    #[arg(long, value_name = "TEXT")]
    pub reason: String,
    /// When it ends: 2027-01-31 (midnight UTC), or an RFC 3339 time [default: never]
    #[arg(long, value_name = "DATE", value_parser = end)]
    pub until: Option<Timestamp>,
    /// Print the hold as JSON
    #[arg(long)]
    pub json: bool,
    /// Which server.
    #[command(flatten)]
    pub place: Place,
}

#[derive(Serialize)]
struct Answer<'a> {
    schema: u32,
    client: &'a str,
    hold: &'a Hold,
}

/// Makes the hold.
///
/// # Errors
/// A misuse when there is no such snapshot, or the end lies in the past.
pub fn run(options: &Options) -> Result<Status> {
    let now = clock::now();
    if options.until.is_some_and(|until| until <= now) {
        bail!(Failure::misuse("--until lies in the past, so nothing would be held"));
    }
    let reason = options.reason.trim();
    if reason.is_empty() {
        bail!(Failure::misuse("--reason is empty; say why, for whoever finds the hold"));
    }
    let server = open_for_target(&options.place, &options.target)?;
    let Target { client, snapshot } = &options.target;
    let hold = Hold {
        snapshot: snapshot.clone(),
        reason: escaped(reason.as_bytes()),
        since: now,
        until: options.until,
        automatic: false,
    };
    let state = server.store.client_state(client)?;
    state.change_holds(|holds| holds.holds.push(hold.clone()))?;
    server.log.info(format_args!("hold target={} reason={}", options.target, hold.reason));
    if options.json {
        console::print(serde_json::to_string(&Answer { schema: 1, client: client.as_str(), hold: &hold })?);
    } else {
        console::print(format_args!("{} is held {}: {}", options.target, until(hold.until), hold.reason));
    }
    Ok(Status::Done)
}

/// `until 2027-01-31T00:00:00Z`, or `for ever`.
pub(super) fn until(end: Option<Timestamp>) -> String {
    end.map_or_else(|| "for ever".to_owned(), |end| format!("until {end}"))
}

fn end(text: &str) -> Result<Timestamp, String> {
    if let Ok(time) = text.parse::<Timestamp>() {
        return Ok(time);
    }
    let date: Date = text.parse().map_err(|_| "no date such as 2027-01-31".to_owned())?;
    let midnight = date.to_zoned(TimeZone::UTC).map_err(|error| error.to_string())?;
    Ok(midnight.timestamp())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_end_is_a_day_or_a_time() {
        assert_eq!(end("2027-01-31").unwrap(), "2027-01-31T00:00:00Z".parse().unwrap());
        assert_eq!(end("2027-01-31T12:00:00+01:00").unwrap(), "2027-01-31T11:00:00Z".parse().unwrap());
        for text in ["", "tomorrow", "2027-02-30", "31.1.2027"] {
            assert!(end(text).is_err(), "{text}");
        }
    }
}
