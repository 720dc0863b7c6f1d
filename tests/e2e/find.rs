//! Finding files on a real btrfs and through the real gate: what is told agrees with looking at every copy, and what
//! an enemy left in its tree harms nobody.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs::{self, File, FileTimes};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, SystemTime};

use byteback::model::{ClientName, SnapshotName, Tree, Version};
use byteback::protocol::find_query::{FindQuery, Pattern};
use byteback::store::search::{self, Bounds, Cut, Outcome, Trees};
use byteback::store::{Btrfs, OpenTree, Volume};
use serde_json::Value;

use crate::client::Client;
use crate::run::{run, tool};
use crate::world::World;

#[path = "../../fuzz/targets/find_query/reference.rs"]
#[allow(dead_code, reason = "a part of it is for single names")]
mod reference;

const OLD: &str = "2026-01-01T00:00+0000";

// --- The search itself, against looking at every copy ---------------------------------------------------------

/// A store without a gate, whose one client's tree is changed at random between snapshots.
struct History {
    volume: Btrfs,
    client: ClientName,
    current: PathBuf,
    days: u32,
    seed: u64,
}

impl History {
    fn new(world: &World) -> Self {
        let (volume, client) = (Btrfs::open(&world.store).unwrap(), "web1".parse().unwrap());
        volume.enrol(&client).unwrap();
        let current = world.current("web1");
        for directory in ["a", "a/b", "a/b/.c", "d", "d/-e"] {
            fs::create_dir(current.join(directory)).unwrap();
        }
        Self { volume, client, current, days: 0, seed: 4711 }
    }

    fn random(&mut self, below: u64) -> u64 {
        self.seed ^= self.seed << 13;
        self.seed ^= self.seed >> 7;
        self.seed ^= self.seed << 17;
        self.seed % below
    }

    /// One change somewhere, of a kind that may happen between two backups. Many fail, as they may.
    fn change(&mut self) {
        const NAMES: [&str; 8] = ["x", "y.mo", ".z", "*", "b", "-e", "a b", "é"];
        const PLACES: [&str; 6] = ["", "a", "a/b", "a/b/.c", "d", "d/-e"];
        let mut one_of = |all: &[&'static str]| all[usize::try_from(self.random(all.len() as u64)).unwrap()];
        let (place, name, new_name) = (one_of(&PLACES), one_of(&NAMES), one_of(&NAMES));
        let path = self.current.join(place).join(name);
        let other = self.current.join("d").join(new_name);
        match self.random(9) {
            0..3 => drop(fs::write(&path, self.random(3).to_string())),
            // The content alone: the same size and the same time.
            3 => {
                let times =
                    FileTimes::new().set_modified(SystemTime::UNIX_EPOCH + Duration::from_secs(1_000));
                let write = |()| File::options().write(true).open(&path)?.set_times(times);
                drop(fs::write(&path, self.random(9).to_string()).and_then(write));
            }
            4 => drop(fs::create_dir(&path)),
            5 => drop(fs::remove_file(&path).or_else(|_| fs::remove_dir(&path))),
            6 => drop(fs::rename(&path, &other)),
            7 => drop(fs::hard_link(&path, &other)),
            _ => drop(fs::set_permissions(
                &path,
                fs::Permissions::from_mode(
                    [0o700, 0o711, 0o755, 0o744][usize::try_from(self.random(4)).unwrap()],
                ),
            )),
        }
    }

    fn freeze(&mut self) {
        self.days += 1;
        let name = format!("2026-02-{:02}T00:00+0000", self.days).parse().unwrap();
        self.volume.freeze(&self.client, &name).unwrap();
    }

    /// Newest first.
    fn trees(&self) -> Vec<(Tree, OpenTree)> {
        let names = self.volume.snapshots(&self.client).unwrap();
        let open = |name: SnapshotName| {
            let tree = Tree::Snapshot(name);
            let open = self.volume.open(&self.client, &tree).unwrap();
            (tree, open)
        };
        names.into_iter().rev().map(open).collect()
    }
}

fn bounds() -> Bounds {
    let until = "2100-01-01T00:00:00Z".parse().unwrap();
    Bounds { entries: 1_000_000, until, threads: 3 }
}

fn searched(query: &FindQuery, trees: Trees<'_>, bounds: Bounds) -> (Vec<Version>, Outcome) {
    let mut found = Vec::new();
    let outcome = search::run(query, trees, bounds, &mut |version: Version| {
        found.push(version);
        Ok(())
    });
    (found, outcome.unwrap())
}

fn query(pattern: &str) -> FindQuery {
    FindQuery { patterns: vec![Pattern::parse(pattern.as_bytes()).unwrap()], ..FindQuery::default() }
}

/// Every copy in one tree that matches, by path, with what tells states of it apart.
fn look(root: &Path, pattern: &Pattern) -> BTreeMap<Vec<Vec<u8>>, fs::Metadata> {
    fn go(path: &Path, names: &[Vec<u8>], found: &mut BTreeMap<Vec<Vec<u8>>, fs::Metadata>) {
        let metadata = fs::symlink_metadata(path).unwrap();
        if metadata.is_dir() {
            for child in fs::read_dir(path).unwrap() {
                let name = child.unwrap().file_name();
                go(&path.join(&name), &[names, &[name.as_bytes().to_vec()]].concat(), found);
            }
        }
        found.insert(names.to_vec(), metadata);
    }
    let mut found = BTreeMap::new();
    go(root, &[], &mut found);
    found.retain(|names, _| {
        let names: Vec<&[u8]> = names.iter().map(Vec::as_slice).collect();
        pattern.alternatives().iter().any(|components| reference::path_matches(components, &names))
    });
    found
}

/// Two copies are one state if nothing tells them apart.
fn same(a: &fs::Metadata, b: &fs::Metadata) -> bool {
    let numbers = |m: &fs::Metadata| {
        [m.ino().cast_signed(), m.ctime(), m.ctime_nsec(), m.mtime(), m.mtime_nsec(), m.size().cast_signed()]
    };
    numbers(a) == numbers(b) && a.created().unwrap() == b.created().unwrap()
}

#[test]
fn what_is_told_of_a_history_agrees_with_looking_at_every_copy() {
    let world = World::new("find-history");
    let mut history = History::new(&world);
    (0..120).for_each(|_| history.change());
    thread::sleep(Duration::from_millis(2_100)); // what lies there now is settled, what comes is not
    for _ in 0..12 {
        history.freeze();
        let changes = history.random(6);
        (0..changes).for_each(|_| history.change());
    }
    thread::sleep(Duration::from_millis(2_100));
    history.freeze();
    (0..8).for_each(|_| history.change());
    history.freeze();

    let trees = history.trees();
    let current = history.volume.open(&history.client, &Tree::Current).unwrap();
    let place = |tree: &Tree| world.store.join("web1").join(tree.as_str());
    for text in [
        "/**",
        "/",
        "/a/*",
        "/**/*.mo",
        "/{a,d}/**/[x-y.]*",
        "/a/b/x",
        "/**/.*",
        "/d/{b,-e/\\*,é}",
        "/*/*/.c/**",
        "/nobody",
    ] {
        let query = query(text);
        let pattern = &query.patterns[0];
        let copies: Vec<_> = trees.iter().map(|(tree, _)| (tree, look(&place(tree), pattern))).collect();
        let now = look(&place(&Tree::Current), &query.patterns[0]);
        let mut paths: Vec<_> = copies.iter().flat_map(|(_, found)| found.keys()).collect();
        paths.sort();
        paths.dedup();
        let all = Trees { searched: &trees, gone_from: None };
        let without = Trees { searched: &trees, gone_from: Some(&current) };
        for (all_of_them, verbose, with_history, deleted) in
            [(0, 0, 0, 0), (1, 0, 1, 0), (0, 0, 1, 0), (1, 0, 0, 0), (1, 1, 0, 0), (0, 0, 0, 1), (1, 0, 1, 1)]
        {
            let query = FindQuery {
                all: all_of_them == 1,
                verbose: verbose == 1,
                history: with_history == 1,
                deleted: deleted == 1,
                ..query.clone()
            };
            let mut expected = Vec::new();
            for path in &paths {
                if query.deleted && now.contains_key(*path) {
                    continue;
                }
                let standing: Vec<_> =
                    copies.iter().filter_map(|(tree, found)| Some((*tree, found.get(*path)?))).collect();
                let mut versions: Vec<Vec<(&Tree, &fs::Metadata)>> = Vec::new();
                for copy in standing {
                    let is_same = |version: &&mut Vec<(&Tree, &fs::Metadata)>| match (
                        query.verbose,
                        query.history,
                        query.all,
                    ) {
                        (true, _, _) => false,
                        (_, true, _) => same(version[0].1, copy.1),
                        (_, _, true) => {
                            let what = |m: &fs::Metadata| (m.mtime(), m.mtime_nsec(), m.size());
                            what(version[0].1) == what(copy.1)
                        }
                        _ => true,
                    };
                    match versions.iter_mut().find(is_same) {
                        Some(version) => version.push(copy),
                        None => versions.push(vec![copy]),
                    }
                }
                if query.history {
                    versions.truncate(if query.all { versions.len() } else { 1 });
                    versions.reverse();
                }
                let first = |version: &[(&Tree, &fs::Metadata)]| {
                    query.history.then(|| (version[version.len() - 1].0.to_string(), version.len()))
                };
                expected.extend(versions.iter().map(|version| {
                    (
                        path.join(&b'/'),
                        version[0].0.to_string(),
                        version[0].1.mode(),
                        version[0].1.size(),
                        first(version),
                    )
                }));
            }
            let (found, outcome) = searched(&query, if query.deleted { without } else { all }, bounds());
            let told: Vec<_> = found
                .iter()
                .map(|Version { entry, history }| {
                    let history = history.as_ref().map(|h| (h.first.to_string(), h.copies as usize));
                    (entry.path.clone(), entry.tree.to_string(), entry.mode, entry.size, history)
                })
                .collect();
            assert_eq!(told, expected, "{text} {query:?}");
            assert_eq!((outcome.entries, outcome.cut), (expected.len() as u64, None));
            let alone = searched(
                &query,
                if query.deleted { without } else { all },
                Bounds { threads: 1, ..bounds() },
            );
            assert_eq!(alone.0, found, "threads change nothing");
        }
    }
}

#[test]
fn a_plain_path_reads_no_directory_and_an_unchanged_one_is_read_once_for_all_snapshots() {
    let world = World::new("find-reads");
    let mut history = History::new(&world);
    for name in ["a/x", "a/b/y", "d/z"] {
        fs::write(history.current.join(name), name).unwrap();
    }
    thread::sleep(Duration::from_millis(2_100));
    for _ in 0..5 {
        history.freeze();
        // Contents change, names do not. No push begins within a tick of the kernel's clock after another.
        thread::sleep(Duration::from_millis(20));
        fs::write(history.current.join("a/x"), history.days.to_string()).unwrap();
    }
    let trees = history.trees();
    let trees = Trees { searched: &trees, gone_from: None };
    let all = |pattern: &str| FindQuery { all: true, history: true, ..query(pattern) };
    let (versions, outcome) = searched(&all("/a/x"), trees, bounds());
    assert_eq!((versions.len(), outcome.scanned), (5, 0));
    let (versions, outcome) = searched(&all("/a/{x,b/y}"), trees, bounds());
    assert_eq!((versions.len(), outcome.scanned), (6, 0));
    let (versions, outcome) = searched(&all("/**/x"), trees, bounds());
    assert_eq!(versions.len(), 5, "each content is a version");
    assert_eq!(outcome.scanned, 5, "/, a, a/b, d and d/-e, once each: {outcome:?}");
    thread::sleep(Duration::from_millis(2_100));
    fs::write(history.current.join("a/new"), "").unwrap();
    thread::sleep(Duration::from_millis(2_100));
    history.freeze();
    let trees = history.trees();
    let (_, outcome) = searched(&all("/**/x"), Trees { searched: &trees, gone_from: None }, bounds());
    assert_eq!(outcome.scanned, 6, "and a once more: {outcome:?}");
}

#[test]
fn a_search_that_is_cut_says_so() {
    let world = World::new("find-bounds");
    let mut history = History::new(&world);
    let deep: PathBuf = std::iter::repeat_n("n", search::DEEPEST + 20).collect();
    fs::create_dir_all(history.current.join(&deep)).unwrap();
    history.freeze();
    let trees = history.trees();
    let trees = Trees { searched: &trees, gone_from: None };
    let (found, outcome) = searched(&query("/**"), trees, Bounds { entries: 3, ..bounds() });
    assert_eq!((found.len(), outcome.cut), (3, Some(Cut::Entries(3))));
    let (_, outcome) =
        searched(&query("/**"), trees, Bounds { until: "2020-01-01T00:00:00Z".parse().unwrap(), ..bounds() });
    assert_eq!(outcome.cut, Some(Cut::Time));
    let (found, outcome) = searched(&query("/**"), trees, bounds());
    assert_eq!(outcome.cut, Some(Cut::Depth));
    assert!(found.len() > search::DEEPEST, "everything above is told");
    let (found, outcome) = searched(&query(&format!("/{}", deep.display())), trees, bounds());
    assert_eq!((found.len(), outcome.cut), (1, None), "a plain path may be as deep as it likes");
}

// --- Through the gate ---------------------------------------------------------------------------------------

fn path(client: &Client, name: &str) -> String {
    client.tree.join(name).to_str().unwrap().to_owned()
}

/// Each line but the last.
fn told(text: &str) -> Vec<Value> {
    let mut lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert!(lines.pop().is_some_and(|end| end["entries"] == lines.len()), "{text}");
    lines
}

#[test]
fn the_history_of_a_file_is_told_to_its_client() {
    let world = World::new("find-client");
    let client = Client::enrolled(&world, "web1");
    client.write("etc/same", "same");
    client.write("etc/changed", "one");
    client.write("etc/gone", "gone");
    // What changed within three seconds before a run is sent once more by the next one.
    thread::sleep(Duration::from_millis(4_200));
    client.backup().must(0);
    world.rename_newest("web1", OLD);
    client.write("etc/changed", "two");
    fs::remove_file(client.tree.join("etc/gone")).unwrap();
    client.backup().must(0);
    let newest = world.snapshots("web1").pop().unwrap();

    let versions = client.restore(["--all", "--json", &path(&client, "etc/*")]).must(0).text();
    let versions: Vec<_> = told(&versions)
        .iter()
        .map(|line| {
            let name = line["path"].as_str().unwrap().rsplit('/').next().unwrap().to_owned();
            [name, line["first"].as_str().unwrap().to_owned(), line["snapshot"].as_str().unwrap().to_owned()]
        })
        .collect();
    let expected =
        [["changed", OLD, OLD], ["changed", &newest, &newest], ["gone", OLD, OLD], ["same", OLD, &newest]];
    assert_eq!(versions, expected);
    let table = client.restore(["--all", &path(&client, "etc/same")]).must(0).text();
    assert!(table.starts_with("first ") && table.contains(&format!("{OLD} {newest}")), "{table}");

    let deleted = client.restore(["--deleted", "--json", &path(&client, "**")]).must(0).text();
    let deleted = told(&deleted);
    assert!(deleted.len() == 1 && deleted[0]["path"].as_str().unwrap().ends_with("etc/gone"), "{deleted:?}");

    let at = |time: &str| client.restore(["--at", time, "--json", &path(&client, "etc/*")]);
    let then = told(&at("2026-01-02").must(0).text());
    assert!(then.len() == 3 && then.iter().all(|line| line["snapshot"] == OLD), "{then:?}");
    assert_eq!(told(&at("now").must(0).text()).len(), 2);
    at("2025-12-31").must(3).must_say("no snapshot was taken before");
    at("soon").must(2).must_say("is no time");

    let raw = client.restore(["-0", &path(&client, "etc/{changed,same}")]).must(0).stdout;
    let name = |name: &str| format!("{newest}{}\0", path(&client, name)).into_bytes();
    assert_eq!(raw, [name("etc/changed"), name("etc/same")].concat());

    let snapshots = client.restore(["--snapshots"]).must(0).text();
    let lines: Vec<&str> = snapshots.lines().collect();
    assert!(lines.len() == 4 && lines[1].starts_with(OLD) && lines[3].starts_with("current"), "{snapshots}");
    assert!(lines[3].contains("complete") && lines[3].contains("working copy"), "{snapshots}");
    let current = client.restore(["--snapshot", "current", &path(&client, "etc/same")]).must(0);
    current.must_say("current is the server's working copy");
}

#[test]
fn a_plain_path_is_found_in_a_directory_that_cannot_be_read() {
    let world = World::new("find-closed");
    let client = Client::enrolled(&world, "web1");
    client.write("etc/file", "x");
    client.backup().must(0);
    let closed = client.tree_in(&world.current("web1")).join("etc");
    fs::set_permissions(&closed, fs::Permissions::from_mode(0o311)).unwrap();
    client.restore(["--snapshot", "current", &path(&client, "etc/file")]).must(0);
    client.restore(["--snapshot", "current", &path(&client, "etc/*")]).must(1);
}

#[test]
fn what_an_enemy_left_in_its_tree_leads_nowhere_and_harms_no_terminal() {
    let world = World::new("find-hostile");
    let client = Client::enrolled(&world, "web1");
    client.write("d/file", "x");
    client.write("was-directory/inside", "x");
    client.backup().must(0);
    world.rename_newest("web1", OLD);
    let home = world.current("web1");
    let root = client.tree_in(&home);
    symlink("/etc", root.join("link")).unwrap();
    symlink(world.store.join(".byteback"), root.join("d/state")).unwrap();
    symlink("d", root.join("inner")).unwrap();
    fs::remove_dir_all(root.join("was-directory")).unwrap();
    fs::write(root.join("was-directory"), "now a file").unwrap();
    for name in [&b"--all"[..], b"-0", b"current", OLD.as_bytes(), b"a\x1b[2J\nb", b"\xff\xfe", b"\xc2\x9b1m"]
    {
        fs::write(root.join(OsStr::from_bytes(name)), name).unwrap();
    }
    for (name, value) in [
        ("huge", "9".repeat(3_000)),
        ("malformed", "100644 0,0 0:0 x".to_owned()),
        ("lies", "60660 8,1 0:6".to_owned()),
        ("link-of-nothing", "120777 0,0 0:0".to_owned()),
    ] {
        fs::write(root.join(name), [b'x'; 5_000]).unwrap();
        xattr::set(root.join(name), "user.rsync.%stat", value.as_bytes()).unwrap();
    }
    tool(
        "btrfs",
        [
            "subvolume".into(),
            "snapshot".into(),
            "-r".into(),
            home.clone(),
            world.store.join("web1/2026-01-02T00:00+0000"),
        ],
    );

    for snapshot in ["*", "current", "2026-01-02T00:00+0000"] {
        let ran = client.restore(["--json", "--all", "--snapshot", snapshot, "/**"]).must(0);
        let lines = told(&ran.text());
        let prefix = client.tree.to_str().unwrap().trim_start_matches('/');
        for line in &lines {
            let path = line["path"].as_str().unwrap_or_default();
            // Beside the tree there is the token that each run brings.
            let is_token = ["~byteback", "~byteback/canary"].contains(&path);
            assert!(path.starts_with(prefix) || prefix.starts_with(path) || is_token, "{line}");
            for through in ["link/", "inner/", "state/"] {
                assert!(!path.contains(through), "{line}");
            }
        }
        assert!(!ran.stdout.iter().any(|byte| *byte < b' ' && *byte != b'\n' || *byte == 0x7f));
        assert!(!ran.text().contains('\u{9b}'));
        let find = |name: &str| {
            lines.iter().filter(|line| line["path"] == format!("{prefix}/{name}")).collect::<Vec<_>>()
        };
        assert_eq!(find("link")[0]["target"], "/etc");
        assert_eq!(find("lies")[0]["device"], "8,1");
        assert_eq!(find("huge")[0]["mode"], find("malformed")[0]["mode"]);
        assert!(find("link-of-nothing")[0]["target"].is_null(), "longer than any path");
        assert!(lines.iter().any(|line| line["path_base64"].is_string()), "the name that is no text");
        let modes: Vec<_> =
            find("was-directory").iter().map(|line| line["mode"].as_str().unwrap().len()).collect();
        assert_eq!(modes, if snapshot == "*" { vec![5, 6] } else { vec![6] });
    }
    let inside = client.restore(["--json", &path(&client, "{link,inner,d/state,was-directory}/*")]);
    let lines = told(&inside.text());
    assert!(lines.len() == 1 && lines[0]["snapshot"] == OLD, "{lines:?}");
    let table = client.restore(["--verbose", &path(&client, "*")]).must(0);
    assert!(!table.text().chars().any(|c| c.is_control() && c != '\n'));
    for name in ["--all", "-0", "current", OLD] {
        let listed = client.restore(["--json", "--snapshot", "current", "--", &path(&client, name)]).must(0);
        assert_eq!(told(&listed.text()).len(), 1, "{name}");
    }
}

#[test]
fn clients_and_servers_of_different_versions_understand_each_other() {
    let world = World::new("find-wire");
    let client = Client::enrolled(&world, "web1");
    client.write("file", "one");
    client.backup().must(0);
    world.rename_newest("web1", OLD);
    client.write("file", "two, and longer");
    client.backup().must(0);

    // An older client asks without history, and refuses a field that it does not know.
    let file = path(&client, "file");
    for flags in ["", "--all ", "--verbose ", "--snapshot current "] {
        let text = client.send(format!("byteback-receive --list --json {flags}{file}")).must(0).text();
        let (lines, end) = text.trim_end().rsplit_once('\n').unwrap();
        assert!(end.starts_with(r#"{"schema":1,"entries":"#) && end.ends_with(r#","cut":null}"#), "{end}");
        for line in lines.lines() {
            let line: Value = serde_json::from_str(line).unwrap();
            let mut names: Vec<_> = line.as_object().unwrap().keys().map(String::as_str).collect();
            names.sort_unstable();
            assert_eq!(names, ["gid", "mode", "mtime", "path", "size", "snapshot", "uid"]);
        }
        assert_eq!(
            lines.lines().count(),
            if flags.contains("--all") || flags.contains("verb") { 2 } else { 1 }
        );
    }

    // An older server refuses what it does not know.
    let old = world.file("old-gate");
    let gate = "case $SSH_ORIGINAL_COMMAND in *--history*) echo 'byteback-receive: refused: --history' >&2; exit 3;; esac";
    fs::write(
        &old,
        format!("#!/bin/sh\n{gate}\nexec byteback-receive --client web1 --store {}\n", world.store.display()),
    )
    .unwrap();
    fs::set_permissions(&old, fs::Permissions::from_mode(0o755)).unwrap();
    let keys = fs::read_to_string(world.authorized_keys()).unwrap();
    let keys =
        keys.lines().filter(|line| !line.contains("--client web1")).collect::<Vec<_>>().join("\n") + "\n";
    fs::write(world.authorized_keys(), keys).unwrap();
    world.add_key_line(&format!("restrict,command=\"{}\" {}", old.display(), client.public_key()));
    let listed = client.restore(["--all", &file]).must(0).text();
    assert!(listed.starts_with("snapshot") && listed.lines().count() == 4, "{listed}");
    run(client.program("byteback-restore").args(["--at", "now", "--json", &file])).must(0);
}
