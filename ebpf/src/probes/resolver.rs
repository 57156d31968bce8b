//! The time that programs spend in `getaddrinfo`.
//!
//! - Hooks: entry and return of the function in each C library that watched processes use. Only
//!   attached where the configuration asks for it.
//! - Record: `Resolved`, one for each call.
//! - Cost: two traps into the kernel per call, some microseconds.

use aya_ebpf::{
    helpers::generated::{bpf_get_current_pid_tgid, bpf_ktime_get_ns},
    macros::{uprobe, uretprobe},
    programs::{ProbeContext, RetProbeContext},
};
use vigie_common::record::{Kind, Resolved};

use crate::{emit, maps::RESOLVING, process};

/// Calls that may go on at once, one per thread.
pub(crate) const RESOLVING_CALLS: u32 = 2048;

#[uprobe]
pub fn getaddrinfo_called(_ctx: ProbeContext) -> u32 {
    // SAFETY: no arguments.
    let thread = unsafe { bpf_get_current_pid_tgid() };
    if process::watched((thread >> 32) as u32).is_some() {
        // SAFETY: no arguments.
        let now = unsafe { bpf_ktime_get_ns() };
        // Where that fails, the call is counted without a duration.
        let _ = RESOLVING.insert(thread, now, 0);
    }
    0
}

#[uretprobe]
pub fn getaddrinfo_returned(ctx: RetProbeContext) -> u32 {
    // SAFETY: no arguments.
    let thread = unsafe { bpf_get_current_pid_tgid() };
    let tgid = (thread >> 32) as u32;
    let Some(start_ns) = process::watched(tgid) else { return 0 };
    // SAFETY: the value is copied at once; nobody else writes this thread's.
    let enter_ns = unsafe { RESOLVING.get(thread) }.copied().unwrap_or(0);
    let _ = RESOLVING.remove(thread);
    let code = ctx.ret::<i32>();
    emit::plain::<Resolved>(u64::from(tgid), false, |record| {
        // SAFETY: the record is reserved and large enough.
        unsafe {
            record.write(Resolved {
                kind: Kind::Resolved as u32,
                tgid,
                tid: thread as u32,
                code,
                enter_ns,
                exit_ns: bpf_ktime_get_ns(),
                process_start_ns: start_ns,
            });
        }
    });
    0
}
