//! What is said about an option that is refused: its name, and the way out. Nothing here decides;
//! whatever the tables of allowed options do not hold is refused, whether it has a line here or not.

use super::Direction;
use crate::protocol::lexer::{Refusal, shown};

/// The way out, for the options that a person may really have asked for.
const HINTS: &[(&[&str], &str)] = &[
    (
        &["-s", "--secluded-args", "--protect-args"],
        "this client sends its arguments on stdin: unset RSYNC_PROTECT_ARGS or add --no-secluded-args",
    ),
    (
        &["--no-secluded-args", "--no-protect-args", "--no-s", "--old-args", "--no-old-args"],
        "it belongs on the client alone; no stock rsync sends it",
    ),
    (&["--server", "--sender"], "it may stand only at the start, and only once"),
    (
        &["--daemon", "--config", "--dparam", "--detach", "--no-detach"],
        "no rsync daemon can be started here; write the destination as host: with one colon",
    ),
    (
        &["--rsh", "--rsync-path", "--remote-option", "-M"],
        "this server chooses its programs itself; remove it",
    ),
    (
        &["--super", "--no-super", "--no-fake-super", "--copy-as"],
        "this server always keeps owners and devices as attributes (--fake-super); remove it",
    ),
    (
        &["--link-dest", "--copy-dest", "--compare-dest"],
        "snapshots share what did not change without it; remove it",
    ),
    (&["--backup-dir"], "snapshots keep what is replaced; remove it"),
    (&["--suffix"], "it does nothing in this direction; remove it"),
    (&["--temp-dir", "-T"], "temporary files can only lie beside their targets; remove it or use --inplace"),
    (
        &["--copy-links", "-L", "--copy-dirlinks", "-k", "--copy-unsafe-links", "--keep-dirlinks", "-K"],
        "links are kept as links and never followed on this server; remove it",
    ),
    (&["--files-from", "--from0", "-0"], "the paths must be arguments here; name each as SNAPSHOT/path"),
    (&["--no-relative", "--no-R"], "no stock rsync sends it without --files-from; remove it"),
    (
        &["--delete-missing-args", "--remove-source-files", "--remove-sent-files"],
        "a restore deletes nothing on this server; remove it",
    ),
    (
        &["--filter", "-f", "-F", "--exclude", "--exclude-from", "--include", "--include-from"],
        "filters travel inside rsync's protocol, where they cannot name this server's files",
    ),
    (&["--log-file", "--log-file-format"], "this server keeps its own log; remove it"),
    (
        &["--usermap", "--groupmap", "--chown", "--chmod"],
        "owners and modes are kept as the client has them; remove it and add --numeric-ids",
    ),
    (
        &["--write-devices", "--copy-devices", "-N", "--crtimes", "--drop-D"],
        "devices and creation times are no files' content; this server keeps devices as attributes; remove it",
    ),
    (&["--max-alloc"], "how much memory rsync may use is this server's own setting; unset RSYNC_MAX_ALLOC"),
    (&["--use-qsort", "--qsort"], "no rsync server knows it; remove --qsort"),
    (
        &["--read-batch", "--write-batch", "--only-write-batch"],
        "a batch would leave the backup unwritten; remove it",
    ),
    (
        &["--confine-root", "--munge-links", "--no-munge-links", "--insecure-links", "--no-insecure-links"],
        "how rsync is confined is this server's own affair; remove it",
    ),
    (&["--debug"], "it shows this server's inside; remove it"),
    (&["--protocol"], "it belongs on the client, as --protocol without -M"),
    (&["--compress-threads", "--zt"], "how many threads compress is this server's own affair; remove it"),
    (
        &["--archive", "-a", "--help", "--version", "-V", "-h", "--progress", "-P", "-i", "-j"],
        "a stock rsync sends other words for it; call rsync with host: as its remote side",
    ),
];

/// For everything else.
const NO_HINT: &str = "it is not on the list of what this server needs for a backup or a restore; \
                       remove it from the rsync options (rsync_flags)";

/// An option that is not allowed in this direction.
pub(super) fn unknown(option: &[u8], direction: Direction) -> Refusal {
    let name = option.split(|b| *b == b'=').next().unwrap_or(option);
    let hint = HINTS.iter().find(|(names, _)| names.iter().any(|known| known.as_bytes() == name));
    let hint = hint.map_or(NO_HINT, |(_, hint)| hint);
    Refusal(format!("rsync option {} is refused in a {direction}: {hint}", shown(option)))
}

/// An option that stands more often than it makes sense, or beside one that contradicts it.
pub(super) fn too_often(option: &[u8], most: u8) -> Refusal {
    let hint = if option == b"-X" {
        "rsync's own attributes cannot be kept beside --fake-super; use -X once"
    } else {
        "say it less often"
    };
    Refusal(format!(
        "rsync option {} stands too often (at most {most}), or beside its opposite: {hint}",
        shown(option)
    ))
}

/// A known option whose value is not one that is allowed.
pub(super) fn bad_value(option: &[u8], expected: &str) -> Refusal {
    Refusal(format!("rsync option {} is refused: its value must be {expected}", shown(option)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_hint_can_be_reached_and_no_name_has_two() {
        let names: Vec<_> = HINTS.iter().flat_map(|(names, _)| names.iter()).collect();
        for name in &names {
            assert_eq!(names.iter().filter(|other| other == &name).count(), 1, "{name}");
            assert!(!unknown(name.as_bytes(), Direction::Push).0.contains(NO_HINT), "{name}");
        }
    }

    #[test]
    fn an_option_is_named_without_harm() {
        let text = unknown(b"--x\x1b=\nforged", Direction::Pull).0;
        assert!(text.contains("'--x\\x1b=\\x0aforged'") && text.contains("pull"), "{text}");
    }
}
