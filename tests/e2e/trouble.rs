//! What may go wrong on the way: programs are killed, connections are cut, files vanish, the disk is full.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::backup::unpack_with_stock_rsync;
use crate::client::Client;
use crate::compare::assert_equal_both_ways;
use crate::run::{Running, descendants, is_alive, run, start, wait_until};
use crate::torture;
use crate::world::World;

/// A client with a tree that takes some seconds, whose first file is on the server soon.
fn slow_client<'a>(world: &'a World, name: &str) -> Client<'a> {
    let client = Client::enrolled(world, name);
    client.write("a-first", torture::noise(21, 200_000));
    client.write("b-large", torture::noise(22, 4_000_000));
    client.write("c-last", torture::noise(23, 10_000));
    client.slow_down(800);
    client
}

/// Waits until the push is in the midst of the large file.
fn wait_for_the_middle(client: &Client) {
    let large = client.tree_in(&client.world.current(&client.name)).join("b-large");
    wait_until("the large file is on its way", || {
        fs::metadata(&large).is_ok_and(|seen| seen.len() > 100_000)
    });
}

fn assert_all_there(client: &Client, root: &str) {
    let unpacked = client.world.clients.join(format!("unpacked-{}", client.name));
    let stored = client.tree_in(&client.world.store.join(&client.name).join(root));
    unpack_with_stock_rsync(&stored, &unpacked);
    assert_equal_both_ways(&client.tree, &unpacked);
}

/// When the stored copy of a file was last touched in any way.
fn touched(client: &Client, name: &str) -> (i64, i64) {
    let seen = fs::metadata(client.tree_in(&client.world.current(&client.name)).join(name)).unwrap();
    (seen.ctime(), seen.ctime_nsec())
}

/// Runs until it works: the server may still be busy with a session that was cut a moment ago.
fn back_up_when_free(client: &Client) {
    client.full_speed();
    let deadline = Instant::now() + Duration::from_secs(30);
    loop {
        let ran = client.backup();
        match ran.code() {
            0 => return,
            4 if Instant::now() < deadline => std::thread::sleep(Duration::from_millis(200)),
            _ => drop(ran.must(0)),
        }
    }
}

/// Interrupts a push in the middle in some way; the next run must go on from there and take the snapshot.
fn interrupted(name: &str, interrupt: impl FnOnce(Running)) {
    let world = World::new(name);
    let client = slow_client(&world, "web1");
    let running = client.start_backup();
    wait_for_the_middle(&client);
    let first = touched(&client, "a-first");
    interrupt(running);
    assert!(world.snapshots("web1").is_empty(), "a snapshot of half a tree was taken");
    // Nobody gets one by asking either: this is what a client that lies would send.
    client.send("byteback-receive --complete");
    assert!(world.snapshots("web1").is_empty(), "a snapshot of half a tree was taken on request");

    back_up_when_free(&client);
    assert_eq!(touched(&client, "a-first"), first, "what was copied already was copied again");
    let snapshots = world.snapshots("web1");
    assert_eq!(snapshots.len(), 1);
    assert_all_there(&client, &snapshots[0]);
}

#[test]
fn a_backup_whose_rsync_is_killed_goes_on_where_it_was() {
    interrupted("rsync-killed", |running| {
        kill(running.descendant("rsync"), Signal::SIGKILL).unwrap();
        running.wait().must(1).must_say("rsync");
    });
}

#[test]
fn sigterm_ends_a_backup_with_all_its_children() {
    interrupted("sigterm", |running| {
        running.descendant("rsync");
        let children: Vec<Pid> = running.descendants().into_iter().map(|(pid, _)| pid).collect();
        running.signal(Signal::SIGTERM);
        running.wait().must_fail().must_say("SIGTERM");
        wait_until("its children have ended", || !children.iter().any(|pid| is_alive(*pid)));
    });
}

#[test]
fn a_backup_that_is_killed_outright_leaves_nothing_that_hinders_the_next() {
    interrupted("sigkill", |running| {
        let rsync = running.descendant("rsync");
        running.signal(Signal::SIGKILL);
        running.wait().must(137);
        // The orphan would finish by itself; a machine that goes down would not let it.
        let _ = kill(rsync, Signal::SIGKILL);
        wait_until("the orphan has gone", || !is_alive(rsync));
    });
}

#[test]
fn a_lost_connection_is_tried_again_by_the_same_run() {
    let world = World::new("ssh-killed");
    let client = slow_client(&world, "web1");
    let mut command = client.program("byteback-backup");
    command.arg("--source").arg(&client.tree).args(["--retry-number", "5", "--retry-delay", "1"]);
    let running = start(&mut command);
    wait_for_the_middle(&client);
    let first = touched(&client, "a-first");
    // The server's side of the connection, as when a router forgets it: both ends of rsync are alive.
    let sessions = sessions(&world);
    assert!(!sessions.is_empty());
    client.full_speed();
    for session in sessions {
        let _ = kill(session, Signal::SIGKILL);
    }
    running.wait().must(0);
    assert_eq!(touched(&client, "a-first"), first, "what was copied already was copied again");
    let snapshots = world.snapshots("web1");
    assert_eq!(snapshots.len(), 1);
}

/// The processes of this world's sshd that serve one connection each.
fn sessions(world: &World) -> Vec<Pid> {
    let mine = descendants(world.sshd_pid());
    mine.into_iter().filter(|(_, name)| name.starts_with("sshd")).map(|(pid, _)| pid).collect()
}

#[test]
fn files_that_vanish_while_they_are_read_do_not_spoil_a_backup() {
    let world = World::new("vanish");
    let client = slow_client(&world, "web1");
    client.write("d-vanishing", torture::noise(24, 10_000));
    client.write("d-also", torture::noise(25, 10_000));
    let listed = fs::metadata(&client.tree).unwrap();
    let running = client.start_backup();
    // rsync has listed the directory by now and is busy with an earlier file.
    wait_for_the_middle(&client);
    fs::remove_file(client.tree.join("d-vanishing")).unwrap();
    fs::remove_file(client.tree.join("d-also")).unwrap();
    torture::set_time(&client.tree, listed.mtime(), listed.mtime_nsec()); // as it was when rsync saw it
    running.wait().must(0).must_say("vanished");
    let snapshots = world.snapshots("web1");
    assert_eq!(snapshots.len(), 1, "a machine in use has snapshots too");
    assert_all_there(&client, &snapshots[0]);
}

#[test]
fn a_push_that_the_server_cannot_store_fails_and_no_snapshot_is_taken() {
    let world = World::with_size("full-push", "300M");
    let client = Client::enrolled(&world, "web1");
    client.write("small", "x");
    client.write("too-large", torture::noise(26, 340_000_000));
    client.backup().must_fail().must_say("full");
    assert!(world.snapshots("web1").is_empty());
    // No snapshot can go, so an administrator takes away what does not fit.
    fs::remove_file(client.tree.join("too-large")).unwrap();
    let stored = client.tree_in(&world.current("web1")).join("too-large");
    run(&mut world.as_user(["rm".as_ref(), stored.as_os_str()])).must(0);
    client.backup().must(0);
    assert_all_there(&client, &world.snapshots("web1")[0]);
}

#[test]
fn without_a_server_a_backup_fails_with_one_sentence() {
    let mut world = World::new("no-server");
    Client::enrolled(&world, "web1").write("file", "x");
    world.stop_sshd();
    let client = Client::stranger(&world, "web1");
    let ran = client.backup().must(1).must_say("127.0.0.1");
    assert!(!ran.all().contains("panicked"), "{}", ran.story());
}

#[test]
fn a_server_with_another_host_key_gets_nothing() {
    let mut world = World::new("other-host-key");
    Client::enrolled(&world, "web1").write("file", "x");
    let host_key: PathBuf = world.file("host_key");
    fs::remove_file(&host_key).unwrap();
    fs::remove_file(host_key.with_extension("pub")).unwrap();
    world.start_sshd("");
    let client = Client::stranger(&world, "web1");
    client.backup().must_fail();
    assert!(!client.tree_in(&world.current("web1")).exists());
    run(client.backup_command().arg("--dry-run")).must_fail();
}
