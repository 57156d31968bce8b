//! When a write began: a peer on the same machine may answer before a write returns, so the time of
//! return is too late for the beginning of a request.
//!
//! - Where the hook is passed at entry, too, the time is noted per thread.
//! - Where it is not, TCP's own note of what it sent last serves: between entry and return the first
//!   bytes left, and the peer knows nothing of them before.

use aya_ebpf::helpers::generated::bpf_ktime_get_ns;

use crate::{kernel::read, maps::ENTERED, params::offset, work::work};

/// One slot per thread number modulo the size. Two threads on one slot cost each other the time of
/// entry, nothing else.
#[derive(Clone, Copy)]
#[repr(C)]
pub(crate) struct Entered {
    tid: u32,
    reserved: u32,
    time_ns: u64,
}

/// Slots of the table, a power of two.
pub(crate) const SLOTS: u32 = 8192;

/// Notes that the current thread begins to write now.
#[inline(always)]
pub(crate) fn note(tid: u32) {
    if let Some(slot) = ENTERED.get_ptr_mut(tid & (SLOTS - 1)) {
        // SAFETY: the slot is valid; a torn write by another thread on the same slot shows in its
        // thread number or costs a time of entry.
        unsafe {
            (*slot).tid = tid;
            (*slot).time_ns = bpf_ktime_get_ns();
        }
    }
}

/// When the write of a thread that ends now began, monotonic; 0 when it is not known.
#[inline(always)]
pub(crate) fn of(tid: u32) -> u64 {
    let Some(slot) = ENTERED.get_ptr(tid & (SLOTS - 1)) else { return 0 };
    // SAFETY: see `note`.
    let entered = unsafe { &*slot };
    if entered.tid == tid { entered.time_ns } else { 0 }
}

/// Puts into [`Work`](crate::work::Work) when the first bytes of its write on a TCP socket left, to the
/// microsecond below. `last_ns` is when bytes went by before. Leaves 0 there when that is not known: when
/// nothing has left yet, so that the time of return will do, or when bytes from before were still on
/// their way.
///
/// `first_tx_mstamp` is the time at which the kernel began to send when nothing was on its way, or at
/// which it sent what was acknowledged last (`tcp_rate_skb_sent` and `tcp_rate_skb_delivered` in
/// net/ipv4, since 4.9; microseconds of the monotonic clock).
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn vigie_left(slot: u64, last_ns: u64) -> u64 {
    let Some(work) = work(slot) else { return 0 };
    if offset!(tcp_first_sent) == 0 {
        return 0;
    }
    let sock = work.sock;
    let written = read::<u32>(sock, offset!(tcp_write_seq)).unwrap_or(0);
    let sent = read::<u32>(sock, offset!(tcp_snd_nxt)).unwrap_or(0);
    let waits = u64::from(written.wrapping_sub(sent));
    let time_ns = read::<u64>(sock, offset!(tcp_first_sent)).unwrap_or(0).wrapping_mul(1000);
    if waits < work.total && time_ns > last_ns && time_ns < work.caller.exit_ns {
        work.caller.enter_ns = time_ns;
    }
    0
}
