//! A pattern for one name, compared as bytes. A match takes at most the name's length times the
//! pattern's, whatever an enemy writes.

use super::Component;

/// A compiled pattern for one component of a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Glob {
    tokens: Vec<Token>,
    /// Bytes of the shortest name that can match: all tokens but the stars take one each.
    shortest: usize,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Token {
    Byte(u8),
    AnyByte,
    AnyBytes,
    Set(Members),
}

/// One bit for each byte, so that a long set costs no more than a short one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Members([u64; 4]);

impl Members {
    fn has(self, byte: u8) -> bool {
        self.0[usize::from(byte >> 6)] >> (byte & 63) & 1 == 1
    }

    fn add(&mut self, byte: u8) {
        self.0[usize::from(byte >> 6)] |= 1 << (byte & 63);
    }
}

impl Glob {
    /// Compiles a piece that holds no slash and does not end in a backslash that quotes. A `[` without
    /// its `]` is an ordinary byte.
    pub(super) fn parse(piece: &[u8]) -> Self {
        let mut tokens = Vec::new();
        let mut rest = piece;
        while let Some((&byte, after)) = rest.split_first() {
            let (token, after) = match (byte, after) {
                (b'\\', [quoted, after @ ..]) => (Token::Byte(*quoted), after),
                (b'?', _) => (Token::AnyByte, after),
                (b'*', _) => (Token::AnyBytes, after),
                (b'[', _) => parse_set(after).unwrap_or((Token::Byte(b'['), after)),
                _ => (Token::Byte(byte), after),
            };
            if token != Token::AnyBytes || tokens.last() != Some(&Token::AnyBytes) {
                tokens.push(token);
            }
            rest = after;
        }
        let shortest = tokens.iter().filter(|token| **token != Token::AnyBytes).count();
        Self { tokens, shortest }
    }

    /// A literal if nothing in it is a wildcard.
    pub(super) fn into_component(self) -> Component {
        let bytes = self.tokens.iter().map(|token| match token {
            Token::Byte(byte) => Some(*byte),
            Token::AnyByte | Token::AnyBytes | Token::Set(_) => None,
        });
        match bytes.collect::<Option<Vec<u8>>>() {
            Some(name) => Component::Literal(name),
            None => Component::Glob(self),
        }
    }

    /// Whether the name of a file matches. `.` and `..` never do, and another name that starts with a
    /// dot only if the pattern itself starts with one.
    pub fn matches(&self, name: &[u8]) -> bool {
        let hidden = name.first() == Some(&b'.');
        if name == b"." || name == b".." || (hidden && self.tokens.first() != Some(&Token::Byte(b'.'))) {
            return false;
        }
        name.len() >= self.shortest && self.matches_all(name)
    }

    /// After a mismatch only the last `*` needs to take one byte more: what an earlier one took is as
    /// good as anything else that it could have taken.
    fn matches_all(&self, name: &[u8]) -> bool {
        let (mut token, mut at) = (0, 0);
        let mut last_star = None;
        while at < name.len() {
            match self.tokens.get(token) {
                Some(Token::AnyBytes) => {
                    last_star = Some((token + 1, at));
                    token += 1;
                }
                Some(one) if one.takes(name[at]) => (token, at) = (token + 1, at + 1),
                _ => {
                    let Some((behind, end)) = last_star else { return false };
                    last_star = Some((behind, end + 1));
                    (token, at) = (behind, end + 1);
                }
            }
        }
        self.tokens[token..].iter().all(|rest| *rest == Token::AnyBytes)
    }
}

impl Token {
    fn takes(&self, byte: u8) -> bool {
        match self {
            Self::Byte(own) => *own == byte,
            Self::AnyByte => true,
            Self::AnyBytes => false,
            Self::Set(members) => members.has(byte),
        }
    }
}

/// What stands behind a `[`: the set, and what follows its `]`. A `]` in first place is a member.
fn parse_set(text: &[u8]) -> Option<(Token, &[u8])> {
    let (negated, start) = match text {
        [b'!' | b'^', rest @ ..] => (true, rest),
        _ => (false, text),
    };
    let mut members = Members([0; 4]);
    let mut rest = start;
    while rest.len() == start.len() || rest.first() != Some(&b']') {
        let (low, after) = member(rest)?;
        let (high, after) = match after {
            [b'-', end @ ..] if end.first().is_some_and(|b| *b != b']') => member(end)?,
            _ => (low, after),
        };
        (low..=high).for_each(|byte| members.add(byte));
        rest = after;
    }
    let members = if negated { Members(members.0.map(|bits| !bits)) } else { members };
    Some((Token::Set(members), &rest[1..]))
}

fn member(text: &[u8]) -> Option<(u8, &[u8])> {
    match text {
        [b'\\', quoted, rest @ ..] => Some((*quoted, rest)),
        [byte, rest @ ..] => Some((*byte, rest)),
        [] => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::time::{Duration, Instant};

    fn matches(pattern: &[u8], name: &[u8]) -> bool {
        Glob::parse(pattern).matches(name)
    }

    #[test]
    fn wildcards_match_as_the_manual_says() {
        for (pattern, yes, no) in [
            (&b"*"[..], &[&b"a"[..], b"abc", b"\xff"][..], &[&b".a"[..], b".", b".."][..]),
            (b"*.conf", &[b"a.conf", b"a.conf.conf"], &[b".conf", b"a.confx"]),
            (b".*", &[b".a", b".conf"], &[b"a", b".", b".."]),
            (b"\\.*", &[b".a"], &[b"a"]),
            (b"?", &[b"a"], &[b"", b"ab", b"."]),
            (b"[a-c]x", &[b"ax", b"cx"], &[b"dx", b"x"]),
            (b"[!a-c]", &[b"d"], &[b"a", b"."]),
            (b"[^a]", &[b"b"], &[b"a"]),
            (b"[.]a", &[], &[b".a"]),
            (b"[]a]", &[b"]", b"a"], &[b"b"]),
            (b"[\\]a]", &[b"]", b"a"], &[b"\\"]),
            (b"[a-]", &[b"a", b"-"], &[b"b"]),
            (b"[z-a]*", &[], &[b"m"]),
            (b"[a*", &[b"[a", b"[abc"], &[b"a"]),
            (b"a\\**", &[b"a*", b"a*b"], &[b"ab"]),
            (b"a**b", &[b"ab", b"axb"], &[b"a"]),
        ] {
            for name in yes {
                assert!(matches(pattern, name), "{pattern:?} {name:?}");
            }
            for name in no {
                assert!(!matches(pattern, name), "{pattern:?} {name:?}");
            }
        }
    }

    #[test]
    fn a_pattern_of_stars_does_not_explode() {
        let pattern = [&b"a*".repeat(2000)[..], b"b"].concat();
        let start = Instant::now();
        assert!(!matches(&pattern, &[b'a'; 255]));
        assert!(start.elapsed() < Duration::from_secs(1));
    }

    /// The definition of `*`, tried in every way.
    fn naive(tokens: &[Token], name: &[u8]) -> bool {
        match (tokens.split_first(), name.split_first()) {
            (None, rest) => rest.is_none(),
            (Some((Token::AnyBytes, after)), _) => (0..=name.len()).any(|taken| naive(after, &name[taken..])),
            (Some((one, after)), Some((byte, rest))) => one.takes(*byte) && naive(after, rest),
            (Some(_), None) => false,
        }
    }

    proptest! {
        #[test]
        fn the_fast_way_agrees_with_the_definition(pattern in "[ab*?\\[\\]!-]{0,9}", name in "[ab-]{0,9}") {
            let glob = Glob::parse(pattern.as_bytes());
            prop_assert_eq!(glob.matches(name.as_bytes()), naive(&glob.tokens, name.as_bytes()));
        }
    }
}
