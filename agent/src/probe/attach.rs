//! Attaching and detaching programs, each by the kind of its hook.

use aya::Ebpf;
use aya::programs::{BtfTracePoint, FEntry, FExit, KProbe, ProgramError};

use super::backend::{Hook, Probe};

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
            <&mut KProbe>::try_from(program).map_err(wrong)?.load()?;
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
