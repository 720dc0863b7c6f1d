//! The main road: back up, snapshot, back up again, and what the one who looks after it is told.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;

use nix::mount::{MntFlags, MsFlags, mount, umount2};

use crate::client::Client;
use crate::compare::{assert_equal_both_ways, assert_untouched, fingerprint};
use crate::run::{run, tool};
use crate::torture;
use crate::world::{self, World};

/// Brings a stored tree back without any of our programs: stock rsync reads what fake-super wrote.
pub fn unpack_with_stock_rsync(stored: &Path, to: &Path) {
    // Over a "remote" shell that stays here: 3.2.7 cannot do a local copy with fake-super on one side.
    let shell = Path::new(world::SANDBOX).join("tmp/here");
    fs::write(&shell, "#!/bin/sh\nshift\neval \"exec $*\"\n").unwrap();
    fs::set_permissions(&shell, Permissions::from_mode(0o755)).unwrap();
    let words = ["-aHAX", "--numeric-ids", "--rsync-path=rsync --fake-super", "-e"];
    let source = format!("here:{}/", stored.to_str().unwrap());
    run(Command::new("rsync").args(words).arg(shell).arg(source).arg(to)).must(0);
}

#[test]
fn everything_that_a_unix_machine_may_hold_comes_back_as_it_was() {
    let world = World::new("torture-round");
    let client = Client::enrolled(&world, "web1");
    torture::fill(&client.tree);
    client.backup().must(0);
    let snapshot = &world.snapshots("web1")[0];

    let unpacked = world.clients.join("unpacked");
    unpack_with_stock_rsync(&client.tree_in(&world.store.join("web1").join(snapshot)), &unpacked);
    assert_equal_both_ways(&client.tree, &unpacked);

    let restored = world.clients.join("restored");
    let words = [Path::new("--restore"), Path::new("--to"), &restored, &client.tree];
    client.restore(words).must(0);
    assert_equal_both_ways(&client.tree, &client.tree_in(&restored));
}

#[test]
fn a_second_backup_within_six_hours_saves_the_files_and_says_that_no_snapshot_was_due() {
    let world = World::new("too-soon");
    let client = Client::enrolled(&world, "web1");
    client.write("file", "one");
    let first = client.backup().must(0);
    let snapshots = world.snapshots("web1");
    assert_eq!(snapshots.len(), 1, "{}", first.story());
    first.must_say(&snapshots[0]);

    client.write("file", "two, and longer");
    client.backup().must(0).must_say(&snapshots[0]);
    assert_eq!(world.snapshots("web1"), snapshots);
    let current = client.tree_in(&world.current("web1")).join("file");
    assert_eq!(fs::read_to_string(current).unwrap(), "two, and longer");
}

#[test]
fn a_later_backup_adds_a_snapshot_and_touches_no_earlier_one() {
    let world = World::new("history");
    let client = Client::enrolled(&world, "web1");
    torture::many_small_files(&client.tree, 300);
    client.write("large", torture::noise(3, 2_000_000));
    // rsync compares size and second of change: what follows must not fall into the same second.
    torture::set_time(&client.tree.join("large"), 1_500_000_000, 0);
    client.backup().must(0);
    world.rename_newest("web1", "2026-01-01T00:00+0000");
    let first = world.store.join("web1/2026-01-01T00:00+0000");
    let before = fingerprint(&first, &[]);

    client.write("d000/f1", "changed");
    client.write("large", [&torture::noise(3, 1_900_000)[..], &torture::noise(4, 100_000)].concat());
    client.write("new", "new");
    fs::remove_dir_all(client.tree.join("d001")).unwrap();
    client.backup().must(0);

    assert_eq!(world.snapshots("web1").len(), 2);
    assert_untouched(&before, &fingerprint(&first, &[]));
    let second = world.store.join("web1").join(&world.snapshots("web1")[1]);
    let unpacked = world.clients.join("unpacked");
    unpack_with_stock_rsync(&client.tree_in(&second), &unpacked);
    assert_equal_both_ways(&client.tree, &unpacked);
}

#[test]
fn a_file_that_changes_keeps_its_acl_and_attributes_in_the_same_nights_snapshot() {
    let world = World::new("changed-acl");
    let client = Client::enrolled(&world, "web1");
    for name in ["acl", "linked", "attribute", "loses", "gets", "default/inside"] {
        client.write(name, "one");
    }
    let path = |name: &str| client.tree.join(name).to_str().unwrap().to_owned();
    fs::hard_link(path("linked"), path("linked-too")).unwrap();
    for name in ["acl", "linked", "loses"] {
        tool("setfacl", ["-m", "u:4711:rw,g:12:r", &path(name)]);
    }
    tool("setfacl", ["-d", "-m", "u:4711:rwx", &path("default")]);
    for name in ["user.a", "user.b"] {
        xattr::set(path("attribute"), name, b"value").unwrap();
    }
    client.backup().must(0);
    world.rename_newest("web1", "2026-01-01T00:00+0000");

    for name in ["acl", "linked", "attribute", "loses", "gets", "default/inside"] {
        fs::write(path(name), "longer than before").unwrap();
    }
    client.write("default/new", "x");
    tool("setfacl", ["-b", &path("loses")]);
    tool("setfacl", ["-m", "u:4711:rw", &path("gets")]);
    xattr::remove(path("attribute"), "user.a").unwrap();
    client.backup().must(0);
    let unpacked = world.clients.join("unpacked");
    let newest = world.store.join("web1").join(&world.snapshots("web1")[1]);
    unpack_with_stock_rsync(&client.tree_in(&newest), &unpacked);
    assert_equal_both_ways(&client.tree, &unpacked);
}

#[test]
fn a_snapshot_cannot_be_written_not_even_by_the_stores_own_user() {
    let world = World::new("read-only");
    let client = Client::enrolled(&world, "web1");
    client.write("file", "x");
    client.backup().must(0);
    let snapshot = world.store.join("web1").join(&world.snapshots("web1")[0]);
    let file = client.tree_in(&snapshot).join("file");
    let before = fingerprint(&snapshot, &[]);
    let (file, root) = (file.to_str().unwrap(), snapshot.to_str().unwrap());
    for words in [
        vec!["sh", "-c", "echo y >\"$0\"", file],
        vec!["rm", "-f", file],
        vec!["touch", file],
        vec!["chmod", "600", file],
        vec!["touch", &format!("{root}/new")],
        vec!["setfattr", "-n", "user.x", "-v", "y", file],
    ] {
        run(&mut world.as_user(words)).must_fail().must_say("Read-only file system");
    }
    assert_untouched(&before, &fingerprint(&snapshot, &[]));
    // The same user may write beside it, so it is the snapshot that refuses.
    let beside = format!("{}/x", client.tree_in(&world.current("web1")).display());
    run(&mut world.as_user(["touch", &beside])).must(0);
}

#[test]
fn two_clients_back_up_at_the_same_time_and_neither_sees_the_other() {
    let world = World::new("two-clients");
    let clients = ["web1", "web2"].map(|name| Client::enrolled(&world, name));
    for (number, client) in clients.iter().enumerate() {
        torture::many_small_files(&client.tree, 200);
        client.write("mine", torture::noise(number as u64 + 10, 1_500_000));
        client.slow_down(1_000);
    }
    thread::scope(|scope| {
        let runs = clients.each_ref().map(|client| scope.spawn(|| client.backup().must(0)));
        for run in runs {
            run.join().unwrap();
        }
    });
    for client in &clients {
        let unpacked = world.clients.join(format!("unpacked-{}", client.name));
        let snapshot = world.store.join(&client.name).join(&world.snapshots(&client.name)[0]);
        unpack_with_stock_rsync(&client.tree_in(&snapshot), &unpacked);
        assert_equal_both_ways(&client.tree, &unpacked);
    }
}

#[test]
fn a_second_run_on_one_machine_leaves_and_names_the_process_that_is_at_work() {
    let world = World::new("lock");
    let client = Client::enrolled(&world, "web1");
    client.write("large", torture::noise(5, 3_000_000));
    client.slow_down(1_000);
    let first = client.start_backup();
    first.descendant("rsync");
    client.backup().must(4).must_say(&first.pid().to_string());
    first.wait().must(0);
    client.full_speed();
    client.backup().must(0);
}

/// Puts a hook where `run-parts` would find it.
fn hook(client: &Client, name: &str, script: &str) {
    let path = client.config.join(name);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
    fs::set_permissions(&path, Permissions::from_mode(0o755)).unwrap();
}

#[test]
fn hooks_run_in_order_around_the_copy() {
    let world = World::new("hooks");
    let client = Client::enrolled(&world, "web1");
    let note: PathBuf = world.clients.join("notes");
    let note = note.display();
    hook(
        &client,
        "pre-backup.d/20-dump",
        &format!("echo dump >>{note}; echo dumped >{}/dump", client.tree.display()),
    );
    hook(&client, "pre-backup.d/10-first", &format!("echo first >>{note}"));
    hook(&client, "pre-backup.d/ignored.dpkg-old", &format!("echo never >>{note}"));
    hook(&client, "post-backup.d/report", &format!("echo report >>{note}"));
    client.backup().must(0);
    assert_eq!(fs::read_to_string(world.clients.join("notes")).unwrap(), "first\ndump\nreport\n");
    assert!(client.tree_in(&world.current("web1")).join("dump").exists());
}

#[test]
fn a_hook_that_fails_is_named_and_the_run_ends_with_status_1_after_the_files_are_safe() {
    let world = World::new("bad-hook");
    let client = Client::enrolled(&world, "web1");
    client.write("file", "x");
    hook(&client, "pre-backup.d/50-dump-database", "exit 7");
    client.backup().must(1).must_say("50-dump-database");
    let snapshot = world.store.join("web1").join(&world.snapshots("web1")[0]);
    assert!(client.tree_in(&snapshot).join("file").exists());
}

#[test]
fn what_is_mounted_from_elsewhere_stays_out_also_when_exclude_adds_some() {
    let world = World::new("excludes");
    let client = Client::enrolled(&world, "web1");
    client.write("kept", "x");
    client.write("left-out.o", "x");
    client.write("by-file", "x");
    client.write("by-filter", "x");
    fs::write(client.config.join("excludes"), "by-file\n").unwrap();
    fs::write(client.config.join("rsync_filter"), "- by-filter\n").unwrap();
    let elsewhere = client.tree.join("elsewhere");
    fs::create_dir(&elsewhere).unwrap();
    mount(Some("tmpfs"), &elsewhere, Some("tmpfs"), MsFlags::empty(), None::<&str>).unwrap();
    client.write("elsewhere/file", "x");
    let ran = run(client.backup_command().args(["--exclude", "*.o"]));
    umount2(&elsewhere, MntFlags::empty()).unwrap();
    ran.must(0);
    let stored = client.tree_in(&world.current("web1"));
    assert!(stored.join("kept").exists());
    for absent in ["elsewhere/file", "left-out.o", "by-file", "by-filter"] {
        assert!(!stored.join(absent).exists(), "{absent}");
    }
}

#[test]
fn a_source_that_is_gone_fails_the_backup_and_deletes_no_copy() {
    let world = World::new("source-gone");
    let client = Client::enrolled(&world, "web1");
    client.write("one/file", "x");
    client.write("two/file", "y");
    let (one, two) = (client.tree.join("one"), client.tree.join("two"));
    let backup = || {
        let mut command = client.program("byteback-backup");
        run(command.arg("--source").arg(&one).arg("--source").arg(&two).args(["--retry-number", "0"]))
    };
    backup().must(0);
    world.rename_newest("web1", "2026-01-01T00:00+0000");
    fs::rename(&two, client.tree.join("moved")).unwrap();
    backup().must_fail();
    assert_eq!(world.snapshots("web1").len(), 1, "no snapshot of half a tree");
    assert!(client.tree_in(&world.current("web1")).join("two/file").exists());
}

#[test]
fn a_dry_run_changes_nothing_on_either_side() {
    let world = World::new("dry-run");
    let client = Client::enrolled(&world, "web1");
    client.write("file", "x");
    hook(&client, "pre-backup.d/hook", "touch \"$0.was-run\"");
    let look = || {
        let mut seen = fingerprint(&world.store, &[&world.store.join(".byteback")]);
        seen.append(&mut fingerprint(&client.config, &[]));
        seen
    };
    let before = look();
    run(client.backup_command().args(["--dry-run", "--verbose"])).must(0).must_say("file");
    assert_untouched(&before, &look());
    assert!(world.snapshots("web1").is_empty());
}

#[test]
fn a_run_reports_itself_as_json() {
    let world = World::new("json");
    let client = Client::enrolled(&world, "web1");
    client.write("file", "x");
    let record = run(client.backup_command().arg("--json")).must(0).text();
    let record: serde_json::Value = serde_json::from_str(record.trim()).unwrap();
    assert_eq!(record["schema"], 1);
    assert_eq!(record["status"], 0);
    assert_eq!(record["snapshot"], world.snapshots("web1")[0].as_str());
}

#[test]
fn without_a_terminal_there_are_lines_and_no_bars() {
    let world = World::new("lines");
    let client = Client::enrolled(&world, "web1");
    torture::many_small_files(&client.tree, 200);
    let ran = client.backup().must(0);
    assert!(!ran.all().contains(['\r', '\u{1b}']), "{}", ran.story());
    let shown =
        tool("script", ["--quiet", "--return", "--command", &shell(&client.backup_command()), "/dev/null"]);
    assert!(shown.contains('\r') || shown.contains('\u{1b}'), "a bar on a terminal: {shown}");
}

fn shell(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    words.map(|word| format!("'{}'", word.to_str().unwrap())).collect::<Vec<_>>().join(" ")
}
