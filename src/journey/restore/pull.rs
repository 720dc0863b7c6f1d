//! One run of rsync that brings files back, or tells what it would change. It writes below one
//! directory and nowhere else, and what it asks for was planned from the server's list, so a name that
//! nobody chose is refused by rsync.

use std::ffi::{OsStr, OsString};
use std::io::Write;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::Path;
use std::process::Stdio;
use std::time::Instant;

use anyhow::{Context, Result, bail};
use tempfile::NamedTempFile;

use super::itemise::{self, Change};
use super::plan::{Batch, Rule};
use super::report::Report;
use crate::model::backup_record::Transfer;
use crate::model::span::Span;
use crate::model::{Failure, escaped};
use crate::system::process;
use crate::system::progress::{self, Bar, Progress};
use crate::system::signals::Signals;
use crate::system::ssh::Connection;
use crate::system::supervise::{self, Stream};

/// Where the part of a file lies that had come when a restore was interrupted: beside the file, never
/// under its name.
const PARTIAL: &str = ".byteback-partial";

/// What every run of this restore shares.
pub(super) struct Puller<'a> {
    /// The way to the server.
    pub(super) connection: &'a Connection,
    /// Ctrl-C and its like.
    pub(super) signals: &'a Signals,
    /// How long rsync waits for a byte.
    pub(super) io_timeout: Span,
    /// Tell each name.
    pub(super) verbose: bool,
    /// Where talk and events go.
    pub(super) report: &'a Report,
}

/// What a run is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Purpose {
    /// Bring the files.
    Fetch,
    /// Tell what [`Purpose::Fetch`] would change, and change nothing.
    Rehearse,
    /// Read both sides to the last byte and tell what differs, and change nothing.
    Compare,
}

/// How a run went.
pub(super) struct Pulled {
    /// rsync's own count.
    pub(super) transfer: Transfer,
    /// What was changed or would be; of [`Purpose::Fetch`] nothing is told.
    pub(super) changes: Vec<Change>,
    /// What went wrong, if something did, and whether another run makes sense.
    pub(super) trouble: Option<Trouble>,
}

/// rsync ended with another status than 0.
pub(super) struct Trouble {
    /// One sentence.
    pub(super) why: String,
    /// Only some files failed, as statuses 23 and 24 say; the way to the server is good.
    pub(super) partial: bool,
}

/// What is fetched, and for what.
pub(super) struct Order<'a> {
    /// From one tree.
    pub(super) batch: &'a Batch,
    /// An absolute path; it need be there for [`Purpose::Fetch`] alone.
    pub(super) into: &'a Path,
    /// `--usermap=…` and `--groupmap=…`, or none.
    pub(super) owners: &'a [String],
    /// What for.
    pub(super) purpose: Purpose,
    /// Whether the directories above get owner, mode and time of the backup too.
    pub(super) parents: bool,
}

impl Puller<'_> {
    /// Carries an order out.
    pub(super) fn pull(&self, order: &Order<'_>) -> Result<Pulled> {
        let rsync = process::find_program(&["/usr/bin/rsync", "/usr/local/bin/rsync"])
            .context("there is no rsync here; install the package rsync")?;
        let rules = rules_file(order.batch)?;
        let mut command = process::command(rsync);
        let host = self.connection.rsync_host();
        command.args(options(self.io_timeout, self.verbose, order.purpose));
        command.args((!order.parents).then_some("--no-implied-dirs")).args(order.owners).args(
            transfer_words(order.batch, rules.as_ref(), &self.connection.rsync_shell(), &host, order.into),
        );
        command.stdin(Stdio::null());
        let mut watcher = Watcher::new(self, order.purpose);
        let ended = supervise::run(&mut command, self.signals, |stream, line| watcher.take(stream, line))?;
        watcher.bar.finish();
        if let Some(signal) = ended.interrupted {
            bail!(Failure::failed(format!(
                "ended by {signal}; what came before is in {}, and the same command goes on from there",
                escaped(order.into.as_os_str().as_bytes())
            )));
        }
        let trouble = (!ended.status.success()).then(|| Trouble {
            why: format!("rsync from {}: {}, {}", order.batch.tree, ended.describe(), watcher.first_error()),
            partial: matches!(ended.status.code(), Some(23 | 24)),
        });
        Ok(Pulled { transfer: watcher.transfer, changes: watcher.changes, trouble })
    }
}

fn options(io_timeout: Span, verbose: bool, purpose: Purpose) -> Vec<String> {
    let mut words: Vec<String> = [
        "--archive",
        "--hard-links",
        "--acls",
        "--xattrs",
        "--numeric-ids",
        "--relative",
        "--sparse",
        "--stats",
        "--no-human-readable",
    ]
    .map(str::to_owned)
    .into();
    words.push(format!("--timeout={}", io_timeout.as_secs().clamp(1, 604_800)));
    match purpose {
        Purpose::Fetch => {
            words.extend(["--info=progress2".to_owned(), format!("--partial-dir={PARTIAL}")]);
            words.extend(verbose.then(|| "--out-format=%n%L".to_owned()));
        }
        Purpose::Rehearse | Purpose::Compare => {
            words.extend(["--dry-run".to_owned(), format!("--out-format={}", itemise::FORMAT)]);
            words.extend((purpose == Purpose::Compare).then(|| "--checksum".to_owned()));
        }
    }
    words
}

/// What is fetched over which shell from where to where.
fn transfer_words(
    batch: &Batch,
    rules: Option<&NamedTempFile>,
    shell: &str,
    host: &str,
    into: &Path,
) -> Vec<OsString> {
    let mut words: Vec<OsString> = Vec::new();
    if let Some(file) = rules {
        // `--from0` is about the lines of the file; it is not sent to the server.
        words.extend([
            "--from0".into(),
            [OsStr::new("--filter=merge "), file.path().as_os_str()].into_iter().collect(),
        ]);
    }
    words.extend(["-e".into(), shell.into()]);
    words.extend(batch.sources.iter().map(|path| source_word(host, batch, path)));
    words.push([into.as_os_str(), OsStr::new("/")].into_iter().collect());
    words
}

/// The rules, each ended by a NUL, since a name may hold a newline; in a file, since a command line has
/// no room for thousands.
fn rules_file(batch: &Batch) -> Result<Option<NamedTempFile>> {
    if batch.rules.is_empty() {
        return Ok(None);
    }
    let lines: Vec<u8> = batch.rules.iter().flat_map(rule_line).collect();
    let place = |parent: &str| tempfile::Builder::new().prefix("byteback-").tempfile_in(parent);
    let mut file = place("/run").or_else(|_| place("/tmp")).context("cannot make a file in /run or /tmp")?;
    file.write_all(&lines).context("cannot write the list of files")?;
    Ok(Some(file))
}

fn rule_line(rule: &Rule) -> Vec<u8> {
    let (sign, pattern) = match rule {
        Rule::Include(pattern) => (b"+ ", pattern),
        Rule::Exclude(pattern) => (b"- ", pattern),
    };
    [sign, pattern.as_slice(), b"\0"].concat()
}

/// What stands behind `/./` is the name that rsync transfers, and keeps below the destination.
fn source_word(host: &str, batch: &Batch, path: &[u8]) -> OsString {
    OsString::from_vec([host.as_bytes(), b":", batch.tree.as_str().as_bytes(), b"/./", path].concat())
}

struct Watcher<'a> {
    bar: Bar,
    began: Instant,
    verbose: bool,
    purpose: Purpose,
    report: &'a Report,
    transfer: Transfer,
    changes: Vec<Change>,
    error: Option<String>,
}

impl<'a> Watcher<'a> {
    fn new(puller: &Puller<'a>, purpose: Purpose) -> Self {
        Self {
            bar: Bar::new(),
            began: Instant::now(),
            verbose: puller.verbose,
            purpose,
            report: puller.report,
            transfer: Transfer::default(),
            changes: Vec::new(),
            error: None,
        }
    }

    fn take(&mut self, stream: Stream, line: &[u8]) {
        if stream == Stream::Err {
            self.error.get_or_insert_with(|| escaped(line));
            self.bar.say(&escaped(line));
        } else if self.purpose != Purpose::Fetch
            && let Some(change) = itemise::parse(line)
        {
            self.changes.push(change);
        } else if let Some(progress) = Progress::parse(line) {
            self.bar.show(progress, self.began.elapsed());
            self.report.progress(progress, self.began.elapsed());
        } else if !progress::take_statistic(line, &mut self.transfer) && self.verbose {
            self.bar.say(&escaped(line));
        }
    }

    /// The first one is the cause; the last one only says that there was an error.
    fn first_error(&self) -> &str {
        self.error.as_deref().unwrap_or("it printed nothing")
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::PathBuf;

    use jiff::Timestamp;

    use super::*;
    use crate::journey::restore::plan;
    use crate::model::{Entry, Tree};
    use crate::protocol::request::Request;
    use crate::protocol::rsync_args::Source;

    #[test]
    fn a_source_is_the_bytes_of_its_name_below_the_tree() {
        let batch = Batch {
            tree: "2026-11-20T23:47+0000".parse().unwrap(),
            sources: vec![b"etc/\xff x".to_vec()],
            rules: Vec::new(),
            chosen: Vec::new(),
        };
        let word = source_word("bb@[::1]", &batch, &batch.sources[0]);
        assert_eq!(word.as_bytes(), b"bb@[::1]:2026-11-20T23:47+0000/./etc/\xff x");
        assert_eq!(rule_line(&Rule::Include(b"/a\nb".to_vec())), b"+ /a\nb\0");
    }

    /// With the rsync of this machine, past the gate's own grammar.
    #[test]
    fn every_name_comes_back_and_nothing_else_does() {
        let scratch = tempfile::tempdir().unwrap();
        let (tree, into) = (scratch.path().join("current"), scratch.path().join("into"));
        let shell = make_shell(scratch.path());
        for name in ODD_NAMES {
            for place in ["", "files/", "parents/p*~/", "dirs/"] {
                let path = tree.join(place).join(OsStr::from_bytes(name));
                let file = if place == "dirs/" { path.join("sub/f") } else { path };
                fs::create_dir_all(file.parent().unwrap()).unwrap();
                fs::write(file, name).unwrap();
            }
        }
        for name in ODD_NAMES {
            for (place, mode, file) in [
                ("", FILE, ""),
                ("files/", FILE, ""),
                ("parents/p*~/", FILE, ""),
                ("dirs/", DIRECTORY, "/sub/f"),
            ] {
                let path = [place.as_bytes(), name].concat();
                let _ = fs::remove_dir_all(&into);
                fs::create_dir(&into).unwrap();
                for batch in plan::batches(&[entry(&path, mode)]) {
                    let mut rsync = process::command("/usr/bin/rsync");
                    rsync.args(options(Span::seconds(300), true, Purpose::Fetch));
                    let rules = rules_file(&batch).unwrap();
                    let words = transfer_words(&batch, rules.as_ref(), &shell, "u@h", &into);
                    process::run(rsync.args(words)).unwrap();
                    let line = fs::read(scratch.path().join("line")).unwrap();
                    let Ok(Request::Pull(pull)) = Request::parse(&line) else { panic!("{}", escaped(&line)) };
                    let source = |path: &Vec<u8>| Source::named(Tree::Current, path);
                    assert_eq!(pull.sources(), batch.sources.iter().map(source).collect::<Vec<_>>());
                }
                let wanted = [&path, file.as_bytes()].concat();
                assert_eq!(files_below(&into), [into.join(OsStr::from_bytes(&wanted))]);
            }
        }
    }

    const FILE: u32 = 0o100_644;
    const DIRECTORY: u32 = 0o040_755;

    const ODD_NAMES: [&[u8]; 24] = [
        b"plain",
        b"-dash",
        b"sp ace",
        b" lead",
        b"trail ",
        b"quo'te\"s",
        b"~tilde",
        b"til~de",
        b"*",
        b"st*ar",
        b"***",
        b"qu?",
        b"br[a]ck",
        b"[",
        b"{a,b}",
        b"back\\slash",
        b"end\\",
        b"\\*",
        b"new\nline",
        b"\x01\x7f",
        b"$(id);&|<>!#`",
        b"\xff\xfe",
        b"a:b",
        b"+ x",
    ];

    fn make_shell(directory: &Path) -> String {
        let (script, place) = (directory.join("shell"), directory.display());
        let text = format!(
            "while [ \"$1\" != h ]; do shift; done\nshift\ncd '{place}'\nprintf %s \"$*\" >line\neval \"exec $*\"\n"
        );
        fs::write(&script, text).unwrap();
        format!("/bin/sh {}", script.display())
    }

    fn entry(path: &[u8], mode: u32) -> Entry {
        Entry {
            tree: Tree::Current,
            path: path.to_vec(),
            mode,
            uid: 0,
            gid: 0,
            size: 0,
            mtime: Timestamp::UNIX_EPOCH,
            target: None,
        }
    }

    fn files_below(directory: &Path) -> Vec<PathBuf> {
        let children = fs::read_dir(directory).unwrap().map(|child| child.unwrap().path());
        children.flat_map(|child| if child.is_dir() { files_below(&child) } else { vec![child] }).collect()
    }

    #[test]
    fn the_first_error_is_the_one_that_is_told() {
        let report = Report::new(false);
        let mut watcher = Watcher {
            bar: Bar::new(),
            began: Instant::now(),
            verbose: false,
            purpose: Purpose::Rehearse,
            report: &report,
            transfer: Transfer::default(),
            changes: Vec::new(),
            error: None,
        };
        watcher.take(Stream::Err, b"byteback-receive: no\x1b");
        watcher.take(Stream::Err, b"rsync error: error in rsync protocol data stream (code 12)");
        watcher.take(Stream::Out, b"Number of files: 3");
        assert_eq!(watcher.first_error(), "byteback-receive: no\\x1b");
        watcher.take(Stream::Out, b">f+++++++++ etc/fstab");
        assert_eq!((watcher.transfer.files, watcher.changes[0].path.as_slice()), (3, &b"etc/fstab"[..]));
    }
}
