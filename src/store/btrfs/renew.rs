//! A new `current` in place of the old one. It is made under a name that [`super::discard`] would clean up,
//! and both names are exchanged in one step of the file system: whatever interrupts this, there is always one
//! whole `current`, and the other tree is thrown away, now or by the next pruner.

use anyhow::{Context, Result, bail};
use nix::fcntl::{RenameFlags, renameat2};

use super::discard::DISCARDED;
use super::{Btrfs, open_subvolume};
use crate::model::snapshot_name::CURRENT;
use crate::model::{ClientName, Failure, SnapshotName, Tree};
use crate::store::volume::Volume as _;
use crate::system::ioctl;
use crate::system::lock::{self, Sharing};

impl Btrfs {
    pub(super) fn renew_current(&self, client: &ClientName, from: Option<&SnapshotName>) -> Result<()> {
        // A leftover of an earlier attempt would stand in the way; others are the pruner's to tell of.
        let _ = self.finish(client);
        let home = self.home(client)?;
        let old = open_subvolume(&home, CURRENT).context("cannot open current")?;
        let no_readers = self.lock_out_readers(client, &Tree::Current, &old)?;
        // No snapshot is called `current`, so nothing else is ever hidden by this name.
        let hidden = format!("{DISCARDED}{CURRENT}");
        match from {
            Some(name) => {
                let source = open_subvolume(&home, name.as_str())
                    .with_context(|| format!("cannot open {}", self.where_is(client, name.as_str())))?;
                self.despite_full(|| ioctl::snapshot(&source, &home, &hidden, false))
            }
            None => self.despite_full(|| ioctl::create_subvolume(&home, &hidden)),
        }
        .with_context(|| format!("cannot make a new {}", self.where_is(client, CURRENT)))?;
        {
            let new = open_subvolume(&home, &hidden)?;
            let Some(_no_pruner) = lock::try_open_directory(&new, Sharing::Alone)? else {
                bail!(Failure::busy("a byteback-prune is at work; try again"));
            };
            self.despite_full(|| ioctl::sync(&self.root))?;
            let exchange = RenameFlags::RENAME_EXCHANGE;
            self.despite_full(|| Ok(renameat2(&home, hidden.as_str(), &home, CURRENT, exchange)?))
                .with_context(|| format!("cannot replace {}", self.where_is(client, CURRENT)))?;
            self.despite_full(|| ioctl::sync(&self.root))?;
        }
        let number = self.destroy(&home, &hidden, old).context("cannot destroy the old current")?;
        drop(no_readers);
        self.await_space(&[number]).context("the old current is destroyed")
    }
}
