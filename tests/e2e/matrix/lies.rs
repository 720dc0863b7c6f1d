//! What no layer was made for in particular: forged lists, sessions that stall, attributes that lie. All layers are on.

use std::fs;
use std::time::{Duration, Instant};

use crate::client::Client;
use crate::compare::{assert_untouched, fingerprint};
use crate::forger::{Entry, Forger, Kind};
use crate::run::run;
use crate::world::World;

const PUSH: &str = "rsync --server -lrR --inplace . .";

/// Gives the client's key line a configuration of its own.
fn configure(world: &World, client: &Client<'_>, text: &str) {
    let config = world.server_config("own.toml", text);
    let keys = fs::read_to_string(world.authorized_keys()).unwrap();
    let (old, new) = (
        format!("--client {}", client.name),
        format!("--client {} --config {}", client.name, config.display()),
    );
    assert!(keys.contains(&old));
    fs::write(world.authorized_keys(), keys.replace(&old, &new)).unwrap();
}

#[test]
fn names_that_a_forged_list_makes_up_lead_nowhere() {
    let world = World::new("forged");
    let victim = Client::enrolled(&world, "victim");
    victim.write("secret", "x");
    victim.backup().must(0);
    let thief = Client::enrolled(&world, "thief");
    let outside = || fingerprint(&world.store, &[&world.store.join("thief"), &world.store.join(".byteback")]);
    let before = outside();
    let secret = world.current("victim").join("forged");
    let long = [b'x'; 4000];
    let names: [&[u8]; 9] = [
        b"../../victim/current/forged",
        b"a/../../../victim/current/forged",
        b"..",
        b"./../forged",
        secret.as_os_str().as_encoded_bytes(),
        b"//forged",
        b"a\0b",
        b"",
        &long,
    ];
    for name in names {
        for kind in [|| Kind::File(5), || Kind::Directory, || Kind::Link(b"/")] {
            let mut session = Forger::begin(&thief, PUSH).unwrap();
            // A server that hangs up at once is right, too.
            if session.list(&[Entry { name, kind: kind() }, Entry { name, kind: kind() }]).is_ok() {
                for wanted in session.wanted().unwrap_or_default() {
                    let _ = session.send(&wanted, b"hello");
                }
            }
            session.end();
        }
    }
    assert_untouched(&before, &outside());
    thief.write("own", "y");
    thief.backup().must(0);
}

#[test]
fn a_list_without_end_takes_no_more_memory_than_allowed() {
    let world = World::new("endless");
    let thief = Client::enrolled(&world, "thief");
    configure(&world, &thief, "log = 'file'\nmax_memory = '48M'\n");
    let mut session = Forger::begin(&thief, PUSH).unwrap();
    let refused = (0..2_000).any(|round| {
        let names: Vec<String> =
            (0..1_000).map(|number| format!("{round}-{number}-{}", "n".repeat(40))).collect();
        let entry = |name: &String| Forger::entry(name.as_bytes());
        session.raw(&names.iter().flat_map(entry).collect::<Vec<u8>>()).is_err()
    });
    session.end();
    assert!(refused, "two million names were taken");
    assert!(
        world.log_lines().iter().any(|line| line.contains("ended client=thief")),
        "{:#?}",
        world.log_lines()
    );
}

#[test]
fn a_session_that_stalls_is_ended_and_the_next_one_gets_in() {
    let world = World::new("stalled");
    let thief = Client::enrolled(&world, "thief");
    configure(&world, &thief, "log = 'file'\nio_timeout = '3s'\n");
    for list in [false, true] {
        let begin = Instant::now();
        let mut session = Forger::begin(&thief, PUSH).unwrap();
        if list {
            session.list(&[Entry { name: b"held-back", kind: Kind::File(5) }]).unwrap();
            assert_eq!(session.wanted().unwrap().len(), 1);
        }
        session.wait();
        assert!(begin.elapsed() < Duration::from_secs(30), "it held the server for {:?}", begin.elapsed());
        thief.send("byteback-receive --prepare").must(0);
    }
}

#[test]
fn attributes_that_lie_hinder_neither_listing_nor_restoring() {
    let world = World::new("lying");
    let thief = Client::enrolled(&world, "thief");
    let lies: [&[u8]; 8] = [
        b"",
        b"x",
        b"100644 0,0 0:0\nfoo",
        b"177777 4294967295,4294967295 4294967295:4294967295",
        b"999999999999999999 -1,-1 -1:-1",
        b"120777 0,0 0:0",
        b"60660 8,0 0:0",
        &[0xff; 3000],
    ];
    for number in 0..lies.len() {
        thief.write(format!("lie{number}"), "content");
    }
    thief.write("honest", "honest content");
    thief.backup().must(0);
    // As a program that has taken over rsync can set them.
    for (number, lie) in lies.iter().enumerate() {
        let path = thief.tree_in(&world.current("thief")).join(format!("lie{number}"));
        xattr::set(path, "user.rsync.%stat", lie).unwrap();
    }
    for snapshot in world.snapshots("thief") {
        world.rename_newest("thief", &snapshot.replacen("20", "19", 1));
    }
    thief.send("byteback-receive --complete").must(0);
    let pattern = format!("{}/*", thief.tree.display());
    let listed = thief.restore([&*pattern]).must(0).text();
    assert!(listed.contains("honest") && listed.contains("lie1"), "{listed}");
    assert!(!listed.contains(|c: char| c.is_control() && c != '\n'), "{listed:?}");
    let target = world.clients.join("back");
    fs::create_dir(&target).unwrap();
    run(thief
        .program("byteback-restore")
        .args(["--restore", "--to"])
        .arg(&target)
        .arg(thief.tree.join("honest")))
    .must(0);
    assert_eq!(fs::read_to_string(thief.tree_in(&target).join("honest")).unwrap(), "honest content");
}
