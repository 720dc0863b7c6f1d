//! A client of the former byteback (Ruby), as recorded: it must not lose a night when its server changes.

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::client::Client;
use crate::compare::{assert_equal_both_ways, assert_untouched, fingerprint};
use crate::run::{Ran, run};
use crate::torture;
use crate::versions::rsyncs;
use crate::world::{World, make_key};

/// The options of the former byteback-backup, and what it asked for as the remote program.
const PUSH: [&str; 9] = [
    "--archive",
    "--xattrs",
    "--numeric-ids",
    "--delete-excluded",
    "--delete-during",
    "--inplace",
    "--relative",
    "--timeout=10800",
    "--rsync-path=rsync --fake-super",
];

/// A whole night of the former client: check, push, complete.
fn night(client: &Client) {
    client.send("byteback-receive --ping ").must(0);
    client.send("byteback-receive --ping --verbose").must(0);
    push(client).must(0);
    client.send("byteback-receive --complete ").must(0);
}

fn push(client: &Client) -> Ran {
    let tree = client.tree.to_str().unwrap();
    run(&mut client.rsync(PUSH.into_iter().chain([tree, "HOST:"])))
}

fn fill(client: &Client) {
    torture::many_small_files(&client.tree.join("many"), 120);
    client.write("etc/passwd", "root:x:0:0\n");
    client.write("etc/a file with spaces", "x");
    std::os::unix::fs::symlink("passwd", client.tree.join("etc/link")).unwrap();
    nix::unistd::chown(&client.tree.join("etc/passwd"), Some(1234.into()), Some(4321.into())).unwrap();
}

#[test]
fn a_former_client_backs_up_through_a_new_key_line() {
    let world = World::new("former");
    let client = Client::enrolled(&world, "old1");
    fill(&client);
    night(&client);
    let snapshots = world.snapshots("old1");
    assert_eq!(snapshots.len(), 1);
    let unpacked = world.clients.join("unpacked");
    let stored = client.tree_in(&world.store.join("old1").join(&snapshots[0]));
    crate::backup::unpack_with_stock_rsync(&stored, &unpacked);
    assert_equal_both_ways(&client.tree, &unpacked);
    // The same night again: too soon for a snapshot, and no failure of the backup.
    push(&client).must(0);
    client.send("byteback-receive --complete --verbose").must(0);
    assert_eq!(world.snapshots("old1"), snapshots);
}

#[test]
fn a_former_clients_own_key_line_keeps_working() {
    let mut world = World::new("former-key");
    world.start_sshd("PermitUserEnvironment yes\n");
    let client = Client::stranger(&world, "old1");
    fs::create_dir(&client.config).unwrap();
    make_key(&client.key());
    // The former store has the client's subvolume already; its user made it.
    let home = world.store.join("old1");
    let (home, current) = (home.to_str().unwrap(), world.current("old1"));
    run(&mut world.as_user(["mkdir", home])).must(0);
    run(&mut world.as_user(["btrfs", "subvolume", "create", current.to_str().unwrap()])).must(0);
    world.add_key_line(&format!(
        "command=\"byteback-receive\",from=\"127.0.0.1\",environment=\"BYTEBACK_HOST=old1\" {}",
        client.public_key()
    ));
    fill(&client);
    night(&client);
    assert_eq!(world.snapshots("old1").len(), 1);
    // A name that the session itself brings along changes nothing.
    let mut ssh = client.ssh();
    ssh.args(["-o", "SetEnv=BYTEBACK_HOST=other"]).arg(client.login()).arg("byteback-receive --ping ");
    run(&mut ssh);
    assert!(!world.store.join("other").exists());
}

#[test]
fn a_former_client_lists_its_files() {
    let world = World::new("former-list");
    let client = Client::enrolled(&world, "old1");
    fill(&client);
    night(&client);
    let (snapshot, tree) = (&world.snapshots("old1")[0], client.tree.to_str().unwrap());
    for (which, flags) in [("*", ""), (snapshot.as_str(), ""), ("*", " --all"), ("*", " --all --verbose")] {
        let listed =
            client.send(format!("byteback-receive --snapshot {which} --list{flags} {tree}/etc/*")).must(0);
        let text = listed.text();
        let lines: Vec<&str> = text.lines().collect();
        assert!(lines[0].starts_with("snapshot") && lines[1].starts_with("---"), "{text}");
        let passwd = lines
            .iter()
            .find(|line| line.trim_end().ends_with("etc/passwd"))
            .unwrap_or_else(|| panic!("{text}"));
        assert!(passwd.starts_with(snapshot.as_str()) || passwd.starts_with("current"), "{passwd}");
        assert!(
            passwd.contains("-rw-r--r--") && passwd.contains("1234") && passwd.contains("4321"),
            "{passwd}"
        );
        assert!(text.contains("etc/link -> passwd"), "{text}");
    }
    let spaces = format!("byteback-receive --snapshot * --list {tree}/etc/a=20file=20with=20spaces");
    client.send(spaces).must(0).must_say("a file with spaces");
    let none = client.send(format!("byteback-receive --snapshot * --list {tree}/nothing*"));
    assert!(none.text().contains("** Sorry.  There were no files matching:"), "{}", none.story());
}

#[test]
fn a_former_client_restores_also_with_todays_rsync() {
    let world = World::new("former-restore");
    let client = Client::enrolled(&world, "old1");
    fill(&client);
    night(&client);
    let snapshot = &world.snapshots("old1")[0];
    let before = fingerprint(&world.store.join("old1").join(snapshot), &[]);
    for which in ["*", snapshot] {
        let restored = world.clients.join(format!("restored-{}", which.len()));
        fs::create_dir(&restored).unwrap();
        let pull = restore(&client, which, &client.tree.join("etc/passwd"), &restored);
        let found = find(&restored, "passwd").unwrap_or_else(|| panic!("not restored: {}", pull.story()));
        assert_eq!(fs::read_to_string(&found).unwrap(), "root:x:0:0\n");
        assert_eq!(std::os::unix::fs::MetadataExt::uid(&fs::metadata(&found).unwrap()), 1234);
    }
    assert_untouched(&before, &fingerprint(&world.store.join("old1").join(snapshot), &[]));
}

/// The former byteback-restore: rsync with the restore program as its remote rsync.
fn restore(client: &Client, snapshot: &str, path: &Path, to: &Path) -> Ran {
    run(&mut restore_with(client, Path::new("rsync"), snapshot, path, to)).must(0)
}

fn restore_with(client: &Client, rsync: &Path, snapshot: &str, path: &Path, to: &Path) -> Command {
    let program = format!("--rsync-path=byteback-restore --fake-super --snapshot {snapshot}");
    let source = format!("HOST:{}", path.display());
    let words = ["--archive", "--xattrs", "--numeric-ids", "--inplace", "--relative", "--timeout=300"];
    let to = format!("{}/", to.display());
    let stock = client.rsync(words.into_iter().chain([program.as_str(), &source, &to]));
    let mut command = Command::new(rsync);
    command.args(stock.get_args());
    command
}

fn find(below: &Path, name: &str) -> Option<std::path::PathBuf> {
    fs::read_dir(below).unwrap().map(|entry| entry.unwrap().path()).find_map(|path| {
        if path.is_dir() { find(&path, name) } else { (path.file_name().unwrap() == name).then_some(path) }
    })
}

#[test]
fn a_very_old_client_is_told_to_update() {
    let world = World::new("very-old");
    let client = Client::enrolled(&world, "old1");
    for command in ["restore /etc/passwd", "restore", "restore a b c"] {
        let said = "byteback-receive: refused: your byteback package needs to be updated: this server no longer \
                    knows its restore command\n";
        answers(&client, command, 3, "", said);
    }
}

/// Sends exactly this and insists on exactly this status and these bytes.
#[track_caller]
fn answers(client: &Client, command: &str, status: i32, out: &str, err: &str) {
    let ran = client.send(command).must(status);
    assert_eq!(ran.text(), out, "stdout: {}", ran.story());
    assert_eq!(String::from_utf8_lossy(&ran.stderr), err, "stderr: {}", ran.story());
}

/// The conversation as it was recorded, each row of its table, sent raw.
#[test]
fn the_recorded_conversation_is_answered_byte_for_byte() {
    let world = World::new("recorded");
    let client = Client::enrolled(&world, "old1");
    client.write("etc/motd", "hello\n");
    client.write("etc/two words", "x");
    std::os::unix::fs::symlink("motd", client.tree.join("etc/link")).unwrap();
    nix::unistd::chown(&client.tree.join("etc/motd"), Some(1234.into()), Some(4321.into())).unwrap();
    for name in ["etc/motd", "etc/two words", "etc/link", "etc"] {
        torture::set_time(&client.tree.join(name), 1_448_789_170, 0);
    }
    answers(&client, "byteback-receive --ping ", 0, "", "");
    answers(&client, "byteback-receive --ping --verbose", 0, "", "");

    // What the former client's own rsync sent is what today's sends for the same options.
    push(&client).must(0);
    let sent = world.log_lines().iter().filter(|line| line.contains("accept") && line.contains("push")).count();
    assert_eq!(sent, 1);

    let taken = client.send("byteback-receive --complete ").must(0);
    let snapshot = world.snapshots("old1").pop().unwrap();
    assert_eq!((taken.text(), taken.stderr.len()), (format!("snapshot {snapshot} taken\n"), 0));
    for command in ["byteback-receive --complete ", "byteback-receive --complete --verbose"] {
        let refused = client.send(command).must(0);
        let text = refused.text();
        assert!(text.starts_with("no snapshot taken: ") && text.lines().count() == 1, "{}", refused.story());
        assert!(refused.stderr.is_empty(), "{}", refused.story());
    }

    let tree = client.tree.to_str().unwrap();
    let motd = format!("{snapshot} -rw-r--r-- 6    1234 4321 2015-11-29 09:26:10 +0000 {tree}/etc/motd");
    let heading = format!(
        "{:width$} modestring size uid  gid  mtime                     path",
        "snapshot",
        width = snapshot.len()
    );
    let table = |rows: &[String]| {
        let width = rows.iter().map(String::len).max().unwrap();
        let pad = |line: &String| format!("{line:<width$}\n");
        let rule = format!("{}\n", "-".repeat(width + 1));
        pad(&heading) + &rule + &rows.iter().map(pad).collect::<String>()
    };
    for which in ["*", &snapshot] {
        for flags in ["", " --all", " --verbose", " --all --verbose"] {
            let command = format!("byteback-receive --snapshot {which} --list{flags} {tree}/etc/motd");
            answers(&client, &command, 0, &table(std::slice::from_ref(&motd)), "");
        }
    }
    let nothing = format!("** Sorry.  There were no files matching:\n--> {tree}/no file\n");
    answers(&client, &format!("byteback-receive --snapshot * --list {tree}/no=20file"), 0, &nothing, "");

    for (version, rsync) in rsyncs(&world) {
        for which in ["*", &snapshot] {
            let to = world.clients.join(format!("restored-{version}-{}", which.len()));
            fs::create_dir(&to).unwrap();
            let ran = run(&mut restore_with(&client, &rsync, which, &client.tree.join("etc"), &to)).must(0);
            assert!(ran.all().is_empty(), "{}", ran.story());
            assert_equal_both_ways(&client.tree.join("etc"), &client.tree_in(&to).join("etc"));
        }
    }
}

#[test]
fn an_adopted_snapshot_with_a_persons_name_is_listed_and_restored() {
    let world = World::new("saved");
    let client = Client::enrolled(&world, "old1");
    fill(&client);
    night(&client);
    world.rename_newest("old1", "saved-hacked-do-not-delete");
    let listed = client.restore([Path::new("--list"), &client.tree.join("etc/passwd")]).must(0);
    listed.must_say("saved-hacked-do-not-delete");
    let restored = world.clients.join("restored");
    let words = ["--restore", "--snapshot", "saved-hacked-do-not-delete", "--to"];
    let words = words.into_iter().map(Path::new).chain([restored.as_path(), &client.tree]);
    client.restore(words).must(0);
    assert_equal_both_ways(&client.tree, &client.tree_in(&restored));
}
