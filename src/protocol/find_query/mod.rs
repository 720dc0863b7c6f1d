//! What a listing or the former restore looks for: patterns over paths, compared as bytes and by
//! component, with bounds on everything, because an enemy writes them.
//!
//! `*` and `?` match within a component, `**` any number of directories, `[a-z]` and `[!a]` one byte of
//! a set, `{a,b}` either, and `\` takes the next byte as it is. A name that starts with a dot matches
//! only where the component's pattern starts with one.

mod braces;
mod glob;
mod walk;

use std::fmt;

use jiff::Timestamp;

use crate::model::Tree;

pub use self::glob::Glob;
pub use self::walk::Walk;

/// Longest pattern in bytes, as long as a path can be (`PATH_MAX` in limits.h).
pub const MAX_BYTES: usize = 4096;

/// Most alternatives that the braces of one pattern may stand for.
pub const MAX_ALTERNATIVES: usize = 64;

/// What is looked for, and how much of it is told.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag that crosses the wire")]
pub struct FindQuery {
    /// One tree, or all snapshots.
    pub tree: Option<Tree>,
    /// The newest snapshot that is not later, instead of all.
    pub at: Option<Timestamp>,
    /// Every version that differs, instead of the newest alone.
    pub all: bool,
    /// Every copy, also of what did not change.
    pub verbose: bool,
    /// Only what `current` no longer holds.
    pub deleted: bool,
    /// With how long each version stood; versions are then the states that a file had on the server.
    pub history: bool,
    /// What the paths must match; one of them is enough.
    pub patterns: Vec<Pattern>,
}

/// An absolute pattern, its braces expanded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pattern {
    text: Vec<u8>,
    alternatives: Vec<Vec<Component>>,
}

/// One component of a pattern.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Component {
    /// Exactly this name, never empty, `.` or `..`, without `/` or NUL: can be opened without a scan.
    Literal(Vec<u8>),
    /// Every name that matches.
    Glob(Glob),
    /// Any number of directories, also none, whose names do not start with a dot.
    AnyDepth,
}

/// Why a text is no [`Pattern`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PatternError {
    /// Does not start with a slash, in one of its alternatives at least.
    NotAbsolute,
    /// More than [`MAX_BYTES`].
    TooLong,
    /// Holds a NUL, which no path holds.
    Nul,
    /// A component that is `.` or `..`.
    Dots,
    /// Braces that stand for more than [`MAX_ALTERNATIVES`].
    TooManyAlternatives,
    /// Braces in braces, more than eight deep.
    TooDeep,
    /// Ends in a backslash that takes nothing.
    TrailingBackslash,
}

impl fmt::Display for PatternError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotAbsolute => f.write_str("it must start with '/'"),
            Self::TooLong => write!(f, "it is longer than {MAX_BYTES} bytes"),
            Self::Nul => f.write_str("it holds a NUL"),
            Self::Dots => f.write_str("'.' and '..' are no part of a path here"),
            Self::TooManyAlternatives => {
                write!(
                    f,
                    "its braces stand for more than {MAX_ALTERNATIVES} alternatives; ask in several patterns"
                )
            }
            Self::TooDeep => f.write_str("its braces stand more than eight deep"),
            Self::TrailingBackslash => f.write_str("it ends in a backslash"),
        }
    }
}

impl std::error::Error for PatternError {}

impl AsRef<[u8]> for Pattern {
    fn as_ref(&self) -> &[u8] {
        &self.text
    }
}

impl Pattern {
    /// Reads a pattern. Slashes may be doubled or stand at the end; they mean nothing there.
    ///
    /// # Errors
    /// One of [`PatternError`].
    pub fn parse(text: &[u8]) -> Result<Self, PatternError> {
        if text.len() > MAX_BYTES {
            return Err(PatternError::TooLong);
        }
        if text.contains(&0) {
            return Err(PatternError::Nul);
        }
        let mut alternatives = Vec::new();
        for alternative in braces::expand(text)? {
            let components = components(&alternative)?;
            if !alternatives.contains(&components) {
                alternatives.push(components);
            }
        }
        Ok(Self { text: text.to_vec(), alternatives })
    }

    /// The pattern as it was written.
    pub fn as_bytes(&self) -> &[u8] {
        &self.text
    }

    /// What it stands for: at least one list of components; an empty list is the root of the tree.
    pub fn alternatives(&self) -> &[Vec<Component>] {
        &self.alternatives
    }
}

/// Splits an alternative, in which `\` still quotes, at its slashes.
fn components(alternative: &[u8]) -> Result<Vec<Component>, PatternError> {
    if alternative.first() != Some(&b'/') {
        return Err(PatternError::NotAbsolute);
    }
    let mut components = Vec::new();
    for piece in split(alternative)? {
        let component = match piece.as_slice() {
            b"" => continue,
            b"**" => Component::AnyDepth,
            piece => Glob::parse(piece).into_component(),
        };
        match &component {
            Component::Literal(name) if name == b"." || name == b".." => return Err(PatternError::Dots),
            Component::AnyDepth if components.last() == Some(&component) => {}
            Component::Literal(_) | Component::Glob(_) | Component::AnyDepth => components.push(component),
        }
    }
    Ok(components)
}

/// The pieces between slashes. A quoted slash is a slash: no name holds one.
fn split(alternative: &[u8]) -> Result<Vec<Vec<u8>>, PatternError> {
    let mut pieces = vec![Vec::new()];
    let mut bytes = alternative.iter().copied();
    while let Some(byte) = bytes.next() {
        let quoted = match byte {
            b'\\' => Some(bytes.next().ok_or(PatternError::TrailingBackslash)?),
            _ => None,
        };
        if quoted.unwrap_or(byte) == b'/' {
            pieces.push(Vec::new());
        } else if let Some(piece) = pieces.last_mut() {
            piece.push(byte);
            piece.extend(quoted);
        }
    }
    Ok(pieces)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn literal(name: &str) -> Component {
        Component::Literal(name.as_bytes().to_vec())
    }

    fn alternatives(text: &str) -> Vec<Vec<Component>> {
        Pattern::parse(text.as_bytes()).unwrap().alternatives().to_vec()
    }

    #[test]
    fn what_has_no_wildcard_needs_no_scan() {
        assert_eq!(alternatives("/etc/passwd"), [[literal("etc"), literal("passwd")]]);
        assert_eq!(alternatives("//etc///x/"), [[literal("etc"), literal("x")]]);
        assert_eq!(alternatives("/a\\*b\\{c"), [[literal("a*b{c")]]);
        assert_eq!(alternatives("/a\\/b"), [[literal("a"), literal("b")]]);
        assert_eq!(alternatives("/"), [[]]);
        assert_eq!(alternatives("/**/**/x"), [[Component::AnyDepth, literal("x")]]);
    }

    #[test]
    fn braces_stand_for_each_alternative_once() {
        assert_eq!(alternatives("/{a,b}"), [[literal("a")], [literal("b")]]);
        assert_eq!(alternatives("/{a,a}"), [[literal("a")]]);
        assert_eq!(alternatives("/{a/b,c}/d").len(), 2);
    }

    #[test]
    fn what_leaves_the_tree_or_the_bounds_is_refused() {
        use PatternError::{Dots, NotAbsolute, Nul, TooLong, TooManyAlternatives, TrailingBackslash};
        let long = format!("/{}", "a".repeat(MAX_BYTES));
        for (text, why) in [
            ("", NotAbsolute),
            ("etc", NotAbsolute),
            ("{/a,b}", NotAbsolute),
            ("\\/", PatternError::NotAbsolute),
            ("/..", Dots),
            ("/a/../b", Dots),
            ("/a/./b", Dots),
            ("/\\.\\.", Dots),
            ("/.{.,x}", Dots),
            ("/{a,..}/b", Dots),
            ("/[.]{/..,}", Dots),
            ("/a\0b", Nul),
            ("/a\\", TrailingBackslash),
            (&long, TooLong),
            (&format!("/{}", "{a,b}".repeat(7)), TooManyAlternatives),
        ] {
            assert_eq!(Pattern::parse(text.as_bytes()), Err(why), "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn no_bytes_panic_and_no_literal_leaves_its_directory(
            text in "(/|\\*|\\?|\\[|\\]|\\{|\\}|,|\\\\|\\.|a|!|-|\u{e9}){0,40}"
        ) {
            if let Ok(pattern) = Pattern::parse(text.as_bytes()) {
                prop_assert!((1..=MAX_ALTERNATIVES).contains(&pattern.alternatives().len()));
                for component in pattern.alternatives().iter().flatten() {
                    if let Component::Literal(name) = component {
                        prop_assert!(!name.is_empty() && name != b"." && name != b"..");
                        prop_assert!(!name.contains(&b'/') && !name.contains(&0));
                    }
                }
            }
        }
    }
}
