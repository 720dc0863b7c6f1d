//! `byteback-receive` with flags: what is asked beside the transfers. Both ends of the language: what
//! our clients send is printed here, and what they and the former program's clients send is read.

use std::collections::BTreeSet;

use jiff::Timestamp;

use super::{ListRequest, Manner, Request, patterns, tree};
use crate::model::Tree;
use crate::protocol::find_query::FindQuery;
use crate::protocol::lexer::{Refusal, Word, refuse, shown};
use crate::protocol::quoted_printable;

const PROGRAM: &str = "byteback-receive";

/// The verbs; exactly one must stand.
const VERBS: [&str; 5] = ["--ping", "--prepare", "--complete", "--list", "--snapshots"];

/// Flags that every verb takes.
const MANNERS: [&str; 2] = ["--json", "--verbose"];

/// Flags that a listing takes beside these.
const OF_LIST: [&str; 5] = ["--all", "--at", "--deleted", "--history", "--snapshot"];

/// What asks whether the key works.
pub fn ping_words() -> Vec<String> {
    words("--ping")
}

/// What asks whether a push may start.
pub fn prepare_words() -> Vec<String> {
    words("--prepare")
}

/// What says that the push is done.
pub fn complete_words() -> Vec<String> {
    words("--complete")
}

/// What asks which snapshots there are.
pub fn snapshots_words() -> Vec<String> {
    words("--snapshots")
}

fn words(verb: &str) -> Vec<String> {
    [PROGRAM, verb, "--json"].map(str::to_owned).to_vec()
}

/// What asks for a listing. Each word is free of spaces and of everything that a shell acts on, so they
/// may be handed to ssh, which joins them with one space.
pub fn list_words(query: &FindQuery) -> Vec<String> {
    let mut list = words("--list");
    if let Some(tree) = &query.tree {
        list.extend(["--snapshot".to_owned(), tree.to_string()]);
    }
    if let Some(at) = &query.at {
        list.extend(["--at".to_owned(), at.to_string()]);
    }
    for (flag, set) in [
        ("--all", query.all),
        ("--verbose", query.verbose),
        ("--deleted", query.deleted),
        ("--history", query.history),
    ] {
        list.extend(set.then(|| flag.to_owned()));
    }
    list.extend(query.patterns.iter().map(|pattern| quoted_printable::encode(pattern.as_bytes())));
    list
}

/// The flags of a command, each of which stood once.
#[derive(Default)]
struct Flags {
    set: BTreeSet<&'static str>,
    tree: Option<Tree>,
    at: Option<Timestamp>,
}

/// Reads what stands behind `byteback-receive`.
pub(super) fn parse(words: &[Word], trailing_space: bool) -> Result<Request, Refusal> {
    let (flags, words) = Flags::parse(words)?;
    let verb = flags.verb()?;
    if verb == "--list" {
        if trailing_space {
            return refuse("a space stands behind the last pattern: write it as =20");
        }
        return list(&flags, words);
    }
    if let Some(word) = words.first() {
        return refuse(format!("{} stands behind {verb}, which takes nothing", shown(word.raw())));
    }
    if let Some(flag) = OF_LIST.iter().find(|flag| flags.set.contains(*flag)) {
        return refuse(format!("{flag} belongs to --list, not to {verb}"));
    }
    let manner = Manner { json: flags.set.contains("--json"), verbose: flags.set.contains("--verbose") };
    Ok(match verb {
        "--ping" => Request::Ping(manner),
        "--prepare" => Request::Prepare(manner),
        "--snapshots" => Request::Snapshots,
        _ => Request::Complete(manner),
    })
}

/// The former program's client sends its patterns as they are, so a character that a shell would act on
/// may stand in them (`Report (1).pdf`, `*.conf`): no shell is here, and they are only compared.
fn list(flags: &Flags, words: &[Word]) -> Result<Request, Refusal> {
    if words.is_empty() {
        return refuse("a listing needs a pattern, such as /etc/*");
    }
    let set = |flag| flags.set.contains(flag);
    if set("--at") && set("--snapshot") {
        return refuse("--at and --snapshot each name a snapshot: one of them is enough");
    }
    if set("--history") && !set("--json") {
        return refuse("--history is told as --json alone");
    }
    let query = FindQuery {
        tree: flags.tree.clone(),
        at: flags.at,
        all: set("--all"),
        verbose: set("--verbose"),
        deleted: set("--deleted"),
        history: set("--history"),
        patterns: patterns(words.iter().map(|word| word.raw().to_vec()))?,
    };
    Ok(Request::List(ListRequest { query, json: set("--json") }))
}

impl Flags {
    /// Reads flags up to the first word that is none.
    fn parse(words: &[Word]) -> Result<(Self, &[Word]), Refusal> {
        let mut flags = Self::default();
        let mut rest = words;
        while let Some((word, after)) = rest.split_first().filter(|(word, _)| word.raw().starts_with(b"-")) {
            let flag = known(word)?;
            if !flags.set.insert(flag) {
                return refuse(format!("{flag} stands twice"));
            }
            rest = after;
            if flag == "--snapshot" {
                let Some((name, after)) = rest.split_first() else {
                    return refuse("a name or * must stand behind --snapshot");
                };
                flags.tree = tree(name)?;
                rest = after;
            }
            if flag == "--at" {
                let Some((time, after)) = rest.split_first() else {
                    return refuse("a time must stand behind --at");
                };
                flags.at = Some(moment(time)?);
                rest = after;
            }
        }
        Ok((flags, rest))
    }

    fn verb(&self) -> Result<&'static str, Refusal> {
        let mut verbs = VERBS.into_iter().filter(|verb| self.set.contains(verb));
        match (verbs.next(), verbs.next()) {
            (Some(verb), None) => Ok(verb),
            _ => refuse(format!("exactly one of {} must be asked", VERBS.join(" "))),
        }
    }
}

/// As our client prints it; words such as "yesterday" it has resolved.
fn moment(word: &Word) -> Result<Timestamp, Refusal> {
    let text = std::str::from_utf8(word.plain()?).ok();
    match text.and_then(|text| text.parse().ok()) {
        Some(time) => Ok(time),
        None => refuse(format!("--at {} is no time such as 2026-11-01T00:00:00Z", shown(word.raw()))),
    }
}

fn known(word: &Word) -> Result<&'static str, Refusal> {
    let mut flags = VERBS.into_iter().chain(MANNERS).chain(OF_LIST);
    match flags.find(|flag| flag.as_bytes() == word.raw()) {
        Some(flag) => Ok(flag),
        None => refuse(format!("{} is nothing that a client can ask of byteback-receive", shown(word.raw()))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::find_query::Pattern;
    use proptest::prelude::*;

    fn parsed(words: &[String]) -> Request {
        Request::parse(words.join(" ").as_bytes()).unwrap()
    }

    #[test]
    fn what_our_clients_send_parses_back() {
        let json = Manner { json: true, verbose: false };
        assert_eq!(parsed(&ping_words()), Request::Ping(json));
        assert_eq!(parsed(&prepare_words()), Request::Prepare(json));
        assert_eq!(parsed(&complete_words()), Request::Complete(json));
        assert_eq!(parsed(&snapshots_words()), Request::Snapshots);
    }

    #[test]
    fn the_flags_of_a_listing_may_stand_in_any_order_but_once() {
        let ask = |text: &str| Request::parse(text.as_bytes());
        let one = ask("byteback-receive --snapshot * --list --all --verbose /etc/*.conf").unwrap();
        assert_eq!(ask("byteback-receive --verbose --all --list --snapshot * /etc/*.conf").unwrap(), one);
        for bad in ["--list --list /x", "--list --all --all /x", "--snapshot * --snapshot * --list /x"] {
            assert!(ask(&format!("byteback-receive {bad}")).unwrap_err().0.contains("twice"), "{bad}");
        }
    }

    #[test]
    fn the_longest_path_can_be_asked_for_in_any_script() {
        let path = "/\u{3042}".repeat(4096 / 4);
        let patterns = vec![Pattern::parse(path.as_bytes()).unwrap()];
        let query = FindQuery { patterns, ..FindQuery::default() };
        assert_eq!(parsed(&list_words(&query)), Request::List(ListRequest { query, json: true }));
    }

    proptest! {
        #[test]
        fn any_listing_that_can_be_asked_parses_back(
            path in proptest::collection::vec(1u8..=255, 0..40),
            all in any::<bool>(),
            verbose in any::<bool>(),
            deleted: bool,
            history: bool,
            name in proptest::option::of("(current|[a-z0-9][a-z0-9+:-]{0,9})"),
            seconds in proptest::option::of(-60_000_000_000i64..250_000_000_000),
        ) {
            if let Ok(pattern) = Pattern::parse(&[b"/", &path[..]].concat()) {
                let tree = name.map(|name| name.parse().unwrap());
                let at = seconds.filter(|_| tree.is_none()).map(|at| Timestamp::from_second(at).unwrap());
                let patterns = vec![pattern.clone(), pattern];
                let query = FindQuery { tree, at, all, verbose, deleted, history, patterns };
                let request = parsed(&list_words(&query));
                prop_assert_eq!(request, Request::List(ListRequest { query, json: true }));
            }
        }
    }
}
