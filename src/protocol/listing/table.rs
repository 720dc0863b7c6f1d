//! The table that the former program's clients show as it comes, so it is made for a person: file names
//! are escaped, since whoever could write a file on the client chose them.

use crate::model::{Entry, escaped};

const HEADING: [&str; 7] = ["snapshot", "modestring", "size", "uid", "gid", "mtime", "path"];

/// Rows by path, time and size; every column as wide as its widest value, one space between two; a rule
/// of dashes below the heading, which is one dash longer than a row, as it always was. Each line ends in
/// a newline.
pub fn table(entries: &[Entry]) -> String {
    let mut sorted: Vec<&Entry> = entries.iter().collect();
    sorted.sort_by_key(|entry| (&entry.path, entry.mtime.as_second(), entry.size));
    let rows: Vec<_> =
        std::iter::once(HEADING.map(str::to_owned)).chain(sorted.into_iter().map(row)).collect();
    let widths: [usize; 7] =
        std::array::from_fn(|column| rows.iter().map(|row| width(&row[column])).max().unwrap_or(0));
    let rule = "-".repeat(widths.iter().sum::<usize>() + widths.len());
    let mut lines: Vec<String> = rows.iter().map(|row| padded(row, &widths)).collect();
    lines.insert(1, rule);
    lines.join("\n") + "\n"
}

/// What is said instead of an empty table; each line ends in a newline.
pub fn nothing_found<Pattern: AsRef<[u8]>>(patterns: &[Pattern]) -> String {
    let lines: Vec<_> =
        patterns.iter().map(|pattern| format!("--> {}\n", escaped(pattern.as_ref()))).collect();
    format!("** Sorry.  There were no files matching:\n{}", lines.concat())
}

fn row(entry: &Entry) -> [String; 7] {
    let arrow = entry.target.as_deref().map(|target| format!(" -> {}", escaped(target)));
    [
        entry.tree.to_string(),
        entry.mode_string(),
        entry.size.to_string(),
        entry.uid.to_string(),
        entry.gid.to_string(),
        entry.mtime.strftime("%Y-%m-%d %H:%M:%S +0000").to_string(),
        format!("/{}{}", escaped(&entry.path), arrow.unwrap_or_default()),
    ]
}

fn width(text: &str) -> usize {
    text.chars().count()
}

fn padded(row: &[String; 7], widths: &[usize; 7]) -> String {
    let columns: Vec<_> =
        row.iter().zip(widths).map(|(text, width)| format!("{text:<width$}", width = *width)).collect();
    columns.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_the_former_program_s() {
        let file = Entry {
            tree: "2015-11-29T09:30+0000".parse().unwrap(),
            path: b"etc/motd".to_vec(),
            mode: 0o100_644,
            uid: 0,
            gid: 1000,
            size: 286,
            mtime: "2015-11-29T09:26:10.5Z".parse().unwrap(),
            target: None,
        };
        let link = Entry {
            tree: "saved".parse().unwrap(),
            path: b"etc/a\x1b".to_vec(),
            mode: 0o120_777,
            size: 4,
            target: Some(b"motd".to_vec()),
            ..file.clone()
        };
        assert_eq!(
            table(&[file, link]),
            [
                "snapshot              modestring size uid gid  mtime                     path              ",
                &"-".repeat(92),
                "saved                 lrwxrwxrwx 4    0   1000 2015-11-29 09:26:10 +0000 /etc/a\\x1b -> motd",
                "2015-11-29T09:30+0000 -rw-r--r-- 286  0   1000 2015-11-29 09:26:10 +0000 /etc/motd         ",
                "",
            ]
            .join("\n")
        );
    }

    #[test]
    fn an_empty_answer_names_the_patterns() {
        assert_eq!(
            nothing_found(&[&b"/etc/*"[..], b"/\x1b"]),
            "** Sorry.  There were no files matching:\n--> /etc/*\n--> /\\x1b\n"
        );
    }
}
