//! What the store itself can do, on real btrfs, by its own user: no root, no capability. The tests of each
//! part lie beside; here is how they reach it.
//!
//! A deed is done by this very program, started anew as the store's user with the deed in its environment.

mod fullness;
mod growth;
mod reading;
mod renewal;

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use byteback::model::{ClientName, SnapshotName, Tree};
use byteback::store::growth::{NewData, measure};
use byteback::store::{OpenTree, Store};
use jiff::Timestamp;

use crate::run::{Ran, SANDBOX_BIN, run};
use crate::world::World;

const ITSELF: &str = "store::deeds_are_done_by_the_stores_user_without_privileges";

/// A client of this store without any key: what is in `current` is put there by hand.
fn client(world: &World, name: &str) -> PathBuf {
    deed(world, &["enrol", name]).must(0);
    world.current(name)
}

fn deed_command(world: &World, words: &[&str]) -> Command {
    let itself = std::env::current_exe().unwrap();
    let itself = Path::new(SANDBOX_BIN).join("deps").join(itself.file_name().unwrap());
    let mut command =
        world.as_user([itself.into_os_string(), "--exact".into(), ITSELF.into(), "--nocapture".into()]);
    command.env("BYTEBACK_STORE", &world.store).env("BYTEBACK_DEED", words.join(" "));
    command
}

/// Does it and waits for the end. What it found stands behind `answer: `.
fn deed(world: &World, words: &[&str]) -> Ran {
    run(&mut deed_command(world, words))
}

fn answer(ran: &Ran) -> String {
    let text = ran.text();
    let answer = text.lines().find_map(|line| line.split_once("answer: "));
    answer.unwrap_or_else(|| panic!("no answer: {}", ran.story())).1.to_owned()
}

/// A shell command of the store's user.
fn by_user(world: &World, directory: &Path, script: &str) {
    let words: [OsString; 3] = ["sh".into(), "-euc".into(), script.into()];
    run(world.as_user(words).current_dir(directory)).must(0);
}

/// Puts a file into `current` as the store's user owns it.
fn put(path: &Path, content: impl AsRef<[u8]>) {
    fs::write(path, content).unwrap();
    let owner = fs::metadata(path.parent().unwrap()).unwrap();
    let (uid, gid) =
        (std::os::unix::fs::MetadataExt::uid(&owner), std::os::unix::fs::MetadataExt::gid(&owner));
    std::os::unix::fs::chown(path, Some(uid), Some(gid)).unwrap();
}

fn snapshot(world: &World, client: &str, name: &str) {
    deed(world, &["freeze", client, name]).must(0);
}

/// Measures a tree against one before (or `-`), from the time at which that was made.
fn measured(world: &World, client: &str, tree: &str, before: &str) -> NewData {
    measured_since(world, client, tree, before, "-")
}

fn measured_since(world: &World, client: &str, tree: &str, before: &str, since: &str) -> NewData {
    let ran = deed(world, &["measure", client, tree, before, since]).must(0);
    let numbers: Vec<u64> = answer(&ran).split(' ').map(|number| number.parse().unwrap()).collect();
    let [bytes, files, changed, added] = numbers[..] else { panic!("{}", ran.story()) };
    NewData { bytes, files, changed, added }
}

/// Bytes in use on the devices, all written.
fn used(world: &World) -> u64 {
    crate::run::tool("btrfs", ["filesystem".as_ref(), "sync".as_ref(), world.store.as_os_str()]);
    answer(&deed(world, &["used"]).must(0)).parse().unwrap()
}

#[test]
fn deeds_are_done_by_the_stores_user_without_privileges() {
    if let Some(words) = std::env::var_os("BYTEBACK_DEED") {
        let words = words.into_string().unwrap();
        return act(&words.split(' ').collect::<Vec<_>>());
    }
    let world = World::new("deeds");
    let told = answer(&deed(&world, &["who"]).must(0));
    let owner = fs::metadata(&world.store).unwrap();
    assert_eq!(told, format!("{} 0000000000000000", std::os::unix::fs::MetadataExt::uid(&owner)));
    deed(&world, &["nonsense"]).must_fail();
}

/// Runs as the store's user, in a process of its own.
fn act(words: &[&str]) {
    let store = Store::open(Path::new(&std::env::var_os("BYTEBACK_STORE").unwrap())).unwrap();
    let volume = store.volume();
    let name = |word: &str| -> ClientName { word.parse().unwrap() };
    let told: String = match words {
        ["who"] => {
            let status = fs::read_to_string("/proc/self/status").unwrap();
            let capabilities = status.lines().find_map(|line| line.strip_prefix("CapEff:")).unwrap().trim();
            format!("{} {capabilities}", nix::unistd::geteuid())
        }
        ["enrol", client] => done(volume.enrol(&name(client))),
        ["freeze", client, snapshot] => done(volume.freeze(&name(client), &snapshot.parse().unwrap())),
        ["used"] => volume.used().unwrap().to_string(),
        ["quota", client] => format!("{:?}", volume.quota(&name(client)).unwrap()),
        ["measure", client, tree, before, since] => measured_by(&store, &name(client), [tree, before, since]),
        ["discard", client, snapshots @ ..] => {
            let snapshot = |word: &&str| (name(client), word.parse::<SnapshotName>().unwrap());
            let batch: Vec<_> = snapshots.iter().map(snapshot).collect();
            done(volume.discard_batch(&batch).into_iter().collect())
        }
        ["finish", client] => volume.finish_discards(&name(client)).unwrap().to_string(),
        ["renew", client, "-"] => done(volume.renew(&name(client), None)),
        ["renew", client, from] => done(volume.renew(&name(client), Some(&from.parse().unwrap()))),
        ["hold", client, tree] => {
            let _held = open(&store, &name(client), tree).hold_for_reading().unwrap();
            fs::write(store.path().join("held"), "").unwrap();
            std::thread::sleep(std::time::Duration::from_secs(60));
            String::new()
        }
        ["ballast"] => store.ballast().make(&volume.room().unwrap()).unwrap().to_string(),
        _ => panic!("there is no such deed: {words:?}"),
    };
    println!("\nanswer: {told}");
}

fn done(result: anyhow::Result<()>) -> String {
    result.unwrap_or_else(|error| panic!("{error:#}"));
    "done".to_owned()
}

fn open(store: &Store, client: &ClientName, tree: &str) -> OpenTree {
    store.volume().open(client, &tree.parse::<Tree>().unwrap()).unwrap()
}

fn measured_by(store: &Store, client: &ClientName, [tree, before, since]: [&str; 3]) -> String {
    let made = || store.volume().made(client, &before.parse().unwrap()).unwrap();
    let since = match (since, before) {
        ("-", "-") => Timestamp::UNIX_EPOCH,
        ("-", _) => made(),
        (time, _) => time.parse().unwrap(),
    };
    let before = (before != "-").then(|| open(store, client, before));
    let began = std::time::Instant::now();
    let new = measure(&open(store, client, tree), before.as_ref(), since).unwrap();
    println!("measured in {} ms", began.elapsed().as_millis());
    format!("{} {} {} {}", new.bytes, new.files, new.changed, new.added)
}
