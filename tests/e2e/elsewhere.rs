//! Restores from elsewhere: a machine that lost everything, a key that may only read, and the
//! administrator on the server. None of them lets a hostile client or key reach further.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::PathBuf;
use std::process::Command;

use crate::client::Client;
use crate::compare::{assert_equal_both_ways, assert_untouched, fingerprint};
use crate::run::{Ran, program, run, tool};
use crate::torture;
use crate::world::{World, make_key};

/// A machine with a key and nothing else.
struct Stranger<'a> {
    world: &'a World,
    key: PathBuf,
}

impl<'a> Stranger<'a> {
    fn new(world: &'a World) -> Self {
        let key = world.clients.join("new-key");
        make_key(&key);
        Self { world, key }
    }

    fn restore(&self, words: &[&str]) -> Ran {
        let mut command = Command::new(program("byteback-restore"));
        command.args([
            "--destination",
            &self.world.destination(),
            "--config-dir",
            "/nonexistent",
            "--ssh-key",
        ]);
        run(command.arg(&self.key).args(words))
    }

    fn send(&self, command: &str) -> Ran {
        let mut ssh = Command::new("ssh");
        ssh.args(self.world.ssh_options(&self.key)).arg("-p").arg(self.world.port.to_string());
        run(ssh.arg(format!("{}@127.0.0.1", self.world.user)).arg("--").arg(command))
    }
}

fn fingerprint_of_the_server(world: &World) -> String {
    let told = tool("ssh-keygen", ["-l".into(), "-f".into(), world.file("host_key.pub")]);
    told.split_ascii_whitespace().nth(1).unwrap().to_owned()
}

fn grant(world: &World, words: &[&str]) -> Ran {
    let mut command = Command::new(program("byteback-admin"));
    run(command.arg("restore-grant").arg("--store").arg(&world.store).args(words))
}

#[test]
fn a_machine_that_lost_everything_restores_with_a_grant_and_nothing_else() {
    let world = World::new("lost-all");
    let client = Client::enrolled(&world, "web1");
    torture::fill_without_bulk(&client.tree);
    client.backup().must(0);
    let stranger = Stranger::new(&world);
    let (key, tree) = (stranger.key.with_extension("pub"), client.tree.to_str().unwrap());
    let host_key = fingerprint_of_the_server(&world);
    stranger.restore(&["--host-key", &host_key, tree]).must(3).must_say("refused the ssh key");
    grant(&world, &["web1", "--key", key.to_str().unwrap(), "--until", "2d"]).must(0);

    stranger.restore(&[tree]).must(2).must_say("--host-key");
    let wrong = "SHA256:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
    stranger.restore(&["--host-key", wrong, tree]).must(3).must_say("may be another machine");
    let to = world.clients.join("back");
    stranger.restore(&["--host-key", &host_key, "--to", to.to_str().unwrap(), tree]).must(0);
    assert_equal_both_ways(&client.tree, &client.tree_in(&to));
}

/// On a terminal of its own (script(1)), with these lines typed.
fn typed(command: &Command, lines: &str) -> Ran {
    let words: Vec<_> = std::iter::once(command.get_program()).chain(command.get_args()).collect();
    let words: Vec<_> = words.iter().map(|word| format!("'{}'", word.to_str().unwrap())).collect();
    let script = format!("sleep 1; printf '{lines}'; sleep 3");
    run(Command::new("sh")
        .arg("-c")
        .arg(format!("({script}) | script -qec \"{}\" /dev/null", words.join(" "))))
}

#[test]
fn a_person_is_asked_about_an_unknown_host_key_and_about_files_in_use() {
    let world = World::new("asked");
    let client = Client::enrolled(&world, "web1");
    client.write("file", "of the backup");
    client.backup().must(0);
    let file = client.tree.join("file");
    let content = || fs::read_to_string(&file).unwrap();
    let mut command = Command::new(program("byteback-restore"));
    command.args(["--destination", &world.destination(), "--config-dir", "/nonexistent", "--ssh-key"]);
    command.arg(client.key()).arg("--in-place").arg(&file);
    for (answers, status, after) in
        [("no\\n", 3, "in use"), ("yes\\nno\\n", 3, "in use"), ("yes\\nyes\\n", 0, "of the backup")]
    {
        client.write("file", "in use");
        let ran = typed(&command, answers).must(status);
        assert!(ran.all().contains(&fingerprint_of_the_server(&world)), "{}", ran.story());
        assert_eq!(content(), after, "{}", ran.story());
    }
}

#[test]
fn a_restore_grant_reads_one_client_and_changes_nothing() {
    let world = World::new("grant");
    let client = Client::enrolled(&world, "web1");
    client.write("file", "x");
    client.backup().must(0);
    let other = Client::enrolled(&world, "web2");
    other.write("secret", "of web2");
    other.backup().must(0);
    let stranger = Stranger::new(&world);
    let key = stranger.key.with_extension("pub");
    grant(&world, &["web1", "--key", key.to_str().unwrap(), "--until", "1d"]).must(0);
    let keys = fs::read_to_string(world.authorized_keys()).unwrap();
    assert!(keys.lines().last().unwrap().starts_with("restrict,expiry-time=\""), "{keys}");
    let before = fingerprint(&world.store, &[&world.store.join(".byteback"), &world.store.join(".ssh")]);

    stranger.send("byteback-receive --ping --json").must(0);
    stranger.send("byteback-receive --list --json /**").must(0).must_not_say("secret");
    for command in [
        "byteback-receive --prepare --json",
        "byteback-receive --complete --json",
        "byteback-receive --complete ",
        "rsync --server -logDtpre.iLsfxCIvu . .",
        "rsync --fake-super --server -logDtpXrRe.iLsfxCIvu --delete-during --numeric-ids --inplace . .",
    ] {
        stranger.send(command).must(3).must_say("change nothing");
    }
    for command in [
        "rsync --server --sender -logDtpre.iLsfxCIvu . ../web2/current/",
        "rsync --server --sender -logDtpre.iLsfxCIvu --remove-source-files . current/",
        "sh",
    ] {
        stranger.send(command).must_fail().must_not_say("of web2");
    }
    let after = fingerprint(&world.store, &[&world.store.join(".byteback"), &world.store.join(".ssh")]);
    assert_untouched(&before, &after);
    // The client itself is none the worse for it.
    client.backup().must(0);
}

#[test]
fn a_restore_grant_ends_by_itself_at_sshd_and_at_the_gate() {
    let world = World::new("grant-ends");
    let client = Client::enrolled(&world, "web1");
    client.write("file", "x");
    client.backup().must(0);
    let stranger = Stranger::new(&world);
    let key = stranger.key.with_extension("pub");
    grant(&world, &["web1", "--key", key.to_str().unwrap(), "--until", "3d"]).must(0);
    stranger.send("byteback-receive --ping ").must(0);

    let file = world.authorized_keys();
    let granted = fs::read_to_string(&file).unwrap();
    let until = granted.split("--until ").nth(1).unwrap().split('"').next().unwrap();
    let expiry = granted.split("expiry-time=\"").nth(1).unwrap().split('"').next().unwrap();
    fs::write(&file, granted.replace(until, "2026-01-01T00:00:00Z")).unwrap();
    stranger.send("byteback-receive --ping ").must(3).must_say("was good until 2026-01-01");
    stranger.send("rsync --server --sender -logDtpre.iLsfxCIvu . current/").must(3);
    fs::write(&file, granted.replace(expiry, "20260101000000")).unwrap();
    stranger.send("byteback-receive --ping ").must(255).must_say("Permission denied");
    fs::write(&file, &granted).unwrap();
    stranger.send("byteback-receive --ping ").must(0);
}

#[test]
fn grants_are_listed_renewed_and_taken_back_and_no_other_line_changes() {
    let world = World::new("grants");
    Client::enrolled(&world, "web1");
    let own = Client::enrolled(&world, "web2");
    let before = fs::read(world.authorized_keys()).unwrap();
    let stranger = Stranger::new(&world);
    let key = stranger.key.with_extension("pub");
    let key = key.to_str().unwrap();
    for until in ["1d", "2d"] {
        grant(&world, &["web1", "--key", key, "--until", until, "--from", "127.0.0.1"]).must(0);
    }
    let listed = grant(&world, &["--list", "--json"]).must(0).text();
    let listed: serde_json::Value = serde_json::from_str(&listed).unwrap();
    assert_eq!(listed["grants"].as_array().unwrap().len(), 1, "the second replaced the first: {listed}");
    assert_eq!(listed["grants"][0]["from"], "127.0.0.1");
    grant(&world, &["--list"]).must(0).must_say("web1 SHA256:");

    grant(&world, &["web2", "--key", key, "--until", "1d"]).must(3);
    let enrolled = own.key().with_extension("pub");
    grant(&world, &["web1", "--key", enrolled.to_str().unwrap(), "--until", "1d"]).must(3);
    grant(&world, &["nobody", "--key", key, "--until", "1d"]).must(2);
    grant(&world, &["web1", "--key", key, "--until", "2020-01-01"]).must(2);
    grant(&world, &["web1", "--remove"]).must(0);
    assert_eq!(fs::read(world.authorized_keys()).unwrap(), before);
    stranger.send("byteback-receive --ping ").must(255);
    grant(&world, &["web1", "--remove"]).must(2);
}

fn admin(world: &World, words: &[&str]) -> Ran {
    let mut command = Command::new(program("byteback-admin"));
    command.current_dir(&world.clients).env("TMPDIR", &world.clients);
    run(command.arg("restore").arg("--store").arg(&world.store).args(words))
}

#[test]
fn the_administrator_restores_a_dead_client_with_its_true_owners() {
    let world = World::new("dead-client");
    let client = Client::enrolled(&world, "web1");
    torture::fill_without_bulk(&client.tree);
    client.backup().must(0);
    let tree = client.tree.to_str().unwrap();
    let to = world.clients.join("back");
    admin(&world, &["web1", tree]).must(0).must_say(tree.trim_start_matches('/'));
    admin(&world, &["web1", "--to", to.to_str().unwrap(), "--verify", tree]).must(0);
    assert_equal_both_ways(&client.tree, &client.tree_in(&to));
    assert_eq!(fs::metadata(&to).unwrap().mode() & 0o7777, 0o700, "nobody finds a setuid program there");

    let one = format!("{tree}/links/one");
    assert_eq!(admin(&world, &["web1", "--stdout", &one]).must(0).stdout, b"three names");
    let log = world.log_lines().join("\n");
    assert!(log.contains("accept client=web1 peer=- request=pull"), "through the gate: {log}");
}

#[test]
fn a_hostile_client_gains_nothing_from_a_restore_by_the_administrator() {
    let world = World::new("hostile-dead");
    let client = Client::enrolled(&world, "web1");
    let other = Client::enrolled(&world, "web2");
    other.write("secret", "of web2");
    other.backup().must(0);
    symlink("/etc", client.tree.join("etc")).unwrap();
    symlink(world.current("web2"), client.tree.join("web2")).unwrap();
    client.write("file", "x");
    client.backup().must(0);
    // What only somebody with the client's key, or who broke rsync, could put there.
    let inside = world.current("web1").join(client.tree.strip_prefix("/").unwrap());
    symlink(world.current("web2"), inside.join("real-link")).unwrap();
    symlink("/etc/shadow", inside.join("real-file-link")).unwrap();

    let to = world.clients.join("back");
    let tree = client.tree.to_str().unwrap();
    let etc = fingerprint(std::path::Path::new("/etc"), &[]);
    admin(&world, &["web1", "--snapshot", "current", "--to", to.to_str().unwrap(), tree]);
    assert_untouched(&etc, &fingerprint(std::path::Path::new("/etc"), &[]));
    let back = client.tree_in(&to);
    for name in ["etc", "web2", "real-link", "real-file-link"] {
        assert!(fs::symlink_metadata(back.join(name)).is_ok_and(|found| found.is_symlink()), "{name}");
    }
    let secret = format!("{tree}/real-link/secret");
    for pattern in [secret.as_str(), "/../web2/current/**", "/real-link/**"] {
        let ran = admin(&world, &["web1", "--snapshot", "current", "--stdout", pattern]).must_fail();
        assert!(!ran.all().contains("of web2"), "{}", ran.story());
    }
    let open = world.clients.join("open");
    fs::create_dir(&open).unwrap();
    fs::set_permissions(&open, fs::Permissions::from_mode(0o755)).unwrap();
    admin(&world, &["web1", "--to", open.to_str().unwrap(), tree]).must(2).must_say("others can enter");
    let inside = world.store.join("web2/x");
    admin(&world, &["web1", "--to", inside.to_str().unwrap(), tree]).must(2).must_say("lies in the store");
}
