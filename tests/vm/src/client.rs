//! The tests' clients: one connection, a row of exchanges, many connections at once, or load in the
//! background.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};

use crate::message::Stream;
use crate::process;
use crate::server;
use crate::wire::{Give, Take};

const PROGRESS_LIMIT: Duration = Duration::from_mins(1);

/// Between two requests of the load in the background.
const PAUSE: Duration = Duration::from_millis(2);

/// Which server is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum To {
    /// TCP over IPv4 on a port.
    Port(u16),
    /// TCP over IPv6.
    Six,
    /// A unix socket.
    Unix,
}

/// One connection of a client.
pub(crate) struct Client {
    stream: Stream,
}

impl Client {
    /// Connects, and uses the plainest calls.
    pub(crate) fn connect(to: To) -> Result<Self> {
        Self::connect_with(to, Give::Write, Take::Read)
    }

    /// Connects, and uses these calls.
    pub(crate) fn connect_with(to: To, give: Give, take: Take) -> Result<Self> {
        let tcp = |address: SocketAddr| -> Result<TcpStream> {
            let stream = TcpStream::connect(address).context("connecting")?;
            // Else pieces of a request wait for each other.
            stream.set_nodelay(true).context("TCP_NODELAY")?;
            Ok(stream)
        };
        let stream = match to {
            To::Port(port) => Stream::new(tcp((Ipv4Addr::LOCALHOST, port).into())?, give, take),
            To::Six => Stream::new(tcp((Ipv6Addr::LOCALHOST, server::SIX).into())?, give, take),
            To::Unix => {
                let stream = UnixStream::connect(server::UNIX).context("connecting")?;
                Stream::new(stream, give, take)
            }
        };
        Ok(Self { stream })
    }

    /// Sends bytes that are requests.
    pub(crate) fn send(&self, bytes: &[u8]) -> Result<()> {
        self.stream.send(bytes)
    }

    /// Receives one response to a request of this method, and gives its status.
    pub(crate) fn receive(&mut self, method: &str) -> Result<u16> {
        let head = self.stream.head()?.context("the connection ended without a response")?;
        let status: u16 = head.words[1].parse().context("a status")?;
        if method != "HEAD" && status != 204 && status != 304 {
            self.stream.body(&head, true)?;
        }
        Ok(status)
    }

    /// One exchange, which must give 200.
    pub(crate) fn get(&mut self, target: &str) -> Result<()> {
        self.send(&request("GET", target, &[]))?;
        let status = self.receive("GET")?;
        ensure!(status == 200, "{target} gave {status}");
        Ok(())
    }
}

/// A request, with further header fields and a body as they are given.
pub(crate) fn request(method: &str, target: &str, rest: &[u8]) -> Vec<u8> {
    let mut text = format!("{method} {target} HTTP/1.1\r\nHost: server\r\n").into_bytes();
    if rest.is_empty() {
        text.extend_from_slice(b"\r\n");
    } else {
        text.extend_from_slice(rest);
    }
    text
}

/// Sends `each` requests over each of `connections` connections, all of them in flight together.
pub(crate) fn kept(to: To, target: &str, connections: u32, each: u32) -> Result<()> {
    let mut clients = (0..connections).map(|_| Client::connect(to)).collect::<Result<Vec<_>>>()?;
    let text = request("GET", target, &[]);
    for _ in 0..each {
        for client in &clients {
            client.send(&text)?;
        }
        for client in &mut clients {
            let status = client.receive("GET")?;
            ensure!(status == 200, "{target} gave {status}");
        }
    }
    Ok(())
}

/// Sends one request over each of so many connections, one after the other.
pub(crate) fn fresh(to: To, target: &str, connections: u32) -> Result<()> {
    let text = request("GET", target, b"Connection: close\r\n\r\n");
    for _ in 0..connections {
        let mut client = Client::connect(to)?;
        client.send(&text)?;
        let status = client.receive("GET")?;
        ensure!(status == 200, "{target} gave {status}");
    }
    Ok(())
}

/// Requests without end in a thread of its own.
pub(crate) struct Background {
    answered: Arc<AtomicU64>,
    end: Arc<AtomicBool>,
    thread: JoinHandle<Result<()>>,
}

impl Background {
    /// Over one keep-alive connection, and now and then over a new one.
    pub(crate) fn start(target: &'static str) -> Self {
        let (answered, end) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
        let (count, ended) = (Arc::clone(&answered), Arc::clone(&end));
        let thread = thread::spawn(move || {
            let mut kept = Client::connect(To::Port(server::PLAIN))?;
            while !ended.load(Ordering::Relaxed) {
                kept.get(target)?;
                // Leaves the agent some of the emulated processors, which are slow.
                thread::sleep(PAUSE);
                let before = count.fetch_add(1, Ordering::Relaxed);
                if before % 10 == 9 {
                    fresh(To::Port(server::PLAIN), target, 1)?;
                    count.fetch_add(1, Ordering::Relaxed);
                }
            }
            Ok(())
        });
        Self { answered, end, thread }
    }

    /// Waits until so many more were answered.
    pub(crate) fn wait_for(&self, more: u64) -> Result<()> {
        let wanted = self.answered.load(Ordering::Relaxed) + more;
        process::wait_for("requests are answered", PROGRESS_LIMIT, || {
            let failed = self.thread.is_finished();
            ensure!(!failed, "a request failed, after {wanted}");
            Ok((self.answered.load(Ordering::Relaxed) >= wanted).then_some(()))
        })
    }

    /// Ends it; an error if one request failed.
    pub(crate) fn stop(self) -> Result<u64> {
        self.end.store(true, Ordering::Relaxed);
        match self.thread.join() {
            Ok(result) => result.map(|()| self.answered.load(Ordering::Relaxed)),
            Err(_) => anyhow::bail!("the load panicked"),
        }
    }
}
