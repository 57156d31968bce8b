//! Records into the rings.
//!
//! A record is reserved in the smallest size class that holds its payload and the payload is read
//! straight into it. Wake-ups are batched: the reader looks by itself every few milliseconds and is
//! woken only when a ring fills up.

use aya_ebpf::{
    bindings::{BPF_RB_AVAIL_DATA, BPF_RB_FORCE_WAKEUP, BPF_RB_NO_WAKEUP},
    helpers::generated::{
        bpf_probe_read_user, bpf_ringbuf_query, bpf_ringbuf_reserve, bpf_ringbuf_submit,
    },
};
use vigie_common::{
    counter::Counter,
    record::{Data, data_flags},
};

use crate::{
    exchange,
    maps::{RING0, RING1, RING2, RING3, count},
    params::setting,
    word::{clamp, modulo},
    work::{Work, work},
};

/// Bytes above the mark within which a record wakes the reader; and bytes of payload records after
/// which it is looked whether one has to.
const WAKE_WINDOW: u64 = 16 << 10;

/// Address of the ring that the records of a connection go to.
#[inline(always)]
pub(crate) fn ring_of(connection: u64) -> *mut core::ffi::c_void {
    // The low bits of an id are the CPU on which the connection was first seen.
    match (connection as u32) & (setting!(rings).wrapping_sub(1)) {
        0 => (&raw const RING0).cast_mut().cast(),
        1 => (&raw const RING1).cast_mut().cast(),
        2 => (&raw const RING2).cast_mut().cast(),
        _ => (&raw const RING3).cast_mut().cast(),
    }
}

#[inline(always)]
pub(crate) fn submit(ring: *mut core::ffi::c_void, record: *mut core::ffi::c_void, urgent: bool) {
    // SAFETY: `record` was reserved in a ring and is given up here; `ring` is a ring.
    unsafe {
        let filled = bpf_ringbuf_query(ring, BPF_RB_AVAIL_DATA as u64);
        // Only around the mark: a reader that is behind is awake already, and a wake-up for each
        // record would cost the caller a microsecond each.
        let above = filled.wrapping_sub(u64::from(setting!(wake_bytes)));
        let flags =
            if urgent || above < WAKE_WINDOW { BPF_RB_FORCE_WAKEUP } else { BPF_RB_NO_WAKEUP };
        bpf_ringbuf_submit(record, flags as u64);
    }
}

/// Submits a payload record of this size. How full the ring is is looked at every [`WAKE_WINDOW`] bytes
/// only: it takes a call, and most records would find that nothing is to be done.
#[inline(always)]
fn submit_sized(
    work: &mut Work,
    ring: *mut core::ffi::c_void,
    record: *mut core::ffi::c_void,
    size: u64,
) {
    work.written += size;
    let mut flags = BPF_RB_NO_WAKEUP;
    if work.written > WAKE_WINDOW {
        work.written = 0;
        // SAFETY: `ring` is a ring.
        let filled = unsafe { bpf_ringbuf_query(ring, BPF_RB_AVAIL_DATA as u64) };
        if filled > u64::from(setting!(wake_bytes)) {
            flags = BPF_RB_FORCE_WAKEUP;
        }
    }
    // SAFETY: `record` was reserved in `ring` and is given up here.
    unsafe { bpf_ringbuf_submit(record, flags as u64) };
    count(Counter::Records, 1);
}

/// Puts a record without payload into the ring of a connection, and wakes the reader if it is
/// urgent. Whether there was room.
#[inline(always)]
pub(crate) fn plain<T: Copy>(connection: u64, urgent: bool, fill: impl FnOnce(*mut T)) -> bool {
    let ring = ring_of(connection);
    // SAFETY: `ring` is a ring.
    let record = unsafe { bpf_ringbuf_reserve(ring, size_of::<T>() as u64, 0) };
    if record.is_null() {
        count(Counter::LostRingFull, 1);
        return false;
    }
    fill(record.cast());
    submit(ring, record, urgent);
    count(Counter::Records, 1);
    true
}

/// Puts a small record that follows others into the ring of their connection. The reader is left alone,
/// and a loss is not counted: what finds no room is tried again in another way.
#[inline(always)]
pub(crate) fn follow<T: Copy>(connection: u64, fill: impl FnOnce(*mut T)) -> bool {
    // SAFETY: `ring_of` gives a ring.
    let record = unsafe { bpf_ringbuf_reserve(ring_of(connection), size_of::<T>() as u64, 0) };
    if record.is_null() {
        return false;
    }
    fill(record.cast());
    // SAFETY: `record` was reserved and is given up here.
    unsafe { bpf_ringbuf_submit(record, BPF_RB_NO_WAKEUP as u64) };
    count(Counter::Records, 1);
    true
}

#[derive(Clone, Copy)]
#[repr(C)]
struct Sized<const N: usize> {
    header: Data,
    payload: [u8; N],
}

/// Puts a record with `length` bytes of user memory from `source` into the ring. The header in
/// [`Work`] already says which bytes they are. Returns 1 when there was room.
///
/// A global function in the verifier's sense (see [`crate::segment::vigie_moved`]).
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn vigie_emit(slot: u64, source: u64, length: u64) -> u64 {
    let Some(work) = work(slot) else { return 0 };
    let length = length as u32;
    let there_was_room = if length <= 64 {
        sized::<64>(work, source, length)
    } else if length <= 256 {
        sized::<256>(work, source, length)
    } else if length <= 1024 {
        sized::<1024>(work, source, length)
    } else {
        sized::<4096>(work, source, length)
    };
    u64::from(there_was_room)
}

/// Bytes that a gathered record holds at most. Its payload is twice as large: the verifier then sees
/// that any offset and any length up to this stay inside, without connecting the two.
pub(crate) const GATHERED: usize = 1024;

/// Iovec entries that a gathered record is put together from at most.
pub(crate) const GATHERED_ENTRIES: u64 = 8;

/// Puts one record with `length` bytes (at most [`GATHERED`]) from several iovec entries into the
/// ring: a head and its body, or frames. [`crate::work::Work`] says where they are. Returns 1 when
/// there was room.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn vigie_gather(slot: u64, length: u64) -> u64 {
    let Some(work) = work(slot) else { return 0 };
    let length = length as u32;
    let there_was_room = if length <= 256 {
        gather::<256, 512>(work, length)
    } else {
        gather::<GATHERED, { 2 * GATHERED }>(work, length)
    };
    u64::from(there_was_room)
}

/// `N` bytes at most, in a payload of twice that.
#[inline(always)]
fn gather<const N: usize, const PAYLOAD: usize>(work: &mut Work, total: u32) -> bool {
    let ring = ring_of(work.header.connection);
    // SAFETY: `ring` is a ring.
    let record = unsafe { bpf_ringbuf_reserve(ring, size_of::<Sized<PAYLOAD>>() as u64, 0) };
    if record.is_null() {
        count(Counter::LostRingFull, 1);
        return false;
    }
    let record = record.cast::<Sized<PAYLOAD>>();
    // SAFETY: the payload has twice `N` bytes.
    let copied = unsafe { pieces::<N>((&raw mut (*record).payload).cast(), work, total) };
    if copied < total {
        work.header.flags |= data_flags::UNREADABLE;
        count(Counter::LostUserMemory, 1);
    }
    // SAFETY: the payload has at least 16 bytes; what was not written is not looked at.
    look(work, unsafe { (&raw const (*record).payload).cast::<[u64; 2]>().read_unaligned() });
    count(Counter::BytesCopied, u64::from(copied));
    // SAFETY: the record is reserved and large enough.
    unsafe { core::ptr::copy_nonoverlapping(&raw const work.header, &raw mut (*record).header, 1) };
    submit_sized(work, ring, record.cast(), size_of::<Sized<PAYLOAD>>() as u64);
    true
}

/// Copies `total` bytes from the buffers that [`Work`] lists. Returns how many could be read, as does
/// [`Work::header`] in `head`.
///
/// # Safety
/// `payload` must be valid for writes of twice `N` bytes.
#[inline(always)]
pub(crate) unsafe fn pieces<const N: usize>(payload: *mut u8, work: &mut Work, total: u32) -> u32 {
    // How many bytes there are so far is read back from memory, where the verifier takes it for any number:
    // so it looks at a round once, not once for each way through the rounds before.
    let so_far = &raw mut work.header.head;
    // SAFETY: the field is valid.
    let copied = || unsafe { so_far.read_volatile() };
    // SAFETY: as above.
    unsafe { so_far.write_volatile(0) };
    let mut piece = 0;
    while piece < GATHERED_ENTRIES as usize && copied() < total {
        let offset = copied();
        let [base, length] = work.pieces[piece];
        piece += 1;
        if length == 0 {
            continue;
        }
        let length = length.min(u64::from(total.wrapping_sub(offset))) as u32;
        // No number is changed by this: the offset is below `N`, the length from 1 to `N`.
        let (offset, length) = (modulo::<N>(offset), modulo::<N>(length.wrapping_sub(1)) + 1);
        // SAFETY: offset and length are at most half of the payload each.
        let result = unsafe {
            bpf_probe_read_user(
                payload.add(offset as usize).cast(),
                length,
                base as usize as *const _,
            )
        };
        if result != 0 {
            break;
        }
        // SAFETY: as above.
        unsafe { so_far.write_volatile(offset + length) };
    }
    copied()
}

/// Notes the first bytes of a call, which begin the payload of its first record. A status line in
/// the middle of a turn begins the next exchange.
#[inline(always)]
fn look(work: &mut Work, bytes: [u64; 2]) {
    if work.seen_length != 0 || work.header.head == 0 {
        return;
    }
    work.seen = bytes;
    work.seen_length = work.header.head.min(16);
    if work.responded != 0 && exchange::begins_final(bytes, work.seen_length) {
        work.another_response = 1;
        let header = &mut work.header;
        header.exchange += 1;
        header.lost_before += u32::from(header.flags & data_flags::EXCHANGE_LOST != 0);
        header.flags &= !data_flags::EXCHANGE_LOST;
    }
}

#[inline(always)]
fn sized<const N: usize>(work: &mut Work, source: u64, length: u32) -> bool {
    let ring = ring_of(work.header.connection);
    // SAFETY: `ring` is a ring.
    let record = unsafe { bpf_ringbuf_reserve(ring, size_of::<Sized<N>>() as u64, 0) };
    if record.is_null() {
        count(Counter::LostRingFull, 1);
        return false;
    }
    let record = record.cast::<Sized<N>>();
    if length > 0 {
        let length = clamp::<N>(length);
        // SAFETY: the helper writes at most `N` bytes into the payload of the reserved record.
        let result = unsafe {
            bpf_probe_read_user(
                (&raw mut (*record).payload).cast(),
                length,
                source as usize as *const _,
            )
        };
        if result != 0 {
            work.header.flags |= data_flags::UNREADABLE;
            work.header.head = 0;
            work.header.tail = 0;
            count(Counter::LostUserMemory, 1);
        } else {
            count(Counter::BytesCopied, u64::from(length));
            // SAFETY: as in `vigie_gather`.
            look(work, unsafe {
                (&raw const (*record).payload).cast::<[u64; 2]>().read_unaligned()
            });
        }
    }
    // SAFETY: the record is reserved and large enough.
    unsafe { core::ptr::copy_nonoverlapping(&raw const work.header, &raw mut (*record).header, 1) };
    submit_sized(work, ring, record.cast(), size_of::<Sized<N>>() as u64);
    true
}

/// Puts a record whose payload is the first `head` bytes of `bytes` into the ring.
#[inline(always)]
pub(crate) fn small(header: &Data, bytes: u64) -> bool {
    let header = *header;
    plain::<Sized<8>>(header.connection, false, |record| {
        // SAFETY: the record is reserved and large enough.
        unsafe {
            (&raw mut (*record).header).write(header);
            (&raw mut (*record).payload).write(bytes.to_le_bytes());
        }
    })
}
