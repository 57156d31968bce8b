//! Frames and header blocks for tests.

use super::Step;
use crate::protocol::http2::frame::PREFACE;
use crate::protocol::testing::Random;

pub(super) const DATA: u8 = 0;
pub(super) const HEADERS: u8 = 1;
pub(super) const RESET: u8 = 3;
pub(super) const SETTINGS: u8 = 4;
pub(super) const PROMISE: u8 = 5;
pub(super) const PING: u8 = 6;
pub(super) const GOAWAY: u8 = 7;
pub(super) const WINDOW: u8 = 8;
pub(super) const CONTINUATION: u8 = 9;

pub(super) const END: u8 = 1;
pub(super) const WHOLE: u8 = 4;
pub(super) const PADDED: u8 = 8;
pub(super) const PRIORITY: u8 = 0x20;

pub(super) fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let [_, a, b, c] = u32::try_from(payload.len()).unwrap().to_be_bytes();
    [&[a, b, c, kind, flags][..], &stream.to_be_bytes(), payload].concat()
}

/// The literal fields of a block, never indexed.
pub(super) fn block(fields: &[(&str, &str)]) -> Vec<u8> {
    let mut block = Vec::new();
    for (name, value) in fields {
        block.push(0);
        for text in [name, value] {
            length(&mut block, 0, 7, text.len());
            block.extend(text.bytes());
        }
    }
    block
}

/// A number after the bits in `first` (RFC 7541, section 5.1).
pub(super) fn length(block: &mut Vec<u8>, first: u8, prefix: u32, value: usize) {
    let mask = (1_usize << prefix) - 1;
    if value < mask {
        block.push(first | u8::try_from(value).unwrap());
        return;
    }
    block.push(first | u8::try_from(mask).unwrap());
    let mut rest = value - mask;
    while rest >= 128 {
        block.push(u8::try_from(rest % 128).unwrap() | 0x80);
        rest /= 128;
    }
    block.push(u8::try_from(rest).unwrap());
}

pub(super) fn get(path: &str) -> [(&str, &str); 4] {
    [(":method", "GET"), (":scheme", "http"), (":path", path), (":authority", "host")]
}

/// The request `GET path`, whole.
pub(super) fn ask(stream: u32, path: &str) -> Vec<u8> {
    frame(HEADERS, WHOLE | END, stream, &block(&get(path)))
}

/// The response 200 with so many bytes of body.
pub(super) fn answer(stream: u32, body: usize) -> Vec<u8> {
    let head = frame(HEADERS, WHOLE, stream, &block(&[(":status", "200")]));
    [head, frame(DATA, END, stream, &vec![b'x'; body])].concat()
}

pub(super) fn start() -> Vec<Step> {
    vec![
        Step::Ask([&PREFACE[..], &frame(SETTINGS, 0, 0, &[0, 3, 0, 0, 0, 100])].concat()),
        Step::Answer([frame(SETTINGS, 0, 0, &[]), frame(SETTINGS, 1, 0, &[])].concat()),
        Step::Ask(frame(SETTINGS, 1, 0, &[])),
    ]
}

/// An encoder with a dynamic table, which chooses at random among the ways to write a field.
pub(super) struct Encoder {
    /// The newest first.
    table: Vec<(String, String)>,
    max: usize,
    resized: bool,
}

impl Encoder {
    pub(super) fn new() -> Self {
        Self { table: Vec::new(), max: 4096, resized: false }
    }

    /// Announces another size with the next block.
    pub(super) fn resize(&mut self, max: usize) {
        self.max = max;
        self.resized = true;
        self.evict();
    }

    fn evict(&mut self) {
        let size = |(name, value): &(String, String)| name.len() + value.len() + 32;
        while self.table.iter().map(size).sum::<usize>() > self.max {
            self.table.pop();
        }
    }

    pub(super) fn encode(&mut self, fields: &[(&str, &str)], random: &mut Random) -> Vec<u8> {
        let mut block = Vec::new();
        if std::mem::take(&mut self.resized) {
            length(&mut block, 0x20, 5, self.max);
        }
        for (name, value) in fields {
            // As all encoders do.
            let known = [("GET", 2), ("POST", 3), ("http", 6), ("200", 8), ("204", 9)];
            if let Some((_, index)) = known.iter().find(|(known, _)| known == value) {
                block.push(0x80 | index);
                continue;
            }
            let same = self.table.iter().position(|(n, v)| n == name && v == value);
            if let Some(place) = same.filter(|_| random.below(8) > 0) {
                length(&mut block, 0x80, 7, 62 + place);
                continue;
            }
            let place = self.table.iter().position(|(n, _)| n == name);
            let index = place.filter(|_| random.below(4) > 0).map_or(0, |place| 62 + place);
            let index = if *name == ":path" { 4 + random.below(2) } else { index };
            let keep = random.below(4) > 0;
            match (keep, random.below(2)) {
                (true, _) => length(&mut block, 0x40, 6, index),
                (false, 0) => length(&mut block, 0x10, 4, index),
                (false, _) => length(&mut block, 0, 4, index),
            }
            if index == 0 {
                text(&mut block, name, random);
            }
            text(&mut block, value, random);
            if keep {
                self.table.insert(0, ((*name).to_owned(), (*value).to_owned()));
                self.evict();
            }
        }
        block
    }
}

fn text(block: &mut Vec<u8>, text: &str, random: &mut Random) {
    if random.below(2) == 0 {
        let mut coded = Vec::new();
        httlib_huffman::encode(text.as_bytes(), &mut coded).unwrap();
        length(block, 0x80, 7, coded.len());
        block.extend(coded);
    } else {
        length(block, 0, 7, text.len());
        block.extend(text.bytes());
    }
}

/// A block in HEADERS and CONTINUATION frames, at random with padding and priority.
pub(super) fn frames(
    kind: u8,
    stream: u32,
    end: bool,
    block: &[u8],
    random: &mut Random,
) -> Vec<u8> {
    let mut out = Vec::new();
    let mut rest = block;
    let mut first = true;
    while first || !rest.is_empty() {
        let cut = if random.below(2) == 0 { rest.len() } else { random.below(rest.len() + 1) };
        let (fragment, after) = rest.split_at(cut);
        rest = after;
        let mut flags = if rest.is_empty() { WHOLE } else { 0 };
        if !first {
            out.extend(frame(CONTINUATION, flags, stream, fragment));
            continue;
        }
        flags |= if end { END } else { 0 };
        let mut payload = Vec::new();
        let padding = random.below(20);
        if padding < 10 {
            flags |= PADDED;
            payload.push(u8::try_from(padding).unwrap());
        }
        if kind == PROMISE {
            flags &= !END;
            payload.extend(2_u32.to_be_bytes());
        } else if random.below(3) == 0 {
            flags |= PRIORITY;
            payload.extend([0, 0, 0, 0, 16]);
        }
        payload.extend(fragment);
        if padding < 10 {
            payload.extend(vec![0; padding]);
        }
        out.extend(frame(kind, flags, stream, &payload));
        first = false;
    }
    out
}
