//! When rsync walks everything although the index would do, and which options of the operator's leave
//! the meaning of a change list untouched.

use std::ffi::{OsStr, OsString};

/// Whether the next run proves the index right. With `every` 1 each run does, with 0 none.
pub fn is_due(runs_since_full: u32, every: u32) -> bool {
    every > 0 && runs_since_full.saturating_add(1) >= every
}

/// How many runs there were since the last full one, after this run. The very first full run counts as one
/// that lies back some runs, by who the client is: so clients that were set up in one night do not all walk
/// in the same nights for ever.
pub fn count(before: Option<u32>, was_full: bool, every: u32, who: &str) -> u32 {
    match before {
        Some(_) if was_full => 0,
        Some(runs) => runs.saturating_add(1),
        None => {
            // FNV-1a: short, and the same in every release.
            let mix = |hash: u64, byte: u8| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
            let hash = who.bytes().fold(0xcbf2_9ce4_8422_2325, mix);
            u32::try_from(hash % u64::from(every.max(1))).unwrap_or(0)
        }
    }
}

/// Options that say how something is sent or shown, and nothing about what.
const HARMLESS: [&str; 20] = [
    "--bwlimit=",
    "--cc=",
    "--checksum-choice=",
    "--compress",
    "--compress-choice=",
    "--compress-level=",
    "--fsync",
    "--info=",
    "--ipv4",
    "--ipv6",
    "--open-noatime",
    "--preallocate",
    "--progress",
    "--skip-compress=",
    "--sockopts=",
    "--timeout=",
    "--verbose",
    "--whole-file",
    "--zc=",
    "--zl=",
];

/// The same as single letters.
const HARMLESS_LETTERS: &[u8] = b"46vzW";

/// The first option that is not known to be harmless.
pub fn first_unknown_flag(flags: &[OsString]) -> Option<&OsStr> {
    flags.iter().map(OsString::as_os_str).find(|flag| !is_harmless(flag.as_encoded_bytes()))
}

fn is_harmless(flag: &[u8]) -> bool {
    let long = HARMLESS.iter().any(|known| match known.strip_suffix('=') {
        Some(_) => flag.starts_with(known.as_bytes()),
        None => flag == known.as_bytes(),
    });
    let letters = flag.strip_prefix(b"-").unwrap_or_default();
    let short = !letters.is_empty() && letters.iter().all(|letter| HARMLESS_LETTERS.contains(letter));
    long || short
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_seventh_run_is_a_full_one() {
        let (mut runs, mut full) = (count(None, true, 7, "web1"), Vec::new());
        for night in 0..50 {
            let due = is_due(runs, 7);
            full.extend(due.then_some(night));
            runs = count(Some(runs), due, 7, "web1");
        }
        assert!(full.len() >= 7 && full.windows(2).all(|pair| pair[1] - pair[0] == 7), "{full:?}");
    }

    #[test]
    fn clients_do_not_walk_in_the_same_nights() {
        let first: std::collections::BTreeSet<u32> =
            (0..100).map(|n| count(None, true, 7, &format!("web{n}"))).collect();
        assert_eq!(first.len(), 7);
        assert!(is_due(0, 1) && !is_due(1000, 0));
    }

    #[test]
    fn an_option_that_may_say_what_is_sent_is_not_harmless() {
        let unknown = |flag: &str| first_unknown_flag(&[OsString::from(flag)]).is_some();
        for flag in ["--bwlimit=500", "-z", "-zW", "--compress", "--zc=zstd"] {
            assert!(!unknown(flag), "{flag}");
        }
        for flag in
            ["-x", "-F", "-zx", "--exclude=a", "500", "", "-", "--compressx", "--filter=- a", "--no-r", "-C"]
        {
            assert!(unknown(flag), "{flag}");
        }
    }
}
