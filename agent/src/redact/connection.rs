//! One connection: its bytes, and which of them can be replaced.

use std::borrow::Cow;
use std::io::Read as _;
use std::ops::Range;

use flate2::read::ZlibDecoder;

use super::{MAX_WORK, TIME_COST, Topic, replayed};
use crate::event::Event;
use crate::flow::Limits;

/// What replaces a byte.
const FILLER: u8 = b'x';

/// Bytes that come out of what is taken for compressed at least.
const INFLATED: u64 = 16;

/// What came of it.
pub(super) enum Redacted {
    /// So many of its bytes are kept.
    Done { bytes: u64, kept: u64 },
    /// It would take too long.
    TooLong,
    /// It has compressed messages.
    Compressed,
}

/// A stretch of payload: of which event, whether its tail, and where among all bytes.
struct Part {
    event: usize,
    is_tail: bool,
    range: Range<usize>,
}

/// A connection on the way.
struct Work<'a, 'e> {
    events: &'a mut [&'e mut Event<'static>],
    parts: Vec<Part>,
    bytes: Vec<u8>,
    limits: Limits,
    topics: &'a [Topic],
    /// What must come out.
    wanted: String,
    /// What may still be spent.
    left: u64,
}

/// Replaces what can be replaced in the events of a connection. `topics`: those of all connections.
pub(super) fn redact(
    events: &mut [&mut Event<'static>],
    limits: Limits,
    topics: &[Topic],
) -> Redacted {
    let all: Vec<&Event<'static>> = events.iter().map(|event| &**event).collect();
    let (_, own) = replayed(&all, limits, &[]);
    let is_foreign = |topic: &&Topic| own.iter().all(|(id, _)| *id != topic.0);
    let topics: Vec<Topic> = topics.iter().filter(is_foreign).cloned().collect();
    let mut work = Work {
        events,
        parts: Vec::new(),
        bytes: Vec::new(),
        limits,
        topics: &topics,
        wanted: String::new(),
        left: MAX_WORK,
    };
    work.collect();
    let original = work.bytes.clone();
    let Some(wanted) = work.outcome() else { return Redacted::TooLong };
    work.wanted = wanted;
    if work.reduce(0..original.len()).is_none() {
        return Redacted::TooLong;
    }
    if is_compressed(&original, &work.bytes) {
        return Redacted::Compressed;
    }
    work.write();
    let kept = original.iter().zip(&work.bytes).filter(|(before, after)| before == after).count();
    Redacted::Done { bytes: original.len() as u64, kept: kept as u64 }
}

impl Work<'_, '_> {
    /// Takes all bytes together.
    fn collect(&mut self) {
        for (event, of) in self.events.iter().enumerate() {
            let Event::Data(data) = &**of else { continue };
            for (is_tail, bytes) in [(false, &data.head), (true, &data.tail)] {
                let begin = self.bytes.len();
                self.bytes.extend_from_slice(bytes);
                let range = begin..self.bytes.len();
                self.parts.push(Part { event, is_tail, range });
            }
        }
    }

    /// Writes the bytes into the events.
    fn write(&mut self) {
        for part in &self.parts {
            let bytes = self.bytes.get(part.range.clone()).unwrap_or_default();
            if let Some(event) = self.events.get_mut(part.event)
                && let Event::Data(data) = &mut **event
            {
                let place = if part.is_tail { &mut data.tail } else { &mut data.head };
                *place = Cow::Owned(bytes.to_vec());
            }
        }
    }

    /// What comes of the bytes as they are; `None` when too much was spent.
    fn outcome(&mut self) -> Option<String> {
        self.left = self.left.checked_sub(self.bytes.len() as u64 + TIME_COST)?;
        self.write();
        let events: Vec<&Event<'static>> = self.events.iter().map(|event| &**event).collect();
        let (seen, topics) = replayed(&events, self.limits, self.topics);
        Some(format!("{seen:?}{topics:?}"))
    }

    /// Replaces what can be replaced in a stretch; `None` when too much was spent.
    fn reduce(&mut self, range: Range<usize>) -> Option<()> {
        let before = self.bytes.get(range.clone())?.to_vec();
        if before.iter().all(|byte| *byte == FILLER) || self.try_with(&range, |_| FILLER)? {
            return Some(());
        }
        if range.len() > 1 {
            let middle = range.start + range.len() / 2;
            self.reduce(range.start..middle)?;
            return self.reduce(middle..range.end);
        }
        // A digit may be needed where any digit does.
        self.try_with(&range, |byte| match byte {
            b'0'..=b'9' => b'1',
            b'A'..=b'Z' => b'X',
            other => other,
        })?;
        Some(())
    }

    /// Replaces a stretch if the same comes out.
    fn try_with(&mut self, range: &Range<usize>, new: impl Fn(u8) -> u8) -> Option<bool> {
        let stretch = self.bytes.get_mut(range.clone())?;
        let before = stretch.to_vec();
        for byte in stretch.iter_mut() {
            *byte = new(*byte);
        }
        if *stretch == *before {
            return Some(true);
        }
        let is_same = self.outcome()? == self.wanted;
        if !is_same && let Some(stretch) = self.bytes.get_mut(range.clone()) {
            stretch.copy_from_slice(&before);
        }
        Some(is_same)
    }
}

/// Whether something that is compressed by zlib is there as it was (RFC 1950, section 2.2: `CMF` and `FLG`).
fn is_compressed(before: &[u8], after: &[u8]) -> bool {
    after.windows(2).enumerate().any(|(at, header)| {
        let [method @ (0x58 | 0x68 | 0x78), flags] = *header else { return false };
        (u32::from(method) << 8 | u32::from(flags)).is_multiple_of(31)
            && before.get(at..at + 2) == Some(header)
            && inflated(after, at).is_some_and(|bytes| inflated(before, at) == Some(bytes))
    })
}

/// The first bytes that come out of what begins there.
fn inflated(bytes: &[u8], at: usize) -> Option<Vec<u8>> {
    let mut out = Vec::new();
    // An error behind them does not matter.
    _ = ZlibDecoder::new(bytes.get(at..)?).take(INFLATED).read_to_end(&mut out);
    (out.len() as u64 == INFLATED).then_some(out)
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    #[test]
    fn what_is_compressed_is_found() {
        let mut encoder = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(b"password=swordfish, password=swordfish").unwrap();
        let packed = encoder.finish().unwrap();
        let bytes = [b"abc", packed.as_slice()].concat();
        assert!(is_compressed(&bytes, &bytes) && !is_compressed(&[b'a'; 100], &bytes));
        assert!(!is_compressed(&bytes, &vec![FILLER; bytes.len()]));
    }
}
