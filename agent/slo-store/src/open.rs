//! Opening: lock, snapshots, journal, report.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use vigie_slo::evaluate::Evaluator;
use vigie_slo::figures::Mode;
use vigie_slo::model::Slo;
use vigie_slo::rings::Resolution;
use vigie_slo::state;

use crate::disk::{Closed, Disk, segment_number};
use crate::folder::{Folder, Taken};
use crate::frame::{self, Damage, Kind};
use crate::journal::{self, Gaps, Input, Member, Record};
use crate::name;
use crate::report::{Finding, Report};
use crate::snapshot::{self, Snapshot};
use crate::store::{FLUSH_S, Store};

/// How long the state of an SLO that is not configured is kept, in seconds.
pub(crate) const UNUSED_S: i64 = 30 * 86_400;
/// Most such SLOs; those longest unused go.
pub(crate) const MAX_UNUSED: usize = 1_000;

/// A folder that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OpenError {
    /// Another process has it.
    #[error(
        "another vigie{} keeps SLO state in {}: stop it, or give one of them a folder of its own with --state",
        pid.map(|pid| format!(" (process {pid})")).unwrap_or_default(),
        folder.display()
    )]
    InUse {
        /// The folder.
        folder: PathBuf,
        /// Which process, if known.
        pid: Option<u32>,
    },
}

/// A store, and what was in it.
#[derive(Debug)]
pub struct Opened {
    /// To be told of what goes on.
    pub store: Store,
    /// One per SLO, in their order.
    pub evaluators: Vec<Evaluator>,
    /// What was found.
    pub report: Report,
}

/// An SLO while its state is being read.
struct Loading {
    member: Member,
    evaluator: Evaluator,
    /// Number of the last record that is in its snapshot, and when that was made.
    seq: u64,
    made: Option<i64>,
}

struct Opening<'a> {
    folder: &'a Folder,
    report: Report,
    slos: Vec<Loading>,
    /// Last record of all.
    last: u64,
    closed: Vec<Closed>,
    /// What could not be put aside yet.
    aside: Vec<String>,
    put_aside: u64,
    now_s: i64,
}

/// The evaluator of an SLO on a node, without state.
pub fn evaluator(slo: &Arc<Slo>, mode: Mode) -> Evaluator {
    Evaluator::new(Arc::clone(slo), mode, resolution(slo))
}

fn resolution(slo: &Slo) -> Resolution {
    Resolution::node(Evaluator::longest_s(slo))
}

/// Opens the store in `folder`, which is made if it is not there, for these SLOs. `now_s` is the wall clock,
/// in seconds since 1970. Alerts that fired are held ([`Evaluator::hold`]).
///
/// The one error is that another process has the folder. Whatever else is wrong with it is in the report or
/// in [`Store::status`], and evaluation goes on in memory.
pub fn open(folder: &Path, slos: &[Arc<Slo>], mode: Mode, now_s: i64) -> Result<Opened, OpenError> {
    let folder = Folder::open(folder.to_owned())
        .map_err(|Taken { pid }| OpenError::InUse { folder: folder.to_owned(), pid })?;
    let mut opening = Opening {
        folder: &folder,
        report: Report::default(),
        slos: slos.iter().map(|slo| Loading::new(slo, mode)).collect(),
        last: 0,
        closed: Vec::new(),
        aside: Vec::new(),
        put_aside: 0,
        now_s,
    };
    opening.read(mode);
    let Opening { mut report, slos, last, closed, aside, put_aside, .. } = opening;
    report.restored = slos.iter().filter(|slo| slo.evaluator.now().is_some()).count();
    report.new = slos.len() - report.restored;
    report.last = slos.iter().filter_map(|slo| slo.evaluator.now()).max();
    if let Some(ahead) = report.last.filter(|last| last.saturating_sub(FLUSH_S) > now_s) {
        report.note(Finding::Ahead, ahead_text(ahead, now_s));
    }
    let kept = slos.iter().map(|slo| slo.seq).collect();
    let last_made: Vec<Option<i64>> = slos.iter().map(|slo| slo.made).collect();
    let (members, mut evaluators): (Vec<Member>, Vec<Evaluator>) =
        slos.into_iter().map(|slo| (slo.member, slo.evaluator)).unzip();
    evaluators.iter_mut().for_each(Evaluator::hold);
    let path = folder.path().to_owned();
    let disk = Disk::new(folder, members, kept, closed, aside);
    let store = Store::start(disk, path, &last_made, last, put_aside);
    Ok(Opened { store, evaluators, report })
}

fn ahead_text(last: i64, now_s: i64) -> String {
    format!(
        "SLO state is {} s later than the clock: times go on from there until the clock has caught up; if \
         the clock was wrong when it was kept, stop vigie, remove the folder and start it again",
        last.saturating_sub(now_s)
    )
}

impl Loading {
    fn new(slo: &Arc<Slo>, mode: Mode) -> Self {
        let member = Member { key: name::key(&slo.name), fingerprint: state::fingerprint(slo) };
        Self { member, evaluator: evaluator(slo, mode), seq: 0, made: None }
    }
}

impl Opening<'_> {
    fn read(&mut self, mode: Mode) {
        let names = match self.folder.names() {
            Ok(names) => names,
            Err(error) => {
                let text = format!("SLO state cannot be read ({error}): all SLOs start anew");
                self.report.note(Finding::Unreadable, text);
                return;
            }
        };
        let mut unused = Vec::new();
        for name in names.iter().filter(|name| snapshot::key_of(name).is_some()) {
            self.snapshot(name, mode, &mut unused);
        }
        self.forget(unused);
        let mut segments: Vec<(u64, &String)> =
            names.iter().filter_map(|name| Some((segment_number(name)?, name))).collect();
        segments.sort_unstable();
        let needed = self.slos.iter().map(|slo| slo.seq).min().unwrap_or(0);
        let mut replayed_to = needed;
        let mut missing = 0;
        for (number, name) in segments {
            self.last = self.last.max(number.saturating_sub(1));
            self.segment(name, &mut replayed_to, &mut missing);
        }
        if missing > 0 {
            let text = format!(
                "{missing} ticks are missing in the journal of SLO state: they count as not observed"
            );
            self.report.note(Finding::Missing, text);
        }
    }

    /// Reads a file; what cannot be read is noted and as if it were not there.
    fn file(&mut self, name: &str) -> Option<Vec<u8>> {
        match self.folder.read(name) {
            Ok(bytes) => bytes,
            Err(error) => {
                let text = format!("{name} cannot be read ({error}): what is in it is not used");
                self.report.note(Finding::Unreadable, text);
                self.put_aside(name);
                None
            }
        }
    }

    fn put_aside(&mut self, name: &str) {
        match self.folder.put_aside(name) {
            Ok(()) => self.put_aside += 1,
            Err(error) => {
                let text = format!("{name} cannot be put aside yet ({error})");
                self.report.note(Finding::Unreadable, text);
                self.aside.push(name.to_owned());
            }
        }
    }

    fn snapshot(&mut self, file: &str, mode: Mode, unused: &mut Vec<(i64, String)>) {
        let Some(bytes) = self.file(file) else { return };
        let content = frame::unseal(Kind::Snapshot, &bytes).map_err(|damage| damage.to_string());
        let read = content
            .and_then(|content| snapshot::read(content).map_err(|unusable| unusable.to_string()));
        let Snapshot { seq, t, name, state } = match read {
            Ok(snapshot) => snapshot,
            Err(why) => return self.damaged(file, &why),
        };
        self.last = self.last.max(seq);
        let Some(slo) = self.slos.iter_mut().find(|slo| slo.evaluator.slo().name == name) else {
            unused.push((t, file.to_owned()));
            return;
        };
        let of_now = Arc::clone(slo.evaluator.slo());
        let resolution = resolution(&of_now);
        match Evaluator::decode(state, of_now, mode, resolution) {
            Ok(evaluator) => {
                slo.evaluator = evaluator;
                slo.seq = seq;
                slo.made = Some(t);
            }
            Err(why) if why.is_damage() || matches!(why, state::Unusable::Version(_)) => {
                self.damaged(file, &why.to_string());
            }
            Err(why) => {
                let text =
                    format!("SLO {name} starts anew: {why}; its state until now is put aside");
                self.report.note(Finding::Anew, text);
                self.put_aside(file);
            }
        }
    }

    fn damaged(&mut self, file: &str, why: &str) {
        let key = snapshot::key_of(file).unwrap_or(file);
        let configured = self.slos.iter().find(|slo| slo.member.key == key);
        let lost = match configured.map(|slo| &slo.evaluator.slo().name) {
            Some(name) => {
                format!(
                    "SLO {name} starts anew with what the journal still has of it (up to an hour)"
                )
            }
            None => "it is of no SLO that is configured".to_owned(),
        };
        let text = format!("SLO state in {file} is put aside, {why}: {lost}");
        self.report.note(Finding::Damaged, text);
        self.put_aside(file);
    }

    /// Removes states that have not been used for long, or are too many.
    fn forget(&mut self, mut unused: Vec<(i64, String)>) {
        unused.sort_unstable();
        let too_many = unused.len().saturating_sub(MAX_UNUSED);
        for (place, (t, file)) in unused.into_iter().enumerate() {
            let old = self.now_s.saturating_sub(t) > UNUSED_S;
            if !old && place >= too_many {
                self.report.unused += 1;
                continue;
            }
            let why = if old { "not configured for 30 days" } else { "too many that are not used" };
            let text = match self.folder.remove(&file) {
                Ok(()) => format!("SLO state in {file} is removed: {why}"),
                Err(error) => format!("SLO state in {file} cannot be removed: {error}"),
            };
            self.report.note(Finding::Removed, text);
        }
    }

    fn segment(&mut self, name: &str, replayed_to: &mut u64, missing: &mut u64) {
        let Some(bytes) = self.file(name) else { return };
        let length = bytes.len() as u64;
        let (mut members, mut records, mut last) = (None, 0, 0);
        let read = journal::read(&bytes, &mut |record| match record {
            Record::Roster(roster) => members = members.take().or(Some(roster)),
            Record::Ticks(seq, _) => (records, last) = (records + 1, last.max(seq)),
        });
        let gaps = match read {
            Ok(gaps) => gaps,
            // Killed before anything was in it.
            Err(Damage::Cut) => Gaps { torn_bytes: length, ..Gaps::default() },
            Err(why) => {
                let text = format!(
                    "a part of the journal of SLO state, {name}, is put aside, {why}: its ticks count as not \
                     observed"
                );
                self.report.note(Finding::Damaged, text);
                return self.put_aside(name);
            }
        };
        self.report.torn_bytes += gaps.torn_bytes;
        let attributable = members.is_some() || records == 0;
        let damaged = gaps.holes > 0 || !attributable;
        if damaged {
            let text = format!(
                "a part of the journal of SLO state, {name}, is damaged in {} places, {} bytes of {length}: \
                 ticks in them count as not observed; it is put aside when snapshots no longer need it",
                gaps.holes.max(1),
                if attributable { gaps.hole_bytes } else { length },
            );
            self.report.note(Finding::Damaged, text);
        }
        // Which SLO a number of this segment is now.
        let now: Vec<Option<usize>> = members
            .unwrap_or_default()
            .iter()
            .map(|member| self.slos.iter().position(|slo| slo.member == *member))
            .collect();
        // What was wrong with it is known from the first time.
        let _ = journal::read(&bytes, &mut |record| {
            if let Record::Ticks(seq, inputs) = record {
                self.replay(seq, &inputs, &now, replayed_to, missing);
            }
        });
        self.last = self.last.max(last);
        self.closed.push(Closed { name: name.to_owned(), last, bytes: length, damaged });
    }

    fn replay(
        &mut self,
        seq: u64,
        inputs: &[(usize, Input)],
        now: &[Option<usize>],
        replayed_to: &mut u64,
        missing: &mut u64,
    ) {
        // One that was written twice, as its first writing seemed to fail, or that no SLO needs.
        let Some(ahead) = seq.checked_sub(*replayed_to).filter(|ahead| *ahead > 0) else { return };
        if *replayed_to > 0 {
            *missing += ahead - 1;
        }
        *replayed_to = seq;
        self.report.replayed += 1;
        for (number, input) in inputs {
            let slo = now.get(*number).copied().flatten();
            if let Some(slo) = slo.and_then(|slo| self.slos.get_mut(slo))
                && seq > slo.seq
            {
                input.apply(&mut slo.evaluator, &mut Vec::new());
            }
        }
    }
}
