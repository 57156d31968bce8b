//! The socket backend on BTF tracepoints.
//!
//! - Hooks: `sock_send_length` and `sock_recv_length`, which every send and receive passes at its
//!   end; `tcp_rcv_space_adjust` for splice.
//! - Records: `Data`, `Open`, `Datagram`.
//! - Kernel: 6.3.
//! - Fallback: the system calls.
//! - Cost: nothing in other system calls; a send or receive of a process that is not watched costs
//!   a look at the cache of processes.
//!
//! The tracepoints tell the sock and the length, not where the bytes are: that is taken from the
//! registers of the system call that the thread is in. What io_uring moves has no call of its own,
//! so it is counted by its length. Splice from a TCP socket passes neither, but
//! `tcp_rcv_space_adjust`, and the socket's sequence numbers say how much it took. The close of a unix
//! socket is seen by `sys_enter`, which is attached with the first such connection, and notes when writes to
//! such sockets begin.

use core::ffi::c_void;

use aya_ebpf::{
    bindings::{pt_regs, task_struct},
    helpers::generated::{
        bpf_get_current_pid_tgid, bpf_get_current_task_btf, bpf_skc_to_tcp_sock, bpf_task_pt_regs,
    },
    macros::btf_tracepoint,
    programs::BtfTracePointContext,
};
use vigie_common::{counter::Counter, record::Direction};

use crate::{
    connection,
    datagram::name,
    entered,
    kernel::read,
    maps::{SERIES, count},
    params::offset,
    probes::call::{
        MSG_OOB, MSG_TRUNC, begin, begin_as, has_header, has_several, is_compat, kind, kind_of,
        note_name, skips, source, tells_end, vigie_message,
    },
    process,
    segment::{self, Sockets},
    unread,
    work::{Source, Work, vigie_entry, work},
};

/// Progress of a thread through the messages of one sendmmsg or recvmmsg.
#[derive(Clone, Copy)]
#[repr(C)]
pub(crate) struct Series {
    tid: u32,
    /// Index of the next message.
    next: u32,
    /// Address of the array.
    array: u64,
}

/// Buffers of a message that are added up.
const SERIES_BUFFERS: u64 = 8;

/// Slots of the table of [`Series`], by thread number modulo the size, a power of two.
pub(crate) const SERIES_SLOTS: u32 = 1024;

#[btf_tracepoint(function = "sock_recv_length")]
pub fn sock_recv_length(ctx: BtfTracePointContext) -> i32 {
    let returned: i32 = ctx.arg(1);
    if returned <= 0 {
        end_series();
        if !tells_end(false, returned.into()) {
            return 0;
        }
    }
    let flags: u32 = ctx.arg(2);
    if skips(flags.into()) {
        return 0;
    }
    let task = Task::current();
    let Some(start_ns) = process::watched(task.tgid()) else { return 0 };
    let Some(work) = begin_as(task.pid_tgid(), start_ns, 0) else { return 0 };
    // SAFETY: the verifier knows the argument as a `struct sock`. The helper gives the same sock, or
    // null when it is not TCP's, and the verifier checks the access against BTF.
    unsafe {
        let tcp = bpf_skc_to_tcp_sock(ctx.arg::<*mut c_void>(0)).cast::<u8>();
        if !tcp.is_null() {
            let sequence = *tcp.add(offset!(tcp_copied_seq)).cast::<u32>();
            work.sequence = Work::HAS_SEQUENCE | u64::from(sequence);
        }
    }
    let flags = u64::from(flags);
    moved(work, task.registers(), ctx.arg(0), returned, flags, Direction::Received);
    work.give();
    0
}

#[btf_tracepoint(function = "sock_send_length")]
pub fn sock_send_length(ctx: BtfTracePointContext) -> i32 {
    let returned: i32 = ctx.arg(1);
    if returned <= 0 {
        end_series();
        if !tells_end(true, returned.into()) {
            return 0;
        }
    }
    let task = Task::current();
    let Some(start_ns) = process::watched(task.tgid()) else { return 0 };
    let sock: u64 = ctx.arg(0);
    let registers = task.registers();
    // SAFETY: see `moved`.
    let kind = kind_of(unsafe { (*registers).orig_rax });
    if (kind == kind::SENDFILE || kind == kind::SPLICE)
        && returned > 0
        && unread::sent(sock, returned as u64, task.tgid(), task.tid(), start_ns)
    {
        return 0;
    }
    let Some(work) = begin_as(task.pid_tgid(), start_ns, 0) else { return 0 };
    moved(work, registers, sock, returned, 0, Direction::Sent);
    work.give();
    0
}

/// Passed when bytes were taken out of a TCP socket, by splice too.
#[btf_tracepoint(function = "tcp_rcv_space_adjust")]
pub fn tcp_rcv_space_adjust(ctx: BtfTracePointContext) -> i32 {
    let registers = Task::current().registers();
    // SAFETY: see `moved`.
    if kind_of(unsafe { (*registers).orig_rax }) != kind::SPLICE {
        return 0;
    }
    let sock: u64 = ctx.arg(0);
    let Some(known) = connection::known(sock) else { return 0 };
    let Some(now) = read::<u32>(sock, offset!(tcp_copied_seq)) else { return 0 };
    let taken = now.wrapping_sub(known.sequence);
    if taken == 0 || known.sequence == 0 {
        return 0;
    }
    let Some(work) = begin(0) else { return 0 };
    work.total = taken.into();
    work.source = Source::none();
    work.sock = sock;
    segment::moved(work, Direction::Received, Sockets::Streams);
    work.give();
    0
}

/// The current thread, as the verifier knows it: its fields are read without a call.
#[derive(Clone, Copy)]
struct Task(*mut task_struct);

impl Task {
    #[inline(always)]
    fn current() -> Self {
        // SAFETY: no arguments.
        Self(unsafe { bpf_get_current_task_btf() })
    }

    #[inline(always)]
    fn tgid(self) -> u32 {
        // SAFETY: the verifier checks the access against BTF.
        unsafe { *self.0.cast::<u8>().add(offset!(task_tgid)).cast::<u32>() }
    }

    #[inline(always)]
    fn tid(self) -> u32 {
        // SAFETY: as in `tgid`.
        unsafe { *self.0.cast::<u8>().add(offset!(task_pid)).cast::<u32>() }
    }

    #[inline(always)]
    fn pid_tgid(self) -> u64 {
        u64::from(self.tgid()) << 32 | u64::from(self.tid())
    }

    /// The registers of the system call that it is in.
    #[inline(always)]
    fn registers(self) -> *const pt_regs {
        // SAFETY: the task is the current one.
        unsafe { bpf_task_pt_regs(self.0) as usize as *const pt_regs }
    }
}

#[inline(always)]
fn moved(
    work: &mut Work,
    registers: *const pt_regs,
    sock: u64,
    returned: i32,
    flags: u64,
    direction: Direction,
) {
    // SAFETY: the verifier knows what the helper returns as a pointer to `struct pt_regs` and
    // checks each access against BTF.
    let (number, second, third, fourth) =
        unsafe { ((*registers).orig_rax, (*registers).rsi, (*registers).rdx, (*registers).r10) };
    // SAFETY: as above.
    let fifth = unsafe { (*registers).r8 };
    let kind = kind_of(number);
    let sent = matches!(direction, Direction::Sent);
    if returned <= 0 {
        let has_length = kind <= kind::READV || kind == kind::RECVFROM;
        if !(returned == 0 && has_length && third == 0) {
            segment::ended(work, sock, direction, (-returned) as u8);
        }
        return;
    }
    if sent && kind >= kind::WRITE {
        // Noted where `sys_enter` is attached.
        work.caller.enter_ns = entered::of(work.caller.tid);
    }
    work.total = returned as u64;
    work.source = Source::none();
    if kind == kind::NONE || sent != (kind >= kind::WRITE) {
        count(Counter::LostIteratorUnread, 1);
    } else if is_compat(registers) {
        // Its length is right all the same.
    } else if has_header(kind) {
        if kind == kind::SENDMSG && third & MSG_OOB != 0 {
            return;
        }
        let index = if has_several(kind) { in_series(second, third) } else { 0 };
        if vigie_message(work.slot, second, index) != 0
            && has_several(kind)
            && sent
            && is_partial(work.slot)
        {
            end_series();
        }
    } else if kind == kind::SENDTO && fourth & MSG_OOB != 0 {
        return;
    } else {
        work.source = source(kind, second, third);
    }
    if !sent && flags & MSG_TRUNC != 0 {
        work.source = Source::none();
    }
    if sent {
        note_name(work, kind, fifth);
    } else {
        // The kernel tells the program later who sent it.
        work.name_from = name::NONE;
    }
    work.sock = sock;
    segment::moved(work, direction, Sockets::Any);
}

/// Which message of an array of `entries` this is: the one after the last that this thread was
/// seen to move, unless that was the end of the call.
#[inline(always)]
fn in_series(array: u64, entries: u64) -> u64 {
    let Some((series, tid)) = series() else { return 0 };
    let goes_on = series.tid == tid && series.array == array && u64::from(series.next) < entries;
    let index = if goes_on { series.next } else { 0 };
    *series = Series { tid, next: index + 1, array };
    index.into()
}

/// A message that failed, or was sent in part, is the last of its call.
#[inline(always)]
fn end_series() {
    if let Some((series, tid)) = series()
        && series.tid == tid
    {
        series.tid = 0;
    }
}

#[inline(always)]
fn series() -> Option<(&'static mut Series, u32)> {
    // SAFETY: no arguments.
    let tid = unsafe { bpf_get_current_pid_tgid() } as u32;
    let slot = SERIES.get_ptr_mut(tid & (SERIES_SLOTS - 1))?;
    // SAFETY: the slot is valid; another thread on the same slot shows in its thread number.
    Some((unsafe { &mut *slot }, tid))
}

/// Whether less was moved than the first buffers of a message hold.
#[inline(always)]
fn is_partial(slot: u64) -> bool {
    // Not handed in: the compiler takes what a reference of a function's caller leads to for
    // unchanged by others.
    let Some(work) = work(slot) else { return false };
    let mut asked = 0u64;
    let mut index = 0;
    while index < SERIES_BUFFERS && index < work.source.entries {
        if vigie_entry(slot, index) == 0 {
            break;
        }
        asked = asked.wrapping_add(work.vector[1]);
        index += 1;
    }
    work.total < asked
}
