//! The socket backends: hooks where the kernel's own code sends and receives, best first
//!
//! - [`function`]: `fentry`/`fexit` on the functions of the socket families
//! - [`kprobe`]: kprobe and kretprobe on the same
//! - [`blocked`]: receives that were under way when these were attached
//! - [`tracepoint`]: the BTF tracepoints that the kernel has in the same place since 6.3
//!
//! All end in [`finished`]. Unlike the syscall backend they cost nothing in system calls that have
//! nothing to do with sockets, and they see what no system call of its own moves (io_uring).

mod blocked;
mod function;
mod kprobe;
mod tracepoint;

pub(crate) use self::{
    kprobe::{IN_FLIGHT_CALLS, InFlight},
    tracepoint::{SERIES_SLOTS, Series},
};

use vigie_common::record::{CloseReason, Direction};

use super::{
    call::{MSG_TRUNC, begin, skips, tells_end},
    tcp,
};
use crate::{
    connection::{self, AF_UNIX},
    iterator,
    kernel::read,
    params::offset,
    segment::{self, Sockets},
    work::Source,
};

/// A call of a send or receive function that is over.
struct Call {
    /// `struct sock`
    sock: u64,
    /// `struct msghdr`, whose iterator has gone over what was moved; 0 when there is none.
    message: u64,
    /// Bytes that were asked for.
    asked: u64,
    /// Of a receive.
    flags: u64,
    /// Bytes moved, or a negative error.
    returned: i64,
    direction: Direction,
    /// When it began; 0 when that is not known.
    enter_ns: u64,
    /// Of the hook.
    sockets: Sockets,
}

/// Handles a call of the current thread.
#[inline(always)]
fn finished(call: &Call) {
    let sent = matches!(call.direction, Direction::Sent);
    if call.returned <= 0 && !tells_end(sent, call.returned)
        || call.returned == 0 && call.asked == 0
        || !sent && skips(call.flags)
    {
        return;
    }
    let Some(work) = begin(call.enter_ns) else { return };
    if call.returned <= 0 {
        segment::ended(work, call.sock, call.direction, (-call.returned) as u8);
    } else {
        work.total = call.returned as u64;
        if call.message == 0 || !sent && call.flags & MSG_TRUNC != 0 {
            work.source = Source::none();
        } else {
            work.message = call.message;
            iterator::vigie_iterator(work.slot);
        }
        work.sock = call.sock;
        segment::moved(work, call.direction, call.sockets);
    }
    work.give();
}

/// The sock of a `struct socket`; 0 when it cannot be read.
#[inline(always)]
fn sock_of(socket: u64) -> u64 {
    read(socket, offset!(socket_sk)).unwrap_or(0)
}

/// Handles the release of a unix socket: nothing else reports its end.
#[inline(always)]
fn released(socket: u64) {
    let sock = sock_of(socket);
    let Some(known) = connection::known(sock) else { return };
    if known.family == AF_UNIX {
        tcp::close(known, CloseReason::Destroyed, 0);
        connection::forget(sock);
    }
}
