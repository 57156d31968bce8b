//! The rules and the evaluator fire at the same instants: generated series go to both, to the rules
//! through `promtool test rules`, of Prometheus 2 and 3. Skipped, and said so, where there is none.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test")]

mod common;

use std::env;
use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::thread;

use fastrand::Rng;
use vigie_slo::alert::{Alert, factor, pair};
use vigie_slo::model::Slo;
use vigie_slo::parity::{Parity, parity, sample};
use vigie_slo::ratio::Ratio;
use vigie_slo::rules::{Ranges, rules};
use vigie_slo::series::Row;

/// All promtools: that of the machine (Debian: 2.x), and the 3.x that `cargo xtask setup` gets, each with
/// what is to be told apart by it. One that is missing is told, by the test's name.
fn promtools(test: &str) -> Vec<(&'static str, PathBuf)> {
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let setup = env::var_os("VIGIE_SETUP");
    let setup = setup.map_or_else(|| workspace.join("target/setup"), PathBuf::from);
    let all = [
        ("promtool", PathBuf::from("promtool"), "no promtool (Debian package prometheus)"),
        ("promtool-3", setup.join("promtool/3/promtool"), "no promtool 3, run cargo xtask setup"),
    ];
    let found = all.into_iter().filter(|(_, program, reason)| {
        let found = Command::new(program).arg("--version").output().is_ok();
        if !found {
            skip(test, reason);
        }
        found
    });
    found.map(|(name, program, _)| (name, program)).collect()
}

/// Tells it as the end-to-end tests do.
#[expect(clippy::print_stdout, reason = "the one thing that a skipped test says")]
fn skip(test: &str, reason: &str) {
    println!("skipped: {test}: {reason}");
    if let Some(file) = env::var_os("VIGIE_SKIPPED") {
        let mut file = File::options().create(true).append(true).open(file).unwrap();
        writeln!(file, "{test}: {reason}").unwrap();
    }
}

fn folder(name: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    std::fs::create_dir_all(&folder).unwrap();
    folder
}

fn run(tool: &Path, folder: &Path, arguments: &[&str]) {
    let output = Command::new(tool).args(arguments).current_dir(folder).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{}: {said}", folder.display());
}

#[test]
fn rules_are_valid() {
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
    for (_, promtool) in promtools("rules are valid") {
        run(&promtool, &folder, &["check", "rules", "rules.yaml"]);
    }
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

fn test(promtools: &[(&str, PathBuf)], name: &str, files: &Parity) {
    // At the same time: each takes seconds.
    thread::scope(|scope| {
        for (version, promtool) in promtools {
            scope.spawn(move || {
                let folder = folder(&format!("{version}-{name}"));
                std::fs::write(folder.join("rules.yaml"), &files.rules).unwrap();
                std::fs::write(folder.join("test.yaml"), &files.test).unwrap();
                run(promtool, &folder, &["test", "rules", "test.yaml"]);
            });
        }
    });
}

#[test]
fn rules_fire_when_the_evaluator_does() {
    let promtools = promtools("rules fire when the evaluator does");
    // VIGIE_SERIES=200 compares as many; each takes some seconds.
    let series = env::var("VIGIE_SERIES").ok().and_then(|number| number.parse().ok()).unwrap_or(12);
    let mut changes = 0;
    for seed in 0..series {
        let mut rng = Rng::with_seed(seed);
        let tick_s = [60, 300][rng.usize(0..2)];
        let slo = Arc::new(slo(&mut rng));
        let rows = rows(&mut rng, tick_s, 600);
        let files = parity(&slo, &rows, tick_s.unsigned_abs()).unwrap();
        test(&promtools, &format!("series-{seed}"), &files);
        changes += files.changes;
    }
    assert!(changes > 5 * usize::try_from(series).unwrap(), "too tame: {changes}");
    println!("{series} series, alerts on or off {changes} times");
}

#[test]
fn the_sample_makes_each_default_alert_fire() {
    let promtools = promtools("the sample makes each default alert fire");
    let slo = Arc::new(common::slo());
    let (rows, tick_s) = sample(&slo);
    let files = parity(&slo, &rows, tick_s).unwrap();
    for alert in &slo.alerts {
        assert!(files.test.contains(&alert.name), "{} never fires", alert.name);
    }
    test(&promtools, "sample", &files);
}

#[test]
fn a_difference_is_found() {
    let slo = Arc::new(common::slo());
    let (rows, tick_s) = sample(&slo);
    let mut files = parity(&slo, &rows, tick_s).unwrap();
    assert!(files.rules.contains("> 0.0144)"));
    files.rules = files.rules.replace("> 0.0144)", "> 0.016)");
    let folder = folder("difference");
    std::fs::write(folder.join("rules.yaml"), &files.rules).unwrap();
    std::fs::write(folder.join("test.yaml"), &files.test).unwrap();
    for (version, promtool) in promtools("a difference is found") {
        let output = Command::new(promtool)
            .args(["test", "rules", "test.yaml"])
            .current_dir(&folder)
            .output()
            .unwrap();
        assert!(!output.status.success(), "{version}");
    }
}
