//! The thread that writes, and the queue before it.
//!
//! Whoever evaluates only adds to the queue, under a lock that is never held while something is written. The
//! queue is bounded: records up to [`MAX_QUEUED`] (past it all of them are dropped and counted, and new
//! snapshots asked for), [`MAX_SNAPSHOTS`] snapshots, one content per blob.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::disk::{Disk, Records, Tried};
use crate::status::{Counters, Part, add};

/// Bytes of records that wait at most: a quarter of an hour of 200 SLOs with ticks of 2 s.
pub(crate) const MAX_QUEUED: usize = 512 << 10;
/// Snapshots that wait at most.
pub(crate) const MAX_SNAPSHOTS: usize = 2;

/// A snapshot that waits.
#[derive(Debug)]
pub(crate) struct Waiting {
    pub(crate) slo: usize,
    pub(crate) seq: u64,
    pub(crate) content: Vec<u8>,
}

#[derive(Debug, Default)]
pub(crate) struct Queue {
    pub(crate) records: Records,
    /// Make safe what is there.
    pub(crate) flush: bool,
    pub(crate) snapshots: VecDeque<Waiting>,
    pub(crate) blobs: BTreeMap<String, Vec<u8>>,
    /// All that there are, on the disk or waiting.
    pub(crate) blob_names: BTreeSet<String>,
    /// SLOs whose snapshots could not be written.
    pub(crate) failed: Vec<usize>,
    /// The journal has a gap: all SLOs need snapshots.
    pub(crate) gap: bool,
    pub(crate) life: Life,
}

/// Whether the thread runs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Life {
    #[default]
    Running,
    /// Ends when all is written, or was tried once more.
    Stopping,
    Ended,
}

/// What the writer and the handles share.
#[derive(Debug)]
pub(crate) struct Shared {
    queue: Mutex<Queue>,
    wake: Condvar,
    /// Something was done, or the writer has ended.
    done: Condvar,
    /// Number of the last record that is safe.
    pub(crate) safe: AtomicU64,
    /// The journal cannot be written at present.
    pub(crate) failing: AtomicBool,
    pub(crate) counters: Counters,
    pub(crate) folder: PathBuf,
}

impl Shared {
    pub(crate) fn new(folder: PathBuf, safe: u64) -> Arc<Self> {
        Arc::new(Self {
            queue: Mutex::default(),
            wake: Condvar::new(),
            done: Condvar::new(),
            safe: AtomicU64::new(safe),
            failing: AtomicBool::new(false),
            counters: Counters::default(),
            folder,
        })
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn wake(&self) {
        self.wake.notify_one();
    }

    /// Drops the records that wait if there are too many, and says whether it did.
    pub(crate) fn bound(&self, queue: &mut Queue) {
        if queue.records.bytes.len() > MAX_QUEUED {
            add(&self.counters.records_dropped, queue.records.count);
            queue.records = Records::default();
            queue.gap = true;
        }
    }

    /// Waits until `is` holds or the time is over. Whether it holds.
    pub(crate) fn wait(&self, most: Duration, is: impl Fn(&Queue) -> bool) -> bool {
        let end = Instant::now() + most;
        let mut queue = self.lock();
        while !is(&queue) {
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return false;
            }
            queue = self.done.wait_timeout(queue, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        true
    }

    fn tried(&self, part: Part, result: Tried) -> bool {
        match result {
            Ok(()) => self.counters.fine(part, &self.folder),
            Err(cause) => self.counters.trouble(part, cause, &self.folder),
        }
        result.is_ok()
    }
}

/// What the thread does at once.
struct Job {
    records: Records,
    flush: bool,
    snapshot: Option<Waiting>,
    blobs: BTreeMap<String, Vec<u8>>,
    stop: bool,
}

/// Runs until it is told to stop.
pub(crate) fn run(shared: &Shared, mut disk: Disk) {
    loop {
        let job = next(shared);
        let stop = job.stop;
        work(shared, &mut disk, job);
        let counters = &shared.counters;
        counters.bytes_written.store(disk.written, Ordering::Relaxed);
        counters.longest_sync_us.store(disk.longest_sync_us, Ordering::Relaxed);
        add(&counters.put_aside, std::mem::take(&mut disk.put_aside));
        let mut queue = shared.lock();
        // Its lock on the folder goes before anybody is told that it has ended.
        if stop {
            drop(disk);
            queue.life = Life::Ended;
            shared.done.notify_all();
            return;
        }
        shared.done.notify_all();
    }
}

fn next(shared: &Shared) -> Job {
    let mut queue = shared.lock();
    loop {
        // What failed is tried again with each flush.
        let failing = shared.failing.load(Ordering::Relaxed);
        let blobs_fail = shared.counters.cause(Part::Blobs).is_some();
        let stopping = queue.life == Life::Stopping;
        let due = |failing: bool, queue: &Queue| !failing || queue.flush || stopping;
        let records = queue.records.count > 0 && due(failing, &queue);
        let blobs = !queue.blobs.is_empty() && due(blobs_fail, &queue);
        let last = queue.snapshots.len() <= 1;
        if records || blobs || queue.flush || stopping || !queue.snapshots.is_empty() {
            return Job {
                records: if records {
                    std::mem::take(&mut queue.records)
                } else {
                    Records::default()
                },
                flush: std::mem::take(&mut queue.flush) || stopping,
                snapshot: queue.snapshots.pop_front(),
                blobs: if blobs { std::mem::take(&mut queue.blobs) } else { BTreeMap::new() },
                stop: stopping && last,
            };
        }
        queue = shared.wake.wait(queue).unwrap_or_else(PoisonError::into_inner);
    }
}

fn work(shared: &Shared, disk: &mut Disk, job: Job) {
    if job.flush || job.records.count > 0 {
        journal(shared, disk, job.records, job.flush);
    }
    if let Some(Waiting { slo, seq, content }) = job.snapshot {
        let written = disk.snapshot(slo, seq, &content);
        if shared.tried(Part::Snapshots, written) {
            add(&shared.counters.snapshots, 1);
        } else {
            shared.lock().failed.push(slo);
        }
    }
    for (name, content) in job.blobs {
        let written = disk.blob(&name, &content);
        if shared.tried(Part::Blobs, written) {
            add(&shared.counters.blobs, 1);
        } else {
            // A newer one may have come.
            shared.lock().blobs.entry(name).or_insert(content);
        }
    }
}

fn journal(shared: &Shared, disk: &mut Disk, records: Records, flush: bool) {
    let count = records.count;
    let mut tried = Ok(());
    if shared.failing.load(Ordering::Relaxed) {
        tried = disk.ensure();
    }
    if count > 0 {
        tried = tried.and_then(|()| disk.append(&records));
        if tried.is_ok() {
            add(&shared.counters.records, count);
        } else {
            give_back(shared, records);
        }
    }
    if tried.is_ok() && flush {
        tried = disk.sync();
        if tried.is_ok() {
            add(&shared.counters.syncs, 1);
            shared.safe.fetch_max(disk.appended, Ordering::Release);
        } else {
            // Records that were thought to be written may not be.
            shared.lock().gap = true;
        }
    }
    shared.failing.store(tried.is_err(), Ordering::Release);
    shared.tried(Part::Journal, tried);
}

/// Records that could not be written wait, before those that came since.
fn give_back(shared: &Shared, mut records: Records) {
    let mut queue = shared.lock();
    let newer = std::mem::take(&mut queue.records);
    if newer.count > 0 {
        records.bytes.extend(&newer.bytes);
        records.last = newer.last;
        records.count += newer.count;
    }
    queue.records = records;
    shared.bound(&mut queue);
}
