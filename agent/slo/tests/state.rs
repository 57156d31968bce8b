//! An evaluator that is written and read again at random instants of a random series goes on as if nothing
//! had been; bytes that nobody wrote give an error; what an SLO may change in the meantime.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::cast_possible_wrap,
    clippy::cast_sign_loss,
    reason = "a test"
)]

mod common;

use std::sync::Arc;

use fastrand::Rng;
use vigie_slo::evaluate::{Evaluator, Tick};
use vigie_slo::figures::{Change, Mode, Transition};
use vigie_slo::model::{Budgeting, Empty, Slices, Slo};
use vigie_slo::rings::Resolution;
use vigie_slo::state::{self, Unusable};
use vigie_slo::window::{Calendar, Unit, Window, zone};

const TICK_S: u64 = 2;

fn new(slo: &Slo) -> Evaluator {
    let slo = Arc::new(slo.clone());
    let resolution = Resolution::node(Evaluator::longest_s(&slo));
    Evaluator::new(slo, Mode::Scaled, resolution)
}

fn again(evaluator: &Evaluator, slo: &Slo) -> Result<Evaluator, Unusable> {
    let slo = Arc::new(slo.clone());
    let resolution = Resolution::node(Evaluator::longest_s(&slo));
    Evaluator::decode(&evaluator.encode(), slo, Mode::Scaled, resolution)
}

/// The next tick: mostly right after the last one, sometimes after a gap, or late.
fn next(rng: &mut Rng, t: &mut i64, failing: &mut bool) -> Tick {
    *t += match rng.u16(0..2_000) {
        0 => rng.i64(1..200_000) * 2,
        1..5 => -2 * rng.i64(0..10),
        _ => TICK_S as i64,
    };
    if rng.u16(0..400) == 0 {
        *failing = !*failing;
    }
    let total = rng.u64(0..1_000) * u64::from(rng.u8(0..5) > 0);
    let bad = if *failing { rng.u64(0..=total) } else { total / 900 };
    let unobserved = if rng.u8(0..20) == 0 { rng.u64(0..50) } else { 0 };
    Tick { t: *t, length_s: TICK_S, good: total - bad, bad, unobserved }
}

fn random_slo(rng: &mut Rng) -> Slo {
    let mut slo = common::slo();
    slo.target = ["99%", "99.9%", "99.95%"][rng.usize(0..3)].parse().unwrap();
    slo.window = match rng.u8(0..3) {
        0 => Window::Rolling(86_400),
        1 => Window::Rolling(30 * 86_400),
        _ => Window::Calendar(Calendar {
            unit: Unit::Days(1),
            anchor: "2020-01-01T00:00".parse().unwrap(),
            zone: zone("Europe/Paris").unwrap(),
            zone_name: "Europe/Paris".to_owned(),
        }),
    };
    let slices = Slices { length_s: 60, target: "98%".parse().unwrap(), empty: Empty::Bad };
    slo.budgeting = match rng.u8(0..4) {
        0 => Budgeting::Slices(slices),
        1 => Budgeting::RatioSlices(slices),
        _ => Budgeting::Occurrences,
    };
    for alert in &mut slo.alerts {
        for condition in &mut alert.conditions {
            condition.window_s /= [1, 10, 30][rng.usize(0..3)];
            condition.after_s = [0, 0, 30][rng.usize(0..3)];
        }
    }
    slo
}

#[test]
fn written_and_read_at_random_instants_it_goes_on_as_if_nothing_had_been() {
    let mut changes = 0;
    for seed in 0..60 {
        let mut rng = Rng::with_seed(seed);
        let slo = random_slo(&mut rng);
        let (mut one, mut other) = (new(&slo), new(&slo));
        let (mut expected, mut found) = (Vec::new(), Vec::new());
        let (mut t, mut failing) = (1_795_000_000, false);
        for _ in 0..3_000 {
            let tick = next(&mut rng, &mut t, &mut failing);
            one.tick(&tick, &mut expected);
            other.tick(&tick, &mut found);
            if rng.u8(0..40) == 0 {
                other = again(&other, &slo).unwrap();
                assert_eq!(other.figures(), one.figures(), "seed {seed} t {t}");
            }
        }
        assert_eq!(found, expected, "seed {seed}");
        assert_eq!(format!("{other:?}"), format!("{one:?}"), "seed {seed}");
        changes += expected.len();
    }
    assert!(changes > 500, "the series are too tame: {changes}");
}

fn on(t: &mut i64, evaluator: &mut Evaluator, seconds: i64, bad_percent: u64) -> Vec<Transition> {
    let mut out = Vec::new();
    let end = *t + seconds;
    while *t < end {
        *t += TICK_S as i64;
        let bad = bad_percent * 2;
        let tick = Tick { t: *t, length_s: TICK_S, good: 200 - bad, bad, unobserved: 0 };
        evaluator.tick(&tick, &mut out);
    }
    out
}

fn alerts(evaluator: &Evaluator) -> Vec<(&str, bool)> {
    let name = |index: usize| evaluator.slo().alerts[index].name.as_str();
    evaluator.firing().map(|firing| (name(firing.index), firing.held)).collect()
}

/// Ends of `page-quick`.
fn ended(transitions: &[Transition]) -> Vec<i64> {
    let ends = transitions.iter().filter(|at| at.change == Change::Alert { index: 0, on: false });
    ends.map(|at| at.t).collect()
}

#[test]
fn what_fired_is_held_until_a_short_window_was_seen_again() {
    let slo = common::slo();
    let mut evaluator = new(&slo);
    let mut t = 0;
    on(&mut t, &mut evaluator, 86_400, 0);
    on(&mut t, &mut evaluator, 120, 100);
    let firing: Vec<i64> = evaluator.firing().map(|firing| firing.since).collect();
    assert_eq!(alerts(&evaluator), [("page-quick", false)]);
    // Down for so long that the gap ends it, if nothing holds it.
    t += 3_000;
    let mut lost = again(&evaluator, &slo).unwrap();
    assert_eq!(ended(&on(&mut { t }, &mut lost, 10, 1)), [t + 2]);
    let mut held = again(&evaluator, &slo).unwrap();
    held.hold();
    assert_eq!(ended(&on(&mut t, &mut held, 200, 1)), []);
    assert_eq!(alerts(&held), [("page-quick", true)]);
    assert_eq!(held.firing().map(|firing| firing.since).collect::<Vec<_>>(), firing, "the onset");
    // A second restart within it: what was seen counts.
    let mut held = again(&held, &slo).unwrap();
    held.hold();
    let restarted = t;
    assert_eq!(ended(&on(&mut t, &mut held, 300, 1)), [restarted + 100]);
}

#[test]
fn what_still_burns_after_the_hold_goes_on() {
    let slo = common::slo();
    let mut evaluator = new(&slo);
    let mut t = 0;
    on(&mut t, &mut evaluator, 86_400, 0);
    on(&mut t, &mut evaluator, 120, 100);
    t += 600;
    evaluator.hold();
    assert_eq!(ended(&on(&mut t, &mut evaluator, 1_000, 100)), []);
    assert!(alerts(&evaluator).contains(&("page-quick", false)));
}

#[test]
fn what_an_slo_may_change() {
    let slo = common::slo();
    let mut evaluator = new(&slo);
    let mut t = 1_795_000_000;
    on(&mut t, &mut evaluator, 20_000, 0);
    on(&mut t, &mut evaluator, 300, 100);
    let before = evaluator.figures().unwrap();

    let mut other = slo.clone();
    other.target = "99.5%".parse().unwrap();
    other.alerts.swap(0, 3);
    other.alerts.remove(1);
    other.alerts[0].name = "new".to_owned();
    let evaluator_of_now = again(&evaluator, &other).unwrap();
    let after = evaluator_of_now.figures().unwrap();
    assert_eq!(after.period, before.period);
    assert!(after.spent < before.spent);
    assert_eq!(before.firing, [0, 1, 2, 3]);
    assert_eq!(alerts(&evaluator_of_now), [("ticket-quick", false), ("page-quick", false)]);

    for window in [
        Window::Rolling(7 * 86_400),
        Window::Calendar(Calendar {
            unit: Unit::Months(1),
            anchor: "2020-01-01T00:00".parse().unwrap(),
            zone: zone("UTC").unwrap(),
            zone_name: "UTC".to_owned(),
        }),
    ] {
        other.window = window;
        let changed = again(&evaluator, &other).unwrap().figures().unwrap();
        assert_eq!((changed.period, changed.t), (before.period, before.t));
        assert!(changed.spent.is_some());
    }

    other.indicator.hung_after_ms = Some(1_000);
    assert_eq!(again(&evaluator, &other).unwrap_err(), Unusable::Indicator);
    let mut other = slo.clone();
    let slices = Slices { length_s: 60, target: "98%".parse().unwrap(), empty: Empty::Bad };
    other.budgeting = Budgeting::Slices(slices);
    assert_eq!(again(&evaluator, &other).unwrap_err(), Unusable::Budgeting);
    assert!(!Unusable::Budgeting.is_damage());
}

#[test]
fn damaged_bytes_are_an_error_or_harmless() {
    let slo = Arc::new(random_slo(&mut Rng::with_seed(3)));
    let resolution = Resolution::node(Evaluator::longest_s(&slo));
    let mut evaluator = new(&slo);
    let (mut t, mut failing) = (1_795_000_000, false);
    let mut rng = Rng::with_seed(1);
    for _ in 0..1_000 {
        evaluator.tick(&next(&mut rng, &mut t, &mut failing), &mut Vec::new());
    }
    let bytes = evaluator.encode();
    let decode =
        |bytes: &[u8]| Evaluator::decode(bytes, Arc::clone(&slo), Mode::Scaled, resolution);
    for length in (0..bytes.len()).step_by(3).chain([bytes.len() - 1]) {
        assert!(decode(&bytes[..length]).is_err(), "{length}");
    }
    let longer = [bytes.as_slice(), &[0]].concat();
    assert_eq!(decode(&longer).unwrap_err(), Unusable::Trailing);
    let mut other = bytes.clone();
    other[..2].copy_from_slice(&9_u16.to_le_bytes());
    assert_eq!(decode(&other).unwrap_err(), Unusable::Version(9));
    assert_eq!(bytes[..2], state::VERSION.to_le_bytes());
    for _ in 0..4_000 {
        let mut damaged = bytes.clone();
        for _ in 0..rng.usize(1..4) {
            // The beginning, where lengths and times are, more often than the rest.
            let most = if rng.bool() { 120 } else { damaged.len() };
            let place = rng.usize(0..most);
            damaged[place] =
                if rng.bool() { damaged[place] ^ 1 << rng.u8(0..8) } else { rng.u8(..) };
        }
        if let Ok(mut evaluator) = decode(&damaged) {
            assert!(evaluator.memory_bytes() <= 16_384 * 16);
            evaluator.hold();
            let mut t = t;
            for _ in 0..3 {
                evaluator.tick(&next(&mut rng, &mut t, &mut failing), &mut Vec::new());
                evaluator.figures();
                evaluator.encode();
            }
        }
    }
}
