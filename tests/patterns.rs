//! Every form of a find pattern against a reference that was written on its own (fuzz/targets/find_query), as
//! properties: what a walk finds is what the manual page says.
#![allow(clippy::unwrap_used, reason = "a test ends by panicking")]

use byteback::protocol::find_query::{Pattern, Walk};
use proptest::prelude::*;

#[path = "../fuzz/targets/find_query/reference.rs"]
mod reference;

/// A piece of a pattern: plain text, or braces around some.
#[derive(Debug, Clone)]
enum Piece {
    Text(String),
    Braces(Vec<String>),
}

/// Text without braces: wildcards, sets, quoted bytes, dots, slashes.
fn text() -> impl Strategy<Value = String> {
    let token = prop_oneof![
        4 => Just("a"), 3 => Just("b"), 1 => Just("."), 1 => Just("-"), 3 => Just("*"), 2 => Just("?"),
        2 => Just("/"), 2 => Just("/**/"), 1 => Just("[ab]"), 1 => Just("[!a]"), 1 => Just("[^b-c]"),
        1 => Just("[a-c.]"), 1 => Just("[]a]"), 1 => Just("["), 1 => Just("]"), 1 => Just("\\*"),
        1 => Just("\\?"), 1 => Just("\\["), 1 => Just("\\a"), 1 => Just("\\\\"), 1 => Just("\u{e9}"),
    ];
    prop::collection::vec(token, 0..5).prop_map(|tokens| tokens.concat())
}

fn pieces() -> impl Strategy<Value = Vec<Piece>> {
    let piece = prop_oneof![
        3 => text().prop_map(Piece::Text),
        1 => prop::collection::vec(text(), 1..4).prop_map(Piece::Braces),
    ];
    prop::collection::vec(piece, 0..4)
}

fn written(pieces: &[Piece]) -> String {
    let text = pieces.iter().map(|piece| match piece {
        Piece::Text(text) => text.clone(),
        Piece::Braces(texts) => format!("{{{}}}", texts.join(",")),
    });
    format!("/{}", text.collect::<String>())
}

/// What the braces stand for, one after the other.
fn alternatives(pieces: &[Piece]) -> Vec<String> {
    pieces.iter().fold(vec!["/".to_owned()], |heads, piece| {
        let tails = match piece {
            Piece::Text(text) => std::slice::from_ref(text),
            Piece::Braces(texts) => texts,
        };
        heads.iter().flat_map(|head| tails.iter().map(move |tail| format!("{head}{tail}"))).collect()
    })
}

/// The definition of a path's match, tried in every way.
fn matches(components: &[&str], names: &[&str]) -> bool {
    match (components.split_first(), names.split_first()) {
        (None, rest) => rest.is_none(),
        (Some((&"**", after)), first) => {
            matches(after, names)
                || first.is_some_and(|(name, rest)| !name.starts_with('.') && matches(components, rest))
        }
        (Some((own, after)), Some((name, rest))) => {
            reference::name_matches(own.as_bytes(), name.as_bytes()) && matches(after, rest)
        }
        (Some(_), None) => false,
    }
}

fn found(pattern: &Pattern, names: &[&str]) -> bool {
    let patterns = [pattern.clone()];
    names.iter().fold(Walk::start(&patterns), |walk, name| walk.enter(name.as_bytes())).is_match()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn a_pattern_finds_what_the_manual_says(
        pieces in pieces(),
        names in prop::collection::vec("(a|b|ab|ba|aab|\\.a|a\\.b|\\*|\\?|\\[|-a|\u{e9}|\\\\)", 0..4),
    ) {
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        // Refused are only components `.` and `..`.
        if let Ok(pattern) = Pattern::parse(written(&pieces).as_bytes()) {
            let expected = alternatives(&pieces).iter().any(|alternative| {
                let components: Vec<&str> = alternative.split('/').filter(|part| !part.is_empty()).collect();
                matches(&components, &names)
            });
            prop_assert_eq!(found(&pattern, &names), expected, "{} {:?}", written(&pieces), names);
            let by_components = pattern.alternatives().iter().any(|components| {
                let names: Vec<&[u8]> = names.iter().map(|name| name.as_bytes()).collect();
                reference::path_matches(components, &names)
            });
            prop_assert_eq!(by_components, expected);
        }
    }
}
