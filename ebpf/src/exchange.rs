//! The kernel's view of exchanges: where one begins and ends, and counting those that lost records.
//!
//! While nothing is lost this costs a few stores per request: the first bytes of its head and of its
//! response's are taken from the records they were copied into. Only when a record finds no room are
//! they read again, and only then is anything counted. What the numbers mean is in
//! [`vigie_common::exchange`].

use vigie_common::{
    counter::Counter,
    exchange::{Exchange, Undelivered, class_of, exchange_flags, is_final, method_code, status_of},
};

use crate::{
    classify::{REQUEST, vigie_classify},
    connection::{Connection, known},
    first::{vigie_first_bytes, vigie_seen},
    maps::{NOTHING, SETTLED, UNDELIVERED, count},
    word::{add as atomic_add, zero},
    work::{Caller, Work, work as state},
};

/// A duration that is not known.
const NO_DURATION: u64 = u64::MAX;

/// In place of a connection's number, which is never 0.
const NO_CONNECTION: u64 = 0;

/// Before a request's bytes are copied: whether the next exchange begins with them. `last_ns` is
/// when bytes went by before.
#[inline(always)]
pub(crate) fn before_request(
    connection: &mut Connection,
    work: &mut Work,
    begins_turn: bool,
    last_ns: u64,
) {
    let exchange = &connection.exchange;
    let flags = exchange.flags;
    let is_next = exchange.number == 0
        || begins_turn
            && (flags & exchange_flags::RESPONSE != 0
                // An interim response, or none that could be read: the bytes must tell.
                || flags & exchange_flags::RESPONDED != 0 && begins_request(work));
    if is_next {
        next(connection, work, last_ns);
    }
}

#[inline(never)]
fn begins_request(work: &mut Work) -> bool {
    vigie_first_bytes(work.slot);
    vigie_classify(work.first, u64::from(work.first_length)) == REQUEST
}

/// Ends the current exchange and begins the next one.
#[inline(always)]
fn next(connection: &mut Connection, work: &Work, last_ns: u64) {
    let exchange = &mut connection.exchange;
    if exchange.flags & exchange_flags::LOST != 0 {
        exchange.lost_before += 1;
        if exchange.flags & exchange_flags::RESPONDED != 0 {
            vigie_answered(work.slot, last_ns);
        }
    }
    exchange.number += 1;
    exchange.flags = zero() as u8;
    exchange.status = zero() as u16;
    exchange.request = 0;
    exchange.request_length = zero() as u8;
    exchange.response_length = zero() as u8;
    exchange.start_ns =
        if work.caller.enter_ns != 0 { work.caller.enter_ns } else { work.caller.exit_ns };
}

/// After the bytes of a call were copied, or were not: takes note of what they begin with, and of
/// what was lost.
#[inline(always)]
pub(crate) fn after(connection: &mut Connection, work: &mut Work, is_request: bool, last_ns: u64) {
    let lost = work.failed > 0;
    connection.heard |= u8::from(work.seen_length != 0);
    let mut work = work;
    if lost && work.seen_length == 0 {
        let slot = work.slot;
        vigie_seen(slot);
        // Looked up again, as the compiler takes what it has for unchanged.
        let Some(again) = state(slot) else { return };
        work = again;
    }
    let flags = connection.exchange.flags;
    if is_request {
        let exchange = &mut connection.exchange;
        if exchange.request_length < 8 && flags & exchange_flags::RESPONDED == 0 {
            take_request(exchange, work.seen[0], work.seen_length);
        }
    } else {
        if flags & exchange_flags::RESPONSE != 0
            && (work.another_response != 0 || lost && begins_final(work.seen, work.seen_length))
        {
            let start_ns = connection.exchange.start_ns;
            next(connection, work, last_ns);
            connection.exchange.start_ns = start_ns;
        }
        let exchange = &mut connection.exchange;
        if exchange.flags & exchange_flags::RESPONSE == 0 {
            take_response(exchange, work.seen, work.seen_length);
        }
    }
    if lost {
        let exchange = &mut connection.exchange;
        exchange.flags |= exchange_flags::LOST;
        exchange.tgid = work.caller.tgid;
        exchange.process_start_ns = work.caller.start_ns;
        exchange.class = connection.class;
    }
}

/// Whether the first bytes of a call are the head of a final response.
#[inline(always)]
pub(crate) fn begins_final(seen: [u64; 2], length: u32) -> bool {
    length >= 12 && is_final(status_of(seen))
}

/// Bytes of a request's head that came before those of this call.
#[inline(always)]
fn take_request(exchange: &mut Exchange, bytes: u64, length: u32) {
    if length == 0 {
        return;
    }
    let have = exchange.request_length & 7;
    exchange.request |= low(bytes, length) << (have * 8);
    exchange.request_length = (u32::from(have) + length.min(8)).min(8) as u8;
}

/// Adds to the first bytes of the response until its status is known. An interim response is
/// passed over.
#[inline(always)]
fn take_response(exchange: &mut Exchange, bytes: [u64; 2], length: u32) {
    exchange.flags |= exchange_flags::RESPONDED;
    if length == 0 || exchange.response_length >= 12 {
        return;
    }
    let have = exchange.response_length & 15;
    let (first, second) = (low(bytes[0], length), low(bytes[1], length.saturating_sub(8)));
    if have == 0 {
        exchange.response = [first, second];
    } else if have < 8 {
        let shift = u32::from(have) * 8;
        exchange.response[0] |= first << shift;
        exchange.response[1] = first >> (64 - shift) | second << shift;
    } else {
        exchange.response[1] |= first << (u32::from(have & 7) * 8);
    }
    let length = (u32::from(have) + length.min(16)).min(16) as u8;
    exchange.response_length = length;
    if length < 12 {
        return;
    }
    let status = status_of(exchange.response);
    if is_final(status) {
        exchange.status = status;
        exchange.flags |= exchange_flags::RESPONSE;
    } else if status != 0 {
        exchange.response_length = 0;
    }
}

/// The first `length` of up to eight bytes.
#[inline(always)]
fn low(bytes: u64, length: u32) -> u64 {
    if length >= 8 { bytes } else { bytes & ((1u64 << (length * 8)) - 1) }
}

/// The connection is over: its last exchange is counted, too, with its response or without.
#[inline(always)]
pub(crate) fn ended(connection: &Connection) {
    let exchange = &connection.exchange;
    if exchange.flags & exchange_flags::LOST == 0 {
        return;
    }
    if exchange.flags & exchange_flags::RESPONDED != 0 {
        add(exchange, connection.id, connection.last_ns);
    } else if vigie_classify(exchange.request, u64::from(exchange.request_length)) == REQUEST {
        let [start, rest] = key(exchange);
        vigie_undelivered(start, rest, NO_DURATION, connection.id, exchange.number.into());
    }
}

/// Counts the current exchange of the connection in [`Work`], which was answered and lost a record. A
/// global function as it is rare: the verifier then follows it by itself.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn vigie_answered(slot: u64, end_ns: u64) -> u64 {
    let Some(work) = state(slot) else { return 0 };
    if let Some(connection) = known(work.sock) {
        add(&connection.exchange, connection.id, end_ns);
    }
    0
}

/// Takes what came of a message's head before its connection was known to the current exchange, in
/// [`Work`]'s direction; a global function, as it is rare.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn vigie_pending(slot: u64, sent: u64, is_request: u64) -> u64 {
    let Some(work) = state(slot) else { return 0 };
    let Some(connection) = known(work.sock) else { return 0 };
    let half = if sent == 0 { &connection.received } else { &connection.sent };
    let (pending, length) = (half.pending, half.pending_length);
    if is_request != 0 {
        take_request(&mut connection.exchange, pending, length);
    } else {
        take_response(&mut connection.exchange, [pending, 0], length);
    }
    0
}

#[inline(always)]
fn add(exchange: &Exchange, connection: u64, end_ns: u64) {
    if exchange.number == 0 {
        // A response whose request went by before anything was seen.
        return;
    }
    let [start, rest] = key(exchange);
    let duration = end_ns.saturating_sub(exchange.start_ns);
    vigie_undelivered(start, rest, duration, connection, exchange.number.into());
}

/// So many requests of HTTP/2 were in records that found no room. What is known of them is who made or
/// answered them.
#[inline(always)]
pub(crate) fn streams_lost(caller: &Caller, class: u8, streams: u32) {
    let rest = u64::from(caller.tgid) | u64::from(class) << 48;
    vigie_undelivered(caller.start_ns, rest, NO_DURATION, NO_CONNECTION, streams.into());
}

/// What an exchange is counted under ([`Exchange::key`]), as numbers, which is what a global function
/// takes.
#[inline(always)]
fn key(exchange: &Exchange) -> [u64; 2] {
    let method = vigie_method(exchange.request, exchange.request_length.into());
    let rest = u64::from(exchange.tgid)
        | u64::from(exchange.status) << 32
        | u64::from(exchange.class) << 48
        | method << 56;
    [exchange.process_start_ns, rest]
}

/// [`method_code`], for the verifier to follow its many comparisons once, not once for each way to it.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn vigie_method(bytes: u64, length: u64) -> u64 {
    method_code(bytes, length as u8).into()
}

/// Counts an exchange that lost a record, unless user space has done so. With [`NO_CONNECTION`], counts
/// `number` of them.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn vigie_undelivered(
    start: u64,
    rest: u64,
    duration_ns: u64,
    connection: u64,
    number: u64,
) -> u64 {
    let mut exchanges = 1;
    if connection == NO_CONNECTION {
        exchanges = number;
    } else if let Some(settled) = SETTLED.get_ptr(connection) {
        // SAFETY: map values stay valid while the program runs.
        if u64::from(unsafe { *settled }) == number {
            return 0;
        }
    }
    // Laid out as `UndeliveredKey` on a little-endian machine.
    let key = [start, rest];
    let mut value = UNDELIVERED.get_ptr_mut(key);
    if value.is_none() {
        if let Some(nothing) = NOTHING.get(0) {
            // Fails when another CPU was first, or when the table is full.
            let _ = UNDELIVERED.insert(key, nothing, BPF_NOEXIST);
        }
        value = UNDELIVERED.get_ptr_mut(key);
    }
    let Some(value) = value else {
        count(Counter::LostUndeliveredFull, 1);
        return 0;
    };
    increment(value, exchanges, duration_ns);
    0
}

const BPF_NOEXIST: u64 = 1;

#[inline(always)]
fn increment(value: *mut Undelivered, exchanges: u64, duration_ns: u64) {
    // SAFETY: map values stay valid while the program runs, and other CPUs change these fields
    // atomically only; but for the largest duration, see its description.
    unsafe {
        if duration_ns == NO_DURATION {
            atomic_add(&raw mut (*value).untimed, exchanges);
            return;
        }
        atomic_add(&raw mut (*value).sum_ns, duration_ns);
        if duration_ns > (*value).max_ns {
            (*value).max_ns = duration_ns;
        }
        // Last, as it counts.
        let class = class_of(duration_ns);
        if let Some(class) = (*value).classes.get_mut(class) {
            atomic_add(class, 1);
        }
    }
}
