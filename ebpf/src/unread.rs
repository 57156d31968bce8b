//! Sends without user memory (sendfile, splice) that go on with a response: nothing of them is told
//! but their length, so they need little of what other calls need. nginx sends each file so.

use aya_ebpf::helpers::generated::bpf_ktime_get_ns;
use vigie_common::{
    counter::Counter,
    exchange::exchange_flags,
    record::{Class, Data, Direction, Kind, data_flags},
};

use crate::{
    connection, emit,
    maps::{count, tuning},
};

/// Handles a send of `total` bytes that ended just now if it goes on with a response of which the head
/// was sent, and nothing stands in the way. Returns whether it did; if not, nothing was changed.
#[inline(always)]
pub(crate) fn sent(sock: u64, total: u64, tgid: u32, tid: u32, start_ns: u64) -> bool {
    const STANDING: u8 = exchange_flags::RESPONSE | exchange_flags::LOST;
    let Some(connection) = connection::known(sock) else { return false };
    if connection.class != Class::Http1Server as u8
        || connection.last_direction != Direction::Sent as u8 + 1
        || connection.announced == 0
        || connection.exchange.flags & STANDING != exchange_flags::RESPONSE
        || connection.sent.pending_length != 0
        || total > u64::from(u32::MAX)
        || tuning().shed != 0
    {
        return false;
    }
    let position = connection.sent.position;
    // SAFETY: no arguments.
    let now = unsafe { bpf_ktime_get_ns() };
    let there_was_room = emit::follow::<Data>(connection.id, |record| {
        // SAFETY: the record is reserved and large enough, and every field is written.
        unsafe {
            (&raw mut (*record).kind).write(Kind::Data as u32);
            (&raw mut (*record).direction).write(Direction::Sent as u8);
            (&raw mut (*record).class).write(Class::Http1Server as u8);
            (&raw mut (*record).flags).write(data_flags::LAST_SLICE);
            (&raw mut (*record).error).write(0);
            (&raw mut (*record).connection).write(connection.id);
            (&raw mut (*record).enter_ns).write(0);
            (&raw mut (*record).exit_ns).write(now);
            (&raw mut (*record).position).write(position);
            (&raw mut (*record).length).write(total as u32);
            (&raw mut (*record).head).write(0);
            (&raw mut (*record).tail).write(0);
            (&raw mut (*record).lost).write(connection.lost);
            (&raw mut (*record).tgid).write(tgid);
            (&raw mut (*record).tid).write(tid);
            (&raw mut (*record).process_start_ns).write(start_ns);
            (&raw mut (*record).goroutine).write(0);
            (&raw mut (*record).exchange).write(connection.exchange.number);
            (&raw mut (*record).lost_before).write(connection.exchange.lost_before);
        }
    });
    if !there_was_room {
        return false;
    }
    connection.sent.position = position.wrapping_add(total);
    connection.last_ns = now;
    count(Counter::Syscalls, 1);
    count(Counter::BytesSent, total);
    count(Counter::BytesUnread, total);
    true
}
