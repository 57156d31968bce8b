//! One system call's bytes on a connection: classified, then copied as far as the turn's budget
//! goes.
//!
//! A *turn* is a stretch in one direction: it ends when the other direction has the word. Each turn
//! has a budget of payload bytes, large enough for any usual message head and for pipelined
//! messages; what lies past it is body, of which only the length and each segment's last bytes
//! (where the end of a chunked body shows) are kept.

use aya_ebpf::helpers::generated::bpf_get_current_comm;
use vigie_common::{
    counter::Counter,
    exchange::exchange_flags,
    policy::{hint_slot, needs},
    record::{Class, Direction, Kind, MAX_PAYLOAD, TAIL_BYTES, data_flags},
};

use crate::{
    candidate::{self, vigie_candidate},
    classify::{
        ENCRYPTED, FRAME, PREFACE, PREFACE_START, REQUEST, RESPONSE, UNDECIDED, vigie_classify,
    },
    connection::{self, Connection},
    datagram, emit, entered, exchange,
    first::{begins_message, vigie_first_bytes},
    http2,
    maps::{HINTS, count, need, tuning},
    params::setting,
    probes,
    word::zero,
    work::{Source, Work, next_buffer, vigie_pieces, vigie_single, work},
};

/// Rounds of the copy loop: iovec entries and slices together.
const MAX_ROUNDS: u32 = 48;

/// Bytes that are copied of a turn of a protocol that user space tells: a thousand pipelined queries, or
/// the first rows of a large result.
const CANDIDATE_BYTES: u32 = 256 << 10;

/// Bytes of one call of such a turn: what the copy loop can do, with rounds to spare for buffers.
const CANDIDATE_CALL_BYTES: u32 = 32 * MAX_PAYLOAD as u32;

/// What sockets a hook is of. A program has only the parts that its sockets need, since the kernel checks
/// all of each program when it is loaded.
#[derive(Clone, Copy)]
pub(crate) enum Sockets {
    /// Streams and datagrams.
    Any,
    /// TCP, or unix stream sockets.
    Streams,
    /// UDP.
    Datagrams,
}

/// Handles `total` bytes that the caller in [`Work`] moved over its socket.
#[inline(always)]
pub(crate) fn moved(work: &Work, direction: Direction, sockets: Sockets) {
    // From here and not from there: the stack of all callers together has 512 bytes.
    let (slot, sent) = (work.slot, direction as u64);
    if matches!(sockets, Sockets::Datagrams) {
        datagram::vigie_datagram(slot, sent);
        return;
    }
    match vigie_moved(slot, sent) {
        0 => {}
        DATAGRAM => {
            if matches!(sockets, Sockets::Any) {
                datagram::vigie_datagram(slot, sent);
            }
        }
        _ => {
            http2::vigie_http2(slot, sent);
        }
    }
}

/// What [`vigie_moved`] returns for a UDP socket.
pub(crate) const DATAGRAM: u64 = 2;

/// As [`moved`], but for connections that speak HTTP/2, for which it returns 1, and for UDP sockets, for
/// which it returns [`DATAGRAM`].
///
/// Like the other functions here whose names begin with `vigie_`, a global function in the
/// verifier's sense: it is checked once by itself, for any arguments, and not along each way that
/// leads to it. Such functions take numbers only, so what they work on comes from [`Work`]; there a
/// pointer becomes a number, too.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn vigie_moved(slot: u64, sent: u64) -> u64 {
    let Some(work) = work(slot) else { return 0 };
    let total = work.total;
    work.datagram = 0;
    work.sent.set(sent);
    let Some(connection) = connection::of(work, work.direction()) else { return work.datagram };
    if !connection.is_interesting() {
        return 0;
    }
    if matches!(work.direction(), Direction::Received) && !connection::catch_up(connection, work) {
        return 0;
    }
    if work.source.entries == 1 {
        vigie_single(slot);
    }
    let mark = work.direction() as u8 + 1;
    work.turn.set((connection.last_direction != mark).into());
    let is_first = connection.last_direction == 0;
    connection.last_direction = mark;
    work.last_ns.set(if is_first { 0 } else { connection.last_ns });
    connection.last_ns = work.caller.exit_ns;
    work.walk.began = zero();
    if connection.class == Class::Unknown as u8 {
        work.walk.began = vigie_undecided(slot, sent, work.turn.get());
        if work.walk.began == 0 {
            connection.half(work.direction()).position += total;
            return 0;
        }
    }
    match work.direction() {
        Direction::Received => count(Counter::BytesReceived, total),
        Direction::Sent => {
            count(Counter::BytesSent, total);
            if connection.is_tcp_client() && work.caller.enter_ns == 0 {
                entered::vigie_left(slot, work.last_ns.get());
            }
        }
    }
    if connection.announced == 0 && tuning().shed == 0 && vigie_announce(slot) != 0 {
        connection.announced = 1;
        connection.heard = 1;
    }
    work.failed = u64::from(connection.announced == 0);
    if connection.is_http2() {
        return 1;
    }
    if connection.class == Class::Candidate as u8 {
        return vigie_captured(slot, sent, work.turn.get());
    }
    let tuning = tuning();
    let asks = connection.class == Class::Http1Server as u8;
    work.request.set((asks == matches!(work.direction(), Direction::Received)).into());
    let full = if work.is_request() {
        at_most(setting!(request_bytes), tuning.request_bytes)
    } else {
        at_most(setting!(response_bytes), tuning.response_bytes)
    };
    let hint = hint(connection.id, work.direction());
    let pending_length = connection.half(work.direction()).pending_length;
    if work.is_request() {
        let begins_turn = work.is_turn() || pending_length > 0;
        let last_ns = work.last_ns.get();
        exchange::before_request(connection, work, begins_turn, last_ns);
    }
    let (direction, turn) = (work.direction(), work.is_turn());
    prepare(work, connection, direction, turn);
    work.seen_length = 0;
    work.another_response = 0;
    let responded = connection.exchange.flags & exchange_flags::RESPONSE != 0;
    work.responded = u32::from(!work.is_request() && responded);
    if pending_length > 0 {
        exchange::vigie_pending(slot, work.sent.get(), work.request.get());
    }
    let half = connection.half(work.direction());
    // With bytes pending, the turn's first call was too short to tell what the connection is.
    if work.is_turn()
        || half.pending_length > 0
        || half.budget < full / 2 && half.position >= hint && begins_message(work)
    {
        half.budget = full;
    }
    let position = half.position;
    half.position = position.wrapping_add(total);
    work.header.position = position;
    // What user space knows to be body is not copied.
    work.budget = if position.wrapping_add(total) <= hint { 0 } else { u64::from(half.budget) };
    capture(slot, half, work.direction(), tuning.shed != 0);
    connection.lost += work.failed as u32;
    let (is_request, last_ns) = (work.is_request(), work.last_ns.get());
    exchange::after(connection, work, is_request, last_ns);
    if work.is_request() && work.seen_length >= 8 && work.seen[0] == PREFACE_START {
        http2::upgraded(connection);
    }
    0
}

/// Copies the bytes of a call as far as the budget in [`Work`] goes, those before that were held back
/// first. It is not handed [`Work`] as a reference: the compiler would take the budget for unchanged.
#[inline(always)]
fn capture(slot: u64, half: &mut connection::Half, direction: Direction, shed: bool) {
    let Some(work) = work(slot) else { return };
    if shed {
        half.pending_length = 0;
        count(Counter::LostShed, 1);
        work.failed += 1;
        return;
    }
    if half.pending_length > 0 {
        vigie_carry(slot, direction as u64);
    }
    let before = work.budget;
    vigie_copy(slot);
    half.budget = half.budget.saturating_sub(before.wrapping_sub(work.budget) as u32);
}

/// Handles a call on a connection whose protocol user space tells, a global function like
/// [`vigie_moved`]: of each turn the first bytes are copied, whichever way they go, and of each call past
/// them the last ones.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn vigie_captured(slot: u64, sent: u64, turn: u64) -> u64 {
    let Some(work) = work(slot) else { return 0 };
    let Some(connection) = connection::known(work.sock) else { return 0 };
    let direction = if sent == 0 { Direction::Received } else { Direction::Sent };
    let turn = turn != 0;
    let shed = tuning().shed != 0;
    let hint = hint(connection.id, direction);
    if hint == u64::MAX {
        connection.class = Class::Uninteresting as u8;
        count(Counter::ConnectionsUninteresting, 1);
        return 0;
    }
    prepare(work, connection, direction, turn);
    work.seen_length = 0;
    work.another_response = 0;
    work.responded = 0;
    let total = work.total;
    let half = connection.half(direction);
    if turn || half.pending_length > 0 {
        half.budget = CANDIDATE_BYTES;
    }
    let position = half.position;
    half.position = position.wrapping_add(total);
    work.header.position = position;
    let budget = u64::from(half.budget.min(CANDIDATE_CALL_BYTES));
    work.budget = if position.wrapping_add(total) <= hint { 0 } else { budget };
    capture(slot, half, direction, shed);
    if work.failed > 0 {
        count(Counter::LostDatabase, 1);
        connection.lost += work.failed as u32;
    }
    0
}

/// Fills in the header that all records of this call share.
#[inline(always)]
pub(crate) fn prepare(work: &mut Work, connection: &Connection, direction: Direction, turn: bool) {
    let header = &mut work.header;
    header.kind = Kind::Data as u32;
    header.direction = direction as u8;
    header.class = connection.class;
    header.flags = if turn { data_flags::TURN } else { 0 };
    if connection.exchange.flags & exchange_flags::LOST != 0 {
        header.flags |= data_flags::EXCHANGE_LOST;
    }
    header.exchange = connection.exchange.number;
    header.lost_before = connection.exchange.lost_before;
    header.error = 0;
    header.connection = connection.id;
    header.enter_ns = work.caller.enter_ns;
    header.exit_ns = work.caller.exit_ns;
    header.length = 0;
    header.head = 0;
    header.tail = 0;
    header.lost = connection.lost;
    header.tgid = work.caller.tgid;
    header.tid = work.caller.tid;
    header.process_start_ns = work.caller.start_ns;
    header.goroutine = 0;
}

/// Copies a call whose bytes fit into one record and are in one buffer, or cannot be read: most calls
/// are such. Returns whether this is one.
#[inline(always)]
fn whole(work: &mut Work) -> bool {
    let total = work.total;
    let copied = match work.source.entries {
        Source::BUFFER if total <= work.budget && total <= MAX_PAYLOAD as u64 => total,
        Source::NONE => 0,
        _ => return false,
    };
    work.header.length = total.min(u64::from(u32::MAX)) as u32;
    work.header.head = copied as u32;
    work.header.flags |= data_flags::LAST_SLICE;
    if copied == 0 {
        count(Counter::BytesUnread, total);
    }
    work.budget -= copied;
    if emit::vigie_emit(work.slot, work.source.address, copied) == 0 {
        work.failed += 1;
    }
    true
}

/// Copies the bytes of one call as [`Work`] describes it.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn vigie_copy(slot: u64) -> u64 {
    let Some(work) = work(slot) else { return 0 };
    if whole(work) {
        return 0;
    }
    let entries = work.source.entries;
    work.remaining = work.total;
    work.entry = 0;
    work.base = work.source.address;
    work.length = if entries == Source::BUFFER { work.total } else { 0 };
    if entries > 1
        && entries <= emit::GATHERED_ENTRIES
        && work.total <= emit::GATHERED as u64
        && work.total <= work.budget
    {
        gathered(work);
        return 0;
    }
    work.skipped = zero();
    work.skipped_end = zero();
    work.skipped_last = zero();
    let mut round = 0;
    while round < MAX_ROUNDS && vigie_round(slot) != 0 {
        round += 1;
    }
    rest(work);
    0
}

/// One round of the copy loop: the next iovec entry, or the next slice of the current one. Returns
/// whether there may be another. A function of its own so that the verifier looks at it once, not
/// once for each round.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn vigie_round(slot: u64) -> u64 {
    let Some(work) = work(slot) else { return 0 };
    if work.remaining == 0 {
        return 0;
    }
    if work.length == 0 {
        return next_buffer(work).into();
    } else if work.budget == 0 {
        work.skipped += work.length;
        work.skipped_end = work.base.wrapping_add(work.length);
        work.skipped_last = work.length;
        work.remaining -= work.length;
        work.length = 0;
    } else {
        slice(work);
    }
    1
}

/// Copies a small call with several buffers into one record.
#[inline(always)]
fn gathered(work: &mut Work) {
    work.header.length = work.total as u32;
    work.header.head = 0;
    work.header.tail = 0;
    work.header.flags |= data_flags::LAST_SLICE;
    vigie_pieces(work.slot);
    if emit::vigie_gather(work.slot, work.total) == 0 {
        work.failed += 1;
    }
    work.budget -= work.total;
}

/// Copies the next bytes of the current buffer into a record.
#[inline(always)]
fn slice(work: &mut Work) {
    let take = work.length.min(work.budget).min(MAX_PAYLOAD as u64);
    work.header.length = take as u32;
    work.header.head = take as u32;
    work.header.tail = 0;
    if take == work.remaining {
        work.header.flags |= data_flags::LAST_SLICE;
    }
    if emit::vigie_emit(work.slot, work.base, take) == 0 {
        work.failed += 1;
        work.header.lost += 1;
    }
    work.header.flags &= !(data_flags::TURN | data_flags::UNREADABLE);
    work.header.position += take;
    work.base = work.base.wrapping_add(take);
    work.length -= take;
    work.remaining -= take;
    work.budget -= take;
}

/// Reports what was passed over, with its last bytes.
#[inline(always)]
fn rest(work: &mut Work) {
    if work.remaining > 0 {
        if work.source.entries == Source::NONE {
            count(Counter::BytesUnread, work.remaining);
        } else if work.budget > 0 {
            count(Counter::LostIovecBound, 1);
        }
        work.skipped += work.remaining;
        work.skipped_last = 0;
    }
    if work.skipped > 0 {
        let tail = work.skipped_last.min(TAIL_BYTES as u64);
        work.header.length = work.skipped.min(u64::from(u32::MAX)) as u32;
        work.header.head = 0;
        work.header.tail = tail as u32;
        work.header.flags |= data_flags::LAST_SLICE;
        if emit::vigie_emit(work.slot, work.skipped_end.wrapping_sub(tail), tail) == 0 {
            work.failed += 1;
        }
    }
}

/// [`carry`] for the connection in [`Work`]; a global function like [`vigie_moved`], as it is rare.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn vigie_carry(slot: u64, sent: u64) -> u64 {
    let Some(work) = work(slot) else { return 0 };
    let Some(connection) = connection::known(work.sock) else { return 0 };
    let direction = if sent == 0 { Direction::Received } else { Direction::Sent };
    carry(work, connection.half(direction));
    0
}

/// The first bytes of a turn that came in too small pieces to be classified at once go out in a
/// record of their own, now that the connection is known.
#[inline(always)]
pub(crate) fn carry(work: &mut Work, half: &mut connection::Half) {
    let length = half.pending_length.min(8);
    half.pending_length = 0;
    let header = &mut work.header;
    let (position, flags) = (header.position, header.flags);
    header.position = position.wrapping_sub(u64::from(length));
    header.exit_ns = half.pending_ns;
    header.enter_ns = 0;
    header.length = length;
    header.head = length;
    header.flags |= data_flags::LAST_SLICE | data_flags::TURN;
    if !emit::small(header, half.pending) {
        work.failed += 1;
    }
    header.position = position;
    header.exit_ns = work.caller.exit_ns;
    header.enter_ns = work.caller.enter_ns;
    header.flags = flags & !data_flags::TURN;
}

/// Looks at the first bytes of a turn on the connection in [`Work`], which is not classified; a global
/// function like [`vigie_moved`]. Returns what they are where that makes it known, else 0.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn vigie_undecided(slot: u64, sent: u64, turn: u64) -> u64 {
    let Some(work) = work(slot) else { return 0 };
    let Some(connection) = connection::known(work.sock) else { return 0 };
    let direction = if sent == 0 { Direction::Received } else { Direction::Sent };
    undecided(connection, work, direction, turn != 0)
}

#[inline(always)]
fn undecided(connection: &mut Connection, work: &Work, direction: Direction, turn: bool) -> u64 {
    let total = work.total;
    if turn {
        connection.undecided += 1;
        if connection.undecided > setting!(undecided_turns) {
            connection.class = Class::Uninteresting as u8;
            count(Counter::ConnectionsUninteresting, 1);
            return 0;
        }
    }
    let received = matches!(direction, Direction::Received);
    let half = connection.half(direction);
    if turn {
        half.pending_length = 0;
        half.pending = 0;
    } else if half.pending_length == 0 {
        // In the middle of a turn that began with something else.
        return 0;
    }
    vigie_first_bytes(work.slot);
    let (bytes, length) = (work.first, work.first_length);
    let had = half.pending_length.min(8);
    let bytes = if had >= 8 { half.pending } else { half.pending | bytes << (had * 8) };
    let length = (had + length).min(8);
    let found = vigie_classify(bytes, u64::from(length));
    let class = match found {
        UNDECIDED => {
            // More than could be looked at at once came by, and it still says nothing.
            if u64::from(length - had) < total || length == 0 {
                half.pending_length = 0;
                return 0;
            }
            hold(half, work, bytes, length, had);
            return 0;
        }
        REQUEST if received => Class::Http1Server,
        REQUEST => Class::Http1Client,
        RESPONSE if received => Class::Http1Client,
        RESPONSE => Class::Http1Server,
        PREFACE if received => Class::Http2Server,
        PREFACE => Class::Http2Client,
        FRAME if http2::fits(work, bytes, had) => http2::guess(connection, work, bytes, direction),
        ENCRYPTED => {
            connection.class = Class::Encrypted as u8;
            count(Counter::ConnectionsEncrypted, 1);
            return 0;
        }
        _ => match vigie_candidate(bytes, u64::from(length), total + u64::from(had)) {
            candidate::YES => Class::Candidate,
            candidate::MORE => {
                hold(half, work, bytes, length, had);
                return 0;
            }
            _ => {
                half.pending_length = 0;
                return 0;
            }
        },
    };
    connection.class = class as u8;
    found
}

/// Holds the first bytes of a turn back until they are enough to be classified.
#[inline(always)]
fn hold(half: &mut connection::Half, work: &Work, bytes: u64, length: u32, had: u32) {
    if had == 0 {
        half.pending_ns = work.caller.exit_ns;
    }
    half.pending = bytes;
    half.pending_length = length;
}

/// Position below which bytes need not be copied; `u64::MAX` when none need be any more.
#[inline(always)]
pub(crate) fn hint(id: u64, direction: Direction) -> u64 {
    let Some(slot) = HINTS.get(hint_slot(id)) else { return 0 };
    if slot.connection != id {
        return 0;
    }
    let position = match direction {
        _ if slot.ignore != 0 => u64::MAX,
        Direction::Received => slot.skip_received,
        Direction::Sent => slot.skip_sent,
    };
    // User space may have given the slot to another connection in the meantime.
    // SAFETY: a reference is valid; volatile, as it is read a second time.
    if unsafe { core::ptr::read_volatile(&raw const slot.connection) } != id {
        return 0;
    }
    position
}

/// The smaller of a setting and a limit, where 0 is no limit.
#[inline(always)]
fn at_most(setting: u32, limit: u32) -> u32 {
    if limit == 0 { setting } else { setting.min(limit) }
}

/// Tells user space of the connection in [`Work`], a global function like [`vigie_moved`]. Returns 1 when
/// there was room; else it is tried again with the next segment.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn vigie_announce(slot: u64) -> u64 {
    let Some(work) = work(slot) else { return 0 };
    let Some(connection) = connection::known(work.sock) else { return 0 };
    if !probes::open::emit(connection, &work.caller, work.sock) {
        return 0;
    }
    if connection.family == connection::AF_UNIX {
        need(needs::UNIX_CLOSE);
    }
    1
}

/// Handles the end of the stream (`error` 0) or a failed call on a connection.
#[inline(always)]
pub(crate) fn ended(work: &mut Work, sock: u64, direction: Direction, error: u8) {
    let Some(connection) = connection::known(sock) else { return };
    if connection.announced == 0 {
        return;
    }
    if tuning().shed != 0 {
        count(Counter::LostShed, 1);
        connection.lost += 1;
        return;
    }
    prepare(work, connection, direction, false);
    work.header.flags |= data_flags::LAST_SLICE
        | if error == 0 { data_flags::END_OF_STREAM } else { data_flags::ERROR };
    work.header.error = error;
    work.header.position = connection.half(direction).position;
    if emit::vigie_emit(work.slot, 0, 0) == 0 {
        connection.lost += 1;
    }
}

/// Name of the current thread.
#[inline(always)]
pub(crate) fn comm(into: *mut [u8; 16]) {
    // SAFETY: the helper writes 16 bytes.
    unsafe { bpf_get_current_comm(into.cast(), 16) };
}
