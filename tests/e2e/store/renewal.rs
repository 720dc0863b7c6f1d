//! `current` is replaced whole or not at all.

use std::fs;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};

use super::{answer, client, deed, deed_command, put, snapshot, used};
use crate::run::start;
use crate::torture::noise;
use crate::world::World;

const DAY: &str = "2026-01-01T00:00+0000";
const ROUNDS: u64 = 40;

#[test]
fn a_renewed_current_is_the_snapshot_and_the_old_ones_room_is_back() {
    let world = World::new("renew");
    let current = client(&world, "web1");
    put(&current.join("good"), noise(1, 20_000_000));
    snapshot(&world, "web1", DAY);
    let good = used(&world);
    put(&current.join("junk"), noise(2, 200_000_000));
    fs::remove_file(current.join("good")).unwrap();
    assert!(used(&world) > good + 190_000_000);
    deed(&world, &["renew", "web1", DAY]).must(0);
    let after: u64 = answer(&deed(&world, &["used"]).must(0)).parse().unwrap();
    assert!(after < good + 2_000_000, "at once: {after}, and it was {good}");
    assert_eq!(fs::read(current.join("good")).unwrap(), noise(1, 20_000_000));
    assert!(!current.join("junk").exists());
    put(&current.join("next"), "it can be written");
    assert_eq!(world.snapshots("web1"), [DAY]);
    assert_eq!(hidden(&current), [""; 0]);
    deed(&world, &["renew", "web1", "2020-01-01T00:00+0000"]).must_fail();
    assert!(current.join("next").exists(), "a snapshot that is not there changes nothing");
    deed(&world, &["renew", "web1", "-"]).must(0);
    assert_eq!(fs::read_dir(&current).unwrap().count(), 0);
}

fn hidden(current: &Path) -> Vec<String> {
    let names = fs::read_dir(current.parent().unwrap()).unwrap();
    let names = names.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    names.filter(|name| name.starts_with('.')).collect()
}

#[test]
fn killed_at_any_moment_there_is_one_whole_current_the_old_or_the_new() {
    let world = World::new("renew-killed");
    let current = client(&world, "web1");
    put(&current.join("state"), "good");
    snapshot(&world, "web1", DAY);
    let began = Instant::now();
    deed(&world, &["renew", "web1", DAY]).must(0);
    let whole = u64::try_from(began.elapsed().as_millis()).unwrap();
    let (mut old, mut new) = (0, 0);
    for round in 0..ROUNDS {
        put(&current.join("state"), "junk");
        put(&current.join("junk"), noise(round, 1_000_000));
        let renewal = start(&mut deed_command(&world, &["renew", "web1", DAY]));
        // Most moments lie at the begin: the end is spent waiting for the room.
        let late = u64::from(noise(round + 77, 1)[0]);
        thread::sleep(Duration::from_millis(late * late * whole.min(1500) / 65_536));
        let _ = kill(renewal.pid(), Signal::SIGKILL);
        renewal.wait();
        match fs::read(current.join("state")).unwrap().as_slice() {
            b"junk" => old += u64::from(current.join("junk").exists()),
            b"good" => new += u64::from(!current.join("junk").exists()),
            other => panic!("{other:?}"),
        }
        put(&current.join("probe"), "it can be written");
        fs::remove_file(current.join("probe")).unwrap();
        assert_eq!(old + new, round + 1, "half of one and half of the other");
        deed(&world, &["finish", "web1"]).must(0);
        assert_eq!(hidden(&current), [""; 0]);
        assert_eq!(world.snapshots("web1"), [DAY]);
    }
    assert!(old > 0 && new > 0, "{old} old and {new} new: the moments were badly chosen");
    assert_eq!(fs::read(world.store.join("web1").join(DAY).join("state")).unwrap(), b"good");
}
