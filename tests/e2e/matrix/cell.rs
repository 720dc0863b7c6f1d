//! One column's attacker and victim: a client of its own whose server.toml leaves out what the column leaves out,
//! and things in the store that are none of its business.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use nix::unistd::{Gid, Uid, User, chown};

use super::{Column, LAYERS};
use crate::client::Client;
use crate::run::{program, tool};
use crate::world::{World, make_key};

pub const SNAPSHOT: &str = "2026-01-01T00:00+0000";

/// Programs for the attackers, compiled once.
pub struct Tools {
    pub intruder: PathBuf,
    pub uploaded: PathBuf,
}

impl Tools {
    pub fn build(world: &World) -> Self {
        let compile = |name: &str, options: &[&str]| {
            let source =
                Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/e2e/matrix").join(name).with_extension("c");
            let target = world.file(name);
            let mut words: Vec<&OsStr> = options.iter().map(AsRef::as_ref).collect();
            words.extend(["-O1".as_ref(), "-o".as_ref(), target.as_os_str(), source.as_os_str()]);
            tool("cc", words);
            target
        };
        Tools { intruder: compile("intruder", &["-static"]), uploaded: compile("uploaded", &[]) }
    }
}

/// One column's scene.
pub struct Cell<'a> {
    pub world: &'a World,
    pub column: Column,
    /// The attacker, with the key that it stole.
    pub thief: Client<'a>,
    /// The same client where rsync has been taken over already.
    pub intruder: Client<'a>,
    pub current: PathBuf,
    /// A directory of another client's.
    pub prey: PathBuf,
    /// A file beside `authorized_keys` with its owner and mode; the real one is needed by all columns.
    pub keys: PathBuf,
    owner: (Uid, Gid),
}

impl<'a> Cell<'a> {
    pub fn new(world: &'a World, tools: &Tools, column: Column, rsync: &Path) -> Self {
        let user = User::from_name(&world.user).unwrap().unwrap();
        let name = format!("thief{}", column.number);
        let prey = format!("prey{}", column.number);
        let cell = Cell {
            world,
            column,
            thief: Client::stranger(world, &name),
            intruder: Client::stranger(world, &format!("{name}-inside")),
            current: world.current(&name),
            prey: world.current(&prey),
            keys: world.store.join(format!(".ssh/keys{}", column.number)),
            owner: (user.uid, user.gid),
        };
        for client in [&name, &prey] {
            let home = world.store.join(client);
            fs::create_dir(&home).unwrap();
            chown(&home, Some(user.uid), Some(user.gid)).unwrap();
            cell.subvolume(&home.join("current"));
        }
        cell.subvolume(&cell.prey.join("doomed"));
        cell.subvolume(&cell.prey.join("doomed-by-a-restore"));
        cell.file(&cell.keys, "ssh-ed25519 AAAA nobody\n");
        fs::copy(&tools.uploaded, cell.current.join("uploaded")).unwrap();
        cell.own(&cell.current.join("uploaded"), 0o700);
        cell.let_in(&cell.thief, &name, rsync);
        cell.let_in(&cell.intruder, &name, &tools.intruder);
        cell
    }

    fn subvolume(&self, path: &Path) {
        tool("btrfs", ["subvolume".as_ref(), "create".as_ref(), path.as_os_str()]);
        self.own(path, 0o700);
    }

    fn own(&self, path: &Path, mode: u32) {
        chown(path, Some(self.owner.0), Some(self.owner.1)).unwrap();
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    }

    /// A file of the store's user.
    pub fn file(&self, path: &Path, content: &str) {
        fs::write(path, content).unwrap();
        self.own(path, 0o600);
    }

    /// A copy of the program that a client could have uploaded, for another name.
    pub fn program(&self, name: &str) {
        fs::copy(self.current.join("uploaded"), self.current.join(name)).unwrap();
        self.own(&self.current.join(name), 0o755);
    }

    pub fn snapshot(&self) {
        let to = self.current.with_file_name(SNAPSHOT);
        let words = ["subvolume", "snapshot", "-r"].map(OsStr::new);
        tool("btrfs", words.into_iter().chain([self.current.as_os_str(), to.as_os_str()]));
    }

    /// Whether the snapshot could be written now.
    pub fn snapshot_is_writable(&self) -> bool {
        let path = self.current.with_file_name(SNAPSHOT);
        tool("btrfs", ["property".as_ref(), "get".as_ref(), path.as_os_str(), "ro".as_ref()])
            .contains("false")
    }

    /// Makes the snapshot read-only.
    pub fn freeze_again(&self) {
        let path = self.current.with_file_name(SNAPSHOT);
        tool(
            "btrfs",
            ["property", "set"].map(OsStr::new).into_iter().chain([
                path.as_os_str(),
                "ro".as_ref(),
                "true".as_ref(),
            ]),
        );
    }

    /// The store's user.
    pub fn uid(&self) -> u32 {
        self.owner.0.as_raw()
    }

    fn let_in(&self, client: &Client<'_>, name: &str, rsync: &Path) {
        fs::create_dir_all(&client.config).unwrap();
        make_key(&client.key());
        let off: Vec<&&str> =
            LAYERS.iter().filter(|layer| **layer != "mount" && self.column.is_off(layer)).collect();
        let text = format!(
            "log = 'file'\nrsync = '{}'\nswitched_off = {off:?}\nmax_restores = 100\n",
            rsync.display()
        );
        let config = self.world.server_config(&format!("{}.toml", client.name), &text);
        self.world.add_key_line(&format!(
            "restrict,command=\"{} --client {name} --store {} --config {}\" {}",
            program("byteback-receive").display(),
            self.world.store.display(),
            config.display(),
            client.public_key()
        ));
    }
}

/// What the file holds; nothing when it is not there.
pub fn says(path: &Path) -> String {
    String::from_utf8_lossy(&fs::read(path).unwrap_or_default()).into_owned()
}
