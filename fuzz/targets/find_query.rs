//! Any bytes as a find pattern, a NUL, and any path: what matches is what the manual says, and finding
//! that out takes no long time.
#![no_main]

#[path = "find_query/reference.rs"]
mod reference;

use byteback::protocol::find_query::{Component, MAX_ALTERNATIVES, MAX_BYTES, Pattern, Walk};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let end = data.iter().position(|byte| *byte == 0).unwrap_or(data.len());
    let (text, rest) = data.split_at(end);
    let names: Vec<&[u8]> =
        rest.split(|byte| matches!(byte, 0 | b'/')).filter(|name| !name.is_empty()).take(8).collect();
    if !rest.is_empty() {
        assert!(Pattern::parse(data).is_err(), "a NUL got into a pattern");
    }
    if let Ok(pattern) = Pattern::parse(text) {
        check_components(&pattern, text);
        check_walk(&pattern, &names);
        check_one_name(&pattern, text, &names);
    }
});

fn check_components(pattern: &Pattern, text: &[u8]) {
    assert!(pattern.as_bytes() == text && text.len() <= MAX_BYTES);
    assert!((1..=MAX_ALTERNATIVES).contains(&pattern.alternatives().len()));
    for alternative in pattern.alternatives() {
        assert!(alternative.len() <= text.len());
        assert!(!alternative.windows(2).any(|two| two == [Component::AnyDepth, Component::AnyDepth]));
        for component in alternative {
            if let Component::Literal(name) = component {
                assert!(!name.is_empty() && name != b"." && name != b"..");
                assert!(!name.contains(&b'/') && !name.contains(&0));
            }
        }
    }
}

/// Going down agrees with the definition at each step, and what a walk says about the names beneath is true.
fn check_walk(pattern: &Pattern, names: &[&[u8]]) {
    let patterns = [pattern.clone()];
    let mut walk = Walk::start(&patterns);
    for depth in 0..=names.len() {
        let by_definition = pattern
            .alternatives()
            .iter()
            .any(|components| reference::path_matches(components, &names[..depth]));
        assert_eq!(walk.is_match(), by_definition, "{names:?} to depth {depth}");
        for never in [&b"."[..], b".."] {
            let up = walk.enter(never);
            assert!(!up.is_match() && up.is_over(), "a walk went through {never:?}");
        }
        let Some(name) = names.get(depth) else { break };
        let below = walk.enter(name);
        let is_offered = walk.only_names().is_none_or(|only| only.contains(name));
        assert!((is_offered && !walk.is_over()) || (!below.is_match() && below.is_over()));
        walk = below;
    }
}

/// A pattern of one component without braces, against a matcher that was written on its own.
fn check_one_name(pattern: &Pattern, text: &[u8], names: &[&[u8]]) {
    let piece = &text[1..];
    let simple = !piece.is_empty() && piece.len() <= 64 && piece != b"**";
    if !simple || piece.iter().any(|byte| b"/{}".contains(byte)) {
        return;
    }
    let patterns = [pattern.clone()];
    for name in names.iter().filter(|name| name.len() <= 64) {
        let matches = Walk::start(&patterns).enter(name).is_match();
        assert_eq!(matches, reference::name_matches(piece, name), "{name:?}");
    }
}
