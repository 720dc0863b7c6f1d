//! Everything that rsync, ssh and the gate say while files are copied: each line is shown, counted or
//! remembered, and none but figures and progress is lost.

use std::time::Instant;

use super::super::Order;
use super::super::answers::{GATE, refusal};
use crate::model::backup_record::Transfer;
use crate::model::escaped;
use crate::system::console;
use crate::system::progress::{Bar, Progress, take_statistic};
use crate::system::supervise::Stream;

/// So many complaints are kept for the record.
const MOST_COMPLAINTS: usize = 20;
/// So many changed names are kept.
const MOST_CHANGES: usize = 10_000;
/// `--itemize-changes` prints eleven letters and a space before a name.
const ITEM: usize = 12;

/// What is left of it at the end.
#[derive(Debug, Default)]
pub(super) struct Heard {
    /// The figures.
    pub(super) transfer: Transfer,
    /// Files that vanished while they were read.
    pub(super) vanished: u64,
    /// The gate's refusal.
    pub(super) refused: Option<String>,
    /// The receiving side had no room.
    pub(super) server_is_full: bool,
    /// What tells most about a failure: the gate's words, or else the first complaint.
    pub(super) reason: Option<String>,
    /// The names that changed, where that was to be kept: as many as somebody might look at.
    pub(super) changed: Vec<Vec<u8>>,
    /// The first complaints.
    pub(super) complaints: Vec<String>,
}

/// Hears rsync out.
#[allow(clippy::struct_excessive_bools, reason = "each is one option of the command line")]
pub(super) struct Listener {
    verbose: bool,
    dry_run: bool,
    json: bool,
    keeps: bool,
    bar: Bar,
    begin: Instant,
    heard: Heard,
}

impl Listener {
    pub(super) fn new(order: &Order, bar: Bar, keeps: bool) -> Self {
        let Order { verbose, dry_run, json, .. } = *order;
        Self { verbose, dry_run, json, keeps, bar, begin: Instant::now(), heard: Heard::default() }
    }

    /// One line, without its end.
    pub(super) fn hear(&mut self, stream: Stream, line: &[u8]) {
        match stream {
            Stream::Out => self.hear_out(line),
            Stream::Err => self.hear_err(line),
        }
    }

    /// Takes the bar away.
    pub(super) fn finish(self) -> Heard {
        self.bar.finish();
        self.heard
    }

    fn hear_out(&mut self, line: &[u8]) {
        if let Some(progress) = Progress::parse(line) {
            self.bar.show(progress, self.begin.elapsed());
        } else if !self.hear_item(line) && !take_statistic(line, &mut self.heard.transfer) {
            self.bar.say(&format!("rsync: {}", escaped(line)));
        }
    }

    /// A change that rsync makes or, in a dry run, would make; that list is the dry run's result.
    fn hear_item(&mut self, line: &[u8]) -> bool {
        let Some(name) = item_name(line).filter(|_| self.verbose || self.keeps) else { return false };
        if self.keeps && self.heard.changed.len() < MOST_CHANGES {
            self.heard.changed.push(bare_name(line, name));
        }
        if !self.verbose {
            return true;
        }
        match (self.dry_run, self.json, line.starts_with(b"*deleting")) {
            (true, false, _) => console::print(escaped(line)),
            (true, true, _) => self.bar.say(&escaped(line)),
            (false, _, true) => self.bar.say(&format!("deleting {}", escaped(name))),
            (false, _, false) => self.bar.say(&escaped(name)),
        }
        true
    }

    fn hear_err(&mut self, line: &[u8]) {
        let heard = &mut self.heard;
        let text = escaped(line);
        if let Some(words) = line.strip_prefix(GATE) {
            heard.refused = heard.refused.take().or_else(|| refusal(line));
            heard.reason = Some(format!("the server said: {}", escaped(words)));
        }
        if heard.refused.is_some() {
            // It will be the sentence at the end; what rsync says of the closed connection adds nothing.
            return;
        }
        if line.starts_with(b"file has vanished: ") {
            heard.vanished += 1;
            if self.verbose {
                self.bar.say(&text);
            }
            return;
        } else if line.starts_with(b"rsync error: ") || line.starts_with(b"rsync warning: ") {
            // The closing line of each side; its code is in the exit status, which is told in words.
            return;
        }
        heard.server_is_full |= is_full_server(line);
        heard.reason.get_or_insert_with(|| text.clone());
        if heard.complaints.len() < MOST_COMPLAINTS {
            heard.complaints.push(text.clone());
        }
        self.bar.say(&text);
    }
}

/// The name behind `<f.st...... ` or `*deleting   `; no other line of rsync begins so.
fn item_name(line: &[u8]) -> Option<&[u8]> {
    let (item, name) = line.split_at_checked(ITEM)?;
    let is_change = b"<>ch.".contains(&item[0]) && b"fdLDS".contains(&item[1]) && item[ITEM - 1] == b' ';
    (is_change || item == b"*deleting   ").then_some(name)
}

/// Without where a link points to, and with the bytes that rsync writes as `\\#012` (rsync(1),
/// --8-bit-output).
fn bare_name(line: &[u8], name: &[u8]) -> Vec<u8> {
    let is_link = line.starts_with(b"h") || line[1] == b'L';
    let arrow = name.windows(4).position(|part| part == b" -> " || part == b" => ").filter(|_| is_link);
    let mut rest = arrow.map_or(name, |at| &name[..at]);
    let mut bare = Vec::with_capacity(rest.len());
    while let Some((&first, after)) = rest.split_first() {
        let digits = after.strip_prefix(b"#").and_then(|after| after.get(..3)).filter(|_| first == b'\\');
        let byte = digits.and_then(|digits| std::str::from_utf8(digits).ok());
        let byte = byte.and_then(|digits| u8::from_str_radix(digits, 8).ok());
        bare.push(byte.unwrap_or(first));
        rest = if byte.is_some() { &after[4..] } else { after };
    }
    bare
}

/// `rsync: [receiver] write failed on "x": No space left on device (28)`. The sender names itself too,
/// and its disk is ours.
fn is_full_server(line: &[u8]) -> bool {
    let says = |text: &[u8]| line.windows(text.len()).any(|window| window == text);
    (says(b"No space left on device (28)") || says(b"Disk quota exceeded (122)"))
        && (says(b"[receiver]") || says(b"[generator]") || says(b"[Receiver]"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changes_are_told_from_everything_else() {
        assert_eq!(item_name(b"<f+++++++++ etc/x y").unwrap(), b"etc/x y");
        assert_eq!(item_name(b"cd+++++++++ etc/").unwrap(), b"etc/");
        assert_eq!(item_name(b"*deleting   old file").unwrap(), b"old file");
        for line in [
            "Number of files: 3",
            "total size is 5  speedup is 2",
            "cannot do that",
            "",
            ".",
            "hello world x",
        ] {
            assert_eq!(item_name(line.as_bytes()), None, "{line}");
        }
    }

    #[test]
    fn a_changed_name_is_the_files_own() {
        for (line, name) in [
            ("<f+++++++++ a -> b", "a -> b"),
            ("cL+++++++++ a -> b", "a"),
            ("hf+++++++++ a => b", "a"),
            ("<f.st...... x\\#012y\\#z", "x\ny\\#z"),
            ("*deleting   d/e/", "d/e/"),
        ] {
            let line = line.as_bytes();
            assert_eq!(bare_name(line, item_name(line).unwrap()), name.as_bytes());
        }
    }

    #[test]
    fn only_the_other_side_being_full_is_the_server_being_full() {
        let full = |line: &str| is_full_server(line.as_bytes());
        assert!(full("rsync: [receiver] write failed on \"x\": No space left on device (28)"));
        assert!(full("rsync: [generator] recv_generator: mkdir \"x\" failed: No space left on device (28)"));
        assert!(!full("rsync: [sender] write error: No space left on device (28)"));
        assert!(!full("rsync: [receiver] write failed on \"x\": Input/output error (5)"));
    }
}
