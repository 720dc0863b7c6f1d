//! Full of data, full of metadata: deleting always works, and gives room.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};

use byteback::system::ioctl;

use super::{answer, by_user, client, deed, put, snapshot, used};
use crate::torture::noise;
use crate::world::World;

fn day(number: usize) -> String {
    format!("2026-01-{number:02}T00:00+0000")
}

#[test]
fn on_a_disk_full_of_data_a_batch_of_snapshots_is_deleted_and_its_room_is_back() {
    let world = World::with_size("full-data", "512M");
    let current = client(&world, "web1");
    for number in 1..=4 {
        put(&current.join("file"), noise(number as u64, 40_000_000));
        snapshot(&world, "web1", &day(number));
    }
    fill_data(&current);
    let before = used(&world);
    deed(&world, &["discard", "web1", &day(1), &day(2), &day(3)]).must(0);
    assert_eq!(world.snapshots("web1"), [day(4)]);
    let back = before - answer(&deed(&world, &["used"]).must(0)).parse::<u64>().unwrap();
    assert!(back >= 118_000_000, "{back} bytes are back at once");
    put(&current.join("again"), noise(9, 20_000_000));
}

fn fill_data(current: &Path) {
    let mut file = File::create(current.join("filler")).unwrap();
    for seed in 0.. {
        if file.write_all(&noise(1000 + seed, 1 << 20)).and_then(|()| file.sync_data()).is_err() {
            return;
        }
    }
}

/// Metadata is filled to the brim, the reserve of the kernel included, until a snapshot can no longer be made
/// writable.
#[test]
fn on_a_disk_full_of_metadata_the_ballast_gives_the_room_to_delete() {
    let world = World::with_size("full-metadata", "512M");
    let current = client(&world, "web1");
    put(&current.join("file"), noise(1, 30_000_000));
    by_user(&world, &current, "head -c 60M /dev/urandom >more");
    snapshot(&world, "web1", &day(1));
    fs::remove_file(current.join("more")).unwrap();
    snapshot(&world, "web1", &day(2));
    assert_eq!(answer(&deed(&world, &["ballast"]).must(0)), "true");
    assert_eq!(answer(&deed(&world, &["ballast"]).must(0)), "true", "it is there already");
    used(&world);
    assert!(fill_metadata(&world, &current), "the metadata never was full");
    deed(&world, &["discard", "web1", &day(1)]).must(0);
    assert!(!world.snapshots("web1").contains(&day(1)));
    assert!(!world.store.join(".byteback/ballast").exists(), "it was needed");
    let rest: Vec<String> = world.snapshots("web1").into_iter().filter(|name| *name != day(2)).collect();
    let rest: Vec<&str> = rest.iter().map(String::as_str).collect();
    for five in rest.chunks(5) {
        deed(&world, &[&["discard", "web1"], five].concat()).must(0);
    }
    deed(&world, &["renew", "web1", &day(2)]).must(0);
    assert_eq!(fs::metadata(current.join("file")).unwrap().len(), 30_000_000);
    assert_eq!(answer(&deed(&world, &["ballast"]).must(0)), "true", "it is made again");
}

/// With files until none can be made, with a snapshot of them all, and by unlinking, which the kernel allows
/// itself out of its reserve, and which copies what a snapshot shares. Whether it came so far that a snapshot
/// could no longer be made writable and nothing be unlinked.
fn fill_metadata(world: &World, current: &Path) -> bool {
    fill_data(current);
    let mut files = fill_with_attributes(current);
    for number in 0..60 {
        deed(world, &["freeze", "web1", &format!("2026-02-01T00:{number:02}+0000")]);
        let some = files.split_off(files.len().saturating_sub(200));
        let unlinked = some.iter().step_by(3).try_for_each(fs::remove_file);
        ioctl::sync(File::open(current).unwrap()).unwrap();
        if unlinked.is_err() {
            let one = File::open(world.store.join("web1").join(day(2))).unwrap();
            return ioctl::set_read_only(&one, false).is_err();
        }
    }
    false
}

fn fill_with_attributes(current: &Path) -> Vec<PathBuf> {
    let value = noise(7, 3800);
    let mut made = Vec::new();
    for size in [3800, 400] {
        for number in 0.. {
            let path = current.join(format!("x{size}-{number}"));
            if File::create(&path).and_then(|_| xattr::set(&path, "user.x", &value[..size])).is_err() {
                break;
            }
            made.push(path);
        }
    }
    made
}
