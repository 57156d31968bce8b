//! The frames of HTTP/2 (RFC 9113): which bytes of a call are copied.
//!
//! Frame headers and everything but DATA are copied. Of DATA the beginning is, which is where gRPC
//! says how long its message is; small frames, small calls and frames that hold several messages of
//! gRPC are copied whole. What is left out follows a record's payload as bytes that it stands for.
//!
//! Where the frames of a direction begin is kept from call to call, in the fields of
//! [`Half`](crate::connection::Half) that HTTP/1 uses for its turns:
//! - `budget`: bytes of the current frame that are still to come
//! - `pending_ns`: how many of those are to be copied
//! - `pending`, `pending_length`: the bytes of a frame's header that came so far; [`LOST`] where it is
//!   not known where a frame begins. Then calls are copied from their beginning, until one begins
//!   like a frame.

use aya_ebpf::helpers::generated::bpf_probe_read_user;
use vigie_common::{
    counter::Counter,
    record::{Class, Direction, MAX_PAYLOAD, data_flags},
};

use crate::{
    classify::{DATA, FRAME, Head, PREFACE, head, vigie_classify},
    connection::{Connection, Half},
    emit,
    first::vigie_first_bytes,
    kernel::read_user,
    maps::count,
    params::setting,
    segment::{carry, gathered, hint, prepare},
    work::{Source, Work, vigie_entry, work},
};

/// Bytes of a frame's header.
const HEADER: u32 = 9;

/// Bytes of the preface of a client.
const PREFACE_BYTES: u32 = 24;

/// DATA up to this is copied whole, and so is a call with several buffers.
const WHOLE: u32 = 1024;

/// Bytes that are copied of larger DATA.
const DATA_HEAD: u32 = 16;

/// Bytes copied of a call at most while it is not known where frames begin.
const BLIND_BYTES: u64 = 16 << 10;

/// Rounds of the walk: each ends with a frame, with a buffer or with a record that is full.
const MAX_ROUNDS: u32 = 512;

/// Value of `pending_length` while it is not known where a frame begins.
pub(crate) const LOST: u32 = 255;

/// Where the walk over a call's frames stands.
#[derive(Clone, Copy)]
#[repr(C)]
pub(crate) struct Walk {
    /// Bytes of the current frame that are still to come.
    left: u32,
    /// How many of these are to be copied.
    copy: u32,
    /// Bytes of the next frame's header that came so far, and how many.
    header: [u8; 32],
    have: u32,
    /// Whether nothing is left out, and nothing is to be emitted by the walk.
    silent: u32,
    /// Where the bytes begin that go into the next record, and how many there are.
    run: u64,
    run_length: u64,
}

/// Handles the call in [`Work`] on a connection that speaks HTTP/2. `fresh` tells what made that
/// known in this call, else 0.
#[inline(never)]
pub(crate) fn moved(
    connection: &mut Connection,
    work: &mut Work,
    direction: Direction,
    fresh: u64,
    shed: bool,
) {
    let ignored = hint(connection.id, direction) == u64::MAX;
    prepare(work, connection, direction, false);
    let half = connection.half(direction);
    let position = half.position;
    half.position = position.wrapping_add(work.total);
    if ignored {
        half.pending_length = LOST;
        return;
    }
    if shed {
        half.pending_length = LOST;
        count(Counter::LostShed, 1);
        connection.lost += 1;
        return;
    }
    work.header.position = position;
    // What follows is no exchange of HTTP/1.
    work.seen_length = 16;
    work.responded = 0;
    work.budget = u64::from(setting!(request_bytes));
    if fresh != 0 {
        begin(half, work, fresh);
    } else if half.pending_length == LOST {
        found(half, work);
    }
    if half.pending_length == LOST {
        work.budget = work.budget.min(BLIND_BYTES);
        crate::segment::vigie_copy(work.slot);
    } else {
        work.walk.left = half.budget;
        work.walk.copy = half.pending_ns as u32;
        work.walk.have = half.pending_length;
        // SAFETY: both are plain bytes, and there are 32 of them.
        unsafe { (&raw mut work.walk.header).cast::<u64>().write_unaligned(half.pending) };
        vigie_frames(work.slot);
        half.budget = work.walk.left;
        half.pending_ns = work.walk.copy.into();
        half.pending_length = work.walk.have;
        // SAFETY: as above.
        half.pending = unsafe { (&raw const work.walk.header).cast::<u64>().read_unaligned() };
    }
    connection.lost += work.failed as u32;
}

/// The connection went over to HTTP/2, as its client's preface tells, which was just copied.
#[inline(always)]
pub(crate) fn upgraded(connection: &mut Connection) {
    connection.class = if connection.class == Class::Http1Server as u8 {
        Class::Http2Server as u8
    } else {
        Class::Http2Client as u8
    };
    connection.received.pending_length = LOST;
    connection.sent.pending_length = LOST;
}

/// Where the first frame begins in the direction that made it known, whose first bytes may have come
/// before.
#[inline(always)]
fn begin(half: &mut Half, work: &mut Work, fresh: u64) {
    let had = half.pending_length.min(8);
    if had > 0 {
        carry(work, half);
    }
    half.budget = 0;
    half.pending_length = 0;
    if fresh == PREFACE {
        half.budget = PREFACE_BYTES - had;
        half.pending_ns = half.budget.into();
    } else {
        half.pending_length = had;
    }
}

/// Looks whether the call begins with a frame.
#[inline(always)]
fn found(half: &mut Half, work: &Work) {
    vigie_first_bytes(work.slot);
    if work.first_length == 8 && vigie_classify(work.first, 8) == FRAME && fits(work, work.first, 0)
    {
        half.budget = 0;
        half.pending_length = 0;
    }
}

/// Whether the call in [`Work`], which with `had` bytes before it begins with a plausible frame, holds
/// that frame and nothing else, or a plausible one behind it.
#[inline(always)]
pub(crate) fn fits(work: &Work, bytes: u64, had: u32) -> bool {
    let frame = u64::from(HEADER + head(bytes).length);
    let total = work.total + u64::from(had);
    if total <= frame || work.source.entries != Source::BUFFER {
        // Of several buffers the next frame is in any.
        return total >= frame;
    }
    let next = work.source.address.wrapping_add(frame - u64::from(had));
    if total < frame + 8 {
        return true;
    }
    read_user::<u64>(next).is_some_and(|bytes| {
        // Any kind of frame, with a stream below 2^24.
        head(bytes).kind <= 9 && head(bytes).length <= 16384 && (bytes >> 40) as u8 & 0x7f == 0
    })
}

/// Which end this is of a connection whose beginning was not seen: a guess that user space mends. A
/// server speaks first with its SETTINGS; a header block begins with a pseudo-header mostly, and
/// those of requests and responses have other indices (RFC 7541, appendix A); else the ports tell.
#[inline(always)]
pub(crate) fn guess(
    connection: &mut Connection,
    work: &Work,
    bytes: u64,
    direction: Direction,
) -> Class {
    let received = matches!(direction, Direction::Received);
    if connection.from_start == 0 {
        // The other direction may be in the middle of anything.
        let other = if received { Direction::Sent } else { Direction::Received };
        connection.half(other).pending_length = LOST;
    }
    let is_settings = head(bytes).kind != crate::classify::HEADERS;
    let first = if is_settings || work.source.entries != Source::BUFFER {
        0
    } else {
        // The first byte of the block, where it is not padded and has no priority.
        read_user::<u8>(work.source.address.wrapping_add(u64::from(HEADER))).unwrap_or(0)
    };
    let is_response = is_settings || matches!(first, 0x88..=0x8e);
    if is_response == received { Class::Http2Client } else { Class::Http2Server }
}

/// Walks over the frames of the call in [`Work`] and puts into records what is to be copied.
///
/// A global function in the verifier's sense, like the next one (see
/// [`crate::segment::vigie_moved`]).
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn vigie_frames(slot: u64) -> u64 {
    let Some(work) = work(slot) else { return 0 };
    let entries = work.source.entries;
    work.remaining = work.total;
    work.entry = 0;
    work.base = work.source.address;
    work.length = if entries == Source::BUFFER { work.total } else { 0 };
    work.walk.run_length = 0;
    work.walk.silent = u32::from(
        entries > 1
            && entries <= emit::GATHERED_ENTRIES
            && work.total <= u64::from(WHOLE)
            && work.total <= work.budget,
    );
    let mut round = 0;
    while round < MAX_ROUNDS && vigie_frame(slot) != 0 {
        round += 1;
    }
    if work.remaining > 0 {
        unread(work);
    }
    if work.walk.silent != 0 {
        gathered(work);
    } else if work.walk.run_length > 0 || work.remaining > 0 {
        let rest = work.remaining;
        work.remaining = 0;
        flush(work, rest);
    }
    0
}

/// One round of the walk. Returns whether there may be another.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn vigie_frame(slot: u64) -> u64 {
    let Some(work) = work(slot) else { return 0 };
    if work.remaining == 0 || work.walk.have > 8 {
        return 0;
    }
    if work.length == 0 {
        return next_buffer(work);
    }
    if work.walk.run_length == 0 {
        work.walk.run = work.base;
    }
    if work.walk.left == 0 {
        return header(work);
    }
    payload(work);
    1
}

/// Goes on to the next buffer of the call.
#[inline(always)]
fn next_buffer(work: &mut Work) -> u64 {
    if work.entry >= work.source.entries || work.source.entries >= Source::NONE {
        return 0;
    }
    if vigie_entry(work.slot, work.entry) == 0 {
        count(Counter::LostUserMemory, 1);
        return 0;
    }
    if work.walk.run_length > 0 {
        flush(work, 0);
    }
    let [base, length] = work.vector;
    work.entry += 1;
    work.base = base;
    work.length = length.min(work.remaining);
    1
}

/// Reads on in the header of a frame.
#[inline(always)]
fn header(work: &mut Work) -> u64 {
    let have = work.walk.have & 15;
    let wanted = HEADER.saturating_sub(have);
    let take = if work.length < u64::from(wanted) { work.length as u32 } else { wanted };
    if work.walk.run_length + u64::from(take) > MAX_PAYLOAD as u64 {
        flush(work, 0);
        return 1;
    }
    let take = emit::clamp::<9>(take);
    // SAFETY: at most 15 + 9 bytes are written into 32.
    let result = unsafe {
        bpf_probe_read_user(
            (&raw mut work.walk.header).cast::<u8>().add(have as usize).cast(),
            take,
            work.base as usize as *const _,
        )
    };
    if result != 0 {
        count(Counter::LostUserMemory, 1);
        return 0;
    }
    advance(work, take.into());
    work.walk.run_length += u64::from(take);
    let have = have + take;
    if have < HEADER {
        work.walk.have = have;
        return 1;
    }
    work.walk.have = 0;
    // SAFETY: there are 32 bytes.
    let bytes = unsafe { (&raw const work.walk.header).cast::<u64>().read_unaligned() };
    let Head { length, kind, .. } = head(bytes);
    work.walk.left = length;
    work.walk.copy = if kind == DATA && length > WHOLE { data(work, length) } else { length };
    1
}

/// How much of a large DATA frame is copied.
#[inline(always)]
fn data(work: &Work, length: u32) -> u32 {
    // `0` or `1`, then the message's length.
    let prefix = if work.length >= 8 { read_user::<u64>(work.base).unwrap_or(u64::MAX) } else { 2 };
    let message = ((prefix >> 8) as u32).swap_bytes();
    if prefix as u8 <= 1 && message < length - 5 { length } else { DATA_HEAD }
}

/// Passes over the payload of a frame, as far as it is in the buffer.
#[inline(always)]
fn payload(work: &mut Work) {
    let take = work.length.min(work.walk.left.into());
    let copy = take.min(work.walk.copy.into()).min(work.budget);
    if copy == 0 && work.walk.silent == 0 {
        work.walk.left -= take as u32;
        work.walk.copy = 0;
        advance(work, take);
        flush(work, take);
        return;
    }
    let room = (MAX_PAYLOAD as u64).saturating_sub(work.walk.run_length);
    let copy = if work.walk.silent != 0 { take } else { copy.min(room) };
    if copy == 0 {
        flush(work, 0);
        return;
    }
    work.walk.left -= copy as u32;
    work.walk.copy = work.walk.copy.saturating_sub(copy as u32);
    if work.walk.silent == 0 {
        work.budget -= copy;
    }
    work.walk.run_length += copy;
    advance(work, copy);
}

#[inline(always)]
fn advance(work: &mut Work, count: u64) {
    work.base = work.base.wrapping_add(count);
    work.length = work.length.saturating_sub(count);
    work.remaining = work.remaining.saturating_sub(count);
}

/// Puts the bytes since the last record into one, which stands for `skipped` more behind them.
#[inline(never)]
fn flush(work: &mut Work, skipped: u64) {
    let length = work.walk.run_length;
    work.walk.run_length = 0;
    if work.walk.silent != 0 {
        return;
    }
    let all = (length + skipped).min(u64::from(u32::MAX));
    work.header.length = all as u32;
    work.header.head = length as u32;
    work.header.tail = 0;
    if work.remaining == 0 {
        work.header.flags |= data_flags::LAST_SLICE;
    }
    if emit::vigie_emit(work.slot, work.walk.run, length) == 0 {
        work.failed += 1;
        work.header.lost += 1;
    }
    work.header.flags &= !data_flags::UNREADABLE;
    work.header.position = work.header.position.wrapping_add(all);
}

/// The rest of a call cannot be looked at.
#[inline(always)]
fn unread(work: &mut Work) {
    if work.source.entries == Source::NONE {
        count(Counter::BytesUnread, work.remaining);
    } else {
        count(Counter::LostIovecBound, 1);
    }
    if work.walk.have == 0 && u64::from(work.walk.left) >= work.remaining {
        work.walk.left -= work.remaining as u32;
        work.walk.copy = 0;
    } else {
        work.walk.have = LOST;
    }
}
