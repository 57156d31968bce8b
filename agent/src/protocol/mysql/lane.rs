//! One direction: packets from bytes, compressed or not.
//!
//! The compressed protocol puts packets into a stream of its own messages: three bytes of length, a
//! number, three bytes of the length without compression (0: it is not compressed), and a stream of
//! zlib. See "Compressed Packet" of the client/server protocol.

use std::io::Read as _;

use flate2::read::ZlibDecoder;

use super::packet::HEADER;
use crate::protocol::framer::{Found, Framer, Framing};
use crate::protocol::{At, Piece};

/// Bytes of a compressed message that are kept: servers and clients write at most 16 KiB or so at once.
const COMPRESSED_KEPT: usize = 256 << 10;

/// Bytes that are taken out of a compressed message at most; the rest is skipped.
const INFLATED: u64 = 1 << 20;

/// Bytes that are taken out at once.
const CHUNK: usize = 4 << 10;

/// A direction.
#[derive(Debug, Default)]
pub(super) struct Lane {
    packets: Framer,
    compressed: Option<Box<Compressed>>,
}

#[derive(Debug, Default)]
struct Compressed {
    messages: Framer,
    /// Where the message that is being read began.
    begin: Option<At>,
}

/// How packets of the compressed protocol are framed.
struct Envelope;

impl Framing for Envelope {
    fn header_length(&self) -> usize {
        7
    }

    fn payload(&self, header: &[u8]) -> Option<(u64, usize)> {
        let [a, b, c, ..] = *header else { return None };
        Some((u32::from_le_bytes([a, b, c, 0]).into(), COMPRESSED_KEPT))
    }
}

impl Lane {
    /// Whether the next byte begins a packet.
    pub(super) fn is_between(&self) -> bool {
        self.packets.is_between()
            && self.compressed.as_ref().is_none_or(|compressed| compressed.messages.is_between())
    }

    /// Whether the place is lost.
    pub(super) fn is_lost(&self) -> bool {
        self.packets.is_lost()
            || self.compressed.as_ref().is_some_and(|compressed| compressed.messages.is_lost())
    }

    /// The next byte begins a packet.
    pub(super) fn restart(&mut self) {
        self.packets.restart();
        if let Some(compressed) = &mut self.compressed {
            compressed.messages.restart();
        }
    }

    /// The place is not known until [`Self::restart`].
    pub(super) fn lose(&mut self) {
        self.packets.lose();
    }

    /// From here on bytes are compressed.
    pub(super) fn compress(&mut self) {
        self.compressed = Some(Box::default());
    }

    /// Whether bytes are compressed.
    pub(super) fn is_compressed(&self) -> bool {
        self.compressed.is_some()
    }

    /// Bytes in front of the first command in the first bytes of a call.
    pub(super) fn envelope(&self) -> usize {
        if self.is_compressed() { HEADER + 3 } else { 0 }
    }

    /// Memory in use besides the value itself.
    pub(super) fn memory(&self) -> usize {
        let compressed = self
            .compressed
            .as_ref()
            .map_or(0, |compressed| size_of::<Compressed>() + compressed.messages.memory());
        self.packets.memory() + compressed
    }

    /// As [`Framer::push`], of packets.
    pub(super) fn push<'p, F: Framing>(
        &mut self,
        piece: Piece<'p>,
        at: &At,
        framing: &mut F,
        mut each: impl FnMut(&mut F, Found<'_>, &At) -> bool,
    ) -> &'p [u8] {
        let Self { packets, compressed } = self;
        let Some(compressed) = compressed else { return packets.push(piece, at, framing, each) };
        let Compressed { messages, begin } = &mut **compressed;
        let mut gap = None;
        messages.push(piece, at, &mut Envelope, |_, found, at| {
            match found {
                Found::Begin => *begin = Some(*at),
                Found::Message { header, payload, length, .. } => {
                    // What begins in a message began when the message did.
                    let mut each = |framing: &mut F, found: Found<'_>, at: &At| {
                        let begun = begin.as_ref().filter(|_| matches!(found, Found::Begin));
                        each(framing, found, begun.unwrap_or(at))
                    };
                    inflate(header, payload, length, |piece: Piece<'_>| {
                        packets.push(piece, at, framing, &mut each);
                    });
                }
                Found::Malformed | Found::Gap(_, true) => gap = Some(Piece::Lost(None)),
                // How much was in it is not known, but surely more than what a packet has left.
                Found::Gap(_, false) => gap = Some(Piece::Skipped(u64::MAX)),
            }
            true
        });
        if let Some(gap) = gap {
            packets.push(gap, at, framing, each);
        }
        &[]
    }
}

/// Gives what is in a message to `push`. What was not captured, or is too much, is skipped.
fn inflate(header: &[u8], payload: &[u8], length: u64, mut push: impl FnMut(Piece<'_>)) {
    let whole = match *header {
        [.., 0, 0, 0] | [] => {
            push(Piece::Bytes(payload));
            let rest = length - payload.len() as u64;
            if rest > 0 {
                push(Piece::Skipped(rest));
            }
            return;
        }
        [.., a, b, c] => u64::from(u32::from_le_bytes([a, b, c, 0])),
        _ => return,
    };
    let mut left = whole;
    let mut decoder = ZlibDecoder::new(payload).take(whole.min(INFLATED));
    let mut chunk = [0; CHUNK];
    // An error, as an end, is where the rest is not known.
    while let Ok(count @ 1..) = decoder.read(&mut chunk) {
        push(Piece::Bytes(chunk.get(..count).unwrap_or_default()));
        left = left.saturating_sub(count as u64);
    }
    if left > 0 {
        push(Piece::Skipped(left));
    }
}
