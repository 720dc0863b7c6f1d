//! What a client can ask of the gate: a closed list. Everything that arrives as
//! `SSH_ORIGINAL_COMMAND` becomes one of these values or a refusal; nothing of it is ever run.

mod control;
mod old_restore;
mod unknown;

pub use self::control::{complete_words, list_words, ping_words, prepare_words, snapshots_words};

use super::find_query::{FindQuery, Pattern};
use super::lexer::{self, Refusal, Word, refuse, shown};
use super::quoted_printable;
use super::rsync_args::{ConfinedRsync, PullOptions};
use crate::model::Tree;

/// One thing that a client asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Request {
    /// Does the key work?
    Ping(Manner),
    /// May a push start?
    Prepare(Manner),
    /// The push is done: take a snapshot if one is due.
    Complete(Manner),
    /// Which versions of which files are there?
    List(ListRequest),
    /// Which snapshots are there, and what is known of them?
    Snapshots,
    /// rsync into `current`.
    Push(ConfinedRsync),
    /// rsync out of one tree.
    Pull(ConfinedRsync),
    /// rsync out of what patterns match, as the former program's client asks.
    OldRestore(OldRestore),
}

/// How the answer is to be given.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Manner {
    /// As one line of JSON.
    pub json: bool,
    /// With more talk.
    pub verbose: bool,
}

/// A listing that is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListRequest {
    /// What is looked for.
    pub query: FindQuery,
    /// As lines of JSON instead of a table.
    pub json: bool,
}

/// A restore as the former program's client asks for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OldRestore {
    /// What is looked for.
    pub query: FindQuery,
    /// The options of the rsync that sends it.
    pub options: PullOptions,
}

impl Request {
    /// Reads a client's command.
    ///
    /// # Errors
    /// When it is nothing that this server does; the sentence is for the client's user.
    pub fn parse(command: &[u8]) -> Result<Self, Refusal> {
        unknown::refuse_before_reading(command)?;
        let line = lexer::words(command)?;
        let Some((program, rest)) = line.words.split_first() else { return refuse("there is no command") };
        let request = match program.raw() {
            b"byteback-receive" => return control::parse(rest, line.trailing_space),
            b"rsync" => rsync(rest),
            b"byteback-restore" => old_restore::parse(rest),
            _ => Err(unknown::refusal(&line.words)),
        };
        if line.trailing_space && request.is_ok() {
            return refuse("a space stands behind the command's last word: a stock rsync sends none");
        }
        request
    }

    /// How the answer shall look, for the requests that have one.
    pub fn manner(&self) -> Option<Manner> {
        match self {
            Self::Ping(manner) | Self::Prepare(manner) | Self::Complete(manner) => Some(*manner),
            Self::List(_) | Self::Snapshots | Self::Push(_) | Self::Pull(_) | Self::OldRestore(_) => None,
        }
    }

    /// What is searched for, where that is asked.
    pub fn query(&self) -> Option<&FindQuery> {
        match self {
            Self::List(list) => Some(&list.query),
            Self::OldRestore(old) => Some(&old.query),
            Self::Ping(_)
            | Self::Prepare(_)
            | Self::Complete(_)
            | Self::Snapshots
            | Self::Push(_)
            | Self::Pull(_) => None,
        }
    }

    /// What it is called in a log.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Ping(_) => "ping",
            Self::Prepare(_) => "prepare",
            Self::Complete(_) => "complete",
            Self::List(_) => "list",
            Self::Snapshots => "snapshots",
            Self::Push(_) => "push",
            Self::Pull(_) => "pull",
            Self::OldRestore(_) => "old-restore",
        }
    }
}

/// `[--fake-super] --server [--sender] …`; the first word is what the former program put into
/// `--rsync-path`.
fn rsync(words: &[Word]) -> Result<Request, Refusal> {
    let words = match words.split_first() {
        Some((first, rest)) if first.raw() == b"--fake-super" => rest,
        _ => words,
    };
    match words {
        [server, sender, rest @ ..] if server.raw() == b"--server" && sender.raw() == b"--sender" => {
            ConfinedRsync::parse_pull(&plain(rest)?).map(Request::Pull)
        }
        [server, rest @ ..] if server.raw() == b"--server" => push(rest),
        _ => refuse(
            "this is not how a stock rsync calls its other end (rsync --server ...): remove what --rsync-path adds",
        ),
    }
}

fn push(words: &[Word]) -> Result<Request, Refusal> {
    let mut plain_words = Vec::new();
    if let Some((destination, options)) = words.split_last() {
        plain_words = plain(options)?;
        plain_words.push(destination.plain_or_home()?.to_vec());
    }
    ConfinedRsync::parse_push(&plain_words).map(Request::Push)
}

fn plain(words: &[Word]) -> Result<Vec<Vec<u8>>, Refusal> {
    words.iter().map(|word| word.plain().map(<[u8]>::to_vec)).collect()
}

/// Most components of all patterns of a request together. It bounds the work for each directory that is
/// read, and is far above what paths of this many bytes need.
const MAX_COMPONENTS: usize = 8192;

/// Find patterns as they crossed ssh.
fn patterns(words: impl Iterator<Item = Vec<u8>>) -> Result<Vec<Pattern>, Refusal> {
    let patterns = words.map(|word| pattern(&word)).collect::<Result<Vec<_>, _>>()?;
    let components = patterns.iter().flat_map(Pattern::alternatives).map(Vec::len).sum::<usize>();
    if components > MAX_COMPONENTS {
        return refuse("the patterns are too much for one request: ask for them in several");
    }
    Ok(patterns)
}

fn pattern(word: &[u8]) -> Result<Pattern, Refusal> {
    let bytes = quoted_printable::decode(word)
        .map_err(|error| Refusal(format!("the pattern {} is no quoted-printable: {error}", shown(word))))?;
    Pattern::parse(&bytes)
        .map_err(|error| Refusal(format!("the pattern {} is refused: {error}", shown(&bytes))))
}

/// Which trees `--snapshot` means: `None` is all snapshots.
fn tree(word: &Word) -> Result<Option<Tree>, Refusal> {
    if word.text() == b"*" {
        return Ok(None);
    }
    let text = std::str::from_utf8(word.plain()?).ok();
    match text.and_then(|text| text.parse().ok()) {
        Some(tree) => Ok(Some(tree)),
        None => refuse(format!(
            "--snapshot {} is no snapshot's name: write one that byteback-restore --list shows, current, or *",
            shown(word.raw())
        )),
    }
}
