//! The syscall backend.
//!
//! - Hooks: BTF raw tracepoints `sys_enter` and `sys_exit`, one program each.
//! - Records: `Data`, and `Open` before the first of a connection; `Datagram`; `Close` for unix sockets.
//! - Kernel: 5.5 for BTF raw tracepoints.
//! - Fallback: none; it is itself the fallback of the socket backend.
//! - Cost: a look at its number in each program for every call; for those that move bytes of a process
//!   that is not watched a look at the cache of processes, too.
//!
//! Everything happens at exit, where the kernel's return value says how much was moved and the
//! registers still hold the arguments (the kernel saves them at entry and restores them from there).
//! At entry only the time is taken, and only for calls that write: a peer on the same machine may
//! answer before a write returns, so the time of return is too late for its beginning.
//!
//! `connect`, `accept`, `dup` and `shutdown` need no look of their own: the socket is found from the
//! descriptor at each call, whoever made the descriptor, and the end of a TCP direction shows in
//! its state. `pread` and `pwrite` fail on sockets; `preadv2` and `pwritev2` do not.

use aya_ebpf::{
    bindings::pt_regs, helpers::generated::bpf_get_current_pid_tgid, macros::btf_tracepoint,
    programs::BtfTracePointContext,
};
use vigie_common::{
    counter::Counter,
    policy::needs,
    record::{CloseReason, Direction},
};

use super::call::{
    MSG_OOB, MSG_TRUNC, begin, has_header, has_several, is_compat, kind, kind_of, note_name, skips,
    source, tells_end, vigie_message, vigie_message_of,
};
use crate::{
    connection::{self, AF_UNIX},
    entered,
    maps::{count, is_needed},
    probes::tcp,
    process, segment, socket,
    work::{Source, Work},
};

/// Messages looked at in one sendmmsg or recvmmsg.
const MAX_MESSAGES: u64 = 8;

#[btf_tracepoint(function = "sys_enter")]
pub fn sys_enter(ctx: BtfTracePointContext) -> i32 {
    let kind = kind_of(ctx.arg::<u64>(1));
    if kind < kind::WRITE {
        return 0;
    }
    if kind == kind::CLOSE {
        closing(ctx.arg(0));
        return 0;
    }
    // SAFETY: no arguments.
    entered::note(unsafe { bpf_get_current_pid_tgid() } as u32);
    0
}

#[btf_tracepoint(function = "sys_exit")]
pub fn sys_exit(ctx: BtfTracePointContext) -> i32 {
    let registers: *const pt_regs = ctx.arg(0);
    // SAFETY: the verifier knows the argument as a pointer to `struct pt_regs` and checks each
    // access against BTF.
    let kind = kind_of(unsafe { (*registers).orig_rax });
    if kind == kind::NONE || kind == kind::CLOSE {
        return 0;
    }
    let returned: i64 = ctx.arg(1);
    if returned <= 0 && !tells_end(kind >= kind::WRITE, returned) {
        return 0;
    }
    let Some(work) = begin(0) else { return 0 };
    if !is_compat(registers) {
        // SAFETY: as above.
        let arguments =
            unsafe { [(*registers).rdi, (*registers).rsi, (*registers).rdx, (*registers).r10] };
        // SAFETY: as above.
        note_name(work, kind, unsafe { (*registers).r8 });
        if kind >= kind::WRITE {
            work.caller.enter_ns = entered::of(work.caller.tid);
        }
        if returned <= 0 {
            ended(work, kind, arguments, returned);
        } else {
            moved(work, kind, arguments, returned as u64);
        }
    }
    work.give();
    0
}

/// Flags of a receive, by its third and fourth argument; 0 for other calls.
#[inline(always)]
fn receive_flags(kind: u8, third: u64, fourth: u64) -> u64 {
    match kind {
        kind::RECVFROM | kind::RECVMMSG => fourth,
        kind::RECVMSG => third,
        _ => 0,
    }
}

#[inline(always)]
fn ended(work: &mut Work, kind: u8, [fd, _, third, fourth]: [u64; 4], returned: i64) {
    // A message of the error queue has no bytes, and is no end.
    if skips(receive_flags(kind, third, fourth)) {
        return;
    }
    let asked = if kind <= kind::READV || kind == kind::RECVFROM { third } else { 1 };
    if returned == 0 && asked == 0 {
        return;
    }
    let Some(socket) = socket::from_fd(fd as u32, false) else { return };
    segment::ended(work, socket.sock, direction_of(kind), (-returned) as u8);
}

#[inline(always)]
fn moved(work: &mut Work, kind: u8, [fd, second, third, fourth]: [u64; 4], returned: u64) {
    work.total = returned;
    work.source = source(kind, second, third);
    if skips(receive_flags(kind, third, fourth)) {
        return;
    }
    match kind {
        kind::RECVFROM if fourth & MSG_TRUNC != 0 => work.source = Source::none(),
        kind::SENDTO if fourth & MSG_OOB != 0 => return,
        _ => {}
    }
    // One round for every call but those that move several messages, and splice, which may have a
    // socket at either end: splice(in, offset, out, offset, length, flags).
    let mut round = 0;
    while round < MAX_MESSAGES {
        let several = has_several(kind);
        let mut fd = fd;
        let mut direction = direction_of(kind);
        if has_header(kind) {
            let is_read = if several {
                vigie_message_of(work.slot, second, round)
            } else {
                vigie_message(work.slot, second, 0)
            };
            if is_read == 0 {
                return;
            }
        } else if kind == kind::SPLICE {
            if round == 0 {
                direction = Direction::Received;
            } else {
                fd = third;
            }
        }
        if work.total > 0
            && let Some(socket) = socket::from_fd(fd as u32, is_certain(kind))
        {
            work.sock = socket.sock;
            segment::moved(work, direction, segment::Sockets::Any);
        }
        round += 1;
        let rounds = if several {
            returned
        } else if kind == kind::SPLICE {
            2
        } else {
            1
        };
        if round >= rounds {
            return;
        }
    }
    count(Counter::LostMessageBound, 1);
}

#[inline(always)]
fn direction_of(kind: u8) -> Direction {
    if kind >= kind::WRITE { Direction::Sent } else { Direction::Received }
}

/// Whether a call that succeeded tells that its descriptor is a socket.
#[inline(always)]
fn is_certain(kind: u8) -> bool {
    matches!(
        kind,
        kind::RECVFROM
            | kind::RECVMSG
            | kind::RECVMMSG
            | kind::SENDTO
            | kind::SENDMSG
            | kind::SENDMMSG
    )
}

/// A unix socket has no state that a tracepoint reports, so its end is the close of its last
/// descriptor.
#[inline(always)]
fn closing(registers: *const pt_regs) {
    if !is_needed(needs::UNIX_CLOSE) {
        return;
    }
    // SAFETY: no arguments.
    let tgid = (unsafe { bpf_get_current_pid_tgid() } >> 32) as u32;
    if process::watched(tgid).is_none() {
        return;
    }
    // SAFETY: as in `sys_exit`.
    let fd = unsafe { (*registers).rdi } as u32;
    if !socket::is_in_table(fd) {
        return;
    }
    let Some(socket) = socket::from_fd(fd, false) else { return };
    let Some(known) = connection::known(socket.sock) else { return };
    if known.family == AF_UNIX && socket::is_last_reference(socket.file) {
        tcp::close(known, CloseReason::Destroyed, 0);
        connection::forget(socket.sock);
    }
}
