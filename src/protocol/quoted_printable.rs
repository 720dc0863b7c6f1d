//! Quoted-printable (RFC 2045, section 6.7) as a word of a command: how a find pattern of any bytes
//! crosses ssh. What is decoded is as hostile as what came; this only undoes an encoding.

use std::fmt;

/// Longest text that is decoded, in bytes as it came: a path of `PATH_MAX` bytes (limits.h), each as `=XX`.
pub const MAX_BYTES: usize = 3 * 4096;

/// Why a text is no quoted-printable word.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum QuotedPrintableError {
    /// Longer than [`MAX_BYTES`].
    TooLong,
    /// A `=` without two hexadecimal digits or the end of a line behind it.
    BadEscape,
    /// A control character that should have been written as `=XX`.
    BareControl,
}

impl fmt::Display for QuotedPrintableError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooLong => write!(f, "it is longer than {MAX_BYTES} bytes"),
            Self::BadEscape => f.write_str("two hexadecimal digits must stand behind each '='"),
            Self::BareControl => f.write_str("it holds a control character"),
        }
    }
}

impl std::error::Error for QuotedPrintableError {}

/// The bytes as one word of one line. All but letters, digits and `/ . _ - + , : @` is written as
/// `=XX`: neither ssh, a shell nor the lexer sees anything in it that it would act on.
pub fn encode(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
    let mut word = String::with_capacity(bytes.len());
    for byte in bytes {
        if byte.is_ascii_alphanumeric() || b"/._-+,:@".contains(byte) {
            word.push(char::from(*byte));
        } else {
            let digits = [byte >> 4, byte & 15].map(|half| char::from(DIGITS[usize::from(half)]));
            word.extend(['=', digits[0], digits[1]]);
        }
    }
    word
}

/// The bytes that a word stands for. Also understood is what the former program's client sends: lower
/// case digits, soft line breaks, and anything printable that is not encoded.
///
/// # Errors
/// When it is too long, or something in it is no quoted-printable.
pub fn decode(word: &[u8]) -> Result<Vec<u8>, QuotedPrintableError> {
    if word.len() > MAX_BYTES {
        return Err(QuotedPrintableError::TooLong);
    }
    let mut bytes = Vec::with_capacity(word.len());
    let mut rest = word;
    while let Some((&byte, after)) = rest.split_first() {
        rest = match (byte, after) {
            (b'=', [b'\n', after @ ..] | [b'\r', b'\n', after @ ..]) => after,
            (b'=', [high, low, after @ ..]) => {
                bytes.push(hex(*high)? << 4 | hex(*low)?);
                after
            }
            (b'=', _) => return Err(QuotedPrintableError::BadEscape),
            (control, _) if control.is_ascii_control() => return Err(QuotedPrintableError::BareControl),
            (plain, after) => {
                bytes.push(plain);
                after
            }
        };
    }
    Ok(bytes)
}

fn hex(digit: u8) -> Result<u8, QuotedPrintableError> {
    match digit {
        b'0'..=b'9' => Ok(digit - b'0'),
        b'a'..=b'f' => Ok(digit - b'a' + 10),
        b'A'..=b'F' => Ok(digit - b'A' + 10),
        _ => Err(QuotedPrintableError::BadEscape),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::lexer;
    use proptest::prelude::*;

    #[test]
    fn what_the_former_client_sends_is_understood() {
        for (word, bytes) in [
            (&b"/etc/pass=20wd"[..], &b"/etc/pass wd"[..]),
            (b"/a=3db=3Dc", b"/a=b=c"),
            (b"/a=\nb=\r\nc", b"/abc"),
            (b"/caf=C3=A9*", b"/caf\xc3\xa9*"),
            (b"/b\xff", b"/b\xff"),
            (b"", b""),
        ] {
            assert_eq!(decode(word).unwrap(), bytes);
        }
    }

    #[test]
    fn what_is_no_quoted_printable_is_refused() {
        use QuotedPrintableError::{BadEscape, BareControl, TooLong};
        for (word, why) in [
            (&b"="[..], BadEscape),
            (b"a=", BadEscape),
            (b"a=4", BadEscape),
            (b"a=4g", BadEscape),
            (b"a=+1", BadEscape),
            (b"a\nb", BareControl),
            (&[b'a'; MAX_BYTES + 1], TooLong),
        ] {
            assert_eq!(decode(word), Err(why), "{word:?}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_survive_as_one_plain_word(bytes in proptest::collection::vec(any::<u8>(), 1..300)) {
            let word = encode(&bytes);
            prop_assert_eq!(decode(word.as_bytes()).unwrap(), bytes);
            let line = lexer::words(word.as_bytes()).unwrap();
            prop_assert_eq!(line.words.len(), 1);
            prop_assert_eq!(line.words[0].plain().unwrap(), word.as_bytes());
            prop_assert_eq!(line.words[0].raw(), word.as_bytes());
        }

        #[test]
        fn no_word_makes_it_panic(word in proptest::collection::vec(any::<u8>(), 0..100)) {
            let _ = decode(&word);
        }
    }
}
