//! What a pull asks for, `TREE/path`, and where a push says that it wants to write, which is ignored.

use crate::model::Tree;
use crate::protocol::lexer::{Refusal, refuse, shown};

/// Most sources that a client may name itself.
pub const MAX_SOURCES: usize = 200;

/// Longest source in bytes, so that rsync (`MAXPATHLEN`) never cuts one short.
const MAX_LENGTH: usize = 4000;

/// Most bytes of sources in one command, far below what execve(2) takes (`ARG_MAX`).
const MAX_TOTAL: usize = 512 * 1024;

/// Something in one of the client's trees that rsync is to send.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    /// The tree that it stands in.
    pub tree: Tree,
    /// The path below the tree's root, as it was asked for: without a leading slash, with its trailing
    /// slash and its `/./` if it has them; empty for the root itself.
    pub path: Vec<u8>,
    /// Whether a slash stands behind the tree's name: `TREE/` is what it holds, `TREE` is itself.
    pub slash: bool,
}

impl Source {
    /// A file of a tree that rsync, called with `--relative`, sends by exactly this path: `TREE/./path`.
    pub fn named(tree: Tree, path: &[u8]) -> Self {
        Self { tree, path: [b"./", path].concat(), slash: true }
    }

    /// Reads `["/"] TREE ["/" path]`.
    pub(super) fn parse(word: &[u8]) -> Result<Self, Refusal> {
        let inner = word.strip_prefix(b"/").unwrap_or(word);
        let (tree, path) = match inner.iter().position(|b| *b == b'/') {
            Some(at) => (&inner[..at], Some(&inner[at + 1..])),
            None => (inner, None),
        };
        let Some(tree) = std::str::from_utf8(tree).ok().and_then(|tree| tree.parse().ok()) else {
            return refuse(format!(
                "{} names no tree: write SNAPSHOT/path or current/path; byteback-restore --list shows what there is",
                shown(word)
            ));
        };
        let source = Self { tree, path: path.unwrap_or_default().to_vec(), slash: path.is_some() };
        source.check()?;
        Ok(source)
    }

    /// The word that is run. It starts with a tree's name, hence never with a `-` or a `/`.
    pub(super) fn print(&self) -> Vec<u8> {
        let mut word = self.tree.as_str().as_bytes().to_vec();
        if self.slash {
            word.push(b'/');
            word.extend_from_slice(&self.path);
        }
        word
    }

    fn check(&self) -> Result<(), Refusal> {
        let why = if self.path.contains(&0) {
            "it holds a NUL"
        } else if !self.slash && !self.path.is_empty() {
            "no slash stands behind the tree's name"
        } else if self.print().len() > MAX_LENGTH {
            "it is too long"
        } else if has_parent(&self.path) {
            "'..' is no part of a path here"
        } else if self.path.starts_with(b"/") || self.path.windows(2).any(|pair| pair == b"//") {
            "it holds two slashes in a row"
        } else {
            return Ok(());
        };
        refuse(format!("the source {} is refused: {why}", shown(&self.print())))
    }
}

/// Checks that what a client named lies in one tree.
pub(super) fn check_one_tree(sources: &[Source]) -> Result<(), Refusal> {
    let Some(first) = sources.first() else { return Ok(()) };
    if let Some(other) = sources.iter().find(|source| source.tree != first.tree) {
        return refuse(format!(
            "the sources lie in two trees, {} and {}: restore from one at a time",
            first.tree, other.tree
        ));
    }
    Ok(())
}

/// Checks a pull's sources together: at least one, none that could leave its tree, not too much for
/// one command.
pub(super) fn check_all(sources: &[Source]) -> Result<(), Refusal> {
    if sources.is_empty() {
        return refuse("the pull names nothing: write SNAPSHOT/path behind host:");
    }
    sources.iter().try_for_each(Source::check)?;
    if sources.iter().map(|source| source.print().len() + 1).sum::<usize>() > MAX_TOTAL {
        return refuse("the pull names too much for one command: name a directory above instead");
    }
    Ok(())
}

/// Checks the words behind a push's `.`. The path is never used: it only has to be one word that could
/// do no harm if it were.
pub(super) fn check_destination(words: &[Vec<u8>]) -> Result<(), Refusal> {
    let [word] = words else {
        return refuse(format!(
            "a push has one destination and this one has {}: write nothing behind host: and no --old-args",
            words.len()
        ));
    };
    let harmless = word.len() <= 1024 && !word.starts_with(b"-") && !has_parent(word);
    if !harmless || word.is_empty() || word.contains(&0) || std::str::from_utf8(word).is_err() {
        return refuse(format!("the destination {} is refused: write nothing behind host:", shown(word)));
    }
    Ok(())
}

fn has_parent(path: &[u8]) -> bool {
    path.split(|b| *b == b'/').any(|component| component == b"..")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const TREE: &str = "2026-11-20T23:47+0000";

    fn printed(word: &[u8]) -> Option<Vec<u8>> {
        Source::parse(word).ok().map(|source| source.print())
    }

    #[test]
    fn a_source_comes_out_as_it_was_asked_for() {
        for path in ["", "/", "/etc", "/etc/", "/./etc/x", "/a/./b", "/-x", "/etc/.", "/..a", "/a~", "/a\\b"]
        {
            let word = format!("{TREE}{path}");
            assert_eq!(printed(word.as_bytes()).unwrap(), word.as_bytes());
            assert_eq!(
                printed(format!("/{word}").as_bytes()).unwrap(),
                word.as_bytes(),
                "a leading slash goes"
            );
        }
        assert_eq!(printed(b"current/\xff").unwrap(), b"current/\xff");
        assert_eq!(printed(b"saved-hacked/x").unwrap(), b"saved-hacked/x");
    }

    #[test]
    fn what_could_leave_the_tree_is_refused() {
        for word in [
            "",
            "/",
            ".",
            "./",
            "..",
            "//",
            "../current/x",
            "-x/y",
            "--log-file=x",
            "~",
            ".byteback/x",
            ".ssh/id",
            "current/..",
            "current/../x",
            "current/a/../b",
            "current/a/..",
            "current//etc",
            "current/a//b",
            "//current/x",
            "./current/x",
            "current\0/x",
            "current/a\0b",
            "/etc/passwd/..",
            "CURRENT..",
        ] {
            assert_eq!(printed(word.as_bytes()), None, "{word:?}");
        }
        assert_eq!(printed(format!("current/{}", "a/".repeat(2500)).as_bytes()), None);
    }

    #[test]
    fn another_clients_tree_cannot_be_named() {
        // What stands first is always one component below the client's own directory.
        assert_eq!(printed(b"/srv/backups/other/current/x").unwrap(), b"srv/backups/other/current/x");
    }

    #[test]
    fn one_pull_reads_one_tree() {
        let one = Source::parse(b"current/a").unwrap();
        let other = Source::parse(TREE.as_bytes()).unwrap();
        assert!(check_one_tree(&[one.clone(), one.clone()]).is_ok());
        assert!(check_one_tree(&[one.clone(), other]).unwrap_err().0.contains("two trees"));
        assert!(check_all(std::slice::from_ref(&one)).is_ok());
        assert!(check_all(&[]).is_err());
        let forged = Source { path: b"../x".to_vec(), ..one.clone() };
        assert!(check_all(&[one.clone(), forged]).is_err(), "a source that was changed is checked again");
        let long = Source::named(Tree::Current, &[b'x'; 3900]);
        assert!(check_all(&vec![long; 200]).is_err());
    }

    #[test]
    fn a_destination_is_one_harmless_word() {
        let check = |words: &[&[u8]]| {
            check_destination(&words.iter().map(|w| w.to_vec()).collect::<Vec<_>>()).is_ok()
        };
        for good in [&b"."[..], b"/dest", b"current/", b"/a b/c'd", b"~/x", "/\u{e9}".as_bytes(), b"./-dash"]
        {
            assert!(check(&[good]), "{good:?}");
        }
        for bad in [&b""[..], b"-x", b"--daemon", b"..", b"/a/../b", b"a/..", b"\xff", &[b'a'; 1025]] {
            assert!(!check(&[bad]), "{bad:?}");
        }
        assert!(!check(&[]) && !check(&[b"/evil", b"."]));
    }

    proptest! {
        #[test]
        fn what_is_printed_is_beneath_a_tree_and_parses_to_the_same(path in "[a./ -]{0,20}") {
            for word in [format!("current{path}"), format!("current/{path}"), path.clone()] {
                if let Ok(source) = Source::parse(word.as_bytes()) {
                    let printed = source.print();
                    prop_assert!(printed[0].is_ascii_alphanumeric());
                    prop_assert!(!has_parent(&printed));
                    prop_assert_eq!(Source::parse(&printed).unwrap(), source);
                }
            }
        }
    }
}
