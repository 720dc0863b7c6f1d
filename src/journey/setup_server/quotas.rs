//! Simple quotas, on an administrator's word: from then on the kernel counts what each client brings.

use std::fs::File;
use std::io;
use std::path::Path;

use anyhow::{Context, Error, Result, bail};
use nix::errno::Errno;

use super::hands::Hands;
use crate::model::Failure;
use crate::store::{QuotaMode, Store};
use crate::system::{identity, ioctl};

/// Turns them on where they are off.
pub(super) fn enable(hands: &Hands, store: &Path) -> Result<()> {
    let directory = File::open(store).with_context(|| format!("cannot open {}", store.display()))?;
    match Store::open(store)?.volume().quota_mode()? {
        Some(QuotaMode::Simple) => return Ok(()),
        Some(QuotaMode::Full) => bail!(Failure::misuse(format!(
            "full quota groups are on, with which each deletion takes many times as long; turn them off first: \
             btrfs quota disable {}",
            store.display()
        ))),
        None => {}
    }
    hands.act("turn simple quotas on, which no kernel before 6.7 can mount", || {
        ioctl::enable_simple_quotas(&directory).map_err(explain)
    })
}

fn explain(error: io::Error) -> Error {
    let number = error.raw_os_error();
    if number != Some(Errno::EINVAL as i32) && number != Some(Errno::ENOTTY as i32) {
        return Error::from(error).context("cannot turn simple quotas on");
    }
    let kernel = identity::kernel_release();
    Failure::misuse(format!(
        "this kernel ({kernel}) has no simple quotas; they need Linux 6.7, and without them new data is measured by \
         looking at the files that changed"
    ))
    .into()
}
