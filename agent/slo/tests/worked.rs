//! The worked cases of the specification, exactly. Objective 99.9 %, 30 days, 100 requests per second,
//! three days of clean history, unless a case says otherwise.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test")]

mod common;

use common::{Case, Series, run, slo};
use vigie_slo::figures::Mode;
use vigie_slo::zone::Zone;

const DAYS_3: i64 = 3 * 86_400;

#[test]
fn all_requests_fail_for_600_s() {
    let mut series = Series::new(-DAYS_3, 10);
    series.until(0, 1_000, 0).until(600, 0, 1_000).until(23_000, 1_000, 0);
    for outcome in run(&slo(), &series.rows, Mode::Scaled) {
        assert_eq!(
            outcome.alerts,
            [
                (60, "page-quick", "on"),
                (130, "page-slow", "on"),
                (260, "ticket-quick", "on"),
                (260, "ticket-slow", "on"),
                (900, "page-quick", "off"),
                (2_390, "page-slow", "off"),
                (7_780, "ticket-quick", "off"),
                (22_180, "ticket-slow", "off"),
            ]
        );
        assert_eq!(outcome.figures.period.bad, 60_000);
        assert_eq!(outcome.figures.spent.unwrap().decimal(8), "0.23148148");
        assert_eq!(outcome.figures.remaining(4), "0.7685");
        assert_eq!(outcome.figures.zone, Zone::Ship);
        assert_eq!(outcome.figures.coverage.decimal(3), "1");
    }
}

#[test]
fn all_fail_for_45_s() {
    let mut series = Series::new(-DAYS_3, 1);
    series.until(0, 100, 0).until(45, 0, 100).until(25_000, 100, 0);
    for outcome in run(&slo(), &series.rows, Mode::Scaled) {
        assert_eq!(outcome.alerts, []);
        assert_eq!(outcome.figures.spent.unwrap().decimal(4), "0.0174");
    }
}

#[test]
fn half_a_percent_fails_on_and_on() {
    let mut series = Series::new(-DAYS_3, 10);
    series.until(0, 1_000, 0).until(90_000, 995, 5);
    for outcome in run(&slo(), &series.rows, Mode::Scaled) {
        assert_eq!(outcome.alerts, [(51_850, "ticket-quick", "on"), (51_850, "ticket-slow", "on")]);
    }
}

#[test]
fn exactly_what_is_allowed_fails() {
    let mut series = Series::new(-DAYS_3, 10);
    series.until(0, 1_000, 0).until(DAYS_3, 999, 1);
    for mode in [Mode::Scaled, Mode::Raw] {
        for outcome in run(&slo(), &series.rows, mode) {
            assert_eq!(outcome.alerts, []);
        }
    }
}

#[test]
fn ten_requests_an_hour_and_one_failure() {
    let mut series = Series::new(-DAYS_3, 60);
    while series.now < 3_600 {
        let requests = u64::from((series.now + 60) % 360 == 0);
        let bad = u64::from(series.now + 60 == 0);
        series.push(requests - bad, bad);
    }
    let all = ["page-quick", "page-slow", "ticket-quick", "ticket-slow"];
    for mode in [Mode::Scaled, Mode::Raw] {
        for outcome in run(&slo(), &series.rows, mode) {
            let on: Vec<Case<'_>> = all.iter().map(|name| (0, *name, "on")).collect();
            assert_eq!(outcome.alerts[..4], on);
        }
    }
    let mut guarded = slo();
    guarded.alerts.iter_mut().for_each(|alert| alert.guards.min_bad = 5);
    for outcome in run(&guarded, &series.rows, Mode::Scaled) {
        assert_eq!(outcome.alerts, []);
        assert_eq!(outcome.figures.spent.unwrap().decimal(3), "0.139");
    }
}

#[test]
fn zones_of_ten_million_requests() {
    let table = [
        (4_999, "0.5001", Zone::Ship),
        (5_000, "0.5", Zone::Careful),
        (7_501, "0.2499", Zone::Freeze),
        (12_000, "-0.2", Zone::Exhausted),
    ];
    for (bad, remaining, zone) in table {
        // 30 days in ticks of 5 minutes.
        let mut series = Series::new(0, 300);
        series.until(30 * 86_400 - 300, 1_150, 0);
        let total: u64 = series.rows.iter().map(|row| row.good).sum();
        series.push(10_000_000 - total - bad, bad);
        for outcome in run(&slo(), &series.rows, Mode::Scaled) {
            assert_eq!(outcome.figures.period.total, 10_000_000);
            assert_eq!(
                (outcome.figures.remaining(4).as_str(), outcome.figures.zone),
                (remaining, zone)
            );
        }
    }
}
