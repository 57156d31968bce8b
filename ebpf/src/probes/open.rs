//! The `Open` record: who is at the two ends of a connection. No hook of its own: it is sent before
//! the first captured bytes.

use vigie_common::record::{Kind, Open, open_flags};

use crate::{
    connection::{AF_INET, AF_INET6, AF_UNIX, Connection},
    emit,
    kernel::read,
    params::offset,
    probes::environment,
    process, segment, socket,
    work::Caller,
};

/// Longest path of a unix socket (`sun_path`).
const PATH: usize = 108;

/// Sends the record. Whether there was room.
#[inline(always)]
pub(crate) fn emit(connection: &Connection, caller: &Caller, sock: u64) -> bool {
    #[cfg(feature = "log")]
    aya_log_ebpf::info!(caller, "connection {} of process {}", connection.id, caller.tgid);
    let urgent = process::introduce(caller.tgid);
    if urgent {
        environment::emit(connection.id, caller);
    }
    emit::plain::<Open>(connection.id, urgent, |record| {
        // SAFETY: the record is reserved and large enough, and every field is written.
        unsafe {
            (&raw mut (*record).kind).write(Kind::Open as u32);
            (&raw mut (*record).flags).write(if connection.from_start != 0 {
                open_flags::FROM_START
            } else {
                0
            });
            (&raw mut (*record).connection).write(connection.id);
            (&raw mut (*record).time_ns).write(caller.exit_ns);
            (&raw mut (*record).inode).write(connection.inode);
            (&raw mut (*record).process_start_ns).write(caller.start_ns);
            (&raw mut (*record).tgid).write(caller.tgid);
            (&raw mut (*record).family).write(connection.family);
            (&raw mut (*record).reserved).write(0);
            let namespace = read::<u64>(sock, offset!(sock_net))
                .and_then(|net| read::<u32>(net, offset!(net_ns_inum)))
                .unwrap_or(0);
            (&raw mut (*record).network_namespace).write(namespace);
            segment::comm(&raw mut (*record).comm);
            let (mut local_port, mut remote_port) = (0, 0);
            let (mut local, mut remote) = ([0u64; 2], [0u64; 2]);
            if connection.family == AF_INET || connection.family == AF_INET6 {
                local_port = read::<u16>(sock, offset!(sock_num)).unwrap_or(0);
                remote_port = u16::from_be(read::<u16>(sock, offset!(sock_dport)).unwrap_or(0));
            }
            if connection.family == AF_INET {
                local[0] = u64::from(read::<u32>(sock, offset!(sock_rcv_saddr)).unwrap_or(0));
                remote[0] = u64::from(read::<u32>(sock, offset!(sock_daddr)).unwrap_or(0));
            } else if connection.family == AF_INET6 {
                local = read(sock, offset!(sock_v6_rcv_saddr)).unwrap_or([0; 2]);
                remote = read(sock, offset!(sock_v6_daddr)).unwrap_or([0; 2]);
            }
            (&raw mut (*record).local_port).write(local_port);
            (&raw mut (*record).remote_port).write(remote_port);
            (&raw mut (*record).local).cast::<[u64; 2]>().write_unaligned(local);
            (&raw mut (*record).remote).cast::<[u64; 2]>().write_unaligned(remote);
            (&raw mut (*record).peer_inode).write(0);
            (&raw mut (*record).path_length).write(0);
            if connection.family == AF_UNIX {
                unix(record, sock);
            }
        }
    })
}

/// Name of a unix socket or, if it has none, of its peer; and the peer's inode.
///
/// # Safety
/// `record` must be valid for writes.
#[inline(always)]
unsafe fn unix(record: *mut Open, sock: u64) {
    let peer = read::<u64>(sock, offset!(unix_peer)).unwrap_or(0);
    let mut address = read::<u64>(sock, offset!(unix_addr)).unwrap_or(0);
    if peer != 0 {
        let inode = socket::inode_of(peer).unwrap_or(0);
        // SAFETY: see above.
        unsafe { (&raw mut (*record).peer_inode).write(inode) };
        if address == 0 {
            address = read::<u64>(peer, offset!(unix_addr)).unwrap_or(0);
        }
    }
    if address == 0 {
        return;
    }
    // The length counts the two bytes of the family.
    let length = read::<u32>(address, offset!(unix_address_len)).unwrap_or(0);
    if length <= 2 {
        return;
    }
    let length = (length - 2).min(PATH as u32);
    let source = (address as usize).wrapping_add(offset!(unix_address_name) + 2);
    // SAFETY: at most `PATH` bytes are written.
    unsafe {
        let result = aya_ebpf::helpers::generated::bpf_probe_read_kernel(
            (&raw mut (*record).path).cast(),
            length,
            source as *const _,
        );
        if result == 0 {
            (&raw mut (*record).path_length).write(length as u16);
        }
    }
}
