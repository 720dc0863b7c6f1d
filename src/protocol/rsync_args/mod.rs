//! rsync's server arguments: a strict grammar of what stock clients send, and the command that is run
//! instead. What was understood is printed anew in a constant shape; what was not is refused. No byte
//! of the client ever stands where rsync reads an option.

mod cluster;
mod options;
mod refused;
mod sources;
mod values;

use std::ffi::OsString;
use std::fmt;
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;

use self::options::Options;
pub use self::sources::{MAX_SOURCES, Source};
use super::lexer::{Refusal, refuse};

/// Which way the files go, as the client sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Direction {
    /// A backup: the server's rsync receives.
    Push,
    /// A restore: the server's rsync sends.
    Pull,
}

impl fmt::Display for Direction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if *self == Self::Push { "push" } else { "pull" })
    }
}

/// A command that only touches what it should: made by the grammar alone.
///
/// A push is run with its working directory in `current`, a pull with its directory in the client's,
/// the one above `current` and the snapshots.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfinedRsync {
    direction: Direction,
    options: Options,
    sources: Vec<Source>,
}

/// The options of a pull whose sources are found out later.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PullOptions(Options);

/// What the server adds. Each of these was tested to leave the protocol as it is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Added {
    /// Seconds of `--timeout` where the client gave none; 0 adds none.
    pub default_timeout: u64,
    /// The absolute directory of `--confine-root`, which only rsync from 3.5 on knows.
    pub confine_root: Option<PathBuf>,
}

impl ConfinedRsync {
    /// Reads the words behind `rsync --server`.
    ///
    /// # Errors
    /// When anything in them is not what a stock client sends for a backup.
    pub fn parse_push(words: &[Vec<u8>]) -> Result<Self, Refusal> {
        let (options, destination) = split(words, Direction::Push)?;
        sources::check_destination(destination)?;
        Ok(Self { direction: Direction::Push, options, sources: Vec::new() })
    }

    /// Reads the words behind `rsync --server --sender`.
    ///
    /// # Errors
    /// When anything in them is not what a stock client sends for a restore of `TREE/path`.
    pub fn parse_pull(words: &[Vec<u8>]) -> Result<Self, Refusal> {
        let (options, words) = split(words, Direction::Pull)?;
        if words.len() > MAX_SOURCES {
            return refuse(format!(
                "the pull names {} sources, and more than {MAX_SOURCES} are refused",
                words.len()
            ));
        }
        let sources = words.iter().map(|word| Source::parse(word)).collect::<Result<Vec<_>, _>>()?;
        sources::check_one_tree(&sources)?;
        Self::pull(PullOptions(options), sources)
    }

    /// A pull of sources that the server found itself, in one tree or in several of the same client.
    ///
    /// # Errors
    /// When there is none, one could leave its tree, or they are too many bytes for one command.
    pub fn pull(options: PullOptions, sources: Vec<Source>) -> Result<Self, Refusal> {
        sources::check_all(&sources)?;
        Ok(Self { direction: Direction::Pull, options: options.0, sources })
    }

    /// How many seconds the client lets pass without a sign of life, if it says so.
    pub fn timeout(&self) -> Option<u64> {
        self.options.timeout()
    }

    /// Whether it writes nothing, so that it says nothing about the tree either.
    pub fn changes_nothing(&self) -> bool {
        self.options.changes_nothing()
    }

    /// What a pull sends; empty for a push.
    pub fn sources(&self) -> &[Source] {
        &self.sources
    }

    /// The words behind the program's name:
    /// `--server [--sender] OPTIONS [--timeout=N] [--confine-root=DIR] --fake-super -- . (. | SOURCES)`.
    ///
    /// `--fake-super` comes behind everything that could undo it, and `--` ends what rsync reads as
    /// options. Without the `--`, the words are what the same client could have sent: they parse to the
    /// same value again.
    pub fn argv(&self, added: &Added) -> Vec<OsString> {
        let mut argv: Vec<OsString> = vec!["--server".into()];
        if self.direction == Direction::Pull {
            argv.push("--sender".into());
        }
        argv.extend(self.options.print().into_iter().map(OsString::from));
        if added.default_timeout > 0 && self.options.timeout().is_none() {
            argv.push(format!("--timeout={}", added.default_timeout).into());
        }
        if let Some(root) = &added.confine_root {
            let mut word = OsString::from("--confine-root=");
            word.push(root);
            argv.push(word);
        }
        argv.extend(["--fake-super", "--", "."].map(OsString::from));
        match self.direction {
            Direction::Push => argv.push(".".into()),
            Direction::Pull => argv.extend(self.sources.iter().map(|s| OsString::from_vec(s.print()))),
        }
        argv
    }
}

impl PullOptions {
    /// Reads the words between `--server --sender` and `.`.
    ///
    /// # Errors
    /// When one of them is not what a stock client sends for a restore.
    pub fn parse(words: &[Vec<u8>]) -> Result<Self, Refusal> {
        Options::parse(words, Direction::Pull).map(Self)
    }
}

/// Options and what stands behind the `.` that ends them.
fn split(words: &[Vec<u8>], direction: Direction) -> Result<(Options, &[Vec<u8>]), Refusal> {
    let dot = words.iter().position(|word| word == b".").unwrap_or(words.len());
    let options = Options::parse(&words[..dot], direction)?;
    match words.get(dot + 1..) {
        Some(behind) => Ok((options, behind)),
        None => refuse("rsync's options must be followed by '.' and a path"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pull(sources: usize) -> Result<ConfinedRsync, Refusal> {
        let mut words = vec![b"-re.iLs".to_vec(), b".".to_vec()];
        words.extend(vec![b"current/x".to_vec(); sources]);
        ConfinedRsync::parse_pull(&words)
    }

    #[test]
    fn a_client_names_at_most_two_hundred_sources() {
        assert_eq!(pull(200).unwrap().sources().len(), 200);
        assert!(pull(201).unwrap_err().0.contains("201 sources"));
    }

    #[test]
    fn sources_that_the_server_found_are_checked_like_those_that_were_sent() {
        let options = || PullOptions::parse(&[b"-rRe.iLs".to_vec()]).unwrap();
        let named = |path: &[u8]| Source::named(crate::model::Tree::Current, path);
        let rsync = ConfinedRsync::pull(options(), vec![named(b"-a\nb")]).unwrap();
        assert_eq!(rsync.argv(&Added::default()).last().unwrap(), "current/./-a\nb");
        for path in [&b"../x"[..], b"a/../../x", b"a\0b", b"/x"] {
            assert!(ConfinedRsync::pull(options(), vec![named(path)]).is_err(), "{path:?}");
        }
    }
}
