//! What rsync tells about its progress, and the bar that is made of it.
//!
//! rsync runs with `--no-human-readable --info=progress2 --stats`; a piece of progress begins with `\r`
//! and is flushed at once, also into a pipe (tried with rsync 3.2.7 and 3.5.0). Anything that is not
//! understood is no progress: it is passed on as text, never dropped.

use std::time::Duration;

use indicatif::{HumanBytes, ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::console;
use crate::model::backup_record::Transfer;

/// One piece of `--info=progress2`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// The size of the files that were copied so far, in bytes.
    pub bytes: u64,
    /// Files looked at and files known; absent while one file is being sent.
    pub files: Option<Checked>,
}

/// How far rsync has come in its list of files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Checked {
    /// Files that are through.
    pub done: u64,
    /// Files in the list.
    pub known: u64,
    /// Whether the list is complete; before that `known` still grows.
    pub complete: bool,
}

impl Progress {
    /// Reads `1238099 100%  146.38kB/s    0:00:08 (xfr#5, to-chk=169/396)`.
    pub fn parse(line: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(line).ok()?;
        let mut words = text.split_ascii_whitespace();
        let bytes = words.next()?.parse().ok()?;
        words.next()?.strip_suffix('%')?.parse::<u64>().ok()?;
        words.next()?.strip_suffix("/s")?;
        words.next()?.split_once(':')?;
        let files = match words.next() {
            None => None,
            Some(word) => {
                word.strip_prefix("(xfr#")?;
                Some(Checked::parse(words.next()?.strip_suffix(')')?)?)
            }
        };
        Some(Self { bytes, files })
    }
}

impl Checked {
    /// Reads `to-chk=169/396` or, while the list still grows, `ir-chk=169/396`.
    fn parse(word: &str) -> Option<Self> {
        let (kind, numbers) = word.split_once('=')?;
        let complete = match kind {
            "to-chk" => true,
            "ir-chk" => false,
            _ => return None,
        };
        let (left, known) = numbers.split_once('/')?;
        let (left, known): (u64, u64) = (left.parse().ok()?, known.parse().ok()?);
        Some(Self { done: known.checked_sub(left)?, known, complete })
    }
}

/// Takes one line of `--stats` into `transfer`; `false` if it is no such line.
pub fn take_statistic(line: &[u8], transfer: &mut Transfer) -> bool {
    let Some((name, value)) = std::str::from_utf8(line).ok().and_then(|text| text.split_once(':')) else {
        return is_closing_line(line);
    };
    let number = value.split_ascii_whitespace().next().and_then(|word| word.replace(',', "").parse().ok());
    let field = match name {
        "Number of files" => &mut transfer.files,
        "Number of created files" => &mut transfer.created,
        "Number of deleted files" => &mut transfer.deleted,
        "Number of regular files transferred" => &mut transfer.files_sent,
        "Total file size" => &mut transfer.total_bytes,
        "Total transferred file size" => &mut transfer.changed_bytes,
        "Total bytes sent" => &mut transfer.sent_bytes,
        "Total bytes received" => &mut transfer.received_bytes,
        "Literal data"
        | "Matched data"
        | "File list size"
        | "File list generation time"
        | "File list transfer time" => return true,
        _ => return false,
    };
    *field = number.unwrap_or(*field);
    true
}

/// `sent 4539 bytes  received 78 bytes  …` and `total size is 5980003  speedup is …`.
fn is_closing_line(line: &[u8]) -> bool {
    (line.starts_with(b"sent ") && line.ends_with(b" bytes/sec"))
        || (line.starts_with(b"total size is ") && line.windows(12).any(|words| words == b" speedup is "))
}

/// A bar on the terminal, or nothing at all where there is none.
#[derive(Debug)]
pub struct Bar(Option<ProgressBar>);

impl Bar {
    /// Draws on stderr if that is a terminal.
    pub fn new() -> Self {
        if !console::talks_to_a_terminal() {
            return Self(None);
        }
        let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
        bar.set_style(ProgressStyle::default_spinner());
        bar.enable_steady_tick(Duration::from_millis(200));
        bar.set_message("waiting for the first files");
        Self(Some(bar))
    }

    /// Whether somebody sees it.
    pub fn is_shown(&self) -> bool {
        self.0.is_some()
    }

    /// Moves it.
    pub fn show(&self, progress: Progress, since: Duration) {
        let Some(bar) = &self.0 else { return };
        let rate = progress.bytes.checked_div(since.as_secs()).unwrap_or(progress.bytes);
        bar.set_message(format!("{}, {}/s", HumanBytes(progress.bytes), HumanBytes(rate)));
        let Some(files) = progress.files else { return };
        bar.set_style(style(files.complete));
        bar.set_length(files.known);
        bar.set_position(files.done);
    }

    /// One line of talk, above the bar.
    pub fn say(&self, line: &str) {
        match &self.0 {
            Some(bar) => bar.suspend(|| console::say(line)),
            None => console::say(line),
        }
    }

    /// Takes it off the screen.
    pub fn finish(&self) {
        if let Some(bar) = &self.0 {
            bar.finish_and_clear();
        }
    }
}

impl Default for Bar {
    fn default() -> Self {
        Self::new()
    }
}

/// The time to go is told only when the number of files is known.
fn style(complete: bool) -> ProgressStyle {
    let template = if complete {
        "[{wide_bar}] {human_pos} of {human_len} files, {msg}, {eta} to go"
    } else {
        "{spinner} {human_pos} of {human_len} files and more, {msg}, {elapsed}"
    };
    let style = ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
    style.progress_chars("=> ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn progress_is_read_with_and_without_its_files() {
        let listing = b"    1238099  12%  146.38kB/s    0:00:08 (xfr#5, ir-chk=169/396)";
        let files = Some(Checked { done: 227, known: 396, complete: false });
        assert_eq!(Progress::parse(listing), Some(Progress { bytes: 1_238_099, files }));
        let files = Some(Checked { done: 305, known: 306, complete: true });
        let checking = b"20000   0%    0.00kB/s    0:00:00 (xfr#1, to-chk=1/306)  ";
        assert_eq!(Progress::parse(checking), Some(Progress { bytes: 20_000, files }));
        let within = b"          20000   0%    0.00kB/s    0:00:00  ";
        assert_eq!(Progress::parse(within), Some(Progress { bytes: 20_000, files: None }));
    }

    #[test]
    fn other_lines_are_no_progress() {
        for line in
            ["", "etc/passwd", "12 files", "1 2% 3 4", "rsync: [sender] x: y (1)", "1 2% 3kB/s 0:01 (x"]
        {
            assert_eq!(Progress::parse(line.as_bytes()), None, "{line}");
        }
    }

    #[test]
    fn statistics_are_counted_and_no_file_name_is_taken_for_one() {
        let mut transfer = Transfer::default();
        for line in [
            "Number of files: 12,305 (reg: 300, dir: 5)",
            "Number of created files: 7 (reg: 7)",
            "Number of deleted files: 0",
            "Number of regular files transferred: 37",
            "Total file size: 5980003 bytes",
            "Total transferred file size: 41 bytes",
            "Literal data: 3 bytes",
            "Total bytes sent: 4539",
            "Total bytes received: 78",
            "sent 4539 bytes  received 78 bytes  9234.00 bytes/sec",
            "total size is 5980003  speedup is 1295.21",
            "total size is 5980003  speedup is 1295.21 (DRY RUN)",
        ] {
            assert!(take_statistic(line.as_bytes(), &mut transfer), "{line}");
        }
        let expected = Transfer {
            files: 12_305,
            created: 7,
            deleted: 0,
            files_sent: 37,
            total_bytes: 5_980_003,
            changed_bytes: 41,
            sent_bytes: 4_539,
            received_bytes: 78,
        };
        assert_eq!(transfer, expected);
        for line in
            ["<f+++++++++ Number of files: 9", "IO error encountered -- skipping file deletion", "sent x"]
        {
            assert!(!take_statistic(line.as_bytes(), &mut transfer), "{line}");
        }
        assert_eq!(transfer, expected);
    }

    proptest! {
        #[test]
        fn no_bytes_make_the_parsers_panic(line in proptest::collection::vec(any::<u8>(), 0..80)) {
            let _ = Progress::parse(&line);
            let _ = take_statistic(&line, &mut Transfer::default());
        }
    }
}
