//! What one client, or one broken thing, cannot do to the others' nights. Each of these was possible once.

use std::fs::{self, File};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;

use nix::fcntl::{Flock, FlockArg};

use crate::client::Client;
use crate::prune;
use crate::run::{Ran, run, start, tool};
use crate::world::World;

const OLD: &str = "2020-01-05T12:00+0000";

/// A client with an old snapshot and a new one.
fn with_history<'a>(world: &'a World, name: &str) -> Client<'a> {
    let client = Client::enrolled(world, name);
    client.write("file", "old");
    client.backup().must(0);
    world.rename_newest(name, OLD);
    client.write("file", "newer");
    client.backup().must(0);
    client
}

#[test]
fn one_client_cannot_take_all_places_for_restores() {
    let world = World::new("places");
    let (greedy, other) = (with_history(&world, "greedy"), with_history(&world, "other"));
    let list = "byteback-receive --list --json /etc/passwd";
    greedy.send(list).must(0);
    // A quarter of the usual eight.
    let places = world.store.join(".byteback/clients/greedy/restores");
    fs::write(places.join("2"), "").unwrap();
    let held: Vec<_> = ["1", "2"]
        .map(|place| {
            let file = File::open(places.join(place)).unwrap();
            Flock::lock(file, FlockArg::LockExclusiveNonblock).map_err(|(_, errno)| errno).unwrap()
        })
        .into();
    greedy.send(list).must(4).must_say("busy");
    other.send(list).must(0);
    drop(held);
    greedy.send(list).must(0);
}

#[test]
fn whoever_reads_a_snapshot_cannot_hang_the_pruner() {
    let world = World::new("reader");
    with_history(&world, "web1");
    let reader = File::open(world.store.join("web1").join(OLD)).unwrap();
    let config = world.server_config("few.toml", "log = 'file'\nmin_keep = 1\n");
    let words = ["--prune-force", "--maxpercent", "100", "--config", config.to_str().unwrap()];
    let prune = || prune::prune(&world, &words);
    prune().must(1).must_say("somebody still reads it");
    assert!(!world.snapshots("web1").contains(&OLD.to_owned()), "it is gone from every listing");
    drop(reader);
    prune().must(1).must_say("last of its client");
    assert!(!world.store.join(".byteback/awaited").exists());
}

#[test]
fn a_root_that_nobody_may_enter_stops_neither_a_snapshot_nor_the_pruner() {
    let world = World::new("closed");
    let client = with_history(&world, "web1");
    world.rename_newest("web1", "2020-02-02T12:00+0000");
    fs::set_permissions(world.current("web1"), PermissionsExt::from_mode(0o000)).unwrap();
    run(world.server("byteback-prune").args(["--list"])).must(0).must_say(OLD);
    run(world.server("byteback-snapshot").args(["--client", "web1"])).must(0);
    let newest = world.snapshots("web1").into_iter().max().unwrap();
    let mode = fs::metadata(world.store.join("web1").join(newest)).unwrap().mode();
    assert_eq!(mode & 0o700, 0o700);
    client.backup().must(0);
}

#[test]
fn a_push_whose_beginning_cannot_be_remembered_does_not_begin() {
    let world = World::new("memory");
    let client = with_history(&world, "web1");
    let record = world.store.join(".byteback/clients/web1/push.json");
    fs::remove_file(&record).unwrap();
    fs::create_dir(&record).unwrap();
    client.write("new", "never sent");
    let tree = client.tree_in(&world.current("web1"));
    client.backup().must_fail();
    assert!(!tree.join("new").exists());
    let told = |line: &String| line.contains("failed client=web1") && line.contains("request=push");
    assert!(world.log_lines().iter().any(told));
    fs::remove_dir(&record).unwrap();
    client.backup().must(0);
    assert!(tree.join("new").exists());
}

#[test]
fn a_push_opens_a_root_that_the_client_has_closed_to_itself() {
    let world = World::new("closed-push");
    let client = Client::enrolled(&world, "web1");
    client.write("file", "x");
    client.backup().must(0);
    let from = format!("{}/", client.tree.display());
    for mode in [0o000, 0o500, 0o077] {
        fs::set_permissions(world.current("web1"), PermissionsExt::from_mode(mode)).unwrap();
        run(&mut client.rsync(["-r", &from, "HOST:"])).must(0);
        assert_eq!(fs::metadata(world.current("web1")).unwrap().mode() & 0o700, 0o700);
        fs::set_permissions(world.current("web1"), PermissionsExt::from_mode(mode)).unwrap();
        client.send("byteback-receive --snapshot current --list --json /file").must(0).must_say("file");
    }
}

#[test]
fn a_full_store_is_named_wherever_it_is_met_and_the_push_does_not_begin() {
    let world = World::new("full-state");
    let client = with_history(&world, "web1");
    client.write("new", "never sent");
    let state = world.store.join(".byteback");
    let of_client = state.join("clients/web1");
    let says = |ran: Ran, sentence: &str| {
        ran.must_fail().must_say(sentence).must_say("No space left on device");
    };
    let full = "the server's store is full; its administrator must make room with byteback-prune";
    let not_remembered = "the store is full, so that not even this backup's beginning can be remembered";
    // Room for the lock and for nothing else, then not even for that.
    for (lock, inodes) in [(true, 3), (false, 1)] {
        let options = format!("nr_blocks=1,nr_inodes={inodes},mode=755");
        let words = ["-t", "tmpfs", "-o", &options, "tmpfs", of_client.to_str().unwrap()];
        tool("mount", words);
        if lock {
            fs::write(of_client.join("lock"), "").unwrap();
        }
        let user = nix::unistd::User::from_name(&world.user).unwrap().unwrap();
        tool("chown", ["-R", &user.uid.to_string(), of_client.to_str().unwrap()]);
        let _ = fs::write(of_client.join("filler"), "x"); // where there is no room for its name, there is none
        let sentence = if lock { not_remembered } else { full };
        says(client.send("rsync --server -logDtpre.iLsfxCIvu . ."), sentence);
        if !lock {
            says(client.send("byteback-receive --prepare"), full);
            client.send("byteback-receive --prepare --json").must_say(full);
        }
        tool("umount", [Path::new("--lazy"), &of_client]); // the pruner that was started may still look
    }
    assert!(!client.tree_in(&world.current("web1")).join("new").exists());
    let told = world.log_lines().into_iter().filter(|line| line.contains("store is full"));
    assert!(told.count() >= 4, "{:#?}", world.log_lines());
    client.backup().must(0);
}

#[test]
fn a_flood_of_any_verdict_is_ten_lines_and_a_number_however_many_gates_there_are() {
    let world = World::new("flood-lines");
    let client = Client::enrolled(&world, "web1");
    client.send("byteback-receive --ping").must(0);
    let state = world.store.join(".byteback/clients/web1/verdicts");
    for (asked, word) in [("byteback-receive --ping", "accept"), ("sh", "refuse")] {
        fs::remove_file(&state).unwrap();
        let before = world.log_lines().len();
        let gate = || {
            let mut gate = world.server("byteback-receive");
            start(gate.args(["--client", "web1"]).env("SSH_ORIGINAL_COMMAND", asked))
        };
        let gates: Vec<_> = (0..60).map(|_| gate()).collect();
        for gate in gates {
            gate.wait();
        }
        // A minute later, as the count sees it.
        let text = fs::read_to_string(&state).unwrap();
        let minute: i64 = text.split_whitespace().next().unwrap().parse().unwrap();
        let earlier = text.replacen(&minute.to_string(), &(minute - 1).to_string(), 1);
        fs::write(&state, earlier).unwrap();
        client.send("byteback-receive --ping").must(0);
        let lines = world.log_lines().split_off(before);
        let told = lines.iter().filter(|line| line.contains(&format!("]: {word} client=web1"))).count();
        let told = if word == "accept" { told - 1 } else { told };
        let folded: usize = lines
            .iter()
            .filter(|line| line.contains(&format!("folded client=web1 verdict={word} ")))
            .map(|line| {
                line.split("count=").nth(1).unwrap().split(' ').next().unwrap().parse::<usize>().unwrap()
            })
            .sum();
        assert_eq!(told + folded, 60, "{lines:#?}");
        assert!(told <= 20, "one minute or two: {lines:#?}");
    }
}

#[test]
fn a_lock_whose_mode_was_taken_away_is_a_lock_again() {
    let world = World::new("lock-mode");
    let client = Client::enrolled(&world, "web1");
    client.write("file", "x");
    client.backup().must(0);
    // As an rsync that was taken over can do with the lock that it holds.
    let lock = world.store.join(".byteback/clients/web1/lock");
    fs::set_permissions(&lock, PermissionsExt::from_mode(0o000)).unwrap();
    client.backup().must(0);
}

#[test]
fn every_request_is_explained_with_what_would_run_and_what_would_be_looked_for() {
    let world = World::new("explain");
    let explain = |asked: &str, code: i32| -> serde_json::Value {
        let mut gate = world.server("byteback-receive");
        let ran =
            run(gate.args(["--client", "web1", "--explain"]).env("SSH_ORIGINAL_COMMAND", asked)).must(code);
        serde_json::from_str(&ran.text()).unwrap()
    };
    let command = |told: &serde_json::Value| told["argv"].as_array().unwrap().len();
    let push = explain("rsync --server -logDtpre.iLsfxCIvu . .", 0);
    assert!(command(&push) > 4 && push["search"].is_null(), "{push}");
    let old = explain("byteback-restore --snapshot * --server --sender -logDtpre.iLsfxCIvu . /etc/a=20b", 0);
    assert_eq!(old["argv"].as_array().unwrap().last().unwrap(), ".", "{old}");
    assert_eq!(old["search"]["patterns"][0], "/etc/a b", "{old}");
    let list = explain("byteback-receive --snapshot current --list --all /x", 0);
    assert_eq!(list["search"], serde_json::json!({"snapshot": "current", "all": true, "patterns": ["/x"]}));
    assert_eq!(command(&list), 0);
    for verb in ["--ping", "--prepare", "--complete"] {
        let told = explain(&format!("byteback-receive {verb}"), 0);
        assert!(command(&told) == 0 && told["search"].is_null() && told["verdict"] == "allow", "{told}");
    }
    assert_eq!(explain("sh", 3)["verdict"], "refuse");
    assert!(world.log_lines().is_empty(), "nothing is logged: {:?}", world.log_lines());
}
