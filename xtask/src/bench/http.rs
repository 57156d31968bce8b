//! The little HTTP/1.1 that the benchmarks speak themselves: a GET, and a server that takes
//! anything and answers with nothing.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};

const LIMIT: Duration = Duration::from_secs(5);

/// Body of a GET; any status but 200 is an error.
pub(super) fn get(address: SocketAddr, path: &str) -> Result<String> {
    let mut stream = TcpStream::connect_timeout(&address, LIMIT)
        .with_context(|| format!("connecting to {address}"))?;
    stream.set_read_timeout(Some(LIMIT)).context("setting a time limit")?;
    // HTTP/1.0: the answer ends with the connection, and is never chunked.
    let request = format!("GET {path} HTTP/1.0\r\nHost: {address}\r\n\r\n");
    stream.write_all(request.as_bytes()).with_context(|| format!("asking {address}{path}"))?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).with_context(|| format!("reading {address}{path}"))?;
    let (head, body) = answer.split_once("\r\n\r\n").context("an answer without end of head")?;
    let status = head.split_whitespace().nth(1).unwrap_or_default();
    if status != "200" {
        bail!("{address}{path} answered with status {status}");
    }
    Ok(body.to_owned())
}

/// An address of the loopback interface that nobody listens on.
pub(super) fn free_address() -> Result<SocketAddr> {
    let listener = TcpListener::bind("127.0.0.1:0").context("looking for a free port")?;
    listener.local_addr().context("looking for a free port")
}

/// Takes requests on a free port for as long as this process lives, and answers each with an empty
/// body, which is also what an OTLP receiver answers when all is well.
pub(super) fn start_sink() -> Result<SocketAddr> {
    let listener = TcpListener::bind("127.0.0.1:0").context("opening a port for the sink")?;
    let address = listener.local_addr().context("address of the sink")?;
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            // A connection that breaks is the sender's to notice.
            thread::spawn(move || serve(&stream).ok());
        }
    });
    Ok(address)
}

fn serve(stream: &TcpStream) -> io::Result<()> {
    let mut requests = BufReader::with_capacity(1 << 16, stream);
    while take_request(&mut requests)? {
        let mut stream = stream;
        stream.write_all(
            b"HTTP/1.1 200 OK\r\nContent-Type: application/x-protobuf\r\nContent-Length: 0\r\n\r\n",
        )?;
    }
    Ok(())
}

/// Reads one request to its end; `false` when there is no further one.
fn take_request(requests: &mut impl BufRead) -> io::Result<bool> {
    let mut length = 0;
    let mut chunked = false;
    let mut lines = 0;
    loop {
        let line = read_line(requests)?;
        if line.is_empty() {
            break;
        }
        lines += 1;
        if let Some((name, value)) = line.split_once(':') {
            let value = value.trim();
            if name.eq_ignore_ascii_case("content-length") {
                length = value.parse().map_err(io::Error::other)?;
            }
            chunked |= name.eq_ignore_ascii_case("transfer-encoding")
                && value.eq_ignore_ascii_case("chunked");
        }
    }
    if lines == 0 {
        return Ok(false);
    }
    if !chunked {
        discard(requests, length)?;
        return Ok(true);
    }
    loop {
        let line = read_line(requests)?;
        let size = line.split(';').next().unwrap_or_default().trim();
        let size = u64::from_str_radix(size, 16).map_err(io::Error::other)?;
        if size == 0 {
            while !read_line(requests)?.is_empty() {}
            return Ok(true);
        }
        discard(requests, size)?;
        read_line(requests)?;
    }
}

fn read_line(requests: &mut impl BufRead) -> io::Result<String> {
    let mut line = String::new();
    requests.read_line(&mut line)?;
    Ok(line.trim_end().to_owned())
}

fn discard(requests: &mut impl BufRead, length: u64) -> io::Result<u64> {
    io::copy(&mut requests.take(length), &mut io::sink())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sink_takes_requests_of_every_form_on_one_connection() {
        let address = start_sink().unwrap();
        let mut stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(LIMIT)).unwrap();
        let requests = "POST / HTTP/1.1\r\nContent-Length: 5\r\n\r\nhello\
            POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n\
            GET / HTTP/1.1\r\nConnection: close\r\n\r\n";
        stream.write_all(requests.as_bytes()).unwrap();
        stream.shutdown(std::net::Shutdown::Write).unwrap();
        let mut answers = String::new();
        stream.read_to_string(&mut answers).unwrap();
        assert_eq!(answers.matches("HTTP/1.1 200 OK").count(), 3);
    }

    /// A server that gives one answer, then ends the connection.
    fn answer_once(answer: &'static str) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        thread::spawn(move || {
            let (stream, _) = listener.accept().unwrap();
            take_request(&mut BufReader::new(&stream)).unwrap();
            (&stream).write_all(answer.as_bytes()).unwrap();
        });
        address
    }

    #[test]
    fn get_reads_a_body_and_refuses_other_statuses() {
        let good = answer_once("HTTP/1.1 200 OK\r\nServer: x\r\n\r\nhello\n");
        assert_eq!(get(good, "/").unwrap(), "hello\n");
        let bad = answer_once("HTTP/1.1 503 Unavailable\r\n\r\n");
        assert!(get(bad, "/").unwrap_err().to_string().contains("503"));
        assert!(get(free_address().unwrap(), "/").is_err());
    }
}
