//! The change list: what a run gives to rsync, by what the last one stored.
//!
//! The client walks its own file systems, compares with its index, and gives rsync the names of what is
//! new or changed; where a name went, or may have gone, rsync gets the whole directory, one level deep,
//! and deletes by its own rules, since only it knows what lies on the server. With the `--delete` of such
//! listings every version of rsync since 3.1 works; `--delete-missing-args` fails with 3.2.7.
//!
//! The index counts only if nothing at all speaks against it: the server stands at the receipt that it
//! belongs to and shows the token of the run, the clock went forward, nothing that decides what is sent
//! was changed. Otherwise the run is a full one, and says why.

mod bound;
mod index;
mod passes;
mod place;
mod walk;

use std::path::PathBuf;
use std::time::Duration;

use anyhow::Result;

use super::report::{self, grouped};
use super::{Run, check};
use crate::model::backup_record::{BackupRecord, RunMode};
use crate::model::{Failure, escaped};
use crate::policy::changes;
use crate::policy::full_run;
use crate::protocol::answer::{Answer, Standing};
use crate::system::{clock, console, random};
use index::{Header, Index};
pub(super) use passes::{Pass, Selected};
use place::{Place, Seal};
use walk::{Seen, Walk};

/// How a run goes about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mode {
    /// rsync walks everything.
    Full {
        /// No name on the server can share an inode with one that it does not share it with here.
        in_place: bool,
    },
    /// The change list; and then, when that is due, rsync walks everything to prove it right.
    Changes { and_prove: bool },
}

/// What a run knows before it speaks with the server, and how it decided then.
pub(super) struct Plan {
    place: Option<Place>,
    old: Option<(Index, Seal)>,
    header: Header,
    seen: Seen,
    /// Why the index does not count, known without the server.
    doubt: Option<String>,
    /// This run's token, if it brings one.
    token: String,
    mode: Option<Mode>,
    /// The server gives receipts.
    gives_receipts: bool,
    /// Steps of the mode that are done.
    done: usize,
}

impl Plan {
    /// Reads the index and walks.
    ///
    /// # Errors
    /// When a signal came meanwhile.
    pub(super) fn make(run: &Run) -> Result<Self> {
        let place = Place::make(&run.order.index.state_dir, &run.settings.login.destination.to_string());
        let place = place.inspect_err(|error| console::say(format_args!("no index is kept: {error:#}"))).ok();
        let (old, mut doubt) = place.as_ref().map_or((None, None), read_old);
        let now = clock::now();
        let start = (now.as_second(), u32::try_from(now.subsec_nanosecond()).unwrap_or(0));
        let mut header = Header { start, boot: clock::boot(), ..Header::default() };
        let mut seen = Seen::default();
        match place.as_ref().map(|_| bound::filters(run)) {
            None => doubt = Some("there is no place for an index".to_owned()),
            Some(Err(why)) => doubt = Some(why),
            Some(Ok(filters)) => {
                header.binding = bound::binding(run)?;
                let usable = old.as_ref().map(|(index, _)| index);
                doubt = doubt.or_else(|| usable.and_then(|old| distrust(&old.header, &header)));
                let stop = || run.signals.caught().is_some();
                let sources = &run.selection.sources;
                seen = Walk { sources, filters: &filters, old: usable, start, stop: &stop }.run();
                check(&run.signals)?;
                doubt = doubt.or_else(|| seen.doubt.clone());
            }
        }
        header.entries = seen.entries;
        header.devices = std::mem::take(&mut seen.devices);
        let token = random::token()?;
        Ok(Self { place, old, header, seen, doubt, token, mode: None, gives_receipts: false, done: 0 })
    }

    /// Decides, now that the server has said what it has. A later attempt goes on as the first one, unless
    /// somebody else pushed meanwhile.
    pub(super) fn decide(&mut self, run: &Run, standing: Option<&Standing>, record: &mut BackupRecord) {
        if let (Some(Mode::Changes { .. }), Some(standing)) = (self.mode, standing) {
            let ours = [Some(&self.token[..]), self.old.as_ref().map(|(_, seal)| &seal.canary[..])];
            if !ours.contains(&standing.canary.as_deref()) {
                self.be_full("another run has written to the server since", false, record);
            }
        }
        if self.mode.is_some() {
            return;
        }
        self.gives_receipts = standing.is_some() && self.place.is_some();
        match self.trust(run, standing) {
            Err(why) => {
                let is_new = standing.is_none_or(|standing| standing.empty);
                self.be_full(&why, is_new, record);
            }
            Ok(prove) => {
                let and_prove = prove.is_some();
                self.mode = Some(Mode::Changes { and_prove });
                record.mode = Some(if and_prove { RunMode::Full } else { RunMode::Changes });
                record.full_run_reason = prove.map(str::to_owned);
                self.tell_changes(run, prove);
            }
        }
    }

    fn be_full(&mut self, why: &str, in_place: bool, record: &mut BackupRecord) {
        console::say(format_args!("full run: {}", escaped(why.as_bytes())));
        self.mode = Some(Mode::Full { in_place });
        self.done = 0;
        record.mode = Some(RunMode::Full);
        record.full_run_reason = Some(why.to_owned());
    }

    fn tell_changes(&self, run: &Run, prove: Option<&str>) {
        let (all, given) = (grouped(self.seen.entries), grouped(self.seen.lists.len() as u64));
        let then = prove.map(|why| format!("; then a full run: {why}")).unwrap_or_default();
        if run.order.verbose || prove.is_some() {
            console::say(format_args!("{all} files looked at here, {given} names for rsync{then}"));
        }
    }

    /// Whether the index counts, and then why a full run must prove it.
    fn trust(&self, run: &Run, standing: Option<&Standing>) -> Result<Option<&'static str>, String> {
        let standing = standing.ok_or("this server gives no receipts")?;
        if let Some(why) = &standing.full_run {
            return Err(format!("the server asks for it: {why}"));
        }
        if let Some(doubt) = &self.doubt {
            return Err(doubt.clone());
        }
        let Some((_, seal)) = &self.old else { return Err("there is no index yet".to_owned()) };
        if standing.receipt.as_ref() != Some(&seal.receipt) {
            return Err("the server does not stand at the run that the index is of".to_owned());
        }
        if standing.canary.as_ref() != Some(&seal.canary) {
            return Err("the server does not show the token of the run that the index is of".to_owned());
        }
        if run.order.index.full {
            return Ok(Some("--full asks for it"));
        } else if run.order.index.checksum {
            return Ok(Some("--checksum asks for it"));
        }
        let is_due = full_run::is_due(seal.runs_since_full, run.order.index.full_every);
        Ok(is_due.then_some("it is this run's turn"))
    }

    /// Whether the server's answer to `complete` shows this run's token.
    ///
    /// # Errors
    /// When it shows another one: what the server keeps is not what was sent.
    pub(super) fn check_canary(&self, answer: &Answer) -> Result<()> {
        let Some(standing) = answer.standing.as_ref().filter(|_| self.gives_receipts) else { return Ok(()) };
        if standing.canary.as_deref() == Some(self.expected_token()) {
            return Ok(());
        }
        Err(Failure::failed(
            "the backup is not complete: what the server keeps does not hold the token that this run sent \
             last; run it again, and have the server's administrator look at the store",
        )
        .into())
    }

    /// What a proving run had to correct.
    pub(super) fn judge(&self, run: &Run, pass: &Pass, changed: &[Vec<u8>], record: &mut BackupRecord) {
        let missed: Vec<_> =
            changed.iter().filter(|name| pass.proves && self.should_have_known(run, name)).collect();
        let Some(first) = missed.first() else { return };
        record.index_defects += missed.len() as u64;
        let text = format!(
            "THE INDEX WAS WRONG: a full run had to correct {} names that it took for unchanged, /{} among \
             them. They are right now. Please report this defect of byteback, and set --full-every 1 meanwhile",
            missed.len(),
            escaped(first)
        );
        report::warn(record, &text);
    }

    /// The line that says what was sent.
    pub(super) fn tell(&self, run: &Run, record: &mut BackupRecord, took: Duration) {
        if self.is_silent() {
            record.mode = Some(RunMode::Unchanged);
            let all = grouped(self.seen.entries);
            run.result(&format!("{all} files looked at, none changed since the last run"));
            return;
        }
        let mut transfer = record.transfer.unwrap_or_default();
        if matches!(self.mode, Some(Mode::Changes { and_prove: false })) {
            transfer.files = self.seen.entries;
        }
        run.result(&report::summary(&transfer, took, false));
    }

    fn is_silent(&self) -> bool {
        self.mode == Some(Mode::Changes { and_prove: false }) && self.seen.lists.is_empty()
    }

    fn expected_token(&self) -> &str {
        match &self.old {
            Some((_, seal)) if self.is_silent() => &seal.canary,
            _ => &self.token,
        }
    }

    /// The run is complete: what the walk saw is the index from now on. Whatever fails here costs a full
    /// run, not this one.
    pub(super) fn remember(&self, run: &Run, answer: &Answer, record: &mut BackupRecord) {
        let receipt = answer.standing.as_ref().and_then(|standing| standing.receipt.clone());
        record.receipt.clone_from(&receipt);
        let (Some(place), Some(receipt), true) = (&self.place, receipt, self.gives_receipts) else { return };
        if self.seen.blocks.is_empty() {
            return;
        }
        if let Err(error) = self.seal(run, place, receipt) {
            report::warn(record, &format!("the index could not be kept, so the next run is full: {error:#}"));
        }
    }

    fn seal(&self, run: &Run, place: &Place, receipt: String) -> Result<()> {
        let before = self.old.as_ref().map(|(index, seal)| (&index.checksum, seal.runs_since_full));
        let index = match before {
            Some((checksum, _)) if self.is_silent() => checksum.clone(),
            _ => index::write(&place.index(), &self.header, &self.seen.blocks)?,
        };
        let was_full = self.mode != Some(Mode::Changes { and_prove: false });
        let counted = before.map(|(_, runs)| runs);
        let every = run.order.index.full_every;
        let runs_since_full = full_run::count(counted, was_full, every, &bound::stable_offset_text(run));
        let canary = self.expected_token().to_owned();
        place.put_seal(&Seal { schema: 1, index, receipt, canary, runs_since_full })
    }
}

/// The token's file of the last run, which a dry run must not tell to be deleted.
pub(super) fn canary_of(run: &Run) -> Option<PathBuf> {
    let place = Place::of(&run.order.index.state_dir, &run.settings.login.destination.to_string()).ok()?;
    place.seal().map(|_| place.canary_argument())
}

/// The index with its seal, or why it cannot be used.
fn read_old(place: &Place) -> (Option<(Index, Seal)>, Option<String>) {
    let damaged = |why: &str| (None, Some(format!("the index cannot be used: {why}")));
    match (Index::read(&place.index()), place.seal()) {
        (Ok(Some(index)), Some(seal)) if index.checksum == seal.index => (Some((index, seal)), None),
        (Ok(Some(_)), _) => damaged("the run that wrote it was not completed"),
        (Ok(None), _) => (None, None),
        (Err(why), _) => damaged(&why),
    }
}

fn distrust(old: &Header, new: &Header) -> Option<String> {
    if let Some(what) = old.binding.difference(&new.binding) {
        return Some(what.to_owned());
    }
    let of = |header: &Header| (header.start, header.boot.0.clone(), header.boot.1);
    let ((then, old_boot, old_uptime), (now, boot, uptime)) = (of(old), of(new));
    changes::clock_trouble((then, &old_boot, old_uptime), (now, &boot, uptime)).map(str::to_owned)
}
