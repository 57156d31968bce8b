//! The `Environment` record: what a process was told by who started it. No hook of its own: it is
//! sent once per process, before the first `Open` record that names it.
//!
//! - Kernel: any. Memory that was paged out is not fetched; user space then asks `/proc`.
//! - Cost: one copy of at most 16 KiB per process that has a connection of interest.

use aya_ebpf::helpers::generated::{
    bpf_get_current_task, bpf_probe_read_user, bpf_ringbuf_discard, bpf_ringbuf_reserve,
};
use vigie_common::{
    counter::Counter,
    record::{Environment, Kind, MAX_ENVIRONMENT},
};

use crate::{
    emit::{ring_of, submit},
    kernel::read,
    maps::count,
    params::offset,
    word::clamp,
    work::Caller,
};

/// Size of the smaller class of records.
const FEW: usize = 4096;

#[derive(Clone, Copy)]
#[repr(C)]
struct Sized<const N: usize> {
    header: Environment,
    payload: [u8; N],
}

/// Sends the record into the ring of a connection.
#[inline(never)]
pub(crate) fn emit(connection: u64, caller: &Caller) {
    // SAFETY: no arguments.
    let task = unsafe { bpf_get_current_task() };
    let bounds = read::<u64>(task, offset!(task_mm)).and_then(|mm| {
        Some((read::<u64>(mm, offset!(mm_env_start))?, read::<u64>(mm, offset!(mm_env_end))?))
    });
    let Some((start, end)) = bounds else { return };
    let length = end.wrapping_sub(start).min(MAX_ENVIRONMENT as u64) as u32;
    if length == 0 || end < start {
        return;
    }
    if length <= FEW as u32 {
        sized::<FEW>(connection, caller, start, length);
    } else {
        sized::<MAX_ENVIRONMENT>(connection, caller, start, length);
    }
}

#[inline(always)]
fn sized<const N: usize>(connection: u64, caller: &Caller, start: u64, length: u32) {
    let ring = ring_of(connection);
    // SAFETY: `ring` is a ring.
    let record = unsafe { bpf_ringbuf_reserve(ring, size_of::<Sized<N>>() as u64, 0) };
    if record.is_null() {
        count(Counter::LostRingFull, 1);
        return;
    }
    let sized = record.cast::<Sized<N>>();
    let length = clamp::<N>(length);
    // SAFETY: the helper writes at most `N` bytes into the payload of the reserved record, which is
    // large enough for the header too, and is given up in both cases.
    unsafe {
        let payload = (&raw mut (*sized).payload).cast();
        if bpf_probe_read_user(payload, length, start as usize as *const _) != 0 {
            bpf_ringbuf_discard(record, 0);
            return;
        }
        (&raw mut (*sized).header).write(Environment {
            kind: Kind::Environment as u32,
            tgid: caller.tgid,
            time_ns: caller.exit_ns,
            process_start_ns: caller.start_ns,
            length,
            reserved: 0,
        });
    }
    submit(ring, record, false);
    count(Counter::Records, 1);
}
