//! Receives that were under way when the hooks were attached.
//!
//! A function that was entered before it was hooked is not seen to return, and a thread that waits
//! for the next request on a connection is in one, maybe for hours. User space puts such threads into
//! the table `BLOCKED`. The receive of each is taken once, when it passes `tcp_cleanup_rbuf` or
//! `skb_consume_udp`; the registers of its system call say where the bytes are.

use core::mem::offset_of;

use aya_ebpf::{
    bindings::pt_regs,
    helpers::generated::{
        bpf_get_current_pid_tgid, bpf_get_current_task, bpf_get_current_task_btf, bpf_task_pt_regs,
    },
    macros::fentry,
    programs::FEntryContext,
};
use vigie_common::record::Direction;

use crate::{
    datagram::name,
    kernel::read,
    maps::BLOCKED,
    params::{offset, setting},
    probes::call::{MSG_TRUNC, begin, kind, kind_of, skips, source, vigie_message},
    segment::{self, Sockets},
    work::{Source, Work},
};

/// Bytes of a kernel stack on x86-64; the registers of the system call are at its end. Only where
/// there is no helper that knows, which is before 5.15.
const STACK_BYTES: u64 = 16 << 10;

/// tcp_cleanup_rbuf(sock, copied), for the `fentry` backend.
#[fentry(function = "tcp_cleanup_rbuf")]
pub fn fentry_tcp_cleanup_rbuf(ctx: FEntryContext) -> i32 {
    woken(ctx.arg(0), ctx.arg::<i32>(1).into(), Sockets::Streams);
    0
}

/// skb_consume_udp(sock, buffer, copied), for the `fentry` backend: the same for datagrams.
#[fentry(function = "skb_consume_udp")]
pub fn fentry_skb_consume_udp(ctx: FEntryContext) -> i32 {
    woken(ctx.arg(0), ctx.arg::<i32>(2).into(), Sockets::Datagrams);
    0
}

/// Takes the receive of a thread that was blocked, if it has copied anything.
#[inline(always)]
pub(super) fn woken(sock: u64, copied: i64, sockets: Sockets) {
    // SAFETY: no arguments.
    let tid = unsafe { bpf_get_current_pid_tgid() } as u32;
    if copied <= 0 || BLOCKED.get_ptr(tid).is_none() {
        return;
    }
    let _ = BLOCKED.remove(tid);
    let Some(registers) = registers() else { return };
    let Some(work) = begin(0) else { return };
    received(work, registers, sock, copied as u64, sockets);
    work.give();
}

#[inline(always)]
fn received(work: &mut Work, registers: u64, sock: u64, copied: u64, sockets: Sockets) {
    let register = |offset| read::<u64>(registers, offset).unwrap_or(u64::MAX);
    let kind = kind_of(register(offset_of!(pt_regs, orig_rax)));
    let second = register(offset_of!(pt_regs, rsi));
    let third = register(offset_of!(pt_regs, rdx));
    let fourth = register(offset_of!(pt_regs, r10));
    let flags = match kind {
        kind::READ | kind::READV => 0,
        kind::RECVFROM => fourth,
        kind::RECVMSG => third,
        _ => return,
    };
    if skips(flags) {
        return;
    }
    work.sock = sock;
    work.total = copied;
    if flags & MSG_TRUNC != 0 {
        work.source = Source::none();
    } else if kind == kind::RECVMSG {
        vigie_message(work.slot, second, 0);
    } else {
        work.source = source(kind, second, third);
    }
    // Who sent it is not in the program's memory yet.
    work.name_from = name::NONE;
    segment::moved(work, Direction::Received, sockets);
}

/// Where the registers of the system call are that the current thread is in.
#[inline(always)]
fn registers() -> Option<u64> {
    if setting!(has_task_registers) != 0 {
        // SAFETY: no arguments; the task is the current one.
        return Some(unsafe { bpf_task_pt_regs(bpf_get_current_task_btf()) } as u64);
    }
    // SAFETY: no arguments.
    let task = unsafe { bpf_get_current_task() };
    Some(read::<u64>(task, offset!(task_stack))? + STACK_BYTES - size_of::<pt_regs>() as u64)
}
