//! The handle of whoever evaluates.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use vigie_slo::evaluate::Evaluator;

use crate::blobs::Blobs;
use crate::disk::Disk;
use crate::journal::{self, Input};
use crate::schedule::Schedule;
use crate::snapshot;
use crate::status::{Cause, Part, Status, add};
use crate::writer::{self, Life, MAX_SNAPSHOTS, Shared, Waiting};

/// How often the journal is made safe, in seconds: the most that a crash of the machine costs.
pub const FLUSH_S: i64 = 10;
/// Longest that closing waits for the disk.
const CLOSE: Duration = Duration::from_secs(5);

/// Keeps what evaluators come to. Nothing here waits for the disk but [`Store::close`].
///
/// After each tick of all SLOs: [`Store::record`] with what the evaluators were given, then
/// [`Store::snapshot`] of the one that is [`Store::due`].
#[derive(Debug)]
pub struct Store {
    shared: Arc<Shared>,
    writer: Option<JoinHandle<()>>,
    schedule: Schedule,
    /// Number of the last record.
    seq: u64,
    /// Time of the last tick.
    t: i64,
    /// When a flush was last asked for: by the time of ticks, and by the clock.
    flushed: (i64, Instant),
}

impl Store {
    pub(crate) fn start(
        disk: Disk,
        folder: PathBuf,
        made: &[Option<i64>],
        last: u64,
        put_aside: u64,
    ) -> Self {
        let shared = Shared::new(folder, last);
        add(&shared.counters.put_aside, put_aside);
        let names = disk.blob_names();
        shared.lock().blob_names = names;
        let writing = Arc::clone(&shared);
        let thread = thread::Builder::new().name("vigie-slo-store".to_owned());
        let writer = thread.spawn(move || writer::run(&writing, disk));
        if let Err(error) = &writer {
            shared.counters.trouble(Part::Journal, Cause::Other(error.kind()), &shared.folder);
            shared.failing.store(true, Ordering::Release);
        }
        Self {
            shared,
            writer: writer.ok(),
            schedule: Schedule::new(made),
            seq: last,
            t: i64::MIN,
            flushed: (i64::MIN, Instant::now()),
        }
    }

    /// What evaluators were just given, by their place in the SLOs that the store was opened with. Every
    /// [`FLUSH_S`] it is made safe. Gives the number of the record, for [`Self::is_safe`].
    pub fn record(&mut self, inputs: &[(usize, Input)]) -> u64 {
        let Some(t) = inputs.iter().map(|(_, input)| input.t()).max() else { return self.seq };
        self.seq += 1;
        self.t = self.t.max(t);
        let (last_t, last) = self.flushed;
        let flush = self.t.saturating_sub(last_t) >= FLUSH_S
            || last.elapsed() >= Duration::from_secs(FLUSH_S.unsigned_abs());
        if flush {
            self.flushed = (self.t, Instant::now());
        }
        let mut queue = self.shared.lock();
        let records = &mut queue.records;
        if journal::ticks(self.seq, inputs, &mut records.bytes) {
            if records.count == 0 {
                records.first = self.seq;
            }
            records.last = self.seq;
            records.count += 1;
            self.shared.bound(&mut queue);
        } else {
            add(&self.shared.counters.records_dropped, 1);
            queue.gap = true;
        }
        queue.flush |= flush;
        drop(queue);
        self.shared.wake();
        self.seq
    }

    /// Makes safe what was recorded, soon: asked for when something changed that others are to be told.
    pub fn flush(&mut self) {
        self.flushed = (self.t, Instant::now());
        self.shared.lock().flush = true;
        self.shared.wake();
    }

    /// Whether a record will outlive a crash, or nothing can be done about it because the disk does not take
    /// it. Who tells others of a change only then never has to tell it twice.
    pub fn is_safe(&self, seq: u64) -> bool {
        self.shared.safe.load(Ordering::Acquire) >= seq
            || self.shared.failing.load(Ordering::Acquire)
    }

    /// Waits until a record [is safe](Self::is_safe), at most so long. Whether it is.
    pub fn wait_safe(&self, seq: u64, most: Duration) -> bool {
        self.shared.wait(most, |_| self.is_safe(seq))
    }

    /// An SLO whose snapshot is due now, at most a few per tick.
    pub fn due(&mut self) -> Option<usize> {
        let mut queue = self.shared.lock();
        for slo in queue.failed.drain(..) {
            self.schedule.failed(slo);
        }
        if std::mem::take(&mut queue.gap) {
            self.schedule.all();
        }
        let full = queue.snapshots.len() >= MAX_SNAPSHOTS;
        drop(queue);
        // Where the journal cannot be written snapshots cannot either, unless they are its cure.
        let cause = self.shared.counters.cause(Part::Journal);
        let failing = cause.is_some_and(|cause| cause != Cause::TooLong);
        if full || failing || self.t == i64::MIN { None } else { self.schedule.next(self.t) }
    }

    /// Keeps the state of an SLO. Everything that was recorded must have been given to the evaluator. If
    /// too many wait already, it is due again a little later.
    pub fn snapshot(&mut self, slo: usize, evaluator: &Evaluator) {
        if self.shared.lock().snapshots.len() >= MAX_SNAPSHOTS {
            self.schedule.failed(slo);
            return;
        }
        let t = evaluator.now().unwrap_or(self.t).max(self.t);
        let content = snapshot::write(self.seq, t, evaluator);
        self.shared.lock().snapshots.push_back(Waiting { slo, seq: self.seq, content });
        self.shared.wake();
    }

    /// Small states of others in the same folder.
    pub fn blobs(&self) -> Blobs {
        Blobs::new(Arc::clone(&self.shared))
    }

    /// Figures of the store.
    pub fn status(&self) -> Status {
        self.shared.counters.status()
    }

    /// Keeps the state of all SLOs and ends, within some seconds. What does not get written within them is in
    /// the journal.
    pub fn close<'a>(mut self, evaluators: impl IntoIterator<Item = &'a Evaluator>) {
        let end = Instant::now() + CLOSE;
        for (slo, evaluator) in evaluators.into_iter().enumerate() {
            let left = end.saturating_duration_since(Instant::now());
            let room = self.shared.wait(left, |queue| queue.snapshots.len() < MAX_SNAPSHOTS);
            if !room || self.shared.failing.load(Ordering::Acquire) {
                break;
            }
            if evaluator.now().is_some() {
                self.snapshot(slo, evaluator);
            }
        }
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        self.shared.lock().life = Life::Stopping;
        self.shared.wake();
        // A disk that hangs must not keep the agent from ending.
        if let Some(writer) = self.writer.take()
            && self.shared.wait(CLOSE, |queue| queue.life == Life::Ended)
        {
            let _ = writer.join();
        }
    }
}
