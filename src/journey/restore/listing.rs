//! What the server has of the files that were asked for, as it tells line by line. An answer counts
//! only with its end line: a connection that broke must not look like a short list.

use std::process::Stdio;

use anyhow::{Result, bail};

use crate::model::{Entry, Failure, Status, escaped};
use crate::protocol::find_query::FindQuery;
use crate::protocol::lexer;
use crate::protocol::listing::{Line, ListingError, parse_line};
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

/// Asks, and waits for the whole answer.
pub(super) fn ask(connection: &Connection, signals: &Signals, query: &FindQuery) -> Result<Found> {
    let words = request::list_words(query);
    if words.len() > lexer::MAX_WORDS || words.join(" ").len() > lexer::MAX_BYTES {
        bail!(Failure::misuse("these are more patterns than the server takes at once; name a directory"));
    }
    let (mut answer, mut trouble) = (Answer::default(), Vec::new());
    let ended =
        supervise::run(
            connection.command(&words).stdin(Stdio::null()),
            signals,
            |stream, line| match stream {
                Stream::Out => answer.take(line),
                Stream::Err => trouble = line.to_vec(),
            },
        )?;
    if let Some(signal) = ended.interrupted {
        bail!(Failure::failed(format!("ended by {signal} while the server was listing")));
    }
    if !ended.status.success() {
        let status = ended.status.code().map_or(Status::Failed, Status::from_code);
        let why = if trouble.is_empty() { ended.describe() } else { escaped(&trouble) };
        bail!(Failure { status, message: format!("the server did not list the files ({why})") });
    }
    Ok(answer.whole()?)
}

/// The server's answer so far.
#[derive(Default)]
struct Answer {
    entries: Vec<Entry>,
    end: Option<(u64, Option<String>)>,
    error: Option<ListingError>,
}

impl Answer {
    fn take(&mut self, line: &[u8]) {
        match parse_line(line) {
            Ok(Line::Entry(entry)) => self.entries.push(entry),
            Ok(Line::End { entries, cut }) => self.end = Some((entries, cut)),
            Err(error) => self.error = self.error.take().or(Some(error)),
        }
    }

    fn whole(self) -> Result<Found, Failure> {
        if let Some(error) = self.error {
            return Err(Failure::failed(format!("the server's answer makes no sense: {error}")));
        }
        match self.end {
            Some((count, cut)) if count == self.entries.len() as u64 => {
                Ok(Found { entries: self.entries, cut })
            }
            _ => Err(Failure::failed(
                "the server's list ends in the middle, so the connection was cut; try again",
            )),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Tree;
    use crate::protocol::listing::{print_end, print_entry};
    use jiff::Timestamp;

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
        let mut answer = Answer::default();
        for line in lines {
            answer.take(line.as_bytes());
        }
        answer.whole()
    }

    #[test]
    fn a_list_counts_only_when_it_is_whole() {
        let (line, end) = (print_entry(&entry()), print_end(1, None));
        assert_eq!(read(&[&line, &end]).unwrap().entries, [entry()]);
        for cut in [&[][..], &[&line[..]], &[&end], &[&line, &line, &end]] {
            assert!(read(cut).unwrap_err().message.contains("ends in the middle"), "{cut:?}");
        }
        assert!(read(&["Welcome!", &line, &end]).unwrap_err().message.contains("makes no sense"));
        assert_eq!(read(&[&print_end(0, Some("too many"))]).unwrap().cut.unwrap(), "too many");
    }
}
