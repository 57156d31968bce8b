//! From a file descriptor of the current task to its socket.
//!
//! The way is walked on every call (task, file table, file, socket, sock), so a descriptor that was
//! reused, duplicated, inherited or received from another process always leads to the socket that
//! it stands for now, and connections older than the agent need nothing special.

use aya_ebpf::helpers::generated::bpf_get_current_task;

use vigie_common::counter::Counter;

use crate::{
    kernel::read,
    maps::count,
    params::{offset, setting},
};

/// A socket as found behind a descriptor.
#[derive(Clone, Copy)]
pub(crate) struct Socket {
    /// `struct file`.
    pub(crate) file: u64,
    /// `struct sock`, key of the connection.
    pub(crate) sock: u64,
}

const S_IFMT: u16 = 0o170_000;
const S_IFSOCK: u16 = 0o140_000;

/// The socket behind `fd`, `None` when it is no socket. Where the call works on sockets only and
/// has succeeded, `certain` spares the look.
#[inline(always)]
pub(crate) fn from_fd(fd: u32, certain: bool) -> Option<Socket> {
    let Some((file, sock)) = walk(fd, certain) else {
        count(Counter::LostKernelMemory, 1);
        return None;
    };
    (sock != 0).then_some(Socket { file, sock })
}

/// File and sock, which is 0 when the file is no socket; `None` when memory could not be read.
#[inline(always)]
fn walk(fd: u32, certain: bool) -> Option<(u64, u64)> {
    // SAFETY: no arguments.
    let task = unsafe { bpf_get_current_task() };
    let files: u64 = read(task, offset!(task_files))?;
    let table: u64 = read(files, offset!(files_fdt))?;
    let array: u64 = read(table, offset!(fdtable_fd))?;
    // The call succeeded on this descriptor, so it is inside the table.
    let file: u64 = read(array, fd as usize * 8)?;
    if file == 0 {
        // Closed by another thread in the meantime.
        return Some((0, 0));
    }
    if !certain && !is_socket(file)? {
        return Some((file, 0));
    }
    let socket: u64 = read(file, offset!(file_private_data))?;
    let sock: u64 = read(socket, offset!(socket_sk))?;
    Some((file, sock))
}

#[inline(always)]
fn is_socket(file: u64) -> Option<bool> {
    let operations = setting!(socket_file_ops);
    if operations != 0 {
        return Some(read::<u64>(file, offset!(file_op))? == operations);
    }
    let inode: u64 = read(file, offset!(file_inode))?;
    Some(read::<u16>(inode, offset!(inode_mode))? & S_IFMT == S_IFSOCK)
}

/// Whether a descriptor is inside the table of the current task. Only for calls that are still to
/// tell whether it is good.
#[inline(always)]
pub(crate) fn is_in_table(fd: u32) -> bool {
    // SAFETY: no arguments.
    let task = unsafe { bpf_get_current_task() };
    read::<u64>(task, offset!(task_files))
        .and_then(|files| read::<u64>(files, offset!(files_fdt)))
        .and_then(|table| read::<u32>(table, offset!(fdtable_max_fds)))
        .is_some_and(|size| fd < size)
}

/// Inode number of a sock's socket: tells a sock from a later one at the same address. `None` when
/// the socket was closed.
#[inline(always)]
pub(crate) fn inode_of(sock: u64) -> Option<u64> {
    let socket: u64 = read(sock, offset!(sock_socket))?;
    // `struct socket_alloc` holds both, the socket first.
    (socket != 0).then(|| read(socket, offset!(socket_alloc_inode) + offset!(inode_ino)))?
}

/// Whether nobody else holds the file.
#[inline(always)]
pub(crate) fn is_last_reference(file: u64) -> bool {
    read::<u32>(file, offset!(file_count))
        .is_some_and(|references| references == offset!(file_single_reference) as u32)
}
