//! Runs that were killed in the middle, on either side.

use std::thread;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};

use super::chance::{Chance, Tree};
use super::{assert_stored, seed, setting};
use crate::client::Client;
use crate::run::{Running, descendants, run, start, wait_until};
use crate::world::World;

/// Ends one of the programs that a run is made of, on either side, in the middle of something.
fn kill_one(chance: &mut Chance, running: &Running, world: &World) -> String {
    let mut all = running.descendants();
    all.push((running.pid(), "byteback-backup".to_owned()));
    all.extend(descendants(world.sshd_pid()).into_iter().filter(|(_, name)| !name.starts_with("sshd")));
    let (victim, name) = chance.pick(&all).unwrap();
    let _ = kill(victim, Signal::SIGKILL);
    name
}

fn kill_at_random(world: &World, times: u64, seed: u64) {
    eprintln!("BYTEBACK_SEED={seed}");
    let client = Client::enrolled(world, "web1");
    let mut tree = Tree::new(&client.tree, seed);
    client.mode(&[]);
    for turn in 0..times {
        let mut story: Vec<String> = (0..6).map(|_| tree.change()).collect();
        let running = start(&mut client.backup_command());
        thread::sleep(Duration::from_millis(tree.chance.below(700)));
        let victim = kill_one(&mut tree.chance, &running, world);
        running.wait();
        story.extend([format!("{victim} was killed"), tree.change()]);
        wait_until("the server has let go", || {
            let ran = run(client.backup_command().args(["--json", "--verbose"]));
            story.push(ran.story());
            ran.code() == 0
        });
        assert_stored(&client, &format!("BYTEBACK_SEED={seed} turn {turn}\n{}", story.join("\n")));
    }
}

#[test]
fn whatever_is_killed_the_next_run_makes_it_right() {
    kill_at_random(&World::new("changes-kill"), 5, seed());
}

#[test]
#[ignore = "takes minutes: make soak"]
fn whatever_is_killed_a_hundred_times_the_next_run_makes_it_right() {
    kill_at_random(&World::new("changes-kill-100"), setting("BYTEBACK_STEPS", 100), seed());
}
