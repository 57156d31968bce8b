//! One system call's bytes on a connection: classified, then copied as far as the turn's budget
//! goes.
//!
//! A *turn* is a stretch in one direction: it ends when the other direction has the word. Each turn
//! has a budget of payload bytes, large enough for any usual message head and for pipelined
//! messages; what lies past it is body, of which only the length and each segment's last bytes
//! (where the end of a chunked body shows) are kept.

use aya_ebpf::helpers::generated::{bpf_get_current_comm, bpf_probe_read_user};
use vigie_common::{
    counter::Counter,
    exchange::exchange_flags,
    policy::{Tuning, hint_slot, needs},
    record::{Class, Data, Direction, Kind, MAX_PAYLOAD, TAIL_BYTES, data_flags},
};

use crate::{
    classify::{ENCRYPTED, REQUEST, RESPONSE, UNDECIDED, vigie_classify},
    connection::{self, Connection},
    emit, exchange,
    kernel::{read, read_user},
    maps::{HINTS, TUNING, WORK, count, need},
    params::setting,
    probes,
};

/// Most iovec entries that the kernel takes (UIO_MAXIOV).
const MAX_IOVECS: u64 = 1024;

/// Rounds of the copy loop: iovec entries and slices together.
const MAX_ROUNDS: u32 = 48;

/// Where the bytes of a call are in user memory.
#[derive(Clone, Copy)]
#[repr(C)]
pub(crate) struct Source {
    /// Address of the bytes, or of the iovec array.
    pub(crate) address: u64,
    /// Entries of the iovec array; [`Source::BUFFER`] for one buffer, [`Source::NONE`] for none.
    pub(crate) entries: u64,
    /// Bytes of the first entry that are not the call's.
    pub(crate) skip: u64,
    /// 1 when the iovec array is the kernel's own copy. The bytes are in user memory always.
    pub(crate) in_kernel: u64,
}

impl Source {
    pub(crate) const BUFFER: u64 = u64::MAX;
    pub(crate) const NONE: u64 = u64::MAX - 1;

    /// No bytes that can be read.
    #[inline(always)]
    pub(crate) fn none() -> Self {
        Self { address: 0, entries: Self::NONE, skip: 0, in_kernel: 0 }
    }

    /// One buffer of user memory.
    #[inline(always)]
    pub(crate) fn buffer(address: u64) -> Self {
        Self { address, entries: Self::BUFFER, skip: 0, in_kernel: 0 }
    }

    /// An iovec array of user memory.
    #[inline(always)]
    pub(crate) fn vector(address: u64, entries: u64) -> Self {
        Self { address, entries: entries.min(MAX_IOVECS), skip: 0, in_kernel: 0 }
    }
}

/// Reads one entry of the iovec array, whatever memory it is in, into [`Work`]. Returns whether it
/// could be read. A function of its own because loops over entries would otherwise be looked at by the
/// verifier once for each way through each of their rounds.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn vigie_entry(slot: u64, index: u64) -> u64 {
    let Some(work) = work(slot) else { return 0 };
    let address = work.source.address.wrapping_add(index * 16);
    work.vector = [0; 2];
    let entry = if work.source.in_kernel == 0 {
        read_user::<[u64; 2]>(address)
    } else {
        read::<[u64; 2]>(address, 0)
    };
    let Some([base, length]) = entry else { return 0 };
    let skip = if index == 0 { work.source.skip.min(length) } else { 0 };
    work.vector = [base.wrapping_add(skip), length - skip];
    1
}

/// Who called, and when.
#[derive(Clone, Copy)]
#[repr(C)]
pub(crate) struct Caller {
    pub(crate) tgid: u32,
    pub(crate) tid: u32,
    pub(crate) start_ns: u64,
    pub(crate) enter_ns: u64,
    pub(crate) exit_ns: u64,
}

/// The state of one call's handling.
///
/// It is kept in a per-CPU map and not on the stack, so that the verifier knows no value in it:
/// every round of the copy loop then looks the same to it, and it is done after a few thousand
/// instructions instead of a million. Who uses one [`take`]s it.
#[repr(C)]
pub(crate) struct Work {
    pub(crate) caller: Caller,
    /// `struct sock` of the call.
    pub(crate) sock: u64,
    /// `struct msghdr` of the call, where a hook has it.
    pub(crate) message: u64,
    pub(crate) source: Source,
    pub(crate) total: u64,
    pub(crate) header: Data,
    /// Payload bytes that may still be copied.
    budget: u64,
    /// Bytes of the call that are still to be handled.
    remaining: u64,
    /// Next iovec entry.
    entry: u64,
    /// What is left of the current buffer.
    base: u64,
    length: u64,
    /// Bytes at the end that were passed over, where the last of them end, and how many of them
    /// are in one buffer there.
    skipped: u64,
    skipped_end: u64,
    skipped_last: u64,
    /// Records that found no room.
    pub(crate) failed: u64,
    /// Base and length of the iovec entry that was read last.
    pub(crate) vector: [u64; 2],
    /// Bases and lengths of the first iovec entries.
    pub(crate) pieces: [[u64; 2]; emit::GATHERED_ENTRIES as usize],
    /// First bytes of the call, and how many they are.
    pub(crate) first: u64,
    pub(crate) first_length: u32,
    /// How many there are in `seen`.
    pub(crate) seen_length: u32,
    /// First bytes of the call as its first record has them.
    pub(crate) seen: [u64; 2],
    /// Whether the bytes follow the head of a final response: a status line begins another.
    pub(crate) responded: u32,
    /// Whether one was there.
    pub(crate) another_response: u32,
    /// Where a new connection is put together, too large for the stack.
    pub(crate) new: Connection,
    /// Connections that were numbered with this state.
    pub(crate) numbered: u64,
    /// Index of this state.
    pub(crate) slot: u64,
    /// Calls that use this state: see [`take`].
    users: u64,
}

impl Work {
    /// Gives back what [`take`] gave.
    #[inline(always)]
    pub(crate) fn give(&mut self) {
        add(&raw mut self.users, u64::MAX);
    }
}

/// States of each CPU.
pub(crate) const SLOTS: u32 = 4;

/// A state of this CPU.
#[inline(always)]
pub(crate) fn work(slot: u64) -> Option<&'static mut Work> {
    let work = WORK.get_ptr_mut(slot as u32)?;
    // SAFETY: see `Work`.
    Some(unsafe { &mut *work })
}

/// Takes a state of this CPU for a call. A thread may be preempted in the middle of a program (by
/// 7.2 on any hook), and then another's call comes on the same CPU: there are a few states. When all
/// are in use the call is lost, and counted.
#[inline(always)]
pub(crate) fn take() -> Option<&'static mut Work> {
    let mut slot = 0;
    while slot < SLOTS {
        let work = work(slot.into())?;
        // The addition is one instruction, and its result is not taken from it (which 5.10 cannot):
        // a thread that comes in between finds more than itself, and has given up its claim when
        // this one goes on.
        add(&raw mut work.users, 1);
        // SAFETY: the field is valid; a plain read of what only this CPU writes.
        if unsafe { (&raw const work.users).read_volatile() } == 1 {
            work.slot = slot.into();
            return Some(work);
        }
        work.give();
        slot += 1;
    }
    count(Counter::LostScratchBusy, 1);
    None
}

/// Adds to a word in one instruction. `core`'s atomics for this target have loads and stores only.
#[inline(always)]
fn add(word: *mut u64, amount: u64) {
    // SAFETY: changes only the word, which the caller has from a reference.
    unsafe {
        core::arch::asm!(
            "lock *(u64 *)({0} + 0) += {1}",
            in(reg) word,
            in(reg) amount,
            options(nostack)
        );
    }
}

/// Handles `total` bytes that the caller in [`Work`] moved over its socket.
///
/// Like the other functions here whose names begin with `vigie_`, a global function in the
/// verifier's sense: it is checked once by itself, for any arguments, and not along each way that
/// leads to it. Such functions take numbers only, so what they work on comes from [`Work`]; there a
/// pointer becomes a number, too.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn vigie_moved(slot: u64, sent: u64) -> u64 {
    let Some(work) = work(slot) else { return 0 };
    let sock = work.sock;
    let direction = if sent == 0 { Direction::Received } else { Direction::Sent };
    let total = work.total;
    let Some(connection) = connection::of(work, direction, total) else { return 0 };
    if !connection.is_interesting() {
        return 0;
    }
    if matches!(direction, Direction::Received) && !connection::catch_up(connection, sock, total) {
        return 0;
    }
    let mark = direction as u8 + 1;
    let turn = connection.last_direction != mark;
    connection.last_direction = mark;
    let last_ns = connection.last_ns;
    connection.last_ns = work.caller.exit_ns;
    if !connection.is_http1() && !undecided(connection, work, direction, turn) {
        connection.half(direction).position += total;
        return 0;
    }
    match direction {
        Direction::Received => count(Counter::BytesReceived, total),
        Direction::Sent => count(Counter::BytesSent, total),
    }
    let tuning = tuning();
    let shed = tuning.shed != 0;
    if connection.announced == 0 && !shed {
        announce(connection, &work.caller, sock);
    }
    let unannounced = u64::from(connection.announced == 0);
    let class = connection.class;
    let is_request = (class == Class::Http1Server as u8) == (direction as u8 == 0);
    let full = if is_request {
        at_most(setting!(request_bytes), tuning.request_bytes)
    } else {
        at_most(setting!(response_bytes), tuning.response_bytes)
    };
    let hint = hint(connection.id, direction);
    let half = connection.half(direction);
    let (pending, pending_length) = (half.pending, half.pending_length);
    if is_request {
        exchange::before_request(connection, work, turn || pending_length > 0, last_ns);
    }
    prepare(work, connection, direction, turn);
    work.failed = unannounced;
    work.seen_length = 0;
    work.another_response = 0;
    work.responded =
        u32::from(!is_request && connection.exchange.flags & exchange_flags::RESPONSE != 0);
    if pending_length > 0 {
        if is_request {
            exchange::take_request(&mut connection.exchange, pending, pending_length);
        } else {
            exchange::take_response(&mut connection.exchange, [pending, 0], pending_length);
        }
    }
    let half = connection.half(direction);
    // With bytes pending, the turn's first call was too short to tell what the connection is.
    if turn
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
    if shed {
        half.pending_length = 0;
        count(Counter::LostShed, 1);
        work.failed += 1;
    } else {
        if half.pending_length > 0 {
            carry(work, half);
        }
        let before = work.budget;
        vigie_copy(slot);
        half.budget = half.budget.saturating_sub(before.wrapping_sub(work.budget) as u32);
    }
    connection.lost += work.failed as u32;
    exchange::after(connection, work, is_request, last_ns);
    0
}

/// Fills in the header that all records of this call share.
#[inline(always)]
fn prepare(work: &mut Work, connection: &Connection, direction: Direction, turn: bool) {
    work.failed = 0;
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

/// Copies the bytes of one call as [`Work`] describes it.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn vigie_copy(slot: u64) -> u64 {
    let Some(work) = work(slot) else { return 0 };
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
    work.skipped = 0;
    work.skipped_end = 0;
    work.skipped_last = 0;
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
        if work.entry >= work.source.entries || work.source.entries >= Source::NONE {
            return 0;
        }
        if vigie_entry(slot, work.entry) == 0 {
            count(Counter::LostUserMemory, 1);
            return 0;
        }
        let [base, length] = work.vector;
        work.entry += 1;
        work.base = base;
        work.length = length.min(work.remaining);
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

/// Reads the first iovec entries into [`Work`]; entries that there are not, or that cannot be read,
/// are empty.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn vigie_pieces(slot: u64) -> u64 {
    let Some(work) = work(slot) else { return 0 };
    let mut entry = 0;
    while entry < work.pieces.len() {
        work.vector = [0; 2];
        if (entry as u64) < work.source.entries {
            vigie_entry(slot, entry as u64);
        }
        work.pieces[entry] = work.vector;
        entry += 1;
    }
    0
}

/// Copies a small call with several buffers into one record.
#[inline(always)]
fn gathered(work: &mut Work) {
    work.header.length = work.total as u32;
    work.header.head = 0;
    work.header.tail = 0;
    work.header.flags |= data_flags::LAST_SLICE;
    vigie_pieces(work.slot);
    if emit::vigie_gather(work.slot) == 0 {
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

/// The first bytes of a turn that came in too small pieces to be classified at once go out in a
/// record of their own, now that the connection is known.
#[inline(always)]
fn carry(work: &mut Work, half: &mut connection::Half) {
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

/// Looks at the first bytes of a turn on a connection that is not classified. Returns whether it is
/// now known to be HTTP/1.x.
#[inline(never)]
fn undecided(connection: &mut Connection, work: &Work, direction: Direction, turn: bool) -> bool {
    let total = work.total;
    if turn {
        connection.undecided += 1;
        if connection.undecided > setting!(undecided_turns) {
            connection.class = Class::Uninteresting as u8;
            count(Counter::ConnectionsUninteresting, 1);
            return false;
        }
    }
    let half = connection.half(direction);
    if turn {
        half.pending_length = 0;
        half.pending = 0;
    } else if half.pending_length == 0 {
        // In the middle of a turn that began with something else.
        return false;
    }
    vigie_first_bytes(work.slot);
    let (bytes, length) = (work.first, work.first_length);
    let had = half.pending_length.min(8);
    let bytes = if had >= 8 { half.pending } else { half.pending | bytes << (had * 8) };
    let length = (had + length).min(8);
    let server = match vigie_classify(bytes, u64::from(length)) {
        UNDECIDED => {
            // More than could be looked at at once came by, and it still says nothing.
            if u64::from(length - had) < total || length == 0 {
                half.pending_length = 0;
                return false;
            }
            if had == 0 {
                half.pending_ns = work.caller.exit_ns;
            }
            half.pending = bytes;
            half.pending_length = length;
            return false;
        }
        REQUEST => matches!(direction, Direction::Received),
        RESPONSE => matches!(direction, Direction::Sent),
        ENCRYPTED => {
            connection.class = Class::Encrypted as u8;
            count(Counter::ConnectionsEncrypted, 1);
            return false;
        }
        _ => {
            half.pending_length = 0;
            return false;
        }
    };
    connection.class = if server { Class::Http1Server as u8 } else { Class::Http1Client as u8 };
    true
}

/// Puts up to eight first bytes of a call, in the low bytes, and how many they are into [`Work`]. A
/// head that was put together from small iovec entries is followed over the first four.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn vigie_first_bytes(slot: u64) -> u64 {
    let Some(work) = work(slot) else { return 0 };
    let Source { address, entries, .. } = work.source;
    work.first = 0;
    work.first_length = 0;
    if entries == Source::BUFFER {
        (work.first, work.first_length) = few_bytes(address, work.total, 8);
        return 0;
    }
    if entries == Source::NONE {
        return 0;
    }
    let mut entry = 0u64;
    while entry < 4 {
        let have = work.first_length & 15;
        if entry >= entries || have >= 8 || u64::from(have) >= work.total {
            break;
        }
        if vigie_entry(slot, entry) == 0 {
            break;
        }
        let vector = work.vector;
        let available = vector[1].min(work.total - u64::from(have));
        let (more, count) = few_bytes(vector[0], available, 8 - have);
        work.first |= more << (have * 8);
        work.first_length = have + count;
        if u64::from(count) < available.min(u64::from(8 - have)) {
            break;
        }
        entry += 1;
    }
    0
}

/// Puts up to 16 first bytes of a call, and how many they are, into [`Work`]: those of a record that
/// found no room. Of several buffers only the first that is not empty is looked at.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn vigie_seen(slot: u64) -> u64 {
    let Some(work) = work(slot) else { return 0 };
    let Source { address, entries, .. } = work.source;
    let (mut base, mut length) = (address, work.total);
    if entries == Source::NONE {
        return 0;
    }
    if entries != Source::BUFFER {
        length = 0;
        let mut entry = 0u64;
        while entry < 4 {
            if entry >= entries || length > 0 {
                break;
            }
            if vigie_entry(slot, entry) == 0 {
                return 0;
            }
            let vector = work.vector;
            (base, length) = (vector[0], vector[1].min(work.total));
            entry += 1;
        }
    }
    let length = emit::clamp::<16>(length.min(16) as u32);
    if length == 0 {
        return 0;
    }
    work.seen = [0; 2];
    // SAFETY: at most 16 bytes are written into 16.
    let result = unsafe {
        bpf_probe_read_user((&raw mut work.seen).cast(), length, base as usize as *const _)
    };
    if result == 0 {
        work.seen_length = length;
    }
    0
}

/// At most `wanted` (1 to 8) of the `available` bytes at `address`.
#[inline(always)]
fn few_bytes(address: u64, available: u64, wanted: u32) -> (u64, u32) {
    if available >= 8 && wanted == 8 {
        return read_user::<u64>(address).map_or((0, 0), |bytes| (bytes, 8));
    }
    let length = available.min(u64::from(wanted)) as u32 & 7;
    let mut bytes = 0u64;
    if length == 0 {
        return (0, 0);
    }
    // SAFETY: at most seven bytes are written into eight.
    let result = unsafe {
        bpf_probe_read_user((&raw mut bytes).cast(), length, address as usize as *const _)
    };
    if result == 0 { (bytes, length) } else { (0, 0) }
}

/// Whether a call's bytes begin with the head of a message.
#[inline(always)]
fn begins_message(work: &mut Work) -> bool {
    vigie_first_bytes(work.slot);
    work.first_length == 8 && matches!(vigie_classify(work.first, 8), REQUEST | RESPONSE)
}

/// Whether the call in [`Work`] may be the beginning of a message of a known protocol.
#[inline(always)]
pub(crate) fn may_begin_message(slot: u64) -> bool {
    vigie_first_bytes(slot);
    let Some(work) = work(slot) else { return false };
    work.first_length > 0
        && matches!(
            vigie_classify(work.first, u64::from(work.first_length)),
            UNDECIDED | REQUEST | RESPONSE
        )
}

/// Position below which bytes need not be copied; `u64::MAX` when none need be any more.
#[inline(always)]
fn hint(id: u64, direction: Direction) -> u64 {
    let Some(slot) = HINTS.get(hint_slot(id)) else { return 0 };
    if slot.connection != id {
        return 0;
    }
    if slot.ignore != 0 {
        return u64::MAX;
    }
    match direction {
        Direction::Received => slot.skip_received,
        Direction::Sent => slot.skip_sent,
    }
}

/// What holds for all connections now.
#[inline(always)]
fn tuning() -> Tuning {
    const AS_SET: Tuning = Tuning { request_bytes: 0, response_bytes: 0, shed: 0, reserved: 0 };
    TUNING.get(0).copied().unwrap_or(AS_SET)
}

/// The smaller of a setting and a limit, where 0 is no limit.
#[inline(always)]
fn at_most(setting: u32, limit: u32) -> u32 {
    if limit == 0 { setting } else { setting.min(limit) }
}

/// Tells user space of a connection. Tried again with the next segment when there was no room.
#[inline(never)]
fn announce(connection: &mut Connection, caller: &Caller, sock: u64) {
    if probes::open::emit(connection, caller, sock) {
        connection.announced = 1;
        connection.heard = 1;
        if connection.family == connection::AF_UNIX {
            need(needs::UNIX_CLOSE);
        }
    }
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
