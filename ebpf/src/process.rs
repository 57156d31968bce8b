//! Who is watched, and who a process is.

use aya_ebpf::helpers::generated::bpf_get_current_task;
use vigie_common::{
    counter::Counter,
    policy::{ProcessEntry, ProcessPolicy, process_flags},
};

use crate::{
    kernel::read,
    maps::{PROCESSES, count},
    params::{offset, setting},
};

/// Start of a task's process, nanoseconds since boot; 0 when it cannot be read.
#[inline(always)]
pub(crate) fn start_of(task: u64) -> u64 {
    read::<u64>(task, offset!(task_group_leader))
        .and_then(|leader| read::<u64>(leader, offset!(task_start_boottime)))
        .unwrap_or(0)
}

/// Start of the current process if it is watched, `None` if it is not.
#[inline(always)]
pub(crate) fn watched(tgid: u32) -> Option<u64> {
    if tgid == setting!(own_tgid) {
        return None;
    }
    if let Some(entry) = PROCESSES.get_ptr(tgid) {
        // SAFETY: the entry is preallocated memory; a concurrent removal at worst shows another
        // process's policy for one call.
        let entry = unsafe { *entry };
        return (entry.policy == ProcessPolicy::Watch as u32).then_some(entry.start_boot_ns);
    }
    first_sight(tgid)
}

#[inline(never)]
fn first_sight(tgid: u32) -> Option<u64> {
    // SAFETY: no arguments.
    let task = unsafe { bpf_get_current_task() };
    let entry =
        ProcessEntry { start_boot_ns: start_of(task), policy: setting!(default_policy), flags: 0 };
    if PROCESSES.insert(tgid, entry, 0).is_err() {
        count(Counter::ProcessesFull, 1);
    }
    (entry.policy == ProcessPolicy::Watch as u32).then_some(entry.start_boot_ns)
}

/// Whether user space has yet to look who this process is; says so once.
#[inline(always)]
pub(crate) fn introduce(tgid: u32) -> bool {
    // No entry means a full table: nothing would tell the second connection from the first.
    let Some(entry) = PROCESSES.get_ptr_mut(tgid) else { return false };
    // SAFETY: map values stay valid while the program runs; two threads at once cost one wake-up.
    let flags = unsafe { &mut (*entry).flags };
    let first = *flags & process_flags::INTRODUCED == 0;
    *flags |= process_flags::INTRODUCED;
    first
}
