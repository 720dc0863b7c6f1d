//! The command that is run. What is harmless in it is said here once more and in other words than in the
//! grammar, so that a mistake there does not hide itself.

use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use byteback::protocol::request::Request;
use byteback::protocol::rsync_args::{Added, ConfinedRsync};

/// Long options that leave the tree, start something, undo the confinement, or make one side talk past the
/// other: the command never holds one, nor one that starts like it.
const NEVER: [&str; 47] = [
    "--server",
    "--sender",
    "--super",
    "--no-super",
    "--no-fake-super",
    "--daemon",
    "--config",
    "--dparam",
    "--detach",
    "--no-detach",
    "--log-file",
    "--files-from",
    "--from0",
    "--rsh",
    "--rsync-path",
    "--remote-option",
    "--backup-dir",
    "--temp-dir",
    "--link-dest",
    "--copy-dest",
    "--compare-dest",
    "--copy-links",
    "--copy-dirlinks",
    "--keep-dirlinks",
    "--write-devices",
    "--copy-devices",
    "--usermap",
    "--groupmap",
    "--chown",
    "--chmod",
    "--copy-as",
    "--munge-links",
    "--no-munge-links",
    "--insecure-links",
    "--protect-args",
    "--secluded-args",
    "--old-args",
    "--read-batch",
    "--write-batch",
    "--only-write-batch",
    "--debug",
    "--protocol",
    "--no-relative",
    "--password-file",
    "--filter",
    "--include",
    "--exclude",
];

/// Long options that write or delete: none of them stands in a pull.
const WRITING: [&str; 10] = [
    "--delete",
    "--remove",
    "--partial",
    "--suffix",
    "--log-format",
    "--max-delete",
    "--force",
    "--preallocate",
    "--copy-unsafe-links",
    "--delay-updates",
];

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
            at == 0 || option.starts_with("--") || is_number_option(option),
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

fn is_harmless(option: &str, pull: bool) -> bool {
    let Some(long) = option.strip_prefix("--") else {
        return is_number_option(option) || is_cluster(option);
    };
    let (name, value) = long.split_once('=').unwrap_or((long, ""));
    let is_name = !name.is_empty()
        && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"-W".contains(&b));
    // No value is a path: the slashes of this one part suffixes, which are compared with names alone.
    let extra: &[u8] = match name {
        "skip-compress" => b"./[]",
        "log-format" => b"%",
        _ => b"._~,-",
    };
    is_name
        && value.bytes().all(|b| b.is_ascii_alphanumeric() || extra.contains(&b))
        && (name != "partial-dir" || value.as_bytes().get(1).is_some_and(|byte| *byte != b'.'))
        && !NEVER.iter().any(|never| option.starts_with(never))
        && !(pull && WRITING.iter().any(|writing| option.starts_with(writing)))
}

fn is_number_option(option: &str) -> bool {
    let number = option.strip_prefix("-B").or(option.strip_prefix("-@"));
    number.is_some_and(|number| {
        number == "-1" || (!number.is_empty() && number.bytes().all(|b| b.is_ascii_digit()))
    })
}

/// Letters, and behind an `e` what cannot be a program: it holds a dot, and neither slash nor space.
fn is_cluster(option: &str) -> bool {
    let Some(letters) = option.strip_prefix('-') else { return false };
    let (letters, capabilities) = letters.split_once('e').map_or((letters, None), |(l, c)| (l, Some(c)));
    let known = letters.bytes().all(|letter| b"vqbunldmOJyWHogDtUpEAXrcCIRxSz".contains(&letter));
    let dotted =
        |c: &str| c.matches('.').count() == 1 && c.bytes().all(|b| b == b'.' || b.is_ascii_alphanumeric());
    option.len() > 1 && known && capabilities.is_none_or(dotted)
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
