//! Longer proofs for `make soak`: what must hold at every moment, tried at many.

use std::fs;
use std::thread;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};

use crate::backup::unpack_with_stock_rsync;
use crate::client::Client;
use crate::compare::assert_equal_both_ways;
use crate::torture;
use crate::world::World;

/// One backup after the other is killed, each a little later in its life, by each signal, at each process.
#[test]
#[ignore = "long: make soak"]
fn wherever_a_backup_is_killed_the_next_one_goes_on() {
    let world = World::new("soak-kill");
    let client = Client::enrolled(&world, "web1");
    torture::many_small_files(&client.tree, 4_000);
    client.write("large", torture::noise(1, 20_000_000));
    for round in 0_u32..60 {
        let running = client.start_backup();
        thread::sleep(Duration::from_millis(u64::from(25 * round)));
        let mut pids = vec![running.pid()];
        pids.extend(running.descendants().into_iter().map(|(pid, _)| pid));
        let signal = [Signal::SIGTERM, Signal::SIGKILL, Signal::SIGINT][round as usize % 3];
        let _ = kill(pids[round as usize % pids.len()], signal);
        let ran = running.wait();
        assert!([0, 1, 4, 130, 137, 143].contains(&ran.code()), "{}", ran.story());
        fs::write(client.tree.join("round"), "x".repeat(round as usize)).unwrap();
    }
    // Orphans of the last rounds may be at work for a moment.
    let mut ran = client.backup();
    for _ in 0..50 {
        if ran.code() == 0 {
            break;
        }
        thread::sleep(Duration::from_millis(200));
        ran = client.backup();
    }
    ran.must(0);
    let unpacked = world.clients.join("unpacked");
    unpack_with_stock_rsync(&client.tree_in(&world.current("web1")), &unpacked);
    assert_equal_both_ways(&client.tree, &unpacked);
}

/// Clients come back at the same time, again and again, while the pruner makes room below them.
#[test]
#[ignore = "long: make soak"]
fn many_clients_and_the_pruner_live_together() {
    let world = World::with_size("soak-many", "2G");
    let names = ["a", "b", "c", "d", "e", "f"];
    let clients: Vec<Client> = names.iter().map(|name| Client::enrolled(&world, name)).collect();
    let config =
        world.server_config("soak.toml", "log = 'file'\nsnapshot_interval = 0\nmin_age = 0\nmin_keep = 0\n");
    for round in 0..8_u8 {
        thread::scope(|scope| {
            for (number, client) in clients.iter().enumerate() {
                scope.spawn(move || {
                    client.write(
                        "data",
                        torture::noise(
                            u64::from(round) * 100 + number as u64,
                            15_000_000 + usize::from(round),
                        ),
                    );
                    client.backup().must(0);
                    let old = format!("2026-01-{:02}T00:00+0000", round + 1);
                    if client
                        .world
                        .snapshots(&client.name)
                        .last()
                        .is_some_and(|newest| !newest.contains("-01-"))
                    {
                        client.world.rename_newest(&client.name, &old);
                    }
                });
            }
            scope.spawn(|| {
                let words = ["--prune", "--minpercent", "70", "--maxpercent", "75", "--config"];
                crate::run::run(world.server("byteback-prune").args(words).arg(&config));
            });
        });
    }
    for client in &clients {
        let unpacked = world.clients.join(format!("unpacked-{}", client.name));
        unpack_with_stock_rsync(&client.tree_in(&world.current(&client.name)), &unpacked);
        assert_equal_both_ways(&client.tree, &unpacked);
        assert!(!world.snapshots(&client.name).is_empty());
    }
}
