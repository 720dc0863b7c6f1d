//! One machine that is backed up: its tree, its configuration directory, and the real programs run for it.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::run::{Ran, Running, program, run, start};
use crate::world::World;

/// A client of one world.
pub struct Client<'a> {
    pub world: &'a World,
    pub name: String,
    /// `/etc/byteback` of this client.
    pub config: PathBuf,
    /// What it backs up.
    pub tree: PathBuf,
}

impl<'a> Client<'a> {
    /// A client with an empty tree that is not enrolled.
    pub fn stranger(world: &'a World, name: &str) -> Self {
        let dir = world.clients.join(name);
        let tree = dir.join("tree");
        fs::create_dir_all(&tree).unwrap();
        Client { world, name: name.to_owned(), config: dir.join("config"), tree }
    }

    /// A client that the real setup has made known.
    pub fn enrolled(world: &'a World, name: &str) -> Self {
        let client = Self::stranger(world, name);
        client.setup().must(0);
        client
    }

    /// `byteback-setup-client` as an administrator runs it in a script.
    pub fn setup(&self) -> Ran {
        run(self
            .program("byteback-setup-client")
            .args(["--destination", &self.world.destination(), "--hostname", &self.name])
            .arg("--admin-key")
            .arg(&self.world.admin_key)
            .arg("--accept-new-host-key"))
    }

    /// A client program with this client's configuration.
    pub fn program(&self, name: &str) -> Command {
        let mut command = Command::new(program(name));
        command.arg("--config-dir").arg(&self.config).current_dir(self.config.parent().unwrap());
        if name == "byteback-backup" {
            command.arg("--state-dir").arg(self.config.with_file_name("state"));
        }
        command
    }

    /// `byteback-backup` of the tree; a failure is final at once.
    pub fn backup_command(&self) -> Command {
        let mut command = self.program("byteback-backup");
        command.arg("--source").arg(&self.tree).args(["--retry-number", "0", "--retry-delay", "0"]);
        command
    }

    pub fn backup(&self) -> Ran {
        run(&mut self.backup_command())
    }

    pub fn start_backup(&self) -> Running {
        start(&mut self.backup_command())
    }

    /// A line for `rsync_flags`.
    pub fn rsync_flags(&self, flags: &str) {
        fs::write(self.config.join("rsync_flags"), format!("{flags}\n")).unwrap();
    }

    /// Makes each backup take as long as this rate (kB/s) makes it, so that there is a middle.
    pub fn slow_down(&self, rate: u32) {
        self.rsync_flags(&format!("--bwlimit={rate}"));
    }

    pub fn full_speed(&self) {
        fs::remove_file(self.config.join("rsync_flags")).unwrap();
    }

    pub fn restore(&self, words: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Ran {
        run(self.program("byteback-restore").args(words))
    }

    pub fn key(&self) -> PathBuf {
        self.config.join("key")
    }

    pub fn public_key(&self) -> String {
        fs::read_to_string(self.config.join("key.pub")).unwrap().trim().to_owned()
    }

    /// ssh with this client's key, by hand: what somebody does who has stolen it.
    pub fn ssh(&self) -> Command {
        let mut command = Command::new("ssh");
        command.args(self.ssh_options()).arg("-p").arg(self.world.port.to_string());
        command
    }

    /// ssh's options for this key and nothing of the machine's own configuration.
    pub fn ssh_options(&self) -> Vec<String> {
        self.world.ssh_options(&self.key())
    }

    pub fn login(&self) -> String {
        format!("{}@127.0.0.1", self.world.user)
    }

    /// Sends this text as the command of an ssh session, byte for byte.
    pub fn send(&self, command: impl AsRef<OsStr>) -> Ran {
        run(self.ssh().arg(self.login()).arg("--").arg(command))
    }

    /// Stock rsync through ssh with this key; the words may name `HOST:`, which becomes the server.
    pub fn rsync(&self, words: impl IntoIterator<Item = impl AsRef<str>>) -> Command {
        let mut ssh = vec!["ssh".to_owned(), "-p".to_owned(), self.world.port.to_string()];
        ssh.extend(self.ssh_options());
        let mut command = Command::new("rsync");
        command.arg("-e").arg(ssh.join(" "));
        let place = format!("{}:", self.login());
        command.args(words.into_iter().map(|word| word.as_ref().replace("HOST:", &place)));
        command
    }

    /// The one place below a snapshot or `current` where this client's tree lies.
    pub fn tree_in(&self, root: &Path) -> PathBuf {
        root.join(self.tree.strip_prefix("/").unwrap())
    }

    pub fn write(&self, name: impl AsRef<Path>, content: impl AsRef<[u8]>) {
        let path = self.tree.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }
}
