//! Any text as the name of a client, of a snapshot, or of a server.
#![no_main]

use byteback::model::{ClientName, Destination, SnapshotName, Tree};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Ok(text) = std::str::from_utf8(data) else { return };
    check_client(text);
    check_snapshot(text);
    check_destination(text);
});

/// One visible path component that is no option, of this alphabet alone.
fn assert_component(name: &str, extra: &[u8]) {
    assert!(name.bytes().all(|byte| byte.is_ascii_alphanumeric() || extra.contains(&byte)));
    assert!(name.as_bytes()[0].is_ascii_alphanumeric() && name.len() < 255 && !name.contains(".."));
}

fn check_client(text: &str) {
    if let Ok(name) = text.parse::<ClientName>() {
        assert!(name.as_str() == text && name.to_string() == text);
        assert_component(text, b"._-");
    }
}

fn check_snapshot(text: &str) {
    let tree = text.parse::<Tree>();
    assert_eq!(tree.as_ref().is_ok_and(|tree| *tree == Tree::Current), text == "current");
    assert!(tree.is_err() || tree.is_ok_and(|tree| tree.as_str() == text));
    let Ok(name) = text.parse::<SnapshotName>() else { return };
    assert!(name.as_str() == text && text != "current");
    assert_component(text, b"._:+-");
    if name.time().is_some() {
        assert!(is_time(text), "{text}");
    }
}

/// `NNNN-NN-NNTNN:NN[:NN](Z|+NNNN|-NNNN)`.
fn is_time(text: &str) -> bool {
    let shape: String = text.chars().map(|c| if c.is_ascii_digit() { '0' } else { c }).collect();
    let zone = shape.strip_prefix("0000-00-00T00:00").map(|rest| rest.strip_prefix(":00").unwrap_or(rest));
    zone.is_some_and(|zone| ["Z", "+0000", "-0000"].contains(&zone))
}

fn check_destination(text: &str) {
    let Ok(destination) = text.parse::<Destination>() else { return };
    for word in [destination.user(), destination.host()] {
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._-$:%".contains(&byte);
        assert!(!word.is_empty() && !word.starts_with('-') && word.bytes().all(is_plain), "{word}");
    }
    let printed = destination.to_string();
    assert!(is_all_there(text, &printed), "{printed}");
    assert!(!printed.chars().any(char::is_control));
    let again: Destination = printed.parse().unwrap_or_else(|error| panic!("{printed}: {error}"));
    assert_eq!(again.to_string(), printed);
    assert_eq!((again.user(), again.host()), (destination.user(), destination.host()));
    assert_eq!(
        (again.port(), again.known_hosts_name()),
        (destination.port(), destination.known_hosts_name())
    );
}

/// Every letter and digit that was written stands in what is printed, in the same order.
fn is_all_there(text: &str, printed: &str) -> bool {
    let mut rest = printed.chars();
    let text = text.trim();
    let written = text.strip_prefix("ssh://").unwrap_or(text).chars();
    written.filter(|c| c.is_alphanumeric()).all(|c| rest.any(|other| other == c))
}
