//! A store without a disk of its own: a sparse file with a btrfs in it, mounted through a loop device.

use std::ffi::OsString;
use std::fs::{self, OpenOptions};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use anyhow::{Context, Result, bail};
use nix::sys::statvfs::statvfs;

use super::{files, process};
use crate::model::Failure;

/// How a store is mounted: no access times, compressed, its owner may destroy subvolumes (btrfs(5)),
/// and nothing that a client uploaded is ever a program, a device or setuid (mount(8)).
pub const OPTIONS: &str = "noatime,user_subvol_rm_allowed,compress=zstd,nosuid,nodev,noexec";

/// btrfs needs about 110 MiB; below this no backup fits either.
pub const SMALLEST: u64 = 256 << 20;

const MKFS: [&str; 3] = ["/usr/sbin/mkfs.btrfs", "/sbin/mkfs.btrfs", "/usr/bin/mkfs.btrfs"];
const MOUNT: [&str; 2] = ["/usr/bin/mount", "/bin/mount"];

/// Makes the sparse file with an empty btrfs in it. It appears under its name only when it is whole.
///
/// # Errors
/// When mkfs.btrfs is not installed, or the file cannot be made.
pub fn create(image: &Path, bytes: u64) -> Result<()> {
    let mkfs = process::find_program(&MKFS)
        .context(Failure::failed("mkfs.btrfs is not installed; run apt-get install btrfs-progs"))?;
    let mut unfinished: OsString = image.as_os_str().to_owned();
    unfinished.push(".unfinished");
    let unfinished = Path::new(&unfinished);
    let make = || -> Result<()> {
        let file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(unfinished)?;
        file.set_len(bytes)?;
        process::run(process::command(mkfs).args(["--quiet", "--label", "byteback"]).arg(unfinished))?;
        file.sync_all()?;
        fs::rename(unfinished, image)?;
        Ok(())
    };
    make().with_context(|| format!("cannot make the image {}", image.display()))
}

/// How many bytes are free on the file system that the image lies on (statvfs(3)).
///
/// # Errors
/// When the kernel does not tell.
pub fn free_beneath(image: &Path) -> Result<u64> {
    let found =
        statvfs(image).with_context(|| format!("cannot ask for the room beneath {}", image.display()))?;
    Ok(found.blocks_available().saturating_mul(found.fragment_size()))
}

/// Mounts it now; the loop device goes away with the mount.
///
/// # Errors
/// What mount(8) says.
pub fn mount(image: &Path, store: &Path) -> Result<()> {
    let mount = process::find_program(&MOUNT).context("mount(8) is not installed")?;
    let options = format!("loop,{OPTIONS}");
    process::run(process::command(mount).args(["-t", "btrfs", "-o", &options]).arg(image).arg(store))?;
    Ok(())
}

/// Whether a loop device (`/dev/loop0`) shows this file (Linux's sysfs, `loop/backing_file`).
pub fn is_behind(device: &str, image: &Path) -> bool {
    let Some(name) = device.strip_prefix("/dev/") else { return false };
    let shown = fs::read_to_string(format!("/sys/block/{name}/loop/backing_file")).unwrap_or_default();
    image.canonicalize().is_ok_and(|image| Path::new(shown.trim_end_matches('\n')) == image)
}

/// Whether fstab(5) mounts something on the store already.
///
/// # Errors
/// When the file cannot be read.
pub fn is_mounted_at_boot(fstab: &Path, store: &Path) -> Result<bool> {
    let text = files::read_optional(fstab)?.unwrap_or_default();
    let target = fstab_word(store)?;
    let mounts_store = |line: &[u8]| {
        let mut words = line.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty());
        words.next().is_some_and(|word| !word.starts_with(b"#")) && words.next() == Some(target.as_bytes())
    };
    Ok(text.split(|b| *b == b'\n').any(mounts_store))
}

/// Has fstab(5) mount it at every boot.
///
/// # Errors
/// When the file cannot be read or written.
pub fn mount_at_boot(fstab: &Path, image: &Path, store: &Path) -> Result<()> {
    let mut text = files::read_optional(fstab)?.unwrap_or_default();
    let target = fstab_word(store)?;
    if !text.is_empty() && !text.ends_with(b"\n") {
        text.push(b'\n');
    }
    let source = fstab_word(image)?;
    text.extend_from_slice(format!("{source} {target} btrfs loop,nofail,{OPTIONS} 0 0\n").as_bytes());
    files::replace(fstab, &text, 0o644)
}

/// A path as fstab(5) wants it: blanks as octal.
fn fstab_word(path: &Path) -> Result<String> {
    let Some(text) = path.to_str().filter(|text| !text.contains('\n')) else {
        bail!(Failure::misuse(format!("{} cannot stand in /etc/fstab; choose plain names", path.display())));
    };
    Ok(text.replace('\\', "\\134").replace(' ', "\\040").replace('\t', "\\011"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_fstab_line_is_added_and_found_again_and_nothing_else_changes() {
        let directory = tempfile::tempdir().unwrap();
        let fstab = directory.path().join("fstab");
        fs::write(&fstab, "# /srv/b is not mounted here\n/dev/sda1 / ext4 defaults 0 1").unwrap();
        let (image, store) = (Path::new("/var/my image"), Path::new("/srv/b"));
        assert!(!is_mounted_at_boot(&fstab, store).unwrap());
        mount_at_boot(&fstab, image, store).unwrap();
        assert!(is_mounted_at_boot(&fstab, store).unwrap());
        let text = fs::read_to_string(&fstab).unwrap();
        let added = format!("/var/my\\040image /srv/b btrfs loop,nofail,{OPTIONS} 0 0\n");
        assert_eq!(text, format!("# /srv/b is not mounted here\n/dev/sda1 / ext4 defaults 0 1\n{added}"));
    }
}
