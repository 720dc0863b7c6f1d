//! Somebody has a client's key and root on that client. Nothing but that client's own tree may be read or
//! changed; each try is refused by the gate and leaves exactly one line in the server's log.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;

mod tables;

use tables::{COMMANDS, OPTIONS, PROGRAMS, PULL, PUSH, SOURCES};

use crate::client::Client;
use crate::compare::{Fingerprint, assert_untouched, fingerprint};
use crate::run::{Ran, run, tool};
use crate::torture;
use crate::world::World;

const SECRET: &str = "the victim's secret 4711";

/// A server with a victim that has a snapshot and with a second client whose key was stolen.
struct Scene<'a> {
    world: &'a World,
    thief: Client<'a>,
    before: Fingerprint,
}

impl<'a> Scene<'a> {
    fn new(world: &'a World) -> Self {
        let victim = Client::enrolled(world, "victim");
        victim.write("secret", SECRET);
        victim.backup().must(0);
        fs::write(world.current("victim").join("secret"), SECRET).unwrap();
        let thief = Client::enrolled(world, "thief");
        thief.write("own", "x");
        thief.backup().must(0);
        let before = outside(world);
        Scene { world, thief, before }
    }

    /// Nothing outside the thief's own tree has changed and nothing of the victim was said.
    #[track_caller]
    fn assert_in_vain(&self, ran: &Ran) {
        assert!(!ran.all().contains(SECRET), "the secret came out: {}", ran.story());
        assert!(!ran.all().contains("ssh-ed25519 AAAA"), "a key came out: {}", ran.story());
        assert_untouched(&self.before, &outside(self.world));
    }

    /// The same, and the gate itself said no, with one line in the log.
    #[track_caller]
    fn assert_refused(&self, command: &str) {
        // Many refusals in one minute are folded into one line; here each is the first.
        let _ = fs::remove_file(self.world.store.join(".byteback/clients/thief/verdicts"));
        let verdicts = || {
            let all = self.world.log_lines().into_iter();
            all.filter(|line| line.contains("byteback-receive[")).collect::<Vec<_>>() // the pruner logs too
        };
        let lines = verdicts();
        let ran = self.thief.send(command);
        assert_eq!(ran.code(), 3, "a refusal was expected: {}", ran.story());
        self.assert_in_vain(&ran);
        let all = verdicts();
        let new = &all[lines.len()..];
        assert_eq!(new.len(), 1, "one line for each verdict: {new:#?} after {command:?}");
        assert!(new[0].contains("thief") && new[0].contains("refuse"), "{}", new[0]);
        assert!(!new[0].contains(|c: char| c.is_control()), "{:?}", new[0]);
    }
}

/// Everything in the store that the thief has no business with, and what lies around it.
fn outside(world: &World) -> Fingerprint {
    let own = world.store.join("thief/current");
    let mut seen =
        fingerprint(&world.store, &[&own, &world.store.join(".byteback"), &world.store.join("thief")]);
    seen.extend(fingerprint(Path::new("/etc/byteback"), &[]));
    seen
}

#[test]
fn a_stolen_key_cannot_read_another_clients_tree() {
    let world = World::new("read-other");
    let scene = Scene::new(&world);
    let victims = world.snapshots("victim").pop().unwrap();
    let store = world.store.to_str().unwrap();
    for source in SOURCES {
        let source = source.replace("STORE", store).replace("SNAPSHOT", &victims);
        scene.assert_refused(&format!("{PULL} . {source}"));
        let target = world.clients.join("loot");
        let words = ["-a".to_owned(), format!("HOST:{source}"), format!("{}/", target.display())];
        scene.assert_in_vain(&run(&mut scene.thief.rsync(words)).must_fail());
        assert!(!target.join("secret").exists());
    }
}

#[test]
fn a_stolen_key_runs_no_program_but_a_confined_rsync() {
    let world = World::new("run-program");
    let scene = Scene::new(&world);
    for command in PROGRAMS {
        scene.assert_refused(command);
    }
    scene.assert_refused(&"x".repeat(60_000));
    scene.assert_refused(&"rsync ".repeat(5_000));
}

#[test]
fn a_stolen_key_cannot_widen_what_rsync_does() {
    let world = World::new("rsync-options");
    let scene = Scene::new(&world);
    let store = world.store.to_str().unwrap();
    for option in OPTIONS {
        let option = option.replace("STORE", store);
        scene.assert_refused(&format!("{PUSH} {option} . ."));
        scene.assert_refused(&format!("{PULL} {option} . current/"));
    }
    for command in COMMANDS {
        let command = command.replace("PUSH", PUSH).replace("PULL", PULL).replace("STORE", store);
        scene.assert_refused(&command);
    }
}

#[test]
fn a_push_aimed_elsewhere_lands_in_the_own_tree_or_nowhere() {
    let world = World::new("aimed");
    let scene = Scene::new(&world);
    let tree = format!("{}/", scene.thief.tree.display());
    for place in
        ["../victim/current/", "../../victim/current", "/etc/", "~/", ".ssh/", "-x", "a b/", "$(id)/"]
    {
        let ran = run(&mut scene.thief.rsync(["-a", "--delete", &tree, &format!("HOST:{place}")]));
        scene.assert_in_vain(&ran);
    }
}

#[test]
fn a_planted_symlink_leads_nowhere() {
    let world = World::new("symlink");
    let scene = Scene::new(&world);
    let (tree, victim) = (&scene.thief.tree, world.current("victim"));
    for (name, target) in [
        ("absolute", victim.clone()),
        ("relative", "../../../../victim/current".into()),
        ("up", "../../victim/current".into()),
        ("keys", world.authorized_keys()),
        ("root", "/".into()),
    ] {
        symlink(target, tree.join(name)).unwrap();
    }
    let from = format!("{}/", tree.display());
    run(&mut scene.thief.rsync(["-a", &from, "HOST:"])).must(0);
    scene.assert_in_vain(&run(&mut scene.thief.rsync(["-a", &from, "HOST:"])));

    // Through the planted names, in both directions and in all manners that follow links.
    let loot = world.clients.join("loot");
    let into = format!("{}/", loot.display());
    for name in ["absolute", "relative", "up", "keys", "root"] {
        for options in ["-a", "-aL", "-ak", "-aR", "-aK"] {
            for source in [
                format!("HOST:current/{name}"),
                format!("HOST:current/{name}/"),
                format!("HOST:current/{name}/secret"),
            ] {
                scene.assert_in_vain(&run(&mut scene.thief.rsync([options, &source, &into])));
                assert!(!contains_secret(&loot), "{options} {source}");
            }
        }
    }
    // A directory where the link was: a receiver that follows would write into the victim's tree.
    for name in ["absolute", "relative", "up"] {
        fs::remove_file(tree.join(name)).unwrap();
        fs::create_dir(tree.join(name)).unwrap();
        fs::write(tree.join(name).join("secret"), "overwritten").unwrap();
    }
    for options in [
        &["-aK"][..],
        &["-a", "--inplace"],
        &["-aR", "--no-implied-dirs"],
        &["-a", "--append"],
        &["-rl", "--inplace"],
    ] {
        let words = options.iter().copied().chain([from.as_str(), "HOST:"]);
        scene.assert_in_vain(&run(&mut scene.thief.rsync(words)));
    }
}

fn contains_secret(below: &Path) -> bool {
    let Ok(entries) = fs::read_dir(below) else { return false };
    entries.map(|entry| entry.unwrap().path()).any(|path| {
        if path.is_dir() && !path.is_symlink() {
            contains_secret(&path)
        } else {
            fs::read(&path).is_ok_and(|seen| seen.windows(SECRET.len()).any(|part| part == SECRET.as_bytes()))
        }
    })
}

#[test]
fn a_stolen_key_gets_no_session() {
    let world = World::new("session");
    let scene = Scene::new(&world);
    let thief = &scene.thief;
    let (login, port) = (thief.login(), world.port.to_string());
    // A login without a command, with and without a terminal.
    for options in [&["-T"][..], &["-tt"]] {
        let ran = run(thief.ssh().args(options).arg(&login)).must_fail();
        scene.assert_in_vain(&ran);
        assert!(!ran.all().contains('$'), "a prompt? {}", ran.story());
    }
    run(thief.ssh().arg("-tt").arg(&login).arg("byteback-receive --ping"))
        .must_say("PTY allocation request failed");

    // Forwarding in every direction, to something that is there: the sshd itself.
    run(thief.ssh().args(["-W", &format!("127.0.0.1:{port}")]).arg(&login))
        .must_fail()
        .must_not_say("SSH-2.0");
    let remote = ["-N", "-o", "ExitOnForwardFailure=yes", "-R"];
    run(thief.ssh().args(remote).arg(format!("0:127.0.0.1:{port}")).arg(&login)).must_fail();
    run(thief.ssh().args(remote).arg(format!("{}:127.0.0.1:{port}", world.file("s").display())).arg(&login))
        .must_fail();
    run(thief.ssh().arg("-A").arg(&login).arg("byteback-receive --ping")).must(0);

    // The tools that bring their own server half.
    let mut options = thief.ssh_options();
    options.retain(|option| option != "-T");
    for (program, word) in [("scp", "secret"), ("scp", "current/own"), ("sftp", "secret")] {
        let source = format!("{login}:{word}");
        let ran =
            run(Command::new(program).args(&options).args(["-P", &port, &source]).arg(world.file("loot")));
        scene.assert_in_vain(&ran.must_fail());
        let ran = run(Command::new(program)
            .arg("-O")
            .args(&options)
            .args(["-P", &port, &source])
            .arg(world.file("loot")));
        scene.assert_in_vain(&ran.must_fail());
    }
    let ran = run(thief.ssh().arg("-s").arg(&login).arg("sftp")).must_fail();
    scene.assert_in_vain(&ran);

    // What a session may bring along must not count.
    for pair in ["BYTEBACK_HOST=victim", "BYTEBACK_CLIENT=victim", "RSYNC_RSH=id", "LD_PRELOAD=/x", "HOME=/"]
    {
        let ran = run(thief
            .ssh()
            .arg("-o")
            .arg(format!("SetEnv={pair}"))
            .arg(&login)
            .arg("byteback-receive --ping"));
        scene.assert_in_vain(&ran.must(0));
    }
}

#[test]
fn asking_for_snapshots_all_night_gives_one() {
    let world = World::new("flood");
    let scene = Scene::new(&world);
    for _ in 0..5 {
        scene.thief.send("byteback-receive --complete");
    }
    assert_eq!(world.snapshots("thief").len(), 1);
    assert_eq!(world.snapshots("victim").len(), 1);
}

#[test]
fn what_is_allowed_leaves_one_line_for_each_verdict_too() {
    let world = World::new("log");
    let scene = Scene::new(&world);
    for (command, word) in [
        ("byteback-receive --ping", "ping"),
        ("byteback-receive --complete", "complete"),
        (&*format!("{PUSH} . ."), "push"),
    ] {
        let before = world.log_lines().len();
        scene.thief.send(command);
        let mut new = world.log_lines().split_off(before);
        new.retain(|line| line.contains("byteback-receive[")); // the pruner logs too
        assert_eq!(new.iter().filter(|line| line.contains("accept")).count(), 1, "{new:#?}");
        assert!(new[0].contains("thief") && new[0].contains(word), "{new:#?}");
    }
}

#[test]
fn an_rsync_that_was_taken_over_still_reaches_nothing_outside() {
    let world = World::new("burglar");
    let scene = Scene::new(&world);
    let burglar = Path::new("/run/byteback-sandbox/tmp/burglar");
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/e2e/burglar.c");
    tool(
        "cc",
        [
            "-static".as_ref(),
            "-O1".as_ref(),
            "-w".as_ref(),
            "-o".as_ref(),
            burglar.as_os_str(),
            source.as_os_str(),
        ],
    );
    let config =
        world.server_config("burglar.toml", &format!("log = 'file'\nrsync = '{}'\n", burglar.display()));
    let keys = fs::read_to_string(world.authorized_keys()).unwrap();
    let call = format!("--client thief --config {}", config.display());
    assert!(keys.contains("--client thief"), "{keys}");
    fs::write(world.authorized_keys(), keys.replace("--client thief", &call)).unwrap();
    let before = outside(&world);

    let ran = scene.thief.send(format!("{PUSH} . .")).must_say("write-own done");
    let deeds = ran.text();
    let done: Vec<&str> = deeds.lines().filter(|line| line.ends_with(" done")).collect();
    assert_eq!(done, ["write-own done"], "{deeds}");
    assert!(deeds.contains("run-a-shell E"), "it came to its end: {}", ran.story());
    assert_untouched(&before, &outside(&world));
}

#[test]
fn a_tree_that_was_made_to_hurt_the_reader_of_the_log_does_not() {
    let world = World::new("names");
    let scene = Scene::new(&world);
    torture::many_small_files(&scene.thief.tree, 10);
    scene.thief.write("new\nline \u{1b}[31m", "x");
    scene.thief.backup().must(0);
    let log = world.log_lines();
    assert!(log.iter().all(|line| !line.contains(|c: char| c.is_control())), "{log:#?}");
}
