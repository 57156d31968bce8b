//! What is expected of the backends on each kernel: which there are, which are exact, and which one the
//! agent chooses. Said here once more, apart from the agent, so that a backend that a kernel takes no
//! longer fails a test instead of being left out of them.

/// Version of a kernel, major and minor.
pub(crate) type Kernel = (u32, u32);

/// As in `capture.backend`; the last ones start quickly on emulated kernels.
const BACKENDS: [&str; 4] = ["socket-fentry", "socket-kprobe", "socket-tracepoint", "syscall"];

/// The backends that this kernel takes.
pub(crate) fn offered(kernel: Kernel) -> Vec<&'static str> {
    let takes = |backend: &&str| *backend != "socket-tracepoint" || kernel >= (6, 3);
    BACKENDS.into_iter().filter(takes).collect()
}

/// Whether a stock kernel of Debian leaves out no run of this backend's programs: docs/backends.md.
pub(crate) fn is_exact(backend: &str, kernel: Kernel) -> bool {
    match backend {
        "socket-fentry" => kernel < (6, 13),
        "socket-kprobe" => true,
        _ => kernel < (7, 0),
    }
}

/// What the agent uses when none is named.
pub(crate) fn chosen(kernel: Kernel) -> &'static str {
    match kernel {
        (7.., _) => "socket-kprobe",
        kernel if kernel >= (6, 13) => "socket-tracepoint",
        _ => "socket-fentry",
    }
}
