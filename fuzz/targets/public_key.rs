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
    check_blob(&key);

    let again = PublicKey::parse(&printed).expect("what was printed");
    assert_eq!(again, key);
    assert_eq!(again.to_string(), printed);
});

/// Its type, then as many parts as that type has and nothing behind them, numbers in their shortest form:
/// sshd would take a longer one for the same key.
fn check_blob(key: &PublicKey) {
    let mut parts = Vec::new();
    let mut rest = key.blob();
    while let Some((length, behind)) = rest.split_first_chunk() {
        let (part, behind) = behind.split_at(u32::from_be_bytes(*length) as usize);
        parts.push(part);
        rest = behind;
    }
    assert!(rest.is_empty() && parts[0] == key.algorithm().as_bytes());
    let count = match key.algorithm() {
        "ssh-ed25519" => 2,
        "sk-ecdsa-sha2-nistp256@openssh.com" => 4,
        _ => 3,
    };
    assert_eq!(parts.len(), count);
    assert!(key.algorithm() != "ssh-rsa" || parts[1..].iter().all(|number| is_shortest(number)));
}

/// Positive, as RFC 4251 writes an `mpint`.
fn is_shortest(number: &[u8]) -> bool {
    match number {
        [0, second, ..] => second & 0x80 != 0,
        [first, ..] => *first > 0 && *first < 0x80,
        [] => false,
    }
}
