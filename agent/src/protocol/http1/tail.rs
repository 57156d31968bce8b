//! The end of a chunked body whose chunk headers were not all captured.
//!
//! Of a long body the kernel copies the last bytes of each segment only. A segment that ends like a
//! last chunk probably ends the message; what follows on the connection confirms or refutes that.

/// Bytes that are looked at, as many as the kernel copies from the end of a segment.
const WINDOW: usize = vigie_common::record::TAIL_BYTES;

/// The last bytes of a stretch without a gap.
#[derive(Debug, Default)]
pub(super) struct Tail {
    bytes: Vec<u8>,
    /// Whether the first of the bytes is the first of a segment.
    whole_segment: bool,
}

impl Tail {
    /// Bytes that follow the ones before without a gap.
    pub(super) fn push(&mut self, bytes: &[u8], segment_start: bool) {
        if segment_start && bytes.len() >= WINDOW {
            self.bytes.clear();
        }
        if self.bytes.is_empty() {
            self.whole_segment = segment_start;
        }
        let last = bytes.get(bytes.len().saturating_sub(WINDOW)..).unwrap_or(bytes);
        let surplus = (self.bytes.len() + last.len()).saturating_sub(WINDOW);
        if surplus > 0 || last.len() < bytes.len() {
            self.whole_segment = false;
        }
        self.bytes.drain(..surplus.min(self.bytes.len()));
        self.bytes.extend_from_slice(last);
    }

    /// A gap: what comes next does not follow.
    pub(super) fn gap(&mut self) {
        self.bytes.clear();
    }

    /// Whether the bytes so far end with a last chunk and, maybe, trailers.
    pub(super) fn is_last_chunk(&self) -> bool {
        let bytes = self.bytes.as_slice();
        if !bytes.ends_with(b"\r\n\r\n") {
            return false;
        }
        if self.whole_segment && bytes.starts_with(b"0\r\n") {
            return trailers(bytes.get(3..).unwrap_or_default());
        }
        let last = bytes.windows(5).rposition(|window| window == b"\r\n0\r\n");
        last.is_some_and(|at| trailers(bytes.get(at + 5..).unwrap_or_default()))
    }
}

/// Whether this is a trailer section: lines with a colon, then an empty one.
fn trailers(bytes: &[u8]) -> bool {
    let Some(lines) = bytes.strip_suffix(b"\r\n") else { return false };
    lines.is_empty()
        || lines.strip_suffix(b"\n").is_some_and(|lines| {
            lines.split(|byte| *byte == b'\n').all(|line| line.contains(&b':'))
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sees_last_chunks() {
        let long = format!("{}\r\n0\r\n\r\n", "x".repeat(200));
        let cases: &[(&[&str], bool, bool)] = &[
            (&["abc\r\n0\r\n\r\n"], false, true),
            (&["0\r\n\r\n"], true, true),
            (&["0\r\n\r\n"], false, false),
            (&["ab\r", "\n0", "\r\n\r", "\n"], false, true),
            (&["0\r\nA: b\r\n\r\n"], true, true),
            (&["x\r\n0\r\nA: b\r\nC: d\r\n\r\n"], false, true),
            (&["x\r\n0\r\nno trailer\r\n\r\n"], false, false),
            (&["x\r\n\r\n"], false, false),
            (&["10\r\n\r\n"], true, false),
            (&["x\r\n10\r\n\r\n"], false, false),
            (&[&long], true, true),
        ];
        for (parts, start, expected) in cases {
            let mut tail = Tail::default();
            for (index, part) in parts.iter().enumerate() {
                tail.push(part.as_bytes(), *start && index == 0);
            }
            assert_eq!(tail.is_last_chunk(), *expected, "{parts:?}");
        }
    }
}
