//! What the gate answers to a list request: one line of JSON for each file, and an end line by which a
//! reader knows that nothing is missing. (The former program's clients get a table instead: [`table`].)
//!
//! ```text
//! {"snapshot":"2026-11-20T23:47+0000","path":"etc/motd","mode":"100644","uid":0,"gid":0,"size":7,"mtime":"…"}
//! {"snapshot":"current","path_base64":"Zv8=","mode":"120777",…,"target":"etc/motd"}
//! {"schema":1,"entries":2,"cut":null}
//! ```
//!
//! Who asked with `--history` gets `first`, `copies`, `inode`, `links` and for a device `device` beside these
//! fields, and version 2 in the end line; a reader of version 1 would refuse fields that it does not know. What
//! is answered to `--snapshots` is in [`snapshots`].
//!
//! A name of the file system is bytes, JSON's strings are text. So `path` and `target` are written as
//! they are where they are UTF-8, and otherwise as `path_base64` and `target_base64`; exactly one of the
//! two forms is right for each name. The client reads what a server sends, and would act on it, so a line
//! is bounded, and its path stays below the tree: never absolute, never with `.`, `..` or an empty part.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::model::version::History;
use crate::model::{Entry, Kind, Version};

mod json;
pub mod snapshots;
mod table;

use self::json::print;
pub use table::{Table, nothing_found, table};

/// The version of the form without history.
const SCHEMA: u32 = 1;
/// The version of the form with it.
const SCHEMA_OF_HISTORY: u32 = 2;

/// No line is longer: two names of `PATH_MAX` bytes, each byte as `\u0001`, and the rest.
pub const LONGEST_LINE: usize = 64 * 1024;

/// Linux's `PATH_MAX` (limits.h); rsync carries no longer name either.
const LONGEST_PATH: usize = 4096;

/// A line of a listing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Line {
    /// One version of one file.
    Found(Version),
    /// The last line.
    End {
        /// How many entries came before it.
        entries: u64,
        /// Why there are not more, if there would be.
        cut: Option<String>,
    },
}

/// Why a line is none of a listing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ListingError {
    /// Longer than [`LONGEST_LINE`].
    TooLong,
    /// No JSON of this form; the reason.
    Malformed(String),
    /// An end line of another version.
    Schema(u32),
    /// A field whose value cannot be; its name.
    Field(&'static str),
}

impl fmt::Display for ListingError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooLong => write!(f, "a line of the listing is longer than {LONGEST_LINE} bytes"),
            Self::Malformed(reason) => write!(f, "a line of the listing is malformed: {reason}"),
            Self::Schema(found) => {
                write!(
                    f,
                    "the listing is of version {found}, this program reads versions {SCHEMA} and {SCHEMA_OF_HISTORY}"
                )
            }
            Self::Field(name) => write!(f, "a line of the listing has an impossible {name}"),
        }
    }
}

impl std::error::Error for ListingError {}

#[derive(Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct EntryLine {
    snapshot: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    path: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    path_base64: Option<String>,
    mode: String,
    uid: u32,
    gid: u32,
    size: u64,
    mtime: Timestamp,
    #[serde(skip_serializing_if = "Option::is_none")]
    target: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    target_base64: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    first: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    copies: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    inode: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    links: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    device: Option<String>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct EndLine {
    schema: u32,
    entries: u64,
    cut: Option<String>,
}

/// One file's line, without its end, and without history.
pub fn print_entry(entry: &Entry) -> String {
    print(&entry_line(entry))
}

/// One version's line, without its end, with history where there is one.
pub fn print_version(version: &Version) -> String {
    let mut line = entry_line(&version.entry);
    if let Some(history) = &version.history {
        line.first = Some(history.first.to_string());
        (line.copies, line.inode) = (Some(history.copies), Some(history.inode));
        line.links = Some(history.links);
        line.device = history.device.map(|(major, minor)| format!("{major},{minor}"));
    }
    print(&line)
}

fn entry_line(entry: &Entry) -> EntryLine {
    let (path, path_base64) = print_name(&entry.path);
    let (target, target_base64) = entry.target.as_deref().map(print_name).unwrap_or_default();
    EntryLine {
        snapshot: entry.tree.to_string(),
        path,
        path_base64,
        mode: format!("{:o}", entry.mode),
        uid: entry.uid,
        gid: entry.gid,
        size: entry.size,
        mtime: entry.mtime,
        target,
        target_base64,
        ..EntryLine::default()
    }
}

/// The last line, without its end: how many entries came, with or without history, and why no more if there
/// would be.
pub fn print_end(history: bool, entries: u64, cut: Option<&str>) -> String {
    let schema = if history { SCHEMA_OF_HISTORY } else { SCHEMA };
    print(&EndLine { schema, entries, cut: cut.map(str::to_owned) })
}

fn print_name(name: &[u8]) -> (Option<String>, Option<String>) {
    match std::str::from_utf8(name) {
        Ok(text) => (Some(text.to_owned()), None),
        Err(_) => (None, Some(STANDARD.encode(name))),
    }
}

/// Reads one line, with or without its end.
///
/// # Errors
/// When it is anything but what [`print_entry`] and [`print_end`] write.
pub fn parse_line(line: &[u8]) -> Result<Line, ListingError> {
    if line.len() > LONGEST_LINE {
        return Err(ListingError::TooLong);
    }
    if line.first() != Some(&b'{') {
        return Err(ListingError::Malformed("it is no JSON object".to_owned()));
    }
    let error = match serde_json::from_slice::<EntryLine>(line) {
        Ok(written) => return parse_version(written).map(Line::Found),
        Err(error) => error,
    };
    match serde_json::from_slice::<EndLine>(line) {
        Ok(end) if matches!(end.schema, SCHEMA | SCHEMA_OF_HISTORY) => {
            Ok(Line::End { entries: end.entries, cut: end.cut })
        }
        Ok(end) => Err(ListingError::Schema(end.schema)),
        Err(_) => Err(ListingError::Malformed(error.to_string())),
    }
}

fn parse_version(mut line: EntryLine) -> Result<Version, ListingError> {
    let fields = (line.first.take(), line.copies.take(), line.inode.take(), line.links.take());
    let device = line.device.take();
    let history = match fields {
        (None, None, None, None) if device.is_none() => None,
        (Some(first), Some(copies), Some(inode), Some(links)) => Some(History {
            first: first.parse().map_err(|_| ListingError::Field("first"))?,
            copies,
            inode,
            links,
            device: device
                .map(|text| parse_device(&text).ok_or(ListingError::Field("device")))
                .transpose()?,
        }),
        _ => return Err(ListingError::Field("history")),
    };
    Ok(Version { entry: parse_entry(line)?, history })
}

fn parse_device(text: &str) -> Option<(u32, u32)> {
    let (major, minor) = text.split_once(',')?;
    let device = (major.parse().ok()?, minor.parse().ok()?);
    (format!("{},{}", device.0, device.1) == text).then_some(device)
}

fn parse_entry(line: EntryLine) -> Result<Entry, ListingError> {
    let path = parse_name("path", line.path, line.path_base64)?;
    Ok(Entry {
        tree: line.snapshot.parse().map_err(|_| ListingError::Field("snapshot"))?,
        path: path.filter(|path| stays_below(path)).ok_or(ListingError::Field("path"))?,
        mode: parse_mode(&line.mode).ok_or(ListingError::Field("mode"))?,
        uid: line.uid,
        gid: line.gid,
        size: line.size,
        mtime: line.mtime,
        target: parse_name("target", line.target, line.target_base64)?,
    })
}

/// The name from its one right form, if it is there.
fn parse_name(
    field: &'static str,
    text: Option<String>,
    base64: Option<String>,
) -> Result<Option<Vec<u8>>, ListingError> {
    let name = match (text, base64) {
        (None, None) => return Ok(None),
        (Some(text), None) => Some(text.into_bytes()),
        (None, Some(base64)) => {
            STANDARD.decode(base64).ok().filter(|name| std::str::from_utf8(name).is_err())
        }
        (Some(_), Some(_)) => None,
    };
    let name = name.filter(|name| name.len() <= LONGEST_PATH && !name.contains(&0));
    name.map(Some).ok_or(ListingError::Field(field))
}

/// The empty path is the tree itself.
fn stays_below(path: &[u8]) -> bool {
    path.is_empty() || path.split(|byte| *byte == b'/').all(|part| !matches!(part, b"" | b"." | b".."))
}

fn parse_mode(text: &str) -> Option<u32> {
    let fits = (5..=6).contains(&text.len()) && text.bytes().all(|byte| matches!(byte, b'0'..=b'7'));
    let mode = fits.then(|| u32::from_str_radix(text, 8).ok())??;
    Kind::from_mode(mode).map(|_| mode)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn entry(path: &[u8]) -> Entry {
        Entry {
            tree: "2026-11-20T23:47+0000".parse().unwrap(),
            path: path.to_vec(),
            mode: 0o100_644,
            uid: 0,
            gid: 4,
            size: 7,
            mtime: "2015-11-29T09:26:10Z".parse().unwrap(),
            target: None,
        }
    }

    #[test]
    fn the_lines_are_the_documented_ones() {
        assert_eq!(
            print_entry(&entry(b"etc/motd")),
            r#"{"snapshot":"2026-11-20T23:47+0000","path":"etc/motd","mode":"100644","uid":0,"gid":4,"size":7,"mtime":"2015-11-29T09:26:10Z"}"#
        );
        assert_eq!(print_end(false, 2, None), r#"{"schema":1,"entries":2,"cut":null}"#);
        assert_eq!(
            parse_line(b"{\"schema\":1,\"entries\":2,\"cut\":\"too many\"}\n"),
            Ok(Line::End { entries: 2, cut: Some("too many".to_owned()) })
        );
    }

    #[test]
    fn names_that_are_no_text_are_carried_whole() {
        let mut link = entry(b"a\xff");
        link.mode = 0o120_777;
        link.target = Some(b"\xfe\n".to_vec());
        let printed = print_entry(&link);
        assert!(printed.contains(r#""path_base64":"Yf8=""#) && !printed.contains('\n'), "{printed}");
        assert_eq!(parse_line(printed.as_bytes()), Ok(Line::Found(link.into())));
    }

    #[test]
    fn a_server_cannot_name_a_file_outside_the_tree() {
        for path in ["/etc/passwd", "..", "a/../../b", "a/..", "./a", "a//b", "a/", "/", "a\0b"] {
            let line = print_entry(&entry(path.as_bytes()));
            assert_eq!(parse_line(line.as_bytes()), Err(ListingError::Field("path")), "{path:?}");
        }
        let long = print_entry(&entry(&vec![b'x'; LONGEST_PATH + 1]));
        assert_eq!(parse_line(long.as_bytes()), Err(ListingError::Field("path")));
        assert!(parse_line(print_entry(&entry(b"")).as_bytes()).is_ok(), "the tree itself");
    }

    #[test]
    fn a_line_that_we_did_not_write_is_refused() {
        use ListingError::{Field, Schema, TooLong};
        let good = print_entry(&entry(b"f"));
        let history = r#""first":"current","copies":1,"inode":1,"links":1,"device":"8,1","uid""#;
        for (from, to, why) in [
            ("\"path\":\"f\"", "\"path\":\"f\",\"path_base64\":\"/w==\"", Field("path")),
            ("\"path\":\"f\"", "\"path_base64\":\"Zg==\"", Field("path")),
            ("\"path\":\"f\"", "\"path_base64\":\"/w\"", Field("path")),
            ("\"path\":\"f\",", "", Field("path")),
            ("100644", "0100644", Field("mode")),
            ("100644", "644", Field("mode")),
            ("100644", "+10644", Field("mode")),
            ("2026-11-20T23:47+0000", "../x", Field("snapshot")),
            ("\"uid\"", "\"copies\":1,\"uid\"", Field("history")),
            ("\"uid\"", "\"device\":\"8,1\",\"uid\"", Field("history")),
            ("\"uid\"", &history.replace("8,1", "8,+1"), Field("device")),
            ("\"uid\"", &history.replace("current", "..x"), Field("first")),
        ] {
            assert_eq!(parse_line(good.replace(from, to).as_bytes()), Err(why), "{to}");
        }
        for line in
            ["", "[]", "null", "{}", &good[1..], &format!("{good}{good}"), &good.replace("gid", "gud")]
        {
            assert!(matches!(parse_line(line.as_bytes()), Err(ListingError::Malformed(_))), "{line}");
        }
        assert_eq!(parse_line(br#"{"schema":3,"entries":0,"cut":null}"#), Err(Schema(3)));
        assert_eq!(parse_line(&vec![b' '; LONGEST_LINE + 1]), Err(TooLong));
    }

    proptest! {
        #[test]
        fn every_entry_survives_its_line(
            parts in prop::collection::vec("[^/\u{0}]{1,12}", 0..5),
            raw: bool,
            kind in prop::sample::select(vec![0o14u32, 0o12, 0o10, 0o6, 0o4, 0o2, 0o1]),
            permissions in 0u32..0o10000,
            target in prop::option::of(prop::collection::vec(1u8..=255, 0..40)),
            uid: u32, gid: u32, size: u64,
            seconds in -377_705_000_000i64..253_402_207_000,
            nanoseconds in 0i32..1_000_000_000,
        ) {
            let mut path = parts.join("/").into_bytes();
            if raw && !path.is_empty() {
                path.extend_from_slice(b"/\xff\xfe");
            }
            prop_assume!(stays_below(&path));
            let mtime = Timestamp::new(seconds, nanoseconds).unwrap();
            let (mode, tree) = (kind << 12 | permissions, crate::model::Tree::Current);
            let entry = Entry { tree, path, mode, uid, gid, size, mtime, target };
            let printed = print_entry(&entry);
            prop_assert!(!printed.chars().any(crate::model::escape::is_dangerous));
            prop_assert_eq!(parse_line(printed.as_bytes()), Ok(Line::Found(entry.clone().into())));
            let device = raw.then_some((uid, gid));
            let history = History { first: crate::model::Tree::Current, copies: gid, inode: size, links: uid, device };
            let version = Version { entry, history: Some(history) };
            let printed = print_version(&version);
            prop_assert_eq!(parse_line(printed.as_bytes()), Ok(Line::Found(version)));
        }

        #[test]
        fn no_bytes_make_the_parser_panic(line: Vec<u8>) {
            let _ = parse_line(&line);
        }
    }

    #[test]
    fn the_longest_names_fit_into_a_line() {
        let mut link = entry(&[1; LONGEST_PATH]);
        (link.mode, link.target) = (0o120_777, Some(vec![1; LONGEST_PATH]));
        let printed = print_entry(&link);
        assert!(printed.len() <= LONGEST_LINE);
        assert_eq!(parse_line(printed.as_bytes()), Ok(Line::Found(link.into())));
    }
}
