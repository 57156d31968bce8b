//! Ways to move bytes over a socket: each system call that programs use for it.

use std::io::{IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::BorrowedFd;

use anyhow::{Context as _, Result, bail};
use rustix::net::{
    RecvAncillaryBuffer, RecvFlags, SendAncillaryBuffer, SendFlags, recv, recvmsg, send, sendmsg,
};

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
            Give::Write | Give::Bytes | Give::ThreeFirst => rustix::io::write(fd, bytes),
        }
        .context("sending")?;
        bytes = bytes.get(sent..).unwrap_or_default();
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
