//! The life of TCP connections.
//!
//! - Hooks: BTF raw tracepoints `inet_sock_set_state` and `tcp_destroy_sock`.
//! - Records: `Close`.
//! - Kernel: 5.5. Without `tcp_destroy_sock` a connection is forgotten when its state becomes
//!   CLOSE, and what is read after that is counted as a connection of its own.
//! - Cost: one look-up per state change of any TCP socket of the machine.
//!
//! CLOSE is not the end: after a FIN in both directions the state is CLOSE while the last bytes
//! still wait to be read. The socket is gone when it is destroyed.

use aya_ebpf::{
    helpers::generated::bpf_ktime_get_ns, macros::btf_tracepoint, programs::BtfTracePointContext,
};
use vigie_common::{
    counter::Counter,
    exchange::exchange_flags,
    record::{Close, CloseReason, Kind},
};

use crate::{
    connection::{self, AF_UNIX, Connection},
    emit, exchange,
    kernel::read,
    maps::{CLOSES, CONNECTIONS, count},
    params::{offset, setting},
};

const TCP_FIN_WAIT1: i32 = 4;
const TCP_CLOSE: i32 = 7;
const TCP_LAST_ACK: i32 = 9;

#[btf_tracepoint(function = "inet_sock_set_state")]
pub fn inet_sock_set_state(ctx: BtfTracePointContext) -> i32 {
    let state: i32 = ctx.arg(2);
    let reason = match state {
        TCP_FIN_WAIT1 | TCP_LAST_ACK => CloseReason::SentEnd,
        TCP_CLOSE => CloseReason::Closed,
        _ => return 0,
    };
    let sock: u64 = ctx.arg(0);
    let Some(known) = CONNECTIONS.get_ptr(sock) else { return 0 };
    let error =
        if state == TCP_CLOSE { read::<u32>(sock, offset!(sock_err)).unwrap_or(0) } else { 0 };
    // SAFETY: map values stay valid while the program runs.
    close(unsafe { &*known }, reason, error);
    if state == TCP_CLOSE && setting!(has_destroy) == 0 {
        connection::forget(sock);
    }
    0
}

#[btf_tracepoint(function = "tcp_destroy_sock")]
pub fn tcp_destroy_sock(ctx: BtfTracePointContext) -> i32 {
    let sock: u64 = ctx.arg(0);
    let Some(known) = CONNECTIONS.get_ptr(sock) else { return 0 };
    // SAFETY: map values stay valid while the program runs.
    close(unsafe { &*known }, CloseReason::Destroyed, 0);
    connection::forget(sock);
    0
}

/// Reports an end of a connection that user space knows.
///
/// Where the ring has no room for the last one it goes into a table, which user space looks into
/// after a loss: without it an exchange would wait for its end.
#[inline(always)]
pub(super) fn close(known: &Connection, reason: CloseReason, error: u32) {
    let is_last = match reason {
        CloseReason::Destroyed => true,
        CloseReason::Closed => known.family != AF_UNIX && setting!(has_destroy) == 0,
        CloseReason::SentEnd => false,
    };
    if is_last {
        exchange::ended(known);
    }
    if known.heard == 0 {
        return;
    }
    let exchange = &known.exchange;
    let mut record = Close {
        kind: Kind::Close as u32,
        reason: reason as u32,
        connection: known.id,
        // SAFETY: no arguments.
        time_ns: unsafe { bpf_ktime_get_ns() },
        received: known.received.position,
        sent: known.sent.position,
        error,
        lost: known.lost,
        exchange: exchange.number,
        lost_before: exchange.lost_before,
        exchange_lost: u32::from(exchange.flags & exchange_flags::LOST != 0),
        reserved: 0,
    };
    // SAFETY: the record is reserved and large enough.
    let there_was_room = emit::plain::<Close>(known.id, false, |to| unsafe { to.write(record) });
    if !there_was_room && is_last {
        record.reason = CloseReason::Destroyed as u32;
        if CLOSES.insert(known.id, record, 0).is_err() {
            count(Counter::LostClosesFull, 1);
        }
    }
}
