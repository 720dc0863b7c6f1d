//! Attacks by effect, with each layer of the gate switched off in turn, and each one alone. What comes out is the
//! matrix in `docs/threat-model.md`, and it must be exactly that one: neither can lie about the other.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Mutex;
use std::thread;

mod cell;
mod deeds;
mod lies;
mod root;
mod sessions;
mod wire;

use cell::Cell;

use crate::run::{run, tool};
use crate::world::World;

/// What can be switched off. The last one is the store's, not the gate's: nosuid, nodev, noexec.
pub(super) const LAYERS: [&str; 7] =
    ["grammar", "fake-super", "lock", "landlock", "seccomp", "namespace", "mount"];

/// Layers that are on.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Column {
    number: usize,
    on: [bool; LAYERS.len()],
}

impl Column {
    fn has_mount_flags(self) -> bool {
        self.on[LAYERS.len() - 1]
    }

    fn is_off(self, layer: &str) -> bool {
        LAYERS.iter().zip(self.on).any(|(name, on)| *name == layer && !on)
    }
}

/// All layers; all but one, in turn; one alone, in turn; none.
fn columns() -> Vec<Column> {
    let but = |layer: usize| std::array::from_fn(|other| other != layer);
    let alone = |layer: usize| std::array::from_fn(|other| other == layer);
    let count = LAYERS.len();
    let mut all = vec![[true; LAYERS.len()]];
    all.extend((0..count).map(but));
    all.extend((0..count).map(alone));
    all.push([false; LAYERS.len()]);
    all.into_iter().enumerate().map(|(number, on)| Column { number, on }).collect()
}

/// For each attack whether it had its effect in each column.
type Matrix = BTreeMap<&'static str, Vec<bool>>;

#[test]
fn no_attack_passes_all_layers_and_each_is_real_without_them() {
    let world = World::with_size("matrix", "2G");
    // Only rsync 3.5 and later have --confine-root; what set-up found out about it is forgotten here, so that the
    // matrix is every rsync's.
    let _ = std::fs::remove_file(world.store.join(".byteback/rsync.json"));
    let tools = cell::Tools::build(&world);
    let columns = columns();
    let cells: Vec<Cell<'_>> = columns
        .iter()
        .map(|column| Cell::new(&world, &tools, *column, Path::new("/usr/bin/rsync")))
        .collect();
    let results: Mutex<BTreeMap<usize, Vec<(&'static str, bool)>>> = Mutex::default();
    for flags in [true, false] {
        let options = if flags { "remount,nosuid,nodev,noexec" } else { "remount,suid,dev,exec" };
        tool("mount", ["-o".as_ref(), options.as_ref(), world.store.as_os_str()]);
        let cells: Vec<&Cell<'_>> =
            cells.iter().filter(|cell| cell.column.has_mount_flags() == flags).collect();
        let next = Mutex::new(cells.into_iter());
        thread::scope(|scope| {
            // Much of the time is spent waiting: for logins, for a lock that is not given.
            for _ in 0..4 {
                scope.spawn(|| {
                    loop {
                        let Some(cell) = next.lock().unwrap().next() else { break };
                        let mut found = deeds::judge(cell);
                        found.extend(wire::judge(cell));
                        results.lock().unwrap().insert(cell.column.number, found);
                    }
                });
            }
        });
    }
    let mut matrix = Matrix::new();
    for (column, found) in results.into_inner().unwrap() {
        for (attack, worked) in found {
            let row = matrix.entry(attack).or_default();
            assert_eq!(row.len(), column, "{attack} was not judged in every column");
            row.push(worked);
        }
    }
    let printed = print(&matrix);
    println!("{printed}");
    let open = left_open(&world);
    if open.is_empty() {
        let truth = format!("docs/threat-model.md says otherwise; this is true:\n{printed}");
        assert_eq!(printed, documented("matrix"), "{truth}");
    } else {
        println!("this kernel is less than the document's, which is not compared; it leaves open: {open:?}");
    }
    for (attack, row) in &matrix {
        assert!(!row[0] || open.contains(attack), "{attack} passes all layers");
        assert!(row[columns.len() - 1], "{attack} does nothing without any layer: it proves nothing");
    }
}

/// What passes on this machine as the document says: not every kernel gives an ordinary user namespaces, and without
/// one for processes it takes Landlock of Linux 6.12 to stop signals.
fn left_open(world: &World) -> Vec<&'static str> {
    let mut open = Vec::new();
    if !run(&mut world.as_user(["unshare", "--user", "--mount", "--pid", "--fork", "true"])).status.success()
    {
        open.extend(["in push: chmod key file", "in push: stat other's file", "in push: xattr of key file"]);
        let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap();
        let mut numbers = release.split(['.', '-']).map_while(|number| number.parse::<u32>().ok());
        if (numbers.next(), numbers.next()) < (Some(6), Some(12)) {
            open.push("in push: kill a process");
        }
    }
    open
}

/// As it stands in the document: a dot where the attack was stopped, an X where it had its effect.
fn print(matrix: &Matrix) -> String {
    let mut lines = vec![
        format!("{:<27}all  without{:<14}only{:<17}none", "", "", ""),
        format!("{:<32}G F L A S N M        G F L A S N M", ""),
    ];
    for (attack, row) in matrix {
        let marks: Vec<&str> = row.iter().map(|worked| if *worked { "X" } else { "." }).collect();
        let count = LAYERS.len();
        lines.push(format!(
            "{attack:<27} {}   {}        {}        {}",
            marks[0],
            marks[1..=count].join(" "),
            marks[count + 1..=2 * count].join(" "),
            marks[2 * count + 1],
        ));
    }
    lines.join("\n")
}

/// A table of the document.
fn documented(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/threat-model.md");
    let text = std::fs::read_to_string(path).unwrap();
    let (_, after) =
        text.split_once(&format!("<!-- {name} -->\n```\n")).expect("a table in docs/threat-model.md");
    after.split_once("\n```").expect("its end").0.to_owned()
}
