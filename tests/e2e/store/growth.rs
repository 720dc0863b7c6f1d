//! How much new data a run brought: near the truth for honest runs, and not below it for hostile ones.

use std::fs;

use super::{answer, by_user, client, deed, measured, measured_since, put, snapshot, used};
use crate::torture::{many_small_files, noise};
use crate::world::World;

const DAY_1: &str = "2026-01-01T00:00+0000";
const DAY_2: &str = "2026-01-02T00:00+0000";
const MB: u64 = 1_000_000;

/// Bytes of data in use, without metadata.
fn data_used(world: &World) -> u64 {
    crate::run::tool("btrfs", ["filesystem".as_ref(), "sync".as_ref(), world.store.as_os_str()]);
    let root = fs::File::open(&world.store).unwrap();
    let spaces = byteback::system::ioctl::spaces(root).unwrap();
    spaces.iter().filter(|space| space.flags & 1 != 0).map(|space| space.used).sum()
}

/// A tenth above and below for what the file system rounds.
#[track_caller]
fn about(what: u64, truth: u64) {
    assert!(what >= truth - truth / 10 && what <= truth + truth / 10, "{what} is not about {truth}");
}

#[test]
fn one_percent_of_change_is_measured_near_the_truth() {
    let world = World::with_size("growth-truth", "2G");
    let current = client(&world, "web1");
    many_small_files(&current, 10_000);
    for number in 0..5 {
        put(&current.join(format!("big{number}")), noise(number, 40_000_000));
    }
    crate::run::tool("chown", ["-R".into(), format!("{0}:", world.user), current.display().to_string()]);
    snapshot(&world, "web1", DAY_1);
    let before = data_used(&world);
    let change = "for n in $(seq 0 99); do f=$(printf 'd%03d/f%d' $((n)) $((n * 100 + 5))); \
                  head -c 30000 /dev/urandom >>$f; done; \
                  for n in 0 1 2 3 4; do head -c 1M /dev/urandom | dd of=big$n bs=1M seek=20 conv=notrunc status=none; done; \
                  for n in $(seq 10); do head -c 50000 /dev/urandom >new$n; done; rm d050/f500*";
    by_user(&world, &current, change);
    let unfrozen = measured(&world, "web1", "current", DAY_1);
    let truth = data_used(&world) - before;
    snapshot(&world, "web1", DAY_2);
    let frozen = measured(&world, "web1", DAY_2, DAY_1);
    assert_eq!(unfrozen, frozen, "before and after the snapshot was taken");
    about(frozen.bytes, truth);
    assert_eq!((frozen.changed, frozen.added), (99 + 5 + 10, 10), "one of those appended to is gone");
    let first = measured(&world, "web1", DAY_1, "-");
    assert_eq!(frozen.gone(first.files), 10);
    about(first.bytes, before);

    // A clock that was set back hides nothing, and the first second of a run is not counted twice.
    assert_eq!(measured_since(&world, "web1", DAY_2, DAY_1, "2200-01-01T00:00:00Z"), frozen);
    assert_eq!(measured(&world, "web1", DAY_1, DAY_1).bytes, 0);
}

#[test]
fn what_costs_nothing_counts_for_nearly_nothing() {
    let world = World::new("growth-cheap");
    let current = client(&world, "web1");
    put(&current.join("big"), noise(1, 100_000_000));
    put(&current.join("other"), noise(2, 50_000_000));
    by_user(&world, &current, "mkdir d; for n in $(seq 200); do head -c 20000 /dev/urandom >d/$n; done");
    snapshot(&world, "web1", DAY_1);
    by_user(
        &world,
        &current,
        "touch big d/*; chmod 600 d/1; ln other another; ln -s /etc links-away; ln -s d inside",
    );
    let new = measured(&world, "web1", "current", DAY_1);
    assert!(new.bytes < MB, "{new:?}");
    assert_eq!((new.changed, new.added), (1 + 200 + 2 + 2, 3), "{new:?}");
}

#[test]
fn what_costs_much_counts_whatever_it_looks_like() {
    let world = World::with_size("growth-attacks", "3G");
    let current = client(&world, "web1");
    put(&current.join("pinned"), noise(3, 64 << 20));
    snapshot(&world, "web1", DAY_1);

    // Nothing but attributes: the metadata bomb.
    let before = used(&world);
    for number in 0..5000 {
        let path = current.join(format!("b{number}"));
        put(&path, "");
        xattr::set(path, "user.x", &noise(number, 3000)).unwrap();
    }
    let bomb = measured(&world, "web1", "current", DAY_1);
    let truth = used(&world) - before;
    assert!(bomb.bytes >= 5000 * 3000, "{bomb:?}");
    assert!(2 * bomb.bytes >= truth / 3, "metadata lies there twice: {bomb:?} of {truth}");
    snapshot(&world, "web1", DAY_2);

    // All but a little of a file is written anew, so that the rest pins the old extents.
    let before = used(&world);
    let rewrite =
        "head -c 67092480 /dev/urandom | dd of=pinned bs=16k seek=1 conv=notrunc iflag=fullblock status=none";
    by_user(&world, &current, rewrite);
    let pinned = measured(&world, "web1", "current", DAY_2);
    about(pinned.bytes, 67_092_480);
    let truth = used(&world) - before;
    assert!(truth >= 67_000_000, "{truth}");

    // One block of a file in ten thousands of pieces, and a hole between any two.
    by_user(&world, &current, "head -c 96M /dev/urandom >pieces");
    snapshot(&world, "web1", "2026-01-03T00:00+0000");
    let pieces = fs::File::options().write(true).open(current.join("pieces")).unwrap();
    for block in (0..96 * 256).step_by(2) {
        std::os::unix::fs::FileExt::write_all_at(&pieces, &[7; 4096], block * 4096).unwrap();
        if block % 64 == 0 {
            pieces.sync_data().unwrap();
        }
    }
    drop(pieces);
    let ran = deed(&world, &["measure", "web1", "current", "2026-01-03T00:00+0000", "-"]).must(0);
    let bytes: u64 = answer(&ran).split(' ').next().unwrap().parse().unwrap();
    assert!((40 * MB..=52 * MB).contains(&bytes), "{}", ran.story());
    let text = ran.text();
    let took = text.split_once("measured in ").unwrap().1.split(' ').next().unwrap();
    assert!(took.parse::<u64>().unwrap() < 20_000, "{took} ms");
}

#[test]
fn what_cannot_be_opened_counts_as_large_as_it_is() {
    let world = World::new("growth-closed");
    let current = client(&world, "web1");
    snapshot(&world, "web1", DAY_1);
    put(&current.join("closed"), noise(4, 10_000_000));
    by_user(&world, &current, "chmod 0 closed; mkfifo pipe");
    let new = measured(&world, "web1", "current", DAY_1);
    about(new.bytes, 10_000_000);
    assert_eq!(new.files, 2);
}

#[test]
fn simple_quotas_tell_what_a_client_wrote() {
    let world = World::new("growth-quota");
    let current = client(&world, "web1");
    assert_eq!(answer(&deed(&world, &["quota", "web1"]).must(0)), "None");
    byteback::system::ioctl::enable_simple_quotas(fs::File::open(&world.store).unwrap()).unwrap();
    put(&current.join("file"), noise(5, 30_000_000));
    used(&world);
    let told = answer(&deed(&world, &["quota", "web1"]).must(0));
    let told: u64 = told.strip_prefix("Some(").unwrap().trim_end_matches(')').parse().unwrap();
    about(told, 30_000_000);
    snapshot(&world, "web1", DAY_1);
    fs::remove_file(current.join("file")).unwrap();
    used(&world);
    let after = answer(&deed(&world, &["quota", "web1"]).must(0));
    assert!(
        after.starts_with("Some(30") || after.starts_with("Some(29"),
        "a snapshot still holds it: {after}"
    );
}
