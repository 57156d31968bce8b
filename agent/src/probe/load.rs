//! Loading and attaching the programs.
//!
//! A probe that the kernel refuses is switched off with a reason. Only without the two system-call
//! programs is there nothing to watch with, and that is an error.

use std::sync::Arc;

use aya::maps::{Array, HashMap, MapData, MapError, RingBuf};
use aya::programs::{BtfTracePoint, ProgramError};
use aya::{Ebpf, EbpfError, EbpfLoader};
use thiserror::Error;
use vigie_common::counter::Counter;
use vigie_common::params::{Params, Settings};
use vigie_common::policy::{
    HINT_SLOTS, Hint, ProcessEntry, ProcessPolicy, connection_layout, process_flags,
};
use vigie_common::record::RINGS;

use super::cost::{Meter, ProgramCost};
use super::counters::{Counters, Counts};
use super::undelivered::Undeliveries;
use super::wire::{self, Entry, Value, params_bytes};
use crate::event::{ConnectionId, Direction, MonoNs, ProcessKey};
use crate::kernel::btf::{Btf, BtfError};
use crate::kernel::{offsets, symbols};
use crate::protocol::Advice;

/// The object with all programs, built by `build.rs`.
static OBJECT: &[u8] = aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/vigie.o"));

/// Why the programs cannot run.
#[derive(Debug, Error)]
pub enum LoadError {
    /// No type information.
    #[error(transparent)]
    Btf(#[from] BtfError),
    /// The kernel refused the object.
    #[error("the kernel refused vigie's programs: {0}; `vigie check` shows which and why")]
    Object(#[from] EbpfError),
    /// A map is missing or of the wrong kind.
    #[error("the map {name} of vigie's own object is unusable: {source}; please report this")]
    Map {
        /// Its name.
        name: &'static str,
        /// Why.
        source: MapError,
    },
    /// The object lacks a part: a broken build.
    #[error("vigie's own object has no {0}; please report this")]
    Incomplete(&'static str),
    /// A probe that cannot be done without was refused.
    #[error("the kernel refused the probe {name}: {reason}; `vigie check` shows what is needed")]
    Required {
        /// Its name.
        name: &'static str,
        /// Why.
        reason: String,
    },
}

/// The kernel's table of processes cannot be written.
#[derive(Debug, Error)]
#[error("the kernel's table of processes cannot be written: {0}")]
pub struct PolicyError(#[from] MapError);

/// How the programs are set up.
#[derive(Clone, Debug)]
pub struct LoadOptions {
    /// Bytes of each ring, a power of two and a multiple of the page size.
    pub ring_bytes: u32,
    /// Most connections at a time.
    pub max_connections: u32,
    /// Most processes at a time.
    pub max_processes: u32,
    /// Payload bytes copied per turn of the request direction.
    pub request_bytes: u32,
    /// Payload bytes copied per turn of the response direction.
    pub response_bytes: u32,
    /// Whether a process without a policy is watched.
    pub watch_by_default: bool,
}

/// Turns without a message of a known protocol after which a connection is left alone.
const UNDECIDED_TURNS: u32 = 32;

/// What became of a probe.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ProbeState {
    /// Loaded and attached.
    Ok,
    /// Not tried.
    Off(String),
    /// Tried, and refused by the kernel.
    Refused(String),
}

/// A probe and what became of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Status {
    /// Name of the program, which is the name of its hook.
    pub name: &'static str,
    /// Kind of hook.
    pub hook: &'static str,
    /// What became of it.
    pub state: ProbeState,
    /// What is used in its place, if anything.
    pub fallback: Option<&'static str>,
}

/// A program, its hook, and whether vigie can do without it.
pub(super) struct Probe {
    pub(super) name: &'static str,
    required: bool,
    fallback: Option<&'static str>,
}

/// All programs in the order of attaching: what ends connections before what begins them.
pub(super) const PROBES: [Probe; 7] = [
    Probe { name: "sched_process_exit", required: false, fallback: Some("age") },
    Probe { name: "sched_process_exec", required: false, fallback: Some("first use") },
    Probe { name: "sched_process_fork", required: false, fallback: Some("first use") },
    Probe { name: "tcp_destroy_sock", required: false, fallback: Some("inet_sock_set_state") },
    Probe { name: "inet_sock_set_state", required: false, fallback: Some("age") },
    Probe { name: "sys_enter", required: false, fallback: Some("time of return") },
    Probe { name: "sys_exit", required: true, fallback: None },
];

/// Kind of hook of all programs.
pub const HOOK: &str = "btf_raw_tracepoint";

/// Names of all probes.
pub fn names() -> impl Iterator<Item = &'static str> {
    PROBES.iter().map(|probe| probe.name)
}

/// The loaded programs. They are detached when this is dropped.
pub struct Probes {
    /// What became of each probe.
    pub statuses: Vec<Status>,
    /// The rings, in use ones only.
    pub rings: Vec<RingBuf<MapData>>,
    /// The counters.
    pub counters: Arc<Counters>,
    /// What the kernel may profit from, and who is watched.
    pub control: Control,
    /// What the kernel counted because records were lost.
    pub undeliveries: Undeliveries,
    /// Holds the programs and the remaining maps.
    ebpf: Ebpf,
}

impl Probes {
    /// Detaches all programs: no record is written from now on, those in the rings stay.
    pub fn detach(&mut self) {
        for probe in &PROBES {
            let program = self.ebpf.program_mut(probe.name);
            if let Some(Ok(program)) = program.map(<&mut BtfTracePoint>::try_from) {
                // Fails only for a program that was not loaded, and then there is nothing to do.
                drop(program.unload());
            }
        }
    }

    /// What the programs cost so far.
    pub fn cost(&self, meter: &Meter) -> Vec<ProgramCost> {
        meter.read(&self.ebpf)
    }
}

/// What user space tells the programs while they run.
pub struct Control {
    connections: HashMap<MapData, u64, [u8; connection_layout::SIZE]>,
    max_connections: u64,
    swept: u64,
    hints: Array<MapData, Value<Hint>>,
    processes: HashMap<MapData, u32, Value<ProcessEntry>>,
}

/// A connection may be forgotten after so many nanoseconds without use.
const SWEEP_IDLE_NS: u64 = 900_000_000_000;

impl Control {
    /// Makes room in the kernel's table when it is more than half full: forgets connections that
    /// were not used for long. TCP connections leave by themselves when they end; a unix socket
    /// whose process was killed does not. One that is used again is seen as a new one.
    pub fn sweep(&mut self, counts: &Counts, now: MonoNs) {
        let left = counts.get(Counter::ConnectionsClosed) + self.swept;
        let used = counts.get(Counter::ConnectionsOpened).saturating_sub(left);
        if used <= self.max_connections / 2 {
            return;
        }
        let is_idle = |entry: &Entry| now.saturating_sub(entry.last_ns) > SWEEP_IDLE_NS;
        let idle: Vec<u64> =
            self.entries().filter(|(_, entry)| is_idle(entry)).map(|(key, _)| key).collect();
        for key in idle {
            self.swept += u64::from(self.connections.remove(&key).is_ok());
        }
    }

    /// The kernel's table of connections with the addresses that it goes by.
    pub(super) fn entries(&self) -> impl Iterator<Item = (u64, Entry)> + '_ {
        let entries = self.connections.iter().filter_map(Result::ok);
        entries.filter_map(|(key, bytes)| Some((key, wire::entry(&bytes)?)))
    }

    /// One entry of it.
    pub(super) fn entry(&self, key: u64) -> Option<Entry> {
        wire::entry(&self.connections.get(&key, 0).ok()?)
    }

    /// Sets whether a process, and those that it makes, are watched.
    pub fn set_policy(&mut self, process: ProcessKey, watch: bool) -> Result<(), PolicyError> {
        let policy = if watch { ProcessPolicy::Watch } else { ProcessPolicy::Ignore };
        let entry = ProcessEntry {
            start_boot_ns: process.start_ns,
            policy: policy as u32,
            flags: process_flags::EXPLICIT,
        };
        Ok(self.processes.insert(process.pid, Value(entry), 0)?)
    }

    /// Forgets the policy of a process.
    pub fn clear_policy(&mut self, pid: u32) {
        // It may have ended in the meantime, and then there is nothing to forget.
        drop(self.processes.remove(&pid));
    }

    /// Tells the kernel what it need not copy of a connection. An optimisation: a failure costs
    /// copying only.
    pub fn advise(&mut self, connection: ConnectionId, advice: Advice) {
        let slot = u32::try_from(connection.0 & u64::from(HINT_SLOTS - 1)).unwrap_or(0);
        let mut hint = match self.hints.get(&slot, 0) {
            Ok(Value(hint)) if hint.connection == connection.0 => hint,
            _ => Hint { connection: connection.0, ..Hint::default() },
        };
        match advice {
            Advice::SkipUntil(Direction::Received, position) => hint.skip_received = position,
            Advice::SkipUntil(Direction::Sent, position) => hint.skip_sent = position,
            Advice::Ignore => hint.ignore = 1,
        }
        drop(self.hints.set(slot, Value(hint), 0));
    }
}

/// Loads and attaches everything.
pub fn load(options: &LoadOptions) -> Result<Probes, LoadError> {
    let (offsets, has_destroy) = {
        // Several megabytes that are of no use afterwards.
        let btf = Btf::of_running_kernel()?;
        (offsets::resolve(&btf)?, btf.has_typedef("btf_trace_tcp_destroy_sock"))
    };
    let btf = aya::Btf::from_sys_fs().map_err(EbpfError::BtfError)?;
    let rings = ring_count();
    let params = Params {
        settings: Settings {
            own_tgid: std::process::id(),
            rings: u32::try_from(rings).unwrap_or(1),
            request_bytes: options.request_bytes,
            response_bytes: options.response_bytes,
            wake_bytes: options.ring_bytes / 4,
            default_policy: if options.watch_by_default {
                ProcessPolicy::Watch
            } else {
                ProcessPolicy::Ignore
            } as u32,
            has_destroy: u32::from(has_destroy),
            undecided_turns: UNDECIDED_TURNS,
            socket_file_ops: symbols::address_of("socket_file_ops").unwrap_or(0),
        },
        offsets,
    };
    let mut loader = EbpfLoader::new();
    loader.btf(Some(&btf)).override_global("PARAMS", params_bytes(&params), true);
    for name in RING_NAMES.iter().take(rings) {
        loader.map_max_entries(name, options.ring_bytes);
    }
    loader.map_max_entries("CONNECTIONS", options.max_connections);
    loader.map_max_entries("PROCESSES", options.max_processes);
    let mut ebpf = loader.load(OBJECT)?;
    #[cfg(feature = "log")]
    super::log::start(&mut ebpf);
    let mut taken = Vec::with_capacity(rings);
    for name in RING_NAMES.into_iter().take(rings) {
        taken.push(RingBuf::try_from(take(&mut ebpf, name)?).map_err(|s| unusable(name, s))?);
    }
    let counters = aya::maps::PerCpuArray::try_from(take(&mut ebpf, "COUNTERS")?)
        .map_err(|s| unusable("COUNTERS", s))?;
    let hints = Array::try_from(take(&mut ebpf, "HINTS")?).map_err(|s| unusable("HINTS", s))?;
    let processes =
        HashMap::try_from(take(&mut ebpf, "PROCESSES")?).map_err(|s| unusable("PROCESSES", s))?;
    let connections = HashMap::try_from(take(&mut ebpf, "CONNECTIONS")?)
        .map_err(|s| unusable("CONNECTIONS", s))?;
    let undeliveries = Undeliveries::new(
        table(&mut ebpf, "UNDELIVERED")?,
        table(&mut ebpf, "SETTLED")?,
        table(&mut ebpf, "CLOSES")?,
    );
    let statuses = attach_all(&mut ebpf, &btf)?;
    Ok(Probes {
        statuses,
        rings: taken,
        counters: Arc::new(Counters(counters)),
        control: Control {
            connections,
            max_connections: u64::from(options.max_connections),
            swept: 0,
            hints,
            processes,
        },
        undeliveries,
        ebpf,
    })
}

const RING_NAMES: [&str; RINGS] = ["RING0", "RING1", "RING2", "RING3"];

/// Attaches two empty programs to the hooks of system calls, for the benchmark to compare with. They
/// are detached when the result is dropped.
pub fn reference() -> Result<Ebpf, LoadError> {
    let btf = aya::Btf::from_sys_fs().map_err(EbpfError::BtfError)?;
    let mut ebpf = EbpfLoader::new().btf(Some(&btf)).load(OBJECT)?;
    for (name, hook) in [("reference_enter", "sys_enter"), ("reference_exit", "sys_exit")] {
        attach(&mut ebpf, &btf, name, hook).map_err(|error| match error {
            AttachError::Incomplete => LoadError::Incomplete(name),
            AttachError::Refused(error) => LoadError::Required { name, reason: reason_of(&error) },
        })?;
    }
    Ok(ebpf)
}

/// One ring per CPU up to the limit, as a power of two.
fn ring_count() -> usize {
    let cpus = std::thread::available_parallelism().map_or(1, usize::from);
    cpus.next_power_of_two().min(RINGS)
}

fn unusable(name: &'static str, source: MapError) -> LoadError {
    LoadError::Map { name, source }
}

fn take(ebpf: &mut Ebpf, name: &'static str) -> Result<aya::maps::Map, LoadError> {
    ebpf.take_map(name).ok_or(LoadError::Incomplete(name))
}

fn table<K: aya::Pod, V: aya::Pod>(
    ebpf: &mut Ebpf,
    name: &'static str,
) -> Result<HashMap<MapData, K, V>, LoadError> {
    HashMap::try_from(take(ebpf, name)?).map_err(|source| unusable(name, source))
}

fn attach_all(ebpf: &mut Ebpf, btf: &aya::Btf) -> Result<Vec<Status>, LoadError> {
    let mut statuses = Vec::with_capacity(PROBES.len());
    for probe in &PROBES {
        let state = match attach(ebpf, btf, probe.name, probe.name) {
            Ok(()) => ProbeState::Ok,
            Err(AttachError::Incomplete) => return Err(LoadError::Incomplete(probe.name)),
            Err(AttachError::Refused(error)) => {
                let reason = reason_of(&error);
                if probe.required {
                    return Err(LoadError::Required { name: probe.name, reason });
                }
                tracing::warn!(probe = probe.name, reason, "the kernel refused a probe");
                ProbeState::Refused(reason)
            }
        };
        statuses.push(Status { name: probe.name, hook: HOOK, state, fallback: probe.fallback });
    }
    Ok(statuses)
}

enum AttachError {
    Incomplete,
    Refused(ProgramError),
}

fn attach(ebpf: &mut Ebpf, btf: &aya::Btf, name: &str, hook: &str) -> Result<(), AttachError> {
    let program: &mut BtfTracePoint = ebpf
        .program_mut(name)
        .ok_or(AttachError::Incomplete)?
        .try_into()
        .map_err(|_| AttachError::Incomplete)?;
    program.load(hook, btf).map_err(AttachError::Refused)?;
    program.attach().map_err(AttachError::Refused)?;
    Ok(())
}

/// The error with its causes in one line; of a verifier's log the last line, which says why.
fn reason_of(error: &ProgramError) -> String {
    if let ProgramError::LoadError { io_error, verifier_log } = error {
        let log = verifier_log.to_string();
        let last = log.lines().rev().find(|line| {
            !line.is_empty() && !line.starts_with("processed ") && !line.starts_with("verification")
        });
        tracing::debug!(%log, "verifier");
        return last.map_or_else(|| io_error.to_string(), |line| format!("{io_error}: {line}"));
    }
    let mut text = error.to_string();
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}
