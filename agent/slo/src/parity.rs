//! Whether rules and evaluator fire at the same instants: a rule file and a test for `promtool test
//! rules` that expects what the evaluator did.
//!
//! The series must be one that Prometheus can say: no gaps (a rate over a missing sample is another
//! thing), and a beginning of traffic is no beginning of counters, which here start high, because rates
//! are not extrapolated beyond 0. Ratios are raw ([`Mode::Raw`]).

use std::fmt::Write as _;
use std::sync::Arc;

use crate::figures::{Change, Mode};
use crate::model::Slo;
use crate::ratio::gcd;
use crate::rules::{BAD_EVENTS, EVENTS, Ranges, RulesError, group, rules};
use crate::series::{self, Cut, Row};

/// Files for promtool, and how much they compare.
#[derive(Clone, Debug)]
pub struct Parity {
    /// The rule file.
    pub rules: String,
    /// The test file; it expects the rule file as `rules.yaml` beside it.
    pub test: String,
    /// How often an alert began or ended.
    pub changes: usize,
}

/// An alert that began or ended.
struct Switch {
    t: i64,
    index: usize,
    on: bool,
}

/// The files for one SLO and a series without gaps, ticks of `tick_s` from 0 on.
pub fn parity(slo: &Arc<Slo>, rows: &[Row], tick_s: u64) -> Result<Parity, RulesError> {
    // Refuses slices, without which only an empty series is an error: no transitions.
    let rules = rules(std::slice::from_ref(slo.as_ref()), Ranges::Padded)?;
    let outcome = series::run(slo, rows, Mode::Raw, Cut::Exact);
    let transitions = outcome.map(|outcome| outcome.transitions).unwrap_or_default();
    let switches: Vec<Switch> = transitions
        .iter()
        .filter_map(|transition| match transition.change {
            Change::Alert { index, on } => Some(Switch { t: transition.t, index, on }),
            Change::NoData { .. } | Change::Zone { .. } => None,
        })
        .collect();
    let groups = ["sli-recordings", "meta-recordings", "alerts"].map(|kind| group(kind, slo));
    let name = &slo.name;
    let test = format!(
        "rule_files: [rules.yaml]\nevaluation_interval: {tick_s}s\ngroup_eval_order: [{}]\ntests:\n  \
         - interval: {tick_s}s\n    input_series:\n      \
         - series: '{EVENTS}{{slo=\"{name}\"}}'\n        values: '{}'\n      \
         - series: '{BAD_EVENTS}{{slo=\"{name}\"}}'\n        values: '{}'\n    promql_expr_test:\n{}",
        groups.join(", "),
        counter(rows, |row| row.good.saturating_add(row.bad)),
        counter(rows, |row| row.bad),
        expected(slo, rows, &switches, tick_s),
    );
    Ok(Parity { rules, test, changes: switches.len() })
}

/// A counter that begins high, at 0 and at the end of each tick.
fn counter(rows: &[Row], of: impl Fn(&Row) -> u64) -> String {
    let mut value = 10_000_000_000_u64;
    let mut text = value.to_string();
    for row in rows {
        value = value.saturating_add(of(row));
        let _ = write!(text, " {value}");
    }
    text
}

/// Which alerts fire, at each instant at or before which one began or ended, and at every seventh.
fn expected(slo: &Slo, rows: &[Row], switches: &[Switch], tick_s: u64) -> String {
    let mut text = String::new();
    let mut firing = vec![false; slo.alerts.len()];
    let mut passed = switches.iter().peekable();
    for (index, row) in rows.iter().enumerate() {
        let mut near = index % 7 == 0;
        while let Some(switch) = passed.next_if(|switch| switch.t <= row.t) {
            near = true;
            firing.iter_mut().skip(switch.index).take(1).for_each(|state| *state = switch.on);
        }
        near |= passed.peek().is_some_and(|next| next.t <= row.t.saturating_add_unsigned(tick_s));
        if !near {
            continue;
        }
        let _ = writeln!(
            text,
            "      - expr: count by (vigie_pair) (ALERTS{{alertstate=\"firing\"}})\n        \
             eval_time: {}s\n        exp_samples:",
            row.t
        );
        for (alert, _) in slo.alerts.iter().zip(&firing).filter(|(_, firing)| **firing) {
            let labels = format!("{{vigie_pair=\"{}\"}}", alert.name);
            let _ = writeln!(text, "          - labels: '{labels}'\n            value: 1");
        }
    }
    text
}

/// Most ticks of a sample: a test of them takes promtool some seconds.
const SAMPLE_TICKS: u64 = 1_500;

/// A series for an SLO, and its tick: calm, burns of many strengths and lengths, silence.
pub fn sample(slo: &Slo) -> (Vec<Row>, u64) {
    let divisor = slo.windows_s().into_iter().fold(0, |so_far, window| gcd(so_far, window.into()));
    let tick_s = u64::try_from(divisor).unwrap_or(300).clamp(10, 300);
    // Bad of a million per stretch, as multiples of the budget in tenths; odd lengths in ticks.
    let burns = [0, 7, 0, 15, 0, 35, 1, 65, 0, 150, 0, 400, 3, 9_000, 0];
    let lengths = [37, 11, 5, 61, 23, 3, 97, 17];
    let (num, den) = slo.error_budget().parts();
    let mut rows = Vec::new();
    let stretches = burns.iter().cycle().zip(lengths.iter().cycle());
    'all: for (stretch, (burn, length)) in (0_u64..).zip(stretches) {
        // Each eleventh stretch is without traffic.
        let rate = if stretch % 11 == 10 { 0 } else { 100_003 + stretch * 991 };
        for _ in 0..*length {
            let index = rows.len() as u64 + 1;
            if index > SAMPLE_TICKS {
                break 'all;
            }
            let total = if rate == 0 { 0 } else { rate + index * 7_919 % 1_009 };
            let bad = u128::from(total) * num * burn / (den * 10);
            let bad = u64::try_from(bad).unwrap_or(total).min(total);
            let t = i64::try_from(index * tick_s).unwrap_or(i64::MAX);
            rows.push(Row { t, good: total - bad, bad, unobserved: 0 });
        }
    }
    (rows, tick_s)
}
