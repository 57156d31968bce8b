//! Who is watched, and who a process is.
//!
//! The table `PROCESSES` says it. In front of it is a cache, one slot per process id modulo
//! its size, because the question is asked at each send and receive of the machine:
//! a look at a slot is a few instructions, a look into the table a call and a hash.

use aya_ebpf::helpers::generated::bpf_get_current_task;
use vigie_common::{
    counter::Counter,
    policy::{ProcessEntry, ProcessPolicy, process_flags},
};

use crate::{
    kernel::read,
    maps::{PROCESSES, SEEN, count, tuning},
    params::{offset, setting},
};

/// What a slot of the cache says of a process.
///
/// Two processors may write one slot at once. No order of their stores leaves words that fit together
/// and are not one process's.
#[derive(Clone, Copy)]
#[repr(C)]
pub(crate) struct Seen {
    /// Process id in the low half; [`Tuning::generation`](vigie_common::policy::Tuning) above it,
    /// which moves with every policy that user space sets; the highest bit if it is watched.
    name: u64,
    start_ns: u64,
    /// The two, exclusive or.
    check: u64,
}

/// Slots of the cache, a power of two.
pub(crate) const SEEN_SLOTS: u32 = 4096;

const WATCHED: u64 = 1 << 63;

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
    let generation = u64::from(tuning().generation & (u32::MAX >> 1));
    let name = generation << 32 | u64::from(tgid);
    let slot = SEEN.get_ptr(tgid & (SEEN_SLOTS - 1))?;
    // SAFETY: the slot is valid, and what other processors write meanwhile is found out.
    let seen = unsafe { slot.read_volatile() };
    if (seen.name & !WATCHED) == name && seen.name ^ seen.start_ns == seen.check {
        return (seen.name & WATCHED != 0).then_some(seen.start_ns);
    }
    look_up(tgid, name)
}

/// Looks into the table and notes in the cache what it says.
#[inline(never)]
fn look_up(tgid: u32, name: u64) -> Option<u64> {
    // Not all programs are attached yet: what some of them see would be sends without receives.
    if name >> 32 == 0 || tgid == setting!(own_tgid) {
        return None;
    }
    let known = PROCESSES.get_ptr(tgid);
    let (start_ns, policy) = if let Some(entry) = known {
        // SAFETY: the entry is preallocated memory; a concurrent removal at worst shows another
        // process's policy until the next one is set.
        let entry = unsafe { *entry };
        (entry.start_boot_ns, entry.policy)
    } else {
        // SAFETY: no arguments.
        let start_ns = start_of(unsafe { bpf_get_current_task() });
        let policy = setting!(default_policy);
        let entry = ProcessEntry { start_boot_ns: start_ns, policy, flags: 0 };
        if PROCESSES.insert(tgid, entry, 0).is_err() {
            count(Counter::ProcessesFull, 1);
        }
        (start_ns, policy)
    };
    let is_watched = policy == ProcessPolicy::Watch as u32;
    let name = if is_watched { name | WATCHED } else { name };
    if let Some(slot) = SEEN.get_ptr_mut(tgid & (SEEN_SLOTS - 1)) {
        // SAFETY: the slot is valid; see `Seen`.
        unsafe { slot.write_volatile(Seen { name, start_ns, check: name ^ start_ns }) };
    }
    is_watched.then_some(start_ns)
}

/// Has the next call of a process look into the table again.
#[inline(always)]
pub(crate) fn changed(tgid: u32) {
    if let Some(slot) = SEEN.get_ptr_mut(tgid & (SEEN_SLOTS - 1)) {
        // SAFETY: the slot is valid. Process 0 makes no calls.
        unsafe { (&raw mut (*slot).name).write_volatile(0) };
    }
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
