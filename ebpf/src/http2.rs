//! Connections that speak HTTP/2 (RFC 9113): where their frames begin, and which end this is.
//!
//! Where the frames of a direction begin is kept from call to call, in the fields of
//! [`Half`](crate::connection::Half) that HTTP/1 uses for its turns:
//! - `budget`: bytes of the current frame that are still to come
//! - `pending_ns`: how many of those are to be copied; above 32 bits whether that is still to be
//!   decided
//! - `pending`, `pending_length`: the bytes of a frame's header that came so far; [`LOST`] where it is
//!   not known where a frame begins. Then calls are copied from their beginning, until one begins
//!   like a frame.
//!
//! Where the messages of gRPC begin is kept for the stream whose DATA came last, in the first bytes of
//! the exchange, which are HTTP/1's too. What is done with the frames of a call is in
//! [`frames`](crate::frames).

use vigie_common::{
    counter::Counter,
    record::{Class, Direction},
};

use crate::{
    classify::{DATA, FRAME, HEADERS, Head, PREFACE, head, vigie_classify},
    connection::{self, Connection, Half},
    exchange,
    first::vigie_first_bytes,
    frames::{HEADER, LOST, vigie_frames},
    kernel::{read, read_user},
    maps::{count, tuning},
    params::{offset, setting},
    segment::{carry, hint, prepare},
    work::{Source, Work, work},
};

/// Bytes of the preface of a client.
const PREFACE_BYTES: u32 = 24;

/// Bytes copied of a call at most while it is not known where frames begin.
const BLIND_BYTES: u64 = 16 << 10;

/// Handles the call in [`Work`] on a connection that speaks HTTP/2.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn vigie_http2(slot: u64, sent: u64) -> u64 {
    let Some(work) = work(slot) else { return 0 };
    let Some(connection) = connection::known(work.sock) else { return 0 };
    let direction = if sent == 0 { Direction::Received } else { Direction::Sent };
    let fresh = work.walk.began;
    let ignored = hint(connection.id, direction) == u64::MAX;
    prepare(work, connection, direction, false);
    let (half, messages) = match direction {
        Direction::Received => (&mut connection.received, &mut connection.exchange.request),
        Direction::Sent => (&mut connection.sent, &mut connection.exchange.response[0]),
    };
    let position = half.position;
    half.position = position.wrapping_add(work.total);
    if ignored {
        half.pending_length = LOST;
        return 0;
    }
    work.header.position = position;
    work.header.lost_before = 0;
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
        blind(work);
    } else {
        work.walk.left = half.budget;
        work.walk.copy = half.pending_ns as u32;
        work.walk.fresh = (half.pending_ns >> 32) as u32;
        work.walk.have = half.pending_length;
        // SAFETY: both are plain bytes, and there are 32 of them.
        unsafe { (&raw mut work.walk.header).cast::<u64>().write_unaligned(half.pending) };
        work.walk.message_stream = (*messages >> 32) as u32;
        work.walk.message_left = *messages as u32;
        work.walk.asks =
            u32::from((connection.class == Class::Http2Server as u8) == (direction as u8 == 0));
        work.walk.highest = connection.exchange.stream;
        vigie_frames(work.slot);
        *messages = u64::from(work.walk.message_stream) << 32 | u64::from(work.walk.message_left);
        half.budget = work.walk.left;
        half.pending_ns = u64::from(work.walk.fresh) << 32 | u64::from(work.walk.copy);
        half.pending_length = work.walk.have;
        // SAFETY: as above.
        half.pending = unsafe { (&raw const work.walk.header).cast::<u64>().read_unaligned() };
        connection.exchange.stream = work.walk.highest;
        connection.exchange.number += u32::from(work.walk.have == LOST);
        connection.heard |= work.walk.heard as u8;
        if work.walk.lost > 0 {
            exchange::streams_lost(&work.caller, connection.class, work.walk.lost);
        }
    }
    connection.lost += work.failed as u32;
    0
}

/// Copies the beginning of a call while it is not known where frames begin in it. What a lost record of
/// it costs cannot be told.
#[inline(always)]
fn blind(work: &mut Work) {
    let before = work.failed;
    if tuning().shed != 0 {
        count(Counter::LostShed, 1);
        work.failed += 1;
    } else {
        work.budget = work.budget.min(BLIND_BYTES);
        crate::segment::vigie_copy(work.slot);
    }
    count(Counter::LostHttp2, u64::from(work.failed > before));
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
    connection.exchange.stream = 1;
}

/// Where the first frame begins in the direction that made it known, whose first bytes may have come
/// before.
#[inline(always)]
fn begin(half: &mut Half, work: &mut Work, fresh: u64) {
    let had = half.pending_length.min(8);
    if had > 0 && tuning().shed == 0 {
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
    let Head { length, kind, flags } = head(work.first);
    let is_data = kind == DATA && flags & !9 == 0 && length > 0;
    if work.first_length == 8
        && (is_data || vigie_classify(work.first, 8) == FRAME)
        && fits(work, work.first, 0)
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

/// Which end this is of a connection on which `bytes` begin a frame: at its beginning a server speaks,
/// as a client's preface comes first. In its middle it is a guess, which user space mends: a header
/// block begins with a pseudo-header mostly, and those of requests and responses have other indices
/// (RFC 7541, appendix A); else a client's port is the higher one.
#[inline(always)]
pub(crate) fn guess(
    connection: &mut Connection,
    work: &Work,
    bytes: u64,
    direction: Direction,
) -> Class {
    let received = matches!(direction, Direction::Received);
    let from_start = connection.from_start != 0;
    let other = connection.half(if received { Direction::Sent } else { Direction::Received });
    if !from_start {
        // It may be in the middle of anything.
        other.pending_length = LOST;
        connection.exchange.number = 1;
    } else if other.position == 0 {
        other.budget = PREFACE_BYTES;
        other.pending_ns = PREFACE_BYTES.into();
    }
    let first = if head(bytes).kind != HEADERS || work.source.entries != Source::BUFFER {
        0
    } else {
        // The first byte of the block, where it is not padded and has no priority.
        read_user::<u8>(work.source.address.wrapping_add(u64::from(HEADER))).unwrap_or(0)
    };
    let is_server = match first {
        0x82..=0x87 => received,
        0x88..=0x8e => !received,
        _ if from_start => !received,
        _ => {
            let local = read::<u16>(work.sock, offset!(sock_num)).unwrap_or(0);
            let remote = read::<u16>(work.sock, offset!(sock_dport)).unwrap_or(0);
            local < u16::from_be(remote)
        }
    };
    if is_server { Class::Http2Server } else { Class::Http2Client }
}
