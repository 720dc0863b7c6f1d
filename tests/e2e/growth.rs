//! Backups that are abnormally large, and those that look as if a machine had been emptied: nobody else's
//! history pays for them, and an administrator's word ends it.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::Duration;

use serde_json::Value;

use crate::client::Client;
use crate::prune::{ago, named, percent_free, prune};
use crate::run::{Ran, program, run, wait_until};
use crate::torture::noise;
use crate::world::World;

const MB: usize = 1_000_000;

/// What these tests say of every server; the gate of this world, too, goes by it from now on.
fn configure(world: &World, more: &str) -> String {
    let text = format!("log = 'file'\nsnapshot_interval = 0\nmin_keep = 1\ngrowth_floor = '1M'\n{more}");
    let config = world.server_config("server.toml", &text).display().to_string();
    let lines = fs::read_to_string(world.authorized_keys()).unwrap();
    let plain = lines.replace(&format!(" --config {config}"), "");
    let with_config = plain.replace("byteback-receive ", &format!("byteback-receive --config {config} "));
    assert_ne!(with_config, plain, "no client is enrolled yet");
    fs::write(world.authorized_keys(), with_config).unwrap();
    config
}

fn admin(world: &World, words: &[&str]) -> Ran {
    run(Command::new(program("byteback-admin")).args(words).arg("--store").arg(&world.store))
}

/// The client's measured runs, oldest first.
pub fn runs(world: &World, client: &str) -> Vec<Value> {
    let log =
        fs::read(world.store.join(".byteback/clients").join(client).join("runs.json")).unwrap_or_default();
    let log: Value = serde_json::from_slice(&log).unwrap_or_default();
    log["runs"].as_array().cloned().unwrap_or_default()
}

/// One backup with so many megabytes that were never there, as of so many days ago.
fn night(client: &Client, seed: u64, megabytes: usize, days: i64) {
    client.write("data", noise(seed, megabytes * MB + usize::try_from(seed).unwrap()));
    let before = runs(client.world, &client.name).len();
    client.backup().must(0);
    wait_until("the run is measured", || runs(client.world, &client.name).len() > before);
    client.world.rename_newest(&client.name, &ago(days, 0));
}

/// Two clients with some history, and marks so near that 150 MB more go below them.
fn with_history(world: &World) -> (Client<'_>, Client<'_>, String) {
    let (hostile, other) = (Client::enrolled(world, "hostile"), Client::enrolled(world, "other"));
    configure(world, "");
    for (seed, days) in [(1, 40), (2, 30), (3, 20), (4, 10)] {
        night(&hostile, seed, 6, days);
        night(&other, seed + 100, 30, days);
    }
    let free = percent_free(world);
    let config =
        configure(world, &format!("minpercent = {:.0}\nmaxpercent = {:.0}\n", free - 15.0, free - 10.0));
    (hostile, other, config)
}

fn grow(client: &Client) -> Ran {
    client.write("data", noise(77, 450 * MB));
    client.slow_down(30_000);
    let ran = client.backup();
    client.full_speed();
    ran
}

#[test]
fn a_hostile_client_that_grows_is_stopped_and_nobody_s_history_pays() {
    let world = World::new("growth-stop");
    let (hostile, other, config) = with_history(&world);
    let history = [world.snapshots("hostile"), world.snapshots("other")];
    let ran = grow(&hostile).must(3).must_say("times larger than usual");
    assert!(
        ran.all().contains("ask the server's administrator to run \"byteback-admin accept hostile\""),
        "{}",
        ran.story()
    );
    wait_until("the run is measured", || runs(&world, "hostile").len() == 5);
    let run = runs(&world, "hostile").pop().unwrap();
    assert!(run["verdict"]["stopped"]["typical"].as_u64().is_some(), "{run}");
    assert!(run["new_data"].as_u64().unwrap() > 30_000_000, "{run}");

    // Whoever prunes is told, and nothing is deleted for the room that it took.
    let words = ["--prune", "--verbose", "--config", &config];
    prune(&world, &words).must(1).must_say("the backup of hostile").must_say("byteback-admin accept hostile");
    assert_eq!([world.snapshots("hostile"), world.snapshots("other")], history);
    // Not even by force, and a dry run and a list say the same.
    let force = ["--prune-force", "--config", &config];
    prune(&world, &force).must(1);
    assert_eq!([world.snapshots("hostile"), world.snapshots("other")], history);
    prune(&world, &["--list", "--config", &config]).must(0).must_say("byteback-admin reset hostile");

    // What the other one brings since then is made room for, from the other's history alone.
    night(&other, 200, 60, 0);
    prune(&world, &words).must(1);
    let left = world.snapshots("other");
    assert!(left.len() < history[1].len() + 1, "{left:?}");
    assert_eq!(world.snapshots("hostile"), history[0], "its last good ones stay");
}

#[test]
fn an_administrator_s_word_lets_a_large_backup_through() {
    let world = World::new("growth-accept");
    let (hostile, _other, config) = with_history(&world);
    grow(&hostile).must(3);
    wait_until("the run is measured", || runs(&world, "hostile").len() == 5);
    admin(&world, &["accept", "nobody"]).must(2);
    admin(&world, &["accept", "hostile"]).must(0).must_say("are accepted").must_say("of any size");
    hostile.backup().must(0);
    wait_until("the run is measured", || runs(&world, "hostile").len() == 6);
    let run = runs(&world, "hostile").pop().unwrap();
    assert_eq!(run["accepted"], true, "{run}");
    // From now on room is made as for everybody else.
    let ran = prune(&world, &["--prune", "--config", &config]);
    assert!(!ran.all().contains("administrator") && !ran.all().contains("accept"), "{}", ran.story());
    assert!(world.snapshots("other").len() < 4, "{}", ran.story());
}

#[test]
fn a_reset_gives_the_room_back_at_once() {
    let world = World::new("growth-reset");
    let (hostile, _other, config) = with_history(&world);
    let free = percent_free(&world);
    grow(&hostile).must(3);
    wait_until("the run is measured", || runs(&world, "hostile").len() == 5);
    let short = percent_free(&world);
    assert!(short < free - 10.0, "{short} {free}");

    let data = hostile.tree_in(&world.current("hostile")).join("data");
    admin(&world, &["reset", "hostile", "--dry-run"]).must(0).must_say("would be thrown away");
    admin(&world, &["reset", "hostile"]).must(2).must_say("--yes");
    assert!(fs::metadata(&data).unwrap().len() > 40 * MB as u64, "nothing was changed");
    let ran = admin(&world, &["reset", "hostile", "--yes", "--json"]).must(0);
    let answer: Value = serde_json::from_slice(&ran.stdout).unwrap();
    assert_eq!(answer["from"], world.snapshots("hostile").last().unwrap().as_str());
    assert!(answer["room_back"].as_u64().unwrap() > 50_000_000, "{answer}");
    assert!(percent_free(&world) > free - 2.0, "at once, not some seconds later");
    let kept = hostile.tree_in(&world.store.join("hostile").join(world.snapshots("hostile").last().unwrap()));
    assert_eq!(fs::read(&data).unwrap(), fs::read(kept.join("data")).unwrap());
    prune(&world, &["--prune", "--config", &config]).must(0);
    // The client goes on as if nothing had been.
    night(&hostile, 9, 6, 0);
    assert_eq!(world.snapshots("hostile").len(), 5);
}

#[test]
fn a_client_that_sends_junk_every_night_costs_the_others_no_more_than_its_turn() {
    let world = World::new("growth-junk");
    let (junk, good) = (Client::enrolled(&world, "junk"), Client::enrolled(&world, "good"));
    configure(&world, "");
    for (number, days) in [80, 70, 60, 50, 40, 30, 20].into_iter().enumerate() {
        night(&junk, number as u64 + 1, 60, days);
        night(&good, number as u64 + 50, 4, days);
    }
    let free = percent_free(&world);
    let marks = [format!("{:.0}", free + 8.0), format!("{:.0}", free + 12.0)];
    let config = configure(&world, "");
    let words = ["--prune", "--minpercent", &marks[0], "--maxpercent", &marks[1], "--config", &config];
    prune(&world, &words).must(0);
    let (junk, good) = (world.snapshots("junk").len(), world.snapshots("good").len());
    assert!(junk < 7 && good + 1 >= junk && good >= 2, "{junk} of the one with junk, {good} of the good one");
}

#[test]
fn a_machine_that_seems_emptied_has_its_history_held_once() {
    let world = World::new("growth-suspicious");
    let client = Client::enrolled(&world, "web1");
    let config = configure(&world, "suspicious_min_files = 50\n");
    let fill = |count: usize, seed: u64| {
        fs::remove_dir_all(client.tree.join("files")).unwrap_or_default();
        (0..count)
            .for_each(|n| client.write(Path::new("files").join(n.to_string()), noise(seed + n as u64, 500)));
    };
    fill(100, 1);
    // What changed within three seconds before a run is sent once more by the next one.
    thread::sleep(Duration::from_millis(4_200));
    night(&client, 1, 1, 60);
    night(&client, 2, 1, 50);
    admin(&world, &["holds"]).must(0).must_not_say("held");
    fill(10, 1);
    night(&client, 3, 1, 40);
    let holds = admin(&world, &["holds", "--json"]).must(0).text();
    let holds: Value = serde_json::from_str(&holds).unwrap();
    assert_eq!(holds["holds"].as_array().unwrap().len(), 1, "{holds}");
    assert_eq!(holds["holds"][0]["automatic"], true);
    assert!(holds["holds"][0]["reason"].as_str().unwrap().contains("of the"), "{holds}");
    assert!(world.log_lines().iter().any(|line| line.contains("suspicious client=web1")));
    // Uploads go on, and the pruner keeps what was there before.
    prune(&world, &["--prune-force", "--maxpercent", "99", "--config", &config])
        .must(1)
        .must_say("held until");
    assert_eq!(world.snapshots("web1").len(), 3);

    // No second one, however often it happens.
    fill(100, 500);
    night(&client, 4, 1, 30);
    fill(10, 1);
    night(&client, 5, 1, 20);
    let count = || admin(&world, &["holds"]).must(0).text().lines().count();
    assert_eq!(count(), 1);
    admin(&world, &["release", "web1"]).must(0);
    assert_eq!(count(), 0);
    fill(100, 900);
    night(&client, 6, 1, 15);
    fill(10, 1);
    night(&client, 7, 1, 12);
    assert_eq!(count(), 1, "an administrator has looked, so the next one counts again");
}

#[test]
fn what_is_held_stays_until_it_is_released() {
    let world = World::new("growth-holds");
    let client = Client::enrolled(&world, "web1");
    let config = configure(&world, "");
    for (seed, days) in [(1, 40), (2, 30), (3, 20)] {
        night(&client, seed, 2, days);
    }
    let [oldest, middle] = [ago(40, 0), ago(30, 0)];
    let target = format!("web1/{oldest}");
    admin(&world, &["hold", &target, "--reason", " "]).must(2);
    admin(&world, &["hold", "web1/2001-01-01T00:00+0000", "--reason", "x"])
        .must(2)
        .must_say("there is no snapshot");
    admin(&world, &["hold", &target, "--reason", "x", "--until", "2001-01-01"]).must(2).must_say("past");
    admin(&world, &["hold", &target, "--reason", "tax year", "--until", "2999-01-01"])
        .must(0)
        .must_say("tax year");
    admin(&world, &["holds"]).must(0).must_say(&target).must_say("2999-01-01").must_say("tax year");
    let all = ["--prune-force", "--maxpercent", "99", "--config", &config];
    let listed = prune(&world, &["--list", "--config", &config]).must(0).text();
    let line = listed.lines().find(|line| line.contains(&oldest)).unwrap();
    assert!(line.contains("held until 2999-01-01: tax year"), "{line}");
    assert_eq!(
        named(&world, &prune(&world, &[&all[..], &["--dry-run"]].concat()).must(0).text()),
        [format!("web1/{middle}")]
    );
    prune(&world, &all).must(1).must_say("held until 2999-01-01: tax year");
    assert!(world.snapshots("web1").contains(&oldest) && !world.snapshots("web1").contains(&middle));

    admin(&world, &["hold", "web1", "--reason", "break-in"]).must(0);
    admin(&world, &["release", &target]).must(0);
    prune(&world, &all).must(1).must_say("break-in");
    assert!(world.snapshots("web1").contains(&oldest));
    admin(&world, &["release", "web1"]).must(0);
    admin(&world, &["release", "web1"]).must(2).must_say("nothing holds web1");
    prune(&world, &all).must(1);
    assert_eq!(world.snapshots("web1").len(), 1);
    // Damaged holds protect everything.
    night(&client, 4, 2, 15);
    fs::write(world.store.join(".byteback/clients/web1/holds.json"), "{").unwrap();
    prune(&world, &all).must(1).must_say("holds.json").must_say("cannot be read");
    assert_eq!(world.snapshots("web1").len(), 2);
}
