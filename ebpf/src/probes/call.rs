//! System calls that move bytes over sockets: their numbers, and where their arguments say that the
//! bytes are.

use aya_ebpf::{
    bindings::pt_regs,
    helpers::generated::{bpf_get_current_pid_tgid, bpf_ktime_get_ns},
};
use vigie_common::counter::Counter;

use crate::{
    datagram::name,
    kernel::read_user,
    maps::count,
    process,
    word::zero,
    work::{self, Caller, Source, Work, work},
};

/// What is done at a system call.
pub(super) mod kind {
    pub(crate) const NONE: u8 = 0;
    pub(crate) const READ: u8 = 1;
    pub(crate) const READV: u8 = 2;
    pub(crate) const RECVFROM: u8 = 3;
    pub(crate) const RECVMSG: u8 = 4;
    pub(crate) const RECVMMSG: u8 = 5;
    /// The kinds from here on write.
    pub(crate) const WRITE: u8 = 6;
    pub(crate) const WRITEV: u8 = 7;
    pub(crate) const SENDTO: u8 = 8;
    pub(crate) const SENDMSG: u8 = 9;
    pub(crate) const SENDMMSG: u8 = 10;
    pub(crate) const SENDFILE: u8 = 11;
    pub(crate) const SPLICE: u8 = 12;
    pub(crate) const CLOSE: u8 = 13;
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

pub(super) const MSG_OOB: u64 = 0x1;
const MSG_PEEK: u64 = 0x2;
pub(super) const MSG_TRUNC: u64 = 0x20;
const MSG_ERRQUEUE: u64 = 0x2000;

/// Code segment of 32-bit programs.
const USER32_CS: u64 = 0x23;

/// Takes this CPU's state for a call of the current thread that moved bytes or failed, if that is
/// watched. `enter_ns` is when the call began, 0 when that is not known.
#[inline(always)]
pub(super) fn begin(enter_ns: u64) -> Option<&'static mut Work> {
    // SAFETY: no arguments.
    let pid_tgid = unsafe { bpf_get_current_pid_tgid() };
    begin_as(pid_tgid, process::watched((pid_tgid >> 32) as u32)?, enter_ns)
}

/// Like [`begin`] for a thread whose process is known to be watched.
#[inline(always)]
pub(super) fn begin_as(pid_tgid: u64, start_ns: u64, enter_ns: u64) -> Option<&'static mut Work> {
    count(Counter::Syscalls, 1);
    let work = work::take()?;
    work.sequence = 0;
    work.name_from = zero();
    work.caller = Caller {
        tgid: (pid_tgid >> 32) as u32,
        tid: pid_tgid as u32,
        start_ns,
        enter_ns,
        // SAFETY: no arguments.
        exit_ns: unsafe { bpf_ktime_get_ns() },
    };
    Some(work)
}

/// Kind of a system call by its number.
#[inline(always)]
pub(super) fn kind_of(number: u64) -> u8 {
    if number >= NUMBERS as u64 {
        return kind::NONE;
    }
    // SAFETY: the index was checked; the table is valid for ever.
    unsafe { core::ptr::read_volatile((&raw const KINDS).cast::<u8>().add(number as usize)) }
}

/// Whether a call by a 32-bit program, whose numbers and arguments are others; counted.
#[inline(always)]
pub(super) fn is_compat(registers: *const pt_regs) -> bool {
    // SAFETY: the verifier knows the pointer as one to `struct pt_regs` and checks the access.
    let is = unsafe { (*registers).cs } == USER32_CS;
    if is {
        count(Counter::LostCompatSyscall, 1);
    }
    is
}

/// Whether a call that moved nothing says that the connection, or a direction of it, is over.
#[inline(always)]
pub(super) fn tells_end(sent: bool, returned: i64) -> bool {
    match returned {
        // Nothing more to read; a write of nothing says nothing.
        0 => !sent,
        // EPIPE, ECONNABORTED, ECONNRESET, ETIMEDOUT
        -32 | -103 | -104 | -110 => true,
        _ => false,
    }
}

/// Whether a receive with these flags takes nothing out of the stream.
#[inline(always)]
pub(super) fn skips(flags: u64) -> bool {
    flags & (MSG_PEEK | MSG_OOB | MSG_ERRQUEUE) != 0
}

/// Where a call other than those with message headers has its bytes. Those without user memory
/// have none.
#[inline(always)]
pub(super) fn source(kind: u8, second: u64, third: u64) -> Source {
    match kind {
        kind::READ | kind::WRITE | kind::RECVFROM | kind::SENDTO => Source::buffer(second),
        kind::READV | kind::WRITEV => Source::vector(second, third),
        _ => Source::none(),
    }
}

/// Notes where a call without a message header says who is at the other end: its fifth argument.
#[inline(always)]
pub(super) fn note_name(work: &mut Work, kind: u8, fifth: u64) {
    if kind == kind::SENDTO || kind == kind::RECVFROM {
        work.name = fifth;
        work.name_from = name::ADDRESS;
    }
}

/// Whether a call's second argument is a message header, or an array of them.
#[inline(always)]
pub(super) fn has_header(kind: u8) -> bool {
    matches!(kind, kind::RECVMSG | kind::RECVMMSG | kind::SENDMSG | kind::SENDMMSG)
}

/// Whether it is an array.
#[inline(always)]
pub(super) fn has_several(kind: u8) -> bool {
    kind == kind::RECVMMSG || kind == kind::SENDMMSG
}

/// Points [`Work`] to the buffers of a `struct msghdr` (name, name length, iovec array, its length),
/// the one with this index in an array of `struct mmsghdr` (64 bytes each). Returns whether they could
/// be read.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn vigie_message(slot: u64, array: u64, index: u64) -> u64 {
    let Some(work) = work(slot) else { return 0 };
    let message = array.wrapping_add(index * 64);
    let Some([address, entries]) = read_user::<[u64; 2]>(message.wrapping_add(16)) else {
        count(Counter::LostUserMemory, 1);
        return 0;
    };
    work.source = Source::vector(address, entries);
    work.name = message;
    work.name_from = name::USER_MESSAGE;
    1
}

/// Like [`vigie_message`], with what was moved of the message, as the kernel notes it in
/// `struct mmsghdr`.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn vigie_message_of(slot: u64, array: u64, index: u64) -> u64 {
    let Some(work) = work(slot) else { return 0 };
    work.total = 0;
    if let Some(length) = read_user::<u32>(array.wrapping_add(index * 64 + 56)) {
        work.total = length.into();
    }
    vigie_message(slot, array, index)
}
