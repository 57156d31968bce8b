//! Loading and attaching the programs.
//!
//! The backends are tried in turn ([`Preemption::order`]), and the first whose required programs the
//! kernel takes is used. Any other program that the kernel refuses is switched off with a reason. Only when every
//! backend is refused is there nothing to watch with, and that is an error.

use std::collections::BTreeSet;
use std::os::fd::{AsFd as _, AsRawFd as _};
use std::sync::Arc;

use aya::maps::{Array, HashMap, MapData, MapError, PerCpuArray, RingBuf};
use aya::{Ebpf, EbpfError, EbpfLoader};
use thiserror::Error;
use vigie_common::params::{Params, Settings};
use vigie_common::policy::{HINT_SLOTS, ProcessPolicy, Tuning};
use vigie_common::record::RINGS;

use super::attach::{self, AttachError, Attaching};
use super::backend::{Backend, Choice, Hook, LIFE, Need, Probe};
use super::blocked::Blocked;
use super::control::{Control, PolicyError};
use super::cost::Meter;
use super::counters::Counters;
use super::libraries::{self, Libraries};
use super::memory::{self, MapMemory};
use super::order::Preemption;
use super::shared::{Shared, SharedError};
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
    /// A map cannot be shared with the programs.
    #[error("the map {name} of vigie's own object is unusable: {source}; please report this")]
    Shared {
        /// Its name.
        name: &'static str,
        /// Why.
        source: SharedError,
    },
    /// The object lacks a part: a broken build.
    #[error("vigie's own object has no {0}; please report this")]
    Incomplete(&'static str),
    /// The programs cannot be told to begin.
    #[error(transparent)]
    Begin(#[from] PolicyError),
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
    /// Whether the C library's `getaddrinfo` is measured.
    pub getaddrinfo: bool,
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
    pub(super) fn of(probe: &Probe, state: ProbeState) -> Self {
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

/// Runs of programs that the kernel left out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Skipped {
    /// Of those that see calls.
    pub calls: u64,
    /// Of those that see processes and connections come and go.
    pub life: u64,
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
    needs: Shared<u32>,
    blocked: Option<Blocked>,
    /// C libraries of processes, where they are asked for.
    libraries: Option<Libraries>,
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
        let needs = self.needs.get(0).unwrap_or(0);
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

    /// Whether [`Self::look_at_library`] is of use.
    pub fn wants_libraries(&self) -> bool {
        self.libraries.is_some()
    }

    /// Attaches to the C library of a process, if it is not known yet.
    pub fn look_at_library(&mut self, pid: u32) {
        if let Some(libraries) = &mut self.libraries {
            libraries.look(&mut self.ebpf, pid);
        }
    }

    /// What became of C libraries.
    pub fn libraries(&self) -> libraries::Stats {
        self.libraries.as_ref().map(Libraries::stats).unwrap_or_default()
    }

    /// Detaches what served threads that were in a receive at start some time after they all have gone
    /// on. To be called often.
    pub fn release_blocked(&mut self) {
        if self.blocked.as_mut().is_some_and(|blocked| !blocked.may_any_be_left()) {
            self.blocked = None;
            let ebpf = &mut self.ebpf;
            let is_over = |probe: &mut &Probe| probe.need == Need::WhileBlocked;
            for probe in self.attached.extract_if(.., is_over) {
                attach::unload(ebpf, probe);
            }
        }
    }

    /// Detaches all programs: no record is written from now on, those in the rings stay.
    pub fn detach(&mut self) {
        self.on_demand.clear();
        if self.libraries.is_some() {
            Libraries::unload(&mut self.ebpf);
        }
        for probe in self.attached.drain(..) {
            attach::unload(&mut self.ebpf, probe);
        }
    }

    /// Runs that the kernel left out because the program was in the middle of another one on the same
    /// processor (`recursion_misses`, Linux 5.12).
    pub fn skipped_runs(&self) -> Skipped {
        let programs: BTreeSet<_> = self.attached.iter().map(|probe| probe.program).collect();
        let missed = |name| {
            let fd = self.ebpf.program(name)?.fd().ok()?.as_fd().as_raw_fd();
            let info = std::fs::read_to_string(format!("/proc/self/fdinfo/{fd}")).ok()?;
            memory::field(&info, "recursion_misses:")
        };
        let mut skipped = Skipped::default();
        for name in programs {
            let of_life = LIFE.iter().any(|probe| probe.program == name);
            let sum = if of_life { &mut skipped.life } else { &mut skipped.calls };
            *sum += missed(name).unwrap_or(0);
        }
        skipped
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
    let btf = aya::Btf::from_sys_fs().map_err(EbpfError::BtfError)?;
    let rings = ring_count();
    let params = params(options, &types, rings)?;
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
    let taken = take_rings(&mut ebpf, rings)?;
    let counters =
        PerCpuArray::try_from(take(&mut ebpf, "COUNTERS")?).map_err(|s| unusable("COUNTERS", s))?;
    let hints = shared(&mut ebpf, "HINTS", HINT_SLOTS)?;
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
    let needs = shared(&mut ebpf, "NEEDS", 1)?;
    let mut attaching = Attaching {
        ebpf: &mut ebpf,
        btf: &btf,
        types: &types,
        statuses: Vec::new(),
        attached: Vec::new(),
        on_demand: Vec::new(),
        all: options.attach_all,
        preemption: Preemption::of_running_kernel(),
    };
    let backend = attaching.run(options.backend)?;
    let Attaching { mut statuses, attached, on_demand, .. } = attaching;
    let (libraries, of_libraries) =
        Libraries::begin(&mut ebpf, options.getaddrinfo, options.attach_all);
    statuses.extend(of_libraries);
    let mut control = Control {
        connections,
        max_connections: u64::from(options.max_connections),
        swept: Swept::default(),
        tuning,
        tuned: Tuning::default(),
        hints,
        processes,
    };
    control.begin()?;
    let misses_returns = backend == Backend::SocketKprobe
        || attached.iter().any(|probe| probe.need == Need::WhileBlocked);
    let blocked =
        if misses_returns { Some(Blocked::look(table(&mut ebpf, "BLOCKED")?)) } else { None };
    Ok(Probes {
        statuses,
        backend,
        attached,
        on_demand,
        needs,
        blocked,
        libraries,
        rings: taken,
        counters: Arc::new(Counters(counters)),
        control,
        memory,
        undeliveries,
        ebpf,
    })
}

/// What the programs are told of this kernel and of the configuration.
fn params(options: &LoadOptions, types: &Btf, rings: usize) -> Result<Params, LoadError> {
    let iterators = IteratorKinds::resolve(types)?;
    Ok(Params {
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
            has_destroy: u32::from(
                types.has_typedef("btf_trace_tcp_destroy_sock")
                    && !attach::is_refused("tcp_destroy_sock"),
            ),
            undecided_turns: UNDECIDED_TURNS,
            iterator_mask: iterators.mask,
            iterator_vector: iterators.vector,
            iterator_buffer: iterators.buffer.unwrap_or(0),
            iterator_has_buffer: u32::from(iterators.buffer.is_some()),
            has_task_registers: u32::from(types.enumerator("BPF_FUNC_task_pt_regs").is_ok()),
            reserved: 0,
            socket_file_ops: socket_operations(options.backend),
        },
        offsets: offsets::resolve(types)?,
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

fn take_rings(ebpf: &mut Ebpf, rings: usize) -> Result<Vec<RingBuf<MapData>>, LoadError> {
    let ring = |name| RingBuf::try_from(take(ebpf, name)?).map_err(|s| unusable(name, s));
    RING_NAMES.into_iter().take(rings).map(ring).collect()
}

fn take(ebpf: &mut Ebpf, name: &'static str) -> Result<aya::maps::Map, LoadError> {
    ebpf.take_map(name).ok_or(LoadError::Incomplete(name))
}

fn shared<T: aya::Pod>(
    ebpf: &mut Ebpf,
    name: &'static str,
    entries: u32,
) -> Result<Shared<T>, LoadError> {
    Shared::map(take(ebpf, name)?, entries).map_err(|source| LoadError::Shared { name, source })
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
