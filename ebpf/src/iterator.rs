//! From the kernel's own iterator (`struct iov_iter`) to the user memory that a call moved.
//!
//! It is looked at when the call is over: by then the iterator has gone on by the bytes that were
//! moved, so they end where it stands, and the way to their beginning is backwards. Nothing has to
//! be kept from the call's beginning for it.

use vigie_common::counter::Counter;

use crate::{
    datagram::name,
    kernel::read,
    maps::count,
    params::{offset, setting},
    work::{Source, work},
};

/// Entries of an iovec array that are gone back over.
const MAX_BACK: u64 = 64;

/// A send of pages, since 6.5.
const MSG_SPLICE_PAGES: u32 = 0x800_0000;

/// Points [`crate::work::Work`] to the bytes that were moved with the iterator of its message, and to who
/// is at the other end.
/// What has no user memory (pages of files and pipes, registered buffers of io_uring) is counted as
/// unread.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn vigie_iterator(slot: u64) -> u64 {
    let Some(work) = work(slot) else { return 0 };
    // Here and not by the callers: their stack is full.
    work.name = work.message;
    work.name_from = name::KERNEL_MESSAGE;
    work.source = match behind(work.message, work.total) {
        Some(source) => source,
        None => {
            // The pages of sendfile and splice are no loss.
            let flags = read::<u32>(work.message, offset!(message_flags)).unwrap_or(0);
            if flags & MSG_SPLICE_PAGES == 0 {
                count(Counter::LostIteratorUnread, 1);
            }
            Source::none()
        }
    };
    0
}

#[inline(always)]
fn behind(message: u64, total: u64) -> Option<Source> {
    let iterator = message.wrapping_add(offset!(message_iterator) as u64);
    let kind = read::<u32>(iterator, offset!(iterator_kind))? & setting!(iterator_mask);
    let within: u64 = read(iterator, offset!(iterator_within))?;
    let pointer: u64 = read(iterator, offset!(iterator_pointer))?;
    if setting!(iterator_has_buffer) != 0 && kind == setting!(iterator_buffer) {
        return Some(Source::buffer(pointer.wrapping_add(within).wrapping_sub(total)));
    }
    if kind != setting!(iterator_vector) {
        return None;
    }
    let mut back = 0;
    let mut covered = within;
    while covered < total {
        back += 1;
        if back > MAX_BACK {
            return None;
        }
        covered += read::<[u64; 2]>(pointer.wrapping_sub(back * 16), 0)?[1];
    }
    Some(Source {
        address: pointer.wrapping_sub(back * 16),
        entries: back + u64::from(within > 0),
        skip: covered - total,
        in_kernel: 1,
    })
}

/// Bytes that the iterator of a `struct msghdr` has still to go.
#[inline(always)]
pub(crate) fn remaining(message: u64) -> Option<u64> {
    read(message, offset!(message_iterator) + offset!(iterator_count))
}
