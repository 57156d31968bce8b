//! The state of one call's handling, and where the call's bytes are in user memory.
//!
//! There are a few states per CPU, as a thread may be preempted in the middle of a program. Who
//! handles a call [`take`]s one.

use vigie_common::{
    counter::Counter,
    record::{Data, Datagram, Direction},
};

use crate::{
    connection::Connection,
    emit,
    frames::Walk,
    kernel::{read, read_user},
    maps::{WORK, count},
    word::{add, zero},
};

/// Most iovec entries that the kernel takes (UIO_MAXIOV).
const MAX_IOVECS: u64 = 1024;

/// Where the bytes of a call are in user memory.
#[derive(Clone, Copy)]
#[repr(C)]
pub(crate) struct Source {
    /// Address of the bytes, or of the iovec array.
    pub(crate) address: u64,
    /// Entries of the iovec array; [`Source::BUFFER`] for one buffer, [`Source::NONE`] for none.
    pub(crate) entries: u64,
    /// Bytes of the first entry that are not the call's.
    pub(crate) skip: u64,
    /// 1 when the iovec array is the kernel's own copy. The bytes are in user memory always.
    pub(crate) in_kernel: u64,
}

impl Source {
    pub(crate) const BUFFER: u64 = u64::MAX;
    pub(crate) const NONE: u64 = u64::MAX - 1;

    /// No bytes that can be read.
    #[inline(always)]
    pub(crate) fn none() -> Self {
        Self { address: zero(), entries: Self::NONE, skip: zero(), in_kernel: zero() }
    }

    /// One buffer of user memory.
    #[inline(always)]
    pub(crate) fn buffer(address: u64) -> Self {
        Self { address, entries: Self::BUFFER, skip: zero(), in_kernel: zero() }
    }

    /// An iovec array of user memory.
    #[inline(always)]
    pub(crate) fn vector(address: u64, entries: u64) -> Self {
        Self { address, entries: entries.min(MAX_IOVECS), skip: zero(), in_kernel: zero() }
    }
}

/// Who called, and when.
#[derive(Clone, Copy)]
#[repr(C)]
pub(crate) struct Caller {
    pub(crate) tgid: u32,
    pub(crate) tid: u32,
    pub(crate) start_ns: u64,
    pub(crate) enter_ns: u64,
    pub(crate) exit_ns: u64,
}

/// A word that is read from memory each time. What is in a register the verifier follows on every way
/// on which it was compared; of memory it knows nothing, and all ways that lead to a place look alike.
#[derive(Clone, Copy)]
#[repr(transparent)]
pub(crate) struct Note(u64);

impl Note {
    #[inline(always)]
    pub(crate) fn get(&self) -> u64 {
        // SAFETY: the field is valid.
        unsafe { (&raw const self.0).read_volatile() }
    }

    #[inline(always)]
    pub(crate) fn set(&mut self, word: u64) {
        // SAFETY: the field is valid.
        unsafe { (&raw mut self.0).write_volatile(word) };
    }
}

/// The state of one call's handling.
///
/// It is kept in a per-CPU map and not on the stack, so that the verifier knows no value in it:
/// every round of the copy loop then looks the same to it, and it is done after a few thousand
/// instructions instead of a million. Who uses one [`take`]s it.
#[repr(C)]
pub(crate) struct Work {
    pub(crate) caller: Caller,
    /// `struct sock` of the call.
    pub(crate) sock: u64,
    /// `struct msghdr` of the call, where a hook has it.
    pub(crate) message: u64,
    pub(crate) source: Source,
    /// Where the address of the other end of a datagram is, by [`crate::datagram::name`].
    pub(crate) name: u64,
    pub(crate) name_from: u64,
    /// [`crate::segment::DATAGRAM`] when the call was found to be of a UDP socket, else 0.
    pub(crate) datagram: u64,
    /// What its record begins with.
    pub(crate) datagram_header: Datagram,
    pub(crate) total: u64,
    /// Sequence number up to which the receiver took bytes, where the hook told it with
    /// [`Work::HAS_SEQUENCE`], else 0.
    pub(crate) sequence: u64,
    pub(crate) header: Data,
    /// 1 when the bytes are sent.
    pub(crate) sent: Note,
    /// 1 when they are the first of a turn.
    pub(crate) turn: Note,
    /// 1 when they belong to a request of HTTP/1.
    pub(crate) request: Note,
    /// When bytes went by on the connection before, in nanoseconds; 0 when none did.
    pub(crate) last_ns: Note,
    /// Payload bytes that may still be copied.
    pub(crate) budget: u64,
    /// Bytes of the call that are still to be handled.
    pub(crate) remaining: u64,
    /// Next iovec entry.
    pub(crate) entry: u64,
    /// What is left of the current buffer.
    pub(crate) base: u64,
    pub(crate) length: u64,
    /// Bytes at the end that were passed over, where the last of them end, and how many of them
    /// are in one buffer there.
    pub(crate) skipped: u64,
    pub(crate) skipped_end: u64,
    pub(crate) skipped_last: u64,
    /// Records that found no room.
    pub(crate) failed: u64,
    /// Base and length of the iovec entry that was read last.
    pub(crate) vector: [u64; 2],
    /// Bases and lengths of the first iovec entries.
    pub(crate) pieces: [[u64; 2]; emit::GATHERED_ENTRIES as usize],
    /// Where a few bytes of user memory are read to.
    pub(crate) few: u64,
    /// First bytes of the call, and how many they are.
    pub(crate) first: u64,
    pub(crate) first_length: u32,
    /// How many there are in `seen`.
    pub(crate) seen_length: u32,
    /// First bytes of the call as its first record has them.
    pub(crate) seen: [u64; 2],
    /// Whether the bytes follow the head of a final response: a status line begins another.
    pub(crate) responded: u32,
    /// Whether one was there.
    pub(crate) another_response: u32,
    /// Where the walk over frames stands.
    pub(crate) walk: Walk,
    /// Where a new connection is put together, too large for the stack.
    pub(crate) new: Connection,
    /// Bytes of records since it was looked how full their ring is.
    pub(crate) written: u64,
    /// Connections that were numbered with this state.
    pub(crate) numbered: u64,
    /// Index of this state.
    pub(crate) slot: u64,
    /// Calls that use this state: see [`take`].
    users: u64,
}

impl Work {
    /// Marks a known [`Work::sequence`].
    pub(crate) const HAS_SEQUENCE: u64 = 1 << 32;

    /// Which way the bytes go.
    #[inline(always)]
    pub(crate) fn direction(&self) -> Direction {
        if self.sent.get() == 0 { Direction::Received } else { Direction::Sent }
    }

    /// Whether they are the first of a turn.
    #[inline(always)]
    pub(crate) fn is_turn(&self) -> bool {
        self.turn.get() != 0
    }

    /// Whether they belong to a request of HTTP/1.
    #[inline(always)]
    pub(crate) fn is_request(&self) -> bool {
        self.request.get() != 0
    }

    /// Gives back what [`take`] gave.
    #[inline(always)]
    pub(crate) fn give(&mut self) {
        // SAFETY: the field is valid.
        unsafe { add(&raw mut self.users, u64::MAX) };
    }
}

/// States of each CPU.
pub(crate) const SLOTS: u32 = 4;

/// A state of this CPU.
#[inline(always)]
pub(crate) fn work(slot: u64) -> Option<&'static mut Work> {
    let work = WORK.get_ptr_mut(slot as u32)?;
    // SAFETY: see `Work`.
    Some(unsafe { &mut *work })
}

/// Takes a state of this CPU for a call. A kernel that preempts inside of programs lets another
/// thread's call come on the same CPU (with fentry up to 6.18, with all hooks but kprobes on 7.2; most
/// such calls it leaves out itself, but not those of another program): so there are a few states.
/// When all are in use the call is lost, and counted.
#[inline(always)]
pub(crate) fn take() -> Option<&'static mut Work> {
    let mut slot = 0;
    while slot < SLOTS {
        let work = work(slot.into())?;
        // The addition is one instruction, and its result is not taken from it (which 5.10 cannot):
        // a thread that comes in between finds more than itself, and has given up its claim when
        // this one goes on.
        // SAFETY: the field is valid.
        unsafe { add(&raw mut work.users, 1) };
        // SAFETY: the field is valid; a plain read of what only this CPU writes.
        if unsafe { (&raw const work.users).read_volatile() } == 1 {
            work.slot = slot.into();
            return Some(work);
        }
        work.give();
        slot += 1;
    }
    count(Counter::LostScratchBusy, 1);
    None
}

/// Reads one entry of the iovec array, whatever memory it is in, into [`Work`]. Returns whether it
/// could be read. A function of its own because loops over entries would otherwise be looked at by the
/// verifier once for each way through each of their rounds.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn vigie_entry(slot: u64, index: u64) -> u64 {
    let Some(work) = work(slot) else { return 0 };
    let address = work.source.address.wrapping_add(index * 16);
    work.vector = [zero(), zero()];
    let entry = if work.source.in_kernel == 0 {
        read_user::<[u64; 2]>(address)
    } else {
        read::<[u64; 2]>(address, 0)
    };
    let Some([base, length]) = entry else { return 0 };
    let skip = if index == 0 { work.source.skip.min(length) } else { 0 };
    work.vector = [base.wrapping_add(skip), length - skip];
    1
}

/// Takes the one entry of an iovec array for the buffer that it stands for, if it holds all bytes of the
/// call.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn vigie_single(slot: u64) -> u64 {
    let Some(work) = work(slot) else { return 0 };
    if vigie_entry(slot, 0) != 0 && work.vector[1] >= work.total {
        work.source = Source::buffer(work.vector[0]);
    }
    0
}

/// Goes on to the next buffer of the call. Returns whether there is one that can be read.
#[inline(always)]
pub(crate) fn next_buffer(work: &mut Work) -> bool {
    if work.entry >= work.source.entries || work.source.entries >= Source::NONE {
        return false;
    }
    if vigie_entry(work.slot, work.entry) == 0 {
        count(Counter::LostUserMemory, 1);
        return false;
    }
    let [base, length] = work.vector;
    work.entry += 1;
    work.base = base;
    work.length = length.min(work.remaining);
    true
}

/// Reads the first iovec entries into [`Work`]; entries that there are not, or that cannot be read,
/// are empty.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn vigie_pieces(slot: u64) -> u64 {
    let Some(work) = work(slot) else { return 0 };
    let mut entry = 0;
    while entry < work.pieces.len() {
        work.vector = [zero(), zero()];
        if (entry as u64) < work.source.entries {
            vigie_entry(slot, entry as u64);
        }
        work.pieces[entry] = work.vector;
        entry += 1;
    }
    0
}
