//! As much of HTTP/1.1 as the tests' servers and clients need (RFC 9112), over any socket.

use std::os::fd::{AsFd as _, OwnedFd};

use anyhow::{Context as _, Result, bail};

use crate::wire::{self, Give, Take};

/// One side of a connection: the socket, how it is used, and what was received too much.
pub(crate) struct Stream {
    pub(crate) fd: OwnedFd,
    pub(crate) give: Give,
    pub(crate) take: Take,
    received: Vec<u8>,
}

/// A head: its first line in three, and the fields that tell where the message ends.
#[derive(Debug)]
pub(crate) struct Head {
    /// Method and target of a request, version and status of a response.
    pub(crate) words: [String; 2],
    pub(crate) length: Option<usize>,
    pub(crate) chunked: bool,
    pub(crate) close: bool,
}

impl Stream {
    pub(crate) fn new(fd: impl Into<OwnedFd>, give: Give, take: Take) -> Self {
        Self { fd: fd.into(), give, take, received: Vec::new() }
    }

    pub(crate) fn send(&self, bytes: &[u8]) -> Result<()> {
        wire::give(self.fd.as_fd(), self.give, bytes)
    }

    /// More bytes; `false` at the end.
    fn fill(&mut self) -> Result<bool> {
        Ok(wire::take(self.fd.as_fd(), self.take, &mut self.received)? > 0)
    }

    /// The next head; `None` when the connection ended before one began.
    pub(crate) fn head(&mut self) -> Result<Option<Head>> {
        const END: &[u8] = b"\r\n\r\n";
        let mut from = 0;
        loop {
            let window = self.received.get(from..).unwrap_or_default();
            if let Some(at) = window.windows(END.len()).position(|bytes| bytes == END) {
                let rest = self.received.split_off(from + at + END.len());
                let head = std::mem::replace(&mut self.received, rest);
                return parse(&String::from_utf8_lossy(&head)).map(Some);
            }
            from = self.received.len().saturating_sub(END.len() - 1);
            if !self.fill()? {
                if self.received.is_empty() {
                    return Ok(None);
                }
                bail!("the connection ended within a head");
            }
        }
    }

    /// Takes `length` bytes of a body.
    fn skip(&mut self, length: usize) -> Result<()> {
        let mut left = length;
        loop {
            let here = left.min(self.received.len());
            self.received.drain(..here);
            left -= here;
            if left == 0 {
                return Ok(());
            }
            if self.take == Take::Splice {
                return wire::drain(self.fd.as_fd(), left);
            }
            if !self.fill()? {
                bail!("the connection ended within a body");
            }
        }
    }

    /// Takes the body that a head announces; `to_end` if without a length it goes to the
    /// connection's end.
    pub(crate) fn body(&mut self, head: &Head, to_end: bool) -> Result<()> {
        if head.chunked {
            return self.chunks();
        }
        match head.length {
            Some(length) => self.skip(length),
            None if to_end => {
                while self.fill()? {
                    self.received.clear();
                }
                Ok(())
            }
            None => Ok(()),
        }
    }

    fn chunks(&mut self) -> Result<()> {
        loop {
            let size = loop {
                if let Some(at) = self.received.windows(2).position(|bytes| bytes == b"\r\n") {
                    let line: Vec<u8> = self.received.drain(..at + 2).collect();
                    let text = String::from_utf8_lossy(&line).trim().to_owned();
                    break usize::from_str_radix(&text, 16).context("size of a chunk")?;
                }
                if !self.fill()? {
                    bail!("the connection ended within a chunk's size");
                }
            };
            self.skip(size + 2)?;
            if size == 0 {
                return Ok(());
            }
        }
    }
}

fn parse(text: &str) -> Result<Head> {
    let mut lines = text.lines();
    let mut words = lines.next().unwrap_or_default().split(' ').map(str::to_owned);
    let words = [words.next(), words.next()].map(Option::unwrap_or_default);
    let mut head = Head { words, length: None, chunked: false, close: false };
    for line in lines {
        let Some((name, value)) = line.split_once(':') else { continue };
        let value = value.trim();
        match name.to_ascii_lowercase().as_str() {
            "content-length" => head.length = Some(value.parse().context("Content-Length")?),
            "transfer-encoding" => head.chunked = value == "chunked",
            "connection" => head.close = value == "close",
            _ => {}
        }
    }
    Ok(head)
}
