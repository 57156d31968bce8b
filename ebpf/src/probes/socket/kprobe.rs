//! The socket backend on kprobes and kretprobes, for kernels without trampolines.
//!
//! - Hooks: as with `fentry` (see [`super::function`]), and `tcp_cleanup_rbuf`.
//! - Records: `Data`, `Open`; `Close` for unix sockets.
//! - Kernel: any with CONFIG_KPROBES; stock ones with BTF from 5.10.
//! - Fallback: the tracepoints, else the system calls.
//! - Cost: two traps or ftrace calls per send and receive, and a table entry for its time.
//!
//! The arguments are gone when a function returns, so they are kept per thread. The kernel follows
//! only a few calls of one function at a time to their return (ten, or two per CPU): where many
//! threads wait in a receive it misses returns. What was received over TCP is therefore taken when
//! the kernel tidies up its receive buffer, inside the call; other returns that were missed show at
//! the thread's next call and are counted.

use aya_ebpf::{
    helpers::generated::{bpf_get_current_pid_tgid, bpf_ktime_get_ns},
    macros::{kprobe, kretprobe},
    programs::{ProbeContext, RetProbeContext},
};
use vigie_common::{counter::Counter, record::Direction};

use super::{Call, finished, released, sock_of};
use crate::maps::{IN_FLIGHT, count};

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
    sent: u32,
}

macro_rules! sends {
    ($($entry:ident, $exit:ident;)*) => {$(
        #[kprobe]
        pub fn $entry(ctx: ProbeContext) -> u32 {
            begun(argument(&ctx, 0), argument(&ctx, 1), argument(&ctx, 2), 0, true);
            0
        }

        #[kretprobe]
        pub fn $exit(ctx: RetProbeContext) -> u32 {
            returned(ctx.ret::<i32>().into());
            0
        }
    )*};
}

macro_rules! receives {
    ($($entry:ident, $exit:ident;)*) => {$(
        #[kprobe]
        pub fn $entry(ctx: ProbeContext) -> u32 {
            let flags = argument(&ctx, 3) as u32;
            begun(argument(&ctx, 0), argument(&ctx, 1), argument(&ctx, 2), flags, false);
            0
        }

        #[kretprobe]
        pub fn $exit(ctx: RetProbeContext) -> u32 {
            returned(ctx.ret::<i32>().into());
            0
        }
    )*};
}

sends! {
    kprobe_inet_sendmsg, kretprobe_inet_sendmsg;
    kprobe_inet6_sendmsg, kretprobe_inet6_sendmsg;
    kprobe_unix_stream_sendmsg, kretprobe_unix_stream_sendmsg;
}

receives! {
    kprobe_inet_recvmsg, kretprobe_inet_recvmsg;
    kprobe_inet6_recvmsg, kretprobe_inet6_recvmsg;
    kprobe_unix_stream_recvmsg, kretprobe_unix_stream_recvmsg;
}

/// inet_sendpage(socket, page, offset, size, flags)
#[kprobe]
pub fn kprobe_inet_sendpage(ctx: ProbeContext) -> u32 {
    begun(argument(&ctx, 0), 0, argument(&ctx, 3), 0, true);
    0
}

#[kretprobe]
pub fn kretprobe_inet_sendpage(ctx: RetProbeContext) -> u32 {
    returned(ctx.ret::<i32>().into());
    0
}

/// tcp_splice_read(socket, position, pipe, size, flags)
#[kprobe]
pub fn kprobe_tcp_splice_read(ctx: ProbeContext) -> u32 {
    begun(argument(&ctx, 0), 0, argument(&ctx, 3), 0, false);
    0
}

#[kretprobe]
pub fn kretprobe_tcp_splice_read(ctx: RetProbeContext) -> u32 {
    returned(ctx.ret::<i32>().into());
    0
}

/// tcp_cleanup_rbuf(sock, copied): bytes that the receive has copied so far.
#[kprobe]
pub fn kprobe_tcp_cleanup_rbuf(ctx: ProbeContext) -> u32 {
    let copied = i64::from(argument(&ctx, 1) as i32);
    if copied <= 0 {
        return 0;
    }
    // SAFETY: no arguments.
    let thread = unsafe { bpf_get_current_pid_tgid() };
    let Some(call) = IN_FLIGHT.get_ptr_mut(thread) else { return 0 };
    // SAFETY: the entry is this thread's own.
    let call = unsafe { &mut *call };
    // A splice has no iterator, so its return does; what a receive leaves has one at this point.
    if call.sock == argument(&ctx, 0) && call.sent == 0 && call.message != 0 {
        handle(call, copied);
    }
    0
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

#[inline(always)]
fn begun(socket: u64, message: u64, asked: u64, flags: u32, sent: bool) {
    // SAFETY: no arguments.
    let (thread, now) = unsafe { (bpf_get_current_pid_tgid(), bpf_ktime_get_ns()) };
    if crate::process::watched((thread >> 32) as u32).is_none() {
        return;
    }
    let call = InFlight {
        sock: sock_of(socket),
        message,
        asked,
        enter_ns: if sent { now } else { 0 },
        handled: 0,
        flags,
        sent: sent.into(),
    };
    if let Some(missed) = IN_FLIGHT.get_ptr(thread) {
        // SAFETY: the entry is this thread's own.
        let missed = unsafe { &*missed };
        if missed.sent != 0 || missed.handled == 0 {
            count(Counter::LostReturnMissed, 1);
        }
    }
    if IN_FLIGHT.insert(thread, call, 0).is_err() {
        count(Counter::LostInFlightFull, 1);
    }
}

#[inline(always)]
fn returned(returned: i64) {
    // SAFETY: no arguments.
    let thread = unsafe { bpf_get_current_pid_tgid() };
    let Some(call) = IN_FLIGHT.get_ptr_mut(thread) else { return };
    // SAFETY: the entry is this thread's own.
    handle(unsafe { &mut *call }, returned);
    // It was there just now.
    let _ = IN_FLIGHT.remove(thread);
}

/// Handles what a call moved beyond what was handled of it, when it has moved this much in all.
#[inline(always)]
fn handle(call: &mut InFlight, moved: i64) {
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
        direction: if call.sent == 0 { Direction::Received } else { Direction::Sent },
        enter_ns: call.enter_ns,
    });
}
