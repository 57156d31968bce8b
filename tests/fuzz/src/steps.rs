//! What happens to a connection, read from the bytes of a fuzzer: each step has a byte for its kind, one for
//! its length, and its bytes.

use vigie::event::{Direction, MonoNs, Place, ProcessKey, Unit};
use vigie::protocol::{Advice, At, End, Exchange, Piece, Problem, Sink};

/// What came out.
#[derive(Debug, Default)]
pub struct Count {
    /// Calls.
    pub exchanges: usize,
}

impl Sink for Count {
    fn exchange(&mut self, exchange: Exchange) {
        assert!(exchange.end_ns >= exchange.start_ns);
        self.exchanges += 1;
    }
    fn problem(&mut self, _: Problem) {}
    fn advice(&mut self, _: Advice) {}
}

/// Something that a parser is told.
#[derive(Debug)]
pub enum Step<'a> {
    Piece(Direction, Piece<'a>, At),
    Lossy,
    Placed(Direction, Option<Place>),
    Settle(MonoNs),
    Abandon(MonoNs),
    End(End, MonoNs),
}

/// Gives the steps to `each`. Returns the time of the last one.
pub fn steps<'a>(mut rest: &'a [u8], mut each: impl FnMut(Step<'a>)) -> MonoNs {
    let mut time: MonoNs = 1;
    let mut last = None;
    while let [kind, length, after @ ..] = rest {
        let (bytes, after) = after.split_at(usize::from(*length).min(after.len()));
        rest = after;
        time += 10;
        let unit = Unit { process: ProcessKey { pid: 1, start_ns: 0 }, tid: 1, goroutine: 0 };
        let direction = if kind & 1 == 0 { Direction::Received } else { Direction::Sent };
        let at = At {
            enter_ns: time,
            exit_ns: time + 5,
            unit,
            segment_start: kind & 0x20 == 0,
            segment_end: kind & 0x40 == 0,
            turn: last.replace(direction) != Some(direction),
        };
        let piece = match kind & 0x1e {
            2 => Piece::Skipped(u64::from(*length) * 7),
            4 => Piece::Lost(Some(u64::from(*length))),
            6 => Piece::Lost(None),
            _ => Piece::Bytes(bytes),
        };
        match kind & 0x1e {
            8 => each(Step::Lossy),
            10 => each(Step::Settle(if *length > 250 { MonoNs::MAX } else { time })),
            12 if *length > 250 => each(Step::Abandon(time)),
            16 => {
                let place = |byte: &u8| Place {
                    offset: u32::from(*byte) & 63,
                    epoch: u32::from(*length) & 1,
                };
                each(Step::Placed(direction, bytes.first().map(place)));
            }
            14 if *length > 250 => each(Step::End(End::Received, time)),
            _ => {}
        }
        each(Step::Piece(direction, piece, at));
    }
    time
}
