//! Real clients and real servers: rsync 3.2.7 and 3.5.0 on both sides, every option that the grammar
//! allows, through all layers. What comes back is compared with the original, and where an option leaves
//! something out on purpose, with what the same two programs do without byteback.

use std::cell::Cell;
use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, chown, symlink};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;
use std::thread;
use std::time::Instant;

mod coverage;
mod look;
mod rows;

use coverage::assert_all_sent;
use look::{look, same};
use rows::{FULL, Promise, ROWS, Row, WHOLE, Way};

use crate::client::Client;
use crate::compare::{assert_untouched, fingerprint};
use crate::run::{Ran, run, wait_until};
use crate::torture::{self, noise, set_time};
use crate::world::World;

/// rsync(1): protocol incompatibility.
const PROTOCOL_ERROR: i32 = 2;

/// The versions that are in Debian bookworm's archive; `tests/rsync-versions` fetches them.
pub const VERSIONS: [&str; 2] = ["3.2.7", "3.5.0"];

/// Those versions that this machine has, where every user of this world can run them.
pub fn rsyncs(world: &World) -> Vec<(&'static str, PathBuf)> {
    let mut found = Vec::new();
    for version in VERSIONS {
        let fetched = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/rsync").join(version);
        if !fetched.exists() {
            eprintln!("!!! rsync {version} IS MISSING: nothing is tested with it (tests/rsync-versions)");
            continue;
        }
        let program = world.file(&format!("rsync-{version}"));
        fs::copy(fetched, &program).unwrap();
        run(Command::new(&program).arg("--version")).must(0).must_say(&format!("version {version} "));
        found.push((version, program));
    }
    assert!(
        !found.is_empty(),
        "neither rsync {} is there: run tests/rsync-versions target/rsync",
        VERSIONS.join(" nor ")
    );
    found
}

/// One client that backs up to one server, and beside it the same two programs without byteback.
struct Bench<'a> {
    client: &'a Client<'a>,
    /// The rsync of each side.
    here: PathBuf,
    there: PathBuf,
    /// The programs that take ssh's place for either pair.
    through_ssh: PathBuf,
    unconfined: PathBuf,
    /// Every command line that was sent.
    sent: PathBuf,
    /// One ssh connection for all sessions; the gate is started for each.
    master: Child,
    turn: u32,
    /// Whether both servers have the same.
    in_step: Cell<bool>,
}

impl<'a> Bench<'a> {
    fn new(client: &'a Client<'a>, here: &Path, there: &Path) -> Self {
        let world = client.world;
        let file = |name: &str| world.file(&format!("{}-{name}", client.name));
        let (through_ssh, unconfined) = (file("through-ssh"), file("unconfined"));
        let (sent, socket) = (file("sent"), file("master"));
        let _ = fs::remove_file(&socket); // of an ssh that was killed
        let mut ssh = client.ssh();
        ssh.args(["-M", "-N", "-S"]).arg(&socket).arg(client.login()).stdin(Stdio::null());
        let master = ssh.spawn().unwrap();
        wait_until("ssh is connected", || socket.exists());
        let (sent_shown, socket) = (sent.display(), socket.display());
        script(
            &through_ssh,
            &format!(
                "shift\nprintf '%s\\n' \"$*\" >>{sent_shown}\nexec ssh -F none -T -S {socket} server \"$@\""
            ),
        );
        let beside = client.config.with_file_name("beside");
        script(&unconfined, &format!("shift\ncd {} && eval \"exec $*\"", beside.display()));
        let bench = Bench {
            client,
            here: here.to_owned(),
            there: there.to_owned(),
            through_ssh,
            unconfined,
            sent,
            master,
            turn: 0,
            in_step: Cell::new(false),
        };
        for place in [bench.mirror(), bench.restored(), bench.restored_beside()] {
            fs::create_dir_all(place).unwrap();
        }
        bench
    }

    /// Where the unconfined server has its copy; it is called as the gate calls the client's.
    fn mirror(&self) -> PathBuf {
        self.client.config.with_file_name("beside").join("current")
    }

    fn restored(&self) -> PathBuf {
        self.client.config.with_file_name("restored")
    }

    fn restored_beside(&self) -> PathBuf {
        self.client.config.with_file_name("restored-beside")
    }

    /// The client's rsync with these words; a new file has the same mode wherever it is made.
    fn rsync(&self, gated: bool, words: &[String], directory: &Path) -> Ran {
        let mut command = Command::new("sh");
        command.args(["-c", "umask 077; exec \"$@\"", "sh"]).arg(&self.here).arg("-e");
        if gated {
            command.arg(&self.through_ssh);
        } else {
            command.arg(&self.unconfined).arg("--rsync-path").arg(&self.there);
        }
        command.args(words).env("LC_ALL", "C.UTF-8").current_dir(directory);
        run(&mut command)
    }

    fn words(&self, gated: bool, row: &Row) -> Vec<String> {
        let base = if row.promise == Promise::Equal { WHOLE } else { "" };
        let list = self.client.world.file("list");
        let words = base.split_whitespace().chain(row.words.split_whitespace());
        // What the gate forces would make another kind of copy without it.
        let words = words.filter(|word| gated || *word != "-M--fake-super");
        words.map(|word| word.replace("LIST", list.to_str().unwrap())).collect()
    }

    fn push(&self, gated: bool, row: &Row) -> Ran {
        let sources = row.sources.iter().map(|source| format!("./{source}"));
        let words = self.words(gated, row).into_iter().chain(sources);
        let words: Vec<String> = words.chain(["server:current/".to_owned()]).collect();
        let tree = &self.client.tree;
        if !row.words.contains("--remove-source-files") {
            return self.rsync(gated, &words, tree);
        }
        let saved = self.client.config.with_file_name("saved");
        copy(tree, &saved);
        let ran = self.rsync(gated, &words, tree);
        let left = look(tree, false).values().filter(|seen| seen.is_file()).count();
        assert_eq!(left, 0, "sources were not removed: {}", ran.story());
        copy(&saved, tree);
        ran
    }

    fn pull(&self, gated: bool, row: &Row) -> Ran {
        let sources = row.sources.iter().map(|source| format!("server:current/{source}"));
        let to = if gated { self.restored() } else { self.restored_beside() };
        let words = self.words(gated, row).into_iter().chain(sources);
        let words: Vec<String> = words.chain([format!("{}/", to.display())]).collect();
        self.rsync(gated, &words, Path::new("/"))
    }

    /// Changes the tree, so that every transfer has something to send, to update and to delete.
    fn next_turn(&mut self) {
        self.turn += 1;
        let (turn, dir) = (self.turn, self.client.tree.join("changing"));
        let even = turn % 2 == 0;
        fs::create_dir_all(&dir).unwrap();
        let path = |name: &str| dir.join(name);
        fs::write(path("content"), noise(u64::from(turn % 2), 20_000)).unwrap();
        fs::write(path("grows"), noise(3, if even { 9_000 } else { 8_000 })).unwrap();
        fs::write(path("changes-within"), [noise(4, 30_000), vec![u8::from(even)], noise(5, 5_000)].concat())
            .unwrap();
        let (comes, goes) = if even { ("even", "odd") } else { ("odd", "even") };
        let _ = fs::remove_dir_all(path(goes));
        fs::create_dir_all(path(comes)).unwrap();
        fs::write(path(comes).join("file"), "x").unwrap();
        let _ = fs::remove_file(path("kind"));
        if even {
            fs::write(path("kind"), "file").unwrap();
        } else {
            symlink("link", path("kind")).unwrap();
        }
        let _ = symlink("/etc/hostname", path("unsafe"));
        fs::write(path("owned"), "x").unwrap();
        chown(path("owned"), Some(1000 + turn), Some(2000 - turn)).unwrap();
        fs::set_permissions(path("owned"), Permissions::from_mode(if even { 0o640 } else { 0o751 })).unwrap();
        xattr::set(path("owned"), "user.turn", &turn.to_le_bytes()).unwrap();
        let time = 1_600_000_000 + 10 * i64::from(turn);
        set_time(&path(comes).join("file"), time, 1);
        for name in ["content", "grows", "changes-within", "owned", "unsafe", comes, "kind", "", ".."] {
            set_time(&path(name), time, 1);
        }
    }

    /// One row: there and back.
    fn run_row(&mut self, row: &Row) -> Result<(), String> {
        self.next_turn();
        if row.promise == Promise::Equal {
            self.in_step.set(false);
            return self.copies_are_equal(row);
        }
        if !self.in_step.get() {
            ended(&self.push(true, &FULL), 0)?;
            ended(&self.push(false, &FULL), 0)?;
            self.next_turn();
        }
        self.in_step.set(!row.any_times);
        self.acts_as_unconfined(row)
    }

    fn copies_are_equal(&self, row: &Row) -> Result<(), String> {
        let (there, back) =
            (if row.way == Way::Pull { &FULL } else { row }, if row.way == Way::Push { &FULL } else { row });
        ended(&self.push(true, there), 0)?;
        ended(&self.pull(true, back), 0)?;
        same("what came back", &look(&self.client.tree, true), &look(&self.restored(), true))
    }

    fn acts_as_unconfined(&self, row: &Row) -> Result<(), String> {
        let times = !row.any_times;
        let (there, status) = if row.way == Way::Pull { (&FULL, 0) } else { (row, row.status) };
        let (gated, free) = (self.push(true, there), self.push(false, there));
        if row.broken_in_327 && self.there.ends_with("rsync-3.2.7") {
            self.in_step.set(false);
            ended(&gated, PROTOCOL_ERROR)?;
            return ended(&free, PROTOCOL_ERROR);
        }
        ended(&gated, status)?;
        ended(&free, status)?;
        ended(&self.pull(true, &FULL), 0)?;
        same("the backup", &look(&self.restored(), times), &look(&self.mirror(), times))?;
        if row.way == Way::Push {
            return Ok(());
        }
        ended(&self.pull(false, &FULL), 0)?;
        self.spoil_restored();
        let (gated, free) = (self.pull(true, row), self.pull(false, row));
        ended(&gated, row.status)?;
        ended(&free, row.status)?;
        // A directory's size is the file system's own.
        let files = |ran: &Ran| -> Vec<String> {
            ran.text().lines().filter(|line| !line.starts_with('d')).map(str::to_owned).collect()
        };
        if row.words.contains("--list-only") && files(&gated) != files(&free) {
            return Err(format!("the lists differ: {}\n{}", gated.story(), free.story()));
        }
        same("the restore", &look(&self.restored(), times), &look(&self.restored_beside(), times))
    }

    /// So that a partial restore has something to do, in the same way on both sides.
    fn spoil_restored(&self) {
        for place in [self.restored(), self.restored_beside()] {
            for name in ["content", "grows"] {
                let path = place.join("changing").join(name);
                let short = fs::read(&path).unwrap();
                fs::write(&path, &short[..short.len() / 2]).unwrap();
                set_time(&path, 1_000_000_000, 0);
            }
            fs::remove_file(place.join("changing/changes-within")).unwrap();
            let _ = fs::write(place.join("unknown-to-the-server"), "x");
            set_time(&place.join("unknown-to-the-server"), 1_000_000_000, 0);
            set_time(&place.join("changing"), 1_000_000_000, 0);
            set_time(&place, 1_000_000_000, 0);
        }
    }
}

fn ended(ran: &Ran, status: i32) -> Result<(), String> {
    if ran.code() == status { Ok(()) } else { Err(format!("status {status} was expected: {}", ran.story())) }
}

impl Drop for Bench<'_> {
    fn drop(&mut self) {
        let _ = self.master.kill();
        let _ = self.master.wait();
    }
}

fn script(path: &Path, text: &str) {
    fs::write(path, format!("#!/bin/sh\n{text}\n")).unwrap();
    fs::set_permissions(path, Permissions::from_mode(0o755)).unwrap();
}

/// An exact copy.
fn copy(from: &Path, to: &Path) {
    let from = format!("{}/", from.display());
    run(Command::new("rsync").args(["-aHAX", "--numeric-ids", "--delete", &from]).arg(to)).must(0);
}

/// Which configuration the client's key line names.
fn choose_server(client: &Client, program: &Path) {
    static KEY_FILE: Mutex<()> = Mutex::new(());
    let _alone = KEY_FILE.lock().unwrap();
    let world = client.world;
    let text = format!("log = 'file'\nrsync = '{}'\n", program.display());
    let config = world.server_config(&format!("{}.toml", client.name), &text);
    let keys = fs::read_to_string(world.authorized_keys()).unwrap();
    let call = format!("--client {}", client.name);
    assert!(keys.contains(&call), "{keys}");
    if !keys.contains(&*config.to_string_lossy()) {
        let longer = format!("{call} --config {}", config.display());
        fs::write(world.authorized_keys(), keys.replace(&call, &longer)).unwrap();
    }
}

/// A client with a small tree of everything.
fn filled<'a>(world: &'a World, name: &str) -> Client<'a> {
    let client = Client::enrolled(world, name);
    torture::fill_without_bulk(&client.tree);
    let sparse = client.tree.join("sparse");
    fs::write(&sparse, noise(9, 100)).unwrap();
    fs::File::options().write(true).open(&sparse).unwrap().set_len(300_000).unwrap();
    // rsync leaves a time alone that is right to the second, and we are quick.
    look(&client.tree, false).keys().filter(|name| !name.starts_with("times")).for_each(|name| {
        set_time(&client.tree.join(name), 1_500_000_000, 123_456_789);
    });
    client
}

/// What two versions did together.
struct Outcome {
    shown: String,
    failed: Vec<String>,
    sent: Vec<String>,
}

/// All rows with one client and one server.
fn run_rows(client: &Client, here: &Path, there: &Path) -> Outcome {
    let started = Instant::now();
    choose_server(client, there);
    let mut bench = Bench::new(client, here, there);
    let run = |row: &Row| Some(format!("\n  {} {}", row.words, bench.run_row(row).err()?));
    let failed: Vec<String> = ROWS.iter().filter_map(run).collect();
    let version = |path: &Path| path.file_name().unwrap().to_string_lossy().replace("rsync-", "");
    let shown = format!(
        "| {} | {} | {} | {} | {:.0} s |",
        version(here),
        version(there),
        ROWS.len(),
        failed.len(),
        started.elapsed().as_secs_f32()
    );
    let sent = fs::read_to_string(&bench.sent).unwrap().lines().map(str::to_owned).collect();
    Outcome { shown, failed, sent }
}

#[test]
fn every_allowed_option_works_between_all_versions_of_rsync() {
    let world = World::new("rsyncs");
    let rsyncs = rsyncs(&world);
    fs::write(world.file("list"), "links/one\nowners\ntimes/old\n").unwrap();
    let clients: Vec<Client> =
        rsyncs.iter().map(|(version, _)| filled(&world, &format!("web{version}"))).collect();
    let outside = || {
        let mut own: Vec<PathBuf> = clients.iter().map(|client| world.current(&client.name)).collect();
        own.extend([world.store.join(".byteback"), world.store.join(".ssh")]);
        fingerprint(&world.store, &own.iter().map(PathBuf::as_path).collect::<Vec<_>>())
    };
    let before = outside();
    let results: Vec<Outcome> = thread::scope(|scope| {
        let both = rsyncs.iter().zip(&clients).map(|((_, here), client)| {
            let servers = rsyncs.iter();
            scope.spawn(move || servers.map(|(_, there)| run_rows(client, here, there)).collect::<Vec<_>>())
        });
        let both: Vec<_> = both.collect();
        both.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
    });
    eprintln!("| client | server | options | failed | time |");
    for result in &results {
        eprintln!("{}{}", result.shown, result.failed.concat());
    }
    assert!(results.iter().all(|result| result.failed.is_empty()), "see above");
    assert_untouched(&before, &outside());
    assert_all_sent(&results.into_iter().flat_map(|result| result.sent).collect());
}
