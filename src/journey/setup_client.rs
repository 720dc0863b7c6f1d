//! How a machine becomes a client: a key, a visit to the server as a person, the server's host key
//! pinned, and a ping with the new key as proof.
//!
//! Every step can be taken again: what an earlier run left is used, a key is never overwritten, and
//! nothing is called done before the gate itself answered with this client's name.

pub(super) mod host_key;
mod key_pair;

use std::fs::DirBuilder;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use anyhow::{Context, Result, bail};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use crate::model::client_config::{self, ClientConfig, ClientFiles};
use crate::model::span::Span;
use crate::model::{ClientName, Destination, Failure, Status, escaped};
use crate::protocol::answer::{Answer, Outcome};
use crate::protocol::public_key::PublicKey;
use crate::protocol::request;
use crate::system::lock::{self, Locking};
use crate::system::ssh::{Connection, Login, Visit};
use crate::system::{console, files, identity, process};

const IO_TIMEOUT: Span = Span::seconds(60);

/// What was asked for.
#[derive(Debug)]
pub struct SetupClient {
    /// The server; `None` takes the saved one.
    pub destination: Option<Destination>,
    /// The client's name; `None` takes the machine's.
    pub hostname: Option<String>,
    /// Where key, destination and host keys are kept.
    pub config_dir: PathBuf,
    /// The key of a person who may log in to the server.
    pub admin_key: Option<PathBuf>,
    /// Whether the key shall be good from this machine's address only.
    pub pin_address: bool,
    /// Take an unknown host key without asking.
    pub accept_new_host_key: bool,
    /// Tell each step.
    pub verbose: bool,
}

/// Sets this machine up, or says that nothing is to do.
///
/// # Errors
/// A [`Failure`] that says what is missing; running it again goes on from there.
pub fn run(asked: &SetupClient) -> Result<Status> {
    let name = client_name(asked.hostname.as_deref())?;
    make_config_dir(&asked.config_dir)?;
    let _alone = match lock::try_directory(&asked.config_dir)? {
        Locking::Held(lock) => lock,
        Locking::TakenBy(_) => bail!(Failure::busy("another byteback-setup-client is at work here")),
    };
    let saved = saved_destination(&asked.config_dir)?;
    let Some(destination) = asked.destination.clone().or_else(|| saved.clone()) else {
        bail!(Failure::misuse("there is no server to go to; give --destination user@host:"));
    };
    let setup = Setup { asked, name, login: client_login(&asked.config_dir, &destination) };
    // Compared as they print: `host:` and `byteback@host:` are one destination.
    let is_saved = saved.as_ref().map(ToString::to_string) == Some(destination.to_string());
    if let Some(saved) = saved.filter(|_| !is_saved) {
        console::say(format_args!("the destination so far was {saved}; setting up for {destination}"));
    }
    match setup.enrolled_name()? {
        Some(enrolled) if is_saved => {
            console::print(format_args!("{enrolled} is enrolled at {destination}; nothing is to do"));
            Ok(Status::Done)
        }
        Some(_) => setup.conclude(),
        None => setup.enrol(),
    }
}

struct Setup<'a> {
    asked: &'a SetupClient,
    name: ClientName,
    login: Login,
}

impl Setup<'_> {
    /// The name that the gate answers with, if key and host key of an earlier run are good already.
    fn enrolled_name(&self) -> Result<Option<String>> {
        let there = |path: &Option<PathBuf>| path.as_deref().is_some_and(Path::exists);
        if !there(&self.login.key) || !there(&self.login.known_hosts) {
            return Ok(None);
        }
        let enrolled = match ping(&self.login) {
            Ok(answer) => answer.client,
            Err(error) => {
                self.tell(format_args!("this machine is not enrolled yet ({error:#})"));
                return Ok(None);
            }
        };
        if self.asked.hostname.is_some() && enrolled != self.name.as_str() {
            let directory = self.asked.config_dir.display();
            bail!(Failure::misuse(format!(
                "the key in {directory} is enrolled as {}; to enrol this machine as {} move key and \
                 key.pub away first",
                escaped(enrolled.as_bytes()),
                self.name
            )));
        }
        Ok(Some(escaped(enrolled.as_bytes())))
    }

    fn enrol(&self) -> Result<Status> {
        let config = &self.asked.config_dir;
        let key = key_pair::ensure(config, &self.name)?;
        self.tell(format_args!("the key is {}", config.join(client_config::KEY).display()));
        self.visit(&key)?;
        self.conclude()
    }

    /// The server knows the key: pin its own, prove the way, remember it.
    fn conclude(&self) -> Result<Status> {
        let (config, destination) = (&self.asked.config_dir, &self.login.destination);
        host_key::ensure_pinned(&self.login, &config.join(client_config::KNOWN_HOSTS))?;
        let line = format!("{destination}\n");
        files::replace(&config.join(client_config::DESTINATION), line.as_bytes(), 0o644)?;
        self.prove()?;
        console::print(format_args!("{} is set up to back up to {destination}", self.name));
        console::print(format_args!("next: {}", self.next_command()));
        Ok(Status::Done)
    }

    /// Has the server's half run, over a login as a person does it.
    fn visit(&self, key: &PublicKey) -> Result<()> {
        let login = Login { key: self.asked.admin_key.clone(), known_hosts: None, ..self.login.clone() };
        if let Some(key) = login.key.as_deref().filter(|key| !key.exists()) {
            bail!(Failure::misuse(format!("there is no administrator's key {}", key.display())));
        }
        let known_hosts = host_key::files(&login, &self.asked.config_dir.join(client_config::KNOWN_HOSTS))?;
        let accept_new_host_key = self.asked.accept_new_host_key;
        let visit = Visit { login: &login, known_hosts: &known_hosts, accept_new_host_key };
        let words = receive_words(&self.name, self.asked.pin_address, key);
        self.tell(format_args!("asking {} to run {}", login.destination, words[0]));
        let status = visit.command(&words)?.status().context("cannot start ssh")?;
        match status.code() {
            Some(0) => Ok(()),
            code => bail!(visit_failure(&login.destination, &self.name, code, &words)),
        }
    }

    fn prove(&self) -> Result<()> {
        let answer = ping(&self.login).context(
            "the server enrolled this machine, but a login with the new key fails (if the address that \
             the server sees changes, run this again with --no-pin-address)",
        )?;
        if answer.client != self.name.as_str() {
            let other = escaped(answer.client.as_bytes());
            bail!(Failure::failed(format!(
                "the server takes this key for client {other}, not {}; remove the older line with this \
                 key from the server's authorized_keys",
                self.name
            )));
        }
        self.tell(format_args!("the gate answers: {}", escaped(answer.message.as_bytes())));
        Ok(())
    }

    fn next_command(&self) -> String {
        let directory = &self.asked.config_dir;
        if directory == Path::new(client_config::DEFAULT_DIRECTORY) {
            return "byteback-backup --verbose".to_owned();
        }
        format!("byteback-backup --verbose --config-dir {}", directory.display())
    }

    fn tell(&self, line: std::fmt::Arguments) {
        if self.asked.verbose {
            console::say(line);
        }
    }
}

fn client_name(given: Option<&str>) -> Result<ClientName> {
    let text = match given {
        Some(text) => text.to_owned(),
        None => identity::host_name()
            .ok_or_else(|| Failure::misuse("this machine has no name; give one with --hostname"))?,
    };
    ClientName::from_str(&text).map_err(|why| {
        let shown = escaped(text.as_bytes());
        Failure::misuse(format!("'{shown}' is no client's name ({why}); give another with --hostname")).into()
    })
}

/// Others may look in: on a server that is a client too, the store's user reads its `server.toml` here.
/// The key has a mode of its own.
fn make_config_dir(directory: &Path) -> Result<()> {
    DirBuilder::new()
        .recursive(true)
        .mode(0o755)
        .create(directory)
        .with_context(|| format!("cannot make {}", directory.display()))
}

fn saved_destination(config: &Path) -> Result<Option<Destination>> {
    let destination = files::read_optional(&config.join(client_config::DESTINATION))?;
    let parsed = ClientConfig::parse(&ClientFiles { destination, ..ClientFiles::default() });
    let mend = |error| Failure::misuse(format!("in {}: {error}; mend it or remove it", config.display()));
    Ok(parsed.map_err(mend)?.destination)
}

/// As the client's own programs log in: its key, and only the pinned host keys.
fn client_login(config: &Path, destination: &Destination) -> Login {
    Login {
        destination: destination.clone(),
        key: Some(config.join(client_config::KEY)),
        known_hosts: Some(config.join(client_config::KNOWN_HOSTS)),
        config: Some(config.join(client_config::SSH_CONFIG)),
        io_timeout: IO_TIMEOUT,
    }
}

fn ping(login: &Login) -> Result<Answer> {
    let connection = Connection::open(login)?;
    let mut command = connection.command(&request::ping_words());
    let output = process::output(&mut command)?;
    let answer = Answer::parse(&output.stdout).map_err(|_| {
        let stderr = escaped(output.stderr.trim_ascii());
        Failure::failed(format!(
            "{} did not answer a ping as byteback does ({stderr}); is its byteback up to date?",
            login.destination
        ))
    })?;
    if answer.outcome != Outcome::Ok {
        bail!(Failure::refused(escaped(answer.message.as_bytes())));
    }
    Ok(answer)
}

/// A shell on the server reads these words; all of them are made of letters, digits and `._-+/=`.
fn receive_words(name: &ClientName, pin_address: bool, key: &PublicKey) -> Vec<String> {
    let mut words = vec!["byteback-setup-client-receive".to_owned(), name.to_string()];
    if !pin_address {
        words.push("--no-pin-address".to_owned());
    }
    words.extend([key.algorithm().to_owned(), STANDARD.encode(key.blob())]);
    words
}

/// What enrols this machine where nobody can log in.
fn by_hand(words: &[String]) -> String {
    let mut words = words.to_vec();
    if !words.iter().any(|word| word == "--no-pin-address") {
        words.splice(2..2, ["--from".to_owned(), "ADDRESS".to_owned()]);
    }
    words.join(" ")
}

/// The server's own sentence went to the person's terminal already.
fn visit_failure(
    destination: &Destination,
    name: &ClientName,
    code: Option<i32>,
    words: &[String],
) -> Failure {
    match code {
        Some(127) => Failure::failed(format!(
            "{destination} does not know byteback-setup-client-receive; install byteback there first"
        )),
        Some(255) => Failure::failed(format!(
            "cannot log in to {destination} to enrol {name}, for the reason that ssh gives above; give --admin-key, or \
             have this run as root on the server, with the address of this machine, and then run this again: {}",
            by_hand(words)
        )),
        Some(code) => Failure {
            status: Status::from_code(code),
            message: format!("{destination} did not enrol {name}, for the reason that it gives above"),
        },
        None => Failure::failed(format!("ssh to {destination} was killed before {name} was enrolled")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name() -> ClientName {
        "web1".parse().unwrap()
    }

    #[test]
    fn no_word_that_a_shell_on_the_server_reads_means_anything_to_it() {
        let body = "AAAAC3NzaC1lZDI1NTE5AAAAIGv9q1uKJDyYB5Jnh2Hc1wlkq8DhEZNmfKyKyCGNq1gT";
        let key = PublicKey::parse(&format!("ssh-ed25519 {body} $(a comment); is left out")).unwrap();
        let words = receive_words(&name(), false, &key);
        let line = format!("byteback-setup-client-receive web1 --no-pin-address ssh-ed25519 {body}");
        assert_eq!(words.join(" "), line);
        assert!(!receive_words(&name(), true, &key).iter().any(|word| word.starts_with('-')));
    }

    #[test]
    fn the_servers_status_is_ours() {
        let destination: Destination = "h:".parse().unwrap();
        let words = ["byteback-setup-client-receive", "web1", "ssh-ed25519", "AAAA"].map(str::to_owned);
        for (code, status) in [
            (Some(2), Status::Misuse),
            (Some(3), Status::Refused),
            (Some(4), Status::Busy),
            (Some(1), Status::Failed),
            (Some(127), Status::Failed),
            (Some(255), Status::Failed),
            (None, Status::Failed),
        ] {
            assert_eq!(visit_failure(&destination, &name(), code, &words).status, status, "{code:?}");
        }
    }

    #[test]
    fn a_bad_name_is_found_before_anything_else() {
        let directory = tempfile::tempdir().unwrap();
        let config_dir = directory.path().join("config");
        let asked = SetupClient {
            destination: None,
            hostname: Some("a b".to_owned()),
            config_dir: config_dir.clone(),
            admin_key: None,
            pin_address: true,
            accept_new_host_key: false,
            verbose: false,
        };
        let error = run(&asked).unwrap_err();
        assert!(error.to_string().contains("'a b' is no client's name"));
        assert!(!config_dir.exists());
    }
}
