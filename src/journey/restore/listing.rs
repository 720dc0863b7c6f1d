//! What the server has of the files that were asked for, as it tells line by line. An answer counts
//! only with its end line: a connection that broke must not look like a short list.

use std::process::Stdio;

use anyhow::{Result, bail};
use jiff::Timestamp;

use crate::model::failure::status_of;
use crate::model::snapshot_facts::SnapshotFacts;
use crate::model::{Entry, Failure, Status, Version, escaped};
use crate::protocol::find_query::FindQuery;
use crate::protocol::lexer;
use crate::protocol::listing::{Line, ListingError, parse_line, snapshots};
use crate::protocol::request;
use crate::system::signals::Signals;
use crate::system::ssh::Connection;
use crate::system::supervise::{self, Stream};

/// The whole answer.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Found {
    /// What matches.
    pub(super) entries: Vec<Entry>,
    /// Why there are not more, in the server's words.
    pub(super) cut: Option<String>,
}

/// How an answer ended.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Told {
    /// How many versions were told.
    pub(super) versions: u64,
    /// Why not more, in the server's words.
    pub(super) cut: Option<String>,
}

/// Asks, and waits for the whole answer.
pub(super) fn ask(connection: &Connection, signals: &Signals, query: &FindQuery) -> Result<Found> {
    let mut entries = Vec::new();
    let told = ask_each(connection, signals, query, |version| entries.push(version.entry))?;
    Ok(Found { entries, cut: told.cut })
}

/// Asks, and hands on each version as it comes. What was handed on counts only when this gives no error.
///
/// A server of version 2.0 knows no history; it then is asked for what it can tell.
pub(super) fn ask_each(
    connection: &Connection,
    signals: &Signals,
    query: &FindQuery,
    mut each: impl FnMut(Version),
) -> Result<Told> {
    // A refusal comes before anything else.
    match ask_once(connection, signals, query, &mut each) {
        Err(error) if query.history && status_of(&error) == Status::Refused => {
            let without = FindQuery { history: false, ..query.clone() };
            ask_once(connection, signals, &without, &mut each)
        }
        told => told,
    }
}

fn ask_once(
    connection: &Connection,
    signals: &Signals,
    query: &FindQuery,
    each: &mut dyn FnMut(Version),
) -> Result<Told> {
    let words = request::list_words(query);
    if words.len() > lexer::MAX_WORDS || words.join(" ").len() > lexer::MAX_BYTES {
        bail!(Failure::misuse("these are more patterns than the server takes at once; name a directory"));
    }
    let mut answer = Answer { each, versions: 0, end: None, error: None };
    converse(connection, signals, &words, "list the files", |line| answer.take(line))?;
    Ok(answer.whole()?)
}

/// Which snapshots the server has, and its clock.
pub(super) fn ask_snapshots(
    connection: &Connection,
    signals: &Signals,
) -> Result<(Vec<SnapshotFacts>, Timestamp)> {
    let (mut facts, mut end, mut trouble) = (Vec::new(), None, None);
    converse(connection, signals, &request::snapshots_words(), "list the snapshots", |line| {
        match snapshots::parse_line(line) {
            Ok(snapshots::Line::Facts(one)) => facts.push(one),
            Ok(snapshots::Line::End { snapshots, now }) => end = Some((snapshots, now)),
            Err(error) => trouble = trouble.take().or(Some(error)),
        }
    })?;
    match (trouble, end) {
        (Some(error), _) => Err(nonsense(&error).into()),
        (None, Some((count, now))) if count == facts.len() as u64 => Ok((facts, now)),
        (None, _) => Err(broken_off().into()),
    }
}

/// Asks with these words and hands on each line.
fn converse(
    connection: &Connection,
    signals: &Signals,
    words: &[String],
    deed: &str,
    mut take: impl FnMut(&[u8]),
) -> Result<()> {
    let mut trouble = Vec::new();
    let ended =
        supervise::run(
            connection.command(words).stdin(Stdio::null()),
            signals,
            |stream, line| match stream {
                Stream::Out => take(line),
                Stream::Err => trouble = line.to_vec(),
            },
        )?;
    if let Some(signal) = ended.interrupted {
        bail!(Failure::failed(format!("ended by {signal} while the server was answering")));
    }
    if !ended.status.success() {
        let status = ended.status.code().map_or(Status::Failed, Status::from_code);
        let why = if trouble.is_empty() { ended.describe() } else { escaped(&trouble) };
        bail!(Failure { status, message: format!("the server did not {deed} ({why})") });
    }
    Ok(())
}

/// The server's answer so far.
struct Answer<'a> {
    each: &'a mut dyn FnMut(Version),
    versions: u64,
    end: Option<(u64, Option<String>)>,
    error: Option<ListingError>,
}

impl Answer<'_> {
    fn take(&mut self, line: &[u8]) {
        match parse_line(line) {
            Ok(Line::Found(version)) => {
                self.versions += 1;
                (self.each)(version);
            }
            Ok(Line::End { entries, cut }) => self.end = Some((entries, cut)),
            Err(error) => self.error = self.error.take().or(Some(error)),
        }
    }

    fn whole(self) -> Result<Told, Failure> {
        match (self.error, self.end) {
            (Some(error), _) => Err(nonsense(&error)),
            (None, Some((count, cut))) if count == self.versions => Ok(Told { versions: count, cut }),
            (None, _) => Err(broken_off()),
        }
    }
}

fn nonsense(error: &ListingError) -> Failure {
    Failure::failed(format!("the server's answer makes no sense: {error}"))
}

fn broken_off() -> Failure {
    Failure::failed("the server's list ends in the middle, so the connection was cut; try again")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Tree;
    use crate::protocol::listing::{print_end, print_entry};

    fn entry() -> Entry {
        Entry {
            tree: Tree::Current,
            path: b"a\xff".to_vec(),
            mode: 0o100_644,
            uid: 0,
            gid: 0,
            size: 0,
            mtime: Timestamp::UNIX_EPOCH,
            target: None,
        }
    }

    fn read(lines: &[&str]) -> Result<Found, Failure> {
        let mut entries = Vec::new();
        let mut each = |version: Version| entries.push(version.entry);
        let mut answer = Answer { each: &mut each, versions: 0, end: None, error: None };
        for line in lines {
            answer.take(line.as_bytes());
        }
        let told = answer.whole()?;
        Ok(Found { entries, cut: told.cut })
    }

    #[test]
    fn a_list_counts_only_when_it_is_whole() {
        let (line, end) = (print_entry(&entry()), print_end(false, 1, None));
        assert_eq!(read(&[&line, &end]).unwrap().entries, [entry()]);
        for cut in [&[][..], &[&line[..]], &[&end], &[&line, &line, &end]] {
            assert!(read(cut).unwrap_err().message.contains("ends in the middle"), "{cut:?}");
        }
        assert!(read(&["Welcome!", &line, &end]).unwrap_err().message.contains("makes no sense"));
        assert_eq!(read(&[&print_end(false, 0, Some("too many"))]).unwrap().cut.unwrap(), "too many");
    }
}
