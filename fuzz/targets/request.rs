//! Any bytes as `SSH_ORIGINAL_COMMAND`: the lexer, the grammar and the command that is run instead.
#![no_main]

#[path = "request/argv.rs"]
mod argv;
#[path = "request/options.rs"]
mod options;
#[path = "request/refusal.rs"]
mod refusal;

use byteback::protocol::find_query::Pattern;
use byteback::protocol::lexer;
use byteback::protocol::request::{
    ListRequest, Request, complete_words, list_words, ping_words, prepare_words, snapshots_words,
};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|command: &[u8]| {
    check_words(command);
    match Request::parse(command) {
        Err(refusal) => refusal::check(&refusal.0),
        Ok(request) => check(&request),
    }
});

/// The words are all of the command: nothing is lost between them, and nothing in them is hidden.
fn check_words(command: &[u8]) {
    let Ok(line) = lexer::words(command) else { return };
    let mut joined = line.words.iter().map(lexer::Word::raw).collect::<Vec<_>>().join(&b' ');
    joined.extend(line.trailing_space.then_some(b' '));
    assert_eq!(joined, command);
    for word in &line.words {
        assert!(!word.text().is_empty() && word.text().len() <= word.raw().len());
        assert!(!word.text().iter().any(u8::is_ascii_control));
        assert!(word.wildcard_argument().len() <= word.raw().len());
        if let Err(refusal) = word.plain().and(word.plain_or_home()) {
            refusal::check(&refusal.0);
        }
    }
}

fn check(request: &Request) {
    match request {
        Request::Push(rsync) => argv::check(rsync, request),
        Request::Pull(rsync) => {
            assert!(rsync.sources().iter().all(|source| source.tree == rsync.sources()[0].tree));
            argv::check(rsync, request);
        }
        Request::OldRestore(old) => {
            // A pattern is as good a name for a found file as any other bytes.
            let names = old.query.patterns.iter().map(Pattern::as_bytes);
            names.for_each(|name| argv::check_found(&old.options, name.get(1..).unwrap_or_default()));
        }
        Request::List(list) => check_list(list),
        Request::Ping(_) => assert_asks(&ping_words(), request),
        Request::Prepare(_) => assert_asks(&prepare_words(), request),
        Request::Complete(_) => assert_asks(&complete_words(), request),
        Request::Snapshots => {
            assert_eq!(Request::parse(snapshots_words().join(" ").as_bytes()), Ok(Request::Snapshots));
        }
    }
}

/// What our own client sends for the same request is a request of the same kind.
fn assert_asks(words: &[String], request: &Request) {
    let again = Request::parse(words.join(" ").as_bytes()).expect("our own words");
    assert_eq!(again.name(), request.name());
    assert!(again.manner().is_some_and(|manner| manner.json));
}

/// A query survives the words of our own client, which hold nothing that a shell would act on.
fn check_list(list: &ListRequest) {
    let words = list_words(&list.query);
    let command = words.join(" ");
    // Ours are a few more than a former client's: one that is at the bound has no equal of ours.
    if command.len() <= lexer::MAX_BYTES && words.len() <= lexer::MAX_WORDS {
        let again = Request::parse(command.as_bytes());
        assert_eq!(again, Ok(Request::List(ListRequest { query: list.query.clone(), json: true })));
        assert!(command.bytes().all(|byte| byte.is_ascii_alphanumeric() || b" /._-+,:@=".contains(&byte)));
    }
}
