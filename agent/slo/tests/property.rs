//! 200 random series with gaps, bursts, times without traffic, clocks that were set back, little
//! traffic and losses, and random SLOs: the evaluator does what the slow reference does, in every
//! transition and figure. `VIGIE_SEED` repeats one series.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::cast_possible_wrap,
    clippy::cast_sign_loss,
    clippy::similar_names,
    reason = "a test"
)]

mod common;
mod reference;

use std::sync::Arc;

use fastrand::Rng;
use num_rational::BigRational;
use reference::{Reference, exact};
use vigie_slo::alert::{Alert, Condition, Guards, Op, Severity};
use vigie_slo::figures::{Change, Mode};
use vigie_slo::model::{Budgeting, Empty, Slices, Slo};
use vigie_slo::ratio::Ratio;
use vigie_slo::series::{self, Cut, Row};
use vigie_slo::window::{Calendar, Unit, Window, zone};

fn ratio(text: &str) -> Ratio {
    text.parse().unwrap()
}

/// How traffic is for a while.
#[derive(Clone, Copy)]
enum Weather {
    Steady { rate: u64, bad_per_10_000: u64 },
    Silent,
    Low,
    Gap,
    Lossy,
    SetBack,
}

fn weather(rng: &mut Rng) -> Weather {
    match rng.u8(0..10) {
        0 => Weather::Silent,
        1 => Weather::Low,
        2 => Weather::Gap,
        3 => Weather::Lossy,
        4 => Weather::SetBack,
        _ => {
            let bad = [0, 0, 1, 5, 10, 30, 100, 144, 500, 3_000, 10_000];
            let rate = [1, 10, 100, 1_000, 100_000];
            Weather::Steady {
                rate: rate[rng.usize(0..rate.len())],
                bad_per_10_000: bad[rng.usize(0..bad.len())],
            }
        }
    }
}

fn rows(rng: &mut Rng, tick_s: i64, count: usize) -> Vec<Row> {
    let mut rows = vec![Row { t: tick_s * rng.i64(-50_000..50_000), ..Row::default() }];
    let mut t = rows[0].t;
    while rows.len() < count {
        let now = weather(rng);
        for _ in 0..rng.usize(1..60) {
            t += tick_s;
            let mut row = Row { t, ..Row::default() };
            match now {
                Weather::Steady { rate, bad_per_10_000 } => {
                    let total = rate * tick_s as u64;
                    row.bad = total * bad_per_10_000 / 10_000;
                    row.bad += u64::from(rng.u64(0..10_000) < total * bad_per_10_000 % 10_000);
                    row.bad = row.bad.min(total);
                    row.good = total - row.bad;
                }
                Weather::Silent => {}
                Weather::Low => {
                    row.good = u64::from(rng.u8(0..20) == 0);
                    row.bad = u64::from(rng.u8(0..60) == 0);
                }
                Weather::Gap => continue,
                Weather::Lossy => {
                    row.good = rng.u64(0..100);
                    row.unobserved = rng.u64(0..100);
                }
                Weather::SetBack => {
                    row.good = rng.u64(0..10);
                    row.t -= tick_s * rng.i64(0..5);
                }
            }
            rows.push(row);
        }
    }
    rows
}

fn alert(rng: &mut Rng, name: &str, tick_s: u64) -> Alert {
    let windows = [1, 2, 6, 30, 100, 300].map(|ticks| ticks * tick_s);
    let factors = ["0.5", "1", "2.5", "6", "14.4"];
    let mut conditions = Vec::new();
    for _ in 0..rng.usize(1..4) {
        conditions.push(Condition {
            window_s: windows[rng.usize(0..windows.len())],
            factor: ratio(factors[rng.usize(0..factors.len())]),
            op: if rng.u8(0..4) == 0 { Op::Gte } else { Op::Gt },
            after_s: if rng.u8(0..4) == 0 { tick_s * rng.u64(0..9) } else { 0 },
        });
    }
    let some = |rng: &mut Rng| rng.u8(0..4) == 0;
    let guards = Guards {
        min_bad: if some(rng) { rng.u64(1..50) } else { 0 },
        min_total: if some(rng) { rng.u64(1..1_000) } else { 0 },
        min_budget_spend: some(rng).then(|| Ratio::percent(rng.u64(1..50))),
    };
    let severity = Severity::Page;
    Alert {
        name: name.to_owned(),
        severity,
        conditions,
        guards,
        targets: vec![],
        tell_resolved: true,
    }
}

fn random_slo(rng: &mut Rng, tick_s: u64) -> Slo {
    let mut slo = common::slo();
    let targets = ["90%", "95%", "99%", "99.5%", "99.9%", "99.99%", "99.995%"];
    slo.target = ratio(targets[rng.usize(0..targets.len())]);
    let calendar = Calendar {
        unit: Unit::Days(1),
        anchor: "2020-01-01T00:00".parse().unwrap(),
        zone: zone("UTC").unwrap(),
        zone_name: "UTC".to_owned(),
    };
    slo.window = match rng.u8(0..4) {
        0 => Window::Calendar(calendar),
        1 => Window::Rolling(tick_s * 400),
        2 => Window::Rolling(7 * 86_400),
        _ => Window::Rolling(30 * 86_400),
    };
    if tick_s < 120 && rng.u8(0..3) == 0 {
        let empty = [Empty::Good, Empty::Exclude, Empty::Bad][rng.usize(0..3)];
        let slices = Slices { length_s: 120, target: ratio("98%"), empty };
        slo.budgeting =
            if rng.bool() { Budgeting::Slices(slices) } else { Budgeting::RatioSlices(slices) };
    }
    if rng.bool() {
        slo.alerts = (0..4).map(|index| alert(rng, &format!("own-{index}"), tick_s)).collect();
    }
    slo.no_data_after_s = [None, Some(600), Some(tick_s * 5)][rng.usize(0..3)];
    slo
}

fn words(slo: &Slo, change: Change) -> String {
    match change {
        Change::Alert { index, on } => format!("{} {on}", slo.alerts[index].name),
        Change::NoData { on } => format!("no data {on}"),
        Change::Zone { zone } => format!("zone {}", zone.word()),
    }
}

fn check(seed: u64) -> usize {
    let mut rng = Rng::with_seed(seed);
    let tick_s = [2, 10, 30, 60, 300][rng.usize(0..5)];
    let slo = Arc::new(random_slo(&mut rng, tick_s));
    let rows = rows(&mut rng, tick_s as i64, 300);
    let mode = if rng.bool() { Mode::Scaled } else { Mode::Raw };
    let mut changes = 0;
    for cut in [Cut::Exact, Cut::Node] {
        assert_eq!(series::tick_s(&rows), tick_s, "seed {seed}");
        let reference =
            Reference::new(&slo, &rows, tick_s as i64, mode == Mode::Raw, cut == Cut::Node);
        let expected = reference.run();
        let outcome = series::run(&slo, &rows, mode, cut).unwrap();
        let found: Vec<(i64, String)> =
            outcome.transitions.iter().map(|at| (at.t, words(&slo, at.change))).collect();
        assert_eq!(found, expected.transitions, "seed {seed} {mode:?} {cut:?}");
        let figures = &outcome.figures;
        let burn: Vec<Option<BigRational>> =
            figures.burn.iter().map(|(_, burn)| burn.map(exact)).collect();
        assert_eq!(burn, expected.burn, "seed {seed} {mode:?} {cut:?}");
        assert_eq!(figures.spent.map(exact), expected.spent, "seed {seed} {mode:?} {cut:?}");
        assert_eq!(exact(figures.coverage), expected.coverage, "seed {seed} {mode:?} {cut:?}");
        assert_eq!(figures.firing, expected.firing, "seed {seed}");
        assert_eq!((figures.late, figures.overflowed), (reference.late, 0), "seed {seed}");
        changes = found.len();
    }
    changes
}

fn check_all(seeds: std::ops::Range<u64>) {
    if let Ok(seed) = std::env::var("VIGIE_SEED") {
        check(seed.parse().unwrap());
        return;
    }
    let changes: Vec<usize> = seeds.map(check).collect();
    let all: usize = changes.iter().sum();
    let quiet = changes.iter().filter(|changes| **changes == 0).count();
    assert!(
        all > 1_000 && quiet < 20,
        "the series are too tame: {all} changes, {quiet} without any"
    );
}

#[test]
fn evaluator_and_reference_agree_on_100_random_series() {
    check_all(0..100);
}

#[test]
fn and_on_100_more() {
    check_all(100..200);
}
