//! Every option that a command may hold, told once more from rsync's own sources and in other words than in the
//! grammar, so that a mistake there does not hide itself. It is a closed list: what it does not hold is a finding.

/// Flags of both directions.
const FLAGS: [&str; 17] = [
    "append",
    "ignore-errors",
    "inplace",
    "list-only",
    "msgs2stderr",
    "new-compress",
    "no-implied-dirs",
    "no-msgs2stderr",
    "no-r",
    "no-specials",
    "numeric-ids",
    "old-compress",
    "open-noatime",
    "safe-links",
    "size-only",
    "specials",
    "stats",
];

/// Flags of a push alone: a sender that deletes, writes or follows links is none of ours.
const FLAGS_OF_PUSH: [&str; 17] = [
    "copy-unsafe-links",
    "delay-updates",
    "delete",
    "delete-after",
    "delete-before",
    "delete-delay",
    "delete-during",
    "delete-excluded",
    "delete-missing-args",
    "existing",
    "force",
    "fsync",
    "ignore-existing",
    "no-W",
    "partial",
    "preallocate",
    "remove-source-files",
];

const FLAG_OF_PULL: &str = "ignore-missing-args";

/// Whether rsync reads this word as one harmless option and takes no other word for its value.
pub(crate) fn is_harmless(option: &str, pull: bool) -> bool {
    let Some(long) = option.strip_prefix("--") else {
        return is_number_option(option, pull) || is_cluster(option, pull);
    };
    match long.split_once('=') {
        Some((name, value)) => is_harmless_value(name, value, pull),
        None if pull => FLAGS.contains(&long) || long == FLAG_OF_PULL,
        None => FLAGS.contains(&long) || FLAGS_OF_PUSH.contains(&long),
    }
}

/// No value is a path: the slashes of `skip-compress` part suffixes, which are compared with names alone.
fn is_harmless_value(name: &str, value: &str, pull: bool) -> bool {
    let made_of =
        |more: &str| value.bytes().all(|b| b.is_ascii_alphanumeric() || more.as_bytes().contains(&b));
    match name {
        "timeout" => is_number(value, 1..=604_800),
        "bwlimit" => is_number(value, 1..=i64::from(i32::MAX)),
        "checksum-seed" => is_number(value, i64::from(i32::MIN)..=i64::from(i32::MAX)),
        "compress-level" => is_number(value, -131_072..=19),
        "min-size" | "max-size" => is_number(value, 0..=i64::MAX),
        "max-delete" => !pull && is_number(value, -1..=i64::from(i32::MAX)),
        "modify-window" => !pull && is_number(value, 0..=1_000_000),
        "checksum-choice" => made_of(",") && value.matches(',').count() < 2,
        "compress-choice" => made_of(""),
        "iconv" => value == "utf-8",
        "info" => value.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit() || b == b','),
        "log-format" => !pull && ["%i", "%i%I", "%o", "X"].contains(&value),
        "suffix" => !pull && (1..=32).contains(&value.len()) && made_of("._~-"),
        "partial-dir" => {
            let mut bytes = value.bytes();
            !pull && made_of("._-") && bytes.next() == Some(b'.') && bytes.next().is_some_and(|b| b != b'.')
        }
        "skip-compress" => pull && made_of("./[]"),
        _ => false,
    }
}

/// As rsync's `%d` writes it: its reader takes a leading zero for an octal number.
fn is_number(text: &str, range: std::ops::RangeInclusive<i64>) -> bool {
    text.parse().is_ok_and(|number: i64| range.contains(&number) && number.to_string() == text)
}

/// `-B700` and `-@-1`: the only short options that are not in the first word.
pub(crate) fn is_number_option(option: &str, pull: bool) -> bool {
    match (option.strip_prefix("-B"), option.strip_prefix("-@")) {
        (Some(size), _) => is_number(size, 1..=131_072),
        (_, Some(window)) => !pull && is_number(window, -1..=1_000_000),
        _ => false,
    }
}

/// Letters, and behind an `e` what cannot be a program: it holds a dot, and neither slash nor space.
fn is_cluster(option: &str, pull: bool) -> bool {
    let Some(letters) = option.strip_prefix('-') else { return false };
    let (letters, capabilities) = letters.split_once('e').map_or((letters, None), |(l, c)| (l, Some(c)));
    let known =
        |letter: u8| b"vqbunldWHogDtUpAXrcCIRxSz".contains(&letter) || (!pull && b"mOJyE".contains(&letter));
    let dotted =
        |c: &str| c.matches('.').count() == 1 && c.bytes().all(|b| b == b'.' || b.is_ascii_alphanumeric());
    option.len() > 1 && letters.bytes().all(known) && capabilities.is_none_or(dotted)
}
