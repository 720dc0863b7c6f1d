//! What a pattern means, written as the definition reads: a table of which rest of the pattern matches which
//! rest of the text, filled from the end.

use byteback::protocol::find_query::Component;

/// Whether one alternative matches a whole path.
pub(crate) fn path_matches(components: &[Component], names: &[&[u8]]) -> bool {
    fill(components.len(), names.len(), |at, name, rest| match (components.get(at), names.get(name)) {
        (None, left) => left.is_none(),
        (Some(Component::AnyDepth), left) => {
            rest(at + 1, name) || left.is_some_and(|left| !left.starts_with(b".") && rest(at, name + 1))
        }
        (Some(Component::Literal(own)), Some(left)) => own == left && rest(at + 1, name + 1),
        (Some(Component::Glob(glob)), Some(left)) => glob.matches(left) && rest(at + 1, name + 1),
        (Some(_), None) => false,
    })
}

/// Whether a component's pattern, which ends in no lone backslash, matches a name.
pub(crate) fn name_matches(pattern: &[u8], name: &[u8]) -> bool {
    let shows_hidden = pattern.starts_with(b".") || pattern.starts_with(b"\\.");
    if name == b"." || name == b".." || (name.starts_with(b".") && !shows_hidden) {
        return false;
    }
    fill(pattern.len(), name.len(), |at, place, rest| {
        let Some(token) = pattern.get(at) else { return place == name.len() };
        let next = name.get(place);
        match (token, set(&pattern[at..])) {
            (b'*', _) => rest(at + 1, place) || (next.is_some() && rest(at, place + 1)),
            (b'?', _) => next.is_some() && rest(at + 1, place + 1),
            (b'[', Some((members, length))) => {
                next.is_some_and(|byte| members[usize::from(*byte)]) && rest(at + length, place + 1)
            }
            (b'\\', _) if at + 1 < pattern.len() => next == pattern.get(at + 1) && rest(at + 2, place + 1),
            _ => next == Some(token) && rest(at + 1, place + 1),
        }
    })
}

/// The answer at (0, 0), where each answer may ask for those behind it.
fn fill(
    length: usize,
    width: usize,
    answer: impl Fn(usize, usize, &dyn Fn(usize, usize) -> bool) -> bool,
) -> bool {
    let row = width + 2;
    let mut table = vec![false; (length + 3) * row];
    for at in (0..=length).rev() {
        for place in (0..=width).rev() {
            let value = answer(at, place, &|at, place| table[at * row + place]);
            table[at * row + place] = value;
        }
    }
    table[0]
}

/// The members of the set that starts here, and how long it is written; `None` where none is closed.
fn set(pattern: &[u8]) -> Option<([bool; 256], usize)> {
    let negated = matches!(pattern, [b'[', b'!' | b'^', ..]);
    let start = if negated { 2 } else { 1 };
    let mut members = [false; 256];
    let mut at = start;
    while pattern.first() == Some(&b'[') {
        if at > start && pattern.get(at) == Some(&b']') {
            let members = members.map(|member| member != negated);
            return Some((members, at + 1));
        }
        let low = member(pattern, &mut at)?;
        let is_range = pattern.get(at) == Some(&b'-') && pattern.get(at + 1).is_some_and(|end| *end != b']');
        let high = if is_range {
            at += 1;
            member(pattern, &mut at)?
        } else {
            low
        };
        (low..=high).for_each(|byte| members[usize::from(byte)] = true);
    }
    None
}

fn member(pattern: &[u8], at: &mut usize) -> Option<u8> {
    if pattern.get(*at) == Some(&b'\\') && *at + 1 < pattern.len() {
        *at += 1;
    }
    *at += 1;
    pattern.get(*at - 1).copied()
}
