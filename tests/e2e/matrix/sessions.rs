//! What an ssh session offers beside its command, tried with a stolen key at an sshd that allows all of it: with the
//! key line that enrolment writes, without its `restrict`, and without its forced command too.

use std::fs;
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::net::UnixListener;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use nix::unistd::{User, chown};

use super::documented;
use crate::client::Client;
use crate::run::{descendants, program, run, wait_until};
use crate::world::{World, make_key};

/// A session that stays while it is looked at: rsync waits for its client.
const PUSH: &str = "rsync --server -logDtpre.iLsfxCIvu . .";

/// Everything that the key line forbids.
const SSHD: &str = "AllowTcpForwarding yes\nAllowStreamLocalForwarding yes\nAllowAgentForwarding yes\n\
                    X11Forwarding yes\nXAuthLocation /bin/true\nPermitTTY yes\nPermitUserRC yes\n\
                    AcceptEnv INTRUDED\nLoginGraceTime 20\n";

type Deed = for<'a, 'b> fn(&'a Thief<'b>) -> bool;

/// What stands before the key.
const COLUMNS: [&str; 3] = ["restrict,GATE", "GATE", ""];

#[test]
fn a_stolen_key_opens_nothing_beside_its_command() {
    let mut world = World::new("sessions");
    world.start_sshd(SSHD);
    let client = Client::enrolled(&world, "web1");
    client.write("file", "x");
    client.backup().must(0);
    let thieves: Vec<Client<'_>> =
        COLUMNS.iter().enumerate().map(|(at, line)| thief(&world, at, line)).collect();
    let rows: [(&str, Deed); 9] = [
        ("a command of its own", |thief| thief.runs_a_command()),
        ("agent forwarding", |thief| thief.forwards_an_agent()),
        ("environment of rsync", |thief| thief.sets_the_environment()),
        ("forwarding from a port", |thief| thief.listens_on_a_port()),
        ("forwarding from a socket", |thief| thief.listens_on_a_socket()),
        ("forwarding to a port", |thief| thief.reaches_a_port()),
        ("forwarding to a socket", |thief| thief.reaches_a_socket()),
        ("terminal", |thief| thief.gets_a_terminal()),
        ("X11 forwarding", |thief| thief.forwards_x11()),
    ];
    let mut printed = vec![format!("{:<27}restrict and gate   gate alone   neither", "")];
    let mut row = |name: &str, deed: &dyn Fn(&Thief<'_>) -> bool| {
        let worked: Vec<bool> = thieves.iter().map(|client| deed(&Thief { client })).collect();
        let [both, gate, neither] = [0, 1, 2].map(|at| if worked[at] { "X" } else { "." });
        printed.push(format!("{name:<27}{both:<20}{gate:<13}{neither}"));
        assert!(!worked[0], "{name} works");
        assert!(worked[2], "{name} does nothing without any layer: it proves nothing");
    };
    for (name, deed) in rows {
        row(name, &deed);
    }
    // Last: it would run in all sessions.
    row("~/.ssh/rc", &|thief| thief.has_a_script_run());
    let printed = printed.join("\n");
    assert_eq!(
        printed,
        documented("sessions"),
        "docs/threat-model.md says otherwise; this is true:\n{printed}"
    );
}

/// A key of its own for the enrolled client, with this before it.
fn thief<'a>(world: &'a World, number: usize, line: &str) -> Client<'a> {
    let client = Client::stranger(world, &format!("thief{number}"));
    fs::create_dir_all(&client.config).unwrap();
    make_key(&client.key());
    let gate = format!("command=\"{} --client web1\"", program("byteback-receive").display());
    world.add_key_line(format!("{} {}", line.replace("GATE", &gate), client.public_key()).trim());
    client
}

struct Thief<'a> {
    client: &'a Client<'a>,
}

/// A process that is ended when it was looked at.
struct Session(Child);

impl Drop for Session {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// How long a session that was let in may take to have its effect, on a machine that does much else.
const EFFECT: Duration = Duration::from_secs(6);

/// Whether it becomes true soon after a login.
fn soon(mut seen: impl FnMut() -> bool) -> bool {
    let deadline = Instant::now() + EFFECT;
    while !seen() {
        if Instant::now() > deadline {
            return false;
        }
        thread::sleep(Duration::from_millis(20));
    }
    true
}

impl Thief<'_> {
    fn session(&self, options: &[&str], words: &[&str], variables: &[(&str, &str)]) -> Session {
        let mut ssh = self.client.ssh();
        ssh.args(options).arg(self.client.login()).args(words).envs(variables.iter().copied());
        let quiet = ssh.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
        let before = self.logins();
        let session = Session(quiet.spawn().unwrap());
        wait_until("the thief is let in", || self.logins() > before);
        session
    }

    /// How often sshd let somebody in.
    fn logins(&self) -> usize {
        self.world().sshd_log().matches("Accepted publickey").count()
    }

    fn world(&self) -> &World {
        self.client.world
    }

    fn file(&self, name: &str) -> String {
        let path = self.world().store.join(format!("{name}-{}", self.client.name));
        path.to_str().unwrap().to_owned()
    }

    fn runs_a_command(&self) -> bool {
        run(self.client.ssh().arg(self.client.login()).arg("echo in$((40 + 2))")).all().contains("in42")
    }

    fn forwards_an_agent(&self) -> bool {
        let own = self.world().file(&format!("agent-of-{}", self.client.name));
        let mut agent = Command::new("ssh-agent");
        let _agent = Session(agent.args(["-D", "-a"]).arg(&own).stdout(Stdio::null()).spawn().unwrap());
        wait_until("ssh-agent is there", || own.exists());
        let sockets = || {
            let all = fs::read_to_string("/proc/net/unix").unwrap();
            all.lines().filter(|line| line.contains("/agent") && !line.contains("agent-of-")).count()
        };
        let before = sockets();
        let _session = self.session(&["-A"], &["--", PUSH], &[("SSH_AUTH_SOCK", own.to_str().unwrap())]);
        soon(|| sockets() > before)
    }

    fn sets_the_environment(&self) -> bool {
        let _session = self.session(&["-o", "SetEnv=INTRUDED=yes"], &["--", PUSH], &[]);
        let told = || {
            let all = descendants(self.world().sshd_pid());
            let rsyncs = all.iter().filter(|(_, name)| name == "rsync");
            let environments = rsyncs.filter_map(|(pid, _)| fs::read(format!("/proc/{pid}/environ")).ok());
            environments.filter(|text| String::from_utf8_lossy(text).contains("INTRUDED=yes")).count()
        };
        soon(|| told() > 0)
    }

    fn listens_on_a_port(&self) -> bool {
        let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let _session = self.session(&["-N", "-R", &format!("127.0.0.1:{free}:127.0.0.1:1")], &[], &[]);
        soon(|| TcpStream::connect(("127.0.0.1", free)).is_ok())
    }

    fn listens_on_a_socket(&self) -> bool {
        let place = self.file("socket");
        let _session = self.session(&["-N", "-R", &format!("{place}:127.0.0.1:1")], &[], &[]);
        soon(|| fs::symlink_metadata(&place).is_ok())
    }

    fn reaches_a_port(&self) -> bool {
        let sink = TcpListener::bind("127.0.0.1:0").unwrap();
        sink.set_nonblocking(true).unwrap();
        let _session = self.session(&["-W", &sink.local_addr().unwrap().to_string()], &[], &[]);
        soon(|| sink.accept().is_ok())
    }

    fn reaches_a_socket(&self) -> bool {
        let place = self.world().file(&format!("sink-{}", self.client.name));
        let sink = UnixListener::bind(&place).unwrap();
        fs::set_permissions(&place, fs::Permissions::from_mode(0o777)).unwrap();
        sink.set_nonblocking(true).unwrap();
        let own = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let _session = self.session(&["-N", "-L", &format!("{own}:{}", place.display())], &[], &[]);
        soon(|| TcpStream::connect(own).is_ok() && sink.accept().is_ok())
    }

    fn gets_a_terminal(&self) -> bool {
        let user = User::from_name(&self.world().user).unwrap().unwrap().uid.as_raw();
        let _session = self.session(&["-tt"], &["--", PUSH], &[]);
        let terminals = || {
            let all = fs::read_dir("/dev/pts").unwrap().flatten();
            all.filter(|entry| entry.metadata().is_ok_and(|seen| seen.uid() == user)).count()
        };
        soon(|| terminals() > 0)
    }

    fn forwards_x11(&self) -> bool {
        let reached = || (6010..6030).any(|port| TcpStream::connect(("127.0.0.1", port)).is_ok());
        wait_until("the last session's display is gone", || !reached());
        let _session = self.session(&["-Y"], &["--", PUSH], &[("DISPLAY", "127.0.0.1:99")]);
        soon(reached)
    }

    fn has_a_script_run(&self) -> bool {
        // Another session that is still about to begin would run it as well.
        wait_until("no other session is left", || descendants(self.world().sshd_pid()).is_empty());
        let (rc, deed) = (self.world().store.join(".ssh/rc"), self.file("rc-was-here"));
        fs::write(&rc, format!("touch {deed}\n")).unwrap();
        let user = User::from_name(&self.world().user).unwrap().unwrap();
        chown(&rc, Some(user.uid), Some(user.gid)).unwrap();
        run(self.client.ssh().arg(self.client.login()).arg("byteback-receive --ping"));
        fs::remove_file(&rc).unwrap();
        fs::exists(&deed).unwrap()
    }
}
