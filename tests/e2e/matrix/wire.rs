//! What a client does over the wire: words for the gate, files that it uploaded before, lists that it forged.

use std::fs;
use std::io;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use super::cell::{Cell, says};
use crate::forger::{Entry, Forger, Kind};
use crate::run::{Ran, run};

/// Harmless, but the grammar does not know it: without the grammar such a line reaches rsync as it is.
const UNKNOWN: &str = "-M--no-munge-links";

/// Runs all of them; which had an effect?
pub fn judge(cell: &Cell<'_>) -> Vec<(&'static str, bool)> {
    let attack = Attack { cell, dir: cell.world.clients.join(format!("wire{}", cell.column.number)) };
    fs::create_dir(&attack.dir).unwrap();
    vec![
        ("words: write elsewhere", attack.writes_where_it_says()),
        ("words: read elsewhere", attack.reads_where_it_says()),
        ("words: log into key file", attack.logs_into_the_key_file()),
        ("words: files-from a secret", attack.takes_names_from_a_server_file()),
        ("link: read through", attack.reads_through_a_link()),
        ("link: files-from through", attack.names_files_behind_a_link()),
        ("link: backup-dir through", attack.backs_up_through_a_link()),
        ("merge file: oracle", attack.asks_a_merge_file()),
        ("setuid: uploaded", attack.uploads_a_setuid_program()),
        ("swap: two sessions", attack.swaps_in_two_sessions().unwrap_or(false)),
        ("swap: one session", attack.swaps_in_one_session().unwrap_or(false)),
    ]
}

struct Attack<'a> {
    cell: &'a Cell<'a>,
    dir: PathBuf,
}

impl Attack<'_> {
    /// A directory of the attacker's own machine.
    fn place(&self, name: &str) -> PathBuf {
        let place = self.dir.join(name);
        fs::create_dir_all(&place).unwrap();
        place
    }

    /// A file of the victim's with a word that nobody else says.
    fn secret(&self, name: &str) -> (PathBuf, String) {
        let word = format!("{name}-secret-{}", self.cell.column.number);
        let path = self.cell.prey.join(name);
        self.cell.file(&path, &format!("{word}\n"));
        (path, word)
    }

    fn rsync(&self, words: &[&str]) -> Ran {
        run(self.cell.thief.rsync(words.iter().copied()).arg("--timeout=20"))
    }

    fn upload(&self, place: &Path) -> Ran {
        self.rsync(&["-rlpt", "--inplace", &format!("{}/", place.display()), "HOST:."])
    }

    fn writes_where_it_says(&self) -> bool {
        let place = self.place("aimed");
        fs::write(place.join("aimed"), "x").unwrap();
        let words =
            ["-r", UNKNOWN, &format!("{}/", place.display()), &format!("HOST:{}/", self.cell.prey.display())];
        self.rsync(&words);
        self.cell.prey.join("aimed").exists()
    }

    fn reads_where_it_says(&self) -> bool {
        let (path, word) = self.secret("read");
        let loot = self.place("read");
        self.rsync(&["-r", UNKNOWN, &format!("HOST:{}", path.display()), &format!("{}/", loot.display())]);
        says(&loot.join("read")).contains(&word)
    }

    fn logs_into_the_key_file(&self) -> bool {
        let place = self.place("logged");
        fs::write(place.join("logged"), "x").unwrap();
        let log = format!("-M--log-file={}", self.cell.keys.display());
        let format = "-M--log-file-format=intruder-was-here";
        self.rsync(&["-r", &log, format, &format!("{}/", place.display()), "HOST:."]);
        says(&self.cell.keys).contains("intruder-was-here")
    }

    fn takes_names_from_a_server_file(&self) -> bool {
        let (path, word) = self.secret("names");
        let loot = self.place("names");
        let from = format!("--files-from=:{}", path.display());
        self.rsync(&[&from, "HOST:current/", &format!("{}/", loot.display())]).all().contains(&word)
    }

    /// Uploads a link to the victim's directory under this name.
    fn plant(&self, name: &str) {
        let place = self.place(&format!("plant-{name}"));
        symlink(&self.cell.prey, place.join(name)).unwrap();
        self.upload(&place);
    }

    fn reads_through_a_link(&self) -> bool {
        let (_, word) = self.secret("through");
        self.plant("read-link");
        let loot = self.place("through");
        self.rsync(&["-r", "HOST:current/read-link/through", &format!("{}/", loot.display())]);
        says(&loot.join("through")).contains(&word)
    }

    fn names_files_behind_a_link(&self) -> bool {
        let (_, word) = self.secret("listed");
        self.plant("list-link");
        let loot = self.place("listed");
        fs::write(self.dir.join("list"), "list-link/listed\n").unwrap();
        let from = format!("--files-from={}", self.dir.join("list").display());
        self.rsync(&[&from, "HOST:current/", &format!("{}/", loot.display())]);
        says(&loot.join("list-link/listed")).contains(&word)
    }

    /// An old version goes where `--backup-dir` says; a link leads it out.
    fn backs_up_through_a_link(&self) -> bool {
        self.plant("backup-link");
        let place = self.place("backup");
        for content in ["old", "newer"] {
            fs::write(place.join("backed-up"), content).unwrap();
            let from = format!("{}/", place.display());
            self.rsync(&["-r", "-b", "-M--backup-dir=backup-link", &from, "HOST:."]);
        }
        self.cell.prey.join("backed-up").exists()
    }

    /// Each line of the victim's file becomes a rule: the file of that name is not sent, and that tells.
    fn asks_a_merge_file(&self) -> bool {
        let (path, word) = self.secret("merged");
        let (place, loot) = (self.place("merge"), self.place("merged"));
        fs::create_dir(place.join("oracle")).unwrap();
        fs::write(place.join("oracle/.rsync-filter"), format!("merge,- {}\n", path.display())).unwrap();
        for guess in [&word, "another-guess"] {
            fs::write(place.join("oracle").join(guess), "x").unwrap();
        }
        self.upload(&place);
        self.rsync(&["-r", "-f", ": .rsync-filter", "HOST:current/oracle/", &format!("{}/", loot.display())]);
        loot.join("another-guess").exists() && !loot.join(&word).exists()
    }

    fn uploads_a_setuid_program(&self) -> bool {
        let place = self.place("setuid");
        let program = place.join("uploaded-setuid");
        fs::copy(self.cell.current.join("uploaded"), &program).unwrap();
        fs::set_permissions(&program, fs::Permissions::from_mode(0o4755)).unwrap();
        self.upload(&place);
        let ran = Command::new(self.cell.current.join("uploaded-setuid")).output();
        let said = ran.map_or(String::new(), |ran| String::from_utf8_lossy(&ran.stdout).into_owned());
        said.contains(&format!("ran as {}", self.cell.uid()))
    }

    /// One session holds a file's data back, another one puts a link in its place.
    fn swaps_in_two_sessions(&self) -> io::Result<bool> {
        let (path, _) = self.secret("swapped-by-two");
        let data = b"written through a link\n";
        let mut first = Forger::begin(&self.cell.thief, "rsync --server -l --inplace . .")?;
        first.list(&[Entry { name: b"two", kind: Kind::File(23) }])?;
        let wanted = first.wanted()?;
        let second = Forger::begin(&self.cell.thief, "rsync --server -l --inplace . .");
        if let Ok(mut second) = second {
            let target = path.as_os_str().as_encoded_bytes();
            second.list(&[Entry { name: b"two", kind: Kind::Link(target) }])?;
            let _ = second.wanted();
            second.end();
        }
        for file in &wanted {
            first.send(file, data)?;
        }
        first.end();
        Ok(says(&path).contains("written through"))
    }

    /// One list names a path twice, as a file and as a link; the data comes when the link is there.
    fn swaps_in_one_session(&self) -> io::Result<bool> {
        let (path, _) = self.secret("swapped-by-one");
        let mut session = Forger::begin(&self.cell.thief, "rsync --server -lrR --inplace . .")?;
        let target = path.as_os_str().as_encoded_bytes();
        session.list(&[
            Entry { name: b"d", kind: Kind::Directory },
            Entry { name: b"/d/one", kind: Kind::File(23) },
            Entry { name: b"d/one", kind: Kind::Link(target) },
        ])?;
        for file in &session.wanted()? {
            session.send(file, b"written through a link\n")?;
        }
        session.end();
        Ok(says(&path).contains("written through"))
    }
}
