//! Loading and attaching the programs.
//!
//! The backends are tried in turn, best first, and the first whose required programs the kernel takes
//! is used. Any other program that the kernel refuses is switched off with a reason. Only when every
//! backend is refused is there nothing to watch with, and that is an error.

use std::sync::Arc;

use aya::maps::{Array, HashMap, MapData, MapError, RingBuf};
use aya::{Ebpf, EbpfError, EbpfLoader};
use thiserror::Error;
use vigie_common::params::{Params, Settings};
use vigie_common::policy::ProcessPolicy;
use vigie_common::record::RINGS;

use super::attach::{self, AttachError};
use super::backend::{Backend, Choice, Hook, LIFE, Need, Probe};
use super::control::Control;
use super::cost::Meter;
use super::counters::Counters;
use super::memory::{self, MapMemory};
use super::sweep::Swept;
use super::undelivered::Undeliveries;
use super::wire::params_bytes;
use crate::kernel::btf::{Btf, BtfError};
use crate::kernel::offsets::IteratorKinds;
use crate::kernel::{offsets, symbols};

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
    /// No backend was taken.
    #[error("no backend can be used: {}; `vigie check` shows what is needed", refusals(.0))]
    NoBackend(Vec<Status>),
}

/// How the programs are set up.
#[derive(Clone, Debug)]
pub struct LoadOptions {
    /// Which backend is wanted.
    pub backend: Choice,
    /// Whether programs that are attached on demand are attached at once.
    pub attach_all: bool,
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
    /// Name of the function or tracepoint.
    pub name: &'static str,
    /// Kind of hook.
    pub hook: &'static str,
    /// What became of it.
    pub state: ProbeState,
    /// What is used in its place, if anything.
    pub fallback: Option<&'static str>,
}

impl Status {
    fn of(probe: &Probe, state: ProbeState) -> Self {
        Self { name: probe.function, hook: probe.hook.name(), state, fallback: probe.fallback }
    }
}

fn refusals(statuses: &[Status]) -> String {
    let refused = statuses.iter().filter_map(|status| match &status.state {
        ProbeState::Ok => None,
        ProbeState::Refused(reason) | ProbeState::Off(reason) => {
            Some(format!("{} {}: {reason}", status.hook, status.name))
        }
    });
    refused.collect::<Vec<_>>().join(", ")
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
    /// What the maps take.
    pub memory: Vec<MapMemory>,
    /// The backend in use.
    pub backend: Backend,
    attached: Vec<&'static Probe>,
    /// Programs that are attached when the kernel has met what the bits say.
    on_demand: Vec<(&'static Probe, u32)>,
    needs: Array<MapData, u32>,
    /// What the kernel counted because records were lost.
    pub undeliveries: Undeliveries,
    /// Holds the programs and the remaining maps.
    ebpf: Ebpf,
}

impl Probes {
    /// Attaches what the kernel has met the need for. To be called often.
    pub fn attach_needed(&mut self) {
        if self.on_demand.is_empty() {
            return;
        }
        let needs = self.needs.get(&0, 0).unwrap_or(0);
        for (probe, _) in self.on_demand.extract_if(.., |(_, need)| needs & *need != 0) {
            match attach::attach(&mut self.ebpf, probe) {
                Ok(()) => self.attached.push(probe),
                Err(AttachError::Refused(reason)) => {
                    tracing::warn!(probe = probe.function, reason, "the kernel refused a probe");
                }
                Err(AttachError::Incomplete) => {}
            }
        }
    }

    /// Detaches all programs: no record is written from now on, those in the rings stay.
    pub fn detach(&mut self) {
        self.on_demand.clear();
        for probe in self.attached.drain(..) {
            attach::unload(&mut self.ebpf, probe);
        }
    }

    /// Measures what the programs cost, when it is time; to be called often.
    pub fn measure(&self, meter: &mut Meter) {
        meter.tick(&self.ebpf);
    }

    /// Ends measuring, before the programs are detached.
    pub fn finish_measuring(&self, meter: &mut Meter) {
        meter.finish(&self.ebpf);
    }
}

/// Loads and attaches everything.
pub fn load(options: &LoadOptions) -> Result<Probes, LoadError> {
    let types = Btf::of_running_kernel()?;
    let iterators = IteratorKinds::resolve(&types)?;
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
            has_destroy: u32::from(types.has_typedef("btf_trace_tcp_destroy_sock")),
            undecided_turns: UNDECIDED_TURNS,
            iterator_mask: iterators.mask,
            iterator_vector: iterators.vector,
            iterator_buffer: iterators.buffer.unwrap_or(0),
            iterator_has_buffer: u32::from(iterators.buffer.is_some()),
            socket_file_ops: socket_operations(options.backend),
        },
        offsets: offsets::resolve(&types)?,
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
    let memory = memory::of(&ebpf);
    let mut taken = Vec::with_capacity(rings);
    for name in RING_NAMES.into_iter().take(rings) {
        taken.push(RingBuf::try_from(take(&mut ebpf, name)?).map_err(|s| unusable(name, s))?);
    }
    let counters = aya::maps::PerCpuArray::try_from(take(&mut ebpf, "COUNTERS")?)
        .map_err(|s| unusable("COUNTERS", s))?;
    let hints = Array::try_from(take(&mut ebpf, "HINTS")?).map_err(|s| unusable("HINTS", s))?;
    let tuning = Array::try_from(take(&mut ebpf, "TUNING")?).map_err(|s| unusable("TUNING", s))?;
    let processes =
        HashMap::try_from(take(&mut ebpf, "PROCESSES")?).map_err(|s| unusable("PROCESSES", s))?;
    let connections = HashMap::try_from(take(&mut ebpf, "CONNECTIONS")?)
        .map_err(|s| unusable("CONNECTIONS", s))?;
    let undeliveries = Undeliveries::new(
        table(&mut ebpf, "UNDELIVERED")?,
        table(&mut ebpf, "SETTLED")?,
        table(&mut ebpf, "CLOSES")?,
    );
    let needs = Array::try_from(take(&mut ebpf, "NEEDS")?).map_err(|s| unusable("NEEDS", s))?;
    let mut attaching = Attaching {
        ebpf: &mut ebpf,
        btf: &btf,
        types: &types,
        statuses: Vec::new(),
        attached: Vec::new(),
        on_demand: Vec::new(),
        all: options.attach_all,
    };
    let backend = attaching.run(options.backend)?;
    let Attaching { statuses, attached, on_demand, .. } = attaching;
    Ok(Probes {
        statuses,
        backend,
        attached,
        on_demand,
        needs,
        rings: taken,
        counters: Arc::new(Counters(counters)),
        control: Control {
            connections,
            max_connections: u64::from(options.max_connections),
            swept: Swept::default(),
            tuning,
            hints,
            processes,
        },
        memory,
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
    for probe in &REFERENCE {
        let taken =
            attach::load(&mut ebpf, &btf, probe).and_then(|()| attach::attach(&mut ebpf, probe));
        match taken {
            Ok(()) => {}
            Err(AttachError::Incomplete) => return Err(LoadError::Incomplete(probe.program)),
            Err(AttachError::Refused(reason)) => {
                let status = Status::of(probe, ProbeState::Refused(reason));
                return Err(LoadError::NoBackend(vec![status]));
            }
        }
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

const REFERENCE: [Probe; 2] =
    [reference_at("reference_enter", "sys_enter"), reference_at("reference_exit", "sys_exit")];

const fn reference_at(program: &'static str, function: &'static str) -> Probe {
    Probe { program, function, hook: Hook::Tracepoint, need: Need::Required, fallback: None }
}

/// The address that tells sockets from other files, wherever it spares the syscall backend a look
/// at the inode. To find it takes a while, so not where that backend is the last resort.
fn socket_operations(choice: Choice) -> u64 {
    if choice == Choice::Syscall { symbols::address_of("socket_file_ops").unwrap_or(0) } else { 0 }
}

/// Attaching in progress.
struct Attaching<'a> {
    ebpf: &'a mut Ebpf,
    btf: &'a aya::Btf,
    types: &'a Btf,
    statuses: Vec<Status>,
    attached: Vec<&'static Probe>,
    on_demand: Vec<(&'static Probe, u32)>,
    all: bool,
}

impl Attaching<'_> {
    fn run(&mut self, choice: Choice) -> Result<Backend, LoadError> {
        for probe in &LIFE {
            let state = self.one(probe)?;
            self.statuses.push(Status::of(probe, state));
        }
        let candidates = choice.candidates();
        for (index, backend) in candidates.iter().enumerate() {
            let next = candidates.get(index + 1).map(|next| next.name());
            if self.backend(*backend, next)? {
                return Ok(*backend);
            }
        }
        let statuses = std::mem::take(&mut self.statuses);
        Err(LoadError::NoBackend(
            statuses.into_iter().filter(|status| !is_of_life(status.name)).collect(),
        ))
    }

    /// Attaches a backend; whether the kernel took what it needs. Of one that it did not take only
    /// the program that was refused is reported.
    fn backend(&mut self, backend: Backend, next: Option<&'static str>) -> Result<bool, LoadError> {
        let (before, attached) = (self.statuses.len(), self.attached.len());
        let fails = |state, probe| Status { fallback: next, ..Status::of(probe, state) };
        // What is required comes first: a backend that is not taken costs one attempt.
        let required = |probe: &&&Probe| probe.need == Need::Required;
        if attach::is_refused(backend.name())
            && let Some(probe) = backend.probes().iter().find(|probe| required(&probe))
        {
            let reason = format!("refused by {}", attach::REFUSE);
            self.statuses.push(fails(ProbeState::Refused(reason), probe));
            return Ok(false);
        }
        let first = backend.probes().iter().filter(|probe| required(&probe));
        let then = backend.probes().iter().filter(|probe| !required(&probe));
        for probe in first.chain(then) {
            let state = self.one(probe)?;
            if probe.need == Need::Required && state != ProbeState::Ok {
                tracing::debug!(probe = probe.function, ?state, "backend {backend} is not used");
                self.drop_since(backend, before, attached);
                self.statuses.push(fails(state, probe));
                return Ok(false);
            }
            self.statuses.push(Status::of(probe, state));
        }
        Ok(true)
    }

    fn drop_since(&mut self, backend: Backend, statuses: usize, attached: usize) {
        self.statuses.truncate(statuses);
        self.attached.truncate(attached);
        self.on_demand.clear();
        for probe in backend.probes() {
            attach::unload(self.ebpf, probe);
        }
    }

    /// Has the kernel check a program, once.
    fn check(&mut self, probe: &Probe) -> Result<ProbeState, LoadError> {
        if !probe.hook.exists(self.types, probe.function) {
            return Ok(ProbeState::Off("this kernel does not have it".to_owned()));
        }
        state_of(probe, attach::load(self.ebpf, self.btf, probe))
    }

    /// Checks and attaches a program, or keeps it for later.
    fn one(&mut self, probe: &'static Probe) -> Result<ProbeState, LoadError> {
        let state = self.check(probe)?;
        if let ProbeState::Refused(reason) = &state
            && probe.need != Need::Required
        {
            tracing::warn!(probe = probe.function, reason, "the kernel refused a probe");
        }
        if state != ProbeState::Ok {
            return Ok(state);
        }
        if let Need::OnDemand(need, unless) = probe.need {
            let now = unless.is_some_and(|other| !Hook::Tracepoint.exists(self.types, other));
            if !now && !self.all {
                self.on_demand.push((probe, need));
                return Ok(ProbeState::Off("attached when it is needed".to_owned()));
            }
        }
        let state = state_of(probe, attach::attach(self.ebpf, probe))?;
        if state == ProbeState::Ok {
            self.attached.push(probe);
        }
        Ok(state)
    }
}

fn is_of_life(function: &str) -> bool {
    LIFE.iter().any(|probe| probe.function == function)
}

fn state_of(probe: &Probe, result: Result<(), AttachError>) -> Result<ProbeState, LoadError> {
    match result {
        Ok(()) => Ok(ProbeState::Ok),
        Err(AttachError::Refused(reason)) => Ok(ProbeState::Refused(reason)),
        Err(AttachError::Incomplete) => Err(LoadError::Incomplete(probe.program)),
    }
}
