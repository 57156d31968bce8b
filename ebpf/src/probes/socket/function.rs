//! The socket backend on `fentry` and `fexit`.
//!
//! - Hooks: the send and receive functions of the IPv4, IPv6 and unix stream socket families. They
//!   are below every way into the kernel (system calls, io_uring, splice) and above kernel TLS, and
//!   their arguments are the same from 5.10 to 7.2. `inet_sendpage` and `unix_stream_sendpage` are what sendfile used up to 6.4,
//!   and `tcp_splice_read` what splice from a socket uses.
//! - Records: `Data`, `Open`, `Datagram`; `Close` for unix sockets.
//! - Kernel: 5.5, with trampolines (CONFIG_DYNAMIC_FTRACE_WITH_DIRECT_CALLS).
//! - Fallback: kprobes.
//! - Cost: nothing in other system calls; a send or receive of a process that is not watched costs
//!   a look at the cache of processes.

use aya_ebpf::{
    helpers::generated::bpf_get_current_pid_tgid,
    macros::{fentry, fexit},
    programs::{FEntryContext, FExitContext},
};
use vigie_common::record::Direction;

use super::{Call, finished, released, sock_of};
use crate::{entered, segment::Sockets};

macro_rules! sends {
    ($($exit:ident, $function:literal;)*) => {$(
        #[fexit(function = $function)]
        pub fn $exit(ctx: FExitContext) -> i32 {
            sent(&ctx, ctx.arg(1), ctx.arg(2), ctx.arg(3), 0, Sockets::Any);
            0
        }
    )*};
}

macro_rules! receives {
    ($($exit:ident, $function:literal, $sockets:ident;)*) => {$(
        #[fexit(function = $function)]
        pub fn $exit(ctx: FExitContext) -> i32 {
            finished(&Call {
                sock: sock_of(ctx.arg(0)),
                message: ctx.arg(1),
                asked: ctx.arg(2),
                flags: ctx.arg::<u32>(3).into(),
                returned: ctx.arg::<i32>(4).into(),
                direction: Direction::Received,
                enter_ns: 0,
                sockets: Sockets::$sockets,
            });
            0
        }
    )*};
}

sends! {
    fexit_inet_sendmsg, "inet_sendmsg";
    fexit_inet6_sendmsg, "inet6_sendmsg";
}

receives! {
    fexit_inet_recvmsg, "inet_recvmsg", Any;
    fexit_inet6_recvmsg, "inet6_recvmsg", Any;
    fexit_unix_stream_recvmsg, "unix_stream_recvmsg", Streams;
}

/// Notes when the send begins: TCP tells it itself, see [`entered`].
#[fentry(function = "unix_stream_sendmsg")]
pub fn fentry_unix_stream_sendmsg(_: FEntryContext) -> i32 {
    // SAFETY: no arguments.
    entered::note(unsafe { bpf_get_current_pid_tgid() } as u32);
    0
}

#[fexit(function = "unix_stream_sendmsg")]
pub fn fexit_unix_stream_sendmsg(ctx: FExitContext) -> i32 {
    // SAFETY: no arguments.
    let enter_ns = entered::of(unsafe { bpf_get_current_pid_tgid() } as u32);
    sent(&ctx, ctx.arg(1), ctx.arg(2), ctx.arg(3), enter_ns, Sockets::Streams);
    0
}

/// inet_sendpage(socket, page, offset, size, flags)
#[fexit(function = "inet_sendpage")]
pub fn fexit_inet_sendpage(ctx: FExitContext) -> i32 {
    sent(&ctx, 0, ctx.arg(3), ctx.arg(5), 0, Sockets::Streams);
    0
}

/// unix_stream_sendpage(socket, page, offset, size, flags)
#[fexit(function = "unix_stream_sendpage")]
pub fn fexit_unix_stream_sendpage(ctx: FExitContext) -> i32 {
    sent(&ctx, 0, ctx.arg(3), ctx.arg(5), 0, Sockets::Streams);
    0
}

/// tcp_splice_read(socket, position, pipe, size, flags)
#[fexit(function = "tcp_splice_read")]
pub fn fexit_tcp_splice_read(ctx: FExitContext) -> i32 {
    finished(&Call {
        sock: sock_of(ctx.arg(0)),
        message: 0,
        asked: ctx.arg(3),
        flags: 0,
        returned: ctx.arg::<i32>(5).into(),
        direction: Direction::Received,
        enter_ns: 0,
        sockets: Sockets::Streams,
    });
    0
}

#[fentry(function = "unix_release")]
pub fn fentry_unix_release(ctx: FEntryContext) -> i32 {
    released(ctx.arg(0));
    0
}

#[inline(always)]
fn sent(
    ctx: &FExitContext,
    message: u64,
    asked: u64,
    returned: i32,
    enter_ns: u64,
    sockets: Sockets,
) {
    finished(&Call {
        sock: sock_of(ctx.arg(0)),
        message,
        asked,
        flags: 0,
        returned: returned.into(),
        direction: Direction::Sent,
        enter_ns,
        sockets,
    });
}
