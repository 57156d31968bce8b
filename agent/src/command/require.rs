//! Whether the machine allows to watch, and what to say when it does not.

use super::Failure;
use crate::kernel::machine::{Capability, Machine, Need};
use crate::probe::LoadError;
use crate::session::SessionError;

/// Fails with exit code 3 when something that vigie cannot do without is missing. What is missing
/// besides costs details only, and is said.
pub(super) fn allowed() -> Result<(), Failure> {
    let machine = Machine::look();
    let missing = machine.missing();
    if !missing.is_empty() {
        let names: Vec<&str> = missing.iter().map(|capability| capability.name).collect();
        let names = names.join(", ");
        return Err(Failure::not_allowed(
            format!("missing capabilities: {names}"),
            format!("run as root, or grant {names}; docs/capabilities.md says how"),
        ));
    }
    for Capability { name, need, without, .. } in machine.lacking() {
        if need == Need::Expected {
            tracing::warn!(capability = name, without, "a capability is missing");
        }
    }
    if !machine.has_btf {
        return Err(Failure::not_allowed(
            "this kernel shows no type information (no /sys/kernel/btf/vmlinux)",
            "use a kernel from 5.10 on with CONFIG_DEBUG_INFO_BTF=y, as distributions ship it",
        ));
    }
    Ok(())
}

/// What to do about a watch that could not begin.
pub(super) fn explain(error: &SessionError) -> Failure {
    match error {
        SessionError::Load(LoadError::Btf(_) | LoadError::Object(_) | LoadError::NoBackend(_)) => {
            Failure::not_allowed(error, "run `vigie check`, which says what this kernel refuses")
        }
        SessionError::Load(_) | SessionError::Watch(_) => {
            Failure::failed(error, "run `vigie check`, and report this")
        }
    }
}
