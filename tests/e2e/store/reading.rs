//! A snapshot that is being read is not deleted under its reader, who on the other hand cannot keep it for ever.

use std::process::{Command, Stdio};

use nix::sys::signal::Signal;

use super::{client, deed, deed_command, put, snapshot};
use crate::client::Client;
use crate::run::{Running, start, wait_until};
use crate::world::World;

const DAY: &str = "2026-01-01T00:00+0000";

/// A process of the store's user that holds this tree.
fn reader(world: &World, tree: &str) -> Running {
    let running = start(&mut deed_command(world, &["hold", "web1", tree]));
    wait_until("the reader holds it", || world.store.join("held").exists());
    std::fs::remove_file(world.store.join("held")).unwrap();
    running
}

fn end(reader: Running) {
    reader.signal(Signal::SIGKILL);
    reader.wait();
}

#[test]
fn what_is_being_read_is_neither_deleted_nor_renewed() {
    let world = World::new("being-read");
    let current = client(&world, "web1");
    put(&current.join("file"), "content");
    snapshot(&world, "web1", DAY);
    let readers = (reader(&world, DAY), reader(&world, DAY));
    deed(&world, &["discard", "web1", DAY]).must_fail().must_say("web1/2026-01-01T00:00+0000 is being read");
    assert_eq!(world.snapshots("web1"), [DAY], "it is as it was");
    end(readers.0);
    deed(&world, &["discard", "web1", DAY]).must_fail().must_say("is being read");
    end(readers.1);
    deed(&world, &["discard", "web1", DAY]).must(0);
    assert!(world.snapshots("web1").is_empty());

    let reader = reader(&world, "current");
    deed(&world, &["renew", "web1", "-"]).must_fail().must_say("web1/current is being read");
    assert_eq!(std::fs::read(current.join("file")).unwrap(), b"content");
    end(reader);
    deed(&world, &["renew", "web1", "-"]).must(0);
    assert!(!current.join("file").exists());
}

#[test]
fn a_restore_keeps_its_snapshot_for_two_days_and_no_longer() {
    let world = World::new("slow-reader");
    let client = Client::enrolled(&world, "web1");
    client.write("file", "content");
    client.backup().must(0);
    world.rename_newest("web1", DAY);
    // A session that begins a restore and then says nothing.
    let begin = format!("rsync --server --sender -logDtpre.iLsfxCIvu --timeout=600 . {DAY}/");
    let mut ssh: Command = client.ssh();
    let mut slow = ssh
        .arg(client.login())
        .arg("--")
        .arg(begin)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let held = || deed(&world, &["discard", "web1", DAY]).all().contains("is being read");
    let accepted = || world.log_lines().iter().any(|line| line.contains("accept") && line.contains("pull"));
    wait_until("the restore has begun", accepted);
    assert!(held() && held() && world.snapshots("web1") == [DAY]);

    let wanted = world.store.join(".byteback/clients/web1/wanted.json");
    let text = std::fs::read_to_string(&wanted).unwrap();
    assert!(text.contains(DAY), "{text}");
    let ago = jiff::Timestamp::now() - jiff::SignedDuration::from_hours(49);
    std::fs::write(&wanted, format!("{{\"schema\":1,\"since\":{{\"{DAY}\":\"{ago}\"}}}}")).unwrap();
    deed(&world, &["discard", "web1", DAY]).must(0);
    assert!(world.snapshots("web1").is_empty());
    wait_until("the restore was ended", || slow.try_wait().unwrap().is_some());
    let ended = |line: &String| line.contains("ended client=web1") && line.contains("SIGTERM");
    assert!(world.log_lines().iter().any(ended), "{:?}", world.log_lines());
}
