//! The decision, second by second.

use super::*;

const BUDGET: Budget = Budget {
    cpu: 0.05,
    memory: 100 << 20,
    shed_after: Duration::from_secs(10),
    return_after: Duration::from_secs(30),
};
const LOW: Usage = Usage { cpu: 0.01, memory: 50 << 20 };
const HIGH: Usage = Usage { cpu: 0.06, memory: 50 << 20 };
/// Below the budget and not low.
const BETWEEN: Usage = Usage { cpu: 0.045, memory: 50 << 20 };
const SECOND: Duration = Duration::from_secs(1);

/// The levels reached within so many seconds of the same use, with the second of each change.
fn run(governor: &mut Governor, usage: Usage, seconds: u64) -> Vec<(u64, Level)> {
    (1..=seconds)
        .filter_map(|second| governor.observe(usage, SECOND).map(|change| (second, change.to)))
        .collect()
}

#[test]
fn things_are_given_up_in_their_order_and_come_back_in_reverse() {
    let mut governor = Governor::new(BUDGET);
    assert_eq!(run(&mut governor, LOW, 100), []);
    let up = run(&mut governor, HIGH, 60);
    assert_eq!(up, [(10, Level::Payload), (20, Level::Spans), (30, Level::Counts)]);
    let down = run(&mut governor, LOW, 100);
    assert_eq!(down, [(30, Level::Spans), (60, Level::Payload), (90, Level::Full)]);
    let state = governor.state();
    assert_eq!((state.level, state.highest), (Level::Full, Level::Counts));
    assert_eq!(state.shed_for, Duration::from_secs(50 + 90));
}

#[test]
fn a_short_burst_changes_nothing() {
    let mut governor = Governor::new(BUDGET);
    for _ in 0..50 {
        assert_eq!(run(&mut governor, HIGH, 5), []);
        assert_eq!(run(&mut governor, LOW, 6), []);
    }
    assert_eq!(governor.state().highest, Level::Full);
}

#[test]
fn just_below_the_budget_nothing_comes_back() {
    let mut governor = Governor::new(BUDGET);
    run(&mut governor, HIGH, 10);
    assert_eq!(run(&mut governor, BETWEEN, 1000), []);
    assert_eq!(run(&mut governor, LOW, 30), [(30, Level::Full)]);
}

#[test]
fn memory_counts_as_well() {
    let mut governor = Governor::new(BUDGET);
    let much = Usage { cpu: 0.0, memory: 101 << 20 };
    assert_eq!(run(&mut governor, much, 10), [(10, Level::Payload)]);
    assert_eq!(run(&mut governor, Usage { cpu: 0.0, memory: 95 << 20 }, 1000), []);
    assert_eq!(run(&mut governor, Usage { cpu: 0.0, memory: 90 << 20 }, 30), [(30, Level::Full)]);
}

#[test]
fn after_a_relapse_it_waits_longer() {
    let mut governor = Governor::new(BUDGET);
    run(&mut governor, HIGH, 10);
    let mut waited = Vec::new();
    for _ in 0..7 {
        let back = run(&mut governor, LOW, 2000);
        waited.extend(back.iter().map(|(second, _)| *second));
        // What came back costs too much again: the time of the last wait does not matter.
        governor.since_return = Duration::ZERO;
        assert_eq!(run(&mut governor, HIGH, 10).len(), 1);
    }
    assert_eq!(waited, [30, 60, 120, 240, 480, 600, 600]);
    run(&mut governor, LOW, 2000);
    run(&mut governor, HIGH, 10);
    assert_eq!(run(&mut governor, LOW, 2000), [(30, Level::Full)]);
}

#[test]
fn levels_are_ordered_and_named() {
    assert!(Level::ALL.is_sorted());
    assert_eq!(Level::ALL.map(Level::name), ["full", "payload", "spans", "counts"]);
}
