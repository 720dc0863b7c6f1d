//! Any text as a public key that a client sends to be enrolled.
#![no_main]

use byteback::protocol::public_key::PublicKey;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let Ok(key) = PublicKey::parse(text) else { return };

    // What is printed is one line, and its first word is no option.
    let printed = key.to_string();
    assert!(!printed.chars().any(char::is_control));
    let mut words = printed.splitn(3, ' ');
    assert_eq!(words.next(), Some(key.algorithm()));
    assert!(text.starts_with(key.algorithm()));

    // A key has one spelling: the body that is printed is the one that came.
    let body = words.next().expect("a body");
    assert_eq!(text.split([' ', '\t']).filter(|word| !word.is_empty()).nth(1), Some(body));
    assert_eq!(words.next().unwrap_or_default(), key.comment());
    assert!(key.blob()[4..].starts_with(key.algorithm().as_bytes()));

    let again = PublicKey::parse(&printed).expect("what was printed");
    assert_eq!(again, key);
    assert_eq!(again.to_string(), printed);
});
