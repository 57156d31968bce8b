//! All maps. Sizes are defaults; the loader sets those that are configured.

use aya_ebpf::{
    bindings::BPF_F_MMAPABLE,
    macros::map,
    maps::{Array, HashMap, LruHashMap, PerCpuArray, RingBuf},
};
use vigie_common::{
    counter::Counter,
    exchange::{UNDELIVERED_KEYS, Undelivered},
    policy::{HINT_SLOTS, Hint, MAX_BLOCKED, MAX_CLOSES, MAX_SETTLED, ProcessEntry, Tuning},
    record::Close,
};

use crate::{
    connection::Connection,
    entered::{self, Entered},
    probes::resolver::RESOLVING_CALLS,
    probes::socket::{IN_FLIGHT_CALLS, InFlight, SERIES_SLOTS, Series},
    process::{SEEN_SLOTS, Seen},
    work::{SLOTS, Work},
};

/// By [`Counter`], in one entry: user space reads all of them with one call.
#[map]
pub(crate) static COUNTERS: PerCpuArray<[u64; Counter::ALL.len()]> =
    PerCpuArray::with_max_entries(1, 0);

/// Process id to policy and start.
#[map]
pub(crate) static PROCESSES: HashMap<u32, ProcessEntry> = HashMap::with_max_entries(8192, 0);

/// What [`PROCESSES`] said last, by process id modulo the size.
#[map]
pub(crate) static SEEN: Array<Seen> = Array::with_max_entries(SEEN_SLOTS, 0);

/// Address of the `struct sock` to the connection.
#[map]
pub(crate) static CONNECTIONS: HashMap<u64, Connection> = HashMap::with_max_entries(16384, 0);

/// What user space knows of connections. It writes there without a call.
#[map]
pub(crate) static HINTS: Array<Hint> = Array::with_max_entries(HINT_SLOTS, BPF_F_MMAPABLE);

/// What holds for all connections and changes while the programs run.
#[map]
pub(crate) static TUNING: Array<Tuning> = Array::with_max_entries(1, 0);

/// Times of entry of calls that write.
#[map]
pub(crate) static ENTERED: Array<Entered> = Array::with_max_entries(entered::SLOTS, 0);

#[map]
pub(crate) static RING0: RingBuf = RingBuf::with_byte_size(4096, 0);
#[map]
pub(crate) static RING1: RingBuf = RingBuf::with_byte_size(4096, 0);
#[map]
pub(crate) static RING2: RingBuf = RingBuf::with_byte_size(4096, 0);
#[map]
pub(crate) static RING3: RingBuf = RingBuf::with_byte_size(4096, 0);

/// What holds for all connections now.
#[inline(always)]
pub(crate) fn tuning() -> Tuning {
    const AS_SET: Tuning = Tuning { request_bytes: 0, response_bytes: 0, shed: 0, generation: 0 };
    TUNING.get(0).copied().unwrap_or(AS_SET)
}

/// Adds to a counter of this CPU.
#[inline(always)]
pub(crate) fn count(counter: Counter, amount: u64) {
    let Some(counters) = COUNTERS.get_ptr_mut(0) else { return };
    // SAFETY: map values stay valid while the program runs, and this one belongs to this CPU; a program
    // that interrupts this one may cost an increment, never more.
    if let Some(slot) = unsafe { (*counters).get_mut(counter as usize) } {
        *slot = slot.wrapping_add(amount);
    }
}

/// What was met that needs hooks of its own, bits of [`vigie_common::policy::needs`]. User space reads it
/// without a call.
#[map]
pub(crate) static NEEDS: Array<u32> = Array::with_max_entries(1, BPF_F_MMAPABLE);

/// Says that something of [`vigie_common::policy::needs`] was met.
#[inline(always)]
pub(crate) fn need(what: u32) {
    if let Some(needs) = NEEDS.get_ptr_mut(0) {
        // SAFETY: map values stay valid while the program runs; two writers at once cost another
        // call, for there is one with every such connection.
        unsafe { *needs |= what };
    }
}

/// Whether something of [`vigie_common::policy::needs`] was met.
#[inline(always)]
pub(crate) fn is_needed(what: u32) -> bool {
    // SAFETY: as in `need`.
    NEEDS.get_ptr(0).is_some_and(|needs| unsafe { *needs } & what != 0)
}

/// Calls of send and receive functions that kprobes saw begin, by thread. The last one of a thread
/// stays until it is the longest unused: nothing tells of the end of most.
#[map]
pub(crate) static IN_FLIGHT: LruHashMap<u64, InFlight> =
    LruHashMap::with_max_entries(IN_FLIGHT_CALLS, 0);

/// When threads called `getaddrinfo`.
#[map]
pub(crate) static RESOLVING: LruHashMap<u64, u64> =
    LruHashMap::with_max_entries(RESOLVING_CALLS, 0);

/// Threads that were in a receive when the hooks were attached.
#[map]
pub(crate) static BLOCKED: HashMap<u32, u32> = HashMap::with_max_entries(MAX_BLOCKED, 0);

/// Progress through the messages of one call, by thread.
#[map]
pub(crate) static SERIES: Array<Series> = Array::with_max_entries(SERIES_SLOTS, 0);

/// States of the calls that this CPU handles.
#[map]
pub(crate) static WORK: PerCpuArray<Work> = PerCpuArray::with_max_entries(SLOTS, 0);

/// Exchanges that lost a record, by [`UndeliveredKey`](vigie_common::exchange::UndeliveredKey).
#[map]
pub(crate) static UNDELIVERED: HashMap<[u64; 2], Undelivered> =
    HashMap::with_max_entries(UNDELIVERED_KEYS, 0);

/// What a new entry of [`UNDELIVERED`] is made from, too large for the stack. Never written.
#[map]
pub(crate) static NOTHING: Array<Undelivered> = Array::with_max_entries(1, 0);

/// Connection to the number of the exchange that user space counted, as the connection fell silent.
#[map]
pub(crate) static SETTLED: HashMap<u64, u32> = HashMap::with_max_entries(MAX_SETTLED, 0);

/// Ends of connections for which the ring had no room, by connection.
#[map]
pub(crate) static CLOSES: HashMap<u64, Close> = HashMap::with_max_entries(MAX_CLOSES, 0);
