//! Making room: in the right order, only what may go, and not done before the room is back.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};

use crate::client::Client;
use crate::run::{Ran, run};
use crate::torture::noise;
use crate::world::World;

/// Megabytes that each snapshot holds alone.
const EACH: usize = 40;

/// A client whose snapshots have these names and hold `EACH` megabytes each that no other has.
pub fn with_snapshots<'a>(world: &'a World, name: &str, snapshots: &[&str]) -> Client<'a> {
    let client = Client::enrolled(world, name);
    for (number, snapshot) in snapshots.iter().enumerate() {
        let seed = noise_seed(name, number);
        // Each of another size: two within a second would be the same file to rsync.
        client.write("ballast", noise(seed, EACH * 1_000_000 + number));
        client.backup().must(0);
        world.rename_newest(name, snapshot);
    }
    client
}

fn noise_seed(name: &str, number: usize) -> u64 {
    name.bytes().fold(number as u64 + 1, |seed, byte| seed.wrapping_mul(31).wrapping_add(byte.into()))
}

/// What time was so many days and hours ago, as a snapshot's name.
pub fn ago(days: i64, hours: i64) -> String {
    let time = jiff::Timestamp::now() - jiff::SignedDuration::from_hours(days * 24 + hours);
    time.strftime("%Y-%m-%dT%H:%M+0000").to_string()
}

/// The gate starts a pruner of its own after each run; this one waits until it has gone.
pub fn prune(world: &World, words: &[&str]) -> Ran {
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        let ran = run(world.server("byteback-prune").args(words));
        if ran.code() != 4 || Instant::now() > deadline {
            return ran;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
}

pub fn all(world: &World, clients: &[&str]) -> BTreeSet<String> {
    let names = |client: &&str| {
        let client = (*client).to_owned();
        world.snapshots(&client).into_iter().map(move |name| format!("{client}/{name}")).collect::<Vec<_>>()
    };
    clients.iter().flat_map(names).collect()
}

/// The snapshots that a listing names, in its order, as `CLIENT/NAME`.
pub fn named(world: &World, text: &str) -> Vec<String> {
    let store = format!("{}/", world.store.display());
    let path = |line: &str| {
        line.split_once(&store).map(|(_, rest)| rest.split_whitespace().next().unwrap().to_owned())
    };
    text.lines().filter_map(path).collect()
}

/// As the pruner counts: what statfs(2) says is of no use on btrfs.
pub fn percent_free(world: &World) -> f64 {
    let listed = prune(world, &["--list", "--json"]).must(0).text();
    let listed: serde_json::Value = serde_json::from_str(&listed).unwrap();
    listed["percent_free"].as_f64().unwrap()
}

#[test]
fn by_age_the_oldest_goes_first_whoever_it_belongs_to() {
    let world = World::new("prune-age");
    let names = [ago(40, 0), ago(30, 0), ago(20, 0), ago(10, 0)];
    let web1 = Client::enrolled(&world, "web1");
    let web2 = Client::enrolled(&world, "web2");
    for (number, name) in names.iter().enumerate() {
        let client = if number % 2 == 0 { &web1 } else { &web2 };
        client.write("file", name);
        client.backup().must(0);
        world.rename_newest(&client.name, name);
    }
    let listed = prune(&world, &["--list", "--order", "age"]).must(0).text();
    let expected: Vec<String> = [("web2", 3), ("web1", 2), ("web2", 1), ("web1", 0)]
        .map(|(client, n)| format!("{client}/{}", names[n]))
        .into();
    assert_eq!(named(&world, &listed), expected, "the last line goes first: {listed}");
    let numbers = listed.lines().skip(1).map(|line| line.trim_start().split(':').next().unwrap().to_owned());
    assert_eq!(numbers.collect::<Vec<_>>(), ["0", "1", "2", "3"], "{listed}");
}

#[test]
fn a_full_store_gets_room_again_and_keeps_what_it_must() {
    let world = World::new("prune");
    let old: Vec<String> = [70, 60, 50, 40, 30, 20].map(|days| ago(days, 0)).into();
    let old: Vec<&str> = old.iter().map(String::as_str).collect();
    let young = [ago(3, 0), ago(1, 0)];
    with_snapshots(&world, "web1", &[&old[..], &[&young[0], &young[1]]].concat());
    with_snapshots(&world, "web2", &old[..1]); // its only one, and the oldest of all
    let before = all(&world, &["web1", "web2"]);
    let free = percent_free(&world);
    let (min, max) = ((free + 5.0).round().to_string(), (free + 12.0).round().to_string());
    let limits = ["--minpercent", &min, "--maxpercent", &max];

    // Enough is free for the usual limits: nothing may happen.
    prune(&world, &["--prune"]).must(0);
    assert_eq!(all(&world, &["web1", "web2"]), before);

    let planned =
        prune(&world, &[&["--prune", "--dry-run", "--order", "age"][..], &limits].concat()).must(0).text();
    assert_eq!(all(&world, &["web1", "web2"]), before, "a dry run deletes nothing");
    let planned = named(&world, &planned);

    let room = world.free();
    let ran = prune(&world, &[&["--prune", "--verbose", "--order", "age"][..], &limits].concat()).must(0);
    let after = all(&world, &["web1", "web2"]);
    let deleted: BTreeSet<String> = before.difference(&after).cloned().collect();
    assert!(!deleted.is_empty(), "{}", ran.story());
    let first: BTreeSet<String> = planned.iter().take(deleted.len()).cloned().collect();
    assert_eq!(deleted, first, "what went is what the dry run said would go first");
    // At once when it says that it is done, not some seconds later.
    let back = world.free() - room;
    assert!(back > (deleted.len() * EACH * 900_000) as u64, "{back} bytes are back: {}", ran.story());
    assert!(percent_free(&world) >= (free + 12.0).round(), "it stopped too early: {}", ran.story());
    assert!(deleted.len() < 6, "it went on for too long: {}", ran.story());
    assert!(deleted.iter().all(|name| ran.all().contains(name.as_str())), "{}", ran.story());
}

#[test]
fn neither_the_newest_nor_a_young_snapshot_is_ever_deleted() {
    let world = World::new("prune-protected");
    let names = [ago(30, 0), ago(6, 23), ago(2, 0)];
    with_snapshots(&world, "web1", &[&names[0], &names[1], &names[2]]);
    with_snapshots(&world, "web2", &[&names[0]]);
    with_snapshots(&world, "web3", &["saved-do-not-delete"]);
    let config = world.server_config("few.toml", "log = 'file'\nmin_keep = 1\n");
    let config = config.to_str().unwrap();
    prune(&world, &["--prune-force", "--minpercent", "99", "--maxpercent", "99"])
        .must(1)
        .must_say("last 3 good ones");
    assert_eq!(all(&world, &["web1", "web2", "web3"]).len(), 5, "three of each client are kept by default");
    for order in ["age", "importance"] {
        // More than can ever be had: it must say so and still keep what it keeps.
        let limits = ["--minpercent", "99", "--maxpercent", "99"];
        let ran =
            prune(&world, &[&["--prune-force", "--order", order, "--config", config][..], &limits].concat());
        ran.must(1);
        let left = all(&world, &["web1", "web2", "web3"]);
        let kept =
            [("web1", &names[1]), ("web1", &names[2]), ("web2", &names[0])].map(|(c, n)| format!("{c}/{n}"));
        let kept: BTreeSet<String> =
            kept.into_iter().chain(["web3/saved-do-not-delete".to_owned()]).collect();
        assert_eq!(left, kept, "{order}");
    }
    // What is young is the administrator's decision.
    let config = world.server_config("eager.toml", "log = 'file'\nmin_age = '1d'\nmin_keep = 1\n");
    let words =
        ["--prune-force", "--minpercent", "99", "--maxpercent", "99", "--config", config.to_str().unwrap()];
    prune(&world, &words).must(1);
    assert_eq!(world.snapshots("web1"), [names[2].as_str()]);
}

#[test]
fn a_store_without_any_room_left_can_still_be_pruned_and_used() {
    let world = World::with_size("prune-enospc", "512M");
    let names = [ago(30, 0), ago(20, 0)];
    let client = with_snapshots(&world, "web1", &[&names[0], &names[1]]);
    client.write("ballast", noise(99, 600_000_000));
    client.backup().must_fail();
    assert!(percent_free(&world) < 1.0);
    std::fs::write(client.tree.join("ballast"), noise(98, 20_000_000)).unwrap();
    let config = world.server_config("few.toml", "log = 'file'\nmin_keep = 1\n");
    prune(&world, &["--prune", "--verbose", "--config", config.to_str().unwrap()]);
    assert_eq!(world.snapshots("web1"), [names[1].as_str()]);
    client.backup().must(0);
    assert_eq!(world.snapshots("web1").len(), 2);
}

#[test]
fn one_prune_at_a_time() {
    let world = World::new("prune-lock");
    let lock = world.store.join(".byteback/prune.lock");
    let held = Path::new("flock");
    let mut holder = world.as_user([held, &lock, Path::new("sleep"), Path::new("20")]);
    let holder = crate::run::start(&mut holder);
    let sleep = holder.descendant("sleep");
    run(world.server("byteback-prune").arg("--prune")).must(4);
    kill(sleep, Signal::SIGKILL).unwrap();
    holder.wait();
    prune(&world, &["--prune"]).must(0);
}

#[test]
fn snapshots_by_hand_follow_the_same_rules() {
    let world = World::new("by-hand");
    let client = Client::enrolled(&world, "web1");
    client.write("file", "x");
    client.backup().must(0);
    run(world.server("byteback-snapshot").args(["--client", "web1"])).must(4);
    let config = world.server_config("often.toml", "log = 'file'\nsnapshot_interval = 0\n");
    world.rename_newest("web1", &ago(0, 1));
    run(world.server("byteback-snapshot").args(["--client", "web1", "--config"]).arg(&config)).must(0);
    assert_eq!(world.snapshots("web1").len(), 2);
    run(world.server("byteback-snapshot").args(["--client", "nobody"])).must_fail();
}
