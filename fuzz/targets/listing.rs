//! Any bytes as a line of a listing, which a client reads and acts on.
#![no_main]

use byteback::protocol::listing::{LONGEST_LINE, Line, parse_line, print_end, print_version, table};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|line: &[u8]| {
    let Ok(parsed) = parse_line(line) else { return };
    let printed = match &parsed {
        Line::Found(version) => print_version(version),
        Line::End { entries, cut } => print_end(false, *entries, cut.as_deref()),
    };
    assert!(printed.len() <= LONGEST_LINE && !printed.bytes().any(|byte| byte < b' '));
    assert_eq!(parse_line(printed.as_bytes()).as_ref(), Ok(&parsed));

    let Line::Found(version) = parsed else { return };
    let entry = version.entry;
    let path = &entry.path;
    let is_name = |part: &[u8]| !matches!(part, b"" | b"." | b"..");
    assert!(path.is_empty() || path.split(|byte| *byte == b'/').all(is_name));
    assert!(!path.contains(&0) && path.len() <= 4096);

    // The former client shows the table as it comes: a heading, a rule and one line for the file.
    let table = table(&[entry]);
    assert_eq!(table.matches('\n').count(), 3);
    assert!(!table.chars().any(|c| c.is_control() && c != '\n'));
});
