//! A tree with everything that a Unix machine may hold and a backup may get wrong.

use std::ffi::{CString, OsStr, OsString};
use std::fs::{self, File, Permissions};
use std::io::{Seek, SeekFrom, Write};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::{PermissionsExt, chown, lchown, symlink};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

use nix::sys::stat::{Mode, SFlag, makedev, mknod, utimensat};
use nix::sys::time::TimeSpec;

use crate::run::tool;

/// Names that shells, patterns, filter rules, option parsers or terminals read as something else.
#[rustfmt::skip]
const STRANGE_NAMES: [&str; 56] = [
    " ", " leading", "trailing ", "two  spaces", "tab\there", "new\nline", "\nfirst", "last\n",
    "carriage\rreturn", "'", "\"", "`id`", "$HOME", "$(reboot)", "*", "**", "?", "[a-z]", "{a,b}", "\\",
    "\\\\", "back\\slash", "~", "~root", "-", "-rf", "--delete", "--", "#comment", ";", "&", "|", "<",
    ">", "!", "%", "%s", "=20", "a:b", "host:", "::", "...", ".hidden", "current", ".rsync-filter",
    "user.rsync.%stat", "\u{1b}[31mred", "\u{7f}", "ünïcödé", "日本語", "e\u{301}", "\u{202e}reversed", "😀",
    "+ include", "- exclude", "2026-11-20T23:47+0000",
];

/// Fills an empty directory.
pub fn fill(root: &Path) {
    many_small_files(&root.join("many"), 2_000);
    large_and_sparse(root);
    fill_without_bulk(root);
}

/// One of each kind: small enough to be copied hundreds of times.
pub fn fill_without_bulk(root: &Path) {
    links(&root.join("links"));
    special_files(&root.join("special"));
    strange_names(&root.join("names"));
    deep(&root.join("deep"));
    owners_and_modes(&root.join("owners"));
    access_lists(&root.join("acl"));
    attributes(&root.join("xattr"));
    fs::create_dir_all(root.join("empty/also-empty")).unwrap();
    // Last: everything above changes the times of directories.
    times(&root.join("times"));
}

/// That many files in directories of a hundred, from nothing to a few kilobytes, no two alike.
pub fn many_small_files(root: &Path, count: usize) {
    for number in 0..count {
        let dir = root.join(format!("d{:03}", number / 100));
        if number % 100 == 0 {
            fs::create_dir_all(&dir).unwrap();
        }
        let length = [0, 1, 100, 700, 2_500, 5_000][number % 6];
        fs::write(dir.join(format!("f{number}")), noise(number as u64, length)).unwrap();
    }
}

/// Bytes that do not compress, always the same for the same seed (xorshift64).
pub fn noise(seed: u64, length: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut bytes = Vec::with_capacity(length + 8);
    while bytes.len() < length {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes.truncate(length);
    bytes
}

fn large_and_sparse(root: &Path) {
    fs::write(root.join("large"), noise(1, 30_000_000)).unwrap();
    let mut sparse = File::create(root.join("sparse")).unwrap();
    sparse.write_all(b"first").unwrap();
    sparse.seek(SeekFrom::Start(20_000_000)).unwrap();
    sparse.write_all(b"middle").unwrap();
    sparse.set_len(50_000_000).unwrap();
    File::create(root.join("all-hole")).unwrap().set_len(3_000_000).unwrap();
}

fn links(dir: &Path) {
    fs::create_dir_all(dir.join("a/b")).unwrap();
    fs::write(dir.join("one"), "three names").unwrap();
    fs::hard_link(dir.join("one"), dir.join("two")).unwrap();
    fs::hard_link(dir.join("one"), dir.join("a/b/three")).unwrap();
    for (target, name) in [
        ("/nowhere/at/all", "dangling"),
        ("/", "to-the-root"),
        ("/etc/passwd", "to-a-file-outside"),
        ("one", "to-a-neighbour"),
        ("../../links/a", "a/to-a-directory"),
        (".", "to-itself"),
        ("loop", "loop"),
        ("target with\nnewline and \\ and '", "odd-target"),
    ] {
        symlink(target, dir.join(name)).unwrap();
    }
    symlink(OsStr::from_bytes(b"\xff\xfe"), dir.join("target-not-utf8")).unwrap();
    symlink("x".repeat(1_000), dir.join("long-target")).unwrap();
    fs::hard_link(dir.join("dangling"), dir.join("dangling-too")).unwrap();
    lchown(dir.join("dangling"), Some(1234), Some(4321)).unwrap();
}

fn special_files(dir: &Path) {
    fs::create_dir(dir).unwrap();
    let node = |name: &str, kind, mode, device| {
        mknod(&dir.join(name), kind, Mode::from_bits_truncate(mode), device).unwrap();
    };
    node("fifo", SFlag::S_IFIFO, 0o640, 0);
    node("null", SFlag::S_IFCHR, 0o666, makedev(1, 3));
    node("large-minor", SFlag::S_IFCHR, 0o600, makedev(250, 70_000));
    node("block", SFlag::S_IFBLK, 0o660, makedev(8, 1));
    drop(UnixListener::bind(dir.join("socket")).unwrap());
    fs::hard_link(dir.join("fifo"), dir.join("fifo-too")).unwrap();
}

fn strange_names(dir: &Path) {
    fs::create_dir(dir).unwrap();
    let mut names: Vec<OsString> = STRANGE_NAMES.iter().map(OsString::from).collect();
    names.push(OsString::from_vec(b"not-utf8-\xff\xc3\x28".to_vec()));
    names.push(OsString::from_vec(vec![0x80]));
    names.push("n".repeat(255).into());
    names.push(OsString::from_vec([&[0xe4; 254][..], b"\n"].concat()));
    for (number, name) in names.iter().enumerate() {
        fs::write(dir.join(name), format!("{number}")).unwrap();
        let inner = dir.join("dirs").join(name);
        fs::create_dir_all(&inner).unwrap();
        fs::write(inner.join(name), format!("inside {number}")).unwrap();
    }
    // A filter file that rsync must not obey: nobody asked for it.
    fs::write(dir.join(".rsync-filter"), "- *\n").unwrap();
}

fn deep(root: &Path) {
    let path =
        (0..40).fold(root.to_owned(), |path, level| path.join(format!("level-{level}-{}", "x".repeat(20))));
    fs::create_dir_all(&path).unwrap();
    fs::write(path.join("at the bottom"), "deep").unwrap();
}

fn owners_and_modes(dir: &Path) {
    fs::create_dir(dir).unwrap();
    let ids =
        [0, 1, 2, 33, 99, 999, 1000, 1001, 65_533, 65_534, 65_536, 100_000, 2_000_000_000, 4_294_967_293];
    let own = |path: &Path, uid, gid| chown(path, Some(uid), Some(gid)).unwrap();
    for (number, uid) in ids.into_iter().enumerate() {
        let path = dir.join(format!("uid-{uid}"));
        fs::write(&path, "mine").unwrap();
        own(&path, uid, ids[ids.len() - 1 - number]);
    }
    let modes = [0o000, 0o001, 0o111, 0o200, 0o222, 0o400, 0o444, 0o600, 0o644, 0o755, 0o777];
    for mode in modes.into_iter().chain([0o1777, 0o2755, 0o4755, 0o6755, 0o7777, 0o4000, 0o2070]) {
        let (file, inner) = (dir.join(format!("mode-{mode:04o}")), dir.join(format!("dir-{mode:04o}")));
        fs::write(&file, "x").unwrap();
        fs::create_dir(&inner).unwrap();
        fs::write(inner.join("inside"), "y").unwrap();
        for path in [&file, &inner] {
            own(path, 1000, 33); // before the mode: a change of owner takes setuid away
            fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
        }
    }
}

fn access_lists(dir: &Path) {
    fs::create_dir_all(dir.join("with-default")).unwrap();
    fs::write(dir.join("file"), "x").unwrap();
    let path = |name: &str| dir.join(name).into_os_string().into_string().unwrap();
    tool("setfacl", ["-m", "u:1234:rwx,g:4321:r--,m::rw-", &path("file")]);
    tool("setfacl", ["-m", "u:33:r-x", &path("with-default")]);
    tool("setfacl", ["-d", "-m", "u:1234:rwx,g:5:---", &path("with-default")]);
    fs::write(dir.join("with-default/inherits"), "x").unwrap();
    fs::create_dir(dir.join("with-default/inherits-too")).unwrap();
}

fn attributes(dir: &Path) {
    fs::create_dir(dir).unwrap();
    let set = |path: &Path, name: &str, value: &[u8]| xattr::set(path, name, value).unwrap();
    let file = |name: &str| -> PathBuf {
        let path = dir.join(name);
        fs::write(&path, name).unwrap();
        path
    };
    let several = file("several");
    set(&several, "user.plain", b"value");
    set(&several, "user.empty", b"");
    set(&several, "user.binary", b"\x00\x01\xff\n");
    set(&several, "user.large", &noise(7, 1_500));
    set(dir, "user.on-a-directory", b"yes");
    set(&several, "trusted.secret", b"for root alone");
    let capable = file("capable");
    fs::set_permissions(&capable, Permissions::from_mode(0o755)).unwrap();
    tool("setcap", [OsStr::new("cap_net_raw,cap_net_bind_service=ep"), capable.as_os_str()]);
    set(&file("labelled"), "security.label", b"any-module");
}

fn times(dir: &Path) {
    fs::create_dir(dir).unwrap();
    for (name, seconds, nanoseconds) in [
        ("epoch", 0, 0),
        ("before-the-epoch", -86_400, 0),
        ("old", 315_532_800, 999_999_999),
        ("sub-second", 1_700_000_000, 123_456_789),
        ("after-2038", 4_000_000_000, 1),
    ] {
        fs::write(dir.join(name), name).unwrap();
        symlink(name, dir.join(format!("link-{name}"))).unwrap();
        fs::create_dir(dir.join(format!("dir-{name}"))).unwrap();
        for path in [name.to_owned(), format!("link-{name}"), format!("dir-{name}")] {
            set_time(&dir.join(path), seconds, nanoseconds);
        }
    }
    set_time(dir, 1_000_000_000, 1);
}

/// Sets the time of change of contents, of a symlink itself too.
pub fn set_time(path: &Path, seconds: i64, nanoseconds: i64) {
    let time = TimeSpec::new(seconds, nanoseconds);
    let path = CString::new(path.as_os_str().as_bytes()).unwrap();
    let flag = nix::sys::stat::UtimensatFlags::NoFollowSymlink;
    utimensat(nix::fcntl::AT_FDCWD, path.as_c_str(), &time, &time, flag).unwrap();
}

#[test]
fn the_torture_tree_survives_stock_rsync_so_that_what_fails_later_is_ours() {
    let world = crate::world::World::without_server("torture");
    let (tree, copy) = (world.clients.join("tree"), world.clients.join("copy"));
    fs::create_dir(&tree).unwrap();
    fill(&tree);
    let mut from = tree.clone().into_os_string();
    from.push("/");
    tool("rsync", [OsStr::new("-aHAXS"), OsStr::new("--numeric-ids"), &from, copy.as_os_str()]);
    crate::compare::assert_equal_both_ways(&tree, &copy);
    // And the check can see a difference.
    set_time(&copy.join("xattr/capable"), 5, 5);
    fs::remove_file(copy.join("names/*")).unwrap();
    let seen = crate::compare::differences(&tree, &copy);
    assert!(seen.contains("names/*") && seen.contains("xattr/capable"), "{seen}");
}
