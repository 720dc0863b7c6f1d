//! What a program does that runs inside the cage in rsync's place: `intruder.c` tries, this looks what became of it.

use std::fs;
use std::net::{TcpListener, UdpSocket};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{SocketAddr, UnixListener};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use nix::fcntl::{FcntlArg, fcntl};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::cell::{Cell, SNAPSHOT, says};
use crate::run::{is_alive, tool};

const PUSH: &str = "rsync --server -logDtpre.iLsfxCIvu . .";
const PULL: &str = "rsync --server --sender -logDtpre.iLsfxCIvu . ";

/// Things of others that a process could reach without any file.
struct Surroundings {
    unix: UnixListener,
    hidden: UnixListener,
    tcp: TcpListener,
    udp: UdpSocket,
    /// Processes of the store's user.
    others: Vec<Child>,
    shared_memory: i32,
}

impl Surroundings {
    fn new(cell: &Cell<'_>) -> Self {
        let path = cell.world.file(&format!("listener{}", cell.column.number));
        let unix = UnixListener::bind(&path).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o777)).unwrap();
        let hidden = format!("byteback-matrix-{}", cell.column.number);
        let hidden = UnixListener::bind_addr(&SocketAddr::from_abstract_name(hidden).unwrap()).unwrap();
        let (tcp, udp) = (TcpListener::bind("127.0.0.1:0").unwrap(), UdpSocket::bind("127.0.0.1:0").unwrap());
        for set in [
            unix.set_nonblocking(true),
            hidden.set_nonblocking(true),
            tcp.set_nonblocking(true),
            udp.set_nonblocking(true),
        ] {
            set.unwrap();
        }
        let other = |_| cell.world.as_user(["sleep", "500"]).stdin(Stdio::null()).spawn().unwrap();
        let others = (0..4).map(other).collect();
        Surroundings {
            unix,
            hidden,
            tcp,
            udp,
            others,
            shared_memory: 0x6261_0000 + i32::try_from(cell.column.number).unwrap(),
        }
    }

    fn orders(&self, cell: &Cell<'_>, doomed: &str) -> String {
        let id = tool(
            "btrfs",
            ["inspect-internal".as_ref(), "rootid".as_ref(), cell.prey.join(doomed).as_os_str()],
        );
        let others: Vec<String> = self.others.iter().map(|child| child.id().to_string()).collect();
        format!(
            "{} {} {} byteback-matrix-{} {} {} {} {} {}",
            cell.prey.display(),
            cell.keys.display(),
            cell.world.file(&format!("listener{}", cell.column.number)).display(),
            cell.column.number,
            others.join(" "),
            self.tcp.local_addr().unwrap().port(),
            self.udp.local_addr().unwrap().port(),
            self.shared_memory,
            id.trim()
        )
    }

    fn proc(&self, number: usize, file: &str) -> String {
        fs::read_to_string(format!("/proc/{}/{file}", self.others[number].id())).unwrap_or_default()
    }
}

impl Drop for Surroundings {
    fn drop(&mut self) {
        // No end of a process takes it back, and the sandbox shares this table with the machine.
        let _ = Command::new("ipcrm").arg("-M").arg(self.shared_memory.to_string()).output();
        for other in &mut self.others {
            let _ = other.kill();
            let _ = other.wait();
        }
    }
}

/// Runs all deeds of a push and of a restore; which of them had an effect?
pub fn judge(cell: &Cell<'_>) -> Vec<(&'static str, bool)> {
    let around = Surroundings::new(cell);
    let secret = format!("secret-of-column-{}", cell.column.number);
    for name in ["secret", "overwritten", "deleted"] {
        cell.file(&cell.prey.join(name), &secret);
    }
    cell.file(&cell.current.join("own-file"), "x");
    cell.program("own-setuid");
    cell.file(&cell.current.join("orders"), &around.orders(cell, "doomed-by-a-restore"));
    cell.snapshot();
    cell.file(&cell.current.join("orders"), &around.orders(cell, "doomed"));

    let pushed = cell.intruder.send(PUSH).must_say("end of deeds").text();
    let mut found = files(cell, &pushed, &secret);
    found.extend(kernel(cell, &around, &pushed));
    let thawed_in_push = cell.snapshot_is_writable();
    cell.freeze_again(); // of a writable one the gate would send nothing
    let pulled = cell.intruder.send(format!("{PULL}{SNAPSHOT}/")).must_say("thaw-in-pull").text();
    found.extend([
        ("in push: thaw snapshot", thawed_in_push),
        ("in pull: read other client", pulled.contains(&secret)),
        ("in pull: write current", cell.current.join("by-a-restore").exists()),
        ("in pull: delete subvolume", !cell.prey.join("doomed-by-a-restore").exists()),
        ("in pull: thaw snapshot", cell.snapshot_is_writable()),
    ]);
    found
}

fn files(cell: &Cell<'_>, said: &str, secret: &str) -> Vec<(&'static str, bool)> {
    let there = |name: &str| cell.prey.join(name).exists();
    let mode = fs::metadata(&cell.keys).unwrap().permissions().mode() & 0o777;
    // Root runs it: the kernel gives it the owner's rights only where it honours the bit.
    let setuid = cell.current.join("own-setuid");
    let ran = Command::new(&setuid)
        .output()
        .map_or(String::new(), |ran| String::from_utf8_lossy(&ran.stdout).into_owned());
    vec![
        ("in push: read other client", said.contains(&format!("read got {secret}"))),
        ("in push: create file", there("created")),
        ("in push: overwrite file", says(&cell.prey.join("overwritten")).contains("burgled")),
        ("in push: delete file", !there("deleted")),
        ("in push: add to key file", says(&cell.keys).contains("burgled")),
        ("in push: chmod key file", mode == 0o644),
        ("in push: xattr of key file", xattr::get(&cell.keys, "user.burgled").unwrap().is_some()),
        ("in push: stat other's file", said.contains("stat got size")),
        ("in push: make symlink", cell.current.join("own-link").is_symlink()),
        ("in push: setuid program", ran.contains(&format!("ran as {}", cell.uid()))),
    ]
}

fn kernel(cell: &Cell<'_>, around: &Surroundings, said: &str) -> Vec<(&'static str, bool)> {
    let alive = |number: usize| is_alive(Pid::from_raw(i32::try_from(around.others[number].id()).unwrap()));
    let limits = around.proc(1, "limits");
    let limited = limits.lines().any(|line| line.starts_with("Max open files") && line.contains(" 0 "));
    let stat = around.proc(3, "stat");
    let nice = stat.rsplit(')').next().and_then(|rest| rest.split_whitespace().nth(16).map(str::to_owned));
    let memory = fs::read_to_string("/proc/sysvipc/shm").unwrap_or_default();
    let key = around.shared_memory.to_string();
    let mut byte = [0; 16];
    vec![
        ("in push: unix socket", around.unix.accept().is_ok()),
        ("in push: abstract socket", around.hidden.accept().is_ok()),
        ("in push: TCP", around.tcp.accept().is_ok()),
        ("in push: UDP", around.udp.recv(&mut byte).is_ok()),
        ("in push: run upload", said.contains("exec-upload ran as")),
        ("in push: run by loader", said.contains("exec-loader ran as")),
        ("in push: run from memory", said.contains("exec-memory ran as")),
        ("in push: write in /proc", around.proc(2, "oom_score_adj").trim() == "777"),
        ("in push: kill a process", !alive(0)),
        ("in push: limit a process", limited),
        ("in push: slow a process", nice.as_deref() == Some("19")),
        ("in push: keep memory", memory.lines().any(|line| line.split_whitespace().next() == Some(&key))),
        ("in push: outlive session", left_behind(&cell.current.join("left-behind"))),
        ("in push: delete subvolume", !cell.prey.join("doomed").exists()),
        ("in push: user namespace", said.contains("user-namespace got one")),
    ]
}

/// A process that is still there although its session has ended, so that its lock is; ends it.
fn left_behind(note: &Path) -> bool {
    let Ok(file) = fs::File::open(note) else { return false };
    let mut lock = nix::libc::flock {
        l_type: i16::try_from(nix::libc::F_WRLCK).unwrap(),
        l_whence: 0,
        l_start: 0,
        l_len: 0,
        l_pid: 0,
    };
    fcntl(&file, FcntlArg::F_GETLK(&mut lock)).unwrap();
    let lives = i32::from(lock.l_type) != nix::libc::F_UNLCK;
    if lives {
        kill(Pid::from_raw(lock.l_pid), Signal::SIGKILL).unwrap();
    }
    lives
}
