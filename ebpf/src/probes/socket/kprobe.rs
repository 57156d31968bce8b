//! The socket backend on kprobes and kretprobes, for kernels without trampolines.
//!
//! - Hooks: as with `fentry` (see [`super::function`]), `tcp_cleanup_rbuf`, `release_sock` and
//!   `unix_stream_read_actor`; for datagrams the returns of `udp_sendmsg` and `udpv6_sendmsg`, and
//!   `skb_consume_udp`.
//! - Records: `Data`, `Open`, `Datagram`; `Close` for unix sockets.
//! - Kernel: any with CONFIG_KPROBES; stock ones with BTF from 5.10.
//! - Fallback: the tracepoints, else the system calls.
//! - Cost: a trap or ftrace call per hook, and a table entry for the time of the call.
//!
//! The arguments are gone when a function returns, so they are kept per thread. The kernel follows
//! only a few calls of one function at a time to their return (ten, or two per CPU; before 6.1 one
//! per CPU where it is not preemptible); threads that are held up in a send or wait in a receive
//! would use them up. Over TCP no return is needed: a receive passes `tcp_cleanup_rbuf` with its
//! result, and a send passes `release_sock` when the socket is given back, where its sequence
//! number tells what was sent. A receive from a unix socket hands over piece by piece in
//! `unix_stream_read_actor`, which does not wait; its own return is of use for the end of the
//! stream, and where a kernel has not got that function by itself. Returns that were missed and
//! took bytes with them show at the thread's next call and are counted. What goes through kernel
//! TLS is not seen, nor why a send failed.

use aya_ebpf::{
    helpers::generated::{bpf_get_current_pid_tgid, bpf_ktime_get_ns},
    macros::{kprobe, kretprobe},
    programs::{ProbeContext, RetProbeContext},
};
use vigie_common::{counter::Counter, policy::needs, record::Direction};

use super::{Call, blocked, finished, released, sock_of};
use crate::{
    connection::{TCP_CLOSE, TCP_CLOSE_WAIT, TCP_ESTABLISHED},
    iterator,
    kernel::read,
    maps::{IN_FLIGHT, count, is_needed, need},
    params::offset,
    process,
    segment::Sockets,
};

/// Calls at a time, unless configured.
pub(crate) const IN_FLIGHT_CALLS: u32 = 8192;

/// A call that has not returned.
#[derive(Clone, Copy)]
#[repr(C)]
pub(crate) struct InFlight {
    sock: u64,
    message: u64,
    asked: u64,
    enter_ns: u64,
    /// Bytes that were handled already.
    handled: u64,
    flags: u32,
    /// Bits of [`SENT`], [`RETURNS`] and [`PIECE`].
    kind: u32,
    /// `write_seq` of the TCP socket when a send began.
    sequence: u32,
    reserved: u32,
}

impl InFlight {
    #[inline(always)]
    fn is_unix_receive(&self) -> bool {
        self.kind & (SENT | RETURNS) == RETURNS && self.message != 0
    }

    /// Whether another call follows on this one whose return was needed and is missing. Where the bytes of
    /// a receive are taken in pieces, only that of a piece is.
    #[inline(always)]
    fn is_lost(&self) -> bool {
        if self.is_unix_receive() && is_needed(needs::UNIX_PIECE) {
            self.kind & PIECE != 0
        } else {
            self.kind & RETURNS != 0
        }
    }
}

const SENT: u32 = 1;
/// The return is hooked, too.
const RETURNS: u32 = 2;
/// Bytes are being copied out of a unix socket.
const PIECE: u32 = 4;

/// inet_sendmsg and inet6_sendmsg(socket, message, size)
#[kprobe]
pub fn kprobe_send(ctx: ProbeContext) -> u32 {
    begun(&ctx, argument(&ctx, 1), argument(&ctx, 2), 0, SENT);
    0
}

/// unix_stream_sendmsg, with the same arguments
#[kprobe]
pub fn kprobe_unix_send(ctx: ProbeContext) -> u32 {
    begun(&ctx, argument(&ctx, 1), argument(&ctx, 2), 0, SENT | RETURNS);
    0
}

/// inet_recvmsg and inet6_recvmsg(socket, message, size, flags)
#[kprobe]
pub fn kprobe_receive(ctx: ProbeContext) -> u32 {
    begun(&ctx, argument(&ctx, 1), argument(&ctx, 2), argument(&ctx, 3) as u32, 0);
    0
}

/// unix_stream_recvmsg, with the same arguments
#[kprobe]
pub fn kprobe_unix_receive(ctx: ProbeContext) -> u32 {
    begun(&ctx, argument(&ctx, 1), argument(&ctx, 2), argument(&ctx, 3) as u32, RETURNS);
    0
}

/// inet_sendpage(socket, page, offset, size, flags)
#[kprobe]
pub fn kprobe_inet_sendpage(ctx: ProbeContext) -> u32 {
    begun(&ctx, 0, argument(&ctx, 3), 0, SENT);
    0
}

/// unix_stream_sendpage, with the same arguments
#[kprobe]
pub fn kprobe_unix_sendpage(ctx: ProbeContext) -> u32 {
    begun(&ctx, 0, argument(&ctx, 3), 0, SENT | RETURNS);
    0
}

/// tcp_splice_read(socket, position, pipe, size, flags)
#[kprobe]
pub fn kprobe_tcp_splice_read(ctx: ProbeContext) -> u32 {
    begun(&ctx, 0, argument(&ctx, 3), 0, RETURNS);
    0
}

/// udp_sendmsg and udpv6_sendmsg: a datagram was sent. The latter may call the former.
#[kretprobe]
pub fn kretprobe_datagram_sent(ctx: RetProbeContext) -> u32 {
    // SAFETY: no arguments.
    let thread = unsafe { bpf_get_current_pid_tgid() };
    let Some(call) = IN_FLIGHT.get_ptr_mut(thread) else { return 0 };
    // SAFETY: the entry is this thread's own.
    let call = unsafe { &mut *call };
    let sent = i64::from(ctx.ret::<i32>());
    if call.kind == SENT && sent > 0 && sent as u64 == call.asked {
        handle(call, sent, Sockets::Datagrams);
    }
    0
}

/// skb_consume_udp(sock, buffer, copied): a datagram was received; negative when it stays where it is.
/// The address of its sender is in the message by now.
#[kprobe]
pub fn kprobe_skb_consume_udp(ctx: ProbeContext) -> u32 {
    let copied = i64::from(argument(&ctx, 2) as i32);
    // SAFETY: no arguments.
    let thread = unsafe { bpf_get_current_pid_tgid() };
    let Some(call) = IN_FLIGHT.get_ptr_mut(thread) else {
        blocked::woken(argument(&ctx, 0), copied, Sockets::Datagrams);
        return 0;
    };
    // SAFETY: the entry is this thread's own.
    let call = unsafe { &mut *call };
    if call.sock == argument(&ctx, 0) && call.kind == 0 && copied > 0 && is_of(call, copied) {
        handle(call, copied, Sockets::Datagrams);
    }
    0
}

/// The return of those whose return is needed, and of `unix_stream_read_actor`.
#[kretprobe]
pub fn kretprobe_returned(ctx: RetProbeContext) -> u32 {
    returned(ctx.ret::<i32>().into());
    0
}

/// unix_stream_read_actor(buffer, skip, bytes, state): copies the bytes of one buffer of a unix socket's
/// queue for a receive.
#[kprobe]
pub fn kprobe_unix_piece(_: ProbeContext) -> u32 {
    let Some(call) = of_thread() else { return 0 };
    if call.is_unix_receive() {
        call.kind |= PIECE;
        if !is_needed(needs::UNIX_PIECE) {
            need(needs::UNIX_PIECE);
        }
    }
    0
}

/// tcp_cleanup_rbuf(sock, copied): what the receive has copied so far, or its error. Passed before a
/// receive waits, too.
#[kprobe]
pub fn kprobe_tcp_cleanup_rbuf(ctx: ProbeContext) -> u32 {
    // SAFETY: no arguments.
    let thread = unsafe { bpf_get_current_pid_tgid() };
    if process::watched((thread >> 32) as u32).is_none() {
        return 0;
    }
    let sock = argument(&ctx, 0);
    let copied = i64::from(argument(&ctx, 1) as i32);
    let Some(call) = IN_FLIGHT.get_ptr_mut(thread) else {
        blocked::woken(sock, copied, Sockets::Streams);
        return 0;
    };
    // SAFETY: the entry is this thread's own.
    let call = unsafe { &mut *call };
    if call.sock != sock || call.kind != 0 {
        return 0;
    }
    if is_of(call, copied) && (copied != 0 || is_at_end(sock)) {
        handle(call, copied, Sockets::Streams);
    }
    0
}

/// release_sock(sock): a send, or anything else, gives the socket back.
#[kprobe]
pub fn kprobe_release_sock(ctx: ProbeContext) -> u32 {
    // SAFETY: no arguments.
    let thread = unsafe { bpf_get_current_pid_tgid() };
    if process::watched((thread >> 32) as u32).is_none() {
        return 0;
    }
    let Some(call) = IN_FLIGHT.get_ptr_mut(thread) else { return 0 };
    // SAFETY: the entry is this thread's own.
    let call = unsafe { &mut *call };
    let sock = argument(&ctx, 0);
    if call.sock != sock || call.kind != SENT || !may_send(sock) {
        return 0;
    }
    let Some(now) = read::<u32>(sock, offset!(tcp_write_seq)) else { return 0 };
    let sent = i64::from(now.wrapping_sub(call.sequence));
    if sent > 0 && sent <= call.asked as i64 && is_of(call, sent) {
        handle(call, sent, Sockets::Streams);
    }
    0
}

/// Whether so many bytes fit the call. An entry stays when its call is over, and what another call
/// moves does not.
#[inline(always)]
fn is_of(call: &InFlight, moved: i64) -> bool {
    moved <= 0
        || call.message == 0
        || iterator::remaining(call.message) == Some(call.asked.wrapping_sub(moved as u64))
}

/// Whether a sock still takes bytes: a FIN takes a sequence number, too.
#[inline(always)]
fn may_send(sock: u64) -> bool {
    read::<u8>(sock, offset!(sock_state))
        .is_some_and(|state| state == TCP_ESTABLISHED || state == TCP_CLOSE_WAIT)
}

/// Whether all that the peer sent, its FIN included, was taken.
#[inline(always)]
fn is_at_end(sock: u64) -> bool {
    read::<u8>(sock, offset!(sock_state)).is_some_and(|state| state >= TCP_CLOSE)
        && read::<u32>(sock, offset!(tcp_copied_seq)) == read::<u32>(sock, offset!(tcp_rcv_nxt))
}

#[kprobe]
pub fn kprobe_unix_release(ctx: ProbeContext) -> u32 {
    released(argument(&ctx, 0));
    0
}

#[inline(always)]
fn argument(ctx: &ProbeContext, index: usize) -> u64 {
    ctx.arg(index).unwrap_or(0)
}

/// The first argument is the `struct socket`.
#[inline(always)]
fn begun(ctx: &ProbeContext, message: u64, asked: u64, flags: u32, kind: u32) {
    // SAFETY: no arguments.
    let thread = unsafe { bpf_get_current_pid_tgid() };
    if process::watched((thread >> 32) as u32).is_none() {
        return;
    }
    let mut call = InFlight {
        sock: sock_of(argument(ctx, 0)),
        message,
        asked,
        // TCP tells it itself, see `entered`.
        // SAFETY: no arguments.
        enter_ns: if kind == SENT | RETURNS { unsafe { bpf_ktime_get_ns() } } else { 0 },
        handled: 0,
        flags,
        kind,
        sequence: 0,
        reserved: 0,
    };
    if kind == SENT {
        call.sequence = read(call.sock, offset!(tcp_write_seq)).unwrap_or(0);
    }
    if let Some(old) = IN_FLIGHT.get_ptr(thread) {
        // SAFETY: the entry is this thread's own.
        if unsafe { &*old }.is_lost() {
            count(Counter::LostReturnMissed, 1);
        }
    }
    if IN_FLIGHT.insert(thread, call, 0).is_err() {
        count(Counter::LostInFlightFull, 1);
    }
}

/// The last call of the current thread that was seen to begin.
#[inline(always)]
fn of_thread() -> Option<&'static mut InFlight> {
    // SAFETY: no arguments.
    let call = IN_FLIGHT.get_ptr_mut(unsafe { bpf_get_current_pid_tgid() })?;
    // SAFETY: the entry is this thread's own.
    Some(unsafe { &mut *call })
}

#[inline(always)]
fn returned(returned: i64) {
    let Some(call) = of_thread() else { return };
    if call.kind & PIECE != 0 {
        call.kind &= !PIECE;
        // With pieces before it whose return was missed. Where that of this one was, it is the call that
        // returns here, which is the same.
        let Some(left) = iterator::remaining(call.message) else { return };
        let moved = call.asked.wrapping_sub(left) as i64;
        if returned > 0 && moved >= returned && moved <= call.asked as i64 {
            handle(call, moved, Sockets::Streams);
        }
        return;
    }
    handle(call, returned, Sockets::Streams);
    // It is over, and no other call's.
    call.kind = 0;
    call.sock = 0;
}

/// Handles what a call moved beyond what was handled of it, when it has moved this much in all.
#[inline(always)]
fn handle(call: &mut InFlight, moved: i64, sockets: Sockets) {
    let handled = call.handled;
    if moved > 0 {
        call.handled = moved as u64;
    }
    if handled > 0 && moved <= handled as i64 {
        return;
    }
    finished(&Call {
        sock: call.sock,
        message: call.message,
        asked: call.asked,
        flags: call.flags.into(),
        returned: moved - handled as i64,
        direction: if call.kind & SENT == 0 { Direction::Received } else { Direction::Sent },
        enter_ns: call.enter_ns,
        sockets,
    });
}
