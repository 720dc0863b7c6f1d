//! Any bytes through quoted-printable and back, and any bytes as if they were quoted-printable.
#![no_main]

use byteback::protocol::quoted_printable::{MAX_BYTES, QuotedPrintableError, decode, encode};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let word = encode(bytes);
    assert!(word.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"/._-+,:@=".contains(&byte)));
    if word.len() <= MAX_BYTES {
        assert_eq!(decode(word.as_bytes()).as_deref(), Ok(bytes));
    } else {
        assert_eq!(decode(word.as_bytes()), Err(QuotedPrintableError::TooLong));
    }
    if let Ok(text) = decode(bytes) {
        assert!(text.len() <= bytes.len());
        assert!(!bytes.iter().any(|byte| byte.is_ascii_control() && !b"\r\n".contains(byte)));
    }
});
