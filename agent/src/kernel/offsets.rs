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
    })
}
