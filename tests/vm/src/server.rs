//! A small HTTP/1.1 server: a thread for each connection, or a forked process for each worker. The
//! port says by which calls it reads and writes, the request's query how it answers.

use std::fs::File;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream};
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::net::UnixListener;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};

use crate::message::{Head, Stream};
use crate::process;
use crate::wire::{self, Give, Take};

/// Ports by how the server on them reads and writes.
pub(crate) const PLAIN: u16 = 7000;
pub(crate) const PEEK: u16 = 7001;
pub(crate) const BYTES: u16 = 7002;
pub(crate) const MESSAGES: u16 = 7003;
pub(crate) const VECTORS: u16 = 7004;
pub(crate) const SENDTO: u16 = 7005;
pub(crate) const ZEROCOPY: u16 = 7007;
pub(crate) const SPLICE: u16 = 7008;
const PORTS: [(u16, Give, Take); 8] = [
    (PLAIN, Give::Write, Take::Read),
    (PEEK, Give::Write, Take::Peek),
    (BYTES, Give::Bytes, Take::Bytes),
    (MESSAGES, Give::Sendmsg, Take::Recvmsg),
    (VECTORS, Give::Writev, Take::Readv),
    (SENDTO, Give::Sendto, Take::Recvfrom),
    (ZEROCOPY, Give::Zerocopy, Take::Read),
    (SPLICE, Give::Write, Take::Splice),
];
/// Over IPv6.
pub(crate) const SIX: u16 = 7006;
/// Of forked workers.
pub(crate) const FORKED: u16 = 7100;
/// Over a unix socket.
pub(crate) const UNIX: &str = "/tmp/server.sock";

/// Length of the file that is sent with `sendfile`.
const FILE: usize = 100_000;
/// Length of a large body.
const LARGE: usize = 1_000_000;
const START_LIMIT: Duration = Duration::from_mins(1);
/// Thousands of connections have a thread each.
const STACK: usize = 96 << 10;

/// A server in a process of its own; ends when dropped.
pub(crate) struct Server(Child);

impl Server {
    /// Starts one with threads, and waits until it listens.
    pub(crate) fn start() -> Result<Self> {
        let child = Command::new("/init").arg("serve").stdin(Stdio::null()).spawn();
        let server = Self(child.context("cannot start the server")?);
        process::wait_for("the server listens", START_LIMIT, || {
            Ok(TcpStream::connect((Ipv6Addr::LOCALHOST, SIX)).ok())
        })?;
        Ok(server)
    }

    /// Starts one with so many forked workers, and waits until it listens.
    pub(crate) fn start_forked(workers: u32) -> Result<Self> {
        let mut command = Command::new("/init");
        command.args(["serve-forked", &workers.to_string()]).stdin(Stdio::null());
        let server = Self(command.spawn().context("cannot start the server")?);
        let id = server.0.id();
        process::wait_for("all workers are there", START_LIMIT, || {
            let all = process::children(id)?.len() == workers as usize;
            Ok(all.then_some(()))
        })?;
        Ok(server)
    }

    pub(crate) fn pid(&self) -> u32 {
        self.0.id()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        for worker in process::children(self.0.id()).unwrap_or_default() {
            let worker = i32::try_from(worker).ok().and_then(rustix::process::Pid::from_raw);
            if let Some(worker) = worker {
                let _ = rustix::process::kill_process(worker, rustix::process::Signal::KILL);
            }
        }
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The server's process with threads.
pub(crate) fn serve() -> Result<()> {
    let file: Vec<u8> = (b'a'..=b'z').cycle().take(FILE).collect();
    std::fs::write("/tmp/server.file", file).context("writing a file")?;
    for (port, give, take) in PORTS {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).context("listening")?;
        accept_all(move || Ok(listener.accept()?.0.into()), give, take);
    }
    let _ = std::fs::remove_file(UNIX);
    let listener = UnixListener::bind(UNIX).context("listening")?;
    accept_all(move || Ok(listener.accept()?.0.into()), Give::Write, Take::Read);
    // Last, as its answering says that all listen.
    let listener = TcpListener::bind((Ipv6Addr::LOCALHOST, SIX)).context("listening")?;
    accept_all(move || Ok(listener.accept()?.0.into()), Give::Write, Take::Read);
    loop {
        thread::park();
    }
}

fn accept_all(
    mut accept: impl FnMut() -> std::io::Result<OwnedFd> + Send + 'static,
    give: Give,
    take: Take,
) {
    thread::spawn(move || {
        while let Ok(fd) = accept() {
            let connection = move || {
                // A client that goes away is no failure of the server.
                if let Err(error) = attend(&mut Stream::new(fd, give, take)) {
                    eprintln!("server: {error:#}");
                }
            };
            if let Err(error) = thread::Builder::new().stack_size(STACK).spawn(connection) {
                eprintln!("server: {error}");
            }
        }
    });
}

/// The server's process with forked workers, each with one connection at a time.
pub(crate) fn serve_forked(workers: u32) -> Result<()> {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, FORKED));
    let listener = TcpListener::bind(address).context("listening")?;
    for _ in 0..workers {
        // SAFETY: this process has one thread, so the child may do whatever its parent could.
        let child = unsafe { libc::fork() };
        ensure!(child >= 0, "fork: {}", std::io::Error::last_os_error());
        if child == 0 {
            while let Ok((stream, _)) = listener.accept() {
                attend(&mut Stream::new(stream, Give::Write, Take::Read))?;
            }
            bail!("no more connections");
        }
    }
    loop {
        thread::park();
    }
}

fn attend(stream: &mut Stream) -> Result<()> {
    while let Some(head) = stream.head()? {
        stream.body(&head, false)?;
        let ends = answer(stream, &head)?;
        if ends || head.close {
            break;
        }
    }
    Ok(())
}

/// Answers as the query says; `true` where the connection's end ends the answer.
fn answer(stream: &Stream, head: &Head) -> Result<bool> {
    let [method, target] = &head.words;
    let query = target.split_once('?').map_or("plain", |(_, query)| query);
    match query {
        "plain" => stream.send(&whole("200 OK", method, b"watched from the mast"))?,
        "chunked" => {
            stream.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n")?;
            stream.send(b"7\r\n, world\r\n")?;
            stream.send(b"0\r\n\r\n")?;
        }
        "large" => stream.send(&whole("200 OK", method, &vec![b'x'; LARGE]))?,
        "split" => {
            stream.send(b"HTTP/1.1 2")?;
            stream.send(b"00 OK\r\nContent-Length: 2\r\n\r")?;
            stream.send(b"\nok")?;
        }
        "until-close" => {
            stream.send(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nuntil the end")?;
            return Ok(true);
        }
        "sendfile" => {
            let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {FILE}\r\n\r\n");
            stream.send(head.as_bytes())?;
            let file = File::open("/tmp/server.file").context("opening a file")?;
            let (mut at, mut left) = (0, FILE);
            while left > 0 {
                let sent = rustix::fs::sendfile(stream.fd.as_fd(), &file, Some(&mut at), left);
                left -= sent.context("sendfile")?;
            }
        }
        "splice" => {
            let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {FILE}\r\n\r\n");
            stream.send(head.as_bytes())?;
            let file = File::open("/tmp/server.file").context("opening a file")?;
            let (reader, writer) = rustix::pipe::pipe().context("a pipe")?;
            let mut left = FILE;
            while left > 0 {
                let mut inside = wire::splice(file.as_fd(), writer.as_fd(), left)?;
                left -= inside;
                while inside > 0 {
                    inside -= wire::splice(reader.as_fd(), stream.fd.as_fd(), inside)?;
                }
            }
        }
        code => {
            let body: &[u8] = if code == "204" || code == "304" { b"" } else { b"as asked" };
            stream.send(&whole(&format!("{code} As Asked"), method, body))?;
        }
    }
    Ok(false)
}

fn whole(status: &str, method: &str, body: &[u8]) -> Vec<u8> {
    let mut text = format!("HTTP/1.1 {status}\r\n").into_bytes();
    if !status.starts_with("204") && !status.starts_with("304") {
        text.extend_from_slice(format!("Content-Length: {}\r\n", body.len()).as_bytes());
    }
    text.extend_from_slice(b"\r\n");
    if method != "HEAD" {
        text.extend_from_slice(body);
    }
    text
}
