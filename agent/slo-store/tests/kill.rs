//! An hour of replayed time, in which the process that evaluates and keeps is killed with SIGKILL at a hundred
//! random instants and started again: budgets differ from those of an uninterrupted run by at most one flush
//! interval of traffic per kill, and alerts are neither lost nor doubled.
//!
//! The child is this test's own program, told by its environment what it is. A file of 8 bytes is its clock:
//! what time has come to in the replay, whatever was kept. Transitions are told, to a file, once the store
//! says that they are safe.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::print_stdout, reason = "a test")]

mod common;

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::thread::sleep;
use std::time::{Duration, Instant};

use common::{T0, slo};
use fastrand::Rng;
use vigie_slo::evaluate::{Evaluator, Tick};
use vigie_slo::figures::{Change, Mode};
use vigie_slo::model::Slo;
use vigie_slo_store::{FLUSH_S, Input, Opened};

const FOLDER: &str = "VIGIE_SLO_STORE_TEST_FOLDER";
const HOUR: i64 = 3_600;
const KILLS: usize = 100;
const TICK_S: i64 = 2;
/// Requests in a tick.
const TRAFFIC: u64 = 200;

fn slos() -> Vec<Arc<Slo>> {
    let mut strict = slo("strict");
    strict.target = "99.99%".parse().unwrap();
    vec![Arc::new(slo("usual")), Arc::new(strict)]
}

/// Three outages, apart by more than what an alert may be held, of all requests or of a third.
fn input(place: usize, t: i64) -> Input {
    let minute = (t - T0 - 1) / 60 - i64::try_from(place).unwrap();
    let bad = match minute {
        5..8 | 45..48 => TRAFFIC,
        25..28 => TRAFFIC / 3,
        _ => 0,
    };
    Input::Tick(Tick { t, length_s: 2, good: TRAFFIC - bad, bad, unobserved: 0 })
}

/// When, which SLO, which alert, whether it began.
type Told = (i64, usize, usize, bool);

fn told(folder: &Path) -> Vec<Told> {
    let text = fs::read_to_string(folder.join("told")).unwrap_or_default();
    let line = |line: &str| {
        let parts: Vec<i64> = line.split(' ').map(|part| part.parse().unwrap()).collect();
        let index = |place: usize| usize::try_from(parts[place]).unwrap();
        (parts[0], index(1), index(2), parts[3] == 1)
    };
    text.lines().map(line).collect()
}

/// All changes of alerts, and `bad total` per SLO at the end.
fn uninterrupted() -> (Vec<Told>, Vec<(u64, u64)>) {
    let mut all = Vec::new();
    let mut sums = Vec::new();
    for (place, slo) in slos().iter().enumerate() {
        let mut evaluator = vigie_slo_store::evaluator(slo, Mode::Scaled);
        let mut out = Vec::new();
        let mut t = T0;
        while t < T0 + HOUR {
            t += TICK_S;
            input(place, t).apply(&mut evaluator, &mut out);
        }
        all.extend(out.iter().filter_map(|at| match at.change {
            Change::Alert { index, on } => Some((at.t, place, index, on)),
            _ => None,
        }));
        let period = evaluator.figures().unwrap().period;
        sums.push((period.bad, period.total));
    }
    (all, sums)
}

/// What the child is.
#[test]
fn child() {
    let Some(folder) = std::env::var_os(FOLDER).map(PathBuf::from) else { return };
    let clock = OpenOptions::new().read(true).write(true).open(folder.join("clock")).unwrap();
    let mut t = time(&clock);
    let slos = slos();
    let Opened { mut store, mut evaluators, report } =
        vigie_slo_store::open(&folder.join("slo"), &slos, Mode::Scaled, t).unwrap();
    assert!(report.notes.is_empty(), "{report:?}");
    let mut out = OpenOptions::new().append(true).create(true).open(folder.join("told")).unwrap();
    let mut tell = |(t, place, index, on): Told| {
        let line = format!("{t} {place} {index} {}\n", u8::from(on));
        out.write_all(line.as_bytes()).unwrap();
    };
    // What was safe, but not told any more.
    let mut known: BTreeMap<(usize, usize), bool> = BTreeMap::new();
    for (_, place, index, on) in told(&folder) {
        known.insert((place, index), on);
    }
    for (place, evaluator) in evaluators.iter().enumerate() {
        let firing: BTreeMap<usize, i64> =
            evaluator.firing().map(|firing| (firing.index, firing.since)).collect();
        for index in 0..4 {
            let was = known.get(&(place, index)).copied().unwrap_or_default();
            if was != firing.contains_key(&index) {
                tell((firing.get(&index).copied().unwrap_or(t), place, index, !was));
            }
        }
    }
    let mut waiting: Vec<(u64, Told)> = Vec::new();
    let mut safe_t = t;
    while t < T0 + HOUR || !waiting.is_empty() {
        sleep(Duration::from_millis(1));
        if t < T0 + HOUR {
            t += TICK_S;
            clock.write_all_at(&t.to_le_bytes(), 0).unwrap();
            let mut inputs = Vec::new();
            let mut changes = Vec::new();
            for (place, evaluator) in evaluators.iter_mut().enumerate() {
                let input = input(place, t);
                let mut out = Vec::new();
                input.apply(evaluator, &mut out);
                inputs.push((place, input));
                changes.extend(out.iter().filter_map(|at| match at.change {
                    Change::Alert { index, on } => Some((at.t, place, index, on)),
                    _ => None,
                }));
            }
            let seq = store.record(&inputs);
            // Time goes a thousand times as fast as in life, the disk does not.
            if t >= safe_t + FLUSH_S {
                store.flush();
                store.wait_safe(seq, Duration::from_secs(20));
                safe_t = t;
            }
            if !changes.is_empty() {
                store.flush();
            }
            waiting.extend(changes.into_iter().map(|change| (seq, change)));
            while let Some(place) = store.due() {
                store.snapshot(place, &evaluators[place]);
            }
            // More often than in life, so that kills meet it.
            if t % (3 * TICK_S) == 0 {
                store.snapshot(0, &evaluators[0]);
            }
        }
        waiting.retain(|(seq, change)| {
            let safe = store.is_safe(*seq);
            if safe {
                tell(*change);
            }
            !safe
        });
    }
    let figures = evaluators.iter().map(|evaluator| {
        let period = Evaluator::figures(evaluator).unwrap().period;
        format!("{} {}\n", period.bad, period.total)
    });
    fs::write(folder.join("end"), figures.collect::<String>()).unwrap();
    store.close(&evaluators);
}

fn time(clock: &File) -> i64 {
    let mut bytes = [0; 8];
    clock.read_exact_at(&mut bytes, 0).unwrap();
    i64::from_le_bytes(bytes)
}

fn start(folder: &Path) -> Child {
    let mut child = Command::new(std::env::current_exe().unwrap());
    child.args(["--exact", "child", "--nocapture"]).env(FOLDER, folder).stdout(Stdio::null());
    child.spawn().unwrap()
}

#[test]
fn killed_a_hundred_times_in_an_hour() {
    let begun = Instant::now();
    let seed = fastrand::u64(..);
    println!("seed {seed}");
    let mut rng = Rng::with_seed(seed);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("clock");
    fs::write(&path, T0.to_le_bytes()).unwrap();
    let clock = OpenOptions::new().read(true).write(true).open(&path).unwrap();
    let mut instants: Vec<i64> = (0..KILLS).map(|_| T0 + rng.i64(0..HOUR - 60)).collect();
    instants.sort_unstable();
    let mut down = 0;
    for instant in instants {
        let mut child = start(folder.path());
        while time(&clock) < instant {
            assert!(begun.elapsed() < Duration::from_secs(55), "too slow");
            assert_eq!(child.try_wait().unwrap(), None, "the child ended by itself");
            sleep(Duration::from_micros(200));
        }
        sleep(Duration::from_micros(rng.u64(0..8_000)));
        child.kill().unwrap();
        child.wait().unwrap();
        // It takes some seconds until it is started again.
        let away = TICK_S * rng.i64(0..3);
        down += away;
        clock.write_all_at(&(time(&clock) + away).to_le_bytes(), 0).unwrap();
    }
    let status = start(folder.path()).wait().unwrap();
    assert!(status.success(), "{status}");

    let (expected, sums) = uninterrupted();
    let of = |all: &[Told], place: usize, index: usize| -> Vec<(i64, bool)> {
        let mine = all.iter().filter(|told| (told.1, told.2) == (place, index));
        mine.map(|told| (told.0, told.3)).collect()
    };
    let all = told(folder.path());
    assert!(expected.len() >= 16, "{expected:?}");
    for (place, slo) in slos().iter().enumerate() {
        for (index, alert) in slo.alerts.iter().enumerate() {
            let (expected, found) = (of(&expected, place, index), of(&all, place, index));
            let names = format!("{} {}: {found:?} instead of {expected:?}", slo.name, alert.name);
            let ons = |all: &[(i64, bool)]| all.iter().map(|at| at.1).collect::<Vec<_>>();
            assert_eq!(ons(&found), ons(&expected), "{names}");
            for ((t, on), (at, _)) in found.iter().zip(&expected) {
                // An end comes later by at most what it is held; both by what was not observed meanwhile.
                let held = if *on { 0 } else { i64::try_from(alert.short_s()).unwrap() };
                assert!((at - 60..=at + held + 180).contains(t), "{names}");
            }
        }
    }
    let most = u64::try_from(FLUSH_S / TICK_S).unwrap() * TRAFFIC * KILLS as u64;
    let end = fs::read_to_string(folder.path().join("end")).unwrap();
    for (line, (bad, total)) in end.lines().zip(sums) {
        let (found_bad, found_total) = line.split_once(' ').unwrap();
        let lost = total - found_total.parse::<u64>().unwrap();
        let lost_bad = bad - found_bad.parse::<u64>().unwrap();
        let unseen = u64::try_from(down / TICK_S).unwrap() * TRAFFIC;
        let words = format!("{lost} {lost_bad} of {total} {bad}, {unseen} while it was down");
        assert!(lost <= most + unseen && lost_bad <= most + unseen, "{words}");
        println!(
            "{lost} of {total} events lost by {KILLS} kills: {} ticks, {} of them while it was down; {:?}",
            lost / TRAFFIC,
            down / TICK_S,
            begun.elapsed()
        );
    }
}
