//! Attaching and detaching programs, each by the kind of its hook, and the choice of a backend.

use std::path::Path;

use aya::Ebpf;
use aya::programs::{BtfTracePoint, FEntry, FExit, KProbe, ProgramError};

use super::backend::{Backend, Choice, Hook, LIFE, Need, Probe};
use super::blocked::Blocked;
use super::load::{LoadError, ProbeState, Status};
use super::order::Preemption;
use crate::kernel::btf::Btf;

/// Why a program is not attached.
pub(super) enum AttachError {
    /// The object has no such program.
    Incomplete,
    /// The kernel refused it, for this reason.
    Refused(String),
}

impl From<ProgramError> for AttachError {
    fn from(error: ProgramError) -> Self {
        Self::Refused(reason_of(&error))
    }
}

/// The variable that names programs, functions or backends that are to be refused, for tests.
pub(super) const REFUSE: &str = "VIGIE_REFUSE";

/// Where the kernel says how kprobes are opened, see `perf_event_open(2)`; absent where it has none.
const KPROBES: &str = "/sys/bus/event_source/devices/kprobe/type";

/// Whether a name is in [`REFUSE`].
pub(super) fn is_refused(name: &str) -> bool {
    std::env::var(REFUSE).is_ok_and(|names| names.split(',').any(|refused| refused == name))
}

/// Has the kernel check a program.
pub(super) fn load(ebpf: &mut Ebpf, btf: &aya::Btf, probe: &Probe) -> Result<(), AttachError> {
    if is_refused(probe.program) || is_refused(probe.function) {
        return Err(AttachError::Refused(format!("refused by {REFUSE}")));
    }
    let program = ebpf.program_mut(probe.program).ok_or(AttachError::Incomplete)?;
    let wrong = |_| AttachError::Incomplete;
    match probe.hook {
        Hook::Tracepoint => {
            <&mut BtfTracePoint>::try_from(program).map_err(wrong)?.load(probe.function, btf)?;
        }
        Hook::Fentry => {
            <&mut FEntry>::try_from(program).map_err(wrong)?.load(probe.function, btf)?;
        }
        Hook::Fexit => {
            <&mut FExit>::try_from(program).map_err(wrong)?.load(probe.function, btf)?;
        }
        Hook::Kprobe | Hook::Kretprobe => {
            // One program may serve several functions.
            match <&mut KProbe>::try_from(program).map_err(wrong)?.load() {
                Err(ProgramError::AlreadyLoaded) => {}
                result => result?,
            }
        }
    }
    Ok(())
}

/// Attaches a program that was loaded.
pub(super) fn attach(ebpf: &mut Ebpf, probe: &Probe) -> Result<(), AttachError> {
    let program = ebpf.program_mut(probe.program).ok_or(AttachError::Incomplete)?;
    let wrong = |_| AttachError::Incomplete;
    match probe.hook {
        Hook::Tracepoint => {
            <&mut BtfTracePoint>::try_from(program).map_err(wrong)?.attach()?;
        }
        Hook::Fentry => {
            <&mut FEntry>::try_from(program).map_err(wrong)?.attach()?;
        }
        Hook::Fexit => {
            <&mut FExit>::try_from(program).map_err(wrong)?.attach()?;
        }
        Hook::Kprobe | Hook::Kretprobe => {
            <&mut KProbe>::try_from(program).map_err(wrong)?.attach(probe.function, 0)?;
        }
    }
    Ok(())
}

/// Detaches a program and gives it back to the kernel. One that was not loaded stays so.
pub(super) fn unload(ebpf: &mut Ebpf, probe: &Probe) {
    let Some(program) = ebpf.program_mut(probe.program) else { return };
    // Fails only for a program that was not loaded, and then there is nothing to do.
    match probe.hook {
        Hook::Tracepoint => {
            drop(<&mut BtfTracePoint>::try_from(program).map(BtfTracePoint::unload));
        }
        Hook::Fentry => drop(<&mut FEntry>::try_from(program).map(FEntry::unload)),
        Hook::Fexit => drop(<&mut FExit>::try_from(program).map(FExit::unload)),
        Hook::Kprobe | Hook::Kretprobe => {
            drop(<&mut KProbe>::try_from(program).map(KProbe::unload));
        }
    }
}

/// Attaching in progress.
pub(super) struct Attaching<'a> {
    pub(super) ebpf: &'a mut Ebpf,
    pub(super) btf: &'a aya::Btf,
    pub(super) types: &'a Btf,
    pub(super) statuses: Vec<Status>,
    pub(super) attached: Vec<&'static Probe>,
    pub(super) on_demand: Vec<(&'static Probe, u32)>,
    pub(super) all: bool,
    pub(super) preemption: Preemption,
}

impl Attaching<'_> {
    /// Attaches the first backend that the kernel takes, and what all backends need.
    pub(super) fn run(&mut self, choice: Choice) -> Result<Backend, LoadError> {
        for probe in &LIFE {
            let state = self.one(probe)?;
            self.statuses.push(Status::of(probe, state));
        }
        let mut candidates = choice.candidates(self.preemption).peekable();
        let wanted = candidates.peek().copied().filter(|_| choice != Choice::Auto);
        while let Some(backend) = candidates.next() {
            let next = candidates.peek().map(|next| next.name());
            if self.backend(backend, next)? {
                return Ok(backend);
            }
            if Some(backend) == wanted {
                tracing::warn!("the kernel refused the backend {backend}; another one is used");
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
        if is_refused(backend.name())
            && let Some(probe) = backend.probes().iter().find(|probe| required(&probe))
        {
            let reason = format!("refused by {REFUSE}");
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
            unload(self.ebpf, probe);
        }
    }

    /// Has the kernel check a program, once.
    fn check(&mut self, probe: &Probe) -> Result<ProbeState, LoadError> {
        if !probe.hook.exists(self.types, probe.function) {
            return Ok(ProbeState::Off("this kernel does not have it".to_owned()));
        }
        if matches!(probe.hook, Hook::Kprobe | Hook::Kretprobe) && !Path::new(KPROBES).exists() {
            // Known before the verifier's work, not after it.
            return Ok(ProbeState::Off("this kernel offers no kprobes".to_owned()));
        }
        if probe.need == Need::WhileBlocked && !self.all && !Blocked::is_any() {
            return Ok(ProbeState::Off("no thread waits in a receive".to_owned()));
        }
        state_of(probe, load(self.ebpf, self.btf, probe))
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
        if let Need::OnDemand(need) = probe.need
            && !self.all
        {
            self.on_demand.push((probe, need));
            return Ok(ProbeState::Off("attached when it is needed".to_owned()));
        }
        let state = state_of(probe, attach(self.ebpf, probe))?;
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

/// The error with its causes in one line; of a verifier's log the last line, which says why.
fn reason_of(error: &ProgramError) -> String {
    if let ProgramError::LoadError { io_error, verifier_log } = error {
        let log = verifier_log.to_string();
        let statistics = ["processed ", "verification", "stack depth", "peak_states"];
        let last = log.lines().rev().find(|line| {
            !line.is_empty() && !statistics.iter().any(|start| line.starts_with(start))
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
