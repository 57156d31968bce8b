//! One direction of a connection: what its next byte is, and the pieces of a Data event.

use crate::event::{Data, MonoNs};
use crate::protocol::{At, Piece};

/// Positions of one direction.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Track {
    /// Position of the next byte, `None` before the first.
    next: Option<u64>,
    /// Position of the parser's first byte.
    base: Option<u64>,
    /// The system call whose slices are coming in, and whether it began a turn.
    call: Option<(MonoNs, bool)>,
}

/// The pieces of one Data event, in order, with their circumstances.
pub(super) struct Pieces<'a> {
    parts: [Option<Piece<'a>>; 4],
    at: At,
}

impl Track {
    /// All bytes since the connection's first are to be seen.
    pub(super) fn expect_all(&mut self) {
        self.next.get_or_insert(0);
    }

    /// Position in the connection of a position that the parser counts from its first byte.
    pub(super) fn absolute(&self, position: u64) -> u64 {
        self.base.unwrap_or(0).saturating_add(position)
    }

    /// The parser's first byte is the next one that comes.
    pub(super) fn rebase(&mut self) {
        self.base = self.next;
    }

    /// Whether the parser's first byte is the first one of its direction.
    pub(super) fn is_from_first(&self) -> bool {
        self.base.unwrap_or(0) == 0
    }

    /// Bytes up to `position` that were never seen, as far as is known.
    pub(super) fn missing(&mut self, position: u64) -> u64 {
        let missing = self.next.map_or(0, |next| position.saturating_sub(next));
        self.next = self.next.map(|next| next.max(position));
        missing
    }

    /// Whether bytes from `position` on were not seen before.
    pub(super) fn is_new(&self, position: u64) -> bool {
        self.next.is_none_or(|next| next <= position)
    }

    /// Takes in a Data event: the bytes lost before it, and its pieces without what was seen
    /// before.
    pub(super) fn take<'a>(&mut self, data: &'a Data<'_>) -> (u64, Pieces<'a>) {
        let length = u64::from(data.length);
        let end = data.position.saturating_add(length);
        let next = self.next.unwrap_or(data.position);
        let lost = data.position.saturating_sub(next);
        let seen = next.saturating_sub(data.position).min(length);
        self.base.get_or_insert(next);
        self.next = Some(next.max(end));

        // An earlier call whose last slice was lost does not reach into this one.
        let going_on = self.call.filter(|(exit_ns, _)| lost == 0 || *exit_ns == data.exit_ns);
        let turn = data.turn || going_on.is_some_and(|(_, turn)| turn);
        self.call = data.continues.then_some((data.exit_ns, turn));
        let at = At {
            enter_ns: if data.enter_ns == 0 { data.exit_ns } else { data.enter_ns },
            exit_ns: data.exit_ns,
            unit: data.unit,
            segment_start: going_on.is_none() && seen == 0,
            segment_end: !data.continues,
            turn,
        };

        let head = data.head.get(..in_memory(length)).unwrap_or(&data.head);
        let room = length - head.len() as u64;
        let surplus = data.tail.len() - in_memory(room).min(data.tail.len());
        let tail = data.tail.get(surplus..).unwrap_or_default();
        let middle = room - tail.len() as u64;

        let (head, seen) = cut(head, seen);
        let (middle, seen) = (middle.saturating_sub(seen), seen.saturating_sub(middle));
        let (tail, _) = cut(tail, seen);
        let bytes = |bytes: &'a [u8]| (!bytes.is_empty()).then_some(Piece::Bytes(bytes));
        let parts = [
            (lost > 0).then_some(Piece::Lost(Some(lost))),
            bytes(head),
            (middle > 0).then_some(Piece::Skipped(middle)),
            bytes(tail),
        ];
        (lost, Pieces { parts, at })
    }
}

impl<'a> Pieces<'a> {
    /// Gives each piece to `each`.
    pub(super) fn each(self, mut each: impl FnMut(Piece<'a>, &At)) {
        let is_bytes = |part: &Option<Piece<'_>>| matches!(part, Some(Piece::Bytes(_)));
        let last = self.parts.iter().rposition(Option::is_some).unwrap_or(0);
        let (mut start, end) = (self.at.segment_start, self.at.segment_end);
        for (index, part) in self.parts.into_iter().enumerate() {
            let Some(piece) = part else { continue };
            let at = At { segment_start: start, segment_end: end && index == last, ..self.at };
            each(piece, &at);
            // Bytes lost before the segment are no part of it.
            start &= !is_bytes(&Some(piece)) && !matches!(piece, Piece::Skipped(_));
        }
    }
}

/// Without the first `count` bytes; and how many remain to be cut.
fn cut(bytes: &[u8], count: u64) -> (&[u8], u64) {
    let here = in_memory(count).min(bytes.len());
    (bytes.get(here..).unwrap_or_default(), count - here as u64)
}

fn in_memory(count: u64) -> usize {
    usize::try_from(count).unwrap_or(usize::MAX)
}
