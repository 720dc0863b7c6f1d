//! Real clients and real servers: rsync 3.2.7 and 3.5.0 on both sides, every option that the grammar
//! allows, through all layers. What comes back is compared with the original, and where an option leaves
//! something out on purpose, with what the same two programs do without byteback.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, chown, symlink};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Instant;

mod look;
mod rows;

use look::{look, same};
use rows::{FULL, Promise, ROWS, Row, WHOLE, Way};

use crate::client::Client;
use crate::compare::{assert_untouched, fingerprint};
use crate::run::{Ran, run, wait_until};
use crate::torture::{self, noise, set_time};
use crate::world::World;

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
    assert!(!found.is_empty(), "neither rsync {} is there: run tests/rsync-versions target/rsync", VERSIONS.join(" nor "));
    found
}

/// One client that backs up to one server, and beside it the same two programs without byteback.
struct Bench<'a> {
    client: Client<'a>,
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
    in_step: bool,
}

impl<'a> Bench<'a> {
    fn new(world: &'a World, client: Client<'a>, here: &Path, there: &Path) -> Self {
        let (through_ssh, unconfined) = (world.file("through-ssh"), world.file("unconfined"));
        let (sent, socket) = (world.file("sent"), world.file("master"));
        let _ = fs::remove_file(&socket); // of an ssh that was killed
        let mut ssh = client.ssh();
        ssh.args(["-M", "-N", "-S"]).arg(&socket).arg(client.login()).stdin(Stdio::null());
        let master = ssh.spawn().unwrap();
        wait_until("ssh is connected", || socket.exists());
        let (sent_shown, socket) = (sent.display(), socket.display());
        script(
            &through_ssh,
            &format!("shift\nprintf '%s\\n' \"$*\" >>{sent_shown}\nexec ssh -F none -T -S {socket} server \"$@\""),
        );
        let beside = world.clients.join("beside");
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
            in_step: false,
        };
        for place in [bench.mirror(), bench.restored(), bench.restored_beside()] {
            fs::create_dir_all(place).unwrap();
        }
        bench
    }

    /// Where the unconfined server has its copy; it is called as the gate calls the client's.
    fn mirror(&self) -> PathBuf {
        self.client.world.clients.join("beside/current")
    }

    fn restored(&self) -> PathBuf {
        self.client.world.clients.join("restored")
    }

    fn restored_beside(&self) -> PathBuf {
        self.client.world.clients.join("restored-beside")
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
        let saved = self.client.world.clients.join("saved");
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
        fs::write(path("changes-within"), [noise(4, 30_000), vec![u8::from(even)], noise(5, 5_000)].concat()).unwrap();
        let (comes, goes) = if even { ("even", "odd") } else { ("odd", "even") };
        let _ = fs::remove_dir_all(path(goes));
        fs::create_dir_all(path(comes)).unwrap();
        fs::write(path(comes).join("file"), "x").unwrap();
        let _ = fs::remove_file(path("kind"));
        if even { fs::write(path("kind"), "file").unwrap() } else { symlink("link", path("kind")).unwrap() }
        let _ = symlink("/etc/hostname", path("unsafe"));
        fs::write(path("owned"), "x").unwrap();
        chown(path("owned"), Some(1000 + turn), Some(2000 - turn)).unwrap();
        fs::set_permissions(path("owned"), Permissions::from_mode(if even { 0o640 } else { 0o4751 })).unwrap();
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
            self.in_step = false;
            return self.copies_are_equal(row);
        }
        if !self.in_step {
            ended(&self.push(true, &FULL), 0)?;
            ended(&self.push(false, &FULL), 0)?;
            self.next_turn();
        }
        self.in_step = !row.any_times;
        self.acts_as_unconfined(row)
    }

    fn copies_are_equal(&self, row: &Row) -> Result<(), String> {
        let (there, back) = (if row.way == Way::Pull { &FULL } else { row }, if row.way == Way::Push { &FULL } else { row });
        ended(&self.push(true, there), 0)?;
        ended(&self.pull(true, back), 0)?;
        same("what came back", &look(&self.client.tree, true), &look(&self.restored(), true))
    }

    fn acts_as_unconfined(&self, row: &Row) -> Result<(), String> {
        let times = !row.any_times;
        let (there, status) = if row.way == Way::Pull { (&FULL, 0) } else { (row, row.status) };
        ended(&self.push(true, there), status)?;
        ended(&self.push(false, there), status)?;
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
fn choose_server(world: &World, program: &Path) {
    let name = program.file_name().unwrap().to_string_lossy();
    let text = format!("log = 'file'\nrsync = '{}'\n", program.display());
    let config = world.server_config(&format!("{name}.toml"), &text);
    let keys = fs::read_to_string(world.authorized_keys()).unwrap();
    let mut changed = String::new();
    for line in keys.lines() {
        let plain = match line.split_once(" --config ") {
            Some((before, after)) => format!("{before}{}", &after[after.find('"').unwrap()..]),
            None => line.to_owned(),
        };
        let call = format!("--client web1 --config {}", config.display());
        let _ = writeln!(changed, "{}", plain.replacen("--client web1", &call, 1));
    }
    assert!(changed.contains(&*name));
    fs::write(world.authorized_keys(), changed).unwrap();
}

#[test]
fn every_allowed_option_works_between_all_versions_of_rsync() {
    let began = Instant::now();
    let world = World::new("versions");
    let rsyncs = rsyncs(&world);
    let client = Client::enrolled(&world, "web1");
    torture::fill_without_bulk(&client.tree);
    let sparse = client.tree.join("sparse");
    fs::write(&sparse, noise(9, 100)).unwrap();
    fs::File::options().write(true).open(&sparse).unwrap().set_len(300_000).unwrap();
    // rsync leaves a time alone that is right to the second, and we are quick.
    look(&client.tree, false).keys().filter(|name| !name.starts_with("times")).for_each(|name| {
        set_time(&client.tree.join(name), 1_500_000_000, 123_456_789);
    });
    fs::write(world.file("list"), "links/one\nowners\ntimes/old\n").unwrap();
    let outside = || {
        let own = world.current("web1");
        fingerprint(&world.store, &[&own, &world.store.join(".byteback"), &world.authorized_keys()])
    };
    let before = outside();
    let tree = client.tree.clone();
    let (mut sent, mut failures) = (BTreeSet::new(), 0);
    for (there_version, there) in &rsyncs {
        choose_server(&world, there);
        for (here_version, here) in &rsyncs {
            let started = Instant::now();
            let client = Client { world: &world, name: "web1".into(), config: client.config.clone(), tree: tree.clone() };
            let mut bench = Bench::new(&world, client, here, there);
            let failed: Vec<String> = ROWS
                .iter()
                .filter_map(|row| { let t=Instant::now(); let r=bench.run_row(row); eprintln!("{:.2} {} {}", t.elapsed().as_secs_f32(), row.words, r.as_ref().err().map_or("ok", |e| e.as_str())); Some(format!("\n  {} {}", row.words, r.err()?))})
                .collect();
            sent.extend(fs::read_to_string(&bench.sent).unwrap().lines().map(str::to_owned));
            eprintln!(
                "rsync {here_version} -> {there_version}: {} rows, {} failed, {:.1} s{}",
                ROWS.len(),
                failed.len(),
                started.elapsed().as_secs_f32(),
                failed.concat()
            );
            failures += failed.len();
        }
    }
    assert_eq!(failures, 0, "see above");
    assert_untouched(&before, &outside());
    assert_all_sent(&sent);
    eprintln!("{} different command lines in {:.0} s", sent.len(), began.elapsed().as_secs_f32());
}

/// Insists that each option of the grammar's own tables was sent at least once in each direction in
/// which it is allowed.
fn assert_all_sent(sent: &BTreeSet<String>) {
    let (pulls, pushes): (Vec<&String>, Vec<&String>) = sent.iter().partition(|line| line.contains(" --sender "));
    let mut missing = Vec::new();
    for (option, is_value, push, pull) in allowed_options() {
        for (allowed, lines, way) in [(push, &pushes, "push"), (pull, &pulls, "pull")] {
            let fits = |word: &str| {
                word == option.trim_end_matches('=') || (is_value && word.starts_with(&option))
            };
            if allowed && !lines.iter().any(|line| line.split(' ').any(fits)) {
                missing.push(format!("{way} {option}"));
            }
        }
    }
    for (letter, push, pull) in allowed_letters() {
        for (allowed, lines, way) in [(push, &pushes, "push"), (pull, &pulls, "pull")] {
            let most = lines.iter().filter_map(|line| cluster(line)).map(|word| word.matches(letter).count()).max();
            if most < Some(allowed) {
                missing.push(format!("{way} -{} ({most:?} times)", letter.to_string().repeat(allowed)));
            }
        }
    }
    assert!(missing.is_empty(), "the grammar allows what no row makes a client send: {missing:#?}");
}

fn cluster(line: &str) -> Option<&str> {
    let word = line.split(' ').find(|word| word.starts_with('-') && !word.starts_with("--"))?;
    Some(word.split('e').next().unwrap_or(word))
}

/// From the grammar's source: the option, whether a value follows, and where it is allowed.
fn allowed_options() -> Vec<(String, bool, bool, bool)> {
    let source = include_str!("../../src/protocol/rsync_args/options.rs");
    let table = source.split("static RULES").nth(1).unwrap().split("];").next().unwrap();
    let rules = table.lines().map(str::trim).filter(|line| line.starts_with("flag(") || line.starts_with("value("));
    let found: Vec<_> = rules
        .map(|line| {
            let option = line.split('"').nth(1).unwrap().to_owned();
            (option, line.starts_with("value("), !line.contains("pull_only"), !line.contains("push_only"))
        })
        .collect();
    assert!(found.len() > 50);
    found
}

fn allowed_letters() -> Vec<(char, usize, usize)> {
    let source = include_str!("../../src/protocol/rsync_args/cluster.rs");
    let rows = source.lines().filter_map(|line| line.trim().strip_prefix("(b'"));
    let found: Vec<_> = rows
        .map(|row| {
            let mut numbers = row[3..].split(|c: char| !c.is_ascii_digit()).filter_map(|text| text.parse().ok());
            (row.chars().next().unwrap(), numbers.next().unwrap(), numbers.next().unwrap())
        })
        .collect();
    assert_eq!(found.len(), 30);
    found
}
