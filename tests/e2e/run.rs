//! Running programs: nothing waits for ever, and a wrong end shows all that was printed.

use std::ffi::OsStr;
use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::{Read, Seek, SeekFrom};
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// The longest that any one program may take.
const PATIENCE: Duration = Duration::from_secs(180);

/// A program that was started and not yet waited for; both its outputs go to files.
pub struct Running {
    child: Child,
    shown: String,
    stdout: File,
    stderr: File,
}

/// How a program ended and what it printed.
pub struct Ran {
    pub status: ExitStatus,
    pub stdout: Vec<u8>,
    pub stderr: Vec<u8>,
    shown: String,
}

/// Starts it, with nothing on stdin unless the command says otherwise.
pub fn start(command: &mut Command) -> Running {
    let (stdout, stderr) = (tempfile::tempfile().unwrap(), tempfile::tempfile().unwrap());
    let shown = shown(command);
    let child = command
        .stdin(Stdio::null())
        .stdout(stdout.try_clone().unwrap())
        .stderr(stderr.try_clone().unwrap())
        .spawn()
        .unwrap_or_else(|error| panic!("cannot start {shown}: {error}"));
    Running { child, shown, stdout, stderr }
}

/// Runs it to its end.
pub fn run(command: &mut Command) -> Ran {
    start(command).wait()
}

/// Runs a tool of the system that must succeed; gives what it printed.
pub fn tool(program: &str, words: impl IntoIterator<Item = impl AsRef<OsStr>>) -> String {
    run(Command::new(program).args(words)).must(0).text()
}

/// Waits until the condition holds; says what it waited for when it never does.
pub fn wait_until(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(30);
    while !condition() {
        assert!(Instant::now() < deadline, "waited 30 s in vain until {what}");
        thread::sleep(Duration::from_millis(5));
    }
}

impl Running {
    pub fn pid(&self) -> Pid {
        Pid::from_raw(i32::try_from(self.child.id()).unwrap())
    }

    pub fn signal(&self, signal: Signal) {
        kill(self.pid(), signal).unwrap();
    }

    /// All processes below this one, nearest first, with their programs' names.
    pub fn descendants(&self) -> Vec<(Pid, String)> {
        descendants(self.pid())
    }

    /// The nearest process below this one that runs this program; waits until there is one.
    pub fn descendant(&self, program: &str) -> Pid {
        let find = || self.descendants().into_iter().find(|(_, name)| name == program);
        wait_until(&format!("{} starts {program}", self.shown), || find().is_some());
        find().unwrap_or_else(|| panic!("{program} has gone again")).0
    }

    pub fn wait(mut self) -> Ran {
        let deadline = Instant::now() + PATIENCE;
        let status = loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                break status;
            }
            if Instant::now() > deadline {
                self.child.kill().unwrap();
                let status = self.child.wait().unwrap();
                panic!("it never ended: {}", self.ran(status).story());
            }
            thread::sleep(Duration::from_millis(2));
        };
        self.ran(status)
    }

    fn ran(&mut self, status: ExitStatus) -> Ran {
        let (stdout, stderr) = (content(&mut self.stdout), content(&mut self.stderr));
        Ran { status, stdout, stderr, shown: self.shown.clone() }
    }
}

impl Ran {
    /// The exit status; for a signal what a shell makes of it.
    pub fn code(&self) -> i32 {
        self.status.code().unwrap_or_else(|| 128 + self.status.signal().unwrap())
    }

    /// Insists on this exit status.
    #[track_caller]
    pub fn must(self, code: i32) -> Self {
        assert!(self.code() == code, "status {code} was expected: {}", self.story());
        self
    }

    /// Insists on any other exit status than 0.
    #[track_caller]
    pub fn must_fail(self) -> Self {
        assert!(self.code() != 0, "a failure was expected: {}", self.story());
        self
    }

    /// Insists that one of both outputs says this.
    #[track_caller]
    pub fn must_say(self, words: &str) -> Self {
        assert!(self.all().contains(words), "{words:?} was expected: {}", self.story());
        self
    }

    /// Insists that neither output says this.
    #[track_caller]
    pub fn must_not_say(self, words: &str) -> Self {
        assert!(!self.all().contains(words), "{words:?} must not be there: {}", self.story());
        self
    }

    /// stdout as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.stdout).into_owned()
    }

    /// Both outputs as text.
    pub fn all(&self) -> String {
        self.text() + &String::from_utf8_lossy(&self.stderr)
    }

    /// Command, status and all output, for a message.
    pub fn story(&self) -> String {
        let mut story = format!("{}\n  ended with {}", self.shown, self.status);
        for (name, output) in [("stdout", &self.stdout), ("stderr", &self.stderr)] {
            let _ = write!(story, "\n  {name}:");
            for line in String::from_utf8_lossy(output).lines() {
                let _ = write!(story, "\n    {line}");
            }
        }
        story
    }
}

/// All processes below this one, nearest first. Those that are gone meanwhile are left out.
pub fn descendants(parent: Pid) -> Vec<(Pid, String)> {
    let mut found = Vec::new();
    let mut parents = vec![parent];
    while let Some(parent) = parents.pop() {
        for child in children(parent) {
            if let Ok(name) = fs::read_to_string(format!("/proc/{child}/comm")) {
                found.push((child, name.trim_end().to_owned()));
                parents.insert(0, child);
            }
        }
    }
    found
}

/// Children of all its threads: a program may start others from any of them.
fn children(parent: Pid) -> Vec<Pid> {
    let Ok(threads) = fs::read_dir(format!("/proc/{parent}/task")) else { return Vec::new() };
    let list = |thread: fs::DirEntry| fs::read_to_string(thread.path().join("children")).unwrap_or_default();
    let lists: Vec<String> = threads.flatten().map(list).collect();
    lists
        .iter()
        .flat_map(|list| list.split_whitespace())
        .map(|pid| Pid::from_raw(pid.parse().unwrap()))
        .collect()
}

/// Whether the process is there and no zombie.
pub fn is_alive(pid: Pid) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit(')').next().is_some_and(|rest| !rest.is_empty() && !rest.trim_start().starts_with('Z'))
}

fn shown(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    words.map(|word| word.to_string_lossy().into_owned()).collect::<Vec<_>>().join(" ")
}

fn content(file: &mut File) -> Vec<u8> {
    let mut content = Vec::new();
    file.seek(SeekFrom::Start(0)).unwrap();
    file.read_to_end(&mut content).unwrap();
    content
}

/// A path of a built program inside the sandbox.
pub fn program(name: &str) -> PathBuf {
    PathBuf::from(SANDBOX_BIN).join(name)
}

/// Where every user reaches what was built.
pub const SANDBOX_BIN: &str = "/run/byteback-sandbox/bin";
