//! Checking a server: a sound one is called sound, and each thing that is spoiled is found and named.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use crate::client::Client;
use crate::compare::{assert_untouched, fingerprint};
use crate::run::{Ran, program, run, tool, wait_until};
use crate::world::{World, machine};

/// What the machine that the tests run on may really lack.
const MACHINE: [&str; 3] = ["landlock", "namespace", "rsync"];

/// Where set-up puts what it tells sshd of this world's user.
fn drop_in(world: &World) -> PathBuf {
    PathBuf::from(format!("/etc/ssh/sshd_config.d/byteback-{}.conf", world.user))
}

/// A world whose sshd reads that too, as the machine's own would.
fn sound_world(name: &str) -> World {
    let mut world = World::new(name);
    world.start_sshd(&format!("Include {}\n", drop_in(&world).display()));
    world
}

fn check(world: &World, words: &[&str]) -> Ran {
    run(Command::new(program("byteback-admin"))
        .args(["check", "--store"])
        .arg(&world.store)
        .arg("--sshd-config")
        .arg(world.file("sshd_config"))
        .args(words))
}

fn setup_check(world: &World, words: &[&str]) -> Ran {
    run(Command::new(program("byteback-setup-server"))
        .args(["--check", "--user", &world.user, "--store"])
        .arg(&world.store)
        .args(words))
}

/// Everything but what the machine lacks: topic, verdict, text.
fn findings(ran: &Ran) -> BTreeSet<(String, String, String)> {
    let report: Value = serde_json::from_slice(&ran.stdout).unwrap_or_else(|_| panic!("{}", ran.story()));
    assert_eq!(report["schema"], 1);
    let checks = report["checks"].as_array().unwrap();
    let word = |check: &Value, key: &str| check[key].as_str().unwrap().to_owned();
    checks
        .iter()
        .filter(|check| !MACHINE.contains(&check["topic"].as_str().unwrap()))
        .map(|check| (word(check, "topic"), word(check, "verdict"), word(check, "what")))
        .collect()
}

/// Insists that the check finds this one thing more than on a sound server, and nothing else but it.
#[track_caller]
fn must_find(world: &World, words: &[&str], topic: &str, verdict: &str, said: &str) {
    let ran = check(world, &[words, &["--json"]].concat());
    let wrong: Vec<_> = findings(&ran).into_iter().filter(|(_, verdict, _)| verdict != "ok").collect();
    let [(found, judged, what)] = wrong.as_slice() else { panic!("{wrong:#?} {}", ran.story()) };
    assert_eq!((found.as_str(), judged.as_str()), (topic, verdict), "{}", ran.story());
    assert!(what.contains(said), "{what}");
    let code = ran.code();
    assert_eq!(code, if verdict == "bad" { 2 } else { 1 }, "{}", ran.story());
    let lines = check(world, words).all();
    let label = if verdict == "bad" { "BAD " } else { "WEAK" };
    assert!(lines.lines().any(|line| line.starts_with(&format!("{label} {topic}: "))), "{lines}");
}

fn chmod(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

#[test]
fn a_fresh_server_is_sound_but_for_what_the_machine_lacks() {
    let world = sound_world("sound");
    let ran = check(&world, &["--json"]);
    let found = findings(&ran);
    let topics: BTreeSet<_> = found.iter().map(|(topic, ..)| topic.as_str()).collect();
    for topic in
        ["account", "key-file", "mount", "seccomp", "server.toml", "ssh-directory", "sshd", "state", "store"]
    {
        assert!(topics.contains(topic), "{topic} was not looked at: {}", ran.story());
    }
    assert!(found.iter().all(|(_, verdict, _)| verdict == "ok"), "{}", ran.story());
    assert!(ran.code() < 2, "{}", ran.story());
    // Each layer that held was tried, and one line is one finding.
    let lines = check(&world, &[]).text();
    assert!(lines.contains("ok   seccomp: tried"), "{lines}");
    let namespace = |text: &str| text.contains("ok   namespace: tried");
    let as_user =
        world.as_user([program("byteback-admin")]).args(["check", "--store"]).arg(&world.store).output();
    let as_user = String::from_utf8(as_user.unwrap().stdout).unwrap();
    assert_eq!(namespace(&lines), namespace(&as_user), "root finds what the user finds: {lines} {as_user}");
    assert!(
        lines.lines().all(|line| ["ok  ", "WEAK"].iter().any(|label| line.starts_with(label))),
        "{lines}"
    );
    assert_eq!(
        fs::read_dir(world.store.join(".byteback"))
            .unwrap()
            .filter(|entry| { entry.as_ref().unwrap().file_name().to_string_lossy().starts_with(".trial") })
            .count(),
        0,
        "the trial leaves nothing"
    );

    // What root alone can see is said to be unseen, not to be good.
    let words = ["check", "--json", "--store", world.store.to_str().unwrap()];
    let mut admin = world.as_user([program("byteback-admin")]);
    let own = run(admin.args(words));
    let unseen = |topic: &str| findings(&own).iter().any(|(t, v, _)| t == topic && v == "not-checked");
    assert!(unseen("sshd") && unseen("account"), "{}", own.story());
    assert!(own.code() < 2, "{}", own.story());
    let mut stranger = Command::new("setpriv");
    stranger
        .args(["--reuid", "nobody", "--regid", "nogroup", "--clear-groups", "--"])
        .arg(program("byteback-admin"));
    run(stranger.args(words)).must(2).must_say("run this as root or as");
}

#[test]
fn what_is_spoiled_on_disk_is_found_and_named() {
    let world = sound_world("spoiled");
    let key_file = world.authorized_keys();
    chmod(&key_file, 0o660);
    must_find(&world, &[], "key-file", "bad", "others may write");
    chmod(&key_file, 0o600);
    chmod(&world.store, 0o777);
    must_find(&world, &[], "store", "bad", "others may write");
    chmod(&world.store, 0o755);
    must_find(&world, &[], "store", "weak", "can look into");
    chmod(&world.store, 0o750);
    chmod(&world.store.join(".byteback"), 0o755);
    must_find(&world, &[], "state", "weak", "can look into");
    chmod(&world.store.join(".byteback"), 0o700);
    let store = world.store.to_str().unwrap();
    tool("mount", ["-o", "remount,exec", store]);
    must_find(&world, &[], "mount", "weak", "lacks noexec");
    tool("mount", ["-o", "remount,noexec", store]);
    fs::remove_file(&key_file).unwrap();
    must_find(&world, &[], "key-file", "bad", "missing");
}

#[test]
fn a_configuration_that_the_gate_refuses_is_found() {
    let world = sound_world("bad-toml");
    let file = world.server_config("own.toml", "log = 'file'\n");
    let words = ["--config", file.to_str().unwrap()];
    tool("chown", [format!("{}:", world.user).into(), file.clone().into_os_string()]);
    must_find(&world, &words, "server.toml", "bad", "not in root's hands");
    tool("chown", ["root:".into(), file.clone().into_os_string()]);
    fs::write(&file, "min_agee = '7d'\n").unwrap();
    must_find(&world, &words, "server.toml", "bad", "min_agee");
    fs::write(&file, "log = 'file'\nnamespace = false\n").unwrap();
    let ran = check(&world, &words);
    ran.must(1).must_say("WEAK namespace: server.toml switches it off");
    fs::write(&file, "rsync = '/nonexistent/rsync'\n").unwrap();
    check(&world, &words).must(2).must_say("BAD  rsync: ").must_say("/nonexistent/rsync");
}

#[test]
fn an_account_that_keeps_clients_out_is_found() {
    let world = sound_world("locked-out");
    tool("usermod", ["--password", "!", &world.user]);
    must_find(&world, &[], "account", "bad", "locked");
    tool("usermod", ["--password", "*", &world.user]);
    tool("usermod", ["--shell", "/usr/sbin/nologin", &world.user]);
    must_find(&world, &[], "account", "bad", "nologin");
}

#[test]
fn what_sshd_would_allow_is_found() {
    let mut world = sound_world("lax-sshd");
    let include = format!("Include {}\n", drop_in(&world).display());
    for (line, verdict, said) in [
        ("PermitUserEnvironment yes", "weak", "PermitUserEnvironment yes"),
        ("AcceptEnv LANG BYTEBACK_*", "weak", "BYTEBACK_*"),
        ("AuthorizedKeysFile /etc/ssh/keys/%u", "bad", "/etc/ssh/keys/"),
    ] {
        // For AuthorizedKeysFile the first line counts, and the world has its own, so a Match block says it.
        let line =
            if verdict == "bad" { format!("Match User {}\n{line}", world.user) } else { line.to_owned() };
        world.start_sshd(&format!("{include}{line}\n"));
        must_find(&world, &[], "sshd", verdict, said);
    }
    world.start_sshd("");
    let ran = check(&world, &[]);
    ran.must(1).must_say("WEAK sshd: AllowTcpForwarding").must_say("PermitUserRC");
}

#[test]
fn what_set_up_tells_sshd_lets_clients_in_and_nothing_else() {
    let world = sound_world("drop-in");
    let file = drop_in(&world);
    let text = fs::read_to_string(&file).unwrap();
    assert!(text.contains(&format!("Match User {}\n", world.user)), "{text}");
    assert_eq!(fs::metadata(&file).unwrap().mode() & 0o7777, 0o644);
    let client = Client::enrolled(&world, "web1");
    client.write("file", "x");
    client.backup().must(0);
    // The administrator's own key opens no tunnel.
    let tunnel = run(Command::new("ssh").args(world.ssh_options(&world.admin_key)).args([
        "-p",
        &world.port.to_string(),
        "-W",
        &format!("127.0.0.1:{}", world.port),
        &format!("{}@127.0.0.1", world.user),
    ]));
    tunnel.must_fail().must_say("administratively prohibited");

    let again = |words: &[&str]| {
        let mut setup = Command::new(program("byteback-setup-server"));
        run(setup.args(["--user", &world.user, "--store"]).arg(&world.store).args(words)).must(0)
    };
    // An sshd that runs is told to read it again.
    {
        let _alone = machine();
        fs::write("/run/sshd.pid", format!("{}\n", world.sshd_pid())).unwrap();
        let ran = again(&["--allow-passwords"]);
        fs::remove_file("/run/sshd.pid").unwrap();
        ran.must_say("have the running sshd read it");
        wait_until("sshd reads it", || world.sshd_log().contains("SIGHUP"));
    }
    let open = fs::read_to_string(&file).unwrap();
    assert!(!open.contains("Password") && open.contains("AllowTcpForwarding no"), "{open}");
    again(&[]).must_say("by key alone");
    assert_eq!(fs::read_to_string(&file).unwrap(), text);
    fs::write(&file, "# mine\n").unwrap();
    again(&[]).must_say("an administrator's own");
    assert_eq!(fs::read_to_string(&file).unwrap(), "# mine\n");
    // What sshd refuses does not stay.
    let alone = machine();
    fs::remove_file(&file).unwrap();
    let broken = PathBuf::from("/etc/ssh/sshd_config.d/zz-broken.conf");
    symlink(world.file("broken"), &broken).unwrap();
    fs::write(world.file("broken"), "NoSuchKeyword yes\n").unwrap();
    let ran = again(&[]);
    fs::remove_file(&broken).unwrap();
    drop(alone);
    ran.must_say("WARNING").must_say("NoSuchKeyword");
    assert!(!file.exists());
}

#[test]
fn set_up_that_only_looks_tells_all_and_changes_nothing() {
    let world = World::new("only-look");
    let nothing_to_do = setup_check(&world, &[]).must_not_say("to do:");
    assert!(nothing_to_do.code() < 2, "{}", nothing_to_do.story());
    let findings = check(&world, &[]).text();
    assert!(
        nothing_to_do.text().lines().count() >= findings.lines().count() / 2,
        "{}",
        nothing_to_do.story()
    );

    chmod(&world.store, 0o755);
    fs::remove_file(world.store.join(".byteback/rsync.json")).unwrap();
    fs::remove_file(drop_in(&world)).unwrap();
    // A program that is tried out leaves traces in the time of the directory that it ran in.
    let state = world.store.join(".byteback");
    let look = || {
        let etc = ["/etc/fstab", "/etc/passwd", "/etc/shadow"].map(|file| fs::read(file).unwrap_or_default());
        let names: BTreeSet<_> =
            fs::read_dir(&state).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        (fingerprint(&world.store, &[&state]), names, etc[0].clone())
    };
    let (before, names, fstab) = look();
    let ran = setup_check(&world, &[]).must(1);
    let store = world.store.display();
    for line in [
        format!("to do: give {store} the mode 750"),
        format!("to do: write {}", drop_in(&world).display()),
        "to do: remember what /usr/bin/rsync can do".to_owned(),
        "WEAK store: ".to_owned(),
    ] {
        assert!(ran.text().contains(&line), "{line} is missing: {}", ran.story());
    }
    let (after, names_after, fstab_after) = look();
    assert_untouched(&before, &after);
    assert_eq!((names, fstab), (names_after, fstab_after));
    assert!(!drop_in(&world).exists());
    world.setup_server("1G").must(0);
    setup_check(&world, &[]).must_not_say("to do:");
}

#[test]
fn a_server_that_is_not_there_yet_is_told_step_by_step_and_not_made() {
    let world = World::without_server("not-yet");
    let image = world.file("store.img");
    let ran = setup_check(&world, &["--image", image.to_str().unwrap(), "--size", "1G"]).must(1);
    for line in ["to do: make ", "to do: mount ", "to do: have /etc/fstab", "to do: make the user "] {
        assert!(ran.text().contains(line), "{line} is missing: {}", ran.story());
    }
    assert!(!image.exists() && !world.store.exists());
    assert!(!run(Command::new("id").arg(&world.user)).status.success());
}
