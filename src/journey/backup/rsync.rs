//! rsync itself: how it is called, what it says meanwhile, and what its end means.
//!
//! `--ignore-errors` is never among its options: a source that cannot be read must not delete its copy.

mod listener;

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStringExt;
use std::process::Command;

use anyhow::{Context, Result};

use super::attempts::Trouble;
use super::change_list::{Pass, Selected};
use super::report::{self, grouped};
use super::settings::Settings;
use super::{Order, Run, interrupted};
use crate::model::Failure;
use crate::model::backup_record::{Attempt, BackupRecord};
use crate::model::client_config::RSYNC_FLAGS;
use crate::policy::retry::{self, Verdict};
use crate::system::progress::Bar;
use crate::system::ssh::Connection;
use crate::system::supervise::{self, Ended};
use crate::system::{console, process};
use listener::{Heard, Listener};

const PROGRAMS: [&str; 3] = ["/usr/bin/rsync", "/usr/local/bin/rsync", "/bin/rsync"];

/// What every backup is made with (rsync(1)). Numbers come plain and lines come at once, for us to read.
///
/// The three rules are about attributes' names alone. A fake-super receiver keeps ACLs in attributes, and
/// with `--inplace --xattrs` rsync (3.2.7 and 3.5.0) deletes those of a changed file as "extraneous" and
/// brings them back only in the next run, so that a snapshot in between lacks them: a rule for the
/// receiver protects them. Once there is such a rule, `system.*` must be left out by a rule too. rsync
/// tells the other side of rules only where it deletes, so every call has `--delete-during`.
///
/// `--modify-window=-1` compares nanoseconds too: of two changes in one second it would miss the second.
const BASE: [&str; 15] = [
    "--archive",
    "--hard-links",
    "--acls",
    "--xattrs",
    "--numeric-ids",
    "--delete-during",
    "--delete-excluded",
    "--modify-window=-1",
    "--relative",
    "--filter=-x system.*",
    "--filter=-xr user.rsync.%aacl",
    "--filter=-xr user.rsync.%dacl",
    "--no-human-readable",
    "--stats",
    "--outbuf=L",
];

/// With a list of names: no more than these, and one that went since is no failure.
const LIST: [&str; 5] = ["--from0", "--no-recursive", "--dirs", "--ignore-missing-args", "/"];

/// The rule for the token, before all others: no rule of the operator's may leave it out.
const CANARY_RULE: &str = "--include=/~byteback/***";

/// Copies what the pass names; records what came of it, and gives the names that changed if the pass is to
/// prove something.
pub(super) fn push(
    run: &Run,
    connection: &Connection,
    record: &mut BackupRecord,
    attempt: &mut Attempt,
    pass: &Pass,
) -> Result<Vec<Vec<u8>>, Trouble> {
    let missing = || Failure::misuse("rsync is not installed here; install the package rsync");
    let program = process::find_program(&PROGRAMS).ok_or_else(missing)?;
    let bar = Bar::new();
    let mut command = process::command(program);
    command.args(words(run, connection, bar.is_shown(), pass));
    hold_lock(run, &mut command)?;
    let mut listener = Listener::new(run.order, bar, pass.proves);
    let ended = supervise::run(&mut command, &run.signals, |stream, line| listener.hear(stream, line));
    let (ended, heard) = (ended?, listener.finish());
    attempt.rsync_status = ended.status.code();
    for warning in &heard.complaints {
        report::remember(record, warning);
    }
    let outcome = judge(&run.settings, ended, &heard);
    outcome.map(|()| {
        record.transfer.get_or_insert_default().add(&heard.transfer);
        if heard.vanished > 0 {
            let files = grouped(heard.vanished);
            console::say(format_args!(
                "files that vanished while they were read: {files} (normal on a machine that is in use)"
            ));
        }
        heard.changed
    })
}

/// rsync gets the lock as its stdin, which it never reads: should this program be killed, the lock
/// stands as long as its rsync is at work.
fn hold_lock(run: &Run, command: &mut Command) -> Result<()> {
    let lock = run.lock.file().try_clone().context("cannot share the lock with rsync")?;
    command.stdin(lock);
    Ok(())
}

/// Everything that stands after the program's name. The operator's own rules come before those that
/// are made here, so that for both the first match counts and the operator can say otherwise.
fn words(run: &Run, connection: &Connection, shows_bar: bool, pass: &Pass) -> Vec<OsString> {
    let settings = &run.settings;
    let mut words: Vec<OsString> = BASE.map(OsString::from).into();
    let timeout = settings.login.io_timeout.as_secs();
    if timeout > 0 {
        words.push(format!("--timeout={timeout}").into());
    }
    words.extend(manner(run.order, shows_bar, pass));
    words.push(format!("--rsh={}", connection.rsync_shell()).into());
    words.push(CANARY_RULE.into());
    words.extend(run.order.excludes.iter().map(|pattern| joined("--exclude=", pattern)));
    words.extend(settings.excludes.as_deref().map(|file| joined("--exclude-from=", file)));
    words.extend(settings.filter.as_deref().map(|file| joined("--filter=merge ", file)));
    words.extend(settings.flags.iter().cloned());
    words.extend(run.selection.rules.iter().map(|rule| OsString::from_vec(rule.option())));
    match &pass.selected {
        Selected::Sources => {
            words.extend(run.selection.sources.iter().map(|source| source.clone().into_os_string()));
            words.extend(pass.canary.clone().map(OsString::from));
        }
        Selected::List(list) => {
            words.push(joined("--files-from=", list));
            words.extend(LIST.map(OsString::from));
        }
    }
    words.push(format!("{}:", connection.rsync_host()).into());
    words
}

fn manner(order: &Order, shows_bar: bool, pass: &Pass) -> Vec<OsString> {
    // Without --inplace what a broken connection left behind is kept by --partial.
    let options = [
        (order.dry_run, "--dry-run"),
        (order.verbose || pass.proves, "--itemize-changes"),
        (shows_bar, "--info=progress2"),
        (pass.in_place, "--inplace"),
        (!pass.in_place, "--partial"),
        (pass.all_content, "--ignore-times"),
        (pass.checksum, "--checksum"),
    ];
    options.iter().filter(|(wanted, _)| *wanted).map(|(_, option)| OsString::from(option)).collect()
}

fn joined(option: &str, value: impl AsRef<OsStr>) -> OsString {
    let mut word = OsString::from(option);
    word.push(value);
    word
}

fn judge(settings: &Settings, ended: Ended, heard: &Heard) -> Result<(), Trouble> {
    if let Some(signal) = ended.interrupted {
        return Err(interrupted(signal).into());
    }
    let verdict = retry::classify(ended.status.code());
    if verdict == Verdict::Done {
        return Ok(());
    }
    if let Some(refused) = &heard.refused {
        return Err(Failure::refused(refused.clone()).into());
    }
    if heard.server_is_full {
        let host = settings.login.destination.host();
        return Err(Trouble::Passing(format!(
            "the disk of {host} is full; what was copied is kept, and its administrator can make room with \
             byteback-prune"
        )));
    }
    let said = heard.reason.as_deref().unwrap_or("it said nothing");
    let sentence = |why| format!("rsync ended with {}, {why} ({said})", ended.describe());
    match verdict {
        Verdict::Done => Ok(()),
        Verdict::Again(why) => Err(Trouble::Passing(sentence(why))),
        Verdict::Fatal(why) if ended.status.code() == Some(1) => {
            let flags = settings.directory.join(RSYNC_FLAGS);
            Err(Failure::misuse(format!("{}; look at {}", sentence(why), flags.display())).into())
        }
        Verdict::Fatal(why) => Err(Failure::failed(sentence(why)).into()),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::ExitStatusExt;
    use std::path::PathBuf;
    use std::process::ExitStatus;

    use super::*;
    use crate::model::Status;
    use crate::model::span::Span;
    use crate::system::ssh::Login;

    fn judged(status: i32, heard: &Heard) -> Result<(), Trouble> {
        let login = Login {
            destination: "server:".parse().unwrap(),
            key: None,
            known_hosts: None,
            config: None,
            io_timeout: Span::seconds(1),
        };
        let directory = PathBuf::from("/etc/byteback");
        let settings = Settings { login, directory, excludes: None, filter: None, flags: Vec::new() };
        let ended = Ended { status: ExitStatus::from_raw(status << 8), interrupted: None };
        judge(&settings, ended, heard)
    }

    fn status_of(trouble: Trouble) -> (Option<Status>, String) {
        match trouble {
            Trouble::Passing(why) => (None, why),
            Trouble::Final(error) => {
                let failure = error.downcast_ref::<Failure>().unwrap();
                (Some(failure.status), failure.message.clone())
            }
        }
    }

    #[test]
    fn a_push_that_the_gate_refused_is_not_tried_again() {
        let heard = Heard { refused: Some("the server refused: no".to_owned()), ..Heard::default() };
        let (status, why) = status_of(judged(12, &heard).unwrap_err());
        assert_eq!((status, why.as_str()), (Some(Status::Refused), "the server refused: no"));
    }

    #[test]
    fn a_full_server_is_named_and_tried_again() {
        let heard = Heard { server_is_full: true, ..Heard::default() };
        let (status, why) = status_of(judged(11, &heard).unwrap_err());
        assert_eq!(status, None);
        assert!(why.starts_with("the disk of server is full"), "{why}");
    }

    #[test]
    fn an_end_is_told_with_what_rsync_said() {
        let heard = Heard { reason: Some("rsync: x".to_owned()), ..Heard::default() };
        assert!(judged(0, &heard).is_ok() && judged(24, &heard).is_ok());
        let (status, why) = status_of(judged(23, &heard).unwrap_err());
        assert_eq!(status, None);
        assert_eq!(why, "rsync ended with exit status 23, some files could not be copied (rsync: x)");
        let (status, why) = status_of(judged(1, &heard).unwrap_err());
        assert_eq!(status, Some(Status::Misuse));
        assert!(why.ends_with("look at /etc/byteback/rsync_flags"), "{why}");
    }
}
