//! Every offset that the kernel programs use, resolved from the running kernel's BTF.

use vigie_common::params::Offsets;

use super::btf::{Btf, BtfError};

/// Resolves all offsets. A member that is missing is an error: each of them is needed to get from a
/// descriptor to a connection.
pub fn resolve(btf: &Btf) -> Result<Offsets, BtfError> {
    let at = |path| btf.offset_of(path);
    // `f_count` became `f_ref` in 6.13, and counts from zero there.
    let (file_count, file_single_reference) = match at("file.f_count") {
        Ok(offset) => (offset, 1),
        Err(_) => (at("file.f_ref")?, 0),
    };
    Ok(Offsets {
        task_files: at("task_struct.files")?,
        task_group_leader: at("task_struct.group_leader")?,
        task_start_boottime: at("task_struct.start_boottime")
            .or_else(|_| at("task_struct.real_start_time"))?,
        task_tgid: at("task_struct.tgid")?,
        task_pid: at("task_struct.pid")?,
        task_mm: at("task_struct.mm")?,
        files_fdt: at("files_struct.fdt")?,
        fdtable_max_fds: at("fdtable.max_fds")?,
        fdtable_fd: at("fdtable.fd")?,
        file_inode: at("file.f_inode")?,
        file_private_data: at("file.private_data")?,
        file_op: at("file.f_op")?,
        file_count,
        file_single_reference,
        inode_mode: at("inode.i_mode")?,
        inode_ino: at("inode.i_ino")?,
        socket_sk: at("socket.sk")?,
        sock_family: at("sock.__sk_common.skc_family")?,
        sock_type: at("sock.sk_type")?,
        sock_protocol: at("sock.sk_protocol")?,
        sock_err: at("sock.sk_err")?,
        sock_net: at("sock.__sk_common.skc_net.net")?,
        sock_daddr: at("sock.__sk_common.skc_daddr")?,
        sock_rcv_saddr: at("sock.__sk_common.skc_rcv_saddr")?,
        sock_dport: at("sock.__sk_common.skc_dport")?,
        sock_num: at("sock.__sk_common.skc_num")?,
        sock_v6_daddr: at("sock.__sk_common.skc_v6_daddr")?,
        sock_v6_rcv_saddr: at("sock.__sk_common.skc_v6_rcv_saddr")?,
        sock_socket: at("sock.sk_socket")?,
        net_ns_inum: at("net.ns.inum")?,
        tcp_bytes_received: at("tcp_sock.bytes_received")?,
        tcp_rcv_nxt: at("tcp_sock.rcv_nxt")?,
        tcp_copied_seq: at("tcp_sock.copied_seq")?,
        tcp_bytes_acked: at("tcp_sock.bytes_acked")?,
        tcp_write_seq: at("tcp_sock.write_seq")?,
        tcp_snd_una: at("tcp_sock.snd_una")?,
        tcp_snd_nxt: at("tcp_sock.snd_nxt")?,
        tcp_first_sent: at("tcp_sock.first_tx_mstamp").unwrap_or(0),
        unix_peer: at("unix_sock.peer")?,
        unix_addr: at("unix_sock.addr")?,
        unix_address_len: at("unix_address.len")?,
        unix_address_name: at("unix_address.name")?,
        socket_alloc_inode: at("socket_alloc.vfs_inode")?,
        mm_arg_start: at("mm_struct.arg_start")?,
        mm_arg_end: at("mm_struct.arg_end")?,
        mm_env_start: at("mm_struct.env_start")?,
        mm_env_end: at("mm_struct.env_end")?,
        binprm_filename: at("linux_binprm.filename")?,
        tcp_upper_layer: at("inet_connection_sock.icsk_ulp_ops")?,
        message_iterator: at("msghdr.msg_iter")?,
        // `type` with flags in it up to 5.13.
        iterator_kind: at("iov_iter.iter_type").or_else(|_| at("iov_iter.type"))?,
        iterator_within: at("iov_iter.iov_offset")?,
        // One of a union, with the buffer where there is one: `__iov` since 6.4.
        iterator_pointer: at("iov_iter.__iov").or_else(|_| at("iov_iter.iov"))?,
        iterator_count: at("iov_iter.count")?,
        message_flags: at("msghdr.msg_flags")?,
        message_name: at("msghdr.msg_name")?,
        task_stack: at("task_struct.stack")?,
        sock_state: at("sock.__sk_common.skc_state")?,
    })
}

/// How the kernel tells the kinds of its iterators from each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IteratorKinds {
    /// Bits of the kind in a `u32` at its place.
    pub mask: u32,
    /// Over an iovec array of user memory.
    pub vector: u32,
    /// Over one buffer of user memory, since 6.0.
    pub buffer: Option<u32>,
}

impl IteratorKinds {
    /// Resolves them.
    pub fn resolve(btf: &Btf) -> Result<Self, BtfError> {
        // A byte of its own since 5.14; before, a word with the direction in its lowest bit.
        let is_byte = btf.offset_of("iov_iter.iter_type").is_ok();
        Ok(Self {
            mask: if is_byte { 0xff } else { !1 },
            vector: btf.enumerator("ITER_IOVEC")?,
            buffer: btf.enumerator("ITER_UBUF").ok(),
        })
    }
}
