//! What is kept per connection: positions, turns, class.

use aya_ebpf::helpers::{bpf_get_smp_processor_id, generated::bpf_ktime_get_ns};
use vigie_common::{
    counter::Counter,
    exchange::Exchange,
    policy::connection_layout,
    record::{Class, Direction},
};

use crate::{
    first::may_begin_message,
    frames,
    kernel::read,
    maps::{CONNECTIONS, count},
    params::{offset, setting},
    segment::DATAGRAM,
    socket,
    word::clear,
    work::{Work, work},
};

/// One direction of a connection. On one that speaks HTTP/2 the fields but the first mean something
/// else, see [`crate::http2`].
#[derive(Clone, Copy)]
#[repr(C)]
pub(crate) struct Half {
    /// Bytes that went by.
    pub(crate) position: u64,
    /// First bytes of the turn while they are too few to be classified.
    pub(crate) pending: u64,
    /// When the first of them went by.
    pub(crate) pending_ns: u64,
    /// How many there are.
    pub(crate) pending_length: u32,
    /// Payload bytes that may still be copied in this turn.
    pub(crate) budget: u32,
}

/// A connection, value of the map.
#[derive(Clone, Copy)]
#[repr(C)]
pub(crate) struct Connection {
    pub(crate) id: u64,
    pub(crate) inode: u64,
    pub(crate) last_ns: u64,
    pub(crate) received: Half,
    pub(crate) sent: Half,
    /// Data records that found no room.
    pub(crate) lost: u32,
    /// Turns without a message of a known protocol.
    pub(crate) undecided: u32,
    /// A [`Class`].
    pub(crate) class: u8,
    /// 0 before the first segment, else direction + 1.
    pub(crate) last_direction: u8,
    /// Whether user space knows the connection.
    pub(crate) announced: u8,
    /// Whether both directions were at their first byte when it was first seen.
    pub(crate) from_start: u8,
    pub(crate) family: u16,
    /// Whether a record of it reached the ring.
    pub(crate) heard: u8,
    pub(crate) reserved: u8,
    /// TCP sequence number up to which received bytes were handled; 0 before the first.
    pub(crate) sequence: u32,
    pub(crate) reserved2: u32,
    pub(crate) exchange: Exchange,
}

const _: () = assert!(
    Class::Unknown as u8 == 0
        && size_of::<Connection>().is_multiple_of(8)
        && size_of::<Connection>() == connection_layout::SIZE
        && core::mem::offset_of!(Connection, id) == 0
        && core::mem::offset_of!(Connection, last_ns) == connection_layout::LAST_NS
        && core::mem::offset_of!(Connection, exchange) == connection_layout::EXCHANGE
);

pub(crate) const AF_UNIX: u16 = 1;
pub(crate) const AF_INET: u16 = 2;
pub(crate) const AF_INET6: u16 = 10;
/// The states from here on, with one exception (LISTEN), follow a FIN of the peer.
pub(crate) const TCP_CLOSE: u8 = 7;
pub(crate) const TCP_CLOSE_WAIT: u8 = 8;
pub(crate) const TCP_ESTABLISHED: u8 = 1;
const SOCK_STREAM: u16 = 1;
const SOCK_DGRAM: u16 = 2;
const IPPROTO_TCP: u16 = 6;
const IPPROTO_UDP: u16 = 17;

impl Connection {
    /// The half of a direction.
    #[inline(always)]
    pub(crate) fn half(&mut self, direction: Direction) -> &mut Half {
        match direction {
            Direction::Received => &mut self.received,
            Direction::Sent => &mut self.sent,
        }
    }

    /// Whether bytes on it are still looked at.
    #[inline(always)]
    pub(crate) fn is_interesting(&self) -> bool {
        self.class < Class::Encrypted as u8
    }

    /// Whether this is, or may be, the end that asks, of a connection whose socket tells when bytes left.
    #[inline(always)]
    pub(crate) fn is_tcp_client(&self) -> bool {
        // Of a candidate it is not known which end asks.
        let asks = self.class == Class::Http1Client as u8
            || self.class == Class::Http2Client as u8
            || self.class == Class::Candidate as u8;
        asks && self.family != AF_UNIX
    }

    /// Whether its frames are captured.
    #[inline(always)]
    pub(crate) fn is_http2(&self) -> bool {
        self.class == Class::Http2Server as u8 || self.class == Class::Http2Client as u8
    }
}

/// The known connection of a socket.
///
/// The address of a sock may be used again for another one. A TCP connection is forgotten when its
/// sock is destroyed, so its address alone names it; else the inode number must be the same.
#[inline(always)]
pub(crate) fn known(sock: u64) -> Option<&'static mut Connection> {
    let known = CONNECTIONS.get_ptr_mut(sock)?;
    // SAFETY: map values stay valid while the program runs; concurrent programs on the same
    // connection write other fields, or the same ones with nearly the same values.
    let known = unsafe { &mut *known };
    if known.family != AF_UNIX && setting!(has_destroy) != 0 {
        return Some(known);
    }
    (socket::inode_of(sock)? == known.inode).then_some(known)
}

/// The connection of the socket in [`Work`], made when it is seen for the first time. The bytes that went
/// by in `direction` just now are not in its positions yet.
#[inline(always)]
pub(crate) fn of(work: &Work, direction: Direction) -> Option<&'static mut Connection> {
    if let Some(known) = known(work.sock) {
        return Some(known);
    }
    if vigie_first_sight(work.slot, direction as u64) == 0 {
        return None;
    }
    let value = CONNECTIONS.get_ptr_mut(work.sock)?;
    // SAFETY: as in `known`.
    Some(unsafe { &mut *value })
}

/// Makes the entry of a connection that is seen for the first time. Returns 1 when there is one now.
///
/// A global function in the verifier's sense (see [`crate::segment::vigie_moved`]).
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn vigie_first_sight(slot: u64, sent: u64) -> u64 {
    let direction = if sent == 0 { Direction::Received } else { Direction::Sent };
    work(slot).and_then(|work| first_sight(work, direction)).is_some().into()
}

#[inline(always)]
fn first_sight(work: &mut Work, direction: Direction) -> Option<()> {
    let (sock, length) = (work.sock, work.total);
    let family: u16 = read(sock, offset!(sock_family))?;
    if !may_be_of_interest(work, sock, family) {
        return None;
    }
    work.numbered += 1;
    let number = work.numbered << 2 | work.slot & 3;
    let new = &mut work.new;
    // SAFETY: it is plain integers, of this many words in all.
    unsafe { clear((&raw mut *new).cast(), size_of::<Connection>() / 8) };
    // SAFETY: no arguments.
    let cpu = unsafe { bpf_get_smp_processor_id() };
    new.id = number << 12 | u64::from(cpu & 0xfff);
    new.inode = socket::inode_of(sock)?;
    // SAFETY: no arguments.
    new.last_ns = unsafe { bpf_ktime_get_ns() };
    // Of a unix socket nothing tells how much went by before; the bytes themselves must do.
    new.from_start = u8::from(family != AF_UNIX && at_start(sock, direction, length));
    new.family = family;
    #[expect(
        clippy::needless_borrows_for_generic_args,
        reason = "by value it would be copied to the stack, which has 512 bytes"
    )]
    let inserted = CONNECTIONS.insert(sock, &*new, 0);
    if inserted.is_err() {
        count(Counter::LostConnectionsFull, 1);
        return None;
    }
    count(Counter::ConnectionsOpened, 1);
    Some(())
}

/// Takes account of bytes that were received in a way that no hook sees: the stream has a gap there.
/// `total` bytes were received just now. Returns whether they are new: two hooks may see the same.
#[inline(always)]
pub(crate) fn catch_up(connection: &mut Connection, work: &Work) -> bool {
    if connection.family == AF_UNIX {
        return true;
    }
    let (sock, total) = (work.sock, work.total);
    let mut now = work.sequence as u32;
    if work.sequence == 0 {
        let Some(read) = read::<u32>(sock, offset!(tcp_copied_seq)) else { return true };
        now = read;
    }
    let before = connection.sequence;
    let unseen = now.wrapping_sub(total as u32).wrapping_sub(before);
    connection.sequence = now;
    if before == 0 || unseen == 0 {
        return true;
    }
    // A FIN takes a number, too. With an upper layer protocol (kernel TLS) the numbers count other
    // bytes.
    if read::<u64>(sock, offset!(tcp_upper_layer)) != Some(0) {
        return true;
    }
    let is_end = unseen == 1
        && read::<u8>(sock, offset!(sock_state)).is_some_and(|state| state >= TCP_CLOSE);
    if !is_end && unseen < 1 << 31 {
        connection.received.position += u64::from(unseen);
        if connection.is_http2() {
            connection.received.pending_length = frames::LOST;
            connection.exchange.number += 1;
        }
        count(Counter::BytesUnread, unseen.into());
    }
    now != before
}

/// Whether a socket that is not known gets an entry.
///
/// Only what leaves the table again by itself does: TCP, whose end is reported, and unix stream
/// sockets on which a message begins that may be of a known protocol. Everything else (datagrams, of
/// which each stands for itself, netlink, a database's unix socket) is looked at again at its next call.
#[inline(always)]
fn may_be_of_interest(work: &mut Work, sock: u64, family: u16) -> bool {
    let kind = read::<u16>(sock, offset!(sock_type));
    if kind != Some(SOCK_STREAM) {
        if kind == Some(SOCK_DGRAM)
            && (family == AF_INET || family == AF_INET6)
            && read::<u16>(sock, offset!(sock_protocol)) == Some(IPPROTO_UDP)
        {
            work.datagram = DATAGRAM;
        }
        return false;
    }
    match family {
        AF_INET | AF_INET6 => read::<u16>(sock, offset!(sock_protocol)) == Some(IPPROTO_TCP),
        AF_UNIX => may_begin_message(work.slot),
        _ => false,
    }
}

/// Whether `length` bytes in `direction` are the first that ever went over this TCP socket.
#[inline(always)]
fn at_start(sock: u64, direction: Direction, length: u64) -> bool {
    let tcp = || {
        let received: u64 = read(sock, offset!(tcp_bytes_received))?;
        let next: u32 = read(sock, offset!(tcp_rcv_nxt))?;
        let copied: u32 = read(sock, offset!(tcp_copied_seq))?;
        let acknowledged: u64 = read(sock, offset!(tcp_bytes_acked))?;
        let written: u32 = read(sock, offset!(tcp_write_seq))?;
        let unacknowledged: u32 = read(sock, offset!(tcp_snd_una))?;
        let taken = received.wrapping_sub(u64::from(next.wrapping_sub(copied)));
        let given = acknowledged.wrapping_add(u64::from(written.wrapping_sub(unacknowledged)));
        Some((taken, given))
    };
    let Some((taken, given)) = tcp() else { return false };
    // SYN and FIN take one number each and are in some of these figures.
    match direction {
        Direction::Received => taken <= length + 1 && given <= 2,
        Direction::Sent => given <= length + 2 && taken <= 1,
    }
}

/// Forgets a connection.
#[inline(always)]
pub(crate) fn forget(sock: u64) {
    if CONNECTIONS.remove(sock).is_ok() {
        count(Counter::ConnectionsClosed, 1);
    }
}
