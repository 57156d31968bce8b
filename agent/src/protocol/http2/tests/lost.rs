//! Records that found no room: a request is counted here or by the kernel, never by both or neither.
//!
//! The kernel's side is played by [`Kernel`], which follows the frames as `ebpf/src/http2.rs` does.

use super::split::{Conversation, conversation, split};
use super::wire::*;
use super::*;
use crate::event::Place;
use crate::protocol::http2::frame::PREFACE;
use crate::protocol::testing::Random;

/// A record of a call.
struct Record {
    bytes: Vec<u8>,
    place: Option<Place>,
    /// Streams that begin in it.
    opened: usize,
    is_first: bool,
    is_last: bool,
}

/// What the kernel keeps of a direction.
#[derive(Default)]
struct Kernel {
    left: usize,
    header: Vec<u8>,
    /// The bytes in `header` were in a record that found no room.
    cut: bool,
    highest: u32,
    /// Streams whose first byte found no room.
    lost: usize,
}

impl Kernel {
    /// The records of a call, each of which `has_room` or not: of those that have not, their length.
    fn call(
        &mut self,
        asks: bool,
        call: &[u8],
        random: &mut Random,
        mut has_room: impl FnMut(&mut Random) -> bool,
    ) -> Vec<Result<Record, usize>> {
        let mut records = Vec::new();
        let mut rest = call;
        while !rest.is_empty() {
            let mut used = 0;
            let (mut place, mut opened) = (None, 0);
            let longest = 1 + random.below(300);
            while used < rest.len() && used < longest {
                if self.left > 0 {
                    let take = self.left.min(rest.len() - used).min(longest - used);
                    self.left -= take;
                    used += take;
                    continue;
                }
                // The header of a frame is in one record, as far as it is in one call.
                let take = (9 - self.header.len()).min(rest.len() - used);
                if self.header.is_empty() {
                    self.cut = false;
                    let offset = u32::try_from(used).unwrap();
                    place.get_or_insert(Place { offset, epoch: 0 });
                }
                self.header.extend(&rest[used..used + take]);
                used += take;
                if self.header.len() < 9 {
                    continue;
                }
                let header = std::mem::take(&mut self.header);
                self.left = usize::from(header[1]) << 8 | usize::from(header[2]);
                let stream = u32::from_be_bytes(header[5..].try_into().unwrap());
                if asks && header[3] == HEADERS && stream > self.highest {
                    self.highest = stream;
                    self.lost += usize::from(self.cut);
                    opened += usize::from(!self.cut);
                }
            }
            let (bytes, after) = rest.split_at(used);
            let record = Record {
                bytes: bytes.into(),
                place,
                opened,
                is_first: rest.len() == call.len(),
                is_last: after.is_empty(),
            };
            rest = after;
            if has_room(random) {
                records.push(Ok(record));
                continue;
            }
            self.lost += record.opened;
            self.cut |= !self.header.is_empty();
            records.push(Err(used));
        }
        records
    }
}

/// Runs a conversation of which records are lost. What came out, and how many requests the kernel
/// counted.
fn run(steps: &[Step], rare: usize, random: &mut Random) -> (Seen, usize) {
    let mut parser = Http2::new(Role::Server, Limits::default(), Begin::Start);
    let mut seen = Seen::default();
    let mut kernels = [Kernel::default(), Kernel { left: PREFACE.len(), ..Kernel::default() }];
    let mut missing = [0, 0];
    let mut bad = false;
    for (index, step) in steps.iter().enumerate() {
        let (asks, call) = match step {
            Step::Ask(call) => (true, call),
            Step::Answer(call) => (false, call),
            _ => continue,
        };
        let direction = if asks { Direction::Received } else { Direction::Sent };
        let (kernel, missing) = (&mut kernels[usize::from(asks)], &mut missing[usize::from(asks)]);
        let has_room = |random: &mut Random| {
            // Losses come in stretches.
            if random.below(rare) == 0 {
                bad = !bad;
            }
            !bad
        };
        for record in kernel.call(asks, call, random, has_room) {
            match record {
                Ok(record) => {
                    let index = index as u64 + 1;
                    read(&mut parser, direction, missing, &record, at(index), &mut seen);
                }
                Err(length) => *missing += length as u64,
            }
        }
    }
    // The end of the connection tells how many bytes there were.
    for (direction, missing) in [Direction::Sent, Direction::Received].into_iter().zip(missing) {
        parser.piece(direction, Piece::Lost(Some(missing)), &at(100_000), &mut seen);
    }
    parser.end(End::Both { reset: false }, 1_000_000, &mut seen);
    (seen, kernels[1].lost)
}

fn read(
    parser: &mut Http2,
    direction: Direction,
    missing: &mut u64,
    record: &Record,
    at: At,
    seen: &mut Seen,
) {
    let at = At { segment_start: record.is_first, segment_end: record.is_last, ..at };
    parser.placed(direction, record.place);
    if *missing > 0 {
        parser.mark_lossy();
        parser.piece(direction, Piece::Lost(Some(*missing)), &at, seen);
        *missing = 0;
    }
    parser.piece(direction, Piece::Bytes(&record.bytes), &at, seen);
}

#[test]
fn each_request_is_counted_once() {
    let mut random = Random(4242);
    let (mut by_kernel, mut all) = (0, 0);
    for round in 0..200 {
        let Conversation { steps, expected } = conversation(40, &mut random);
        let steps = split(&steps, &mut random);
        let rare = [3, 10, 50, 200][random.below(4)];
        let (seen, lost) = run(&steps, rare, &mut random);
        let found = seen.exchanges.len() + lost;
        assert_eq!(found, expected.len(), "round {round}: {seen:?}");
        by_kernel += lost;
        all += expected.len();
    }
    assert!(by_kernel > all / 10 && by_kernel < all * 9 / 10, "{by_kernel} of {all}");
}

/// What the kernel says is not believed after it lost its own place, unless it was the same as here
/// since.
#[test]
fn the_kernel_may_have_lost_its_place() {
    for (epoch, agreed, expected) in [
        (0, None, &["GET /b - 0:? no_response connection_closed"][..]),
        (1, None, &[]),
        (2, Some((1, 0)), &[]),
        (2, Some((2, 0)), &["GET /b - 0:? no_response connection_closed"]),
        // It was another one then.
        (2, Some((2, 5)), &[]),
    ] {
        let mut parser = Http2::new(Role::Server, Limits::default(), Begin::Start);
        let mut seen = Seen::default();
        let received = Direction::Received;
        feed(&mut parser, &start(), &mut seen);
        if let Some((epoch, offset)) = agreed {
            parser.placed(received, Some(Place { offset, epoch }));
            let ping = frame(PING, 0, 0, &[7; 8]);
            parser.piece(received, Piece::Bytes(&ping), &at(5), &mut seen);
        }
        parser.placed(received, Some(Place { offset: 3, epoch }));
        parser.piece(received, Piece::Lost(Some(100)), &at(6), &mut seen);
        let bytes = [b"xyz".to_vec(), ask(3, "/b")].concat();
        parser.piece(received, Piece::Bytes(&bytes), &at(6), &mut seen);
        parser.end(End::Both { reset: false }, 1000, &mut seen);
        let found: Vec<&str> = seen.exchanges.iter().map(String::as_str).collect();
        assert_eq!(found, expected, "{epoch} {agreed:?}");
    }
}
