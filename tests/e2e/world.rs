//! A server of its own for each test: a btrfs in an image file made by `byteback-setup-server`, a Unix user,
//! and an sshd on a free port of 127.0.0.1. All of it goes when the test ends, however it ends.

use std::fs::{self, File};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, MutexGuard, OnceLock};

use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::unistd::Pid;

use crate::run::{Ran, program, run, start, tool, wait_until};

pub const SANDBOX: &str = "/run/byteback-sandbox";

/// What all worlds have in `/etc/byteback/server.toml`; a test that wants something else uses `--config`.
const SERVER_TOML: &str = "log = 'file'\n";

/// Changes to accounts and to the mount table, one at a time: useradd does not wait for its lock.
static MACHINE: Mutex<()> = Mutex::new(());

/// One server.
pub struct World {
    pub name: String,
    pub store: PathBuf,
    pub user: String,
    pub port: u16,
    pub admin_key: PathBuf,
    /// Where this world's clients have their trees and their configuration: ext4.
    pub clients: PathBuf,
    dir: PathBuf,
    sshd: Option<Child>,
}

impl World {
    /// A server with a store of a gigabyte.
    pub fn new(name: &str) -> Self {
        Self::with_size(name, "1G")
    }

    /// A server whose store has this size, as `--size` takes it.
    pub fn with_size(name: &str, size: &str) -> Self {
        let mut world = Self::without_server(name);
        world.setup_server(size).must(0);
        world.let_the_administrator_in();
        world.start_sshd("");
        world
    }

    /// The directories alone; nothing is set up.
    pub fn without_server(name: &str) -> Self {
        prepare_sandbox();
        let dir = Path::new(SANDBOX).join(name);
        let clients = Path::new(SANDBOX).join("disk").join(name);
        fs::create_dir(&dir).unwrap_or_else(|error| panic!("two tests are called {name}: {error}"));
        fs::create_dir(&clients).unwrap();
        let admin_key = dir.join("admin");
        make_key(&admin_key);
        let store = dir.join("store");
        World {
            name: name.to_owned(),
            store,
            user: format!("b-{name}"),
            port: 0,
            admin_key,
            clients,
            dir,
            sshd: None,
        }
    }

    /// `byteback-setup-server` with an image.
    pub fn setup_server(&self, size: &str) -> Ran {
        let _alone = machine();
        run(Command::new(program("byteback-setup-server"))
            .arg("--store")
            .arg(&self.store)
            .arg("--image")
            .arg(self.dir.join("store.img"))
            .args(["--size", size, "--user", &self.user]))
    }

    /// A file of this world that is neither the store's nor a client's.
    pub fn file(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    pub fn authorized_keys(&self) -> PathBuf {
        self.store.join(".ssh/authorized_keys")
    }

    /// Puts a line into the key file as an administrator does it with an editor.
    pub fn add_key_line(&self, line: &str) {
        let file = self.authorized_keys();
        let mut content = fs::read(&file).unwrap_or_default();
        content.extend_from_slice(line.as_bytes());
        content.push(b'\n');
        fs::write(&file, content).unwrap();
        tool("chown", [format!("{0}:", self.user).into(), file.clone().into_os_string()]);
        fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
    }

    pub fn let_the_administrator_in(&self) {
        self.add_key_line(fs::read_to_string(self.admin_key.with_extension("pub")).unwrap().trim());
    }

    /// Starts the sshd, with these lines more in its configuration.
    pub fn start_sshd(&mut self, more: &str) {
        self.stop_sshd();
        let host_key = self.dir.join("host_key");
        if !host_key.exists() {
            make_key(&host_key);
        }
        for _ in 0..20 {
            if self.port == 0 {
                self.port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
            }
            let config = self.dir.join("sshd_config");
            fs::write(&config, self.sshd_config(&host_key, more)).unwrap();
            let log = File::options().create(true).append(true).open(self.dir.join("sshd.log")).unwrap();
            let mut sshd = Command::new("/usr/sbin/sshd")
                .args(["-D", "-e", "-f"])
                .arg(&config)
                .stdin(Stdio::null())
                .stderr(log)
                .spawn()
                .unwrap();
            let mut ended = false;
            wait_until("sshd listens or ends", || {
                ended = sshd.try_wait().unwrap().is_some();
                ended || TcpStream::connect(("127.0.0.1", self.port)).is_ok()
            });
            if !ended {
                self.sshd = Some(sshd);
                return;
            }
            self.port = 0; // somebody else took it meanwhile
        }
        panic!("sshd does not start: {}", self.sshd_log());
    }

    fn sshd_config(&self, host_key: &Path, more: &str) -> String {
        // Since 9.8 sshd punishes an address for failed logins, and all our clients have the same address.
        let unpunished = if sshd_takes("PerSourcePenalties=no") { "PerSourcePenalties no\n" } else { "" };
        format!(
            "ListenAddress 127.0.0.1:{}\nHostKey {}\nPidFile none\nUsePAM no\nPasswordAuthentication no\n\
             KbdInteractiveAuthentication no\nAuthorizedKeysFile .ssh/authorized_keys\nAllowUsers {}\n\
             LogLevel VERBOSE\nMaxStartups 100\nSubsystem sftp internal-sftp\n\
             SetEnv PATH={SANDBOX}/bin:/usr/bin:/bin\n{unpunished}{more}",
            self.port,
            host_key.display(),
            self.user
        )
    }

    pub fn stop_sshd(&mut self) {
        if let Some(mut sshd) = self.sshd.take() {
            sshd.kill().unwrap();
            sshd.wait().unwrap();
        }
    }

    pub fn sshd_pid(&self) -> Pid {
        Pid::from_raw(i32::try_from(self.sshd.as_ref().unwrap().id()).unwrap())
    }

    pub fn sshd_log(&self) -> String {
        fs::read_to_string(self.dir.join("sshd.log")).unwrap_or_default()
    }

    /// The lines that the server programs logged.
    pub fn log_lines(&self) -> Vec<String> {
        let log = fs::read(self.store.join(".byteback/log")).unwrap_or_default();
        String::from_utf8_lossy(&log).lines().map(str::to_owned).collect()
    }

    /// What a client's configuration calls this server.
    pub fn destination(&self) -> String {
        format!("ssh://{}@127.0.0.1:{}/", self.user, self.port)
    }

    /// ssh's options for this key and nothing of the machine's own configuration.
    pub fn ssh_options(&self, key: &Path) -> Vec<String> {
        let option = |name: &str, value: &dyn std::fmt::Display| ["-o".to_owned(), format!("{name}={value}")];
        let mut options = vec!["-F".to_owned(), "none".to_owned(), "-T".to_owned()];
        options.extend(option("IdentityFile", &key.display()));
        options.extend(option("IdentitiesOnly", &"yes"));
        options.extend(option("BatchMode", &"yes"));
        options.extend(option("ConnectTimeout", &"10"));
        options.extend(option("StrictHostKeyChecking", &"accept-new"));
        options.extend(option("UserKnownHostsFile", &self.file("known_hosts").display()));
        options
    }

    /// A command line that is run as the store's user, as from cron or by hand.
    pub fn as_user(&self, words: impl IntoIterator<Item = impl AsRef<std::ffi::OsStr>>) -> Command {
        let mut command = Command::new("setpriv");
        command
            .args(["--reuid", &self.user, "--regid", &self.user, "--init-groups", "--no-new-privs", "--"])
            .args(words)
            .current_dir("/")
            .env("HOME", &self.store)
            .env("PATH", format!("{SANDBOX}/bin:/usr/bin:/bin"));
        command
    }

    /// A server program with `--store`, run as the store's user.
    pub fn server(&self, name: &str) -> Command {
        let mut command = self.as_user([program(name)]);
        command.arg("--store").arg(&self.store);
        command
    }

    /// A server configuration for `--config`, beside the usual one.
    pub fn server_config(&self, name: &str, text: &str) -> PathBuf {
        let file = self.dir.join(name);
        fs::write(&file, text).unwrap();
        file
    }

    /// The client's snapshots, oldest name first.
    pub fn snapshots(&self, client: &str) -> Vec<String> {
        let Ok(entries) = fs::read_dir(self.store.join(client)) else { return Vec::new() };
        let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        let mut names: Vec<String> =
            names.filter(|name| name != "current" && !name.starts_with('.')).collect();
        names.sort();
        names
    }

    pub fn current(&self, client: &str) -> PathBuf {
        self.store.join(client).join("current")
    }

    /// Gives the one snapshot that was taken last the name of an older time, so that the next may be taken.
    pub fn rename_newest(&self, client: &str, name: &str) {
        let newest = self.snapshots(client).pop().expect("a snapshot");
        fs::rename(self.store.join(client).join(newest), self.store.join(client).join(name)).unwrap();
    }

    /// Free bytes of the store's file system for everybody.
    pub fn free(&self) -> u64 {
        let space = nix::sys::statvfs::statvfs(&self.store).unwrap();
        space.blocks_available() * space.fragment_size()
    }
}

impl Drop for World {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let log = self.log_lines().join("\n");
            eprintln!("--- {}: sshd\n{}--- {}: byteback\n{log}\n---", self.name, self.sshd_log(), self.name);
        }
        self.stop_sshd();
        // Sessions may still be at work; the namespace ends them. Here it is only about the room.
        let _alone = machine();
        let _ = umount2(&self.store, MntFlags::MNT_DETACH);
        let _ = fs::remove_file(self.dir.join("store.img"));
        let _ = fs::remove_dir_all(&self.clients);
    }
}

/// Held while accounts, the mount table or sshd's files of the sandbox are changed.
pub fn machine() -> MutexGuard<'static, ()> {
    MACHINE.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

/// Once: the programs where every user reaches them, and the server's configuration.
fn prepare_sandbox() {
    static DONE: OnceLock<()> = OnceLock::new();
    let inside = std::env::var_os("BYTEBACK_SANDBOX").is_some() && nix::unistd::geteuid().is_root();
    assert!(inside, "run `make test`: these tests need the sandbox and root");
    DONE.get_or_init(|| {
        let built = Path::new(env!("CARGO_BIN_EXE_byteback-receive")).parent().unwrap();
        let bin = Path::new(SANDBOX).join("bin");
        // Bound, not copied: with their symbols they are large, and the sandbox's files lie in memory.
        mount(Some(built), &bin, None::<&str>, MsFlags::MS_BIND, None::<&str>).unwrap();
        fs::create_dir_all("/etc/byteback").unwrap();
        fs::write("/etc/byteback/server.toml", SERVER_TOML).unwrap();
    });
}

fn sshd_takes(option: &str) -> bool {
    let mut test = Command::new("/usr/sbin/sshd");
    let host_key = Path::new(SANDBOX).join("probe_key");
    if !host_key.exists() {
        let _alone = machine();
        if !host_key.exists() {
            make_key(&host_key);
        }
    }
    run(test.args(["-t", "-f", "/dev/null", "-o", option, "-h"]).arg(host_key)).status.success()
}

/// An ed25519 key pair without a passphrase at `path` and `path.pub`.
pub fn make_key(path: &Path) {
    let words = ["-q", "-t", "ed25519", "-N", "", "-C", "test", "-f"];
    start(Command::new("ssh-keygen").args(words).arg(path)).wait().must(0);
}
