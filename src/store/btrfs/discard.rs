//! Throwing trees away. A tree is first renamed, durably, to a name that no listing shows, then made writable,
//! destroyed, and its space waited for, several together; what is interrupted is finished by the next pruner.
//! So nobody ever sees a writable snapshot, and a crash brings none back.

use std::fs::{File, Permissions};
use std::io;
use std::iter;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Error, Result};
use nix::errno::Errno;
use nix::fcntl::renameat;
use nix::unistd::fsync;

use super::{Btrfs, names_in, open_subvolume};
use crate::model::{ClientName, SnapshotName, Tree};
use crate::store::ballast::Ballast;
use crate::store::readers::Readers;
use crate::store::volume::{BeingRead, Volume as _};
use crate::system::lock::{self, Lock, Sharing};
use crate::system::{clock, files, ioctl};

/// A tree on its way out has this before its name; no snapshot's name can begin with a dot.
pub(super) const DISCARDED: &str = ".discarded-";
/// How often the cleaner is woken while its work is waited for.
const TICK: Duration = Duration::from_millis(250);
/// And right in the beginning: what is small is gone in a moment.
const FIRST_MILLISECONDS: [u64; 4] = [10, 20, 40, 80];
/// So many waits of the kernel's, each of which looks once a second, look once a tick together.
const WAITS: usize = FIRST_MILLISECONDS.len() + 4;
/// The longest wait while the space in use does not shrink.
const PATIENCE: Duration = Duration::from_secs(60);
/// The longest wait at all.
const MOST_PATIENCE: Duration = Duration::from_secs(3600);
/// How long readers may take to end after they were told to.
const FAREWELL: Duration = Duration::from_secs(10);
/// The numbers of destroyed trees whose space did not come back in time.
const AWAITED: &str = ".byteback/awaited";

impl Btrfs {
    /// Each one's own result; the space of all is waited for together.
    pub(super) fn throw_away(&self, batch: &[(ClientName, SnapshotName)]) -> Vec<Result<()>> {
        let removed: Vec<Result<u64>> =
            batch.iter().map(|(client, name)| self.remove(client, name)).collect();
        let numbers: Vec<u64> = removed.iter().filter_map(|removed| removed.as_ref().ok().copied()).collect();
        let waited = self.await_space(&numbers);
        let result = |removed: Result<u64>| {
            removed.and_then(|_| match &waited {
                Ok(()) => Ok(()),
                Err(error) => Err(io::Error::new(error.kind(), error.to_string()).into()),
            })
        };
        let results = removed.into_iter().map(result).zip(batch);
        let named = |(result, (client, name)): (Result<()>, &(ClientName, SnapshotName))| {
            result.map_err(|error| self.explain(error, client, name))
        };
        results.map(named).collect()
    }

    fn explain(&self, error: Error, client: &ClientName, name: &SnapshotName) -> Error {
        let place = self.where_is(client, name.as_str());
        match error.downcast_ref::<io::Error>().and_then(io::Error::raw_os_error) {
            Some(number) if number == Errno::EPERM as i32 => error.context(format!(
                "cannot discard {place}; is the store mounted with user_subvol_rm_allowed?"
            )),
            _ => error.context(format!("cannot discard {place}")),
        }
    }

    /// All but the waiting; gives the number of what is gone.
    fn remove(&self, client: &ClientName, name: &SnapshotName) -> Result<u64> {
        let home = self.home(client)?;
        let tree = open_subvolume(&home, name.as_str())?;
        let _alone = self.lock_out_readers(client, &Tree::Snapshot(name.clone()), &tree)?;
        let hidden = format!("{DISCARDED}{name}");
        self.despite_full(|| Ok(renameat(&home, name.as_str(), &home, hidden.as_str())?))?;
        self.despite_full(|| Ok(fsync(&home)?))?;
        Ok(self.destroy(&home, &hidden, tree)?)
    }

    /// Finishes what was interrupted, waiting for all of it together; how much there was. One that cannot be
    /// finished keeps no other from it.
    pub(super) fn finish(&self, client: &ClientName) -> Result<usize> {
        let home = self.home(client)?;
        let mut names =
            names_in(&home).with_context(|| format!("cannot read {}", self.where_is(client, "")))?;
        names.retain(|name| name.starts_with(DISCARDED));
        let destroy = |hidden: &String| -> Result<u64> {
            let tree = open_subvolume(&home, hidden)?;
            // Somebody may be at it: a renewal, or a reader from before.
            let Some(_alone) = lock::try_open_directory(&tree, Sharing::Alone)? else {
                return Err(io::Error::new(io::ErrorKind::ResourceBusy, "somebody is still using it").into());
            };
            Ok(self.destroy(&home, hidden, tree)?)
        };
        let mut numbers = Vec::new();
        let mut trouble = Ok(());
        for hidden in &names {
            match destroy(hidden) {
                Ok(number) => numbers.push(number),
                Err(error) => {
                    let place = self.where_is(client, hidden);
                    trouble = Err(error.context(format!("cannot finish discarding {place}")));
                }
            }
        }
        self.await_space(&numbers)
            .with_context(|| format!("cannot finish discarding {}", self.where_is(client, "")))?;
        trouble.map(|()| names.len())
    }

    /// Clears read-only and destroys what is hidden already; its space comes back later.
    pub(super) fn destroy(&self, home: &OwnedFd, hidden: &str, tree: OwnedFd) -> io::Result<u64> {
        let id = ioctl::subvolume(&tree)?.id;
        if ioctl::is_read_only(&tree)? {
            self.despite_full(|| ioctl::set_read_only(&tree, false))?;
        }
        // Its owner may destroy it only if its root lets the owner write and search it.
        let tree = File::from(tree);
        if tree.metadata()?.mode() & 0o700 != 0o700 {
            self.despite_full(|| tree.set_permissions(Permissions::from_mode(0o700)))?;
        }
        self.despite_full(|| ioctl::destroy_subvolume(home, hidden))?;
        Ok(id)
    }

    /// Does it; when there is not even room for that, once more without the ballast.
    pub(super) fn despite_full(&self, step: impl Fn() -> io::Result<()>) -> io::Result<()> {
        let done = step();
        let is_full = done.as_ref().is_err_and(|error| error.raw_os_error() == Some(Errno::ENOSPC as i32));
        let Some(ballast) = is_full.then(|| Ballast::of(&self.path).release()).transpose()?.flatten() else {
            return done;
        };
        self.wait_until_cleaned(&[ballast])?;
        step()
    }

    /// A reader and this exclude one another. One that has read for too long is told to end, so that no client
    /// keeps its snapshots for ever by reading them.
    pub(super) fn lock_out_readers(&self, client: &ClientName, name: &Tree, tree: &OwnedFd) -> Result<Lock> {
        let lock = || lock::try_open_directory(tree, Sharing::Alone).context("cannot lock it");
        if let Some(alone) = lock()? {
            return Ok(alone);
        }
        let readers = Readers::of(&self.path, client);
        if readers.have_had_their_time(name, clock::now()) {
            readers.end();
            for _ in 0..FAREWELL.as_millis() / TICK.as_millis() {
                thread::sleep(TICK);
                if let Some(alone) = lock()? {
                    return Ok(alone);
                }
            }
        }
        Err(BeingRead { client: client.clone(), tree: name.clone() }.into())
    }

    /// Waits for the space of destroyed trees. Somebody who still reads one keeps its space, so the wait is
    /// bounded, and the numbers are written down for the next pruner.
    pub(super) fn await_space(&self, numbers: &[u64]) -> io::Result<()> {
        if numbers.is_empty() {
            return Ok(());
        }
        let waited = self.wait_until_cleaned(numbers);
        if waited.as_ref().is_err_and(|error| error.kind() == io::ErrorKind::TimedOut) {
            let text = numbers.iter().map(u64::to_string).collect::<Vec<_>>().join("\n");
            let _ = files::replace(&self.path.join(AWAITED), text.as_bytes(), 0o600);
        }
        waited
    }

    /// What an earlier [`Self::await_space`] gave up.
    pub(super) fn await_again(&self) -> Result<()> {
        let path = self.path.join(AWAITED);
        let Some(text) = files::read_optional(&path)? else { return Ok(()) };
        let text = String::from_utf8_lossy(&text);
        let numbers: Vec<u64> = text.lines().filter_map(|line| line.trim().parse().ok()).collect();
        self.await_space(&numbers).context("the snapshots that were deleted last are not gone yet")?;
        std::fs::remove_file(&path).with_context(|| format!("cannot remove {}", path.display()))
    }

    /// The wait ends only after a commit, and an idle file system commits twice a minute, so commits are
    /// asked for meanwhile. The kernel's own wait has no bound, so threads sit in it, and are left behind when
    /// the time is over; it looks only once a second, so several sit there, one behind the other.
    fn wait_until_cleaned(&self, numbers: &[u64]) -> io::Result<()> {
        ioctl::sync(&self.root)?;
        let (tell, told) = mpsc::channel();
        let (mut rest, begun) = (Rest::begin(self.used_bytes()?), Instant::now());
        for (number, tick) in
            FIRST_MILLISECONDS.into_iter().map(Duration::from_millis).chain(iter::repeat(TICK)).enumerate()
        {
            if number < WAITS {
                let (root, numbers, tell) = (self.root.try_clone()?, numbers.to_vec(), tell.clone());
                thread::spawn(move || tell.send(numbers.iter().try_for_each(|id| wait_for(&root, *id))));
            }
            match told.recv_timeout(tick) {
                Ok(Err(error)) if error.raw_os_error() == Some(Errno::ENOTTY as i32) => {
                    return self.wait_until_used_space_rests();
                }
                Ok(waited) => return waited,
                Err(_) => ioctl::sync(&self.root)?,
            }
            if rest.of(self.used_bytes()?) > PATIENCE || begun.elapsed() > MOST_PATIENCE {
                break;
            }
        }
        Err(io::Error::new(
            io::ErrorKind::TimedOut,
            "its space is not given back: somebody still reads it, a restore that must end first",
        ))
    }

    /// Before Linux 6.13 nobody tells when the cleaner is through: wait until the space in use has not
    /// shrunk for two seconds.
    fn wait_until_used_space_rests(&self) -> io::Result<()> {
        let mut rest = Rest::begin(self.used_bytes()?);
        for _ in 0..MOST_PATIENCE.as_millis() / TICK.as_millis() {
            ioctl::sync(&self.root)?;
            thread::sleep(TICK);
            if rest.of(self.used_bytes()?) >= 8 * TICK {
                break;
            }
        }
        Ok(())
    }

    fn used_bytes(&self) -> io::Result<u64> {
        Ok(ioctl::spaces(&self.root)?.iter().map(|space| space.used).sum())
    }
}

/// ENOENT is the kernel's word for done.
fn wait_for(root: &OwnedFd, id: u64) -> io::Result<()> {
    match ioctl::wait_until_cleaned(root, id) {
        Err(error) if error.raw_os_error() == Some(Errno::ENOENT as i32) => Ok(()),
        waited => waited,
    }
}

/// For how long the space in use has not shrunk, looked at once a tick.
struct Rest {
    last: u64,
    ticks: u32,
}

impl Rest {
    fn begin(used: u64) -> Self {
        Self { last: used, ticks: 0 }
    }

    fn of(&mut self, used: u64) -> Duration {
        self.ticks = if used < self.last { 0 } else { self.ticks + 1 };
        self.last = used;
        TICK * self.ticks
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_long_as_space_comes_back_it_is_waited_for() {
        let mut rest = Rest::begin(100);
        assert_eq!(rest.of(90), Duration::ZERO);
        assert_eq!(rest.of(90), TICK);
        assert_eq!(rest.of(95), 2 * TICK, "somebody else writes");
        assert_eq!(rest.of(94), Duration::ZERO);
    }
}
