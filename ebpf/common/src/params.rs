//! What the programs are told before they are loaded: one read-only global.
//!
//! Rust emits no CO-RE relocations, so user space resolves every offset from the running kernel's
//! BTF. The values sit in a frozen read-only map, so the verifier knows them as constants.

/// Offsets in bytes into kernel structures, as this kernel's BTF gives them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
#[allow(missing_docs, reason = "each field is `structure_member`, named as in the kernel")]
pub struct Offsets {
    pub task_files: u32,
    pub task_group_leader: u32,
    pub task_start_boottime: u32,
    pub task_tgid: u32,
    pub task_pid: u32,
    pub task_mm: u32,
    pub files_fdt: u32,
    pub fdtable_max_fds: u32,
    pub fdtable_fd: u32,
    pub file_inode: u32,
    pub file_private_data: u32,
    pub file_op: u32,
    pub file_count: u32,
    /// Value at `file_count` when there is one reference (0 since 6.13, 1 before).
    pub file_single_reference: u32,
    pub inode_mode: u32,
    pub inode_ino: u32,
    pub socket_sk: u32,
    pub sock_family: u32,
    pub sock_type: u32,
    pub sock_protocol: u32,
    pub sock_err: u32,
    pub sock_net: u32,
    pub sock_daddr: u32,
    pub sock_rcv_saddr: u32,
    pub sock_dport: u32,
    pub sock_num: u32,
    pub sock_v6_daddr: u32,
    pub sock_v6_rcv_saddr: u32,
    pub sock_socket: u32,
    pub net_ns_inum: u32,
    pub tcp_bytes_received: u32,
    pub tcp_rcv_nxt: u32,
    pub tcp_copied_seq: u32,
    pub tcp_bytes_acked: u32,
    pub tcp_write_seq: u32,
    pub tcp_snd_una: u32,
    pub unix_peer: u32,
    pub unix_addr: u32,
    pub unix_address_len: u32,
    pub unix_address_name: u32,
    pub socket_alloc_inode: u32,
    pub mm_arg_start: u32,
    pub mm_arg_end: u32,
    pub mm_env_start: u32,
    pub mm_env_end: u32,
    pub binprm_filename: u32,
    /// `icsk_ulp_ops` of a TCP sock.
    pub tcp_upper_layer: u32,
    pub message_iterator: u32,
    /// Kind of an iterator, a `u32` to be masked.
    pub iterator_kind: u32,
    /// `iov_offset`: how far into the current buffer it is.
    pub iterator_within: u32,
    /// The buffer, or the current entry of the iovec array.
    pub iterator_pointer: u32,
    /// Bytes that it has still to go.
    pub iterator_count: u32,
    /// `msg_flags` of a message.
    pub message_flags: u32,
    pub sock_state: u32,
    pub task_stack: u32,
    pub tcp_snd_nxt: u32,
    /// `first_tx_mstamp` of a TCP sock; 0 where there is none.
    pub tcp_first_sent: u32,
    /// `msg_name` of a message.
    pub message_name: u32,
}

/// Limits and switches fixed at load time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Settings {
    /// Process id of the agent itself, never watched.
    pub own_tgid: u32,
    /// Number of rings in use, a power of two, at most [`crate::record::RINGS`].
    pub rings: u32,
    /// Payload bytes copied per turn of the request direction.
    pub request_bytes: u32,
    /// Payload bytes copied per turn of the response direction.
    pub response_bytes: u32,
    /// Fill of a ring in bytes above which its reader is woken.
    pub wake_bytes: u32,
    /// What happens to processes without a policy: a [`crate::policy::ProcessPolicy`].
    pub default_policy: u32,
    /// Whether `tcp_destroy_sock` is attached; else a connection ends with its TCP state.
    pub has_destroy: u32,
    /// Connections on which no message of a known protocol began after so many turns are left
    /// alone.
    pub undecided_turns: u32,
    /// Bits of an iterator's kind.
    pub iterator_mask: u32,
    /// Kind of an iterator over an iovec array of user memory.
    pub iterator_vector: u32,
    /// Kind of an iterator over one buffer of user memory.
    pub iterator_buffer: u32,
    /// Whether this kernel has that kind.
    pub iterator_has_buffer: u32,
    /// Whether it has `bpf_task_pt_regs`.
    pub has_task_registers: u32,
    /// Keeps the size a multiple of eight.
    pub reserved: u32,
    /// Address of `socket_file_ops`, 0 where it was not looked for or not found.
    pub socket_file_ops: u64,
}

/// The one read-only global of the programs, `PARAMS`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Params {
    /// Limits and switches.
    pub settings: Settings,
    /// Where the kernel keeps what the programs read.
    pub offsets: Offsets,
}
