//! Datagrams of DNS over UDP, told by their header and not by their port.
//!
//! - Hooks: those of the streams, which datagrams pass, too ([`crate::probes`]).
//! - Record: `Datagram`, one for each that may be of DNS; nothing is kept of their sockets.
//! - Cost: a send or receive of another datagram costs a look at the kind of its socket and at eight of
//!   its bytes; what is no datagram costs nothing.
//!
//! RFC 1035, section 4.1.1, has the header: identification, flags, and the numbers of questions,
//! answers, authorities and additional records, two bytes each.

use aya_ebpf::{
    bindings::BPF_RB_NO_WAKEUP,
    helpers::generated::{bpf_probe_read_user, bpf_ringbuf_reserve, bpf_ringbuf_submit},
};
use vigie_common::{
    counter::Counter,
    record::{DATAGRAM_BYTES, Datagram, Direction, Kind, datagram_flags},
};

use crate::{
    connection::{AF_INET, AF_INET6},
    emit,
    first::vigie_first_bytes,
    kernel::{read, read_user},
    maps::{count, tuning},
    params::offset,
    probes::environment,
    process, segment, socket,
    word::{clamp, zero},
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

/// Shortest message: a header, which a refusal may be without anything else.
const SHORTEST: u64 = 12;

/// Whether the first eight bytes of a datagram may be those of a question or of its answer: an ordinary
/// query (opcode 0) with one question, without what only the other kind has.
#[inline(always)]
fn may_be_dns(bytes: u64) -> bool {
    let bytes = bytes.to_le_bytes();
    let (high, low) = (bytes[2], bytes[3]);
    // Opcode; the bit that has to be zero; at most one question.
    if high & 0x78 != 0 || low & 0x40 != 0 || bytes[4] != 0 || bytes[5] > 1 {
        return false;
    }
    if bytes[5] == 0 {
        // A refusal that does not repeat the question: a response code and no answers.
        return high & 0x80 != 0 && low & 0x0f != 0 && bytes[6] == 0 && bytes[7] == 0;
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
    vigie_describe(slot, sent);
    vigie_describe_remote(slot);
    let header = &work.datagram_header;
    // Before the record: it is what the process is known by.
    let urgent = process::introduce(header.tgid);
    if urgent {
        environment::emit(header.socket, &work.caller);
    }
    if vigie_record(slot, u64::from(urgent)) == 0 {
        count(Counter::LostDns, 1);
    } else {
        count(Counter::Records, 1);
    }
    0
}

/// Puts the record into the ring. Returns 1 when there was room.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn vigie_record(slot: u64, urgent: u64) -> u64 {
    let Some(work) = work(slot) else { return 0 };
    let urgent = urgent != 0;
    let there_was_room = if work.source.entries != Source::BUFFER {
        vigie_pieces(slot);
        record::<PIECES, { 2 * PIECES }>(work, urgent)
    } else if work.total <= 128 {
        record::<128, 128>(work, urgent)
    } else if work.total <= 512 {
        record::<512, 512>(work, urgent)
    } else {
        record::<DATAGRAM_BYTES, DATAGRAM_BYTES>(work, urgent)
    };
    u64::from(there_was_room)
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
fn record<const N: usize, const PAYLOAD: usize>(work: &mut Work, urgent: bool) -> bool {
    let ring = emit::ring_of(work.datagram_header.socket);
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
            emit::pieces::<N>(payload, work, wanted)
        }
    };
    count(Counter::BytesCopied, copied.into());
    if copied < wanted {
        count(Counter::LostUserMemory, 1);
    }
    work.datagram_header.head = copied;
    // SAFETY: the record is reserved and large enough.
    unsafe {
        let header = &raw mut (*record).header;
        core::ptr::copy_nonoverlapping(&raw const work.datagram_header, header, 1);
    }
    if urgent {
        emit::submit(ring, record.cast(), true);
    } else {
        // The reader looks by itself: nobody waits for a look-up's span.
        // SAFETY: `record` was reserved and is given up here.
        unsafe { bpf_ringbuf_submit(record.cast(), BPF_RB_NO_WAKEUP as u64) };
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

/// Fills in everything of the header but the other end. Each field is stored as soon as it is read, which
/// leaves the verifier nothing to follow.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn vigie_describe(slot: u64, sent: u64) -> u64 {
    let Some(work) = work(slot) else { return 0 };
    let sock = work.sock;
    let header = &mut work.datagram_header;
    header.kind = Kind::Datagram as u32;
    header.direction = if sent == 0 { Direction::Received } else { Direction::Sent } as u8;
    header.flags = 0;
    header.enter_ns = work.caller.enter_ns;
    header.exit_ns = work.caller.exit_ns;
    header.process_start_ns = work.caller.start_ns;
    header.goroutine = zero();
    header.tgid = work.caller.tgid;
    header.tid = work.caller.tid;
    header.length = work.total as u32;
    header.reserved = [0; 3];
    header.socket = socket::inode_of(sock).unwrap_or(0);
    header.family = read::<u16>(sock, offset!(sock_family)).unwrap_or(0);
    header.local_port = read::<u16>(sock, offset!(sock_num)).unwrap_or(0);
    let net = read::<u64>(sock, offset!(sock_net)).unwrap_or(0);
    header.network_namespace = read::<u32>(net, offset!(net_ns_inum)).unwrap_or(0);
    let local = if header.family == AF_INET {
        read::<u32>(sock, offset!(sock_rcv_saddr)).map(|address| [address.into(), 0])
    } else {
        read::<[u64; 2]>(sock, offset!(sock_v6_rcv_saddr))
    };
    put(&mut header.local, local.unwrap_or([0; 2]));
    segment::comm(&raw mut header.comm);
    0
}

/// Fills in the other end: as the call names it, else that which the socket is connected to.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn vigie_describe_remote(slot: u64) -> u64 {
    let Some(work) = work(slot) else { return 0 };
    let header = &mut work.datagram_header;
    header.remote_family = 0;
    header.remote_port = 0;
    if !named(work) {
        connected(work);
    }
    0
}

#[inline(always)]
fn connected(work: &mut Work) {
    let sock = work.sock;
    let header = &mut work.datagram_header;
    header.remote_port = u16::from_be(read::<u16>(sock, offset!(sock_dport)).unwrap_or(0));
    if header.remote_port == 0 {
        return;
    }
    header.remote_family = header.family;
    let remote = if header.family == AF_INET {
        read::<u32>(sock, offset!(sock_daddr)).map(|address| [address.into(), 0])
    } else {
        read::<[u64; 2]>(sock, offset!(sock_v6_daddr))
    };
    if let Some(remote) = remote {
        put(&mut header.remote, remote);
        header.flags = datagram_flags::REMOTE_KNOWN;
    }
}

/// Takes what the call says of the other end. Whether it does.
#[inline(always)]
fn named(work: &mut Work) -> bool {
    let in_kernel = work.name_from == name::KERNEL_MESSAGE;
    let address = match work.name_from {
        name::ADDRESS => work.name,
        name::USER_MESSAGE => {
            // Address, and its length in the low half of the second word.
            let [address, length] = read_user::<[u64; 2]>(work.name).unwrap_or([0; 2]);
            if (length as u32) < 16 { 0 } else { address }
        }
        name::KERNEL_MESSAGE => read::<u64>(work.name, offset!(message_name)).unwrap_or(0),
        _ => 0,
    };
    if address == 0 {
        return false;
    }
    // Family, port and IPv4 address are the first eight bytes of a `struct sockaddr`.
    let start = if in_kernel { read::<u64>(address, 0) } else { read_user::<u64>(address) };
    let Some(start) = start else { return false };
    let header = &mut work.datagram_header;
    header.remote_family = start as u16;
    header.remote_port = u16::from_be((start >> 16) as u16);
    let remote = if start as u16 == AF_INET {
        Some([start >> 32, 0])
    } else if start as u16 != AF_INET6 {
        None
    } else if in_kernel {
        read::<[u64; 2]>(address, 8)
    } else {
        read_user::<[u64; 2]>(address.wrapping_add(8))
    };
    let Some(remote) = remote else { return false };
    put(&mut header.remote, remote);
    header.flags = datagram_flags::REMOTE_KNOWN;
    true
}

#[inline(always)]
fn put(into: &mut [u8; 16], address: [u64; 2]) {
    // SAFETY: both have 16 bytes.
    unsafe { core::ptr::from_mut(into).cast::<[u64; 2]>().write_unaligned(address) };
}
