//! Ways to move bytes over a socket: each system call that programs use for it.

use std::io::{IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd as _, AsRawFd as _, BorrowedFd};

use anyhow::{Context as _, Result, bail};
use rustix::io::Errno;
use rustix::net::{
    RecvAncillaryBuffer, RecvFlags, SendAncillaryBuffer, SendFlags, recv, recvmsg, send, sendmsg,
};
use rustix::pipe::SpliceFlags;

/// How bytes are sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Give {
    /// `write`, all at once.
    Write,
    /// `write`, each byte by itself.
    Bytes,
    /// `write`, three bytes and then the rest.
    ThreeFirst,
    /// `writev`, in three pieces.
    Writev,
    /// `sendmsg`, in three pieces.
    Sendmsg,
    /// `sendto`.
    Sendto,
    /// `sendto` with `MSG_ZEROCOPY`, and a look into the error queue for the end of it.
    Zerocopy,
}

/// How bytes are received.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Take {
    /// `read` into a large buffer.
    Read,
    /// `read`, each byte by itself.
    Bytes,
    /// `recvfrom` with `MSG_PEEK`, and then once more without.
    Peek,
    /// `readv` into two buffers.
    Readv,
    /// `recvmsg` into two buffers.
    Recvmsg,
    /// `recvfrom`.
    Recvfrom,
    /// Heads by `read`, bodies of known length by `splice` into a pipe.
    Splice,
}

/// Sends all of it.
pub(crate) fn give(fd: BorrowedFd<'_>, how: Give, bytes: &[u8]) -> Result<()> {
    match how {
        Give::Bytes => bytes.chunks(1).try_for_each(|byte| all(fd, Give::Write, byte)),
        Give::ThreeFirst => {
            let (first, rest) = bytes.split_at(bytes.len().min(3));
            all(fd, Give::Write, first)?;
            all(fd, Give::Write, rest)
        }
        _ => all(fd, how, bytes),
    }
}

fn all(fd: BorrowedFd<'_>, how: Give, mut bytes: &[u8]) -> Result<()> {
    while !bytes.is_empty() {
        let (first, rest) = bytes.split_at(bytes.len().div_ceil(3));
        let (second, third) = rest.split_at(rest.len() / 2);
        let pieces = [IoSlice::new(first), IoSlice::new(second), IoSlice::new(third)];
        let sent = match how {
            Give::Writev => rustix::io::writev(fd, &pieces),
            Give::Sendmsg => {
                sendmsg(fd, &pieces, &mut SendAncillaryBuffer::default(), SendFlags::empty())
            }
            Give::Sendto => send(fd, bytes, SendFlags::empty()),
            Give::Zerocopy => zerocopy(fd, bytes),
            Give::Write | Give::Bytes | Give::ThreeFirst => rustix::io::write(fd, bytes),
        }
        .context("sending")?;
        bytes = bytes.get(sent..).unwrap_or_default();
    }
    Ok(())
}

/// Sends from the pages that `bytes` are in, and waits until the kernel needs them no more.
fn zerocopy(fd: BorrowedFd<'_>, bytes: &[u8]) -> rustix::io::Result<usize> {
    // Of <linux/socket.h>; rustix has no name for it.
    const MSG_ZEROCOPY: SendFlags = SendFlags::from_bits_retain(0x400_0000);
    const LENGTH: libc::socklen_t = 4;
    let on: i32 = 1;
    // SAFETY: the option is an `int` of four bytes, which lives through the call.
    let result = unsafe {
        libc::setsockopt(
            fd.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_ZEROCOPY,
            (&raw const on).cast(),
            LENGTH,
        )
    };
    if result < 0 {
        return Err(last_error());
    }
    let sent = send(fd, bytes, MSG_ZEROCOPY)?;
    let mut waits = libc::pollfd { fd: fd.as_raw_fd(), events: 0, revents: 0 };
    // Errors are waited for without being asked for.
    // SAFETY: one entry, which lives through the call.
    while unsafe { libc::poll(&raw mut waits, 1, -1) } < 0 {
        if last_error() != Errno::INTR {
            return Err(last_error());
        }
    }
    if waits.revents & libc::POLLERR != 0 {
        // A message without bytes; what it says of the pages is not asked for.
        recv(fd, &mut [0_u8; 1][..], RecvFlags::ERRQUEUE | RecvFlags::DONTWAIT)?;
    }
    Ok(sent)
}

/// What the last call of the C library failed with.
pub(crate) fn last_error() -> Errno {
    Errno::from_io_error(&std::io::Error::last_os_error()).unwrap_or(Errno::IO)
}

/// Moves up to `length` bytes between a descriptor and a pipe, one of them at least.
pub(crate) fn splice(from: BorrowedFd<'_>, to: BorrowedFd<'_>, length: usize) -> Result<usize> {
    let moved =
        rustix::pipe::splice(from, None, to, None, length, SpliceFlags::MOVE).context("splice")?;
    if moved == 0 {
        bail!("nothing to splice");
    }
    Ok(moved)
}

/// Takes so many bytes through a pipe.
pub(crate) fn drain(fd: BorrowedFd<'_>, length: usize) -> Result<()> {
    let (reader, writer) = rustix::pipe::pipe().context("a pipe")?;
    let mut left = length;
    let mut buffer = [0_u8; 4096];
    while left > 0 {
        let mut inside = splice(fd, writer.as_fd(), left)?;
        left -= inside;
        while inside > 0 {
            inside -= rustix::io::read(&reader, &mut buffer[..]).context("reading a pipe")?;
        }
    }
    Ok(())
}

/// Receives some bytes and appends them; 0 is the end.
pub(crate) fn take(fd: BorrowedFd<'_>, how: Take, to: &mut Vec<u8>) -> Result<usize> {
    const HALF: usize = 8192;
    let mut buffer = [0_u8; 2 * HALF];
    let (first, second) = buffer.split_at_mut(HALF);
    let mut pieces = [IoSliceMut::new(first), IoSliceMut::new(second)];
    let got = match how {
        Take::Read => rustix::io::read(fd, &mut buffer[..]),
        Take::Bytes => rustix::io::read(fd, &mut buffer[..1]),
        // Little of the body.
        Take::Splice => rustix::io::read(fd, &mut buffer[..64]),
        Take::Readv => rustix::io::readv(fd, &mut pieces),
        Take::Recvfrom => recv(fd, &mut buffer[..], RecvFlags::empty()).map(|(got, _)| got),
        Take::Peek => {
            let (peeked, _) = recv(fd, &mut buffer[..], RecvFlags::PEEK).context("peeking")?;
            let (got, _) = recv(fd, &mut buffer[..peeked], RecvFlags::empty()).context("peeked")?;
            if got != peeked {
                bail!("peeked {peeked} bytes, then received {got}");
            }
            Ok(got)
        }
        Take::Recvmsg => {
            let mut none: [MaybeUninit<u8>; 0] = [];
            let mut control = RecvAncillaryBuffer::new(&mut none);
            recvmsg(fd, &mut pieces, &mut control, RecvFlags::empty()).map(|message| message.bytes)
        }
    }
    .context("receiving")?;
    to.extend_from_slice(buffer.get(..got).unwrap_or_default());
    Ok(got)
}
