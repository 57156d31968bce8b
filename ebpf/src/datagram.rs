//! Datagrams of DNS over UDP, told by their header and not by their port.
//!
//! - Hooks: those of the streams, which datagrams pass, too ([`crate::probes`]).
//! - Record: `Datagram`, one for each that may be of DNS; nothing is kept of their sockets.
//! - Cost: a send or receive of another datagram costs a look at the kind of its socket and at eight of
//!   its bytes; what is no datagram costs nothing.
//!
//! RFC 1035, section 4.1.1, has the header: identification, flags, and the numbers of questions,
//! answers, authorities and additional records, two bytes each.

use aya_ebpf::helpers::generated::{bpf_probe_read_user, bpf_ringbuf_reserve, bpf_ringbuf_submit};
use vigie_common::{
    counter::Counter,
    record::{DATAGRAM_BYTES, Datagram, Direction, Kind, datagram_flags},
};

use crate::{
    connection::{AF_INET, AF_INET6},
    emit::{self, GATHERED_ENTRIES},
    first::vigie_first_bytes,
    kernel::{read, read_user},
    maps::{count, tuning},
    params::offset,
    probes::environment,
    process, segment, socket,
    word::clamp,
    work::{Source, Work, vigie_pieces, vigie_single, work},
};

/// Where the address of the other end is.
pub(crate) mod name {
    /// Nowhere.
    pub(crate) const NONE: u64 = 0;
    /// A `struct sockaddr` in user memory.
    pub(crate) const ADDRESS: u64 = 1;
    /// Named by a `struct msghdr` in user memory.
    pub(crate) const USER_MESSAGE: u64 = 2;
    /// Named by a `struct msghdr` in kernel memory.
    pub(crate) const KERNEL_MESSAGE: u64 = 3;
}

/// Shortest message: the header, and a question for the root.
const SHORTEST: u64 = 12 + 5;

/// Whether the first eight bytes of a datagram may be those of a question or of its answer: an ordinary
/// query (opcode 0) with one question, without what only the other kind has.
#[inline(always)]
fn may_be_dns(bytes: u64) -> bool {
    let bytes = bytes.to_le_bytes();
    let (high, low) = (bytes[2], bytes[3]);
    // Opcode; the bit that has to be zero; one question.
    if high & 0x78 != 0 || low & 0x40 != 0 || bytes[4] != 0 || bytes[5] != 1 {
        return false;
    }
    // A question is neither authoritative nor truncated, has no response code and no answers.
    high & 0x80 != 0 || high & 0x06 == 0 && low & 0x8f == 0 && bytes[6] == 0 && bytes[7] == 0
}

/// Handles the datagram that the caller in [`Work`] moved over a UDP socket.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn vigie_datagram(slot: u64, sent: u64) -> u64 {
    let Some(work) = work(slot) else { return 0 };
    if work.total < SHORTEST {
        return 0;
    }
    if work.source.entries == 1 {
        vigie_single(slot);
    }
    vigie_first_bytes(slot);
    if work.first_length < 8 || !may_be_dns(work.first) {
        return 0;
    }
    if tuning().shed != 0 {
        count(Counter::LostDns, 1);
        return 0;
    }
    let sent = sent != 0;
    let there_was_room = if work.source.entries != Source::BUFFER {
        vigie_pieces(slot);
        record::<PIECES, { 2 * PIECES }>(work, sent)
    } else if work.total <= 128 {
        record::<128, 128>(work, sent)
    } else if work.total <= 512 {
        record::<512, 512>(work, sent)
    } else {
        record::<DATAGRAM_BYTES, DATAGRAM_BYTES>(work, sent)
    };
    if there_was_room {
        count(Counter::Records, 1);
    } else {
        count(Counter::LostDns, 1);
    }
    0
}

/// Bytes of a datagram from several buffers that are copied at most. The payload is twice as large, as
/// with [`emit::vigie_gather`].
const PIECES: usize = 1024;

#[derive(Clone, Copy)]
#[repr(C)]
struct Sized<const N: usize> {
    header: Datagram,
    payload: [u8; N],
}

/// Puts the record into the ring. Whether there was room.
#[inline(always)]
fn record<const N: usize, const PAYLOAD: usize>(work: &Work, sent: bool) -> bool {
    let sock = work.sock;
    let inode = socket::inode_of(sock).unwrap_or(0);
    let ring = emit::ring_of(inode);
    // Before the record: it is what the process is known by.
    let urgent = process::introduce(work.caller.tgid);
    if urgent {
        environment::emit(inode, &work.caller);
    }
    // SAFETY: `ring_of` gives a ring.
    let record = unsafe { bpf_ringbuf_reserve(ring, size_of::<Sized<PAYLOAD>>() as u64, 0) };
    if record.is_null() {
        return false;
    }
    let record = record.cast::<Sized<PAYLOAD>>();
    let wanted = work.total.min(N as u64) as u32;
    // SAFETY: the record is reserved, and the payload has `PAYLOAD` bytes.
    let copied = unsafe {
        let payload = (&raw mut (*record).payload).cast::<u8>();
        if N == PAYLOAD {
            one_piece::<N>(payload, work.source.address, wanted)
        } else {
            pieces::<N>(payload, work, wanted)
        }
    };
    count(Counter::BytesCopied, copied.into());
    if copied < wanted {
        count(Counter::LostUserMemory, 1);
    }
    // SAFETY: the record is reserved and large enough.
    unsafe { describe(&raw mut (*record).header, work, sent, inode, copied) };
    if urgent {
        emit::submit(ring, record.cast(), true);
    } else {
        // The reader looks by itself: nobody waits for a look-up's span.
        // SAFETY: `record` was reserved and is given up here.
        unsafe {
            bpf_ringbuf_submit(record.cast(), aya_ebpf::bindings::BPF_RB_NO_WAKEUP as u64);
        }
    }
    true
}

/// Copies from one buffer. Returns how many bytes were copied.
///
/// # Safety
/// `payload` must be valid for writes of `N` bytes.
#[inline(always)]
unsafe fn one_piece<const N: usize>(payload: *mut u8, source: u64, length: u32) -> u32 {
    let length = clamp::<N>(length);
    // SAFETY: see above.
    let result =
        unsafe { bpf_probe_read_user(payload.cast(), length, source as usize as *const _) };
    if result == 0 { length } else { 0 }
}

/// Copies from the first buffers, which [`Work`] has. Returns how many bytes were copied.
///
/// # Safety
/// `payload` must be valid for writes of twice `N` bytes.
#[inline(always)]
unsafe fn pieces<const N: usize>(payload: *mut u8, work: &Work, total: u32) -> u32 {
    let mut copied = 0u32;
    let mut piece = 0;
    while piece < GATHERED_ENTRIES as usize && copied < total {
        let [base, length] = work.pieces[piece];
        piece += 1;
        let length = length.min(u64::from(total - copied)) as u32;
        let (offset, length) = (clamp::<N>(copied), clamp::<N>(length));
        // SAFETY: offset and length are at most half of the payload each.
        let result = unsafe {
            bpf_probe_read_user(
                payload.add(offset as usize).cast(),
                length,
                base as usize as *const _,
            )
        };
        if result != 0 {
            break;
        }
        copied = offset + length;
    }
    copied
}

/// Fills in everything but the payload.
///
/// # Safety
/// `record` must be valid for writes.
#[inline(always)]
unsafe fn describe(record: *mut Datagram, work: &Work, sent: bool, inode: u64, copied: u32) {
    let sock = work.sock;
    let direction = if sent { Direction::Sent } else { Direction::Received };
    let family = read::<u16>(sock, offset!(sock_family)).unwrap_or(0);
    let namespace = read::<u64>(sock, offset!(sock_net))
        .and_then(|net| read::<u32>(net, offset!(net_ns_inum)))
        .unwrap_or(0);
    let local = if family == AF_INET {
        [u64::from(read::<u32>(sock, offset!(sock_rcv_saddr)).unwrap_or(0)), 0]
    } else {
        read(sock, offset!(sock_v6_rcv_saddr)).unwrap_or([0; 2])
    };
    let remote = remote(work, family);
    let flags = if remote.is_some() { datagram_flags::REMOTE_KNOWN } else { 0 };
    let Remote { family: remote_family, port, address } =
        remote.unwrap_or(Remote { family: 0, port: 0, address: [0; 2] });
    // SAFETY: see above; every field is written.
    unsafe {
        (&raw mut (*record).kind).write(Kind::Datagram as u32);
        (&raw mut (*record).direction).write(direction as u8);
        (&raw mut (*record).flags).write(flags);
        (&raw mut (*record).family).write(family);
        (&raw mut (*record).socket).write(inode);
        (&raw mut (*record).enter_ns).write(work.caller.enter_ns);
        (&raw mut (*record).exit_ns).write(work.caller.exit_ns);
        (&raw mut (*record).process_start_ns).write(work.caller.start_ns);
        (&raw mut (*record).goroutine).write(0);
        (&raw mut (*record).tgid).write(work.caller.tgid);
        (&raw mut (*record).tid).write(work.caller.tid);
        (&raw mut (*record).network_namespace).write(namespace);
        (&raw mut (*record).length).write(work.total as u32);
        (&raw mut (*record).head).write(copied);
        (&raw mut (*record).remote_family).write(remote_family);
        (&raw mut (*record).reserved).write([0; 3]);
        (&raw mut (*record).local_port).write(read::<u16>(sock, offset!(sock_num)).unwrap_or(0));
        (&raw mut (*record).remote_port).write(port);
        (&raw mut (*record).local).cast::<[u64; 2]>().write_unaligned(local);
        (&raw mut (*record).remote).cast::<[u64; 2]>().write_unaligned(address);
        segment::comm(&raw mut (*record).comm);
    }
}

#[derive(Clone, Copy)]
struct Remote {
    family: u16,
    port: u16,
    address: [u64; 2],
}

/// The other end: as the call names it, else that which the socket is connected to.
#[inline(always)]
fn remote(work: &Work, family: u16) -> Option<Remote> {
    if let Some(named) = named(work) {
        return Some(named);
    }
    let sock = work.sock;
    let port = u16::from_be(read::<u16>(sock, offset!(sock_dport))?);
    if port == 0 {
        return None;
    }
    let address = if family == AF_INET {
        [u64::from(read::<u32>(sock, offset!(sock_daddr))?), 0]
    } else {
        read(sock, offset!(sock_v6_daddr))?
    };
    Some(Remote { family, port, address })
}

/// What the call says of the other end, if it does.
#[inline(always)]
fn named(work: &Work) -> Option<Remote> {
    let in_kernel = work.name_from == name::KERNEL_MESSAGE;
    let address = match work.name_from {
        name::ADDRESS => work.name,
        name::USER_MESSAGE => {
            // Address, and its length in the low half of the second word.
            let [address, length] = read_user::<[u64; 2]>(work.name)?;
            if (length as u32) < 16 {
                return None;
            }
            address
        }
        name::KERNEL_MESSAGE => read::<u64>(work.name, offset!(message_name))?,
        _ => return None,
    };
    if address == 0 {
        return None;
    }
    // Family, port and IPv4 address are the first eight bytes of a `struct sockaddr`.
    let start = if in_kernel { read::<u64>(address, 0)? } else { read_user::<u64>(address)? };
    let family = start as u16;
    let port = u16::from_be((start >> 16) as u16);
    if family == AF_INET {
        return Some(Remote { family, port, address: [start >> 32, 0] });
    }
    if family != AF_INET6 {
        return None;
    }
    let address = if in_kernel {
        read::<[u64; 2]>(address, 8)?
    } else {
        read_user::<[u64; 2]>(address.wrapping_add(8))?
    };
    Some(Remote { family, port, address })
}
