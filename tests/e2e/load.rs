//! Many at once, most of them up to no good; clients that fall silent or are cut off; and what the gate
//! itself costs while it waits.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use nix::fcntl::{Flock, FlockArg};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::client::Client;
use crate::compare::assert_equal_both_ways;
use crate::run::{Ran, Running, descendants, is_alive, run, start, wait_until};
use crate::torture::noise;
use crate::world::World;

const PUSH: &str = "rsync --server -logDtpre.iLsfxCIvu --timeout=3 . .";
/// How long the good ones may take on two slow cores, all the bad ones beside them.
const BOUND: Duration = Duration::from_secs(50);

#[test]
fn fifty_clients_are_served_among_a_hundred_and_fifty_that_are_up_to_no_good() {
    let mut world = World::new("load");
    world.start_sshd("MaxStartups 400\nMaxSessions 400\nLoginGraceTime 60\n");
    let clients: Vec<Client> =
        (0..10).map(|number| Client::enrolled(&world, &format!("good{number}"))).collect();
    for (number, client) in clients.iter().enumerate() {
        client.write("file", noise(number as u64, 200_000));
        client.write("dir/other", "x");
    }
    let thief = Client::enrolled(&world, "thief");
    thief.write("file", "x");

    let began = Instant::now();
    let mut garbage = Garbage::default();
    let mut good = Vec::new();
    for round in 0..10 {
        garbage.add_fifteen(&thief, round);
        for client in &clients[round..=round] {
            good.extend(five_good_ones(client));
        }
    }
    assert_eq!((garbage.count(), good.len()), (150, 50));
    let all_open = began.elapsed();
    let at_once = descendants(world.sshd_pid()).len();
    for running in good {
        running.wait().must(0);
    }
    let took = began.elapsed();
    eprintln!(
        "load: 200 connections opened in {:.1} s, {at_once} server processes then; \
         the 50 good ones had all ended after {:.1} s",
        all_open.as_secs_f32(),
        took.as_secs_f32()
    );
    assert!(took < BOUND, "the good ones took {took:?}");
    garbage.end();

    wait_until("no process is left", || descendants(world.sshd_pid()).is_empty());
    wait_until("no process of the store's user is left", || processes_of(&world).is_empty());
    for lock in locks(&world) {
        assert!(is_free(&lock), "{} is still held", lock.display());
    }
    for client in &clients {
        let ran =
            run(&mut client.rsync(["-a", "HOST:current/", &format!("{}/", restored(client).display())]));
        ran.must(0);
        assert_equal_both_ways(&client.tree, &restored(client));
        assert_eq!(names_below(&world.current(&client.name)), ["dir", "dir/other", "file"]);
    }
    assert!(names_below(&world.current("thief")).iter().all(|name| !name.contains("/.")), "temporary files");
    assert_state_is_known(&world);
}

/// Nothing lies in the server's state directory but what has its place there.
fn assert_state_is_known(world: &World) {
    let state = names_below(&world.store.join(".byteback"));
    let known = |name: &String| {
        let is_ballast = name.split('/').next() == Some("ballast");
        let name = name.rsplit('/').next().unwrap();
        [
            "clients",
            "restores",
            "lock",
            "push.json",
            "verdicts",
            "log",
            "thief",
            "keys.lock",
            "rsync.json",
            "noted.json",
            "noted.lock",
            "prune.lock",
            "records.lock",
            "runs.json",
        ]
        .contains(&name)
            || is_ballast
            || name.starts_with("good")
            || name.parse::<u32>().is_ok()
    };
    assert!(state.iter().all(known), "{state:?}");
}

fn restored(client: &Client) -> PathBuf {
    client.world.clients.join(format!("restored-{}", client.name))
}

/// Two pings, two lists, one push.
fn five_good_ones(client: &Client) -> Vec<Running> {
    let ask = |command: &str| start(client.ssh().arg(client.login()).arg("--").arg(command));
    let from = format!("{}/", client.tree.display());
    vec![
        ask("byteback-receive --ping --json"),
        ask("byteback-receive --ping "),
        ask("byteback-receive --list --json /*"),
        ask("byteback-receive --snapshot * --list /file"),
        start(&mut client.rsync(["-a", "--timeout=60", &from, "HOST:"])),
    ]
}

/// Everything that was started to be in the way.
#[derive(Default)]
struct Garbage {
    silent: Vec<TcpStream>,
    sessions: Vec<Child>,
    ended: Vec<Running>,
}

impl Garbage {
    fn count(&self) -> usize {
        self.silent.len() + self.sessions.len() + self.ended.len()
    }

    fn add_fifteen(&mut self, thief: &Client, round: usize) {
        let world = thief.world;
        let connect = || TcpStream::connect(("127.0.0.1", world.port)).unwrap();
        // Connections that say nothing, that say nonsense, that stop in the middle of the greeting.
        self.silent.extend([connect(), connect()]);
        for greeting in
            [noise(round as u64, 5_000), b"SSH-2.0-x\r\n".to_vec(), b"GET / HTTP/1.1\r\n".to_vec()]
        {
            let mut stream = connect();
            let _ = stream.write_all(&greeting); // sshd may have hung up
            self.silent.push(stream);
        }
        // Requests that are none.
        let random =
            noise(99 + round as u64, 300).iter().map(|byte| char::from(byte % 94 + 33)).collect::<String>();
        for command in
            [&*random, "rsync --server --daemon .", "/bin/sh -i", "rsync --server -s", &"a ".repeat(9_000)]
        {
            self.ended.push(start(thief.ssh().arg(thief.login()).arg("--").arg(command)));
        }
        // Handshakes that stop somewhere, and restores that nobody reads.
        let pull = "rsync --server --sender -logDtpre.iLsfxCIvu --timeout=3 . current/";
        let said: [(&str, Vec<u8>); 5] = [
            (PUSH, Vec::new()),
            (PUSH, vec![31, 0, 0, 0]),
            (PUSH, [vec![31, 0, 0, 0], noise(round as u64, 3_000)].concat()),
            (pull, vec![31, 0]),
            (pull, [vec![31, 0, 0, 0, 0, 0, 0, 0], noise(7, 50)].concat()),
        ];
        for (command, bytes) in said {
            self.sessions.push(session(thief, command, &bytes));
        }
    }

    fn end(self) {
        drop(self.silent);
        for mut session in self.sessions {
            let _ = session.kill();
            let _ = session.wait();
        }
        for running in self.ended {
            running.wait().must_fail();
        }
    }
}

/// A session that says this and then nothing, and stays.
fn session(client: &Client, command: &str, says: &[u8]) -> Child {
    let mut ssh = client.ssh();
    ssh.arg(client.login()).arg("--").arg(command);
    let mut child = ssh.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let _ = child.stdin.as_mut().unwrap().write_all(says); // it may have been refused already
    child
}

fn processes_of(world: &World) -> Vec<String> {
    let store_owner = fs::metadata(&world.store).unwrap().uid();
    let all = fs::read_dir("/proc").unwrap().flatten().map(|entry| entry.path());
    let own = all.filter(|path| {
        path.join("exe").symlink_metadata().is_ok()
            && fs::metadata(path).is_ok_and(|seen| seen.uid() == store_owner)
    });
    own.filter_map(|path| fs::read_to_string(path.join("cmdline")).ok())
        .filter(|line| !line.is_empty())
        .collect()
}

fn locks(world: &World) -> Vec<PathBuf> {
    let state = world.store.join(".byteback");
    let clients =
        fs::read_dir(state.join("clients")).unwrap().map(|entry| entry.unwrap().path().join("lock"));
    let restores =
        fs::read_dir(state.join("restores")).into_iter().flatten().map(|entry| entry.unwrap().path());
    let found: Vec<_> = clients.filter(|path| path.exists()).chain(restores).collect();
    assert!(!found.is_empty());
    found
}

fn is_free(lock: &Path) -> bool {
    Flock::lock(File::open(lock).unwrap(), FlockArg::LockExclusiveNonblock).is_ok()
}

fn names_below(root: &Path) -> Vec<String> {
    let mut names = Vec::new();
    let mut open = vec![root.to_owned()];
    while let Some(directory) = open.pop() {
        for entry in fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            names.push(path.strip_prefix(root).unwrap().to_string_lossy().into_owned());
            if path.is_dir() {
                open.push(path);
            }
        }
    }
    names.sort();
    names
}

fn writer_lock(client: &Client) -> PathBuf {
    client.world.store.join(".byteback/clients").join(&client.name).join("lock")
}

/// The gate of the one session of this world.
fn gate(world: &World) -> Pid {
    let find =
        || descendants(world.sshd_pid()).into_iter().find(|(_, name)| name.starts_with("byteback-rec"));
    wait_until("the gate runs", || find().is_some());
    find().unwrap().0
}

fn next_push(client: &Client) -> Ran {
    let from = format!("{}/", client.tree.display());
    run(&mut client.rsync(["-a", &from, "HOST:"]))
}

#[test]
fn a_client_that_starts_a_push_and_says_nothing_is_ended() {
    let world = World::new("silent-start");
    let client = Client::enrolled(&world, "web1");
    client.write("file", "x");
    let began = Instant::now();
    let mut silent = session(&client, PUSH, &[]);
    let status = wait_for_end(&mut silent);
    let took = began.elapsed();
    assert_ne!(status, 0);
    assert!(took > Duration::from_secs(2) && took < Duration::from_secs(20), "ended after {took:?}");
    assert_log(&world, "ended client=web1 peer=127.0.0.1 request=push");
    next_push(&client).must(0);
}

/// rsync's own timeout does not see this one: its keep-alives fit into the socket.
#[test]
fn a_client_that_falls_silent_in_the_middle_is_stopped_and_told_why() {
    let world = World::new("silent-middle");
    let client = Client::enrolled(&world, "web1");
    client.write("large", noise(31, 8_000_000));
    let from = format!("{}/", client.tree.display());
    let running = start(&mut client.rsync(["-a", "--timeout=3", "--bwlimit=500", &from, "HOST:"]));
    wait_until("the push is in the middle", || !names_below(&world.current("web1")).is_empty());
    let silent = stop_all_but_ssh(&running);
    let began = Instant::now();
    wait_until("the lock is free", || is_free(&writer_lock(&client)));
    let took = began.elapsed();
    eprintln!("a silent client was ended after {:.1} s", took.as_secs_f32());
    assert!(took < Duration::from_secs(20), "{took:?}");
    assert_log(
        &world,
        "ended client=web1 peer=127.0.0.1 request=push reason=nothing came from the client for 3 seconds",
    );
    next_push(&client).must(0);
    for pid in silent {
        let _ = kill(pid, Signal::SIGCONT);
    }
    running
        .wait()
        .must_fail()
        .must_say("byteback-receive: stopped: nothing came from the client for 3 seconds");
}

/// Stops the client's rsync; its ssh stays connected and alive.
fn stop_all_but_ssh(running: &Running) -> Vec<Pid> {
    let below = running.descendants().into_iter().filter(|(_, name)| name != "ssh").map(|(pid, _)| pid);
    let all: Vec<Pid> = below.chain([running.pid()]).collect();
    for pid in &all {
        kill(*pid, Signal::SIGSTOP).unwrap();
    }
    all
}

#[test]
fn a_connection_that_is_cut_with_data_in_flight_frees_the_lock() {
    let world = World::new("cut");
    let client = Client::enrolled(&world, "web1");
    client.write("large", noise(32, 8_000_000));
    let from = format!("{}/", client.tree.display());
    let running = start(&mut client.rsync(["-a", "--bwlimit=500", &from, "HOST:"]));
    wait_until("the push is in the middle", || !names_below(&world.current("web1")).is_empty());
    let gate = gate(&world);
    assert!(!is_free(&writer_lock(&client)));
    let ssh = running.descendant("ssh");
    let began = Instant::now();
    kill(ssh, Signal::SIGKILL).unwrap();
    wait_until("the lock is free", || is_free(&writer_lock(&client)));
    let took = began.elapsed();
    eprintln!("a cut connection freed its lock after {:.2} s", took.as_secs_f32());
    assert!(took < Duration::from_secs(15), "{took:?}");
    wait_until("the gate has gone", || !is_alive(gate));
    running.wait().must_fail();
    next_push(&client).must(0);
}

fn wait_for_end(child: &mut Child) -> i32 {
    let mut status = None;
    wait_until("the session ends", || {
        status = child.try_wait().unwrap();
        status.is_some()
    });
    let mut said = String::new();
    child.stderr.take().unwrap().read_to_string(&mut said).unwrap();
    eprintln!("it was told: {said}");
    status.and_then(|status| status.code()).unwrap_or(-1)
}

fn assert_log(world: &World, words: &str) {
    wait_until("the log says it", || world.log_lines().iter().any(|line| line.contains(words)));
}

/// Kilobytes (proc(5)).
fn resident(pid: Pid) -> u32 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

/// A debug build is larger, and what it maps counts as its memory; the promise is about what is shipped.
#[test]
fn the_gate_stays_below_four_megabytes_while_it_watches() {
    let world = World::new("gate-memory");
    let client = Client::enrolled(&world, "web1");
    client.write("large", noise(33, 4_000_000));
    let from = format!("{}/", client.tree.display());
    let running = start(&mut client.rsync(["-a", "--bwlimit=1000", &from, "HOST:"]));
    wait_until("the push is in the middle", || !names_below(&world.current("web1")).is_empty());
    let resident = resident(gate(&world));
    let shipped = !cfg!(debug_assertions);
    eprintln!(
        "VmRSS of byteback-receive in a {} build: {resident} kB",
        if shipped { "release" } else { "debug" }
    );
    assert!(resident < if shipped { 4 * 1024 } else { 16 * 1024 }, "{resident} kB");
    running.wait().must(0);
}
