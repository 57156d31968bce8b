//! The first bytes of a connection, kept until the kernel knows what it is.
//!
//! A request read byte by byte, or with a first segment of three bytes, is not known to be HTTP
//! before its fourth byte or so.

use crate::event::Direction;
use crate::protocol::{At, Piece};

/// Bytes that are kept per direction.
const MAX_BYTES: usize = 512;

/// Pieces that are kept in all.
const MAX_PIECES: usize = 512;

/// Pieces in their order.
#[derive(Debug, Default)]
pub(super) struct Held {
    pieces: Vec<(Direction, At, usize)>,
    /// Bytes of all pieces, one after the other.
    bytes: Vec<u8>,
}

impl Held {
    /// Keeps a piece. False when it is none that can be kept, or too much.
    pub(super) fn push(&mut self, direction: Direction, piece: Piece<'_>, at: &At) -> bool {
        let Piece::Bytes(bytes) = piece else { return false };
        let before: usize = self
            .pieces
            .iter()
            .filter(|(of, ..)| *of == direction)
            .map(|(_, _, length)| length)
            .sum();
        if before + bytes.len() > MAX_BYTES || self.pieces.len() >= MAX_PIECES {
            return false;
        }
        self.pieces.push((direction, *at, bytes.len()));
        self.bytes.extend_from_slice(bytes);
        true
    }

    /// Gives the pieces to `each`, in their order.
    pub(super) fn replay(&self, mut each: impl FnMut(Direction, Piece<'_>, &At)) {
        let mut rest = self.bytes.as_slice();
        for (direction, at, length) in &self.pieces {
            let Some((bytes, after)) = rest.split_at_checked(*length) else { return };
            each(*direction, Piece::Bytes(bytes), at);
            rest = after;
        }
    }

    pub(super) fn memory(&self) -> usize {
        self.bytes.capacity() + self.pieces.capacity() * size_of::<(Direction, At, usize)>()
    }
}
