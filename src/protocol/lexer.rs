//! Splits `SSH_ORIGINAL_COMMAND` into words: bytes in, words out, with nothing but rsync's own
//! backslash quoting. No shell is involved anywhere, so a shell's characters are refused rather than
//! given a meaning. What a word means is never decided here.

use std::fmt;

use crate::model::{Failure, escaped};

/// Longest command that is looked at, in bytes; the longest honest one is a restore of many paths.
pub const MAX_BYTES: usize = 16 * 1024;

/// Most words in one command.
pub const MAX_WORDS: usize = 256;

/// Most client bytes that an error repeats.
const MAX_SHOWN: usize = 60;

/// Why a request is refused: one sentence, in which the client's bytes are escaped and shortened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal(pub String);

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Refusal {}

impl From<Refusal> for Failure {
    fn from(refusal: Refusal) -> Self {
        Self::refused(refusal.0)
    }
}

/// A refusal as an `Err`, for the many places that give one.
pub(crate) fn refuse<T>(sentence: impl Into<String>) -> Result<T, Refusal> {
    Err(Refusal(sentence.into()))
}

/// Client bytes for an error: escaped, in quotes, no longer than a line can bear.
pub(crate) fn shown(bytes: &[u8]) -> String {
    match bytes.get(..MAX_SHOWN) {
        Some(start) if bytes.len() > MAX_SHOWN => format!("'{}'... ({} bytes)", escaped(start), bytes.len()),
        _ => format!("'{}'", escaped(bytes)),
    }
}

/// A command as words, at least one of them, none empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// The words in order.
    pub words: Vec<Word>,
    /// One space stood behind the last word: ssh's way to send an empty last argument.
    pub trailing_space: bool,
}

/// One word, which still knows what was quoted in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Word {
    raw: Vec<u8>,
    text: Vec<u8>,
    bare: Option<u8>,
    bare_tilde: bool,
}

/// Splits a command into words.
///
/// # Errors
/// When it is empty, too long, holds a control character, spaces that do not separate two words, or a
/// backslash that rsync would not have written (`safe_arg` in its options.c quotes only what is
/// neither letter nor digit).
pub fn words(line: &[u8]) -> Result<Line, Refusal> {
    if line.len() > MAX_BYTES {
        return refuse(format!(
            "the command has {} bytes, and more than {MAX_BYTES} are refused",
            line.len()
        ));
    }
    if let Some(byte) = line.iter().find(|b| b.is_ascii_control()) {
        return refuse(format!("the command holds the control character \\x{byte:02x}"));
    }
    let mut pieces = pieces(line)?;
    let trailing_space = pieces.len() > 1 && pieces.last().is_some_and(|last| last.is_empty());
    if trailing_space {
        pieces.pop();
    }
    if pieces.iter().any(|piece| piece.is_empty()) {
        return refuse("the command holds an empty word: exactly one space may stand between two words");
    }
    if pieces.len() > MAX_WORDS {
        return refuse(format!(
            "the command has {} words, and more than {MAX_WORDS} are refused",
            pieces.len()
        ));
    }
    Ok(Line { words: pieces.into_iter().map(Word::unquote).collect(), trailing_space })
}

/// The stretches between unquoted spaces.
fn pieces(line: &[u8]) -> Result<Vec<&[u8]>, Refusal> {
    let mut pieces = Vec::new();
    let (mut start, mut at) = (0, 0);
    while let Some(byte) = line.get(at) {
        match byte {
            b'\\' => {
                check_quoted(line.get(at + 1).copied())?;
                at += 1;
            }
            b' ' => {
                pieces.push(&line[start..at]);
                start = at + 1;
            }
            _ => {}
        }
        at += 1;
    }
    pieces.push(&line[start..]);
    Ok(pieces)
}

fn check_quoted(byte: Option<u8>) -> Result<(), Refusal> {
    match byte {
        None => refuse("the command ends in a backslash"),
        Some(b) if b.is_ascii_alphanumeric() || !b.is_ascii() => {
            refuse("the command holds a backslash before a letter, a digit or a byte that is not ASCII")
        }
        Some(_) => Ok(()),
    }
}

/// What a shell would act on anywhere in a word. A tilde is none of it: a shell looks for it at a word's
/// start alone, and names such as `notes.txt~` come unquoted from every rsync.
const META: &[u8] = b"\"'`$&|;<>(){}!*?[]";

impl Word {
    fn unquote(raw: &[u8]) -> Self {
        let bare_tilde = raw.starts_with(b"~");
        let mut word =
            Self { raw: raw.to_vec(), text: Vec::with_capacity(raw.len()), bare: None, bare_tilde };
        let mut bytes = raw.iter().copied();
        while let Some(byte) = bytes.next() {
            if byte == b'\\' {
                word.text.extend(bytes.next());
                continue;
            }
            if META.contains(&byte) {
                word.bare = word.bare.or(Some(byte));
            }
            word.text.push(byte);
        }
        word
    }

    /// The bytes that are meant, of a word in which every character that a shell would act on is
    /// quoted, as a stock rsync quotes it.
    ///
    /// # Errors
    /// When one is not.
    pub fn plain(&self) -> Result<&[u8], Refusal> {
        self.plain_except_tilde(false)
    }

    /// As [`Word::plain`], but a `~` may stand in front: a stock rsync leaves it to the remote shell where
    /// it sends a push's destination.
    ///
    /// # Errors
    /// As [`Word::plain`].
    pub fn plain_or_home(&self) -> Result<&[u8], Refusal> {
        self.plain_except_tilde(true)
    }

    fn plain_except_tilde(&self, tilde: bool) -> Result<&[u8], Refusal> {
        match self.bare.or((self.bare_tilde && !tilde).then_some(b'~')) {
            None => Ok(&self.text),
            Some(byte) => refuse(format!(
                "{} holds an unquoted '{}': no shell reads this command; write a backslash before it",
                shown(&self.raw),
                char::from(byte)
            )),
        }
    }

    /// The bytes that are meant, whatever was quoted in them.
    pub fn text(&self) -> &[u8] {
        &self.text
    }

    /// The bytes exactly as they came.
    pub fn raw(&self) -> &[u8] {
        &self.raw
    }

    /// What a stock rsync had as its argument before it quoted it as a remote file's name: its
    /// `safe_arg` writes a backslash before a shell's characters, but leaves one that stood before a
    /// wildcard as it was.
    pub fn wildcard_argument(&self) -> Vec<u8> {
        let mut argument = Vec::with_capacity(self.raw.len());
        let mut bytes = self.raw.iter().copied();
        while let Some(byte) = bytes.next() {
            let Some(quoted) = (byte == b'\\').then(|| bytes.next()).flatten() else {
                argument.push(byte);
                continue;
            };
            if b"*?[]".contains(&quoted) {
                argument.push(b'\\');
            }
            argument.push(quoted);
        }
        argument
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn texts(line: &[u8]) -> Vec<Vec<u8>> {
        words(line).unwrap().words.iter().map(|w| w.text().to_vec()).collect()
    }

    #[test]
    fn one_space_separates_and_a_backslash_quotes() {
        assert_eq!(texts(b"a b"), [b"a", b"b"]);
        assert_eq!(texts(b"/a\\ b/c\\'d x"), [b"/a b/c'd".to_vec(), b"x".to_vec()]);
        assert_eq!(texts(b"a\\\\"), [b"a\\"]);
        assert_eq!(texts(b"\xff\xc3\xa9"), [b"\xff\xc3\xa9"]);
        assert_eq!(texts(b"a\\ "), [b"a "], "a quoted space at the end is no trailing space");
    }

    #[test]
    fn a_trailing_space_is_told_and_no_other_empty_word_exists() {
        assert!(words(b"a ").unwrap().trailing_space);
        assert!(!words(b"a").unwrap().trailing_space);
        for line in [&b""[..], b" ", b"  ", b" a", b"a  b", b"a  "] {
            assert!(words(line).is_err(), "{line:?}");
        }
    }

    #[test]
    fn no_byte_that_could_end_a_line_or_an_argument_gets_in() {
        for byte in (0..0x20).chain([0x7f]) {
            assert!(words(&[b'a', byte, b'b']).is_err(), "{byte:#x}");
            assert!(words(&[b'a', b'\\', byte]).is_err(), "quoted {byte:#x}");
        }
        for line in [&b"a\\"[..], b"a\\b", b"\\0", b"\\\xc3\xa9"] {
            assert!(words(line).is_err(), "{line:?}");
        }
    }

    #[test]
    fn length_and_number_of_words_are_bounded() {
        assert!(words(&vec![b'a'; MAX_BYTES]).is_ok());
        assert!(words(&vec![b'a'; MAX_BYTES + 1]).is_err());
        assert!(words(vec!["a"; MAX_WORDS].join(" ").as_bytes()).is_ok());
        assert!(words(vec!["a"; MAX_WORDS + 1].join(" ").as_bytes()).is_err());
    }

    #[test]
    fn what_a_shell_would_act_on_must_be_quoted_in_a_plain_word() {
        for byte in b"\"'`$&|;<>(){}!*?[]" {
            let bare = words(&[b'x', *byte]).unwrap();
            assert!(bare.words[0].plain().is_err(), "{byte:#x}");
            let quoted = words(&[b'x', b'\\', *byte]).unwrap();
            assert_eq!(quoted.words[0].plain().unwrap(), [b'x', *byte]);
        }
        assert!(words(b"~/x").unwrap().words[0].plain().is_err());
        assert!(words(b"\\~/x").unwrap().words[0].plain().is_ok());
        assert!(words(b"x~").unwrap().words[0].plain().is_ok());
    }

    #[test]
    fn a_pattern_gets_back_the_backslash_that_rsync_left_before_a_wildcard() {
        let argument = |raw: &[u8]| words(raw).unwrap().words[0].wildcard_argument();
        assert_eq!(argument(b"/a\\*b*"), b"/a\\*b*");
        assert_eq!(argument(b"/\\{a,b\\}"), b"/{a,b}");
        assert_eq!(argument(b"/a\\\\\\{b"), b"/a\\{b");
    }

    #[test]
    fn an_error_repeats_few_bytes_and_none_that_harm_a_terminal() {
        assert_eq!(shown(b"a\x1b[2J"), "'a\\x1b[2J'");
        assert!(shown(&[0xff; 5000]).len() < 300);
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic_and_no_word_is_empty(line in proptest::collection::vec(any::<u8>(), 0..200)) {
            if let Ok(line) = words(&line) {
                prop_assert!(!line.words.is_empty());
                prop_assert!(line.words.iter().all(|w| !w.text().is_empty()));
            }
        }

        #[test]
        fn quoted_words_come_back_as_they_were(
            texts in proptest::collection::vec(proptest::collection::vec(0x20u8..0x7f, 1..20), 1..9)
        ) {
            let quote = |text: &Vec<u8>| -> Vec<u8> {
                text.iter().flat_map(|b| if b.is_ascii_alphanumeric() { vec![*b] } else { vec![b'\\', *b] }).collect()
            };
            let line = texts.iter().map(quote).collect::<Vec<_>>().join(&b' ');
            let parsed = words(&line).unwrap();
            let plain: Vec<_> = parsed.words.iter().map(|w| w.plain().unwrap().to_vec()).collect();
            prop_assert_eq!(plain, texts);
        }
    }
}
