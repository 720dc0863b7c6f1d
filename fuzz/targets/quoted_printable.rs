//! Any bytes through quoted-printable and back, and any bytes as if they were quoted-printable.
#![no_main]

use byteback::protocol::quoted_printable::{MAX_BYTES, QuotedPrintableError, decode, encode};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    check_encoded(bytes);
    let decoded = decode(bytes);
    assert_eq!(decoded, by_the_book(bytes));
    if let Ok(text) = decoded {
        assert!(text.len() <= bytes.len());
        check_encoded(&text);
    }
});

/// One plain word that means the same bytes, and is the only one that we write for them.
fn check_encoded(bytes: &[u8]) {
    let word = encode(bytes);
    assert!(word.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"/._-+,:@=".contains(&byte)));
    if word.len() > MAX_BYTES {
        assert_eq!(decode(word.as_bytes()), Err(QuotedPrintableError::TooLong));
        return;
    }
    let again = decode(word.as_bytes());
    assert_eq!(again.as_deref(), Ok(bytes));
    assert_eq!(encode(&again.unwrap_or_default()), word);
}

/// RFC 2045, section 6.7, written once more: line by line, by what stands behind each `=`.
fn by_the_book(word: &[u8]) -> Result<Vec<u8>, QuotedPrintableError> {
    if word.len() > MAX_BYTES {
        return Err(QuotedPrintableError::TooLong);
    }
    let plain = |piece: &[u8]| {
        let controls = piece.iter().any(u8::is_ascii_control);
        if controls { Err(QuotedPrintableError::BareControl) } else { Ok(piece.to_vec()) }
    };
    let mut pieces = word.split(|byte| *byte == b'=');
    let mut bytes = plain(pieces.next().unwrap_or_default())?;
    for piece in pieces {
        let rest = if let Some(rest) = piece.strip_prefix(b"\n").or(piece.strip_prefix(b"\r\n")) {
            rest
        } else {
            let digits = piece.get(..2).filter(|digits| digits.iter().all(u8::is_ascii_hexdigit));
            let digits = digits.and_then(|digits| std::str::from_utf8(digits).ok());
            let byte = digits.and_then(|digits| u8::from_str_radix(digits, 16).ok());
            bytes.push(byte.ok_or(QuotedPrintableError::BadEscape)?);
            &piece[2..]
        };
        bytes.extend(plain(rest)?);
    }
    Ok(bytes)
}
