//! The store's file system: an image that is made and mounted, or one that is there and is checked.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail};

use super::hands::Hands;
use crate::model::{ByteSize, Failure};
use crate::system::{image, mounts};

const FSTAB: &str = "/etc/fstab";

/// Makes the image if it is not there, mounts it if it is not mounted, now and at every boot; says
/// whether it is mounted now.
pub(super) fn mount_image(hands: &Hands, path: &Path, size: Option<ByteSize>, store: &Path) -> Result<bool> {
    if !path.is_absolute() {
        bail!(Failure::misuse(format!("the image {} must be an absolute path", path.display())));
    }
    if !path.exists() {
        create(hands, path, size)?;
    }
    let mount = if store.exists() { Some(mounts::holding(store)?) } else { None };
    let is_mounted = match mount {
        Some(mount) if mount.point == store => {
            if !image::is_behind(&mount.source, path) {
                bail!(Failure::misuse(format!(
                    "{} is a mount of {}, not of {}; unmount it or choose another --store",
                    store.display(),
                    mount.source,
                    path.display()
                )));
            }
            true
        }
        _ => mount_now(hands, path, store).map(|()| !hands.only_look())?,
    };
    if !image::is_mounted_at_boot(Path::new(FSTAB), store)? {
        hands.act(format_args!("have {FSTAB} mount it at every boot"), || {
            image::mount_at_boot(Path::new(FSTAB), path, store)
        })?;
    }
    Ok(is_mounted)
}

fn create(hands: &Hands, path: &Path, size: Option<ByteSize>) -> Result<()> {
    let Some(ByteSize(bytes)) = size else {
        bail!(Failure::misuse(format!(
            "{} is not there; say how large it shall be with --size 100G",
            path.display()
        )));
    };
    if bytes < image::SMALLEST {
        bail!(Failure::misuse(format!("{} is too small for a store; 256M is the least", ByteSize(bytes))));
    }
    let what = format!("make {}, a sparse file of {} with a btrfs in it", path.display(), ByteSize(bytes));
    hands.act(what, || {
        image::create(path, bytes)?;
        let free = image::free_beneath(path)?;
        if free < bytes {
            hands.say(format_args!(
                "WARNING: only {} are free beneath {}; the store would fail with I/O errors before it is full",
                ByteSize(free),
                path.display()
            ));
        }
        Ok(())
    })
}

fn mount_now(hands: &Hands, path: &Path, store: &Path) -> Result<()> {
    if store.exists() {
        let mut content = fs::read_dir(store).with_context(|| format!("cannot read {}", store.display()))?;
        if content.next().is_some() {
            bail!(Failure::misuse(format!(
                "{} is not empty, and mounting would hide what is in it; move that away or choose another --store",
                store.display()
            )));
        }
    }
    hands.act(format_args!("mount {} on {}", path.display(), store.display()), || {
        fs::create_dir_all(store).with_context(|| format!("cannot make {}", store.display()))?;
        image::mount(path, store)
    })
}

/// The store must lie on a btrfs whose owner may destroy subvolumes.
pub(super) fn check(hands: &Hands, store: &Path) -> Result<()> {
    let place = store.display();
    if !store.is_dir() {
        bail!(Failure::misuse(format!(
            "{place} is not there; mount a btrfs on it, or add --image FILE --size SIZE"
        )));
    }
    let mount = mounts::holding(store)?;
    let point = mount.point.display();
    if mount.fs_type != "btrfs" {
        bail!(Failure::misuse(format!(
            "{place} lies on {} ({point}), and snapshots need btrfs; mount a btrfs there, or add --image FILE --size SIZE",
            mount.fs_type
        )));
    }
    if hands.only_look() {
        return Ok(()); // what options are lacking is among the findings
    }
    if !mount.has_option("user_subvol_rm_allowed") {
        bail!(Failure::misuse(format!(
            "{point} is mounted without user_subvol_rm_allowed, so old snapshots could never be deleted; add that \
             option to its line in {FSTAB}, then run: mount -o remount,user_subvol_rm_allowed {point}"
        )));
    }
    for option in ["nosuid", "nodev", "noexec"].into_iter().filter(|option| !mount.has_option(option)) {
        hands.say(format_args!("advice: mount {point} with {option} too, as nothing in a store is ever run"));
    }
    Ok(())
}
