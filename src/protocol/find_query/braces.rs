//! `{a,b}` in a pattern: written out as every alternative, with `\` still in place. The work is bounded
//! by the alternatives that may come out, whatever the braces look like.

use super::{MAX_ALTERNATIVES, PatternError};

/// Deepest nesting; each level is one level of recursion.
const MAX_DEPTH: usize = 8;

/// Every alternative. A brace without its partner is an ordinary byte.
pub(super) fn expand(text: &[u8]) -> Result<Vec<Vec<u8>>, PatternError> {
    let partners = partners(text)?;
    Text { text, partners }.sequence(0, text.len(), 0)
}

/// For each opening brace with a partner, where that stands.
fn partners(text: &[u8]) -> Result<Vec<Option<usize>>, PatternError> {
    let mut partners = vec![None; text.len()];
    let mut open = Vec::new();
    let mut at = 0;
    while at < text.len() {
        match text[at] {
            b'\\' if at + 1 == text.len() => return Err(PatternError::TrailingBackslash),
            b'\\' => at += 1,
            b'{' => open.push(at),
            b'}' => {
                if let Some(start) = open.pop() {
                    partners[start] = Some(at);
                }
            }
            _ => {}
        }
        at += 1;
    }
    Ok(partners)
}

struct Text<'a> {
    text: &'a [u8],
    partners: Vec<Option<usize>>,
}

impl Text<'_> {
    /// The alternatives of the stretch from `start` up to `end`, which cuts no group in two.
    fn sequence(&self, start: usize, end: usize, depth: usize) -> Result<Vec<Vec<u8>>, PatternError> {
        if depth > MAX_DEPTH {
            return Err(PatternError::TooDeep);
        }
        let mut alternatives = vec![Vec::new()];
        let mut at = start;
        while at < end {
            if let Some(close) = self.partners[at] {
                alternatives = product(&alternatives, &self.group(at + 1, close, depth)?)?;
                at = close + 1;
                continue;
            }
            let length = if self.text[at] == b'\\' { 2 } else { 1 };
            for alternative in &mut alternatives {
                alternative.extend_from_slice(&self.text[at..at + length]);
            }
            at += length;
        }
        Ok(alternatives)
    }

    /// The alternatives of what stands between two braces: those of each part between its own commas.
    fn group(&self, start: usize, end: usize, depth: usize) -> Result<Vec<Vec<u8>>, PatternError> {
        let mut alternatives = Vec::new();
        let mut part = start;
        let mut at = start;
        while at <= end {
            if at == end || self.text[at] == b',' {
                alternatives.extend(self.sequence(part, at, depth + 1)?);
                part = at + 1;
            }
            if alternatives.len() > MAX_ALTERNATIVES {
                return Err(PatternError::TooManyAlternatives);
            }
            at = match self.partners.get(at).copied().flatten() {
                Some(close) => close + 1,
                None if self.text[at] == b'\\' => at + 2,
                None => at + 1,
            };
        }
        Ok(alternatives)
    }
}

/// Each of the first followed by each of the second.
fn product(first: &[Vec<u8>], second: &[Vec<u8>]) -> Result<Vec<Vec<u8>>, PatternError> {
    if first.len() * second.len() > MAX_ALTERNATIVES {
        return Err(PatternError::TooManyAlternatives);
    }
    Ok(first.iter().flat_map(|head| second.iter().map(move |tail| [&head[..], tail].concat())).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn expanded(text: &str) -> Vec<String> {
        let bytes = expand(text.as_bytes()).unwrap();
        bytes.into_iter().map(|b| String::from_utf8(b).unwrap()).collect()
    }

    #[test]
    fn groups_are_written_out_from_left_to_right() {
        for (text, alternatives) in [
            ("a", &["a"][..]),
            ("{a,b}{c,d}", &["ac", "ad", "bc", "bd"]),
            ("a{b,c{d,e}f}g", &["abg", "acdfg", "acefg"]),
            ("{a}", &["a"]),
            ("x{}", &["x"]),
            ("{,a}", &["", "a"]),
            ("{a,}", &["a", ""]),
            ("a,b", &["a,b"]),
            ("{a\\,b,c}", &["a\\,b", "c"]),
            ("\\{a,b}", &["\\{a,b}"]),
            ("{a\\},b}", &["a\\}", "b"]),
            ("{a,b", &["{a,b"]),
            ("a}b", &["a}b"]),
            ("{{a,b}", &["{a", "{b"]),
            ("{a{b,c}", &["{ab", "{ac"]),
        ] {
            assert_eq!(expanded(text), alternatives, "{text}");
        }
    }

    #[test]
    fn a_bomb_is_refused_before_it_is_written_out() {
        for bomb in
            ["{a,b}".repeat(800), format!("{{{}}}", ",".repeat(4000)), "{,}{,}{,}{,}{,}{,}{,}".to_owned()]
        {
            assert_eq!(expand(bomb.as_bytes()), Err(PatternError::TooManyAlternatives));
        }
        let deep = format!("{}{}", "{".repeat(2000), "}".repeat(2000));
        assert_eq!(expand(deep.as_bytes()), Err(PatternError::TooDeep));
        assert_eq!(expand("{}".repeat(2000).as_bytes()).unwrap(), [b""]);
        assert_eq!(expand("{".repeat(4000).as_bytes()).unwrap().len(), 1);
    }
}
