//! The options behind the short ones: one table of everything that a stock client sends and that this
//! server needs. What the table does not hold is refused; what it holds is printed from the table.

use std::collections::BTreeMap;

use super::cluster::Cluster;
use super::values::Takes;
use super::{Direction, refused};
use crate::protocol::lexer::{Refusal, refuse, shown};

/// One allowed option.
struct Rule {
    /// How it is written: in full for one without a value, else up to where its value starts.
    prefix: &'static str,
    takes: Takes,
    /// How often it may stand in a push and in a pull.
    most: (u8, u8),
    /// Options of the same slot exclude each other: which of two came last must never matter, for they
    /// are printed in the order of the table.
    slot: &'static str,
    /// Accepted once and forgotten: the command that is run has it anyway, or must not have it.
    dropped: bool,
}

const fn flag(name: &'static str) -> Rule {
    Rule { prefix: name, takes: Takes::Nothing, most: (1, 1), slot: name, dropped: false }
}

const fn value(prefix: &'static str, takes: Takes) -> Rule {
    Rule { prefix, takes, most: (1, 1), slot: prefix, dropped: false }
}

impl Rule {
    const fn push_only(mut self) -> Self {
        self.most.1 = 0;
        self
    }

    const fn pull_only(mut self) -> Self {
        self.most.0 = 0;
        self
    }

    const fn twice(mut self) -> Self {
        self.most = (2, 2);
        self
    }

    const fn slot(mut self, slot: &'static str) -> Self {
        self.slot = slot;
        self
    }

    const fn dropped(mut self) -> Self {
        self.dropped = true;
        self
    }

    fn most(&self, direction: Direction) -> u8 {
        if direction == Direction::Push { self.most.0 } else { self.most.1 }
    }

    /// The value, if the word is this option.
    fn matches<'a>(&self, word: &'a [u8]) -> Option<&'a [u8]> {
        let value = word.strip_prefix(self.prefix.as_bytes())?;
        (value.is_empty() || !matches!(self.takes, Takes::Nothing)).then_some(value)
    }
}

const CHECKSUMS: &[&str] = &["auto", "xxh128", "xxh3", "xxh64", "xxhash", "md5", "md4", "sha1", "none"];
const COMPRESSIONS: &[&str] = &["zstd", "lz4", "zlibx", "zlib", "none"];
const LOG_FORMATS: &[&str] = &["%i", "%i%I", "%o", "X"];
const MAX_INT: i64 = i32::MAX as i64;

/// The option that takes its value as a second word, as stock clients send it.
const PARTIAL_DIR: &str = "--partial-dir";

/// Every allowed option, in the order in which rsync's `server_options` writes them.
static RULES: &[Rule] = &[
    value("--iconv=", Takes::Utf8),
    flag("--list-only"),
    flag("--no-r"),
    value("--compress-level=", Takes::Number(-131_072, 19)),
    flag("--specials").slot("specials"),
    flag("--no-specials").slot("specials"),
    value("--log-format=", Takes::OneOf(LOG_FORMATS)).push_only(),
    flag("--msgs2stderr").slot("stderr"),
    flag("--no-msgs2stderr").slot("stderr"),
    value("-B", Takes::Number(1, 131_072)),
    value("--timeout=", Takes::Number(1, 604_800)),
    value("--bwlimit=", Takes::Number(1, MAX_INT)),
    value("--suffix=", Takes::Text(1, 32, b"._~-")).push_only(),
    value("--checksum-choice=", Takes::UpToTwoOf(CHECKSUMS)),
    flag("--new-compress").slot("compress"),
    flag("--old-compress").slot("compress"),
    value("--compress-choice=", Takes::OneOf(COMPRESSIONS)).slot("compress"),
    value("--skip-compress=", Takes::Text(0, 1024, b"./[]")).pull_only(),
    value("--max-delete=", Takes::Number(-1, MAX_INT)).push_only(),
    value("--min-size=", Takes::Number(0, i64::MAX)),
    value("--max-size=", Takes::Number(0, i64::MAX)),
    flag("--delete-before").slot("delete").push_only(),
    flag("--delete-delay").slot("delete").push_only(),
    flag("--delete-during").slot("delete").push_only(),
    flag("--delete-after").slot("delete").push_only(),
    flag("--delete-excluded").push_only(),
    flag("--delete").push_only(),
    flag("--delete-missing-args").push_only(),
    flag("--force").push_only(),
    flag("--size-only"),
    flag("--stats"),
    flag("--ignore-missing-args").pull_only(),
    value("--modify-window=", Takes::Number(0, 1_000_000)).slot("window").push_only(),
    value("-@", Takes::Number(-1, 1_000_000)).slot("window").push_only(),
    value("--checksum-seed=", Takes::Number(-MAX_INT - 1, MAX_INT)),
    flag("--partial").push_only(),
    value("--partial-dir=", Takes::DotName).push_only(),
    flag("--delay-updates").push_only(),
    flag("--ignore-errors"),
    flag("--copy-unsafe-links").push_only(),
    flag("--safe-links"),
    flag("--numeric-ids"),
    flag("--ignore-existing").push_only(),
    flag("--existing").push_only(),
    flag("--fsync").push_only(),
    value("--info=", Takes::Info),
    flag("--append").twice(),
    flag("--inplace"),
    flag("--no-W").push_only(),
    flag("--no-implied-dirs"),
    flag("--remove-source-files").push_only(),
    flag("--preallocate").push_only(),
    flag("--open-noatime"),
    flag("--fake-super").dropped(),
    flag("--mkpath").push_only().dropped(),
];

/// Everything that a client asked for, understood.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Options {
    cluster: Cluster,
    /// By place in the table: the value of each time that the option stands.
    given: BTreeMap<usize, Vec<String>>,
}

impl Options {
    /// Reads all words between `--server [--sender]` and `.`.
    pub(super) fn parse(words: &[Vec<u8>], direction: Direction) -> Result<Self, Refusal> {
        let mut options = Self::default();
        let mut rest = words;
        if let Some((first, after)) = rest.split_first().filter(|(first, _)| Cluster::is_short(first)) {
            options.cluster = Cluster::parse(first, direction)?;
            rest = after;
        }
        while let Some((word, after)) = rest.split_first() {
            rest = after;
            if word == PARTIAL_DIR.as_bytes() {
                let Some((name, after)) = rest.split_first() else {
                    return Err(refused::bad_value(word, &Takes::DotName.expected()));
                };
                options.add(&[word, &b"="[..], name].concat(), direction)?;
                rest = after;
            } else {
                options.add(word, direction)?;
            }
        }
        options.given.retain(|at, _| !RULES[*at].dropped);
        Ok(options)
    }

    fn add(&mut self, word: &[u8], direction: Direction) -> Result<(), Refusal> {
        if Cluster::is_short(word) {
            return refuse(format!(
                "{} is a second group of short options, or one behind a long option: a stock rsync sends one, first",
                shown(word)
            ));
        }
        if word.first() != Some(&b'-') {
            return refuse(format!("{} stands where rsync's options stand", shown(word)));
        }
        let found = RULES.iter().enumerate().find_map(|(at, rule)| Some((at, rule, rule.matches(word)?)));
        let Some((at, rule, value)) = found.filter(|(_, rule, _)| rule.most(direction) > 0) else {
            return Err(refused::unknown(word, direction));
        };
        let Some(value) = rule.takes.read(value) else {
            return Err(refused::bad_value(word, &rule.takes.expected()));
        };
        if self.times(rule.slot) >= usize::from(rule.most(direction)) {
            return Err(refused::too_often(word, rule.most(direction)));
        }
        self.given.entry(at).or_default().push(value);
        Ok(())
    }

    /// How often options of this slot stand.
    fn times(&self, slot: &str) -> usize {
        self.given.iter().filter(|(at, _)| RULES[**at].slot == slot).map(|(_, values)| values.len()).sum()
    }

    /// The timeout that the client set itself, in seconds.
    pub(super) fn timeout(&self) -> Option<u64> {
        let (_, values) = self.given.iter().find(|(at, _)| RULES[**at].slot == "--timeout=")?;
        values.first()?.parse().ok()
    }

    /// Whether nothing will be written: a rehearsal or a listing.
    pub(super) fn changes_nothing(&self) -> bool {
        self.cluster.has(b'n') || self.times("--list-only") > 0
    }

    /// The words that are run, in the order of the table.
    pub(super) fn print(&self) -> Vec<String> {
        let given = self.given.iter().map(|(at, values)| (&RULES[*at], values));
        let long =
            given.flat_map(|(rule, values)| values.iter().map(|value| format!("{}{value}", rule.prefix)));
        self.cluster.print().into_iter().chain(long).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn printed(words: &str, direction: Direction) -> Option<String> {
        let words: Vec<_> = words.split(' ').map(|w| w.as_bytes().to_vec()).collect();
        Options::parse(&words, direction).ok().map(|options| options.print().join(" "))
    }

    #[test]
    fn no_option_hides_another_one_of_the_table() {
        for (at, rule) in RULES.iter().enumerate() {
            let earlier = RULES[..at].iter().find(|other| other.matches(rule.prefix.as_bytes()).is_some());
            assert!(earlier.is_none(), "{}", rule.prefix);
        }
    }

    #[test]
    fn every_option_of_the_table_is_known_in_a_direction_and_refused_beyond_its_number() {
        for rule in RULES.iter().filter(|rule| matches!(rule.takes, Takes::Nothing)) {
            for direction in [Direction::Push, Direction::Pull] {
                let most = usize::from(rule.most(direction));
                let words = |times: usize| vec![rule.prefix; times].join(" ");
                assert_eq!(most > 0, printed(&words(1), direction).is_some(), "{}", rule.prefix);
                assert_eq!(printed(&words(most + 1), direction), None, "{}", rule.prefix);
            }
            assert!(rule.most != (0, 0));
        }
    }

    #[test]
    fn options_that_contradict_each_other_are_refused_together() {
        for words in [
            "--specials --no-specials",
            "--msgs2stderr --no-msgs2stderr",
            "--delete-before --delete-after",
            "--modify-window=1 -@-1",
            "--old-compress --compress-choice=zstd",
        ] {
            assert_eq!(printed(words, Direction::Push), None, "{words}");
        }
    }

    #[test]
    fn the_order_of_the_words_does_not_matter() {
        let one = printed("-re. --inplace --timeout=5 --append --numeric-ids --append", Direction::Push);
        let other = printed("-re. --append --append --numeric-ids --timeout=5 --inplace", Direction::Push);
        assert_eq!(one, other);
        assert_eq!(one.unwrap(), "-re. --timeout=5 --numeric-ids --append --append --inplace");
    }
}
