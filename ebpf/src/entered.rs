//! When the write of a thread began: a peer on the same machine may answer before a write returns,
//! so the time of return is too late for the beginning of a request.

use aya_ebpf::helpers::generated::bpf_ktime_get_ns;

use crate::maps::ENTERED;

/// One slot per thread number modulo the size. Two threads on one slot cost each other the time of
/// entry, nothing else.
#[derive(Clone, Copy)]
#[repr(C)]
pub(crate) struct Entered {
    tid: u32,
    reserved: u32,
    /// `struct sock` where it is known at entry, else 0.
    sock: u64,
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
            (*slot).sock = 0;
            (*slot).time_ns = bpf_ktime_get_ns();
        }
    }
}

/// Notes that the current thread writes to a sock, unless that is already noted: for hooks that are
/// passed several times in one write.
#[inline(always)]
pub(crate) fn note_first(tid: u32, sock: u64) {
    if let Some(slot) = ENTERED.get_ptr_mut(tid & (SLOTS - 1)) {
        // SAFETY: see `note`.
        unsafe {
            if (*slot).tid == tid && (*slot).sock == sock {
                return;
            }
            (*slot).tid = tid;
            (*slot).sock = sock;
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

/// Like [`of`] where [`note_first`] is used: what was noted is used up.
#[inline(always)]
pub(crate) fn take(tid: u32) -> u64 {
    let Some(slot) = ENTERED.get_ptr_mut(tid & (SLOTS - 1)) else { return 0 };
    // SAFETY: see `note`.
    let entered = unsafe { &mut *slot };
    if entered.tid != tid {
        return 0;
    }
    entered.tid = 0;
    entered.time_ns
}
