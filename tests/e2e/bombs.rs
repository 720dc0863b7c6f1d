//! Trees and streams that are made to be too much: for the memory, for the stack, for whoever believes a size. A client
//! may hurt itself with them; its server, its snapshots and the other clients go on.

use std::ffi::CString;
use std::fs::{self, File};
use std::os::fd::OwnedFd;
use std::os::unix::fs::chown;
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use nix::fcntl::{OFlag, openat};
use nix::sys::stat::{Mode, mkdirat};
use nix::unistd::{Pid, User};

use crate::client::Client;
use crate::run::{descendants, run, tool, wait_until};
use crate::world::World;

/// An rsync server that is asked to restore by the former program.
const OLD_RESTORE: &str =
    "byteback-restore --fake-super --snapshot * --server --sender -logDtpRXe.iLsfxCIvu --inplace .";

fn give_to_store(world: &World, path: &Path) {
    let user = User::from_name(&world.user).unwrap().unwrap();
    chown(path, Some(user.uid.as_raw()), Some(user.gid.as_raw())).unwrap();
}

/// A key line's gate with a configuration of its own.
fn configure(world: &World, client: &Client<'_>, text: &str) {
    let config = world.server_config(&format!("{}.toml", client.name), text);
    let keys = fs::read_to_string(world.authorized_keys()).unwrap();
    let call = format!("--client {}", client.name);
    let with = format!("{call} --config {}", config.display());
    assert!(keys.contains(&call));
    if !keys.contains(&with) {
        fs::write(world.authorized_keys(), keys.replace(&call, &with)).unwrap();
    }
}

fn snapshot(world: &World, client: &str, name: &str) {
    let (from, to) = (world.current(client), world.store.join(client).join(name));
    tool("btrfs", ["subvolume", "snapshot", "-r"].map(Path::new).into_iter().chain([from.as_path(), &to]));
    give_to_store(world, &from);
}

/// The gate of a session and the copy of itself that searches for it.
fn gate_and_searcher(world: &World) -> Option<(Pid, Pid)> {
    let all = descendants(world.sshd_pid());
    let mut gates = all.iter().filter(|(_, name)| name.starts_with("byteback-rec")).map(|(pid, _)| *pid);
    Some((gates.next()?, gates.next()?))
}

fn status_of(pid: Pid, field: &str) -> String {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix(field)).unwrap_or_default();
    line.trim_start_matches(':').trim().to_owned()
}

/// A search that takes a while: many names in many snapshots.
fn make_search_long(world: &World, client: &str) {
    let directory = world.current(client).join("many");
    fs::create_dir(&directory).unwrap();
    for number in 0..20_000 {
        File::create(directory.join(format!("{number}-{}", "a".repeat(60)))).unwrap();
    }
    for number in 0..100 {
        snapshot(world, client, &format!("2020-01-{:02}T{:02}:00+0000", number / 20 + 1, number % 20));
    }
}

#[test]
fn a_hostile_tree_is_searched_by_a_confined_copy_that_ends_with_its_client() {
    let world = World::new("searcher");
    let client = Client::enrolled(&world, "web1");
    client.send("byteback-receive --ping").must(0);
    make_search_long(&world, "web1");
    let patterns = "/**/*a*a*a*a*a*a*nothing";
    for command in [format!("byteback-receive --list --json {patterns}"), format!("{OLD_RESTORE} {patterns}")]
    {
        let mut ssh = client.ssh();
        ssh.arg(client.login()).arg("--").arg(&command);
        let mut session =
            ssh.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let searches = || {
            gate_and_searcher(&world).is_some_and(|(gate, copy)| {
                status_of(copy, "Seccomp") == "2" && status_of(gate, "Seccomp") == "0"
            })
        };
        wait_until("a confined copy searches", searches);
        let (gate, copy) = gate_and_searcher(&world).unwrap();
        assert_eq!(status_of(copy, "NoNewPrivs"), "1");
        // stdin, stdout, stderr, what it found, the trees, and one directory that it reads: no lock, no log.
        let open =
            fs::read_dir(format!("/proc/{copy}/fd")).unwrap().map(|fd| fs::read_link(fd.unwrap().path()));
        let foreign: Vec<_> = open
            .filter_map(Result::ok)
            .filter(|target| target.starts_with(world.store.join(".byteback")))
            .collect();
        assert!(foreign.is_empty(), "{foreign:?}");
        let began = Instant::now();
        session.kill().unwrap();
        session.wait().unwrap();
        let ended = || [gate, copy].iter().all(|pid| !Path::new(&format!("/proc/{pid}")).exists());
        wait_until("nobody searches", ended);
        assert!(began.elapsed() < Duration::from_secs(25), "{:?}", began.elapsed());
    }
    wait_until("the log says so", || {
        world
            .log_lines()
            .iter()
            .any(|line| line.contains("failed client=web1") && line.contains("connection was lost"))
    });
}

#[test]
fn a_search_is_bounded_in_time_and_memory_and_says_so() {
    let world = World::new("search-bounds");
    let client = Client::enrolled(&world, "web1");
    client.send("byteback-receive --ping").must(0);
    make_search_long(&world, "web1");
    configure(&world, &client, "log = 'file'\nio_timeout = '1s'\n");
    let slow = "/**/*a*a*a*a*a*a*nothing";
    client
        .send(format!("byteback-receive --list --json {slow}"))
        .must(1)
        .must_say("the search took longer than 1 seconds");
    client.send(format!("{OLD_RESTORE} {slow}")).must(1).must_say("the search took longer than 1 seconds");
    configure(&world, &client, "log = 'file'\nmax_memory = '4M'\n");
    for json in ["--json ", ""] {
        let listed = client.send(format!("byteback-receive --list --all {json}/**"));
        assert_eq!(listed.code(), 1, "{}", listed.text().len());
        let said = String::from_utf8_lossy(&listed.stderr).into_owned();
        assert!(said.contains("it may use 4 MiB of memory"), "{said}");
    }
    assert!(world.log_lines().iter().any(|line| line.contains("failed client=web1")));
    client.send("byteback-receive --ping").must(0);
}

/// Directories in directories, deeper than any path can name.
fn dig(root: &Path, depth: usize) -> OwnedFd {
    let mut at: OwnedFd = File::open(root).unwrap().into();
    for _ in 0..depth {
        let name = CString::new("d").unwrap();
        mkdirat(&at, name.as_c_str(), Mode::from_bits_truncate(0o700)).unwrap();
        let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY;
        at = openat(&at, name.as_c_str(), flags, Mode::empty()).unwrap();
    }
    at
}

#[test]
fn a_tree_deeper_than_any_path_hurts_only_its_own_client() {
    let world = World::new("deep");
    let client = Client::enrolled(&world, "web1");
    let other = Client::enrolled(&world, "web2");
    other.write("file", "x");
    client.write("file", "x");
    client.backup().must(0);
    dig(&world.current("web1"), 6_000);
    tool(
        "chown",
        [
            "-R".into(),
            format!("{0}:{0}", world.user),
            world.current("web1").into_os_string().into_string().unwrap(),
        ],
    );
    world.rename_newest("web1", "2020-01-05T12:00+0000");
    run(world.server("byteback-snapshot").args(["--client", "web1"])).must(0);
    let newest = world.snapshots("web1").into_iter().max().unwrap();

    // What is not searched is told.
    let listed =
        client.send(format!("byteback-receive --snapshot {newest} --list --json /**")).must(0).text();
    assert!(listed.lines().count() > 250, "{}", listed.lines().count());
    assert!(listed.lines().last().unwrap().contains("deep were not searched"), "{:?}", listed.lines().last());
    client.send(format!("byteback-receive --list --json {}/file", client.tree.display())).must(0);
    let restored = client.send(format!("{OLD_RESTORE} /**/file"));
    assert!(restored.code() < 128, "{}", restored.story());
    // rsync gives up on what it cannot name, and ends.
    let back = world.clients.join("back");
    let ran = run(&mut client.rsync(["-a", "HOST:current/", &format!("{}/", back.display())]));
    assert!([0, 23].contains(&ran.code()), "{}", ran.code());
    client.backup();
    run(world.server("byteback-prune").arg("--list")).must(0);
    other.backup().must(0);
    // Snapshots of it can be thrown away.
    tool(
        "btrfs",
        ["subvolume".as_ref(), "delete".as_ref(), world.store.join("web1").join(&newest).as_os_str()],
    );
}

#[test]
fn a_file_that_claims_to_be_larger_than_the_world_takes_no_room() {
    let world = World::new("sparse");
    let client = Client::enrolled(&world, "web1");
    client.write("file", "x");
    client.backup().must(0);
    let before = world.free();
    let tree = client.tree_in(&world.current("web1"));
    for name in ["sparse1", "sparse2", "sparse3"] {
        let bomb = File::create(tree.join(name)).unwrap();
        bomb.set_len((1 << 63) - 4096).unwrap();
        give_to_store(&world, &tree.join(name));
    }
    world.rename_newest("web1", "2020-01-05T12:00+0000");
    run(world.server("byteback-snapshot").args(["--client", "web1"])).must(0);
    let newest = world.snapshots("web1").into_iter().max().unwrap();
    let listed = client
        .send(format!("byteback-receive --snapshot {newest} --list --json {}/*", client.tree.display()));
    assert_eq!(listed.must(0).text().matches("9223372036854771712").count(), 3);
    run(world.server("byteback-prune").arg("--list")).must(0);
    assert!(before - world.free().min(before) < 50 << 20, "{} of {before} are left", world.free());
    // The next backup takes them away: they are not on the client.
    client.backup().must(0);
    assert!(!tree.join("sparse1").exists());
}

#[test]
fn a_stream_that_swells_takes_disk_and_no_memory() {
    let world = World::new("swell");
    let client = Client::enrolled(&world, "web1");
    client.send("byteback-receive --ping").must(0);
    configure(&world, &client, "log = 'file'\nmax_memory = '48M'\n");
    // It holds nothing but zeros: a megabyte on the wire becomes a thousand in the store.
    File::create(client.tree.join("zeros")).unwrap().set_len(600 << 20).unwrap();
    let from = format!("{}/", client.tree.display());
    for options in [&["-z", "--compress-level=9"][..], &["-z", "--old-compress"], &["-zS"]] {
        let _ = fs::remove_file(world.current("web1").join("zeros"));
        let words = ["-a"].into_iter().chain(options.iter().copied()).chain([from.as_str(), "HOST:"]);
        run(&mut client.rsync(words)).must(0);
        assert_eq!(fs::metadata(world.current("web1").join("zeros")).unwrap().len(), 600 << 20);
    }
}
