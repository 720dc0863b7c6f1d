//! The command that is run: its shape, that it means to the grammar what it meant before, and that no client can
//! send what the server adds.

use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use byteback::model::Tree;
use byteback::protocol::request::Request;
use byteback::protocol::rsync_args::{Added, ConfinedRsync, PullOptions, Source};

use crate::options::{is_harmless, is_number_option};

/// Checks the command of a request, bare and with all that the server may add.
pub(crate) fn check(rsync: &ConfinedRsync, request: &Request) {
    let pull = matches!(request, Request::Pull(_));
    let bare = argv(rsync, &Added::default());
    check_shape(&bare, pull);
    assert_eq!(
        Request::parse(&as_a_client_sends(&bare)).as_ref(),
        Ok(request),
        "printed, it means something else"
    );

    let root = PathBuf::from("/srv/a b/web1");
    let full = argv(rsync, &Added { default_timeout: 10_800, confine_root: Some(root) });
    let own = [&b"--timeout=10800"[..], b"--confine-root=/srv/a b/web1"];
    let end = bare.iter().position(|word| word == b"--fake-super").expect("checked");
    let has_timeout = bare[..end].iter().any(|word| word.starts_with(b"--timeout="));
    let added = own[usize::from(has_timeout)..].iter().map(|word| word.to_vec());
    let expected: Vec<_> =
        bare[..end].iter().cloned().chain(added).chain(bare[end..].iter().cloned()).collect();
    assert_eq!(full, expected);
    assert!(
        Request::parse(&as_a_client_sends(&full)).is_err(),
        "a client may say where rsync confines itself"
    );
}

/// Checks the command of an old restore, whose sources are files that a search found. Their names are a client's,
/// too, and they never crossed the grammar.
pub(crate) fn check_found(options: &PullOptions, name: &[u8]) {
    let source = Source::named(Tree::Current, name);
    let Ok(rsync) = ConfinedRsync::pull(options.clone(), vec![source]) else { return };
    check_shape(&argv(&rsync, &Added::default()), true);
    let plain = ConfinedRsync::pull(options.clone(), vec![Source::named(Tree::Current, b"x")]);
    let plain = plain.expect("one short source");
    check(&plain, &Request::Pull(plain.clone()));
}

fn argv(rsync: &ConfinedRsync, added: &Added) -> Vec<Vec<u8>> {
    rsync.argv(added).iter().map(|word| word.as_bytes().to_vec()).collect()
}

/// `--server [--sender] OPTIONS --fake-super -- . (. | SOURCES)`.
fn check_shape(argv: &[Vec<u8>], pull: bool) {
    let start: &[&[u8]] = if pull { &[b"--server", b"--sender"] } else { &[b"--server"] };
    assert!(argv.iter().zip(start).all(|(word, expected)| word == expected));
    let end = argv.iter().position(|word| word == b"--").expect("something ends the options");
    let (last, options) = argv[start.len()..end].split_last().expect("--fake-super");
    assert_eq!(last, b"--fake-super");
    for (at, option) in options.iter().enumerate() {
        let option = std::str::from_utf8(option).expect("options are ASCII");
        assert!(is_harmless(option, pull), "{option:?}");
        assert!(
            at == 0 || option.starts_with("--") || is_number_option(option, pull),
            "{option:?} is not the first"
        );
    }
    assert_eq!(argv[end + 1], b".");
    let behind = &argv[end + 2..];
    if pull {
        assert!(!behind.is_empty() && behind.iter().all(|source| is_below_a_tree(source)));
    } else {
        assert_eq!(behind, [b"."]);
    }
}

/// One component that is no option, hidden, or absolute; then nothing that leads up or ends a C string.
fn is_below_a_tree(source: &[u8]) -> bool {
    source.first().is_some_and(u8::is_ascii_alphanumeric)
        && !source.contains(&0)
        && source.split(|byte| *byte == b'/').all(|component| component != b"..")
}

/// The words as a stock client quotes them, without the `--` that no client sends.
fn as_a_client_sends(argv: &[Vec<u8>]) -> Vec<u8> {
    let mut command = b"rsync".to_vec();
    for word in argv.iter().filter(|word| *word != b"--") {
        command.push(b' ');
        for byte in word {
            if b"\"'`$&|;<>(){}!*?[] \\".contains(byte) {
                command.push(b'\\');
            }
            command.push(*byte);
        }
    }
    command
}
