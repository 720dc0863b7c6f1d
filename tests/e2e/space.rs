//! The pruner as a program: it carries out what it said, can be ended at any moment, waits for readers, and
//! one works at a time.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use serde_json::Value;

use crate::client::Client;
use crate::growth;
use crate::prune::{ago, named, prune, with_snapshots};
use crate::run::{Ran, program, run, start, tool, wait_until};
use crate::world::World;

/// What a client's tree is called while it is on its way out.
const HIDDEN: &str = ".discarded-";

/// Old snapshots, one a day, made by hand so that there may be many; each holds a file with its name.
fn many_snapshots(world: &World, client: &str, days: std::ops::RangeInclusive<i64>) {
    let current = world.current(client);
    for day in days.rev() {
        let name = ago(day, 0);
        run(&mut world.as_user([
            "sh",
            "-c",
            "echo \"$1\" >\"$2/mark\"",
            "sh",
            &name,
            current.to_str().unwrap(),
        ]))
        .must(0);
        let snapshot = world.store.join(client).join(&name);
        let words =
            ["btrfs", "subvolume", "snapshot", "-r", current.to_str().unwrap(), snapshot.to_str().unwrap()];
        run(&mut world.as_user(words)).must(0);
    }
}

/// Each snapshot that a listing shows is whole and cannot be written.
fn assert_whole(world: &World, client: &str) {
    for name in world.snapshots(client).iter().filter(|name| name.starts_with("20")) {
        let root = world.store.join(client).join(name);
        let mark = fs::read_to_string(root.join("mark")).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(mark.trim(), name);
        assert_eq!(fs::metadata(&root).unwrap().ino(), 256);
        let read_only = tool("btrfs", ["property", "get", root.to_str().unwrap(), "ro"]);
        assert_eq!(read_only.trim(), "ro=true", "{name}");
    }
}

fn hidden(world: &World, client: &str) -> Vec<String> {
    let names = fs::read_dir(world.store.join(client)).unwrap();
    let names = names.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    names.filter(|name| name.starts_with(HIDDEN)).collect()
}

fn steps(ran: &Ran, key: &str) -> Vec<String> {
    let told: Value = serde_json::from_slice(&ran.stdout).unwrap_or_else(|_| panic!("{}", ran.story()));
    let word = |step: &Value, key: &str| step[key].as_str().unwrap().to_owned();
    let one = |step: &Value| {
        format!("{}/{}: {}", word(step, "client"), word(step, "snapshot"), word(step, "reason"))
    };
    told[key].as_array().unwrap().iter().map(one).collect()
}

#[test]
fn list_dry_run_and_a_real_run_tell_the_same_plan() {
    let world = World::new("space-plan");
    for client in ["a", "b"] {
        Client::enrolled(&world, client);
        many_snapshots(&world, client, 8..=30);
    }
    let hold =
        ["hold".into(), format!("a/{}", ago(29, 0)), "--reason".into(), "kept".into(), "--store".into()];
    run(Command::new(program("byteback-admin")).args(hold).arg(&world.store)).must(0);
    let text = "log = 'file'\nmin_keep = 2\n[clients.b]\nkeep = { daily = 12 }\n";
    let config = world.server_config("plan.toml", text).display().to_string();
    let words = ["--prune-force", "--maxpercent", "100", "--json", "--config", &config];
    let rehearsed = steps(&prune(&world, &[&words[..], &["--dry-run"]].concat()).must(0), "steps");
    let listed = prune(&world, &["--list", "--json", "--config", &config]).must(0);
    let mut going: Vec<String> =
        steps(&listed, "steps").into_iter().filter(|step| rehearsed.contains(step)).collect();
    going.reverse();
    assert_eq!(going, rehearsed);
    let before: BTreeSet<String> = world.snapshots("a").into_iter().collect();
    let ran = prune(&world, &words).must(1);
    assert_eq!(steps(&ran, "deleted"), rehearsed);
    let by_rule = "beyond what its keep rule keeps";
    assert!(rehearsed[0].starts_with("b/") && rehearsed[0].ends_with(by_rule), "{}", rehearsed[0]);
    assert!(before.len() > world.snapshots("a").len() && world.snapshots("a").contains(&ago(29, 0)));
    // Each of them stands in the log with its reason and its room.
    let pruned: Vec<String> =
        world.log_lines().into_iter().filter(|line| line.contains(" pruned client=")).collect();
    assert_eq!(pruned.len(), rehearsed.len());
    assert!(pruned.iter().all(|line| line.contains(" reason=") && line.contains(" room=")), "{pruned:?}");
}

#[test]
fn a_rule_deletes_also_where_there_is_room_and_a_broken_one_deletes_nothing() {
    let world = World::new("space-rule");
    Client::enrolled(&world, "web1");
    many_snapshots(&world, "web1", 8..=40);
    let with = |text: &str| {
        let config = world.server_config("rule.toml", &format!("log = 'file'\n{text}\n"));
        prune(&world, &["--prune", "--config", config.to_str().unwrap()])
    };
    with("keep = { dayly = 3 }").must(0).must_say("is no rule and deletes nothing");
    with("keep = {}").must(0).must_say("deletes nothing");
    assert_eq!(world.snapshots("web1").len(), 33);
    with("keep = { daily = 10, weekly = 2 }").must(0);
    let left = world.snapshots("web1");
    assert!((4..=14).contains(&left.len()), "{left:?}");
    assert!((8..=10).all(|day| left.contains(&ago(day, 0))), "the last three are kept: {left:?}");
}

#[test]
fn a_pruner_can_be_killed_at_any_moment_and_leaves_nothing_but_whole_snapshots() {
    let world = World::new("space-kill");
    Client::enrolled(&world, "web1");
    many_snapshots(&world, "web1", 8..=90);
    let config = world.server_config("few.toml", "log = 'file'\nmin_keep = 1\n").display().to_string();
    let words = ["--prune-force", "--maxpercent", "100", "--config", &config];
    let planned = named(&world, &prune(&world, &[&words[..], &["--dry-run"]].concat()).must(0).text());
    let all: BTreeSet<String> =
        world.snapshots("web1").into_iter().map(|name| format!("web1/{name}")).collect();
    for round in 0..50_u64 {
        let pruner = start(world.server("byteback-prune").args(words));
        thread::sleep(Duration::from_millis(round * 37 % 400));
        pruner.signal(Signal::SIGKILL);
        pruner.wait();
        assert_whole(&world, "web1");
        let left: BTreeSet<String> =
            world.snapshots("web1").into_iter().map(|name| format!("web1/{name}")).collect();
        let gone = all.difference(&left).count();
        let first: BTreeSet<String> = planned.iter().take(gone).cloned().collect();
        assert_eq!(
            all.difference(&left).cloned().collect::<BTreeSet<_>>(),
            first,
            "the plan holds, round {round}"
        );
    }
    // The next one finishes what is left.
    prune(&world, &words).must(1).must_say("last of its client");
    assert_eq!((world.snapshots("web1").len(), hidden(&world, "web1").len()), (1, 0));
}

#[test]
fn a_pruner_that_is_told_to_end_does_so_between_two_deletions() {
    let world = World::new("space-term");
    Client::enrolled(&world, "web1");
    many_snapshots(&world, "web1", 8..=50);
    let config = world.server_config("few.toml", "log = 'file'\nmin_keep = 1\n").display().to_string();
    let words = ["--prune-force", "--maxpercent", "100", "--json", "--config", &config];
    let pruner = start(world.server("byteback-prune").args(words));
    wait_until("it deletes", || world.snapshots("web1").len() < 42);
    // A second one leaves at once meanwhile.
    run(world.server("byteback-prune").arg("--prune")).must(4).must_say("another byteback-prune is at work");
    let begun = Instant::now();
    pruner.signal(Signal::SIGTERM);
    let ran = pruner.wait().must(1).must_say("ended by SIGTERM between two deletions; run it again to go on");
    assert!(begun.elapsed() < Duration::from_secs(20), "{}", ran.story());
    assert_eq!(hidden(&world, "web1"), [""; 0]);
    assert_whole(&world, "web1");
    let left = world.snapshots("web1").len();
    assert!(left > 1, "it was over before it was told: {}", ran.story());
    assert_eq!(43 - left, steps(&ran, "deleted").len());
    prune(&world, &words).must(1);
    assert_eq!(world.snapshots("web1").len(), 1);
}

#[test]
fn a_snapshot_is_not_deleted_under_its_restore() {
    let world = World::new("space-restore");
    let old = [ago(40, 0), ago(30, 0), ago(20, 0)];
    let client = with_snapshots(&world, "web1", &[&old[0], &old[1], &old[2]]);
    let config = world.server_config("few.toml", "log = 'file'\nmin_keep = 1\n").display().to_string();
    let words = ["--prune-force", "--maxpercent", "100", "--config", &config];
    let target = world.clients.join("restored");
    let source = format!("HOST:{}/", old[0]);
    let restore =
        start(&mut client.rsync(["-a", "--bwlimit=8000", &source, &format!("{}/", target.display())]));
    wait_until("the restore is under way", || target.exists());
    prune(&world, &words).must(1).must_say("is left for now: somebody reads it");
    assert_eq!(world.snapshots("web1"), [old[0].clone(), old[2].clone()]);
    restore.wait().must(0);
    let restored = client.tree_in(&target).join("ballast");
    let kept = client.tree_in(&world.store.join("web1").join(&old[0])).join("ballast");
    assert_eq!(fs::read(restored).unwrap(), fs::read(kept).unwrap());
    prune(&world, &words).must(1);
    assert_eq!(world.snapshots("web1"), [old[2].as_str()]);
}

#[test]
fn the_future_is_told_and_nothing_of_it_is_done() {
    let world = World::new("space-future");
    let client = Client::enrolled(&world, "web1");
    for days in [3, 2, 1] {
        client.write("data", crate::torture::noise(days, 38_000_000 + usize::try_from(days).unwrap()));
        let measured = growth::runs(&world, "web1").len();
        client.backup().must(0);
        wait_until("the run is measured", || growth::runs(&world, "web1").len() > measured);
        world.rename_newest("web1", &ago(i64::try_from(days).unwrap(), 0));
    }
    let before = world.snapshots("web1");
    let ran = prune(&world, &["--simulate", "60"]).must(0);
    // What its three backups brought, all on this one day, is what a day brings.
    let is_daily = |line: &str| line.starts_with("web1 goes on to bring ") && line.ends_with(" MiB every 1d");
    assert!(ran.text().lines().any(is_daily), "{}", ran.story());
    assert!(ran.text().contains(" deleted, ") && ran.text().contains(": the first "), "{}", ran.story());
    let told = prune(&world, &["--simulate", "60", "--json"]).must(0).text();
    let told: Value = serde_json::from_str(&told).unwrap();
    assert_eq!(told["days"].as_array().unwrap().len(), 60);
    assert_eq!(told["clients"][0]["every_seconds"], 86_400);
    assert_eq!(world.snapshots("web1"), before);
}

#[test]
fn the_kernel_counts_where_an_administrator_has_it_do_so() {
    let world = World::new("space-quotas");
    let client = Client::enrolled(&world, "web1");
    let setup = |words: &[&str]| {
        let mut setup = Command::new(program("byteback-setup-server"));
        run(setup.args(["--user", &world.user, "--store"]).arg(&world.store).args(words))
    };
    setup(&["--quotas", "--check"]).must_say("to do: turn simple quotas on");
    setup(&["--quotas"]).must(0).must_say("turn simple quotas on");
    setup(&["--quotas"]).must(0).must_not_say("turn simple quotas on");
    client.write("data", crate::torture::noise(5, 7_000_000));
    client.backup().must(0);
    let log = world.store.join(".byteback/clients/web1/runs.json");
    wait_until("the run is measured", || log.exists());
    let log: Value = serde_json::from_slice(&fs::read(log).unwrap()).unwrap();
    assert_eq!(log["runs"][0]["measure"], "quota", "{log}");
    let new = log["runs"][0]["new_data"].as_u64().unwrap();
    assert!((7_000_000..8_000_000).contains(&new), "{new}");
    let mut check = Command::new(program("byteback-admin"));
    run(check.args(["check", "--store"]).arg(&world.store)).must_say("quotas: simple quotas are on");
}

#[test]
fn a_store_below_its_floor_takes_no_backup_and_says_what_it_does_about_it() {
    let world = World::with_size("space-floor", "512M");
    let client = Client::enrolled(&world, "web1");
    client.write("small", "x");
    client.backup().must(0);
    let filler = world.store.join("filler");
    run(&mut world.as_user(["dd", "if=/dev/urandom", &format!("of={}", filler.display()), "bs=1M"]));
    tool("sync", [Path::new("-f"), &world.store]);
    let mut command = client.program("byteback-backup");
    command.arg("--source").arg(&client.tree).args(["--retry-number", "20", "--retry-delay", "1"]);
    client.write("small", "yy");
    let waiting = start(&mut command);
    wait_until("the pruner was started", || {
        world.log_lines().iter().any(|line| line.contains("byteback-prune["))
    });
    thread::sleep(Duration::from_secs(2));
    fs::remove_file(&filler).unwrap();
    // Room comes by itself after a while; the client has asked again meanwhile.
    waiting
        .wait()
        .must(0)
        .must_say("the store is full")
        .must_say("old snapshots are being deleted to make room");
}
