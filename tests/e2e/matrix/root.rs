//! The layer that only rsync 3.5 and later have: `--confine-root`, which the gate adds there, with all others off.

use std::path::PathBuf;

use byteback::store::rsync_facts;
use nix::unistd::{User, chown};

use super::cell::{Cell, Tools};
use super::{Column, LAYERS, documented, wire};
use crate::run::tool;
use crate::versions::rsyncs;
use crate::world::World;

#[test]
fn confine_root_alone_stops_what_the_document_says_and_no_more() {
    let world = World::with_size("matrix-root", "1G");
    let Some(rsync) = rsync_3_5(&world) else { return };
    tool("mount", ["-o".as_ref(), "remount,suid,dev,exec".as_ref(), world.store.as_os_str()]);
    let tools = Tools::build(&world);
    let state = world.store.join(".byteback");
    let _ = std::fs::remove_file(state.join("rsync.json"));
    let judge = |number| {
        wire::judge(&Cell::new(&world, &tools, Column { number, on: [false; LAYERS.len()] }, &rsync))
    };
    let none = judge(0);
    rsync_facts::remember(&state, &rsync_facts::probe(&rsync).unwrap()).unwrap();
    let owner = User::from_name(&world.user).unwrap().unwrap();
    chown(&state.join("rsync.json"), Some(owner.uid), Some(owner.gid)).unwrap();
    let alone = judge(1);

    let mark = |worked: bool| if worked { "X" } else { "." };
    let mut lines: Vec<String> = alone
        .iter()
        .zip(&none)
        .map(|((attack, worked), (_, without))| {
            format!("{attack:<27} {}               {}", mark(*worked), mark(*without))
        })
        .collect();
    lines.sort();
    let printed = format!("{:<27} confine-root    none\n{}", "", lines.join("\n"));
    assert_eq!(
        printed,
        documented("confine-root"),
        "docs/threat-model.md says otherwise; this is true:\n{printed}"
    );
}

fn rsync_3_5(world: &World) -> Option<PathBuf> {
    rsyncs(world).into_iter().find(|(version, _)| *version == "3.5.0").map(|(_, program)| program)
}
