//! A client's name, a store and any bytes as the key file that they are written into: what was there stays,
//! and what is added is found.
#![no_main]

use std::path::Path;

use byteback::model::ClientName;
use byteback::protocol::authorized_keys::{Holder, KeyFile, Line};
use byteback::protocol::public_key::PublicKey;
use libfuzzer_sys::fuzz_target;

/// Keys that may stand in the file already: the seeds hold them.
const KEYS: [&str; 2] = [
    "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIM94et2jwUVZWxvrGnZVvgs4IpEPtg8MBO3TYdb/xqhE one",
    "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIM94et2jwUVZWxvrGnZVvgs4IpEPtg8MBO3TYdb/xqhF two",
];

fuzz_target!(|data: &[u8]| {
    let mut parts = data.splitn(3, |byte| *byte == b'\n');
    let mut word = || std::str::from_utf8(parts.next().unwrap_or_default()).unwrap_or_default();
    let (name, store) = (word(), word());
    let content = parts.next().unwrap_or_default();

    let [other, new] = KEYS.map(|key| key.parse::<PublicKey>().expect("a key"));
    let client: ClientName = name.parse().or("web2".parse()).expect("a name");
    let line = |store| Line::new(client.clone(), new.clone(), Path::new("byteback-receive"), store, None);
    let line = line(Some(Path::new(store))).or(line(None)).expect("a line without a store");
    check_text(&line.to_string(), &client);

    let before = KeyFile::parse(content);
    let longer = before.with_line(&line);
    let joint: &[u8] = if content.is_empty() || content.ends_with(b"\n") { b"" } else { b"\n" };
    assert_eq!(longer, [content, joint, line.to_string().as_bytes(), b"\n"].concat());

    let after = KeyFile::parse(&longer);
    assert_eq!(after.holder(&other), before.holder(&other));
    let first = before.holder(&new).unwrap_or(Holder::Client(client.clone()));
    assert_eq!(after.holder(&new), Some(first));
    let expected: Vec<_> = before.keys_of(&client).into_iter().chain([&new]).collect();
    assert_eq!(after.keys_of(&client), expected);
});

/// One line, whose forced command is words of a narrow alphabet between its only two quotes.
fn check_text(line: &str, client: &ClientName) {
    assert!(!line.chars().any(char::is_control));
    let command = line.strip_prefix("restrict,command=\"").expect("options");
    let (command, key) = command.split_once("\" ").expect("a quote behind the command");
    assert_eq!(key, KEYS[1]);
    assert!(
        command.bytes().all(|byte| byte.is_ascii_alphanumeric() || b" ._/+-".contains(&byte)),
        "{command}"
    );
    assert!(command.starts_with(&format!("byteback-receive --client {client}")));
    assert!(matches!(command.split(' ').count(), 3 | 5), "{command}");
}
