//! Recorded event streams: one event per line as JSON.
//!
//! A stream recorded on one machine replays through the rest of the agent on any other, without a
//! kernel. The lines can be read and written by hand; empty lines and lines that start with `#` are
//! passed over, so that a fixture can say what it is.

use std::borrow::Cow;
use std::io::{BufRead, Read as _, Write};

use super::{Data, Datagram, Event};

/// Longest line that is read, in bytes: a record of 4 KiB payload with each byte escaped, and some
/// room.
pub const MAX_LINE: usize = 64 * 1024;

/// Why a stream could not be read or written. Lines count from 1.
#[derive(Debug, thiserror::Error)]
pub enum StreamError {
    /// The stream could not be read.
    #[error("line {line}: reading the event stream failed")]
    Read {
        /// The line.
        line: u64,
        /// Why.
        source: std::io::Error,
    },
    /// More than [`MAX_LINE`] bytes without a line end.
    #[error("line {line}: longer than {MAX_LINE} bytes, so this is no event stream")]
    TooLong {
        /// The line.
        line: u64,
    },
    /// No event.
    #[error("line {line}: no event: {source}")]
    Syntax {
        /// The line.
        line: u64,
        /// Why, with the column.
        source: serde_json::Error,
    },
    /// The stream could not be written.
    #[error("writing the event stream failed")]
    Write(#[from] std::io::Error),
}

/// Writes events to a stream. Wrap files in a `BufWriter`.
#[derive(Debug)]
pub struct Writer<W> {
    inner: W,
}

impl<W: Write> Writer<W> {
    /// A writer to `inner`.
    pub fn new(inner: W) -> Self {
        Self { inner }
    }

    /// Appends one event.
    pub fn write(&mut self, event: &Event<'_>) -> Result<(), StreamError> {
        serde_json::to_writer(&mut self.inner, event).map_err(std::io::Error::from)?;
        Ok(self.inner.write_all(b"\n")?)
    }

    /// Writes out what is buffered and gives back the inner writer.
    pub fn finish(mut self) -> Result<W, StreamError> {
        self.inner.flush()?;
        Ok(self.inner)
    }
}

/// Reads events from a stream, at most one line in memory. After an error it can go on with the
/// next line, except after [`StreamError::Read`] and [`StreamError::TooLong`].
#[derive(Debug)]
pub struct Reader<R> {
    inner: R,
    buffer: Vec<u8>,
    line: u64,
    over: bool,
}

impl<R: BufRead> Reader<R> {
    /// A reader from `inner`.
    pub fn new(inner: R) -> Self {
        Self { inner, buffer: Vec::new(), line: 0, over: false }
    }

    /// The line that was read last, counting from 1.
    pub fn line(&self) -> u64 {
        self.line
    }

    /// Reads a line with something in it into the buffer. False at the end.
    fn fill(&mut self) -> Result<bool, StreamError> {
        loop {
            self.buffer.clear();
            self.line += 1;
            let mut bounded = (&mut self.inner).take(MAX_LINE as u64 + 1);
            let length = bounded
                .read_until(b'\n', &mut self.buffer)
                .map_err(|source| StreamError::Read { line: self.line, source })?;
            if length > MAX_LINE {
                return Err(StreamError::TooLong { line: self.line });
            }
            let text = self.buffer.trim_ascii();
            if length == 0 || !(text.is_empty() || text.starts_with(b"#")) {
                return Ok(length > 0);
            }
        }
    }
}

impl<R: BufRead> Iterator for Reader<R> {
    type Item = Result<Event<'static>, StreamError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.over {
            return None;
        }
        match self.fill() {
            Ok(true) => Some(
                serde_json::from_slice::<Event<'_>>(&self.buffer)
                    .map(Event::into_owned)
                    .map_err(|source| StreamError::Syntax { line: self.line, source }),
            ),
            Ok(false) => {
                self.over = true;
                None
            }
            Err(error) => {
                self.over = true;
                Some(Err(error))
            }
        }
    }
}

impl Event<'_> {
    /// With a payload of its own.
    #[must_use]
    pub fn into_owned(self) -> Event<'static> {
        match self {
            Self::Open(open) => Event::Open(open),
            Self::Data(data) => Event::Data(Data {
                head: Cow::Owned(data.head.into_owned()),
                tail: Cow::Owned(data.tail.into_owned()),
                ..data
            }),
            Self::Close(close) => Event::Close(close),
            Self::Datagram(datagram) => Event::Datagram(Datagram {
                head: Cow::Owned(datagram.head.into_owned()),
                ..datagram
            }),
            Self::Exec(exec) => Event::Exec(exec),
            Self::Fork(fork) => Event::Fork(fork),
            Self::Exit(exit) => Event::Exit(exit),
            Self::Resolved(resolved) => Event::Resolved(resolved),
            Self::Environment(environment) => Event::Environment(environment),
            Self::Identity(identity) => Event::Identity(identity),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{Class, ConnectionId, Direction, Exit, ProcessKey, Standing, Unit};

    fn data(head: &[u8]) -> Event<'_> {
        let process = ProcessKey { pid: 1, start_ns: 2 };
        Event::Data(Data {
            connection: ConnectionId(7),
            direction: Direction::Received,
            class: Class::Http1Server,
            unit: Unit { process, tid: 1, goroutine: 0 },
            enter_ns: 0,
            exit_ns: 5,
            position: 9,
            length: 4096,
            head: head.into(),
            tail: b"\\x"[..].into(),
            turn: true,
            continues: false,
            end_of_stream: false,
            error: 0,
            lost: 0,
            standing: Standing::default(),
        })
    }

    #[test]
    fn what_is_written_is_read() {
        let bytes: Vec<u8> = (0..=255).cycle().take(4096).collect();
        let process = ProcessKey { pid: 1, start_ns: 2 };
        let events = [data(&bytes), Event::Exit(Exit { process, time_ns: 3 })];
        let mut writer = Writer::new(Vec::new());
        for event in &events {
            writer.write(event).unwrap();
        }
        let text = writer.finish().unwrap();
        assert!(text.len() < MAX_LINE);
        let read: Result<Vec<_>, _> = Reader::new(text.as_slice()).collect();
        assert_eq!(read.unwrap(), events);
    }

    #[test]
    fn the_longest_record_fits_a_line() {
        let bytes = vec![0; vigie_common::record::MAX_PAYLOAD + vigie_common::record::TAIL_BYTES];
        let mut writer = Writer::new(Vec::new());
        writer.write(&data(&bytes)).unwrap();
        assert!(writer.finish().unwrap().len() < MAX_LINE);
    }

    #[test]
    fn errors_name_the_line() {
        let text = b"# comment\n\n{\"event\":\"exit\"}\n{\"event\":\"exit\",\"process\":{\"pid\":1,\"start_ns\":2},\"time_ns\":3}";
        let mut reader = Reader::new(text.as_slice());
        let error = reader.next().unwrap().unwrap_err();
        assert!(error.to_string().starts_with("line 3: no event: missing field"), "{error}");
        assert!(reader.next().unwrap().is_ok());
        assert!(reader.next().is_none());
        let long = vec![b'x'; MAX_LINE + 1];
        let mut reader = Reader::new(long.as_slice());
        assert!(matches!(reader.next(), Some(Err(StreamError::TooLong { line: 1 }))));
        assert!(reader.next().is_none());
    }
}
