//! What is usual, what is not, and what a hostile client cannot do about it.

use proptest::prelude::*;

use super::*;
use crate::model::run_log::Measure;

const GIB: u64 = 1 << 30;
const MIB: u64 = 1 << 20;
const LIMITS: Limits = Limits { factor: 4.0, floor: 2 * GIB };

fn at(hour: i64) -> Timestamp {
    Timestamp::from_second(1_790_000_000 + hour * 3600).unwrap()
}

fn run(hour: i64, new_data: u64, verdict: RunVerdict) -> MeasuredRun {
    MeasuredRun {
        started: at(hour),
        ended: at(hour),
        snapshot: Some(SnapshotName::at(at(hour))),
        status: Some(0),
        new_data,
        measure: Measure::Extents,
        files: 1000,
        changed: 10,
        gone: 0,
        percent_free_before: None,
        percent_free_after: None,
        verdict,
        suspicion: None,
        accepted: false,
    }
}

fn log(runs: &[MeasuredRun]) -> RunLog {
    let mut log = RunLog::default();
    for run in runs {
        log.add(run.clone());
    }
    log
}

/// A full backup and then one each night, of these sizes.
fn nights(sizes: &[u64]) -> RunLog {
    let nights = sizes.iter().zip(1..).map(|(size, night)| run(night * 24, *size, RunVerdict::Normal));
    log(&[run(0, 100 * GIB, RunVerdict::First)].into_iter().chain(nights).collect::<Vec<_>>())
}

fn is_abnormal(growth: Growth) -> bool {
    matches!(growth, Growth::Abnormal { .. })
}

#[test]
fn the_usual_is_the_middle_of_the_last_fourteen_days() {
    assert_eq!(typical(&RunLog::default()), None);
    assert_eq!(typical(&nights(&[])), None, "a full backup tells nothing about a night");
    assert_eq!(typical(&nights(&[5])), Some(5));
    assert_eq!(typical(&nights(&[9, 5])), Some(5), "the lower of two");
    assert_eq!(typical(&nights(&[9, 5, 7])), Some(7));
    let long = [[1; 30].as_slice(), &[50; 14]].concat();
    assert_eq!(typical(&nights(&long)), Some(50));
    let outliers = [[10; 8].as_slice(), &[u64::MAX; 6]].concat();
    assert_eq!(typical(&nights(&outliers)), Some(10));
}

#[test]
fn what_failed_or_was_abnormal_teaches_nothing() {
    let abnormal = RunVerdict::Abnormal { typical: 5 };
    let mut log = nights(&[5, 5]);
    log.add(MeasuredRun { status: Some(12), ..run(80, 900, RunVerdict::Normal) });
    log.add(run(100, 900, abnormal));
    assert_eq!(typical(&log), Some(5));
    log.accept(at(101));
    log.add(MeasuredRun { accepted: true, ..run(124, 900, abnormal) });
    assert_eq!(typical(&log), Some(5), "of 5, 5, 900 and 900");
    log.add(MeasuredRun { accepted: true, ..run(148, 900, abnormal) });
    assert_eq!(typical(&log), Some(900));
}

#[test]
fn abnormal_is_what_exceeds_both_limits() {
    let log = nights(&[GIB; 5]);
    for (new_data, abnormal) in [(0, false), (4 * GIB, false), (4 * GIB + MIB, true), (u64::MAX, true)] {
        assert_eq!(is_abnormal(judge(new_data, &log, &LIMITS, at(24 * 7))), abnormal, "{new_data}");
    }
    let small = nights(&[MIB; 5]);
    assert_eq!(judge(2 * GIB, &small, &LIMITS, at(24 * 7)), Growth::Normal, "up to the floor");
    assert!(is_abnormal(judge(2 * GIB + 1, &small, &LIMITS, at(24 * 7))));
}

#[test]
fn a_first_run_is_normal_by_definition_and_the_second_is_no_larger() {
    assert_eq!(judge(u64::MAX, &RunLog::default(), &LIMITS, at(0)), Growth::First);
    let broken_off = log(&[MeasuredRun { status: Some(30), ..run(0, 50 * GIB, RunVerdict::First) }]);
    assert_eq!(judge(90 * GIB, &broken_off, &LIMITS, at(5)), Growth::First, "it is resumed");
    assert_eq!(judge(100 * GIB, &nights(&[]), &LIMITS, at(24)), Growth::Normal);
    assert!(is_abnormal(judge(101 * GIB, &nights(&[]), &LIMITS, at(24))));
}

#[test]
fn junk_in_many_small_runs_is_still_junk() {
    let mut log = nights(&[100 * MIB; 14]);
    let evening = 24 * 15;
    for number in 0..100 {
        let now = at(evening);
        let growth = judge(GIB, &log, &LIMITS, now);
        assert_eq!(is_abnormal(growth), number >= 2, "{number} GiB before in this night");
        let verdict = verdict(GIB, false, &log, &LIMITS, now, (None, 5.0));
        log.add(run(evening, GIB, verdict));
    }
    assert!(typical(&log).unwrap() <= 2 * GIB);
    assert!(is_pending(&log).is_some());
}

#[test]
fn nobody_teaches_us_within_a_night_that_huge_runs_are_usual() {
    let mut log = nights(&[GIB; 14]);
    let evening = 24 * 15;
    let mut brought = 0;
    for _ in 0..500 {
        // As much as is just not abnormal, as often as it likes.
        let usual = typical(&log).unwrap() * 4;
        let now = at(evening);
        let amount = (1..=usual / MIB).rev().find(|n| !is_abnormal(judge(n * MIB, &log, &LIMITS, now)));
        let Some(amount) = amount else { break };
        brought += amount * MIB;
        log.add(run(evening, amount * MIB, RunVerdict::Normal));
    }
    assert!(brought <= 4 * GIB, "{} GiB", brought / GIB);
}

#[test]
fn an_abnormal_run_waits_for_an_administrator_whatever_comes_after_it() {
    let mut log = nights(&[GIB; 14]);
    assert_eq!(is_pending(&log), None);
    log.add(run(400, 500 * GIB, RunVerdict::Abnormal { typical: GIB }));
    log.add(run(424, MIB, RunVerdict::Normal));
    (0..100).for_each(|_| log.add(MeasuredRun { status: None, ..run(425, 0, RunVerdict::Normal) }));
    assert_eq!(is_pending(&log).map(|run| run.new_data), Some(500 * GIB));
    assert_eq!(doubtful(&log).count(), 1);
    let mut accepted = log.clone();
    accepted.runs.iter_mut().filter(|run| run.is_large()).for_each(|run| run.accepted = true);
    assert_eq!((is_pending(&accepted), doubtful(&accepted).count()), (None, 0));
    log.forget_open();
    assert_eq!(is_pending(&log), None);
}

#[test]
fn a_run_is_stopped_only_when_it_is_abnormal_and_room_is_short() {
    let log = nights(&[GIB; 14]);
    let goes_on = |log: &RunLog, new, free| may_go_on(new, log, &LIMITS, at(400), free, 5.0);
    assert_eq!(goes_on(&log, 500 * GIB, 5.0), Ok(()), "there is room");
    assert_eq!(goes_on(&log, 3 * GIB, 0.1), Ok(()), "as usual: others filled the store");
    let Err(growth) = goes_on(&log, 12 * GIB, 4.9) else { panic!("it went on") };
    assert_eq!(growth.to_string(), "this backup is 12 times larger than usual (1.0 GiB of new data)");
    let mut accepted = log;
    accepted.accept(at(399));
    assert_eq!(goes_on(&accepted, 500 * GIB, 0.1), Ok(()));
}

#[test]
fn a_first_run_must_fit_into_the_free_room_or_be_accepted() {
    let mut log = RunLog::default();
    let goes_on = |log: &RunLog, new, free| may_go_on(new, log, &LIMITS, at(0), free, 5.0);
    assert_eq!(goes_on(&log, 500 * GIB, 5.0), Ok(()));
    assert_eq!(goes_on(&log, GIB, 4.0), Ok(()), "what is smaller than the floor did not fill the store");
    assert_eq!(goes_on(&log, 3 * GIB, 4.9), Err(Growth::First));
    log.accept(at(0));
    assert_eq!(goes_on(&log, 500 * GIB, 0.1), Ok(()));
}

#[test]
fn the_verdict_on_a_first_run_that_ate_the_room_is_abnormal() {
    let of = |new_data, stopped, free| {
        verdict(new_data, stopped, &RunLog::default(), &LIMITS, at(0), (Some(free), 5.0))
    };
    assert_eq!(of(50 * GIB, false, 30.0), RunVerdict::First);
    assert_eq!(of(GIB, false, 3.0), RunVerdict::First);
    assert_eq!(of(50 * GIB, false, 3.0), RunVerdict::Abnormal { typical: 0 });
    assert_eq!(of(50 * GIB, true, 4.9), RunVerdict::Stopped { typical: 0 });
}

#[test]
fn limits_come_from_the_client_s_configuration_and_the_store_s_size() {
    let config = ServerConfig::from_toml("[clients.big]\ngrowth_factor = 9\ngrowth_floor = '1T'\n").unwrap();
    let room = Room { data_total: 500 * GIB, data_copies: 1, ..Room::default() };
    let of = |client: &str| Limits::of(&config, &client.parse().unwrap(), &room);
    assert_eq!(of("web1"), Limits { factor: 4.0, floor: 10 * GIB });
    assert_eq!(of("big"), Limits { factor: 9.0, floor: 1 << 40 });
    assert_eq!(Limits::of(&config, &"web1".parse().unwrap(), &Room::default()), LIMITS);
}

#[test]
fn a_machine_that_was_emptied_or_scrambled_is_suspicious() {
    let before = nights(&[MIB; 3]);
    let thresholds = Thresholds::of(&ServerConfig::default());
    let look = |files, changed, gone| suspicion(Changes { files, changed, gone }, &before, &thresholds);
    assert_eq!(look(1000, 500, 499), None);
    assert_eq!(look(500, 0, 500).as_deref(), Some("500 of the 1000 files that were there before are gone"));
    assert_eq!(look(2000, 1600, 0).as_deref(), Some("1600 of the 2000 files are new or changed"));
    assert!(look(0, 0, 1000).is_some());
    assert_eq!(suspicion(Changes { files: 9, changed: 9, gone: 0 }, &RunLog::default(), &thresholds), None);
    let tiny = log(&[MeasuredRun { files: 99, ..run(0, 5, RunVerdict::First) }]);
    assert_eq!(suspicion(Changes { files: 9, changed: 9, gone: 90 }, &tiny, &thresholds), None);
    let failed = log(&[MeasuredRun { status: Some(12), ..run(0, 5, RunVerdict::First) }]);
    assert_eq!(suspicion(Changes { files: 9, changed: 9, gone: 900 }, &failed, &thresholds), None);
}

proptest! {
    #[test]
    fn no_amounts_overflow_and_more_is_never_less_abnormal(
        sizes in prop::collection::vec(any::<u64>(), 0..20), new_data: u64, more: u64, factor in 1.0f64..100.0,
    ) {
        let (log, limits) = (nights(&sizes), Limits { factor, floor: 0 });
        let before = is_abnormal(judge(new_data, &log, &limits, at(1000)));
        let after = is_abnormal(judge(new_data.saturating_add(more), &log, &limits, at(1000)));
        prop_assert!(!before || after);
        let _ = suspicion(Changes { files: new_data, changed: more, gone: more }, &log, &Thresholds { gone: 1, changed: 1, min_files: 0 });
    }

    #[test]
    fn single_nights_of_any_size_never_move_what_is_usual_by_much(
        usual in 1u64..GIB, odd in prop::collection::vec(any::<u64>(), 0..6),
    ) {
        let sizes = [vec![usual; 8], odd].concat();
        prop_assert!(typical(&nights(&sizes)).unwrap() <= usual);
    }
}
