//! What it costs to plan a pruning, without the store: `make planning`. docs/measurements.md keeps figures.
//!
//! Prints for growing stores, of 100 snapshots for each client: the processor time in which their names become
//! an inventory and the inventory a plan, and the most memory that the process had so far.

#![allow(clippy::print_stdout, clippy::unwrap_used, reason = "a measuring program is its own test")]

use std::fs;
use std::hint::black_box;
use std::time::{Duration, Instant};

use byteback::model::SnapshotName;
use byteback::model::server_config::ServerConfig;
use byteback::policy::prune::{History, Inventory, Order, PrunePlan, Rules};
use jiff::{SignedDuration, Timestamp};

const SNAPSHOTS: i64 = 100;
const ROUNDS: usize = 7;

fn now() -> Timestamp {
    "2026-11-21T23:47:31Z".parse().unwrap()
}

/// Each client's names: nights that are not at the same time, as a listing gives them, in no order.
fn listing(clients: u32) -> Vec<(String, Vec<String>)> {
    let name = |client: u32, night: i64| {
        let minutes = night * 1440 + i64::from(client) * 7 % 600;
        SnapshotName::at(now() - SignedDuration::from_mins(minutes)).to_string()
    };
    let nights = |client: u32| (0..SNAPSHOTS).map(move |night| name(client, night * 37 % SNAPSHOTS));
    (0..clients).map(|client| (format!("client{client:05}.example.org"), nights(client).collect())).collect()
}

fn inventory(listing: &[(String, Vec<String>)]) -> Inventory {
    let history = |(client, names): &(String, Vec<String>)| {
        History::new(client.parse().unwrap(), names.iter().map(|name| name.parse().unwrap()).collect())
    };
    Inventory { clients: listing.iter().map(history).collect() }
}

/// What it takes, in milliseconds: the middle one of some rounds.
#[derive(Clone, Copy)]
struct Took {
    /// By the clock.
    clock: f64,
    /// Of the processor alone: what the clock shows where nothing else runs.
    processor: f64,
}

fn took<T>(mut run: impl FnMut() -> T) -> Took {
    let (mut clock, mut processor) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        let (begin, used) = (Instant::now(), processor_time());
        black_box(run());
        clock.push(begin.elapsed());
        processor.push(processor_time().saturating_sub(used));
    }
    Took { clock: median(clock), processor: median(processor) }
}

fn median(mut times: Vec<Duration>) -> f64 {
    times.sort_unstable();
    times[ROUNDS / 2].as_secs_f64() * 1000.0
}

/// What this process had of the processor (the kernel's documentation, scheduler/sched-stats).
fn processor_time() -> Duration {
    let stat = fs::read_to_string("/proc/self/schedstat").unwrap();
    Duration::from_nanos(stat.split(' ').next().unwrap().parse().unwrap())
}

/// The most memory that this process ever had, in MiB (proc(5), VmHWM).
fn peak() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() / 1024
}

fn measure(clients: u32) {
    let listing = listing(clients);
    let before = peak();
    let whole = inventory(&listing);
    let plan = |text: &str, order: Order| {
        let config = ServerConfig::from_toml(text).unwrap();
        took(|| PrunePlan::new(&whole, &Rules { order, config: &config }, now()).steps().len())
    };
    let importance = plan("", Order::Importance);
    let age = plan("", Order::Age);
    let tiers = plan("keep = { daily = 14, weekly = 8, monthly = 12, yearly = 3 }", Order::Importance);
    let parsed = took(|| inventory(&listing)).processor;
    let snapshots = f64::from(clients) * 100.0;
    let per_n_log_n = importance.processor * 1e6 / (snapshots * snapshots.log2());
    let Took { clock, processor } = importance;
    let (age, tiers, peak) = (age.processor, tiers.processor, peak());
    println!(
        "| {snapshots} | {parsed:.1} ms | {processor:.1} ms | {clock:.1} ms | {age:.1} ms | {tiers:.1} ms \
         | {per_n_log_n:.1} ns | {before} MiB | {peak} MiB |"
    );
}

fn main() {
    println!(
        "| snapshots | names to inventory | plan by importance | the same by the clock | by age | with tiers \
         | importance / (n log2 n) | memory before | peak |\n|---|---|---|---|---|---|---|---|---|"
    );
    for clients in [100, 1_000, 10_000] {
        measure(clients);
    }
}
