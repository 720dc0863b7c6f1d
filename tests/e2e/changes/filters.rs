//! The one thing that is decided in rsync's place: which paths its patterns leave out.

use std::fs;
use std::path::Path;
use std::process::Command;

use byteback::policy::filters::{Filters, Verdict};

use super::chance::Chance;
use super::{seed, setting};
use crate::run::run;
use crate::versions::rsyncs;
use crate::world::World;

#[test]
fn what_is_left_out_is_told_as_rsync_tells_it() {
    let world = World::new("filter-truth");
    let root = world.clients.join("f");
    let directories =
        ["a", "b", "ab", "a/a", "a/b/a", "a/b/ab.o", "b/a/x", "ab/a/b/a", "a/x*y", "b/a\\b", "a/c/c"];
    for path in directories {
        fs::create_dir_all(root.join(path).join("d")).unwrap();
    }
    for path in directories {
        for name in ["a", "b.o", "ab", "x*", "c\\d", "core"] {
            // A directory of that name is as good.
            let _ = fs::write(root.join(path).join(name), "");
        }
    }
    let under = root.strip_prefix("/").unwrap().to_str().unwrap().to_owned();
    let seed = seed();
    eprintln!("BYTEBACK_SEED={seed}");
    let mut chance = Chance::new(seed);
    let (mut compared, mut left_out) = (0, 0);
    for (version, rsync) in rsyncs(&world) {
        for _ in 0..setting("BYTEBACK_STEPS", 150) {
            let patterns: Vec<String> = (0..=chance.below(3)).map(|_| pattern(&mut chance, &under)).collect();
            let mut filters = Filters::default();
            if patterns.iter().any(|pattern| filters.exclude(pattern.as_bytes()).is_err()) {
                continue;
            }
            let mut command = Command::new(&rsync);
            command.args(["-rR", "--list-only", "--no-human-readable"]);
            command.args(patterns.iter().map(|pattern| format!("--exclude={pattern}"))).arg(&root);
            let listed = run(&mut command).must(0).text();
            let mut theirs: Vec<String> = listed
                .lines()
                .filter_map(|line| line.split_whitespace().nth(4))
                .map(|name| name.replace("\\#134", "\\"))
                .collect();
            theirs.retain(|name| name.starts_with(&under));
            theirs.sort();
            let (mut ours, mut unclear) = (Vec::new(), false);
            look(&filters, &root, &mut ours, &mut unclear);
            ours.sort();
            if !unclear {
                assert_eq!(ours, theirs, "BYTEBACK_SEED={seed} rsync {version} {patterns:?}");
                compared += 1;
                left_out += u32::from(ours.len() < 60);
            }
        }
    }
    assert!(compared > 100 && left_out > 50, "{compared} {left_out}");
}

fn look(filters: &Filters, path: &Path, taken: &mut Vec<String>, unclear: &mut bool) {
    let name = path.to_str().unwrap().trim_start_matches('/');
    let is_directory = path.is_dir();
    match filters.verdict(name.as_bytes(), is_directory) {
        Verdict::LeftOut => return,
        Verdict::Unclear => *unclear = true,
        Verdict::Taken => {}
    }
    taken.push(name.to_owned());
    if is_directory {
        for entry in fs::read_dir(path).unwrap() {
            look(filters, &entry.unwrap().path(), taken, unclear);
        }
    }
}

fn pattern(chance: &mut Chance, under: &str) -> String {
    let part =
        ["a", "b", "ab", "*", "**", "?", "a*", "*b", "*.o", "a?", "core", "x*y", "x\\*y", "c\\d", "***", "d"];
    let many = 1 + chance.below(3);
    let parts: Vec<&str> = (0..many).map(|_| chance.pick(&part).unwrap()).collect();
    let start = ["", "", "/", "**/", &format!("/{under}/"), "+ ", "+ /", "- "];
    let start = chance.pick(&start).unwrap();
    let end = chance.pick(&["", "", "/", "/*", "/**", "/***"]).unwrap();
    format!("{start}{}{end}", parts.join("/"))
}
