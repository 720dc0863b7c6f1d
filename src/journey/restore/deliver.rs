//! What goes to a pipe: one file's content, or a tar stream. rsync can write only files, so both pass
//! through a private directory, which needs the room and is gone afterwards.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use anyhow::{Context, Result, bail};
use nix::libc::O_NOFOLLOW;

use super::fetch::owners_of;
use super::owners::Owners;
use super::place::Place;
use super::plan::Batch;
use super::pull::{Order, Puller, Purpose};
use super::staging::Staging;
use crate::model::{Entry, Failure, Kind, Status, escaped};
use crate::system::supervise;
use crate::system::{console, process};

/// The content of the one file that was found.
pub(super) fn one_file(puller: &Puller<'_>, entries: &[Entry], batches: &[Batch]) -> Result<Status> {
    let ([entry], [batch]) = (entries, batches) else {
        bail!(Failure::misuse(format!(
            "--stdout takes one file, and {} match; --list shows them",
            entries.len()
        )));
    };
    if entry.kind() != Kind::File {
        bail!(Failure::misuse(format!("/{} is no regular file; use --tar", escaped(&entry.path))));
    }
    let staging = Staging::new()?;
    staging.check_room(entry.size)?;
    let came = puller.pull(&Order {
        batch,
        into: staging.path(),
        owners: &[],
        purpose: Purpose::Fetch,
        parents: true,
    })?;
    if let Some(trouble) = came.trouble {
        bail!(Failure::failed(trouble.why));
    }
    let path = staging.path().join(std::ffi::OsStr::from_bytes(&entry.path));
    let file = OpenOptions::new().read(true).custom_flags(O_NOFOLLOW).open(path);
    let mut file = file.with_context(|| format!("/{} did not come", escaped(&entry.path)))?;
    let mut stdout = io::stdout().lock();
    io::copy(&mut file, &mut stdout).and_then(|_| stdout.flush()).context("cannot write to stdout")?;
    Ok(Status::Done)
}

/// Everything that was found, as one tar stream: paths as in the backup, with `all` below each
/// snapshot's name.
pub(super) fn tar(puller: &Puller<'_>, owners: &Owners, batches: &[Batch], all: bool) -> Result<Status> {
    if console::prints_to_a_terminal() {
        bail!(Failure::misuse("a tar stream is nothing for a terminal; send it to a file or a program"));
    }
    let tar = process::find_program(&["/usr/bin/tar", "/bin/tar"])
        .context(Failure::failed("there is no GNU tar here; install it, or use --to"))?;
    let owners = owners_of(puller, owners, batches)?;
    let staging = Staging::new()?;
    // A whole tree's root has a mode of its own, and the staging directory must stay private.
    let root = staging.path().join("tree");
    let place = Place::new(Some(root.clone()), all, root.clone());
    for purpose in [Purpose::Rehearse, Purpose::Fetch] {
        let mut bytes = 0;
        for batch in batches {
            let into = if purpose == Purpose::Fetch {
                place.directory(&batch.tree)?
            } else {
                place.of(&batch.tree)?
            };
            let owners = owners.get(&batch.tree).map(Vec::as_slice).unwrap_or_default();
            let came = puller.pull(&Order { batch, into: &into, owners, purpose, parents: true })?;
            if let Some(trouble) = came.trouble {
                bail!(Failure::failed(format!(
                    "nothing was written, for not everything came: {}",
                    trouble.why
                )));
            }
            bytes += came.transfer.changed_bytes;
        }
        if purpose == Purpose::Rehearse {
            staging.check_room(bytes)?;
        }
    }
    let whole = !all && batches.iter().any(|batch| batch.chosen.iter().any(Vec::is_empty));
    write_tar(puller, tar, &staging, &root, whole)
}

/// GNU tar knows holes, hard links, devices, access lists and attributes, and writes what has no room in
/// the old header, long names too, as pax headers (tar(1), `--format=posix`).
fn write_tar(puller: &Puller<'_>, tar: &Path, staging: &Staging, root: &Path, whole: bool) -> Result<Status> {
    let mut command = process::command(tar);
    command.args(["--create", "--file=-", "--format=posix", "--pax-option=delete=atime,delete=ctime"]);
    command.args(["--numeric-owner", "--sparse", "--acls", "--xattrs", "--xattrs-include=*"]);
    // Access lists stand there already.
    command.arg("--xattrs-exclude=system.*").arg("--directory").arg(root);
    let list = staging.path().join("names");
    fs::write(&list, if whole { b".\0".to_vec() } else { names(root)? }).context("cannot write a list")?;
    command.args(["--null", "--verbatim-files-from", "--files-from"]).arg(&list);
    let mut error = None;
    let ended = supervise::run_on_stdout(&mut command, puller.signals, |line| {
        error.get_or_insert_with(|| escaped(line));
        console::say(escaped(line));
    })?;
    if let Some(signal) = ended.interrupted {
        bail!(Failure::failed(format!("ended by {signal} within the tar stream, which is not whole")));
    }
    if !ended.status.success() {
        let why = error.unwrap_or_else(|| "it printed nothing".to_owned());
        bail!(Failure::failed(format!("the tar stream is not whole: {}, {why}", ended.describe())));
    }
    Ok(Status::Done)
}

/// What lies in the directory, each name ended by a NUL.
fn names(root: &Path) -> Result<Vec<u8>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(root).context("cannot read what came")? {
        names.push(entry.context("cannot read what came")?.file_name());
    }
    names.sort();
    Ok(names.iter().flat_map(|name| [name.as_bytes(), b"\0"].concat()).collect())
}
