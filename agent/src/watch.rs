//! Watching this machine: the thread that reads the rings and drives the pipeline.
//!
//! One thread does everything between ring and span, so no stage needs a lock; what others want to
//! know is published once per round.

mod lost;
pub mod pause;
mod rules;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use vigie_common::counter::Counter;

use crate::discover;
use crate::discover::host::Clock;
use crate::event::stream::Writer;
use crate::event::{Event, MonoNs, ProcessKey};
use crate::governor::usage::Gauge;
use crate::governor::{Budget, Change, Governor, Level, State};
use crate::identities::Live;
use crate::pipeline::{Figures, Pipeline};
use crate::probe::control::PolicyError;
use crate::probe::cost::{Meter, ProgramCost};
use crate::probe::counters::Counters;
use crate::probe::libraries;
use crate::probe::load::Skipped;
use crate::probe::memory::MapMemory;
use crate::probe::reader::Reader;
use crate::probe::{Backend, Probes};
use lost::{Found, Lost};
use pause::{Pause, PauseError};
pub use rules::Reload;

/// Where a recording goes.
pub type Recording = Writer<Box<dyn std::io::Write + Send>>;

/// What the thread is given.
pub struct Parts {
    /// The attached probes.
    pub probes: Probes,
    /// The stages.
    pub pipeline: Pipeline,
    /// Who the processes are.
    pub identities: Live,
    /// Whether the children of this process are watched, whatever they are.
    pub watch_children: bool,
    /// Longest time between two looks at the rings.
    pub interval: Duration,
    /// Time between two measurements of what the programs cost.
    pub meter_pause: Duration,
    /// What watching may cost.
    pub budget: Budget,
    /// Where the event stream is recorded, if it is.
    pub recording: Option<Recording>,
    /// Stops the reader for a while, for tests.
    pub pause: Option<Pause>,
}

/// What is known of a running watch.
#[derive(Clone, Debug, Default)]
pub struct Published {
    /// Figures of the pipeline.
    pub figures: Figures,
    /// Records that could not be decoded.
    pub undecodable: u64,
    /// Processes.
    pub processes: discover::Stats,
    /// What the programs cost.
    pub cost: Vec<ProgramCost>,
    /// Connections in the kernel's table.
    pub kernel_connections: u64,
    /// Connections that left the kernel's table because they were idle for long.
    pub kernel_idle: u64,
    /// Connections that left the kernel's table to make room.
    pub kernel_evicted: u64,
    /// Runs of programs that the kernel left out.
    pub skipped_runs: Skipped,
    /// What has become of the budget.
    pub budget: State,
    /// What the maps take.
    pub maps: Vec<MapMemory>,
    /// C libraries of processes.
    pub libraries: libraries::Stats,
}

/// A running watch. Dropping it without [`Watch::stop`] leaves the thread to the end of the
/// process.
pub struct Watch {
    thread: JoinHandle<Result<(), WatchError>>,
    stop: Arc<AtomicBool>,
    reload: Arc<Mutex<Option<Reload>>>,
    published: Arc<Mutex<Published>>,
    /// The kernel's counters.
    pub counters: Arc<Counters>,
    /// The hooks in use.
    pub backend: Backend,
}

/// Why a watch could not begin or ended early.
#[derive(Debug, thiserror::Error)]
pub enum WatchError {
    /// The rings cannot be waited for.
    #[error("the rings cannot be waited for: {0}")]
    Wait(#[from] rustix::io::Errno),
    /// The kernel's table of processes cannot be written.
    #[error(transparent)]
    Policy(#[from] PolicyError),
    /// The switch that stops the reader.
    #[error(transparent)]
    Pause(#[from] PauseError),
    /// The thread cannot be made.
    #[error("no thread can be made: {0}")]
    Thread(std::io::Error),
    /// The recording failed.
    #[error("the recording failed: {0}")]
    Recording(#[from] crate::event::stream::StreamError),
    /// The thread came to a wrong end.
    #[error("the watching thread ended unexpectedly")]
    Panicked,
}

impl Watch {
    /// Begins to read. The probes are attached already, so nothing that happens from now on is
    /// missed.
    pub fn start(parts: Parts) -> Result<Self, WatchError> {
        let Parts {
            mut probes,
            pipeline,
            mut identities,
            interval,
            meter_pause,
            budget,
            recording,
            pause,
            ..
        } = parts;
        let reader = Reader::try_new(std::mem::take(&mut probes.rings))?;
        let (counters, backend) = (Arc::clone(&probes.counters), probes.backend);
        if parts.watch_children {
            // Children inherit it in the kernel; this process itself is never watched.
            let own = ProcessKey { pid: std::process::id(), start_ns: 0 };
            probes.control.set_policy(own, true)?;
        }
        identities.scan();
        if probes.wants_libraries() {
            for pid in identities.keep_watched() {
                probes.look_at_library(pid);
            }
        }
        if recording.is_some() {
            identities.keep_found();
        }
        let stop = Arc::new(AtomicBool::new(false));
        let maps = std::mem::take(&mut probes.memory);
        let published = Arc::new(Mutex::new(Published { maps, ..Published::default() }));
        let reload = Arc::new(Mutex::new(None));
        let mut rounds = Rounds {
            probes,
            reader,
            pipeline,
            identities,
            recording,
            pause,
            lost: Lost::default(),
            meter: Meter::new(meter_pause),
            gauge: Gauge::new(),
            governor: Governor::new(budget),
            clock: Clock::read(),
            maintained_ns: 0,
            reload: Arc::clone(&reload),
            published: Arc::clone(&published),
        };
        rounds.apply_policies();
        let thread = std::thread::Builder::new()
            .name("vigie-watch".into())
            .spawn({
                let stop = Arc::clone(&stop);
                move || rounds.run(&stop, interval)
            })
            .map_err(WatchError::Thread)?;
        Ok(Self { thread, stop, reload, published, counters, backend })
    }

    /// What is known now.
    pub fn published(&self) -> Published {
        self.published.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Gives new rules to the thread, which takes them over within a second.
    pub fn reload(&self, reload: Reload) {
        *self.reload.lock().unwrap_or_else(PoisonError::into_inner) = Some(reload);
    }

    /// A handle on what is known, that outlives this.
    pub fn publisher(&self) -> Arc<Mutex<Published>> {
        Arc::clone(&self.published)
    }

    /// Whether the thread has come to an end by itself.
    pub fn is_over(&self) -> bool {
        self.thread.is_finished()
    }

    /// Takes in what the rings hold, gives out what is held back, and detaches the probes.
    pub fn stop(self) -> Result<Published, WatchError> {
        self.stop.store(true, Ordering::Release);
        self.thread.join().map_err(|_| WatchError::Panicked)??;
        Ok(Arc::try_unwrap(self.published).map_or_else(
            |shared| shared.lock().unwrap_or_else(PoisonError::into_inner).clone(),
            |owned| owned.into_inner().unwrap_or_else(PoisonError::into_inner),
        ))
    }
}

/// The state of the thread.
struct Rounds {
    probes: Probes,
    reader: Reader,
    pipeline: Pipeline,
    identities: Live,
    recording: Option<Recording>,
    pause: Option<Pause>,
    lost: Lost,
    meter: Meter,
    gauge: Gauge,
    governor: Governor,
    clock: Clock,
    maintained_ns: MonoNs,
    reload: Arc<Mutex<Option<Reload>>>,
    published: Arc<Mutex<Published>>,
}

/// How often clocks are compared, ended processes forgotten and costs read, in nanoseconds.
const MAINTAIN_EVERY_NS: u64 = 1_000_000_000;

impl Rounds {
    fn run(mut self, stop: &AtomicBool, interval: Duration) -> Result<(), WatchError> {
        while !stop.load(Ordering::Acquire) {
            if let Some(pause) = &self.pause {
                pause.take(stop);
            }
            let taken = self.round()?;
            if taken < crate::probe::reader::RUN {
                self.reader.wait(interval);
            }
        }
        self.probes.finish_measuring(&mut self.meter);
        // Nothing is written any more; what the rings hold is taken in, and then they are empty.
        self.publish(true);
        self.probes.detach();
        while self.round()? > 0 {}
        let Self { lost, probes, pipeline, .. } = &mut self;
        let found = lost.last_look(probes, pipeline, Clock::monotonic_now());
        self.take_in(&found)?;
        self.pipeline.finish(Clock::monotonic_now(), &self.clock, &mut self.identities);
        self.record_identities()?;
        self.publish(false);
        if let Some(recording) = self.recording.take() {
            recording.finish()?;
        }
        Ok(())
    }

    fn round(&mut self) -> Result<usize, WatchError> {
        let Self { reader, identities, pipeline, recording, probes, clock, .. } = self;
        let mut failed = None;
        let taken = reader.drain(|event: &Event<'_>| {
            identities.event(event);
            pipeline.event(event);
            if let Some(recording) = recording
                && let Err(error) = recording.write(event)
            {
                failed.get_or_insert(error);
            }
        });
        if let Some(error) = failed {
            return Err(error.into());
        }
        let now = Clock::monotonic_now();
        pipeline.settle(now, clock, identities, |connection, advice| {
            probes.control.advise(connection, advice);
        });
        self.record_identities()?;
        self.apply_policies();
        self.probes.attach_needed();
        for pid in self.identities.take_watched() {
            self.probes.look_at_library(pid);
        }
        self.probes.measure(&mut self.meter);
        let maintain = now.saturating_sub(self.maintained_ns) >= MAINTAIN_EVERY_NS;
        if maintain {
            self.maintained_ns = now;
            self.clock = Clock::read();
            self.identities.expire(now);
            let counts = self.probes.counters.read();
            let is_drained = taken < crate::probe::reader::RUN;
            if is_drained {
                self.pipeline.expire_lookups(now, counts.get(Counter::LostDns));
            }
            let Self { lost, probes, pipeline, .. } = self;
            let found = lost.look(probes, pipeline, &counts, now, is_drained);
            self.take_in(&found)?;
            if is_drained {
                let lost = self.lost.has_more(&counts);
                let Self { pipeline, clock, identities, .. } = self;
                pipeline.count_overdue(now, clock, identities, lost);
            }
            self.probes.control.sweep(&counts, now);
            self.probes.release_blocked();
            self.take_over();
            self.govern();
        }
        if taken > 0 || maintain {
            self.publish(maintain);
        }
        Ok(taken)
    }

    /// Takes in what was found of losses.
    fn take_in(&mut self, found: &Found) -> Result<(), WatchError> {
        for close in &found.closes {
            self.pipeline.event(close);
            if let Some(recording) = &mut self.recording {
                recording.write(close)?;
            }
        }
        let now = Clock::monotonic_now();
        self.pipeline.undelivered(&found.counts, now, &self.clock, &mut self.identities);
        Ok(())
    }

    fn record_identities(&mut self) -> Result<(), WatchError> {
        if let Some(recording) = &mut self.recording {
            for identity in self.identities.take_found() {
                recording.write(&Event::Identity(identity))?;
            }
        }
        Ok(())
    }

    /// Takes over new rules, if there are any.
    fn take_over(&mut self) {
        let new = self.reload.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Self { pipeline, identities, probes, .. } = self;
        if let Some(new) = new {
            rules::take_over(new, pipeline, identities, &mut probes.control);
        }
    }

    fn apply_policies(&mut self) {
        rules::apply(&mut self.identities, &mut self.probes.control);
    }

    /// Compares what vigie uses with what it may use.
    fn govern(&mut self) {
        let (usage, elapsed) = self.gauge.look(self.meter.load(), self.governor.state().budget);
        let change = self.governor.observe(usage, elapsed);
        self.meter.hurry(self.governor.is_near());
        let Some(Change { from, to }) = change else { return };
        self.pipeline.shed_spans(to >= Level::Spans);
        if let Err(error) = self.probes.control.set_level(to) {
            tracing::error!(%error, "the programs do not know what to do without");
        }
        let Budget { cpu, memory, .. } = self.governor.state().budget;
        let (gives_up, level) = (to.gives_up(), to.name());
        let cpu = format!("{:.1} % of {:.1} %", usage.cpu * 100.0, cpu * 100.0);
        let memory = format!("{} of {} MiB", usage.memory >> 20, memory >> 20);
        if to > from {
            tracing::warn!(level, cpu, memory, gives_up, "over budget");
        } else {
            tracing::info!(level, cpu, memory, gives_up, "within budget again");
        }
    }

    fn publish(&mut self, with_cost: bool) {
        let cost = with_cost.then(|| self.meter.costs());
        let counts = with_cost.then(|| self.probes.counters.read());
        let skipped = with_cost.then(|| self.probes.skipped_runs());
        let swept = self.probes.control.swept();
        let mut published = self.published.lock().unwrap_or_else(PoisonError::into_inner);
        published.figures = self.pipeline.figures();
        published.undecodable = self.reader.undecodable;
        published.processes = self.identities.stats();
        published.libraries = self.probes.libraries();
        (published.kernel_idle, published.kernel_evicted) = (swept.idle, swept.evicted);
        // Programs that are detached tell nothing any more.
        let skipped = skipped.unwrap_or_default();
        let before = published.skipped_runs;
        published.skipped_runs =
            Skipped { calls: before.calls.max(skipped.calls), life: before.life.max(skipped.life) };
        if let Some(counts) = counts {
            published.kernel_connections = swept.used(&counts);
        }
        published.budget = self.governor.state();
        if let Some(cost) = cost {
            published.cost = cost;
        }
    }
}
