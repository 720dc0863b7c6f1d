//! `byteback-admin check`: whether this machine can keep what byteback promises. Everything is looked
//! at and nothing is changed, but for what is remembered of rsync.
//!
//! First what only root sees; then this process becomes the store's user, as the gate is.

mod confinement;
mod login;
mod space;

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use serde::Serialize;

use crate::journey::server::{self, Place};
use crate::model::finding::worst;
use crate::model::server_config::ServerConfig;
use crate::model::{Failure, Finding, Soundness};
use crate::policy::soundness::{self, Seen, Thing};
use crate::system::account::{self, Account};
use crate::system::{console, mounts, sshd};

/// Show what confinement this machine offers, what it lacks, and what to do about it
///
/// One line for each thing: ok, WEAK (a promise holds less) or BAD (the gate refuses to work); "--" is
/// what could not be looked at. Status 0 when all is well, 1 for WEAK, 2 for BAD.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  byteback-admin check --json")]
pub struct Options {
    /// Print JSON
    #[arg(long)]
    pub json: bool,
    /// The main configuration of the sshd that clients come through
    #[arg(long, value_name = "FILE", default_value = sshd::CONFIG)]
    pub sshd_config: PathBuf,
    /// Which server.
    #[command(flatten)]
    pub place: Place,
}

#[derive(Serialize)]
struct Report<'a> {
    schema: u32,
    store: &'a Path,
    verdict: Soundness,
    checks: &'a [Finding],
}

/// Looks, prints, and gives the worst that was found.
///
/// # Errors
/// When there is no store to look at, or this is neither root nor the store's user (status 2).
pub fn run(options: &Options) -> Result<Soundness> {
    let findings = findings(&options.place, &options.sshd_config, true)?;
    if !options.json {
        return Ok(tell(&findings));
    }
    let (store, verdict) = (server::store_path(&options.place)?, worst(&findings));
    console::print(serde_json::to_string(&Report { schema: 1, store: &store, verdict, checks: &findings })?);
    Ok(verdict)
}

/// Prints one line each; gives the worst.
pub(in crate::journey) fn tell(findings: &[Finding]) -> Soundness {
    for finding in findings {
        console::print(finding);
    }
    worst(findings)
}

/// All that can be found out; `remember` is whether the gate shall know of rsync what was found. A
/// process that is root is the store's user afterwards.
///
/// # Errors
/// As for [`run`].
pub(in crate::journey) fn findings(
    place: &Place,
    sshd_config: &Path,
    remember: bool,
) -> Result<Vec<Finding>> {
    let store = server::store_path(place)?;
    let user = owner_of(&store)?;
    let (config, finding) = configuration(&place.config);
    let mount = mounts::holding(&store)?;
    let mut findings = vec![finding];
    findings.extend(soundness::mount(&mount.point, &mount.fs_type, |option| mount.has_option(option)));
    let seen = login::look(&user, &store, sshd_config);
    findings.extend(things(&store, &user, seen.strict_modes));
    findings.extend(seen.findings);
    server::act_as_owner_of(&store)?;
    findings.extend(confinement::look(&store, &config, remember));
    findings.extend(space::look(&store, &config));
    Ok(findings)
}

/// The store's user, who alone, besides root, may look.
fn owner_of(store: &Path) -> Result<Account> {
    let missing = || format!("cannot open the store {}; is its file system mounted?", store.display());
    let owner = fs::metadata(store).with_context(|| Failure::misuse(missing()))?.uid();
    let user = account::by_uid(owner)?;
    let user =
        user.with_context(|| Failure::misuse(format!("user {owner}, who owns the store, has no name")))?;
    if user.uid.is_root() {
        bail!(Failure::misuse(format!(
            "the store {} belongs to root: its file system is not mounted, or byteback-setup-server never ran here",
            store.display()
        )));
    }
    if !account::is_root() && account::own()?.uid != user.uid {
        bail!(Failure::misuse(format!("run this as root or as {}, who owns the store", user.name)));
    }
    Ok(user)
}

/// The configuration, or the default in the place of one that is refused.
fn configuration(path: &Path) -> (ServerConfig, Finding) {
    let read = server::read_config(path);
    let parsed = read.as_ref().map(|_| ()).map_err(|error| format!("{error:#}"));
    let directory = path.parent().and_then(seen);
    (read.unwrap_or_default(), soundness::configuration(path, seen(path), directory, parsed))
}

fn things(store: &Path, user: &Account, strict_modes: bool) -> Vec<Finding> {
    let state = store.join(".byteback");
    let things = [
        (Thing::Store, store.to_owned()),
        (Thing::SshDirectory, store.join(".ssh")),
        (Thing::KeyFile, store.join(".ssh/authorized_keys")),
        (Thing::State, state),
    ];
    let judge = |(thing, path): (Thing, PathBuf)| {
        soundness::thing(thing, &path, seen(&path), (&user.name, user.uid.as_raw()), strict_modes)
    };
    things.into_iter().map(judge).collect()
}

/// Owner and mode of what a path leads to.
fn seen(path: &Path) -> Option<Seen> {
    let found = fs::metadata(path).ok()?;
    Some(Seen { owner: found.uid(), mode: found.mode() & 0o7777 })
}
