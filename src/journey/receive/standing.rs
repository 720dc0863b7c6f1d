//! What the client is told of what the server has: the receipt of its last completed push, and the token
//! that this push brought, read back. The token is the client's own text: it is read without following any
//! link, up to a length, and nothing but 32 digits is passed on.

use std::fs::File;
use std::io::Read;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

use anyhow::Result;
use nix::dir::Dir;
use nix::fcntl::{OFlag, OpenHow, ResolveFlag, openat2};
use nix::sys::stat::Mode;
use nix::unistd::syncfs;

use super::visit::Visit;
use crate::journey::snapshot::Taken;
use crate::model::Tree;
use crate::model::receipt::Receipt;
use crate::protocol::answer::{CANARY, Outcome, Standing, is_token};
use crate::system::lock::Locking;
use crate::system::random;

/// Before a push.
pub(super) fn at_prepare(visit: &Visit) -> Result<Standing> {
    let client = &visit.grant.client;
    let state = visit.server.store.client_state(client)?;
    let receipt = state.receipt()?;
    let current = visit.server.store.volume().open(client, &Tree::Current)?.directory;
    Ok(Standing {
        receipt: receipt.standing_for(state.last_push()?.as_ref()).map(str::to_owned),
        canary: canary(current.as_fd()),
        full_run: receipt.full_run,
        empty: is_empty(current.as_fd()),
    })
}

/// After it. A receipt says that what was pushed is on the disk, and is given once: as long as nothing was
/// pushed since, it is the same one.
pub(super) fn at_complete(visit: &Visit, taken: &Taken) -> Result<Option<Standing>> {
    if !matches!(taken.outcome(), Outcome::Snapshot | Outcome::NotDue) {
        return Ok(None);
    }
    let client = &visit.grant.client;
    let (state, volume) = (visit.server.store.client_state(client)?, visit.server.store.volume());
    let Locking::Held(_lock) = state.lock_writer(Duration::ZERO)? else { return Ok(None) };
    let current = volume.open(client, &Tree::Current)?.directory;
    let seen = match taken {
        Taken::Snapshot(name) => volume.open(client, &Tree::Snapshot(name.clone()))?.directory,
        Taken::NotTaken(_) | Taken::Busy(_) => current.try_clone()?,
    };
    let (old, push) = (state.receipt()?, state.last_push()?);
    let id = match (old.standing_for(push.as_ref()), push) {
        (Some(id), _) => Some(id.to_owned()),
        (None, Some(push)) if push.is_complete() => {
            syncfs(&current)?;
            let id = Some(random::token()?);
            let receipt = Receipt { schema: 1, id: id.clone(), push: Some(push.started), full_run: None };
            state.remember_receipt(&receipt)?;
            id
        }
        (None, _) => None,
    };
    Ok(Some(Standing { receipt: id, canary: canary(seen.as_fd()), full_run: None, empty: false }))
}

fn canary(tree: BorrowedFd<'_>) -> Option<String> {
    let resolve = ResolveFlag::RESOLVE_BENEATH | ResolveFlag::RESOLVE_NO_SYMLINKS;
    let how = OpenHow::new().flags(OFlag::O_RDONLY | OFlag::O_NONBLOCK | OFlag::O_CLOEXEC).resolve(resolve);
    let mut file = File::from(openat2(tree, CANARY, how).ok()?);
    if !file.metadata().ok()?.is_file() {
        return None;
    }
    let mut text = String::new();
    file.by_ref().take(64).read_to_string(&mut text).ok()?;
    Some(text).filter(|text| is_token(text))
}

fn is_empty(tree: BorrowedFd<'_>) -> bool {
    let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
    Dir::openat(tree, ".", flags, Mode::empty()).is_ok_and(|mut directory| {
        !directory.iter().flatten().any(|entry| !matches!(entry.file_name().to_bytes(), b"." | b".."))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn only_a_plain_file_with_32_digits_is_a_canary() {
        let tree = tempfile::tempdir().unwrap();
        let directory = File::open(tree.path()).unwrap();
        let seen = || canary(directory.as_fd());
        assert_eq!(seen(), None);
        assert!(is_empty(directory.as_fd()));
        fs::create_dir(tree.path().join("~byteback")).unwrap();
        assert!(!is_empty(directory.as_fd()));
        let file = tree.path().join(CANARY);
        let token = "0123456789abcdef".repeat(2);
        fs::write(&file, &token).unwrap();
        assert_eq!(seen().as_deref(), Some(&token[..]));
        for bad in [String::new(), token[1..].to_owned(), token.repeat(3), "\x1b[2J".repeat(6)] {
            fs::write(&file, bad).unwrap();
            assert_eq!(seen(), None);
        }
        fs::remove_file(&file).unwrap();
        fs::write(tree.path().join("secret"), &token).unwrap();
        std::os::unix::fs::symlink("../secret", &file).unwrap();
        assert_eq!(seen(), None, "a link is not followed");
    }
}
