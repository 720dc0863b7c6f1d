//! Whether the rows make clients send all that the grammar allows, by the grammar's own source.

use std::collections::BTreeSet;

/// Insists that each option of the grammar's own tables was sent at least once in each direction in
/// which it is allowed.
pub fn assert_all_sent(sent: &BTreeSet<String>) {
    let (pulls, pushes): (Vec<&String>, Vec<&String>) =
        sent.iter().partition(|line| line.contains(" --sender "));
    let mut missing = Vec::new();
    for (option, is_value, push, pull) in allowed_options() {
        for (allowed, lines, way) in [(push, &pushes, "push"), (pull, &pulls, "pull")] {
            let fits =
                |word: &str| word == option.trim_end_matches('=') || (is_value && word.starts_with(&option));
            if allowed && !lines.iter().any(|line| line.split(' ').any(fits)) {
                missing.push(format!("{way} {option}"));
            }
        }
    }
    for (letter, push, pull) in allowed_letters() {
        // rsync sends the second y only beside --link-dest and its like, which are refused.
        let push = if letter == 'y' { 1 } else { push };
        for (allowed, lines, way) in [(push, &pushes, "push"), (pull, &pulls, "pull")] {
            let most =
                lines.iter().filter_map(|line| cluster(line)).map(|word| word.matches(letter).count()).max();
            if most < Some(allowed) {
                missing.push(format!("{way} -{} ({most:?} times)", letter.to_string().repeat(allowed)));
            }
        }
    }
    assert!(missing.is_empty(), "the grammar allows what no row makes a client send: {missing:#?}");
}

fn cluster(line: &str) -> Option<&str> {
    let word = line.split(' ').find(|word| word.starts_with('-') && !word.starts_with("--"))?;
    Some(word.split('e').next().unwrap_or(word))
}

/// From the grammar's source: the option, whether a value follows, and where it is allowed.
fn allowed_options() -> Vec<(String, bool, bool, bool)> {
    let source = include_str!("../../../src/protocol/rsync_args/options.rs");
    let table = source.split("static RULES").nth(1).unwrap().split("];").next().unwrap();
    let rules =
        table.lines().map(str::trim).filter(|line| line.starts_with("flag(") || line.starts_with("value("));
    let found: Vec<_> = rules
        .map(|line| {
            let option = line.split('"').nth(1).unwrap().to_owned();
            (option, line.starts_with("value("), !line.contains("pull_only"), !line.contains("push_only"))
        })
        .collect();
    assert!(found.len() > 50);
    found
}

fn allowed_letters() -> Vec<(char, usize, usize)> {
    let source = include_str!("../../../src/protocol/rsync_args/cluster.rs");
    let rows = source.lines().filter_map(|line| line.trim().strip_prefix("(b'"));
    let found: Vec<_> = rows
        .map(|row| {
            let mut numbers =
                row[3..].split(|c: char| !c.is_ascii_digit()).filter_map(|text| text.parse().ok());
            (row.chars().next().unwrap(), numbers.next().unwrap(), numbers.next().unwrap())
        })
        .collect();
    assert_eq!(found.len(), 30);
    found
}
