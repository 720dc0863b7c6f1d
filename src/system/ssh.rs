//! OpenSSH's client: one shared connection to the server for all requests of a run.
//!
//! The first handshake makes a master in the background (`ssh_config(5)`, `ControlMaster`); every later
//! session rides on it and costs no handshake. Should the master have ended meanwhile, a session makes
//! its own connection, so each of them carries all options. Whether a server's key may be trusted is
//! never decided here without ssh, and nothing here answers a question in a person's name.

mod options;
mod trouble;

use std::fs::{File, Permissions};
use std::io::{Read, Seek};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};
use tempfile::TempDir;

use super::{environment, process};
use crate::model::span::Span;
use crate::model::{Destination, Failure};

const SSH: &str = "/usr/bin/ssh";
/// The host's name where there is no other host.
const HERE: &str = "here";
/// Seconds without a session after which the master ends by itself, also when we were killed.
const PERSIST: u64 = 60;

/// Where to log in, and with what.
#[derive(Debug, Clone)]
pub struct Login {
    /// The server.
    pub destination: Destination,
    /// The private key and no other; `None` leaves the choice to ssh.
    pub key: Option<PathBuf>,
    /// The pinned host keys. Where this file exists no other is asked and only its keys are taken;
    /// otherwise ssh looks where it always does (clients of the former program have no such file).
    pub known_hosts: Option<PathBuf>,
    /// An `ssh_config` for ssh's `-F`; ignored where there is no such file.
    pub config: Option<PathBuf>,
    /// How long the network may be silent.
    pub io_timeout: Span,
}

/// A way to the gate that is open.
#[derive(Debug)]
pub struct Connection(Way);

#[derive(Debug)]
enum Way {
    Remote(Session),
    /// The program that stands in ssh's place, with its words.
    Here(Vec<String>),
}

/// A master that runs; dropping it ends it.
#[derive(Debug)]
struct Session {
    directory: TempDir,
    options: Vec<String>,
    destination: Destination,
}

impl Connection {
    /// Logs in, without asking anybody anything.
    ///
    /// # Errors
    /// A [`Failure`] in one sentence: the server cannot be reached, its host key is unknown or has
    /// changed, the key is not there or was refused, or a path cannot be told to ssh.
    pub fn open(login: &Login) -> Result<Self> {
        if let Some(key) = login.key.as_deref().filter(|key| !key.exists()) {
            let why = format!("there is no ssh key {}; run byteback-setup-client", key.display());
            bail!(Failure::misuse(why));
        }
        let directory = private_directory()?;
        let options = options::unattended(login)?;
        let session = Session { directory, options, destination: login.destination.clone() };
        session.start_master()?;
        Ok(Self(Way::Remote(session)))
    }

    /// A way to a gate on this very machine: this program, by its absolute path, with these words and then
    /// a host's name and what a session would run, is called as ssh would be.
    pub fn here(shell: Vec<String>) -> Self {
        Self(Way::Here(shell))
    }

    /// A session that runs these words on the server; stdin, stdout and stderr are the caller's to
    /// set. ssh joins the words by one space each, so they must be safe for what reads them there.
    pub fn command(&self, words: &[String]) -> Command {
        let shell = self.shell();
        let mut command = process::command(&shell[0]);
        command.args(&shell[1..]);
        match &self.0 {
            Way::Remote(session) => command.args(host_words(&session.destination)),
            Way::Here(_) => command.arg(HERE),
        };
        command.args(words);
        command
    }

    fn shell(&self) -> Vec<String> {
        match &self.0 {
            Way::Remote(session) => {
                std::iter::once(SSH.to_owned()).chain(session.session_options()).collect()
            }
            Way::Here(shell) => shell.clone(),
        }
    }

    /// What rsync's `-e` needs to ride on this connection, quoted as rsync(1) splits it.
    pub fn rsync_shell(&self) -> String {
        self.shell().iter().map(|word| options::quoted_for_rsync(word)).collect::<Vec<_>>().join(" ")
    }

    /// The `user@host` of rsync's `user@host:path`.
    pub fn rsync_host(&self) -> String {
        let Way::Remote(Session { destination, .. }) = &self.0 else { return HERE.to_owned() };
        let (host, user) = (destination.host(), destination.user());
        if host.contains(':') { format!("{user}@[{host}]") } else { format!("{user}@{host}") }
    }
}

impl Session {
    fn socket(&self) -> String {
        self.directory.path().join("s").to_string_lossy().into_owned()
    }

    fn session_options(&self) -> Vec<String> {
        let mut words = vec!["-S".to_owned(), self.socket(), "-oControlMaster=no".to_owned()];
        words.extend(self.options.iter().cloned());
        words
    }

    /// The background process keeps stderr, so that is a file that nobody else sees, not a pipe whose
    /// end would never come.
    fn start_master(&self) -> Result<()> {
        let mut talk = tempfile::tempfile_in(self.directory.path()).context("cannot make a file")?;
        let status = process::command(SSH)
            .args(["-f", "-N", "-M", "-S", &self.socket()])
            .arg(format!("-oControlPersist={PERSIST}"))
            .args(&self.options)
            .args(host_words(&self.destination))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(talk.try_clone().context("cannot duplicate a file")?)
            .status()
            .with_context(|| format!("cannot start {SSH}; install openssh-client"))?;
        if status.success() {
            return Ok(());
        }
        bail!(trouble::diagnose(&self.destination, &read_all(&mut talk)))
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        let mut exit = process::command(SSH);
        exit.args(["-S", &self.socket(), "-O", "exit"]).args(host_words(&self.destination));
        // A master that ended before us is no trouble, and one that does not answer ends by itself.
        let _ = process::output(&mut exit);
    }
}

/// A login as a person does it: questions and passwords go through the terminal, the person's agent
/// and keys are used, and a new host key is written to the first of `known_hosts`.
#[derive(Debug)]
pub struct Visit<'a> {
    /// The server and, if one was given, the person's key.
    pub login: &'a Login,
    /// Files of known host keys, the first one takes new keys.
    pub known_hosts: &'a [PathBuf],
    /// Take an unknown host key without asking (ssh's `accept-new`); a changed one never.
    pub accept_new_host_key: bool,
}

impl Visit<'_> {
    /// ssh with these words; all three standard streams are inherited.
    ///
    /// # Errors
    /// When a path cannot be told to ssh.
    pub fn command(&self, words: &[String]) -> Result<Command> {
        let mut command = process::command(SSH);
        for name in ["HOME", "SSH_AUTH_SOCK"] {
            if let Some(value) = environment::variable(name) {
                command.env(name, value);
            }
        }
        command.args(options::attended(self)?);
        command.args(host_words(&self.login.destination)).args(words);
        Ok(command)
    }
}

/// Under what name and where ssh looks for the server's host key, by its own word (`ssh -G`), since
/// an `ssh_config` can give the host another name, port or file.
///
/// # Errors
/// When ssh cannot be started or does not like its configuration.
pub fn host_key_lookup(login: &Login) -> Result<HostKeyLookup> {
    let mut command = process::command(SSH);
    command.arg("-G").args(options::base(login)?).args(host_words(&login.destination));
    let printed = process::run(&mut command)?;
    Ok(options::parse_lookup(&String::from_utf8_lossy(&printed)))
}

/// Has ssh write the host key that the server offers into `file`, which must not be there yet. Nobody
/// is logged in, and no key is tried.
///
/// # Errors
/// When the server cannot be reached, or the path cannot be told to ssh.
pub fn fetch_host_key(login: &Login, file: &Path) -> Result<()> {
    let mut command = process::command(SSH);
    command.args(options::host_key_only(login, file)?).args(host_words(&login.destination)).arg("exit");
    // It fails, since nobody is logged in.
    let output = process::output(&mut command)?;
    if file.exists() {
        return Ok(());
    }
    bail!(trouble::diagnose(&login.destination, &String::from_utf8_lossy(&output.stderr)))
}

/// Where ssh looks for a host key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostKeyLookup {
    /// The name as `known_hosts` spells it, `[host]:port` when the port is not 22.
    pub name: String,
    /// The person's files.
    pub user_files: Vec<PathBuf>,
    /// The system's.
    pub system_files: Vec<PathBuf>,
}

/// `-l user -- host`: behind `--` ssh reads no options, neither before nor after the host. (A second
/// `--` behind the host would reach the server's shell.)
fn host_words(destination: &Destination) -> [&str; 4] {
    ["-l", destination.user(), "--", destination.host()]
}

/// The socket's path is limited to 108 bytes (unix(7)), so this is not the user's `TMPDIR`.
fn private_directory() -> Result<TempDir> {
    let mut builder = tempfile::Builder::new();
    builder.prefix("byteback-").permissions(Permissions::from_mode(0o700));
    let place = |parent: &str| builder.tempdir_in(Path::new(parent));
    place("/run").or_else(|_| place("/tmp")).context("cannot make a private directory in /run or /tmp")
}

fn read_all(file: &mut File) -> String {
    let mut bytes = Vec::new();
    let _ = file.rewind().and_then(|()| file.read_to_end(&mut bytes));
    String::from_utf8_lossy(&bytes).into_owned()
}
