//! The one group of short options, such as `-logDtpre.iLsfxCIvu`: letters, each at most so often, and
//! behind an `e` what the client's rsync can do (`maybe_add_e_option` in rsync's options.c).

use super::{Direction, refused};
use crate::protocol::lexer::{Refusal, refuse, shown};

/// Each letter with how often it may stand in a push and in a pull, in the order in which rsync's
/// `server_options` writes them.
const LETTERS: [(u8, u8, u8); 30] = [
    (b'v', 3, 3),
    (b'q', 1, 1),
    (b'b', 1, 1),
    (b'u', 1, 1),
    (b'n', 1, 1),
    (b'l', 1, 1),
    (b'd', 1, 1),
    (b'm', 1, 0),
    (b'O', 1, 0),
    (b'J', 1, 0),
    (b'y', 2, 0),
    (b'W', 1, 1),
    (b'H', 2, 2),
    (b'o', 1, 1),
    (b'g', 1, 1),
    (b'D', 1, 1),
    (b't', 1, 1),
    (b'U', 2, 2),
    (b'p', 1, 1),
    (b'E', 1, 0),
    (b'A', 1, 1),
    (b'X', 1, 1),
    (b'r', 1, 1),
    (b'c', 1, 1),
    (b'C', 1, 1),
    (b'I', 1, 1),
    (b'R', 1, 1),
    (b'x', 2, 2),
    (b'S', 1, 1),
    (b'z', 1, 1),
];

/// The letters that were given, and the client's capabilities. Without anything it prints as nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Cluster {
    counts: [u8; LETTERS.len()],
    /// What stands behind the `e`, its dot included; clients that speak protocol 29 send none.
    capabilities: Option<String>,
}

impl Cluster {
    /// Whether a word is meant as a group of letters; `-B` and `-@` take a number and stand alone.
    pub(super) fn is_short(word: &[u8]) -> bool {
        matches!(word, [b'-', second, ..] if !b"-B@".contains(second))
    }

    pub(super) fn parse(word: &[u8], direction: Direction) -> Result<Self, Refusal> {
        let mut cluster = Self::default();
        let letters = word.strip_prefix(b"-").unwrap_or(word);
        for (at, letter) in letters.iter().enumerate() {
            if *letter == b'e' {
                cluster.capabilities = Some(parse_capabilities(&letters[at + 1..])?);
                break;
            }
            cluster.add(*letter, direction)?;
        }
        Ok(cluster)
    }

    fn add(&mut self, letter: u8, direction: Direction) -> Result<(), Refusal> {
        let option = [b'-', letter];
        let Some(at) = LETTERS.iter().position(|(known, ..)| *known == letter) else {
            return Err(refused::unknown(&option, direction));
        };
        let (_, push, pull) = LETTERS[at];
        let most = if direction == Direction::Push { push } else { pull };
        if most == 0 {
            return Err(refused::unknown(&option, direction));
        }
        if self.counts[at] == most {
            return Err(refused::too_often(&option, most));
        }
        self.counts[at] += 1;
        Ok(())
    }

    /// Whether this letter was given.
    pub(super) fn has(&self, letter: u8) -> bool {
        LETTERS.iter().zip(self.counts).any(|((known, ..), count)| *known == letter && count > 0)
    }

    /// The word that is run, if there is anything to say.
    pub(super) fn print(&self) -> Option<String> {
        let mut word = String::from("-");
        for ((letter, ..), count) in LETTERS.iter().zip(self.counts) {
            word.extend((0..count).map(|_| char::from(*letter)));
        }
        if let Some(capabilities) = &self.capabilities {
            word.push('e');
            word.push_str(capabilities);
        }
        (word.len() > 1).then_some(word)
    }
}

/// Up to two digits, a dot, up to three digits, up to sixteen letters. Without the dot an empty text
/// would be possible, and a group that ends in a bare `e` makes rsync take the next word as its value.
fn parse_capabilities(text: &[u8]) -> Result<String, Refusal> {
    let (_, rest) = take(text, 2, u8::is_ascii_digit);
    let fits = rest.split_first().is_some_and(|(dot, rest)| {
        let (_, letters) = take(rest, 3, u8::is_ascii_digit);
        *dot == b'.' && take(letters, 16, u8::is_ascii_alphabetic).1.is_empty()
    });
    if !fits {
        return refuse(format!(
            "{} is not how rsync tells its capabilities, which is e.LsfxCIvu or the like; a shell cannot be chosen",
            shown(&[b"e", text].concat())
        ));
    }
    Ok(text.iter().copied().map(char::from).collect())
}

/// Splits behind the first bytes that fit, at most so many.
fn take(text: &[u8], most: usize, fits: fn(&u8) -> bool) -> (&[u8], &[u8]) {
    let length = text.iter().take(most).take_while(|b| fits(b)).count();
    text.split_at(length)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn printed(word: &str, direction: Direction) -> Option<String> {
        Cluster::parse(word.as_bytes(), direction).ok()?.print()
    }

    #[test]
    fn letters_are_printed_in_rsyncs_own_order() {
        for word in ["-vlogDtpXrRe.iLsfxCIvu", "-e.LsfxCIvu", "-l", "-lyyogDtpre31.14iLs", "-logDtpre."] {
            assert_eq!(printed(word, Direction::Push).as_deref(), Some(word));
        }
        assert_eq!(printed("-rtplDgoe.", Direction::Pull).as_deref(), Some("-logDtpre."));
    }

    #[test]
    fn an_e_without_its_dot_cannot_swallow_the_next_word() {
        for word in
            ["-re", "-rei", "-resh", "-re31", "-re/bin/sh.", "-re.i x", "-re.123456", "-re123.", "-re.i.s"]
        {
            assert_eq!(printed(word, Direction::Push), None, "{word}");
        }
        assert_eq!(printed("-re.abcdefghijklmnopq", Direction::Push), None, "seventeen letters");
    }

    #[test]
    fn each_letter_stands_at_most_as_often_as_it_makes_sense() {
        for (word, push, pull) in [
            ("-vvv", true, true),
            ("-vvvv", false, false),
            ("-yy", true, false),
            ("-XX", false, false),
            ("-HHxxUU", true, true),
            ("-HHH", false, false),
            ("-ll", false, false),
            ("-E", true, false),
            ("-L", false, false),
            ("-s", false, false),
        ] {
            assert_eq!(printed(word, Direction::Push).is_some(), push, "push {word}");
            assert_eq!(printed(word, Direction::Pull).is_some(), pull, "pull {word}");
        }
    }
}
