//! Restarts, damage, and what a configuration changes in between.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test")]

mod common;

use std::fs;
use std::path::Path;
use std::sync::Arc;

use common::{Agent, T0, names, slo, slos};
use fastrand::Rng;
use vigie_slo::figures::Mode;
use vigie_slo_store::{BlobError, Finding, MAX_BLOB, MAX_BLOBS, OpenError};

fn findings(agent: &Agent) -> Vec<Finding> {
    agent.report.notes.iter().map(|note| note.finding).collect()
}

/// An hour and a half of three SLOs, so that there are snapshots of all and a journal after them.
fn filled(folder: &Path) -> Vec<Option<vigie_slo::figures::Figures>> {
    let mut agent = Agent::start(folder, &slos(&["a", "b", "c/d"]));
    agent.ticks(2_700, |place| place as u64 % 3);
    assert_eq!(agent.store.status().troubles, []);
    assert!(agent.store.status().snapshots >= 6, "{:?}", agent.store.status());
    agent.kill()
}

#[test]
fn what_was_recorded_is_there_again() {
    let folder = tempfile::tempdir().unwrap();
    let before = filled(folder.path());
    let agent = Agent::start(folder.path(), &slos(&["a", "b", "c/d"]));
    assert_eq!(agent.figures(), before);
    assert_eq!(agent.report.notes, []);
    assert_eq!((agent.report.restored, agent.report.new), (3, 0));
    assert!(agent.report.replayed > 500, "{:?}", agent.report);
    let before = agent.close();
    let agent = Agent::start(folder.path(), &slos(&["a", "b", "c/d"]));
    assert_eq!(agent.report.replayed, 0, "closing kept snapshots of all");
    assert_eq!(agent.figures(), before);
}

#[test]
fn segments_go_when_no_snapshot_needs_them() {
    let folder = tempfile::tempdir().unwrap();
    for _ in 0..5 {
        let mut agent = Agent::start(folder.path(), &slos(&["a", "b"]));
        agent.ticks(1_000, |_| 0);
        agent.kill();
    }
    let journals =
        |folder: &Path| names(folder).iter().filter(|name| name.starts_with("journal-")).count();
    assert!(journals(folder.path()) <= 3, "{:?}", names(folder.path()));
    let agent = Agent::start(folder.path(), &slos(&["a", "b"]));
    assert_eq!(agent.figures()[0].as_ref().unwrap().period.total, 5_000 * 200);
    agent.close();
    assert_eq!(journals(folder.path()), 0, "{:?}", names(folder.path()));
}

#[test]
fn alerts_that_fired_fire_after_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let slos = slos(&["a"]);
    let mut agent = Agent::start(folder.path(), &slos);
    agent.ticks(2_000, |_| 0);
    agent.ticks(60, |_| 200);
    let onset: Vec<_> = agent.evaluators[0].firing().collect();
    assert!(!onset.is_empty());
    let t = agent.t;
    agent.kill();
    // Down for an hour, in which the gap takes all burn rates down.
    let mut agent = Agent::start_at(folder.path(), &slos, t + 3_600);
    let (_, changes) = agent.tick(|_| 0);
    assert_eq!(changes, []);
    let firing: Vec<_> = agent.evaluators[0].firing().collect();
    assert!(firing[0].held && firing[0].since == onset[0].since);
    assert_eq!(firing.len(), onset.len());
    let (mut ended, end) = (None, agent.t + 400);
    while agent.t < end {
        let (_, changes) = agent.tick(|_| 0);
        if !changes.is_empty() {
            ended.get_or_insert(agent.t);
        }
    }
    assert_eq!(ended, Some(t + 3_600 + 300));
}

#[test]
fn damage_at_any_place_costs_only_what_it_hits() {
    let folder = tempfile::tempdir().unwrap();
    let before = filled(folder.path());
    let all: Vec<u64> =
        before.iter().map(|figures| figures.as_ref().unwrap().period.total).collect();
    let files: Vec<(String, Vec<u8>)> = names(folder.path())
        .into_iter()
        .filter(|name| name.starts_with("slo-") || name.starts_with("journal-"))
        .map(|name| (name.clone(), fs::read(folder.path().join(&name)).unwrap()))
        .collect();
    assert!(files.len() >= 4, "{:?}", names(folder.path()));
    let mut rng = Rng::with_seed(11);
    let mut told = 0;
    for round in 0..150 {
        let copy = tempfile::tempdir().unwrap();
        for (name, bytes) in &files {
            fs::write(copy.path().join(name), bytes).unwrap();
        }
        let (name, bytes) = &files[round % files.len()];
        let mut damaged = bytes.clone();
        // Heads, tails and any place.
        let place = match rng.u8(0..3) {
            0 => rng.usize(0..40),
            1 => damaged.len() - 1 - rng.usize(0..40),
            _ => rng.usize(0..damaged.len()),
        };
        match rng.u8(0..3) {
            0 => damaged.truncate(place),
            1 => damaged[place] ^= 1 << rng.u8(0..8),
            _ => {
                let end = (place + rng.usize(1..600)).min(damaged.len());
                damaged[place..end].fill(rng.u8(..));
            }
        }
        fs::write(copy.path().join(name), &damaged).unwrap();
        let slos = slos(&["a", "b", "c/d"]);
        let mut agent = Agent::start(copy.path(), &slos);
        let (figures, changed) = (agent.figures(), damaged != *bytes);
        if name.starts_with("slo-") {
            // The journal of this hour still has it all.
            assert_eq!(figures, before, "{name} {place}");
            let expected = vec![Finding::Damaged; usize::from(changed)];
            assert_eq!(findings(&agent), expected, "{name} {place}");
            assert_eq!(names(&copy.path().join("aside")).len(), usize::from(changed));
        } else {
            for (figures, all) in figures.iter().zip(&all) {
                let total = figures.as_ref().map_or(0, |figures| figures.period.total);
                // Snapshots are of the last half hour.
                assert!(total <= *all && total + 200 * 900 >= *all, "{name} {place}");
            }
        }
        told += agent.report.notes.len();
        // It goes on, and the next start finds nothing wrong with what was written since.
        agent.ticks(20, |_| 1);
        let figures = agent.close();
        let agent = Agent::start(copy.path(), &slos);
        assert_eq!(agent.figures(), figures, "{name} {place}");
        assert!(agent.report.notes.is_empty(), "{name} {place}: {:?}", agent.report);
    }
    assert!(told > 60, "{told}");
}

#[test]
fn damage_in_the_journal_is_put_aside_when_snapshots_are_newer() {
    let folder = tempfile::tempdir().unwrap();
    filled(folder.path());
    let journal =
        names(folder.path()).into_iter().find(|name| name.starts_with("journal-")).unwrap();
    let path = folder.path().join(&journal);
    let mut bytes = fs::read(&path).unwrap();
    let place = bytes.len() - 1_000;
    bytes[place] ^= 1;
    fs::write(&path, &bytes).unwrap();
    let agent = Agent::start(folder.path(), &slos(&["a", "b", "c/d"]));
    assert_eq!(findings(&agent), [Finding::Damaged, Finding::Missing]);
    let text = agent.report.notes[1].to_string();
    assert!(text.starts_with("1 ticks are missing"), "{text}");
    agent.close();
    assert_eq!(names(&folder.path().join("aside")), [format!("000001-{journal}")]);
}

#[test]
fn other_versions_are_put_aside() {
    let folder = tempfile::tempdir().unwrap();
    filled(folder.path());
    for name in names(folder.path()) {
        if name.starts_with("slo-") || name.starts_with("journal-") {
            let path = folder.path().join(name);
            let mut bytes = fs::read(&path).unwrap();
            bytes[4] = 9;
            fs::write(path, bytes).unwrap();
        }
    }
    let mut agent = Agent::start(folder.path(), &slos(&["a", "b", "c/d"]));
    assert_eq!((agent.report.restored, agent.report.new), (0, 3));
    assert!(findings(&agent).iter().all(|finding| *finding == Finding::Damaged));
    let text = agent.report.notes[0].to_string();
    assert!(text.contains("its format is version 9, this vigie reads version 1"), "{text}");
    agent.ticks(10, |_| 0);
    let aside = names(&folder.path().join("aside")).len();
    assert_eq!(aside, agent.report.notes.len());
    assert_eq!(agent.store.status().put_aside, aside as u64);
}

#[test]
fn files_aside_are_bounded() {
    let folder = tempfile::tempdir().unwrap();
    for round in 0..40 {
        fs::write(folder.path().join("slo-a"), format!("nonsense {round}")).unwrap();
        Agent::start(folder.path(), &slos(&["a"]));
    }
    let aside = names(&folder.path().join("aside"));
    assert_eq!((aside.len(), aside[31].as_str()), (32, "000040-slo-a"));
}

#[test]
fn two_agents_never_share_a_folder() {
    let folder = tempfile::tempdir().unwrap();
    let slos = slos(&["a"]);
    let agent = Agent::start(folder.path(), &slos);
    let error = vigie_slo_store::open(folder.path(), &slos, Mode::Scaled, T0).unwrap_err();
    let pid = Some(std::process::id());
    assert_eq!(error, OpenError::InUse { folder: folder.path().to_owned(), pid });
    assert!(error.to_string().ends_with("give one of them a folder of its own with --state"));
    agent.kill();
    Agent::start(folder.path(), &slos);
}

#[test]
fn clocks_that_were_set_back_or_forward() {
    let folder = tempfile::tempdir().unwrap();
    let slos = slos(&["a"]);
    let mut agent = Agent::start(folder.path(), &slos);
    agent.ticks(1_000, |_| 1);
    let before = agent.kill();
    let mut agent = Agent::start_at(folder.path(), &slos, T0 - 86_400);
    assert_eq!(findings(&agent), [Finding::Ahead]);
    assert_eq!(agent.report.last, Some(T0 + 2_000));
    assert_eq!(agent.figures(), before);
    // Ticks by a clock that is not held are late: nothing that is closed is changed.
    agent.t = T0 - 86_400;
    agent.ticks(10, |_| 200);
    let figures = agent.figures()[0].clone().unwrap();
    let of_before = before[0].as_ref().unwrap();
    assert_eq!((figures.t, figures.period), (of_before.t, of_before.period));
    assert_eq!(figures.late, 2_000);
    agent.kill();
    let mut agent = Agent::start_at(folder.path(), &slos, T0 + 7 * 86_400);
    assert_eq!(findings(&agent), []);
    agent.ticks(10, |_| 0);
    let figures = agent.figures()[0].clone().unwrap();
    assert_eq!(
        figures.period.total,
        1_000 * 200 + 2_000 + 10 * 200,
        "late ones are in the next tick"
    );
    assert_eq!(figures.period.observed_cs, 202_000, "a week was not observed");
}

#[test]
fn what_a_configuration_changes() {
    let folder = tempfile::tempdir().unwrap();
    let mut agent = Agent::start(folder.path(), &slos(&["a", "b", "c"]));
    agent.ticks(1_000, |_| 1);
    let before = agent.close();
    let mut strict = slo("a");
    strict.target = "99.99%".parse().unwrap();
    let mut other = slo("b");
    other.indicator.hung_after_ms = Some(10_000);
    let changed = [Arc::new(other), Arc::new(strict), Arc::new(slo("new"))];
    let mut agent = Agent::start(folder.path(), &changed);
    let (was, is) = (before[0].as_ref().unwrap(), agent.figures()[1].clone().unwrap());
    assert_eq!(is.period, was.period);
    assert!(is.spent > was.spent);
    assert_eq!(findings(&agent), [Finding::Anew]);
    let text = agent.report.notes[0].to_string();
    assert!(text.starts_with("SLO b starts anew: the indicator of the SLO was changed"), "{text}");
    assert_eq!((agent.report.restored, agent.report.new, agent.report.unused), (1, 2, 1));
    agent.ticks(10, |_| 1);
    agent.kill();
    // The SLO that was not configured for a while is as it was; ticks of the time before are not counted
    // for the one that counts something else now.
    let mut all = changed.to_vec();
    all.push(Arc::new(slo("c")));
    let agent = Agent::start(folder.path(), &all);
    let totals: Vec<u64> =
        agent.figures().iter().map(|figures| figures.as_ref().unwrap().period.total).collect();
    assert_eq!(totals, [2_000, 202_000, 2_000, 200_000]);
    agent.close();
    // After a month it is gone.
    let agent = Agent::start_at(folder.path(), &changed, T0 + 31 * 86_400);
    assert_eq!(findings(&agent), [Finding::Removed]);
    assert!(!names(folder.path()).contains(&"slo-c".to_owned()));
}

#[test]
fn blobs_are_replaced_at_once_or_not_at_all() {
    let folder = tempfile::tempdir().unwrap();
    let slos = slos(&["a"]);
    let agent = Agent::start(folder.path(), &slos);
    let blobs = agent.store.blobs();
    assert_eq!(blobs.get("desk"), None);
    blobs.put("desk", b"one".to_vec()).unwrap();
    blobs.put("desk", b"two".to_vec()).unwrap();
    assert_eq!(blobs.get("desk").unwrap(), b"two");
    blobs.put("full", vec![7; MAX_BLOB]).unwrap();
    assert_eq!(blobs.put("x/y", vec![]), Err(BlobError::Name("x/y".to_owned())));
    let large = vec![0; MAX_BLOB + 1];
    assert_eq!(blobs.put("large", large), Err(BlobError::TooLarge(MAX_BLOB + 1)));
    agent.kill();
    let agent = Agent::start(folder.path(), &slos);
    let blobs = agent.store.blobs();
    assert_eq!(blobs.get("desk").unwrap(), b"two");
    assert_eq!(blobs.get("full").unwrap().len(), MAX_BLOB);
    for number in 2..MAX_BLOBS {
        blobs.put(&format!("n{number}"), vec![]).unwrap();
    }
    assert_eq!(blobs.put("one-more", vec![]), Err(BlobError::TooMany));
    let path = folder.path().join("blob-desk");
    let mut bytes = fs::read(&path).unwrap();
    bytes[17] ^= 4;
    fs::write(&path, bytes).unwrap();
    assert_eq!(blobs.get("desk"), None);
    assert_eq!(agent.store.status().put_aside, 1);
    assert_eq!(names(&folder.path().join("aside")), ["000001-blob-desk"]);
}
