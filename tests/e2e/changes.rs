//! Runs that give rsync a list of changes: after each, a full comparison must find nothing to do.

mod chance;
mod filters;
mod killed;

use std::collections::BTreeMap;
use std::fs;
use std::io::{Read, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::client::Client;
use crate::run::{program, run, start, tool};
use crate::world::{SANDBOX, World};
use chance::{Chance, Tree};

/// What changed so shortly before a walk is looked at again by the next one (policy::changes).
const SLACK: Duration = Duration::from_millis(4_200);

/// `mapped`, built.
fn mapper() -> &'static Path {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    BUILT.get_or_init(|| {
        let program = Path::new(SANDBOX).join("tmp/mapped");
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/e2e/changes/mapped.c");
        tool("cc", ["-O1".as_ref(), "-o".as_ref(), program.as_os_str(), source.as_os_str()]);
        program
    })
}

/// Writes one byte through a shared mapping.
fn map_and_write(file: &Path, place: u64) {
    let mut mapped = Mapped::open(file);
    mapped.write(place);
}

/// A program that holds a mapping.
struct Mapped(std::process::Child);

impl Mapped {
    fn open(file: &Path) -> Self {
        let mut command = Command::new(mapper());
        Self(command.arg(file).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap())
    }

    fn write(&mut self, place: u64) {
        writeln!(self.0.stdin.as_mut().unwrap(), "{}", place % 1_000_000).unwrap();
        let mut answer = [0; 5];
        self.0.stdout.as_mut().unwrap().read_exact(&mut answer).unwrap();
    }
}

impl Drop for Mapped {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Client<'_> {
    fn record(&self, more: &[&str]) -> Value {
        let ran = run(self.backup_command().arg("--json").args(more)).must(0);
        serde_json::from_str(&ran.text()).unwrap()
    }

    fn mode(&self, more: &[&str]) -> String {
        let record = self.record(more);
        assert_eq!(record["index_defects"], 0, "{record}");
        record["mode"].as_str().unwrap().to_owned()
    }

    /// Runs until nothing changes any more: other tests make and remove directories above this client's.
    fn settle(&self) -> Value {
        for _ in 0..6 {
            let record = self.record(&["--full-every", "0"]);
            if record["mode"] == "unchanged" {
                return record;
            }
            thread::sleep(SLACK);
        }
        panic!("{} does not settle", self.name);
    }

    fn stored(&self) -> PathBuf {
        self.tree_in(&self.world.current(&self.name))
    }

    fn state(&self, name: &str) -> PathBuf {
        let state = self.config.with_file_name("state");
        let place = fs::read_dir(state).unwrap().next().unwrap().unwrap().path();
        place.join(name)
    }
}

/// What a full rsync that compares every byte would do: nothing, and no name is linked that is not here.
#[track_caller]
fn assert_stored(client: &Client<'_>, story: &str) {
    let shell = Path::new(SANDBOX).join("tmp/here-as-well");
    fs::write(&shell, "#!/bin/sh\nshift\neval \"exec $*\"\n").unwrap();
    tool("chmod", ["755".as_ref(), shell.as_os_str()]);
    let mut rsync = Command::new("rsync");
    rsync.args([
        "-naHAX",
        "--numeric-ids",
        "--checksum",
        "--modify-window=-1",
        "--delete",
        "--itemize-changes",
    ]);
    rsync.args(["--rsync-path=rsync --fake-super", "-e"]).arg(&shell);
    rsync.arg(client.tree.join("")).arg(format!("here:{}/", client.stored().display()));
    let found = run(&mut rsync).must(0);
    assert!(found.all().is_empty(), "{story}\n{} differs: {}", client.name, found.story());
    assert_eq!(links(&client.tree), links(&client.stored()), "{story}\n{}: links differ", client.name);
}

/// All names of each file that has several.
fn links(root: &Path) -> Vec<Vec<PathBuf>> {
    fn look(root: &Path, directory: &Path, found: &mut BTreeMap<u64, Vec<PathBuf>>) {
        for entry in fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            let metadata = path.symlink_metadata().unwrap();
            if metadata.is_dir() {
                look(root, &path, found);
            } else if metadata.nlink() > 1 {
                found.entry(metadata.ino()).or_default().push(path.strip_prefix(root).unwrap().to_owned());
            }
        }
    }
    let mut found = BTreeMap::new();
    look(root, root, &mut found);
    let mut groups: Vec<Vec<PathBuf>> = found.into_values().filter(|names| names.len() > 1).collect();
    for names in &mut groups {
        names.sort();
    }
    groups.sort();
    groups
}

fn setting(name: &str, otherwise: u64) -> u64 {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(otherwise)
}

fn seed() -> u64 {
    let by_clock = std::time::UNIX_EPOCH.elapsed().unwrap().as_secs();
    setting("BYTEBACK_SEED", by_clock)
}

/// Several clients take turns, so that each one's changes are older than the slack when it is walked next,
/// and the index is believed.
fn play(world: &World, steps: u64, seed: u64) -> BTreeMap<String, u64> {
    const CLIENTS: u64 = 8;
    eprintln!("BYTEBACK_SEED={seed}");
    let clients: Vec<Client<'_>> =
        (0..CLIENTS).map(|number| Client::enrolled(world, &format!("m{number}"))).collect();
    let mut trees: Vec<Tree<'_>> =
        clients.iter().zip(0..).map(|(client, number)| Tree::new(&client.tree, seed + number)).collect();
    let mut stories = vec![Vec::new(); clients.len()];
    let mut changed = vec![Instant::now(); clients.len()];
    let mut modes = BTreeMap::new();
    for step in 0..steps {
        for (at, client) in clients.iter().enumerate() {
            let (tree, story) = (&mut trees[at], &mut stories[at]);
            let is_quiet = tree.chance.below(8) > 0;
            if is_quiet {
                thread::sleep(SLACK.saturating_sub(changed[at].elapsed()));
            }
            let mode = if step > 0 && tree.chance.below(5) == 0 {
                // Changes while the run is at work; the next run must find all of them.
                let running = start(client.backup_command().arg("--json"));
                for _ in 0..tree.chance.below(6) {
                    thread::sleep(Duration::from_millis(tree.chance.below(120)));
                    story.push(format!("meanwhile {}", tree.change()));
                }
                let ran = running.wait();
                story.push(format!("run, status {}", ran.code()));
                client.mode(&[])
            } else {
                client.mode(&[])
            };
            story.push(format!("--- {mode}"));
            let keep = story.len().saturating_sub(60);
            story.drain(..keep);
            *modes.entry(mode).or_default() += 1;
            assert_stored(client, &format!("BYTEBACK_SEED={seed} step {step}\n{}", story.join("\n")));
            for _ in 0..tree.chance.below(7) {
                story.push(tree.change());
            }
            changed[at] = Instant::now();
        }
    }
    modes
}

#[test]
fn after_any_changes_a_run_by_the_index_leaves_nothing_to_do() {
    let world = World::new("changes-model");
    let modes = play(&world, setting("BYTEBACK_STEPS", 6), seed());
    eprintln!("{modes:?}");
    let by_index = modes.get("changes").copied().unwrap_or(0) + modes.get("unchanged").copied().unwrap_or(0);
    assert!(by_index * 2 > modes.values().sum::<u64>(), "the index was hardly used: {modes:?}");
}

#[test]
#[ignore = "takes an hour: make soak"]
fn after_thousands_of_changes_a_run_by_the_index_leaves_nothing_to_do() {
    let world = World::with_size("changes-soak", "4G");
    eprintln!("{:?}", play(&world, setting("BYTEBACK_STEPS", 300), seed()));
}

#[test]
fn where_nothing_changed_rsync_is_not_started_and_the_snapshot_still_asked_for() {
    let world = World::new("unchanged");
    let client = Client::enrolled(&world, "web1");
    crate::torture::fill_without_bulk(&client.tree);
    let first = client.record(&[]);
    assert_eq!(
        (&first["mode"], &first["full_run_reason"]),
        (&"full".into(), &"there is no index yet".into())
    );
    let first = client.settle();
    let pushes = || world.log_lines().iter().filter(|line| line.contains("request=push")).count();
    let before = pushes();
    world.rename_newest("web1", "2026-01-01T00:00+0000");
    let second = client.record(&["--full-every", "0"]);
    assert_eq!(second["mode"], "unchanged", "{second}");
    assert_eq!(
        (&second["attempts"][0]["rsync_status"], &second["outcome"]),
        (&Value::Null, &"snapshot".into())
    );
    assert_eq!(first["receipt"], second["receipt"]);
    assert_eq!(world.snapshots("web1").len(), 2);
    assert_eq!(pushes(), before);
    assert_stored(&client, "");
}

#[test]
fn a_file_that_is_written_through_an_old_mapping_is_sent() {
    let world = World::new("mapping");
    let client = Client::enrolled(&world, "web1");
    client.write("mapped", vec![b'a'; 10_000]);
    client.write("other", "x");
    let mut mapped = Mapped::open(&client.tree.join("mapped"));
    mapped.write(5_000);
    thread::sleep(SLACK);
    client.mode(&[]);
    for place in [5_000, 5_001, 9_999] {
        mapped.write(place);
        let mode = client.mode(&["--full-every", "0"]);
        assert_eq!(mode, "changes", "a write at {place} was not seen");
        assert_stored(&client, "");
    }
}

#[test]
fn an_index_that_is_damaged_lost_or_of_another_server_costs_a_full_run_and_nothing_else() {
    let world = World::new("damaged-index");
    let client = Client::enrolled(&world, "web1");
    crate::torture::many_small_files(&client.tree, 200);
    client.mode(&[]);
    let mut chance = Chance::new(seed());
    for turn in 0..8u32 {
        let name = if turn % 2 == 0 { "index" } else { "run.json" };
        let file = client.state(name);
        let mut bytes = fs::read(&file).unwrap();
        let at = usize::try_from(chance.below(bytes.len() as u64)).unwrap();
        match turn {
            0 | 1 => fs::remove_file(&file).unwrap(),
            2 | 3 => fs::write(&file, &bytes[..at]).unwrap(),
            _ => {
                bytes[at] ^= 1 << (turn % 7);
                fs::write(&file, &bytes).unwrap();
            }
        }
        client.write(format!("new{turn}"), "x");
        fs::remove_file(client.tree.join(format!("d000/f{turn}"))).unwrap();
        let record = client.record(&[]);
        assert_eq!(record["mode"], "full", "{name} byte {at}: {record}");
        assert_stored(&client, "");
    }
    // Another server under the same name, which never saw this machine.
    let other = Client::enrolled(&world, "web2");
    fs::rename(&client.config, client.config.with_file_name("aside")).unwrap();
    tool("cp", ["-a".as_ref(), other.config.as_os_str(), client.config.as_os_str()]);
    let record = client.record(&[]);
    assert_eq!(record["mode"], "full", "{record}");
    let moved = Client {
        world: &world,
        name: "web2".into(),
        config: client.config.clone(),
        tree: client.tree.clone(),
    };
    assert_stored(&moved, "");
    fs::remove_dir_all(&client.config).unwrap();
    fs::rename(client.config.with_file_name("aside"), &client.config).unwrap();
    client.write("later", "x");
    assert_eq!(client.record(&[])["mode"], "full");
    assert_stored(&client, "");
}

#[test]
fn what_was_edited_makes_the_run_a_full_one_that_says_why() {
    let world = World::new("edited-excludes");
    let client = Client::enrolled(&world, "web1");
    client.write("a.o", "x");
    client.write("b.c", "x");
    client.mode(&[]);
    let expect = |why: &str, more: &[&str]| {
        let record = client.record(more);
        let reason = record["full_run_reason"].as_str().unwrap_or_default().to_owned();
        assert!(reason.contains(why), "{why}: {record}");
    };
    fs::write(client.config.join("excludes"), "*.o\n").unwrap();
    expect("what is left out was changed", &[]);
    assert!(!client.stored().join("a.o").exists() && client.stored().join("b.c").exists());
    fs::remove_file(client.config.join("excludes")).unwrap();
    expect("what is left out was changed", &[]);
    assert!(client.stored().join("a.o").exists());
    fs::write(client.config.join("rsync_filter"), "dir-merge .rules\n").unwrap();
    expect("more than - or +", &[]);
    fs::remove_file(client.config.join("rsync_filter")).unwrap();
    client.mode(&[]);
    client.rsync_flags("--one-file-system");
    expect("--one-file-system", &[]);
    fs::remove_file(client.config.join("rsync_flags")).unwrap();
    client.mode(&[]);
    let current = world.current("web1");
    // The administrator put back an older state.
    fs::write(current.join("~byteback/canary"), "0".repeat(32)).unwrap();
    expect("does not show the token", &[]);
    expect("--full asks for it", &["--full"]);
    expect("--checksum asks for it", &["--checksum"]);
    assert_stored(&client, "");
}

#[test]
fn the_server_asks_for_a_full_run_and_the_client_obeys_once() {
    let world = World::new("asked-full");
    let client = Client::enrolled(&world, "web1");
    client.write("file", "x");
    client.mode(&[]);
    let mut admin = world.as_user([program("byteback-admin")]);
    admin.args(["full-run", "web1", "--reason", "disk repaired", "--store"]).arg(&world.store);
    run(&mut admin).must(0).must_say("web1");
    let record = client.record(&[]);
    assert_eq!(record["full_run_reason"], "the server asks for it: disk repaired", "{record}");
    assert_ne!(client.mode(&["--full-every", "0"]), "full");
    let mut admin = world.as_user([program("byteback-admin")]);
    run(admin.args(["full-run", "nobody", "--store"]).arg(&world.store)).must(2);
}

/// What a server of before this version answers, and one that lies.
#[test]
fn a_run_whose_token_is_missing_is_not_complete() {
    let world = World::new("canary");
    let client = Client::enrolled(&world, "web1");
    client.write("file", "x");
    client.mode(&[]);
    // The token is lost between push and complete: a hook cannot come between, a full disk or a thief may.
    let record = client.record(&["--full"]);
    assert_eq!(record["status"], 0);
    let canary = world.current("web1").join("~byteback/canary");
    let token = fs::read_to_string(&canary).unwrap();
    assert_eq!(token, fs::read_to_string(client.state("canary/~byteback/canary")).unwrap());
    // An rsync on the server that says that all is well and writes no token.
    let liar = world.file("liar");
    let script = "#!/bin/sh\n/usr/bin/rsync \"$@\"\nstatus=$?\nrm -f ./~byteback/canary\nexit $status\n";
    fs::write(&liar, script).unwrap();
    tool("chmod", ["755".as_ref(), liar.as_os_str()]);
    let config = world.server_config(
        "liar.toml",
        &format!("log = 'file'\nrsync = '{}'\nconfinement = 'arguments-only'\nnamespace = false\nswitched_off = ['landlock', 'seccomp']\n", liar.display()),
    );
    let keys = fs::read_to_string(world.authorized_keys()).unwrap();
    let lying = format!("byteback-receive --config {} --client", config.display());
    fs::write(world.authorized_keys(), keys.replace("byteback-receive --client", &lying)).unwrap();
    client.write("other", "x");
    client.backup().must(1).must_say("not complete");
    fs::write(world.authorized_keys(), keys).unwrap();
    assert_eq!(client.record(&[])["mode"], "full");
    assert_stored(&client, "");
}

#[test]
fn a_full_run_that_has_to_correct_the_index_says_so_loudly() {
    let world = World::new("index-defect");
    let client = Client::enrolled(&world, "web1");
    crate::torture::many_small_files(&client.tree, 100);
    client.settle();
    // What the index cannot know: somebody lost a file on the server.
    fs::remove_file(client.stored().join("d000/f7")).unwrap();
    assert_eq!(client.mode(&["--full-every", "0"]), "unchanged");
    let record = client.record(&["--full"]);
    assert!(record["index_defects"].as_u64().unwrap() >= 1, "{record}");
    assert!(record["warnings"][0].as_str().unwrap().contains("THE INDEX WAS WRONG"), "{record}");
    assert_stored(&client, "");
    assert_eq!(client.record(&["--full"])["index_defects"], 0);
}
