//! Traffic through `io_uring`, which no system call shows.

use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::thread;

use anyhow::{Context as _, Result, bail, ensure};
use io_uring::{IoUring, opcode, squeue, types};

use super::{Case, Verdict, counted, number, watching};
use crate::client::{Client, To, request};
use crate::server::{self, Server};

const PORT: u16 = 7200;
const COUNT: u32 = 100;
const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

/// A client through a ring of an ordinary server, and the other way round. Backends on functions
/// see both sides of both; tracepoints see only that there is something, and system calls nothing.
pub(super) fn exchanges(case: &Case) -> Result<Verdict> {
    if super::kernel()? < (6, 1) {
        return Ok(Verdict::Skipped("before Linux 6.1".to_owned()));
    }
    let _server = Server::start()?;
    let report = watching(&case.options(), || {
        ask().context("client")?;
        be_asked().context("server")
    })?;
    println!("loss: {}", report["loss"]);
    let ringed = if case.is_on_functions() { u64::from(COUNT) } else { 0 };
    for (kind, name, wanted) in [
        ("server", "GET /ring-client", u64::from(COUNT)),
        ("client", "GET /ring-client", ringed),
        ("server", "GET /ring-server", ringed),
        ("client", "GET /ring-server", u64::from(COUNT)),
    ] {
        let got = counted(&report, kind, name);
        ensure!(got == wanted, "{got} instead of {wanted} {kind} {name} counted");
    }
    if case.backend == "socket-tracepoint" {
        let unread = number(&report["loss"]["by_reason"], "iterator_unread");
        ensure!(unread > 0, "what rings moved is not counted: {}", report["loss"]);
    }
    Ok(Verdict::Passed)
}

/// One socket through a ring.
struct Ringed {
    ring: IoUring,
    socket: OwnedFd,
}

impl Ringed {
    fn new(socket: impl Into<OwnedFd>) -> Result<Self> {
        Ok(Self { ring: IoUring::new(4).context("io_uring")?, socket: socket.into() })
    }

    fn send(&mut self, bytes: &[u8]) -> Result<()> {
        let length = u32::try_from(bytes.len()).context("a length")?;
        let entry = opcode::Send::new(types::Fd(self.socket.as_raw_fd()), bytes.as_ptr(), length);
        let sent = self.submit(&entry.build())?;
        ensure!(sent == bytes.len(), "sent {sent} of {} bytes", bytes.len());
        Ok(())
    }

    fn receive(&mut self, buffer: &mut [u8]) -> Result<usize> {
        let length = u32::try_from(buffer.len()).context("a length")?;
        let fd = types::Fd(self.socket.as_raw_fd());
        let entry = opcode::Recv::new(fd, buffer.as_mut_ptr(), length);
        self.submit(&entry.build())
    }

    /// Submits one operation and waits for its result.
    fn submit(&mut self, entry: &squeue::Entry) -> Result<usize> {
        // SAFETY: the operation ends before this returns, and its buffer belongs to a caller that
        // waits for this.
        unsafe { self.ring.submission().push(entry) }.context("a full ring")?;
        self.ring.submit_and_wait(1).context("io_uring_enter")?;
        let result = self.ring.completion().next().context("no completion")?.result();
        if result < 0 {
            bail!("io_uring: {}", std::io::Error::from_raw_os_error(-result));
        }
        usize::try_from(result).context("a length")
    }
}

fn ask() -> Result<()> {
    let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, server::PLAIN)).context("connecting")?;
    let mut ringed = Ringed::new(stream)?;
    let text = request("GET", "/ring-client", &[]);
    let mut buffer = vec![0; 4096];
    for _ in 0..COUNT {
        ringed.send(&text)?;
        let got = ringed.receive(&mut buffer)?;
        let answer = buffer.get(..got).unwrap_or_default();
        ensure!(answer.starts_with(b"HTTP/1.1 200"), "no whole response at once");
    }
    Ok(())
}

fn be_asked() -> Result<()> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, PORT)).context("listening")?;
    let server = thread::spawn(move || -> Result<()> {
        let mut ringed = Ringed::new(listener.accept().context("accepting")?.0)?;
        let mut buffer = vec![0; 4096];
        while ringed.receive(&mut buffer)? > 0 {
            ringed.send(ANSWER)?;
        }
        Ok(())
    });
    let mut client = Client::connect(To::Port(PORT))?;
    (0..COUNT).try_for_each(|_| client.get("/ring-server"))?;
    drop(client);
    server.join().map_err(|_| anyhow::anyhow!("the server panicked"))?
}
