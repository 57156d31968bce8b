//! The chunked transfer coding, one piece after another: RFC 9112, section 7.1.

use httparse::Status;

/// Bytes that are kept of a chunk header with its extensions. A longer one is malformed.
const MAX_LINE: usize = 1024;

/// Where in a chunked body the stream stands.
#[derive(Debug, Default)]
pub(super) struct Chunked {
    place: Place,
    /// A chunk header that came in parts; empty otherwise.
    line: Vec<u8>,
    /// Bytes of chunk data so far.
    pub(super) bytes: u64,
}

#[derive(Clone, Copy, Debug, Default)]
enum Place {
    /// In a chunk header.
    #[default]
    Size,
    /// So many bytes of chunk data to come.
    Data(u64),
    /// Before the line end that follows chunk data.
    DataEnd,
    /// In the trailer section; the length of its current line without line ends.
    Trailers(u32),
}

/// What became of some bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Progress {
    /// All are used, more are to come.
    More,
    /// The body ended after so many.
    Done(usize),
    Malformed,
}

impl Chunked {
    /// Reads on.
    pub(super) fn read(&mut self, bytes: &[u8]) -> Progress {
        let mut rest = bytes;
        while !rest.is_empty() {
            let used = match self.place {
                Place::Size => match self.size(rest) {
                    Some(used) => used,
                    None => return Progress::Malformed,
                },
                Place::Data(left) => self.data(left, rest.len()),
                Place::DataEnd => match rest.first() {
                    Some(b'\r') => 1,
                    Some(b'\n') => {
                        self.place = Place::Size;
                        1
                    }
                    _ => return Progress::Malformed,
                },
                Place::Trailers(length) => {
                    let Some(end) = rest.iter().position(|byte| *byte == b'\n') else {
                        self.place = Place::Trailers(length.saturating_add(text_length(rest)));
                        return Progress::More;
                    };
                    let line = rest.get(..end).unwrap_or_default();
                    if length == 0 && text_length(line) == 0 {
                        return Progress::Done(bytes.len() - rest.len() + end + 1);
                    }
                    self.place = Place::Trailers(0);
                    end + 1
                }
            };
            rest = rest.get(used..).unwrap_or_default();
        }
        Progress::More
    }

    /// Passes over bytes that were not captured, if they are chunk data for certain.
    pub(super) fn skip(&mut self, count: u64) -> bool {
        match self.place {
            Place::Data(left) if count <= left => {
                self.bytes += count;
                self.place = if count == left { Place::DataEnd } else { Place::Data(left - count) };
                true
            }
            _ => count == 0,
        }
    }

    /// Memory in use besides the value itself.
    pub(super) fn memory(&self) -> usize {
        self.line.capacity()
    }

    fn data(&mut self, left: u64, available: usize) -> usize {
        let used = usize::try_from(left).unwrap_or(usize::MAX).min(available);
        // Never fails: `used` is at most `left`.
        self.skip(used as u64);
        used
    }

    /// Reads a chunk header, in place where it came whole. `None` when it is malformed.
    fn size(&mut self, bytes: &[u8]) -> Option<usize> {
        let before = self.line.len();
        let end = bytes.iter().position(|byte| *byte == b'\n');
        let part = bytes.get(..end.map_or(bytes.len(), |end| end + 1))?;
        if before + part.len() > MAX_LINE {
            return None;
        }
        let status = if before == 0 {
            httparse::parse_chunk_size(part).ok()?
        } else {
            self.line.extend_from_slice(part);
            httparse::parse_chunk_size(&self.line).ok()?
        };
        match status {
            Status::Complete((_, size)) => {
                self.line = Vec::new();
                self.place = if size == 0 { Place::Trailers(0) } else { Place::Data(size) };
            }
            Status::Partial if before == 0 => self.line.extend_from_slice(part),
            Status::Partial => {}
        }
        Some(part.len())
    }
}

/// Length of a line, or of a part of one, without carriage returns.
fn text_length(line: &[u8]) -> u32 {
    u32::try_from(line.iter().filter(|byte| **byte != b'\r').count()).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Reads the text whole and byte by byte; both must come to the same.
    fn check(text: &str, expected: Progress, bytes: u64) {
        let mut whole = Chunked::default();
        assert_eq!(whole.read(text.as_bytes()), expected, "{text:?}");
        let mut parts = Chunked::default();
        let mut last = Progress::More;
        for (index, byte) in text.bytes().enumerate() {
            last = match parts.read(&[byte]) {
                Progress::Done(_) => Progress::Done(index + 1),
                other => other,
            };
            if last != Progress::More {
                break;
            }
        }
        assert_eq!(last, expected, "{text:?} byte by byte");
        assert_eq!((whole.bytes, parts.bytes), (bytes, bytes), "{text:?}");
    }

    #[test]
    fn reads_chunks() {
        check("0\r\n\r\n", Progress::Done(5), 0);
        check("5\r\nhello\r\n0\r\n\r\nHTTP", Progress::Done(15), 5);
        check("5;a=\"b\"\r\nhello\r\n00\r\n\r\n", Progress::Done(22), 5);
        check("A\r\n0\r\n\r\n56789\r\n0\r\n\r\n", Progress::Done(20), 10);
        check("1\r\nx\r\n0\r\nA: b\r\nC: d\r\n\r\nmore", Progress::Done(23), 1);
        check("1\r\nx\r\n0\r\nA: b\r\n", Progress::More, 1);
        check("1\r\nx\r\nzz\r\n", Progress::Malformed, 1);
        check("g\r\n", Progress::Malformed, 0);
        check("1\r\nxy", Progress::Malformed, 1);
        check("fffffffffffffffff\r\n", Progress::Malformed, 0);
        check(&format!("5;{}\r\n", "e".repeat(MAX_LINE)), Progress::Malformed, 0);
    }

    #[test]
    fn passes_over_data_only() {
        let mut chunked = Chunked::default();
        assert_eq!(chunked.read(b"10\r\nab"), Progress::More);
        assert!(chunked.skip(14));
        assert!(!chunked.skip(1));
        assert_eq!(chunked.read(b"\r\n0\r\n\r\n"), Progress::Done(7));
        assert_eq!(chunked.bytes, 16);
    }
}
