//! Disks that are full, cannot be written, or go away: evaluation goes on, the condition is told once, and
//! writing resumes by itself. These need root, to mount a small file system; without they are skipped, which
//! they say.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::print_stderr, reason = "a test")]

mod common;

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use common::{Agent, names, slos};
use vigie_slo_store::{Cause, Finding, Part};

/// A file system in memory of a few hundred KiB; gone when dropped.
struct Small {
    path: PathBuf,
    _parent: tempfile::TempDir,
}

fn mount(arguments: &[&str], path: &Path) -> bool {
    let status = Command::new("mount").args(arguments).arg(path).status();
    status.is_ok_and(|status| status.success())
}

impl Small {
    fn new(test: &str, kib: u64) -> Option<Self> {
        let parent = tempfile::tempdir().unwrap();
        let path = parent.path().join("small");
        fs::create_dir(&path).unwrap();
        let options = format!("size={kib}k,mode=700");
        if rustix::process::geteuid().is_root()
            && mount(&["-t", "tmpfs", "-o", &options, "tmpfs"], &path)
        {
            return Some(Self { path, _parent: parent });
        }
        let line = format!("{test}: mounting a tmpfs needs root\n");
        eprint!("skipped: {line}");
        if let Some(list) = std::env::var_os("VIGIE_SKIPPED") {
            let mut list = fs::OpenOptions::new().append(true).create(true).open(list).unwrap();
            list.write_all(line.as_bytes()).unwrap();
        }
        None
    }

    fn remount(&self, how: &str) {
        assert!(mount(&["-o", &format!("remount,{how}")], &self.path));
    }

    fn folder(&self) -> PathBuf {
        self.path.join("slo")
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.path).status();
    }
}

/// Ticks until something holds of the agent's store.
fn until(agent: &mut Agent, what: &str, is: impl Fn(&Agent) -> bool) {
    let end = Instant::now() + Duration::from_secs(20);
    while !is(agent) {
        assert!(Instant::now() < end, "{what}: {:?}", agent.store.status());
        agent.tick(|_| 1);
        std::thread::sleep(Duration::from_millis(1));
    }
}

fn causes(agent: &Agent, part: Part) -> Option<Cause> {
    let troubles = agent.store.status().troubles;
    troubles.iter().find(|(of, _)| *of == part).map(|(_, cause)| *cause)
}

#[test]
fn a_full_disk() {
    let Some(small) = Small::new("a_full_disk", 400) else { return };
    let slos = slos(&["a", "b"]);
    let folder = small.folder();
    let mut agent = Agent::start(&folder, &slos);
    agent.ticks(1_000, |_| 1);
    let safe: Vec<(String, Vec<u8>)> = names(&folder)
        .iter()
        .filter(|name| name.starts_with("slo-"))
        .map(|name| (name.clone(), fs::read(folder.join(name)).unwrap()))
        .collect();
    let before = agent.t;
    fs::write(small.path.join("others"), vec![1; 400 << 10]).unwrap_err();
    until(&mut agent, "is full", |agent| causes(agent, Part::Journal) == Some(Cause::Full));
    let (seq, _) = agent.tick(|_| 1);
    assert!(agent.store.is_safe(seq), "nothing is to be waited for");
    let blobs = agent.store.blobs();
    blobs.put("desk", vec![3; 5_000]).unwrap();
    for _ in 0..2_000 {
        agent.tick(|_| 1);
    }
    let status = agent.store.status();
    assert!(status.troubles_begun <= 3, "told once each: {status:?}");
    for (name, bytes) in &safe {
        assert!(!bytes.is_empty() && fs::read(folder.join(name)).unwrap().len() >= bytes.len());
    }
    // Killed now, what was safe is there. A copy, as the folder is locked.
    let copy = tempfile::tempdir().unwrap();
    for name in names(&folder) {
        if folder.join(&name).is_file() {
            fs::copy(folder.join(&name), copy.path().join(&name)).unwrap();
        }
    }
    let killed = Agent::start(copy.path(), &slos);
    assert_eq!(killed.report.notes, [], "no damage");
    assert!(killed.report.last >= Some(before), "{:?} {before}", killed.report);
    drop(killed);

    fs::remove_file(small.path.join("others")).unwrap();
    until(&mut agent, "is fine again", |agent| agent.store.status().troubles.is_empty());
    assert_eq!(agent.store.status().records_dropped, 0);
    assert_eq!(blobs.get("desk").unwrap().len(), 5_000);
    let t = agent.t;
    let figures = agent.kill();
    let agent = Agent::start(&folder, &slos);
    assert_eq!((agent.figures(), agent.t), (figures, t), "nothing was lost");
    assert_eq!(agent.report.notes, []);
}

#[test]
fn a_full_disk_for_so_long_that_records_are_dropped() {
    let Some(small) = Small::new("a_full_disk_for_so_long", 4_000) else { return };
    let names: Vec<String> = (0..100).map(|number| format!("slo-{number}")).collect();
    let slos = slos(&names.iter().map(String::as_str).collect::<Vec<_>>());
    fs::write(small.path.join("others"), vec![1; 5_000 << 10]).unwrap_err();
    let mut agent = Agent::start(&small.folder(), &slos);
    until(&mut agent, "drops", |agent| agent.store.status().records_dropped > 0);
    let snapshots = agent.store.status().snapshots;
    fs::remove_file(small.path.join("others")).unwrap();
    until(&mut agent, "is fine again", |agent| agent.store.status().troubles.is_empty());
    // Snapshots of all make up for what was dropped, soon and not at the end of the round.
    let from = agent.t;
    until(&mut agent, "all kept", |agent| agent.store.status().snapshots >= snapshots + 100);
    assert!(agent.t - from < 1_200, "{}", agent.t - from);
    let figures = agent.kill();
    let agent = Agent::start(&small.folder(), &slos);
    assert_eq!(agent.figures(), figures);
}

#[test]
fn a_file_system_that_cannot_be_written() {
    let Some(small) = Small::new("a_file_system_that_cannot_be_written", 2_000) else { return };
    let slos = slos(&["a", "b"]);
    let folder = small.folder();
    let mut agent = Agent::start(&folder, &slos);
    agent.ticks(500, |_| 1);
    agent.close();
    let mut bytes = fs::read(folder.join("slo-b")).unwrap();
    bytes[100] ^= 1;
    fs::write(folder.join("slo-b"), &bytes).unwrap();
    small.remount("ro");
    let mut agent = Agent::start(&folder, &slos);
    let findings: Vec<Finding> = agent.report.notes.iter().map(|note| note.finding).collect();
    assert_eq!(findings, [Finding::Damaged, Finding::Unreadable]);
    assert_eq!(agent.report.restored, 2, "what can be read is, of the damaged one the journal");
    until(&mut agent, "told", |agent| causes(agent, Part::Journal) == Some(Cause::ReadOnly));
    for _ in 0..100 {
        agent.tick(|_| 1);
    }
    assert!(agent.store.status().troubles_begun <= 2, "once for the journal, once for snapshots");
    small.remount("rw");
    until(&mut agent, "is fine again", |agent| agent.store.status().troubles.is_empty());
    assert_eq!(names(&folder.join("aside")), ["000001-slo-b"], "before anything replaces it");
    let figures = agent.kill();
    let agent = Agent::start(&folder, &slos);
    assert_eq!(agent.figures(), figures);
}

#[test]
fn a_folder_that_vanishes() {
    let parent = tempfile::tempdir().unwrap();
    let folder = parent.path().join("not/there/yet");
    let slos = slos(&["a", "b"]);
    let mut agent = Agent::start(&folder, &slos);
    agent.ticks(1_000, |_| 1);
    let snapshots = agent.store.status().snapshots;
    // At once, whatever is being written.
    fs::rename(parent.path().join("not"), parent.path().join("gone")).unwrap();
    until(&mut agent, "noticed", |agent| agent.store.status().troubles_begun > 0);
    until(&mut agent, "is fine again", |agent| agent.store.status().troubles.is_empty());
    let from = agent.t;
    until(&mut agent, "all kept", |agent| agent.store.status().snapshots >= snapshots + 2);
    assert!(agent.t - from < 1_200, "soon, and not at the end of the round: {}", agent.t - from);
    let figures = agent.kill();
    let agent = Agent::start(&folder, &slos);
    assert_eq!(agent.figures(), figures, "with all that was before");
}

#[test]
fn a_folder_that_another_one_takes_meanwhile() {
    let parent = tempfile::tempdir().unwrap();
    let (folder, slos) = (parent.path().join("slo"), slos(&["a"]));
    let mut agent = Agent::start(&folder, &slos);
    agent.ticks(10, |_| 1);
    fs::rename(&folder, parent.path().join("moved")).unwrap();
    let other = Agent::start(&folder, &slos);
    until(&mut agent, "in use", |agent| causes(agent, Part::Journal) == Some(Cause::InUse));
    other.kill();
    until(&mut agent, "is fine again", |agent| agent.store.status().troubles.is_empty());
}

#[test]
fn snapshots_that_cannot_be_replaced() {
    let folder = tempfile::tempdir().unwrap();
    let slos = slos(&["a", "b"]);
    // What a file cannot take the place of.
    fs::create_dir(folder.path().join("slo-a")).unwrap();
    let mut agent = Agent::start(folder.path(), &slos);
    until(&mut agent, "told", |agent| causes(agent, Part::Snapshots).is_some());
    for _ in 0..1_000 {
        agent.tick(|_| 1);
    }
    assert_eq!(causes(&agent, Part::Journal), None, "the journal goes on");
    assert!(agent.store.status().troubles_begun < 50, "{:?}", agent.store.status());
    let figures = agent.kill();
    assert!(!names(folder.path()).iter().any(|name| name.contains(".new")));
    let mut agent = Agent::start(folder.path(), &slos);
    assert_eq!(agent.figures(), figures, "all of it is in the journal");
    until(&mut agent, "told again", |agent| causes(agent, Part::Snapshots).is_some());
    fs::remove_dir(folder.path().join("slo-a")).unwrap();
    until(&mut agent, "is fine again", |agent| agent.store.status().troubles.is_empty());
}

/// Has the writer hang: it opens a pipe that nobody reads, as it does with a disk that does not answer.
fn hang(agent: &mut Agent, folder: &Path) -> PathBuf {
    let pipe = folder.join("slo-a.new");
    // A snapshot may be being written.
    until(agent, "a pipe", |_| Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    agent.store.snapshot(0, &agent.evaluators[0]);
    pipe
}

#[test]
fn a_disk_that_hangs() {
    let folder = tempfile::tempdir().unwrap();
    let mut agent = Agent::start(folder.path(), &slos(&["a"]));
    agent.ticks(10, |_| 1);
    let pipe = hang(&mut agent, folder.path());
    let (mut longest, mut last) = (Duration::ZERO, 0);
    for _ in 0..3_000 {
        let before = Instant::now();
        (last, _) = agent.tick(|_| 1);
        longest = longest.max(before.elapsed());
    }
    // Usually microseconds; others are at work on the machine.
    assert!(longest < Duration::from_secs(1), "{longest:?}");
    assert!(!agent.store.is_safe(last) && !agent.store.wait_safe(last, Duration::from_millis(10)));
    // It goes on: the snapshot fails, as a pipe is none, and comes again.
    drop(fs::File::open(&pipe).unwrap());
    agent.store.flush();
    assert!(agent.store.wait_safe(last, Duration::from_secs(20)));
    until(&mut agent, "is fine again", |agent| agent.store.status().troubles.is_empty());
    assert_eq!(agent.store.status().records_dropped, 0);
    // Nor does it keep the agent from ending.
    agent.ticks(10, |_| 1);
    hang(&mut agent, folder.path());
    let before = Instant::now();
    agent.close();
    assert!(before.elapsed() < Duration::from_secs(15), "{:?}", before.elapsed());
}

#[test]
fn a_path_that_is_a_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("slo");
    fs::write(&path, "").unwrap();
    let mut agent = Agent::start(&path, &slos(&["a"]));
    assert_eq!(agent.report.notes[0].finding, Finding::Unreadable);
    until(&mut agent, "told", |agent| causes(agent, Part::Journal).is_some());
    assert!(agent.figures()[0].is_some());
}
