//! The rules and the evaluator fire at the same instants: generated series go to both, to the rules
//! through `promtool test rules` (Debian package prometheus). Skipped, and said so, where there is none.
//!
//! Series are such that Prometheus can say them: no gaps (a rate over a missing sample is another
//! thing), counters that do not begin at 0 (rates are not extrapolated beyond it then), and raw ratios.

mod common;

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use fastrand::Rng;
use vigie_slo::alert::{Alert, factor, pair};
use vigie_slo::figures::{Change, Mode};
use vigie_slo::model::Slo;
use vigie_slo::ratio::Ratio;
use vigie_slo::rules::{BAD_EVENTS, EVENTS, Ranges, rules};
use vigie_slo::series::{self, Cut, Row};

fn promtool() -> Option<&'static str> {
    let found = Command::new("promtool").arg("--version").output().is_ok();
    if !found {
        eprintln!("skipped: no promtool (Debian package prometheus)");
    }
    found.then_some("promtool")
}

fn folder(name: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    std::fs::create_dir_all(&folder).unwrap();
    folder
}

fn run(tool: &str, folder: &Path, arguments: &[&str]) {
    let output = Command::new(tool).args(arguments).current_dir(folder).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{}: {said}", folder.display());
}

#[test]
fn rules_are_valid() {
    let Some(promtool) = promtool() else { return };
    let folder = folder("check");
    let mut slo = common::slo();
    slo.runbook_url = Some("https://example.com/a\"b".to_owned());
    slo.labels.insert("team".to_owned(), "a \\ \"b\"".to_owned());
    slo.alerts[0].guards.min_bad = 5;
    slo.alerts[1].conditions[0].after_s = 120;
    let text = rules(&[slo], Ranges::Plain).unwrap();
    for name in [
        "slo:sli_error:ratio_rate5m",
        "slo:sli_error:ratio_rate30d",
        "slo:period_error_budget_remaining:ratio",
        "vigie_pair: \"ticket-slow\"",
        "vector(0.001)",
        "> 0.0144)",
    ] {
        assert!(text.contains(name), "{name}\n{text}");
    }
    std::fs::write(folder.join("rules.yaml"), text).unwrap();
    run(promtool, &folder, &["check", "rules", "rules.yaml"]);
}

/// 2 % within 1 h, 5 % within 6 h, 10 % within 1 d.
fn slo(rng: &mut Rng) -> Slo {
    let mut slo = common::slo();
    slo.target = ["99%", "99.5%", "99.9%"][rng.usize(0..3)].parse().unwrap();
    let own = |name: &str, long_s, short_s, percent| {
        let factor = factor(Ratio::percent(percent), 30 * 86_400, long_s);
        let conditions = pair(long_s, short_s, factor);
        Alert { name: name.to_owned(), conditions, ..common::slo().alerts[0].clone() }
    };
    slo.alerts = vec![
        own("page-quick", 3_600, 300, 2),
        own("page-slow", 21_600, 1_800, 5),
        own("ticket-quick", 86_400, 7_200, 10),
    ];
    slo
}

fn rows(rng: &mut Rng, tick_s: i64, count: i64) -> Vec<Row> {
    let mut rows = Vec::new();
    let (mut left, mut rate, mut bad_ppm) = (0, 0, 0);
    for index in 1..=count {
        if left == 0 {
            left = rng.u64(3..80);
            rate = [0, 1, 20, 1_000, 50_000][rng.usize(0..5)];
            bad_ppm = [0, 0, 0, 700, 5_000, 20_000, 100_000, 900_000][rng.usize(0..8)];
        }
        left -= 1;
        // Odd numbers: no ratio is exactly at a factor, where floats could say anything.
        let total = if rate == 0 { 0 } else { rate + rng.u64(0..rate + 7) };
        let bad = (total * bad_ppm / 1_000_000 + u64::from(rng.u64(0..50) == 0)).min(total);
        rows.push(Row { t: index * tick_s, good: total - bad, bad, unobserved: 0 });
    }
    rows
}

/// Counters that begin high.
fn counters(rows: &[Row], of: impl Fn(&Row) -> u64) -> String {
    let mut value = 10_000_000_000_u64;
    let mut text = value.to_string();
    for row in rows {
        value += of(row);
        let _ = write!(text, " {value}");
    }
    text
}

fn check(promtool: &str, seed: u64) -> usize {
    let mut rng = Rng::with_seed(seed);
    let tick_s = [60, 300][rng.usize(0..2)];
    let slo = Arc::new(slo(&mut rng));
    let rows = rows(&mut rng, tick_s, 600);
    let outcome = series::run(&slo, &rows, Mode::Raw, Cut::Exact).unwrap();
    let changes: Vec<(i64, usize, bool)> = outcome
        .transitions
        .iter()
        .filter_map(|transition| match transition.change {
            Change::Alert { index, on } => Some((transition.t, index, on)),
            _ => None,
        })
        .collect();
    let near = |t: i64| changes.iter().any(|(at, ..)| *at == t || *at == t + tick_s);
    let mut tests = String::new();
    for (index, row) in rows.iter().enumerate() {
        if !near(row.t) && index % 7 != 0 {
            continue;
        }
        let _ = writeln!(
            tests,
            "      - expr: count by (vigie_pair) (ALERTS{{alertstate=\"firing\"}})"
        );
        let _ = writeln!(tests, "        eval_time: {}s\n        exp_samples:", row.t);
        for (pair, alert) in slo.alerts.iter().enumerate() {
            let last = changes.iter().rev().find(|(at, of, _)| *at <= row.t && *of == pair);
            if last.is_some_and(|(_, _, on)| *on) {
                let labels = format!("{{vigie_pair=\"{}\"}}", alert.name);
                let _ = writeln!(tests, "          - labels: '{labels}'\n            value: 1");
            }
        }
    }
    let folder = folder(&format!("series-{seed}"));
    let test = format!(
        "rule_files: [rules.yaml]\nevaluation_interval: {tick_s}s\n\
         group_eval_order: [sloth-slo-sli-recordings-{0}, sloth-slo-meta-recordings-{0}, sloth-slo-alerts-{0}]\n\
         tests:\n  - interval: {tick_s}s\n    input_series:\n      \
         - series: '{EVENTS}{{slo=\"{0}\"}}'\n        values: '{1}'\n      \
         - series: '{BAD_EVENTS}{{slo=\"{0}\"}}'\n        values: '{2}'\n    promql_expr_test:\n{tests}",
        slo.name,
        counters(&rows, |row| row.good + row.bad),
        counters(&rows, |row| row.bad),
    );
    std::fs::write(folder.join("rules.yaml"), rules(&[(*slo).clone()], Ranges::Padded).unwrap())
        .unwrap();
    std::fs::write(folder.join("test.yaml"), test).unwrap();
    run(promtool, &folder, &["test", "rules", "test.yaml"]);
    changes.len()
}

#[test]
fn rules_fire_when_the_evaluator_does() {
    let Some(promtool) = promtool() else { return };
    let changes: usize = (0..12).map(|seed| check(promtool, seed)).sum();
    assert!(changes > 60, "the series are too tame: {changes}");
}
