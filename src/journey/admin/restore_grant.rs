//! `byteback-admin restore-grant`: a key that may read one client's backups for some time, for the
//! machine that takes the place of a lost one. It ends by itself: sshd stops the key, and the gate does.

use std::net::IpAddr;
use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use serde_json::json;

use crate::journey::enrol;
use crate::journey::server::{Place, Server};
use crate::model::span::Span;
use crate::model::{ClientName, Failure, Status, escaped};
use crate::protocol::authorized_keys::{Holder, KeyFile, RestoreGrant};
use crate::protocol::public_key::PublicKey;
use crate::store::keys::Keys;
use crate::system::{clock, console, files};

/// Nobody remembers a grant that was given longer ago.
const LONGEST: SignedDuration = SignedDuration::from_hours(366 * 24);

/// Give a key read access to one client's backups, for some time
///
/// For the machine that replaces a lost one: with the key that belongs to FILE, byteback-restore lists and
/// restores that client's files from there. It can change nothing, and ends by itself.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  byteback-admin restore-grant web1 --key new.pub --until 2026-12-01")]
pub struct Options {
    /// Whose backups
    #[arg(value_name = "CLIENT", required_unless_present = "list")]
    client: Option<ClientName>,
    /// The public key of the machine that may read
    #[arg(long, value_name = "FILE", required_unless_present_any = ["list", "remove"])]
    key: Option<PathBuf>,
    /// The end: a date (its last second, UTC), a time in RFC 3339, or a span such as 3d
    #[arg(long, value_name = "DATE", required_unless_present_any = ["list", "remove"])]
    until: Option<String>,
    /// Let the key come from this address alone
    #[arg(long, value_name = "ADDRESS")]
    from: Option<IpAddr>,
    /// List what was granted
    #[arg(long, conflicts_with_all = ["key", "until", "from", "remove"])]
    list: bool,
    /// Take back what this client's backups were granted to, or to the key of FILE alone
    #[arg(long, conflicts_with_all = ["until", "from"])]
    remove: bool,
    /// List as JSON
    #[arg(long, requires = "list")]
    json: bool,
    #[command(flatten)]
    place: Place,
}

/// Grants, lists or takes back.
///
/// # Errors
/// A key that is no key or a time that is none is a misuse (status 2); a key that has another use is
/// refused (3).
pub fn run(options: &Options) -> Result<Status> {
    let key = options.key.as_deref().map(read_key).transpose()?;
    let now = clock::now();
    let until = options.until.as_deref().map(|text| end(text, now)).transpose()?;
    let server = Server::open(&options.place, "byteback-admin")?;
    let keys = Keys::lock(server.store.path(), &server.store.state_directory()?)?;
    match (&options.client, key, until) {
        (Some(client), Some(key), Some(until)) => grant(options, &server, &keys, client, &key, until, now),
        (Some(client), key, None) if options.remove => remove(&server, &keys, client, key.as_ref()),
        (client, ..) => {
            list(&keys, client.as_ref(), options.json, now);
            Ok(Status::Done)
        }
    }
}

fn read_key(path: &std::path::Path) -> Result<PublicKey> {
    let shown = escaped(path.as_os_str().as_encoded_bytes());
    let content = files::read_optional(path)?;
    let content = content.with_context(|| Failure::misuse(format!("there is no file {shown}")))?;
    PublicKey::parse(String::from_utf8_lossy(&content).trim()).map_err(|error| {
        Failure::misuse(format!("{shown} is no public key: {error}; give the file that ends in .pub")).into()
    })
}

/// A date is meant with its last second.
fn end(text: &str, now: Timestamp) -> Result<Timestamp> {
    let of_date = |date: Date| Some(date.tomorrow().ok()?.to_zoned(TimeZone::UTC).ok()?.timestamp());
    let of_span = |span: Span| now.checked_add(SignedDuration::try_from(span.duration()).ok()?).ok();
    let found = match (text.parse::<Timestamp>(), text.parse::<Date>(), text.parse::<Span>()) {
        (Ok(time), ..) => Some(time),
        (_, Ok(date), _) => of_date(date),
        (_, _, Ok(span)) => of_span(span),
        _ => None,
    };
    let shown = escaped(text.as_bytes());
    let Some(until) = found else {
        bail!(Failure::misuse(format!("'{shown}' is no time; write 2026-12-01, 2026-12-01T12:00:00Z or 3d")));
    };
    if until <= now || until.duration_since(now) > LONGEST {
        bail!(Failure::misuse(format!("{until} is over or more than a year ahead; choose a nearer time")));
    }
    // To the second, as sshd counts.
    Ok(Timestamp::from_second(until.as_second())?)
}

fn grant(
    options: &Options,
    server: &Server,
    keys: &Keys,
    client: &ClientName,
    key: &PublicKey,
    until: Timestamp,
    now: Timestamp,
) -> Result<Status> {
    if !server.store.volume().is_enrolled(client) {
        bail!(Failure::misuse(format!("the store has no client {client}")));
    }
    match keys.content().holder(key) {
        None => {}
        Some(Holder::Reader(owner)) if owner == *client => {}
        Some(Holder::Reader(owner) | Holder::Client(owner)) => bail!(Failure::refused(format!(
            "this key belongs to {owner} already; make another with ssh-keygen"
        ))),
        Some(Holder::Other) => bail!(Failure::refused(
            "this key stands in authorized_keys already, for something else; make another with ssh-keygen"
        )),
    }
    let line = enrol::new_line(client, key, &options.place)?.to_read_until(until);
    let line = match options.from {
        Some(address) => line.only_from(address),
        None => line,
    };
    // What is over goes, and so does an earlier grant to the same key.
    let is_over = |grant: &RestoreGrant| grant.key == *key || grant.until.is_some_and(|until| until <= now);
    let left = KeyFile::parse(&keys.content().without_grants(is_over));
    keys.replace(&left.with_line(&line))?;
    let fingerprint = key.fingerprint();
    server.log.info(format_args!("restore-grant client={client} key={fingerprint} until={until}"));
    console::print(format_args!("{fingerprint} may read the backups of {client} until {until}"));
    Ok(Status::Done)
}

fn remove(server: &Server, keys: &Keys, client: &ClientName, key: Option<&PublicKey>) -> Result<Status> {
    let is_meant = |grant: &RestoreGrant| grant.client == *client && key.is_none_or(|key| grant.key == *key);
    let gone: Vec<_> = keys.content().grants().filter(|grant| is_meant(grant)).collect();
    if gone.is_empty() {
        bail!(Failure::misuse(format!(
            "nothing of that kind was granted for {client}; --list shows what was"
        )));
    }
    keys.replace(&keys.content().without_grants(is_meant))?;
    for grant in gone {
        let fingerprint = grant.key.fingerprint();
        server.log.info(format_args!("restore-grant client={client} key={fingerprint} removed"));
        console::print(format_args!("{fingerprint} may no longer read the backups of {client}"));
    }
    Ok(Status::Done)
}

fn list(keys: &Keys, client: Option<&ClientName>, json: bool, now: Timestamp) {
    let grants = || keys.content().grants().filter(|grant| client.is_none_or(|name| grant.client == *name));
    let is_over = |grant: &RestoreGrant| grant.until.is_some_and(|until| until <= now);
    if json {
        let grants: Vec<_> = grants()
            .map(|grant| {
                json!({
                    "client": grant.client.as_str(), "key": grant.key.fingerprint(), "comment": grant.key.comment(),
                    "until": grant.until, "from": grant.from, "over": is_over(grant),
                })
            })
            .collect();
        return console::print(json!({ "schema": 1, "grants": grants }));
    }
    for grant in grants() {
        let until = grant.until.map_or_else(|| "for ever".to_owned(), |until| format!("until {until}"));
        let over = if is_over(grant) { ", which is over" } else { "" };
        let from = grant.from.as_deref().map_or_else(String::new, |from| format!(" from {from}"));
        let comment = escaped(grant.key.comment().as_bytes());
        let line = format!("{} {} {until}{over}{from} {comment}", grant.client, grant.key.fingerprint());
        console::print(line.trim_end());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_grant_always_has_an_end_that_is_near() {
        let now: Timestamp = "2026-11-21T12:00:00.5Z".parse().unwrap();
        let read = |text: &str| end(text, now).ok().map(|until| until.to_string());
        for (text, until) in [
            ("2026-11-21", "2026-11-22T00:00:00Z"),
            ("2026-12-01", "2026-12-02T00:00:00Z"),
            ("2026-12-01T08:00:00+02:00", "2026-12-01T06:00:00Z"),
            ("3d", "2026-11-24T12:00:00Z"),
        ] {
            assert_eq!(read(text).as_deref(), Some(until), "{text}");
        }
        for text in ["", "tomorrow", "2026-11-20", "2026-11-21T11:00:00Z", "0", "2099-01-01", "99w"] {
            assert_eq!(read(text), None, "{text}");
        }
    }
}
