//! The walk over the frames of HTTP/2 in one call: what of them goes into which record.
//!
//! Frame headers and everything but DATA are copied. Of DATA the beginning is; small frames, and those
//! in which a message of gRPC begins behind another, are copied whole, as gRPC says before each
//! message how long it is. What is left out follows a record's payload as bytes that it stands for.
//!
//! What a lost record costs: a request whose HEADERS frame begins in a record that found no room is
//! counted by the kernel, without method, status and duration; user space counts all others. For that it
//! must find its place again at once, so each record says where in it the first frame begins, and how
//! often the kernel lost its own place, which is how far that can be trusted (see
//! [`Data`](vigie_common::record::Data)).

use aya_ebpf::helpers::generated::bpf_probe_read_user;
use vigie_common::{
    counter::Counter,
    record::{MAX_PAYLOAD, data_flags},
};

use crate::{
    classify::{DATA, HEADERS, Head, head},
    emit,
    kernel::read_user,
    maps::{count, tuning},
    word::clamp,
    work::{Source, Work, next_buffer, work},
};

/// Bytes of a frame's header.
pub(crate) const HEADER: u32 = 9;

/// DATA up to this is copied whole.
const WHOLE: u32 = 1024;

/// Bytes that are copied of larger DATA.
const DATA_HEAD: u32 = 16;

/// Messages of gRPC that are followed in a frame.
const MAX_MESSAGES: u32 = 64;

/// Rounds of the walk: each ends with a frame, with a buffer or with a record that is full. A call may
/// have 1,024 buffers; and the window that a stream begins with, 64 KiB, has room for 10,000 messages of
/// gRPC of one byte, which a client may read in one call. So many times so many, as the verifier goes
/// through each round of a loop.
const MAX_ROUNDS: [u32; 2] = [128, 128];

/// Value of `pending_length` while it is not known where a frame begins.
pub(crate) const LOST: u32 = 255;

/// Added to `pending_length` when the bytes that came of a frame's header were in a record that found no
/// room.
const CUT: u32 = 16;

/// Where the walk over a call's frames stands.
#[derive(Clone, Copy)]
#[repr(C)]
pub(crate) struct Walk {
    /// What made it known in this call that the connection speaks HTTP/2, else 0.
    pub(crate) began: u64,
    /// Bytes of the current frame that are still to come.
    pub(crate) left: u32,
    /// How many of these are to be copied.
    pub(crate) copy: u32,
    /// Whether `copy` is still to be decided: no byte of a DATA frame's payload was looked at.
    pub(crate) fresh: u32,
    /// The stream of that frame, in the order of memory.
    stream: u32,
    /// The stream whose DATA came last, and how much of its current message is still to come.
    pub(crate) message_stream: u32,
    pub(crate) message_left: u32,
    /// Where in the frame the next message begins, whether one began in it, and whether all of the
    /// frame is to be copied.
    next: u64,
    messages: u32,
    whole: u32,
    /// Bytes of the next frame's header that came so far, and how many; with [`CUT`].
    pub(crate) header: [u8; 32],
    pub(crate) have: u32,
    /// Whether requests go in this direction, and the highest stream that was opened in it.
    pub(crate) asks: u32,
    pub(crate) highest: u32,
    /// Where in the next record the first frame begins, plus 1; 0 while there is none.
    first: u32,
    /// Streams that begin in the next record; those that began in records that found no room.
    opened: u32,
    pub(crate) lost: u32,
    /// Whether a record found room.
    pub(crate) heard: u32,
    /// Buffers (in [`Work`]'s `pieces`) with the bytes that go into the next record, and whether the
    /// next byte is in another one.
    pieces: u32,
    elsewhere: u32,
    /// How many bytes there are.
    length: u64,
}

/// Walks over the frames of the call in [`Work`] and puts into records what is to be copied.
///
/// A global function in the verifier's sense, like the others here whose names begin so (see
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
    work.walk.pieces = 0;
    work.walk.elsewhere = 1;
    work.walk.length = 0;
    work.walk.first = 0;
    work.walk.opened = 0;
    work.walk.lost = 0;
    work.walk.heard = 0;
    let mut round = 0;
    while round < MAX_ROUNDS[0] && vigie_some_frames(slot) != 0 {
        round += 1;
    }
    let rest = work.remaining;
    if rest > 0 {
        unread(work, round == MAX_ROUNDS[0]);
        work.remaining = 0;
    }
    if work.walk.length > 0 || rest > 0 {
        flush(work, rest);
    }
    0
}

/// A few rounds of the walk. Returns whether there may be others.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn vigie_some_frames(slot: u64) -> u64 {
    let mut round = 0;
    while round < MAX_ROUNDS[1] {
        if vigie_frame(slot) == 0 {
            return 0;
        }
        round += 1;
    }
    1
}

/// One round of the walk. Returns whether there may be another.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn vigie_frame(slot: u64) -> u64 {
    let Some(work) = work(slot) else { return 0 };
    if work.remaining == 0 || work.walk.have == LOST {
        return 0;
    }
    if work.length == 0 {
        if !next_buffer(work) {
            return 0;
        }
        work.walk.elsewhere = 1;
    }
    if work.walk.left == 0 && work.length > 0 && header(work) == 0 {
        return 0;
    }
    if work.walk.left > 0 && work.length > 0 {
        payload(work);
    }
    1
}

/// Reads on in the header of a frame.
#[inline(always)]
fn header(work: &mut Work) -> u64 {
    let have = work.walk.have & 15;
    let wanted = HEADER.saturating_sub(have);
    let take = if work.length < u64::from(wanted) { work.length as u32 } else { wanted };
    if room(work) < u64::from(take) {
        flush(work, 0);
        return 1;
    }
    let take = clamp::<9>(take);
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
    if have == 0 && work.walk.first == 0 {
        work.walk.first = work.walk.length as u32 + 1;
    }
    keep(work, take.into());
    let cut = work.walk.have & CUT;
    let have = have + take;
    if have < HEADER {
        work.walk.have = have | cut;
        return 1;
    }
    work.walk.have = 0;
    // SAFETY: there are 32 bytes.
    let (bytes, stream) = unsafe {
        let header = &raw const work.walk.header;
        (header.cast::<u64>().read_unaligned(), header.byte_add(5).cast::<u32>().read_unaligned())
    };
    let Head { length, kind, .. } = head(bytes);
    work.walk.left = length;
    work.walk.copy = length;
    work.walk.fresh = u32::from(kind == DATA);
    work.walk.stream = stream;
    if kind == HEADERS && work.walk.asks != 0 {
        opens(work, u32::from_be(stream) & 0x7fff_ffff, cut);
    }
    1
}

/// A header block of a client: whether it opens a stream, and on which side that is counted.
#[inline(always)]
fn opens(work: &mut Work, stream: u32, cut: u32) {
    if stream <= work.walk.highest {
        return;
    }
    work.walk.highest = stream;
    if cut == 0 {
        work.walk.opened += 1;
    } else {
        // User space cannot read this frame's header.
        work.walk.lost += 1;
    }
}

/// Decides how much of the DATA frame that begins at the current place is copied, and follows the
/// messages of gRPC in it: before each stand `0` or `1` and its length.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn vigie_grpc_messages(slot: u64) -> u64 {
    let Some(work) = work(slot) else { return 0 };
    let Walk { left: length, stream, message_stream, message_left, .. } = work.walk;
    let first = if message_stream == stream { message_left } else { 0 };
    work.walk.next = first.into();
    work.walk.messages = 0;
    work.walk.whole = u32::from(first > 0 && first < length);
    let mut message = 0;
    while message < MAX_MESSAGES && vigie_grpc_message(slot) != 0 {
        message += 1;
    }
    let behind = work.walk.next.saturating_sub(length.into());
    let is_followed = work.walk.next >= u64::from(length);
    work.walk.message_stream = if is_followed { stream } else { 0 };
    work.walk.message_left = if is_followed { behind as u32 } else { 0 };
    // Where less is to be copied, header blocks are still needed whole: a part of one costs those
    // behind it.
    let is_whole = (work.walk.whole != 0 || length <= WHOLE) && tuning().request_bytes == 0;
    work.walk.copy = if is_whole { length } else { DATA_HEAD };
    0
}

/// Follows one message of gRPC in the DATA frame at the current place. Returns whether another may
/// follow in it.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn vigie_grpc_message(slot: u64) -> u64 {
    let Some(work) = work(slot) else { return 0 };
    let (length, next) = (u64::from(work.walk.left), work.walk.next);
    if next >= length {
        return 0;
    }
    work.walk.whole |= work.walk.messages;
    if next + 5 > work.length {
        return 0;
    }
    let Some((compressed, size)) = prefix(work, next) else { return 0 };
    if compressed > 1 || size == 0 && work.walk.messages == 0 {
        // Not gRPC, or the middle of a message whose beginning was not seen. Files may have long
        // stretches of zeros; large frames do not begin with messages of nothing.
        work.walk.whole = 0;
        return 0;
    }
    work.walk.next = next + 5 + u64::from(size);
    work.walk.messages = 1;
    1
}

/// What gRPC says before a message that begins `at` bytes from the current place: whether it is
/// compressed, and how long it is.
#[inline(always)]
fn prefix(work: &Work, at: u64) -> Option<(u8, u32)> {
    let address = work.base.wrapping_add(at);
    if at + 8 <= work.length {
        let bytes = read_user::<u64>(address)?;
        return Some((bytes as u8, ((bytes >> 8) as u32).swap_bytes()));
    }
    Some((read_user::<u8>(address)?, read_user::<u32>(address.wrapping_add(1))?.swap_bytes()))
}

/// Passes over the payload of a frame, as far as it is in the buffer.
#[inline(always)]
fn payload(work: &mut Work) {
    if work.walk.fresh != 0 {
        work.walk.fresh = 0;
        vigie_grpc_messages(work.slot);
    }
    let take = work.length.min(work.walk.left.into());
    let copy = take.min(work.walk.copy.into()).min(work.budget);
    if copy == 0 {
        work.walk.left -= take as u32;
        work.walk.copy = 0;
        advance(work, take);
        flush(work, take);
        return;
    }
    let copy = copy.min(room(work));
    if copy == 0 {
        flush(work, 0);
        return;
    }
    work.walk.left -= copy as u32;
    work.walk.copy -= copy as u32;
    work.budget -= copy;
    keep(work, copy);
}

/// Bytes at the current place that the next record has room for: one of a single buffer holds more.
#[inline(always)]
fn room(work: &Work) -> u64 {
    let walk = &work.walk;
    let pieces = walk.pieces + walk.elsewhere;
    if u64::from(pieces) > emit::GATHERED_ENTRIES {
        return 0;
    }
    let limit = if pieces <= 1 { MAX_PAYLOAD } else { emit::GATHERED };
    (limit as u64).saturating_sub(walk.length)
}

/// Puts the next bytes of the buffer into the next record.
#[inline(always)]
fn keep(work: &mut Work, count: u64) {
    if work.walk.elsewhere != 0 {
        work.pieces[(work.walk.pieces & 7) as usize] = [work.base, count];
        work.walk.pieces += 1;
        work.walk.elsewhere = 0;
    } else {
        work.pieces[(work.walk.pieces.wrapping_sub(1) & 7) as usize][1] += count;
    }
    work.walk.length += count;
    advance(work, count);
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
    let (length, pieces) = (work.walk.length, work.walk.pieces);
    work.walk.length = 0;
    work.walk.pieces = 0;
    work.walk.elsewhere = 1;
    let all = (length + skipped).min(u64::from(u32::MAX));
    work.header.length = all as u32;
    work.header.head = length as u32;
    work.header.tail = 0;
    work.header.lost_before = work.walk.first;
    if work.remaining == 0 {
        work.header.flags |= data_flags::LAST_SLICE;
    }
    let there_was_room = if tuning().shed != 0 {
        count(Counter::LostShed, 1);
        0
    } else if pieces > 1 {
        emit::vigie_gather(work.slot, length)
    } else {
        emit::vigie_emit(work.slot, work.pieces[0][0], length)
    };
    if there_was_room == 0 {
        work.failed += 1;
        work.header.lost += 1;
        work.walk.lost += work.walk.opened;
        work.walk.have |= if work.walk.have == 0 { 0 } else { CUT };
    } else {
        work.walk.heard = 1;
    }
    work.walk.first = 0;
    work.walk.opened = 0;
    work.header.flags &= !data_flags::UNREADABLE;
    work.header.position = work.header.position.wrapping_add(all);
}

/// The rest of a call cannot be looked at: it is not in user memory, the memory could not be read, which
/// is counted already, or there were no rounds left for it.
#[inline(always)]
fn unread(work: &mut Work, is_bound: bool) {
    if work.source.entries == Source::NONE {
        count(Counter::BytesUnread, work.remaining);
    } else if is_bound {
        count(Counter::LostIovecBound, 1);
    }
    if work.walk.have == 0 && u64::from(work.walk.left) >= work.remaining {
        work.walk.left -= work.remaining as u32;
        work.walk.copy = 0;
    } else {
        work.walk.have = LOST;
    }
}
