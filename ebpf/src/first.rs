//! The first bytes of a call, which tell what it begins: read from user memory, wherever they are
//! spread over iovec entries.

use aya_ebpf::helpers::generated::bpf_probe_read_user;

use crate::{
    candidate::{self, vigie_candidate},
    classify::{FRAME, PREFACE, REQUEST, RESPONSE, UNDECIDED, vigie_classify},
    word::{clamp, zero},
    work::{Source, Work, vigie_entry, work},
};

/// Puts up to eight first bytes of a call, in the low bytes, and how many they are into [`Work`]. A
/// head that was put together from small iovec entries is followed over the first four.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn vigie_first_bytes(slot: u64) -> u64 {
    let Some(work) = work(slot) else { return 0 };
    let Source { address, entries, .. } = work.source;
    work.first = 0;
    work.first_length = 0;
    if entries == Source::BUFFER {
        (work.first, work.first_length) = few_bytes(work, address, work.total, 8);
        return 0;
    }
    if entries == Source::NONE {
        return 0;
    }
    let mut entry = 0u64;
    while entry < 4 {
        let have = work.first_length & 15;
        if entry >= entries || have >= 8 || u64::from(have) >= work.total {
            break;
        }
        if vigie_entry(slot, entry) == 0 {
            break;
        }
        let vector = work.vector;
        let available = vector[1].min(work.total - u64::from(have));
        let (more, count) = few_bytes(work, vector[0], available, 8 - have);
        work.first |= more << (have * 8);
        work.first_length = have + count;
        if u64::from(count) < available.min(u64::from(8 - have)) {
            break;
        }
        entry += 1;
    }
    0
}

/// Puts up to 16 first bytes of a call, and how many they are, into [`Work`]: those of a record that
/// found no room. Of several buffers only the first that is not empty is looked at.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn vigie_seen(slot: u64) -> u64 {
    let Some(work) = work(slot) else { return 0 };
    let Source { address, entries, .. } = work.source;
    let (mut base, mut length) = (address, work.total);
    if entries == Source::NONE {
        return 0;
    }
    if entries != Source::BUFFER {
        length = 0;
        let mut entry = 0u64;
        while entry < 4 {
            if entry >= entries || length > 0 {
                break;
            }
            if vigie_entry(slot, entry) == 0 {
                return 0;
            }
            let vector = work.vector;
            (base, length) = (vector[0], vector[1].min(work.total));
            entry += 1;
        }
    }
    let length = clamp::<16>(length.min(16) as u32);
    if length == 0 {
        return 0;
    }
    work.seen = [zero(), zero()];
    // SAFETY: at most 16 bytes are written into 16.
    let result = unsafe {
        bpf_probe_read_user((&raw mut work.seen).cast(), length, base as usize as *const _)
    };
    if result == 0 {
        work.seen_length = length;
    }
    0
}

/// At most `wanted` (1 to 8) of the `available` bytes at `address`. They are read into [`Work`] first:
/// the stack of all callers together is full.
#[inline(always)]
fn few_bytes(work: &mut Work, address: u64, available: u64, wanted: u32) -> (u64, u32) {
    let length = clamp::<8>(available.min(u64::from(wanted)) as u32);
    if length == 0 {
        return (0, 0);
    }
    work.few = zero();
    // SAFETY: at most eight bytes are written into eight.
    let result = unsafe {
        bpf_probe_read_user((&raw mut work.few).cast(), length, address as usize as *const _)
    };
    if result == 0 { (work.few, length) } else { (0, 0) }
}

/// Whether a call's bytes begin with the head of a message.
#[inline(always)]
pub(crate) fn begins_message(work: &mut Work) -> bool {
    vigie_first_bytes(work.slot);
    work.first_length == 8 && matches!(vigie_classify(work.first, 8), REQUEST | RESPONSE)
}

/// Whether the call in [`Work`] may be the beginning of a message of a known protocol.
#[inline(always)]
pub(crate) fn may_begin_message(slot: u64) -> bool {
    vigie_first_bytes(slot);
    let Some(work) = work(slot) else { return false };
    let (bytes, length) = (work.first, u64::from(work.first_length));
    if length == 0 {
        return false;
    }
    match vigie_classify(bytes, length) {
        UNDECIDED | REQUEST | RESPONSE | PREFACE | FRAME => true,
        _ => match vigie_candidate(bytes, length, work.total) {
            candidate::YES => true,
            // The header of a packet of MySQL by itself; of all else that is short there is too much.
            candidate::MORE => length == 4 && bytes >> 24 == 0,
            _ => false,
        },
    }
}
