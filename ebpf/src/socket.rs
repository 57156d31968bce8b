//! From a file descriptor of the current task to its socket.
//!
//! The way is walked on every call (task, file table, file, socket, sock), so a descriptor that was
//! reused, duplicated, inherited or received from another process always leads to the socket that
//! it stands for now, and connections older than the agent need nothing special.

use aya_ebpf::helpers::generated::bpf_get_current_task;

use crate::{
    kernel::read,
    params::{offset, setting},
};

/// A socket as found behind a descriptor.
#[derive(Clone, Copy)]
pub(crate) struct Socket {
    /// `struct file`.
    pub(crate) file: u64,
    /// `struct sock`, key of the connection.
    pub(crate) sock: u64,
    /// Inode number: tells a sock from a later one at the same address.
    pub(crate) inode: u64,
}

const S_IFMT: u16 = 0o170_000;
const S_IFSOCK: u16 = 0o140_000;

/// The socket behind `fd`, `None` when it is no socket (or memory could not be read).
#[inline(always)]
pub(crate) fn from_fd(fd: u32) -> Option<Socket> {
    // SAFETY: no arguments.
    let task = unsafe { bpf_get_current_task() };
    let files: u64 = read(task, offset!(task_files))?;
    let table: u64 = read(files, offset!(files_fdt))?;
    let array: u64 = read(table, offset!(fdtable_fd))?;
    // The call succeeded on this descriptor, so it is inside the table.
    let file: u64 = read(array, fd as usize * 8)?;
    let operations = setting!(socket_file_ops);
    if operations != 0 {
        let found: u64 = read(file, offset!(file_op))?;
        if found != operations {
            return None;
        }
    }
    let inode: u64 = read(file, offset!(file_inode))?;
    if operations == 0 {
        let mode: u16 = read(inode, offset!(inode_mode))?;
        if mode & S_IFMT != S_IFSOCK {
            return None;
        }
    }
    let number: u64 = read(inode, offset!(inode_ino))?;
    let socket: u64 = read(file, offset!(file_private_data))?;
    let sock: u64 = read(socket, offset!(socket_sk))?;
    (sock != 0).then_some(Socket { file, sock, inode: number })
}

/// Whether nobody else holds the file.
#[inline(always)]
pub(crate) fn is_last_reference(file: u64) -> bool {
    read::<u32>(file, offset!(file_count))
        .is_some_and(|references| references == offset!(file_single_reference) as u32)
}
