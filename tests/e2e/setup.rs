//! Making a server and enrolling clients, with the real programs over a real ssh.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::process::Command;
use std::thread;

use crate::client::Client;
use crate::compare::{assert_untouched, fingerprint};
use crate::run::{Ran, program, run, tool, wait_until};
use crate::world::{World, make_key};
use crate::{growth, prune};

/// The server's half of enrolment as an administrator's ssh session runs it.
fn enrol_by_hand(world: &World, words: &str) -> Ran {
    run(Command::new("ssh")
        .args(world.ssh_options(&world.admin_key))
        .args(["-p", &world.port.to_string(), &format!("{}@127.0.0.1", world.user), "--"])
        .arg(format!("byteback-setup-client-receive {words}")))
}

#[test]
fn a_store_in_an_image_is_a_btrfs_of_its_user_and_comes_back_after_a_reboot() {
    let world = World::new("image");
    let store = world.store.to_str().unwrap();
    let options = tool("findmnt", ["--noheadings", "--output", "FSTYPE,OPTIONS", store]);
    for wanted in ["btrfs", "noatime", "user_subvol_rm_allowed", "compress=zstd"] {
        assert!(options.contains(wanted), "{wanted} is missing in {options}");
    }
    let owner = tool("id", ["-u", &world.user]);
    let state = fs::metadata(world.store.join(".byteback")).unwrap();
    assert_eq!(state.permissions().mode() & 0o7777, 0o700);
    assert_eq!(state.uid().to_string(), owner.trim());
    assert_eq!(fs::metadata(&world.store).unwrap().uid().to_string(), owner.trim());

    // What a boot does.
    tool("umount", [store]);
    tool("mount", [store]);
    assert!(world.store.join(".byteback").is_dir());
}

#[test]
fn a_server_can_be_set_up_twice_without_harm() {
    let world = World::new("twice-server");
    let client = Client::enrolled(&world, "web1");
    client.write("file", "x");
    client.backup().must(0);
    // What the gate started after the backup comes to its end first.
    wait_until("the run is measured", || !growth::runs(&world, "web1").is_empty());
    prune::prune(&world, &["--prune"]).must(0);
    let table = fs::read("/etc/fstab").unwrap_or_default();
    let lines = |table: &[u8]| String::from_utf8_lossy(table).matches(world.store.to_str().unwrap()).count();
    let before = fingerprint(&world.store, &[&world.store.join(".byteback/log")]);
    world.setup_server("1G").must(0);
    assert_untouched(&before, &fingerprint(&world.store, &[&world.store.join(".byteback/log")]));
    assert_eq!(lines(&fs::read("/etc/fstab").unwrap_or_default()), lines(&table));
    client.backup().must(0);
}

#[test]
fn a_store_that_is_not_on_btrfs_is_refused_with_what_to_change() {
    let world = World::without_server("no-btrfs");
    let mut setup = Command::new(program("byteback-setup-server"));
    let ran = run(setup.arg("--store").arg(&world.store).args(["--user", &world.user])).must_fail();
    ran.must_say("btrfs").must_say("--image");
}

#[test]
fn an_account_that_cannot_log_in_is_named() {
    let world = World::new("locked");
    tool("usermod", ["--password", "!", &world.user]);
    let ran = world.setup_server("1G");
    assert!(
        ran.all().contains("lock"),
        "a locked password refuses keys where sshd runs without PAM: {}",
        ran.story()
    );
}

#[test]
fn enrolling_twice_changes_nothing() {
    let world = World::new("twice-client");
    let client = Client::enrolled(&world, "web1");
    let look = || (fingerprint(&client.config, &[]), fs::read(world.authorized_keys()).unwrap());
    let (files, keys) = look();
    client.setup().must(0);
    let (files_after, keys_after) = look();
    assert_untouched(&files, &files_after);
    assert_eq!(keys, keys_after);
    // The server's half alone, too: the first answer may have been lost on the way.
    enrol_by_hand(&world, &format!("web1 {}", client.public_key())).must(0);
    assert_eq!(keys, fs::read(world.authorized_keys()).unwrap());
}

#[test]
fn an_enrolled_key_opens_the_gate_for_its_own_name_and_address_and_nothing_else() {
    let world = World::new("key-line");
    let client = Client::enrolled(&world, "web1");
    let keys = fs::read_to_string(world.authorized_keys()).unwrap();
    let body = client.public_key().split(' ').nth(1).unwrap().to_owned();
    let line = keys.lines().find(|line| line.contains(&body)).expect("the new key");
    assert!(line.starts_with("restrict,from=\"127.0.0.1\",command=\""), "{line}");
    assert!(line.contains("byteback-receive --client web1"), "{line}");
    client.send("byteback-receive --ping").must(0);
    let elsewhere = keys.replace("from=\"127.0.0.1\"", "from=\"192.0.2.1\"");
    fs::write(world.authorized_keys(), elsewhere).unwrap();
    client.send("byteback-receive --ping").must(255).must_say("Permission denied");
}

#[test]
fn a_client_whose_address_changes_can_be_enrolled_without_one() {
    let world = World::new("no-pin");
    let client = Client::stranger(&world, "laptop");
    run(client
        .program("byteback-setup-client")
        .args(["--destination", &world.destination(), "--hostname", "laptop", "--no-pin-address"])
        .args(["--accept-new-host-key", "--admin-key"])
        .arg(&world.admin_key))
    .must(0);
    let keys = fs::read_to_string(world.authorized_keys()).unwrap();
    assert!(keys.contains("restrict,command=\""), "{keys}");
    client.write("file", "x");
    client.backup().must(0);
}

#[test]
fn a_name_that_another_key_has_is_refused() {
    let world = World::new("name-taken");
    Client::enrolled(&world, "web1");
    let mut impostor = Client::stranger(&world, "impostor");
    impostor.name = "web1".to_owned();
    let before = fs::read(world.authorized_keys()).unwrap();
    impostor.setup().must(3).must_say("web1");
    assert_eq!(before, fs::read(world.authorized_keys()).unwrap());
}

#[test]
fn a_key_that_another_name_has_is_refused() {
    let world = World::new("key-taken");
    let client = Client::enrolled(&world, "web1");
    let before = fs::read(world.authorized_keys()).unwrap();
    enrol_by_hand(&world, &format!("web2 {}", client.public_key())).must(3).must_say("web1");
    assert_eq!(before, fs::read(world.authorized_keys()).unwrap());
    assert!(!world.store.join("web2").exists());
}

#[test]
fn neither_a_bad_name_nor_what_is_not_one_key_gets_into_the_key_file() {
    let world = World::new("bad-words");
    let stranger = Client::stranger(&world, "x");
    fs::create_dir(&stranger.config).unwrap();
    make_key(&stranger.key());
    let key = stranger.public_key();
    let before = fs::read(world.authorized_keys()).unwrap();
    let tree = fingerprint(&world.store, &[&world.store.join(".byteback")]);
    for words in [
        format!("../evil {key}"),
        format!("/evil {key}"),
        format!(".byteback {key}"),
        format!("-rf {key}"),
        format!("'a b' {key}"),
        format!("$'a\\nb' {key}"),
        format!("'' {key}"),
        "web1".to_owned(),
        "web1 ssh-ed25519".to_owned(),
        "web1 ssh-ed25519 AAAA".to_owned(),
        format!("web1 'command=\"sh\" {key}'"),
        format!("web1 'restrict {key}'"),
        format!("web1 \"$(printf '{key}\\n{key}')\""),
        format!("web1 \"$(printf '{key}\\n*')\""),
        format!("web1 {}", key.replace("ssh-ed25519", "ssh-rsa")),
        format!("web1 {}", key.replace("ssh-ed25519 ", "ssh-ed25519 !")),
    ] {
        let ran = enrol_by_hand(&world, &words).must_fail();
        assert_ne!(ran.code(), 255, "ssh itself failed: {}", ran.story());
        assert_eq!(before, fs::read(world.authorized_keys()).unwrap(), "{}", ran.story());
    }
    assert_untouched(&tree, &fingerprint(&world.store, &[&world.store.join(".byteback")]));
}

#[test]
fn the_key_file_keeps_foreign_lines_byte_for_byte() {
    let world = World::new("foreign-lines");
    let admin = fs::read(world.admin_key.with_extension("pub")).unwrap();
    let mut content =
        b"# kept by hand\n\n  \t\nnot a key at all\r\nfrom=\"10.0.0.1\" ssh-rsa AAAAbroken\n\xff\xfe\n"
            .to_vec();
    content.extend_from_slice(
        b"environment=\"BYTEBACK_HOST=old\",command=\"byteback-receive\" ssh-rsa AAAAB3Nz old\n",
    );
    content.extend_from_slice(admin.trim_ascii_end()); // the last line lacks its end
    fs::write(world.authorized_keys(), &content).unwrap();
    let mode = fs::metadata(world.authorized_keys()).unwrap().permissions().mode();
    Client::enrolled(&world, "web1");
    let after = fs::read(world.authorized_keys()).unwrap();
    assert!(after.starts_with(&content), "{}", String::from_utf8_lossy(&after));
    assert_eq!(after[content.len()], b'\n');
    let lines = String::from_utf8_lossy(&after).lines().count();
    assert_eq!((lines, after.last()), (9, Some(&b'\n')), "one line more, and ends for both");
    assert_eq!(fs::metadata(world.authorized_keys()).unwrap().permissions().mode(), mode);
    Client::enrolled(&world, "web2").send("byteback-receive --ping").must(0);
}

#[test]
fn clients_that_enrol_at_the_same_moment_all_get_in() {
    let world = World::new("rush");
    let names = ["a", "b", "c", "d", "e"];
    thread::scope(|scope| {
        for name in names {
            scope.spawn(|| Client::stranger(&world, name).setup().must(0));
        }
    });
    for name in names {
        Client::stranger(&world, name).send("byteback-receive --ping").must(0);
    }
}
