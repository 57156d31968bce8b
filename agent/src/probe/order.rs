//! In which order the backends are tried: first those that are exact on this kernel.
//!
//! A kernel that preempts a thread in the middle of a BPF program leaves out the runs of that program
//! that other threads would cause on the same processor until the first one goes on, and says so only
//! in a count. Where it cannot happen depends on the kind of hook:
//!
//! - kprobes: nowhere, as their handlers run with preemption off;
//! - tracepoints: nowhere before 7.0, as the tracepoint itself switched preemption off;
//! - fentry and fexit: nothing switches it off, so only in kernels that do not preempt kernel code.

use std::fs;

use super::Backend;

/// Why counts of a backend may be too low on this kernel; see docs/backends.md.
const LEFT_OUT: &str =
    "this kernel may preempt its programs, and then leaves out runs: skipped_by_kernel";

/// What the release of a kernel and its `uname -v` say about preemption.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Preemption {
    /// Whether programs on tracepoints may be preempted.
    at_tracepoints: bool,
    /// Whether programs on functions may be, by fentry and fexit.
    at_functions: bool,
}

impl Preemption {
    /// Of the running kernel. What cannot be read counts as a kernel that preempts everywhere.
    pub fn of_running_kernel() -> Self {
        let text = |name: &str| fs::read_to_string(format!("/proc/sys/kernel/{name}"));
        let (release, version) = (text("osrelease"), text("version"));
        Self::of(&release.unwrap_or_default(), &version.unwrap_or_else(|_| "PREEMPT".to_owned()))
    }

    /// Of a kernel with this `uname -r` and `uname -v`.
    pub fn of(release: &str, version: &str) -> Self {
        // With `PREEMPT_DYNAMIC` it is chosen at boot: before 6.13 mostly not to preempt kernel code,
        // since then to do so, lazily.
        let is_preemptible = version.split_whitespace().any(|word| match word {
            "PREEMPT_DYNAMIC" => is_since(release, (6, 13)),
            word => word.starts_with("PREEMPT"),
        });
        Self {
            at_tracepoints: is_preemptible && is_since(release, (7, 0)),
            at_functions: is_preemptible,
        }
    }

    /// Why the counts of a backend may be too low; `None` where they are exact.
    pub const fn doubt(self, backend: Backend) -> Option<&'static str> {
        let is_preempted = match backend {
            Backend::SocketKprobe => false,
            Backend::SocketTracepoint | Backend::Syscall => self.at_tracepoints,
            Backend::SocketFentry => self.at_functions,
        };
        if is_preempted { Some(LEFT_OUT) } else { None }
    }

    /// All backends in the order in which to try them: those that are exact, then the others; each
    /// group as in [`Backend::ALL`].
    pub fn order(self) -> [Backend; 4] {
        let mut order = Backend::ALL;
        // The sort is stable.
        order.sort_by_key(|backend| self.doubt(*backend).is_some());
        order
    }
}

/// Whether a release is this version or a later one; one that cannot be read is.
fn is_since(release: &str, version: (u32, u32)) -> bool {
    let mut numbers = release.split(|c: char| !c.is_ascii_digit()).map(str::parse::<u32>);
    let mut next = || numbers.next().and_then(Result::ok);
    next().zip(next()).is_none_or(|found| found >= version)
}

#[cfg(test)]
mod tests {
    use super::*;

    const FENTRY: Backend = Backend::SocketFentry;
    const KPROBE: Backend = Backend::SocketKprobe;
    const TRACEPOINT: Backend = Backend::SocketTracepoint;
    const SYSCALL: Backend = Backend::Syscall;

    #[test]
    fn what_is_exact_comes_first() {
        let check = |release: &str, version: &str, expected: [Backend; 4], exact: usize| {
            let preemption = Preemption::of(release, version);
            let order = preemption.order();
            assert_eq!(order, expected, "{release} {version}");
            let found = order.iter().filter(|backend| preemption.doubt(**backend).is_none());
            assert_eq!(found.count(), exact, "{release} {version}");
        };
        let all = [FENTRY, TRACEPOINT, KPROBE, SYSCALL];
        let without_functions = [TRACEPOINT, KPROBE, SYSCALL, FENTRY];
        let kprobes_only = [KPROBE, FENTRY, TRACEPOINT, SYSCALL];
        check("5.10.0-36-cloud-amd64", "#1 SMP Debian 5.10.244-1", all, 4);
        check("6.12.74-cloud-amd64", "#1 SMP PREEMPT_DYNAMIC Debian 6.12.74-1", all, 4);
        check("6.12.74", "#1 SMP PREEMPT Debian", without_functions, 3);
        check("6.12.74-rt", "#1 SMP PREEMPT_RT Debian", without_functions, 3);
        check("6.13.0", "#1 SMP PREEMPT_DYNAMIC", without_functions, 3);
        check("6.18.44-cloud", "#1 SMP PREEMPT_DYNAMIC @0", without_functions, 3);
        check("6.18.44", "#1 SMP PREEMPT_LAZY @0", without_functions, 3);
        check("6.18.44", "#1 SMP @0", all, 4);
        check("7.0.0-rc1", "#1 SMP PREEMPT_DYNAMIC", kprobes_only, 1);
        check("7.2.1-cloud-amd64", "#1 SMP PREEMPT_DYNAMIC Debian", kprobes_only, 1);
        check("10.0", "#1 SMP PREEMPT_LAZY", kprobes_only, 1);
        check("7.2.1", "#1 SMP Debian", all, 4);
        check("", "PREEMPT", kprobes_only, 1);
        check("strange", "#1 SMP PREEMPT_DYNAMIC", kprobes_only, 1);
    }
}
