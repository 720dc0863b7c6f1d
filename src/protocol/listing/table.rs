//! The table that the former program's clients show as it comes, so it is made for a person: file names
//! are escaped, since whoever could write a file on the client chose them.

use crate::model::{Entry, Version, escaped};

const HEADING: [&str; 7] = ["snapshot", "modestring", "size", "uid", "gid", "mtime", "path"];

/// A table that is printed while its rows come, so no column can know its widest value: each begins as wide as
/// most values are, and grows with those that are wider. The columns are those of [`table`]; with history the
/// snapshot is the newest in which the version stood, and the oldest comes before it.
#[derive(Debug)]
pub struct Table {
    history: bool,
    widths: [usize; 8],
    begun: bool,
}

impl Table {
    /// An empty one.
    pub fn new(history: bool) -> Self {
        let first = if history { 21 } else { 0 };
        Self { history, widths: [first, 21, 10, 10, 5, 5, 25, 0], begun: false }
    }

    /// The next row, without its end; before the first one the heading.
    pub fn row(&mut self, version: &Version) -> String {
        let first = version.history.as_ref().map(|history| history.first.to_string());
        let line = self.line(first.unwrap_or_default(), row(&version.entry));
        if std::mem::replace(&mut self.begun, true) {
            return line;
        }
        let mut heading = HEADING.map(str::to_owned);
        if self.history {
            "last".clone_into(&mut heading[0]);
        }
        let heading = self.line("first".to_owned(), heading);
        format!("{heading}\n{}\n{line}", "-".repeat(heading.chars().count().max(79)))
    }

    fn line(&mut self, first: String, row: [String; 7]) -> String {
        let first = self.history.then_some((0, first));
        let columns = first.into_iter().chain((1..).zip(row));
        let padded = columns.map(|(column, text)| {
            let own = if column == 7 { &mut 0 } else { &mut self.widths[column] };
            *own = width(&text).max(*own);
            format!("{text:<width$}", width = *own)
        });
        padded.collect::<Vec<_>>().join(" ").trim_end().to_owned()
    }
}

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
    fn rows_that_come_one_by_one_stand_below_each_other_as_far_as_can_be_known() {
        let entry = Entry {
            tree: "2015-11-29T09:30+0000".parse().unwrap(),
            path: b"etc/a\nb".to_vec(),
            mode: 0o100_644,
            uid: 0,
            gid: 4_294_967_295,
            size: 286,
            mtime: "2015-11-29T09:26:10.5Z".parse().unwrap(),
            target: None,
        };
        let mut plain = Table::new(false);
        let rows = [plain.row(&entry.clone().into()), plain.row(&entry.clone().into())];
        let lines: Vec<&str> = rows[0].lines().collect();
        assert_eq!(lines.len(), 3, "{rows:?}");
        assert_eq!(lines[2], rows[1]);
        assert_eq!(
            rows[1],
            "2015-11-29T09:30+0000 -rw-r--r-- 286        0     4294967295 2015-11-29 09:26:10 +0000 /etc/a\\x0ab"
        );
        let history = crate::model::version::History {
            first: "saved".parse().unwrap(),
            copies: 2,
            inode: 1,
            links: 1,
            device: None,
        };
        let row = Table::new(true).row(&crate::model::Version { entry, history: Some(history) });
        assert!(row.starts_with("first                 last                  modestring size"), "{row}");
        assert!(row.contains("\nsaved                 2015-11-29T09:30+0000 -rw"), "{row}");
    }

    #[test]
    fn an_empty_answer_names_the_patterns() {
        assert_eq!(
            nothing_found(&[&b"/etc/*"[..], b"/\x1b"]),
            "** Sorry.  There were no files matching:\n--> /etc/*\n--> /\\x1b\n"
        );
    }
}
