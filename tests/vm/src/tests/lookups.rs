//! Look-ups of names over UDP, by each way in which programs send and receive datagrams.

use std::mem::MaybeUninit;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::os::fd::AsRawFd as _;
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use super::{Case, Verdict, counted, number, text, watching};

const PORT: u16 = 7053;
const COUNT: u16 = 50;
/// What ends the server.
const LAST: &[u8] = b"over";

const A: u16 = 1;
const AAAA: u16 = 28;

/// Connected and not, IPv4, IPv6 and IPv4 through IPv6, plain and vectored calls, several datagrams in a
/// call: each look-up is counted once at both ends, by name.
pub(super) fn ways(case: &Case) -> Result<Verdict> {
    let server = UdpSocket::bind((Ipv6Addr::UNSPECIFIED, PORT)).context("binding")?;
    let server = thread::spawn(move || answer(&server));
    let report = watching(&case.options(), || {
        connected("connected.test", Ipv4Addr::LOCALHOST.into(), send, receive)?;
        connected("six.test", Ipv6Addr::LOCALHOST.into(), send, receive)?;
        connected("mapped.test", Ipv4Addr::LOCALHOST.to_ipv6_mapped().into(), send, receive)?;
        connected("file.test", Ipv4Addr::LOCALHOST.into(), write, read)?;
        connected("pieces.test", Ipv4Addr::LOCALHOST.into(), send_pieces, receive_pieces)?;
        unconnected("unconnected.test")?;
        pairs("pairs.test")
    })?;
    UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?.send_to(LAST, (Ipv4Addr::LOCALHOST, PORT))?;
    server.join().map_err(|_| anyhow::anyhow!("the server panicked"))??;

    let once = u64::from(COUNT);
    let names =
        ["connected", "six", "mapped", "file", "pieces", "unconnected", "pairs"].map(|name| {
            let number = looked_up(&report, &format!("{name}.test"), "A");
            format!("{name} {number}")
        });
    let wanted = ["connected", "six", "mapped", "file", "pieces", "unconnected", "pairs"]
        .map(|name| format!("{name} {once}"));
    ensure!(names == wanted, "{names:?}; loss: {}", report["loss"]);
    let second = looked_up(&report, "pairs.test", "AAAA");
    ensure!(second == once, "{second} of {once} AAAA in pairs; loss: {}", report["loss"]);
    for kind in ["client", "server"] {
        let got = counted(&report, kind, "lookup");
        ensure!(got == 8 * once, "{got} of {} {kind} look-ups", 8 * once);
    }
    let completeness = report["loss"]["completeness"].as_f64();
    ensure!(completeness == Some(1.0), "all counted, yet loss: {}", report["loss"]);
    Ok(Verdict::Passed)
}

fn looked_up(report: &Value, name: &str, kind: &str) -> u64 {
    let rows = report["dns"].as_array().into_iter().flatten();
    rows.filter(|row| text(row, "name") == name && text(row, "type") == kind)
        .map(|row| number(row, "count"))
        .sum()
}

/// Answers every question with itself.
fn answer(server: &UdpSocket) -> Result<()> {
    let mut buffer = [0; 512];
    loop {
        let (length, from) = server.recv_from(&mut buffer).context("receiving")?;
        let message = buffer.get_mut(..length).context("a length")?;
        if message == LAST {
            return Ok(());
        }
        // An answer, and recursion is available.
        message[2] |= 0x80;
        message[3] |= 0x80;
        server.send_to(message, from).context("answering")?;
    }
}

fn question(id: u16, name: &str, kind: u16) -> Vec<u8> {
    let mut bytes: Vec<u8> =
        [id, 0x0100, 1, 0, 0, 0].into_iter().flat_map(u16::to_be_bytes).collect();
    for label in name.split('.') {
        bytes.push(u8::try_from(label.len()).unwrap_or(0));
        bytes.extend(label.bytes());
    }
    bytes.push(0);
    bytes.extend([kind, 1].into_iter().flat_map(u16::to_be_bytes));
    bytes
}

fn socket(to: SocketAddr) -> Result<UdpSocket> {
    let any: SocketAddr = match to {
        SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
        SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
    };
    let socket = UdpSocket::bind(any).context("binding")?;
    socket.set_read_timeout(Some(Duration::from_secs(20))).context("a time limit")?;
    Ok(socket)
}

type Move = fn(&UdpSocket, &mut [u8]) -> isize;

fn connected(name: &str, to: std::net::IpAddr, give: Move, take: Move) -> Result<()> {
    let to = SocketAddr::new(to, PORT);
    let socket = socket(to)?;
    socket.connect(to).context("connecting")?;
    for id in 0..COUNT {
        let mut asked = question(id, name, A);
        let sent = give(&socket, &mut asked);
        ensure!(usize::try_from(sent) == Ok(asked.len()), "{name}: sent {sent}");
        let mut buffer = [0; 512];
        let got = take(&socket, &mut buffer);
        ensure!(got == sent, "{name}: received {got}");
    }
    Ok(())
}

fn send(socket: &UdpSocket, bytes: &mut [u8]) -> isize {
    // SAFETY: the buffer is as long as is said, as in all that follow.
    unsafe { libc::send(socket.as_raw_fd(), bytes.as_ptr().cast(), bytes.len(), 0) }
}

fn receive(socket: &UdpSocket, bytes: &mut [u8]) -> isize {
    // SAFETY: see `send`.
    unsafe { libc::recv(socket.as_raw_fd(), bytes.as_mut_ptr().cast(), bytes.len(), 0) }
}

fn write(socket: &UdpSocket, bytes: &mut [u8]) -> isize {
    // SAFETY: see `send`.
    unsafe { libc::write(socket.as_raw_fd(), bytes.as_ptr().cast(), bytes.len()) }
}

fn read(socket: &UdpSocket, bytes: &mut [u8]) -> isize {
    // SAFETY: see `send`.
    unsafe { libc::read(socket.as_raw_fd(), bytes.as_mut_ptr().cast(), bytes.len()) }
}

/// The header in two buffers, the question in a third.
fn pieces(bytes: &mut [u8]) -> [libc::iovec; 3] {
    let (header, question) = bytes.split_at_mut(12);
    let (first, second) = header.split_at_mut(3);
    [first, second, question]
        .map(|piece| libc::iovec { iov_base: piece.as_mut_ptr().cast(), iov_len: piece.len() })
}

fn send_pieces(socket: &UdpSocket, bytes: &mut [u8]) -> isize {
    let mut pieces = pieces(bytes);
    // SAFETY: all zero is a message without address and buffers.
    let mut message: libc::msghdr = unsafe { MaybeUninit::zeroed().assume_init() };
    message.msg_iov = pieces.as_mut_ptr();
    message.msg_iovlen = pieces.len();
    // SAFETY: the buffers outlive the call.
    unsafe { libc::sendmsg(socket.as_raw_fd(), &raw const message, 0) }
}

fn receive_pieces(socket: &UdpSocket, bytes: &mut [u8]) -> isize {
    let pieces = pieces(bytes);
    // SAFETY: the buffers outlive the call.
    unsafe { libc::readv(socket.as_raw_fd(), pieces.as_ptr(), 3) }
}

fn unconnected(name: &str) -> Result<()> {
    let to: SocketAddr = (Ipv4Addr::LOCALHOST, PORT).into();
    let socket = socket(to)?;
    for id in 0..COUNT {
        let asked = question(id, name, A);
        socket.send_to(&asked, to).context("asking")?;
        let (got, from) = socket.recv_from(&mut [0; 512]).context("the answer")?;
        ensure!(got == asked.len() && from == to, "{name}: {got} bytes from {from}");
    }
    Ok(())
}

/// As glibc asks for both kinds of addresses.
fn pairs(name: &str) -> Result<()> {
    let to: SocketAddr = (Ipv4Addr::LOCALHOST, PORT).into();
    let socket = socket(to)?;
    socket.connect(to).context("connecting")?;
    for id in 0..COUNT {
        let mut asked =
            [(2 * id, A), (2 * id + 1, AAAA)].map(|(id, kind)| question(id, name, kind));
        let mut buffers = asked
            .each_mut()
            .map(|one| libc::iovec { iov_base: one.as_mut_ptr().cast(), iov_len: one.len() });
        let mut messages = buffers.each_mut().map(|buffer| {
            // SAFETY: all zero is a message without address and buffers.
            let mut message: libc::mmsghdr = unsafe { MaybeUninit::zeroed().assume_init() };
            message.msg_hdr.msg_iov = std::ptr::from_mut(buffer);
            message.msg_hdr.msg_iovlen = 1;
            message
        });
        // SAFETY: messages and buffers outlive the call.
        let sent = unsafe { libc::sendmmsg(socket.as_raw_fd(), messages.as_mut_ptr(), 2, 0) };
        ensure!(sent == 2, "{name}: sent {sent} datagrams");
        for _ in 0..2 {
            socket.recv(&mut [0; 512]).context("the answer")?;
        }
    }
    Ok(())
}
