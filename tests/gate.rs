//! The gate as tables: what a client sends, and the command that is run for it or why it is refused.
//!
//! `$` is the command as it arrives in `SSH_ORIGINAL_COMMAND`, `<0a>` in it a byte by its number;
//! `>` is all of what is run (its words without the program's name, spaces within a word as `\ `) or
//! understood; `!` is a part of the refusal. `#` is a remark.

#![allow(clippy::panic, clippy::unwrap_used, reason = "a test fails by a panic, in its helpers too")]

use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use byteback::model::{Tree, escaped};
use byteback::protocol::find_query::FindQuery;
use byteback::protocol::request::{Manner, Request};
use byteback::protocol::rsync_args::{Added, ConfinedRsync, Source};
use proptest::prelude::*;

const TABLES: [(&str, &str); 4] = [
    ("push", include_str!("gate/push.txt")),
    ("pull", include_str!("gate/pull.txt")),
    ("requests", include_str!("gate/requests.txt")),
    ("attacks", include_str!("gate/attacks.txt")),
];

/// One command and what must come of it: the whole answer, or a part of the refusal.
struct Case {
    command: Vec<u8>,
    expected: Result<&'static str, &'static str>,
}

fn cases(table: &'static str) -> Vec<Case> {
    let lines = table.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    let mut cases = Vec::new();
    let mut command = None;
    for line in lines {
        match (line.split_at(2), command.take()) {
            (("$ ", text), None) => command = Some(bytes(text)),
            (("> ", answer), Some(command)) => cases.push(Case { command, expected: Ok(answer) }),
            (("! ", part), Some(command)) => cases.push(Case { command, expected: Err(part) }),
            _ => panic!("the table is broken at {line}"),
        }
    }
    assert!(command.is_none(), "the table's last command has no answer");
    cases
}

/// The command's bytes, `<0a>` replaced by the byte of that number.
fn bytes(text: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        let number = rest.get(1..3).and_then(|digits| u8::from_str_radix(digits, 16).ok());
        if let Some(number) = number.filter(|_| c == '<' && rest.get(3..4) == Some(">")) {
            bytes.push(number);
            rest = &rest[4..];
        } else {
            bytes.extend_from_slice(c.to_string().as_bytes());
            rest = &rest[c.len_utf8()..];
        }
    }
    bytes
}

fn argv(rsync: &ConfinedRsync, added: &Added) -> Vec<Vec<u8>> {
    rsync.argv(added).iter().map(|word| word.as_bytes().to_vec()).collect()
}

fn printed(rsync: &ConfinedRsync) -> String {
    let words = argv(rsync, &Added::default());
    words.iter().map(|word| escaped(word).replace(' ', "\\ ")).collect::<Vec<_>>().join(" ")
}

fn understood(request: &Request) -> String {
    let manner = |manner: &Manner| format!("json={} verbose={}", manner.json, manner.verbose);
    let query = |query: &FindQuery| {
        let tree = query.tree.as_ref().map_or("*", |tree| tree.as_str());
        let patterns: Vec<_> = query.patterns.iter().map(|p| escaped(p.as_bytes())).collect();
        let at = query.at.map_or_else(String::new, |at| format!(" at={at}"));
        let more = [(query.deleted, " deleted"), (query.history, " history")];
        let more: String = more.iter().filter(|(set, _)| *set).map(|(_, word)| *word).collect();
        format!("{tree}{at}{more} all={} verbose={} {}", query.all, query.verbose, patterns.join(" "))
    };
    match request {
        Request::Push(rsync) | Request::Pull(rsync) => printed(rsync),
        Request::Ping(m) | Request::Prepare(m) | Request::Complete(m) => {
            format!("{} {}", request.name(), manner(m))
        }
        Request::Snapshots => request.name().to_owned(),
        Request::List(list) => format!("list {} json={}", query(&list.query), list.json),
        Request::OldRestore(old) => {
            let source = Source::named(Tree::Current, b"x");
            let rsync = ConfinedRsync::pull(old.options.clone(), vec![source]).unwrap();
            format!("old-restore {} {}", query(&old.query), printed(&rsync))
        }
    }
}

fn all_cases() -> Vec<Case> {
    TABLES.iter().flat_map(|(_, table)| cases(table)).collect()
}

#[test]
fn every_command_is_answered_as_the_tables_say() {
    let mut wrong = Vec::new();
    for (table, text) in TABLES {
        for Case { command, expected } in cases(text) {
            let fits = match (&Request::parse(&command), expected) {
                (Ok(request), Ok(answer)) => understood(request) == answer,
                (Err(refusal), Err(part)) => refusal.0.contains(part),
                _ => false,
            };
            if !fits {
                let got = Request::parse(&command).map(|request| understood(&request));
                wrong.push(format!(
                    "{table}: {}\n  expected {expected:?}\n  got      {got:?}",
                    escaped(&command)
                ));
            }
        }
    }
    assert!(wrong.is_empty(), "{} wrong\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn the_tables_are_as_long_as_promised_and_name_each_command_once() {
    let commands: Vec<_> = all_cases().into_iter().map(|case| case.command).collect();
    let mut distinct = commands.clone();
    distinct.sort();
    distinct.dedup();
    assert!(distinct.len() >= 150, "{}", distinct.len());
    assert_eq!(distinct.len(), commands.len());
}

#[test]
fn a_refusal_is_one_short_line_that_harms_no_terminal() {
    for Case { command, .. } in all_cases() {
        if let Err(refusal) = Request::parse(&command) {
            assert!(refusal.0.len() < 600 && !refusal.0.chars().any(char::is_control), "{refusal}");
        }
    }
}

#[test]
fn the_server_adds_a_timeout_and_a_root_but_never_overrides_a_timeout() {
    let added = Added { default_timeout: 10_800, confine_root: Some(PathBuf::from("/srv/b b/web1")) };
    let run = |command: &str| {
        let Ok(Request::Push(rsync)) = Request::parse(command.as_bytes()) else { panic!("{command}") };
        rsync.argv(&added).iter().map(|w| w.to_string_lossy().into_owned()).collect::<Vec<_>>().join(" ")
    };
    assert_eq!(
        run("rsync --server -re.iLs . /x"),
        "--server -re.iLs --timeout=10800 --confine-root=/srv/b b/web1 --fake-super -- . ."
    );
    assert_eq!(
        run("rsync --server -re.iLs --timeout=300 . /x"),
        "--server -re.iLs --timeout=300 --confine-root=/srv/b b/web1 --fake-super -- . ."
    );
}

/// As `safe_arg` of a stock rsync quotes.
fn quoted(word: &[u8]) -> Vec<u8> {
    let quote = |byte: &u8| match byte {
        b if b"!#$&;|<>(){}\"'` \\*?[]~".contains(b) => vec![b'\\', *b],
        b => vec![*b],
    };
    word.iter().flat_map(quote).collect()
}

/// The words of an argv as a stock client would have sent them: all but the `--`.
fn sent_again(argv: &[Vec<u8>]) -> Vec<u8> {
    let words = argv.iter().filter(|word| *word != b"--").map(|word| quoted(word));
    std::iter::once(b"rsync".to_vec()).chain(words).collect::<Vec<_>>().join(&b' ')
}

fn check_shape(argv: &[Vec<u8>], pull: bool) {
    let end = argv.iter().position(|word| word == b"--").unwrap();
    assert_eq!(argv[0], b"--server");
    assert_eq!(argv.iter().filter(|word| *word == b"--sender").count(), usize::from(pull));
    assert_eq!(argv[1] == b"--sender", pull);
    assert_eq!((argv[end - 1].as_slice(), argv[end + 1].as_slice()), (&b"--fake-super"[..], &b"."[..]));
    for option in &argv[..end] {
        assert!(option.starts_with(b"-") && option.len() > 1, "{option:?}");
        for never in
            ["--super", "--no-super", "--daemon", "--config", "--log-file", "--files-from", "--rsh", "-s"]
        {
            assert!(!option.starts_with(never.as_bytes()), "{option:?}");
        }
    }
    let behind = &argv[end + 2..];
    if pull {
        let in_tree = |word: &Vec<u8>| {
            word[0].is_ascii_alphanumeric() && !word.split(|b| *b == b'/').any(|c| c == b"..")
        };
        assert!(!behind.is_empty() && behind.iter().all(in_tree));
    } else {
        assert_eq!(behind, [b"."]);
    }
}

/// What must hold for any bytes: no panic, and an argv of the right shape that the gate would take again.
fn check_any(command: &[u8]) {
    let Ok(request) = Request::parse(command) else { return };
    let (Request::Push(rsync) | Request::Pull(rsync)) = &request else { return };
    let words = argv(rsync, &Added::default());
    check_shape(&words, matches!(request, Request::Pull(_)));
    assert_eq!(Request::parse(&sent_again(&words)).as_ref(), Ok(&request), "{}", escaped(command));
    assert_eq!(argv(rsync, &Added::default()), words);
}

#[test]
fn what_is_run_for_each_case_would_be_accepted_again() {
    for case in all_cases() {
        check_any(&case.command);
    }
}

/// A command of the tables after some bytes were changed, removed or put in.
fn changed_command() -> impl Strategy<Value = Vec<u8>> {
    let commands: Vec<Vec<u8>> = all_cases().into_iter().map(|case| case.command).collect();
    let piece = prop_oneof![
        any::<u8>().prop_map(|byte| vec![byte]),
        prop::sample::select(vec![
            "-", ".", "/", " ", "\\", "=", "e", "s", "..", " . ", " -- ", "*", "~", "\n", "\0"
        ])
        .prop_map(|text| text.as_bytes().to_vec()),
        prop::sample::select(commands.clone()).prop_map(|command| command
            .split(|b| *b == b' ')
            .next_back()
            .unwrap_or_default()
            .to_vec()),
    ];
    let change = (any::<prop::sample::Index>(), 0usize..3, piece);
    (prop::sample::select(commands), prop::collection::vec(change, 0..5)).prop_map(
        |(mut command, changes)| {
            for (place, removed, piece) in changes {
                let start = place.index(command.len() + 1);
                let end = (start + removed).min(command.len());
                command.splice(start..end, piece);
            }
            command
        },
    )
}

/// Options that are allowed, now and then any other word, in any order and behind any start.
fn soup() -> impl Strategy<Value = Vec<u8>> {
    let words = |case: &Case| case.command.split(|b| *b == b' ').map(<[u8]>::to_vec).collect::<Vec<_>>();
    let any: Vec<Vec<u8>> = all_cases().iter().flat_map(words).collect();
    let allowed = all_cases().into_iter().filter(|case| case.expected.is_ok());
    let allowed = allowed.flat_map(|case| words(&case)).filter(|word| word.starts_with(b"--"));
    let option = prop::sample::select(allowed.collect::<Vec<_>>());
    let word = prop_oneof![9 => option, 1 => prop::sample::select(any)];
    let start = prop::sample::select(vec![
        "rsync --server -re.iLs",
        "rsync --fake-super --server",
        "rsync --server --sender -re.iLs",
        "byteback-restore --server --sender -rRe.iLs",
    ]);
    let end = prop::sample::select(vec![". .", ". /x", ". current/x", ". current/x current/y"]);
    let tail = prop_oneof![4 => Just(Vec::new()), 1 => prop::collection::vec(word.clone(), 1..3)];
    (start, prop::collection::vec(word, 0..5), end, tail).prop_map(|(start, options, end, tail)| {
        let (start, end) = (vec![start.as_bytes().to_vec()], vec![end.as_bytes().to_vec()]);
        [start, options, end, tail].concat().join(&b' ')
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_bytes_harm_the_gate(command in prop::collection::vec(any::<u8>(), 0..300)) {
        check_any(&command);
    }

    #[test]
    fn no_changed_command_gets_an_option_through(command in changed_command()) {
        check_any(&command);
    }

    #[test]
    fn no_words_in_any_order_get_an_option_through(command in soup()) {
        check_any(&command);
    }
}
