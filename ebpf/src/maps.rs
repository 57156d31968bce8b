//! All maps. Sizes are defaults; the loader sets those that are configured.

use aya_ebpf::{
    macros::map,
    maps::{Array, HashMap, PerCpuArray, RingBuf},
};
use vigie_common::{
    counter::Counter,
    exchange::{UNDELIVERED_KEYS, Undelivered},
    policy::{HINT_SLOTS, Hint, MAX_CLOSES, MAX_SETTLED, ProcessEntry},
    record::Close,
};

use crate::{connection::Connection, segment::Work};

/// When the write of a thread began, one slot per thread number modulo the size. Two threads on one
/// slot cost each other the time of entry, nothing else.
#[derive(Clone, Copy)]
#[repr(C)]
pub(crate) struct Entered {
    pub(crate) tid: u32,
    pub(crate) number: u32,
    pub(crate) time_ns: u64,
}

/// Slots of [`ENTERED`], a power of two.
pub(crate) const ENTERED_SLOTS: u32 = 8192;

/// By [`Counter`].
#[map]
pub(crate) static COUNTERS: PerCpuArray<u64> = PerCpuArray::with_max_entries(Counter::COUNT, 0);

/// Process id to policy and start.
#[map]
pub(crate) static PROCESSES: HashMap<u32, ProcessEntry> = HashMap::with_max_entries(8192, 0);

/// Address of the `struct sock` to the connection.
#[map]
pub(crate) static CONNECTIONS: HashMap<u64, Connection> = HashMap::with_max_entries(16384, 0);

/// What user space knows of connections.
#[map]
pub(crate) static HINTS: Array<Hint> = Array::with_max_entries(HINT_SLOTS, 0);

/// Times of entry of calls that write.
#[map]
pub(crate) static ENTERED: Array<Entered> = Array::with_max_entries(ENTERED_SLOTS, 0);

/// Connections and records are numbered per CPU.
#[map]
pub(crate) static NEXT_CONNECTION: PerCpuArray<u64> = PerCpuArray::with_max_entries(1, 0);

/// Where a new [`Connection`] is put together, too large for the stack.
#[map]
pub(crate) static SCRATCH: PerCpuArray<Connection> = PerCpuArray::with_max_entries(1, 0);

#[map]
pub(crate) static RING0: RingBuf = RingBuf::with_byte_size(4096, 0);
#[map]
pub(crate) static RING1: RingBuf = RingBuf::with_byte_size(4096, 0);
#[map]
pub(crate) static RING2: RingBuf = RingBuf::with_byte_size(4096, 0);
#[map]
pub(crate) static RING3: RingBuf = RingBuf::with_byte_size(4096, 0);

/// Adds to a counter of this CPU.
#[inline(always)]
pub(crate) fn count(counter: Counter, amount: u64) {
    if let Some(slot) = COUNTERS.get_ptr_mut(counter as u32) {
        // SAFETY: the slot belongs to this CPU; a program that interrupts this one may cost an
        // increment, never more.
        unsafe { *slot = (*slot).wrapping_add(amount) }
    }
}

/// Whether there were ever unix sockets of interest: until then no close needs a look.
#[map]
pub(crate) static UNIX_SEEN: Array<u32> = Array::with_max_entries(1, 0);

/// The state of the call that this CPU handles.
#[map]
pub(crate) static WORK: PerCpuArray<Work> = PerCpuArray::with_max_entries(1, 0);

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
