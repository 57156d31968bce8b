//! The syscall backend.
//!
//! - Hooks: BTF raw tracepoints `sys_enter` and `sys_exit`, one program each.
//! - Records: `Data`, and `Open` before the first of a connection; `Close` for unix sockets.
//! - Kernel: 5.5 for BTF raw tracepoints.
//! - Fallback: none; it is itself the fallback of the socket backend.
//! - Cost: a call that does not concern vigie costs one table look-up in each program.
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
    bindings::pt_regs,
    helpers::generated::{bpf_get_current_pid_tgid, bpf_ktime_get_ns},
    macros::btf_tracepoint,
    programs::BtfTracePointContext,
};
use vigie_common::{
    counter::Counter,
    record::{CloseReason, Direction},
};

use crate::{
    connection::{self, AF_UNIX},
    kernel::read_user,
    maps::{ENTERED, ENTERED_SLOTS, UNIX_SEEN, count},
    probes::tcp,
    process,
    segment::{self, Caller, Source, Work},
    socket,
};

/// What is done at a system call.
mod kind {
    pub(super) const NONE: u8 = 0;
    pub(super) const READ: u8 = 1;
    pub(super) const READV: u8 = 2;
    pub(super) const RECVFROM: u8 = 3;
    pub(super) const RECVMSG: u8 = 4;
    pub(super) const RECVMMSG: u8 = 5;
    /// The kinds from here on write.
    pub(super) const WRITE: u8 = 6;
    pub(super) const WRITEV: u8 = 7;
    pub(super) const SENDTO: u8 = 8;
    pub(super) const SENDMSG: u8 = 9;
    pub(super) const SENDMMSG: u8 = 10;
    pub(super) const SENDFILE: u8 = 11;
    pub(super) const SPLICE: u8 = 12;
    pub(super) const CLOSE: u8 = 13;
}

const NUMBERS: usize = 512;

/// Kind by system call number of x86-64 (arch/x86/entry/syscalls/syscall_64.tbl).
static KINDS: [u8; NUMBERS] = {
    let mut table = [kind::NONE; NUMBERS];
    table[0] = kind::READ;
    table[1] = kind::WRITE;
    table[3] = kind::CLOSE;
    table[19] = kind::READV;
    table[20] = kind::WRITEV;
    table[40] = kind::SENDFILE;
    table[44] = kind::SENDTO;
    table[45] = kind::RECVFROM;
    table[46] = kind::SENDMSG;
    table[47] = kind::RECVMSG;
    table[275] = kind::SPLICE;
    table[299] = kind::RECVMMSG;
    table[307] = kind::SENDMMSG;
    table[327] = kind::READV;
    table[328] = kind::WRITEV;
    table
};

const MSG_OOB: u64 = 0x1;
const MSG_PEEK: u64 = 0x2;
const MSG_TRUNC: u64 = 0x20;
const MSG_ERRQUEUE: u64 = 0x2000;

/// Code segment of 32-bit programs.
const USER32_CS: u64 = 0x23;

/// Most iovec entries that the kernel takes (UIO_MAXIOV).
const MAX_IOVECS: u64 = 1024;

/// Messages looked at in one sendmmsg or recvmmsg.
const MAX_MESSAGES: u64 = 8;

#[inline(always)]
fn kind_of(number: u64) -> u8 {
    if number >= NUMBERS as u64 {
        return kind::NONE;
    }
    // SAFETY: the index was checked; the table is valid for ever.
    unsafe { core::ptr::read_volatile((&raw const KINDS).cast::<u8>().add(number as usize)) }
}

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
    let tid = unsafe { bpf_get_current_pid_tgid() } as u32;
    if let Some(slot) = ENTERED.get_ptr_mut(tid & (ENTERED_SLOTS - 1)) {
        // SAFETY: the slot is valid; a torn write by another thread on the same slot shows in its
        // thread number or costs a time of entry.
        unsafe {
            (*slot).tid = tid;
            (*slot).time_ns = bpf_ktime_get_ns();
        }
    }
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
    if returned <= 0 && !tells_end(kind, returned) {
        return 0;
    }
    // SAFETY: no arguments.
    let pid_tgid = unsafe { bpf_get_current_pid_tgid() };
    let tgid = (pid_tgid >> 32) as u32;
    let Some(start_ns) = process::watched(tgid) else { return 0 };
    // SAFETY: as above.
    let (cs, fd, second, third, fourth) = unsafe {
        ((*registers).cs, (*registers).rdi, (*registers).rsi, (*registers).rdx, (*registers).r10)
    };
    if cs == USER32_CS {
        count(Counter::LostCompatSyscall, 1);
        return 0;
    }
    count(Counter::Syscalls, 1);
    let Some(work) = segment::work() else { return 0 };
    caller(&mut work.caller, tgid, pid_tgid as u32, start_ns, kind);
    let direction = if kind >= kind::WRITE { Direction::Sent } else { Direction::Received };
    if returned <= 0 {
        let asked = if kind <= kind::READV || kind == kind::RECVFROM { third } else { 1 };
        if returned == 0 && asked == 0 {
            return 0;
        }
        let Some(socket) = socket::from_fd(fd as u32, false) else { return 0 };
        segment::ended(work, &socket, direction, (-returned) as u8);
        return 0;
    }
    work.total = returned as u64;
    work.source = Source { address: second, entries: Source::BUFFER };
    match kind {
        kind::READV | kind::WRITEV => work.source.entries = third.min(MAX_IOVECS),
        kind::RECVFROM if skips(fourth) => return 0,
        kind::RECVFROM if fourth & MSG_TRUNC != 0 => work.source.entries = Source::NONE,
        kind::RECVMSG if skips(third) => return 0,
        kind::SENDTO if fourth & MSG_OOB != 0 => return 0,
        kind::RECVMMSG if skips(fourth) => return 0,
        kind::SENDFILE | kind::SPLICE => work.source.entries = Source::NONE,
        _ => {}
    }
    // One round for every call but those that move several messages, and splice, which may have a
    // socket at either end: splice(in, offset, out, offset, length, flags).
    let mut round = 0;
    while round < MAX_MESSAGES {
        let several = kind == kind::RECVMMSG || kind == kind::SENDMMSG;
        let mut fd = fd;
        let mut direction = direction;
        if (kind::RECVMSG..=kind::RECVMMSG).contains(&kind)
            || kind == kind::SENDMSG
            || kind == kind::SENDMMSG
        {
            if !message(work, second, round, several) {
                return 0;
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
            segment::vigie_moved(socket.sock, socket.file, direction as u64);
        }
        round += 1;
        let rounds = if several {
            returned as u64
        } else if kind == kind::SPLICE {
            2
        } else {
            1
        };
        if round >= rounds {
            return 0;
        }
    }
    count(Counter::LostMessageBound, 1);
    0
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

/// Whether a call that moved nothing says that the connection, or a direction of it, is over.
#[inline(always)]
fn tells_end(kind: u8, returned: i64) -> bool {
    match returned {
        // Nothing more to read; a write of nothing says nothing.
        0 => kind < kind::WRITE,
        // EPIPE, ECONNABORTED, ECONNRESET, ETIMEDOUT
        -32 | -103 | -104 | -110 => true,
        _ => false,
    }
}

/// Whether a receive with these flags takes nothing out of the stream.
#[inline(always)]
fn skips(flags: u64) -> bool {
    flags & (MSG_PEEK | MSG_OOB | MSG_ERRQUEUE) != 0
}

#[inline(always)]
fn caller(caller: &mut Caller, tgid: u32, tid: u32, start_ns: u64, kind: u8) {
    caller.tgid = tgid;
    caller.tid = tid;
    caller.start_ns = start_ns;
    caller.enter_ns = 0;
    if kind >= kind::WRITE
        && let Some(slot) = ENTERED.get_ptr(tid & (ENTERED_SLOTS - 1))
    {
        // SAFETY: see `sys_enter`.
        let entered = unsafe { &*slot };
        if entered.tid == tid {
            caller.enter_ns = entered.time_ns;
        }
    }
    // SAFETY: no arguments.
    caller.exit_ns = unsafe { bpf_ktime_get_ns() };
}

/// Points `work` to the buffers of a `struct msghdr` (name, name length, iovec array, its length)
/// or, when there are several, of the one with this index in an array of `struct mmsghdr` (64 bytes
/// each, the length of what was moved at 56). Whether they could be read.
#[inline(always)]
fn message(work: &mut Work, array: u64, index: u64, several: bool) -> bool {
    let message = array.wrapping_add(index * 64);
    let Some([address, entries]) = read_user::<[u64; 2]>(message.wrapping_add(16)) else {
        count(Counter::LostUserMemory, 1);
        return false;
    };
    work.source = Source { address, entries: entries.min(MAX_IOVECS) };
    if several {
        work.total = read_user::<u32>(message.wrapping_add(56)).unwrap_or(0).into();
    }
    true
}

/// A unix socket has no state that a tracepoint reports, so its end is the close of its last
/// descriptor.
#[inline(always)]
fn closing(registers: *const pt_regs) {
    // SAFETY: map values stay valid while the program runs.
    if UNIX_SEEN.get_ptr(0).is_none_or(|seen| unsafe { *seen } == 0) {
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
    let Some(known) = connection::known(&socket) else { return };
    if known.family == AF_UNIX && socket::is_last_reference(socket.file) {
        tcp::close(known, CloseReason::Destroyed, 0);
        connection::forget(socket.sock);
    }
}
