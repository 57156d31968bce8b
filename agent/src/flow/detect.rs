//! Which protocol a connection speaks, told by the first bytes of its turns.
//!
//! The kernel has said that they may be of one that is read. Each turn that begins is shown to all
//! protocols until one of them takes the connection, or none has for a while.

use super::held::Held;
use crate::event::Direction;
use crate::protocol::conversation::{DIALECTS, Dialect, ENOUGH, Opening, Recognition};
use crate::protocol::{At, Piece, Role};

/// Turns that no protocol knew, after which the connection is given up.
const MAX_STRANGE: u8 = 8;

/// What is known of a connection whose protocol is not.
#[derive(Debug, Default)]
pub(super) struct Detect {
    /// Pieces of the turn that is looked at.
    held: Held,
    /// Their bytes.
    bytes: Vec<u8>,
    /// The direction of that turn; `None` while the next one is waited for.
    of: Option<Direction>,
    /// Turns that no protocol knew.
    strange: u8,
    /// Protocols that took the connection and were wrong, as bits.
    excluded: u32,
}

/// What came of a piece.
pub(super) enum Told {
    /// Nothing yet.
    Nothing,
    /// It is this one; the pieces held back come first, then the one that was given.
    Protocol { dialect: usize, role: Role, from_start: bool, held: Held },
    /// It is none that is read.
    Strange,
}

/// What does not change with the pieces.
#[derive(Clone, Copy, Debug)]
pub(super) struct Circumstances {
    /// Whether the connection is seen from its first byte on.
    pub(super) from_start: bool,
    pub(super) local_port: u16,
    pub(super) remote_port: u16,
    /// The protocol that is configured for one of the ports.
    pub(super) only: Option<&'static str>,
}

impl Detect {
    /// After a protocol that took the connection was wrong.
    pub(super) fn again(excluded: u32, dialect: usize, strange: u8) -> Self {
        let excluded = excluded | 1 << dialect;
        Self { excluded, strange: strange.saturating_add(1), ..Self::default() }
    }

    /// Protocols that were wrong, and turns that none knew.
    pub(super) fn past(&self) -> (u32, u8) {
        (self.excluded, self.strange)
    }

    /// Takes in a piece.
    pub(super) fn piece(
        &mut self,
        direction: Direction,
        piece: Piece<'_>,
        at: &At,
        circumstances: Circumstances,
    ) -> Told {
        if at.turn && at.segment_start {
            self.forget();
            self.of = Some(direction);
        }
        if self.of != Some(direction) {
            return Told::Nothing;
        }
        let Piece::Bytes(bytes) = piece else {
            return self.unknown();
        };
        self.bytes.extend_from_slice(bytes.get(..bytes.len().min(MAX_SHOWN)).unwrap_or(bytes));
        let opening = Opening {
            bytes: &self.bytes,
            whole: at.segment_end,
            direction,
            from_start: circumstances.from_start && self.excluded == 0 && self.strange == 0,
            local_port: circumstances.local_port,
            remote_port: circumstances.remote_port,
        };
        let only = circumstances.only;
        let asked = DIALECTS.iter().enumerate().filter(|(index, dialect)| {
            self.excluded >> index & 1 == 0 && only.is_none_or(|only| only == dialect.name)
        });
        match ask(asked, &opening) {
            Answer::Known(dialect, role) => {
                let from_start = opening.from_start;
                Told::Protocol { dialect, role, from_start, held: std::mem::take(&mut self.held) }
            }
            Answer::More if self.bytes.len() < ENOUGH && self.held.push(direction, piece, at) => {
                Told::Nothing
            }
            Answer::More | Answer::Unknown => self.unknown(),
        }
    }

    fn forget(&mut self) {
        self.held = Held::default();
        self.bytes.clear();
        self.of = None;
    }

    fn unknown(&mut self) -> Told {
        self.forget();
        self.strange += 1;
        if self.strange >= MAX_STRANGE { Told::Strange } else { Told::Nothing }
    }

    pub(super) fn memory(&self) -> usize {
        self.held.memory() + self.bytes.capacity()
    }
}

/// Bytes of a piece that protocols are shown.
const MAX_SHOWN: usize = 4096;

enum Answer {
    Known(usize, Role),
    More,
    Unknown,
}

/// Asks protocols. Of several that know the bytes, the one that is usually served at a port of the
/// connection is taken, else the first.
fn ask<'a>(
    dialects: impl Iterator<Item = (usize, &'a &'static Dialect)>,
    opening: &Opening<'_>,
) -> Answer {
    let mut known = None;
    let mut more = false;
    for (index, dialect) in dialects {
        match (dialect.recognise)(opening) {
            Recognition::Yes(role) => {
                if dialect.ports.iter().any(|port| opening.has_port(*port)) {
                    return Answer::Known(index, role);
                }
                known.get_or_insert((index, role));
            }
            Recognition::More => more = true,
            Recognition::No => {}
        }
    }
    match known {
        Some((index, role)) => Answer::Known(index, role),
        None if more => Answer::More,
        None => Answer::Unknown,
    }
}
