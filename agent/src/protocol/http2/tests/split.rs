//! Any valid sequence of frames, split at any place, gives the same exchanges.
//!
//! Conversations are made up at random: streams of all kinds, interleaved, their blocks encoded in
//! all ways there are.

use super::wire::*;
use super::*;
use crate::protocol::testing::Random;

/// A conversation and what must come of it.
pub(super) struct Conversation {
    pub(super) steps: Vec<Step>,
    pub(super) expected: Vec<String>,
}

/// What is left to do for a stream.
#[expect(clippy::struct_excessive_bools, reason = "independent facts of a test's plan")]
struct Plan {
    id: u32,
    path: String,
    is_grpc: bool,
    /// Bytes of DATA frames to come, one each.
    asks: Vec<Vec<u8>>,
    answers: Vec<Vec<u8>>,
    asked: bool,
    answered: bool,
    trailers: bool,
    status: &'static str,
    request: (usize, usize),
    response: (usize, usize),
}

fn bodies(random: &mut Random, is_grpc: bool) -> (Vec<Vec<u8>>, (usize, usize)) {
    let mut messages = 0;
    let mut body = Vec::new();
    for _ in 0..random.below(4) {
        let length = [0, 3, 70, 2000][random.below(4)];
        if is_grpc {
            body.push(0);
            body.extend(u32::try_from(length).unwrap().to_be_bytes());
        }
        body.extend((0..length).map(|_| u8::try_from(random.below(256)).unwrap()));
        messages += 1;
    }
    let size = (body.len(), messages);
    let mut frames = Vec::new();
    while !body.is_empty() {
        let rest = body.split_off(1 + random.below(body.len()));
        frames.push(std::mem::replace(&mut body, rest));
    }
    (frames, size)
}

fn data(stream: u32, end: bool, bytes: &[u8], random: &mut Random) -> Vec<u8> {
    let end = if end { END } else { 0 };
    let padding = random.below(30);
    if padding > 10 {
        return frame(DATA, end, stream, bytes);
    }
    let payload = [&[u8::try_from(padding).unwrap()][..], bytes, &vec![0; padding]].concat();
    frame(DATA, end | PADDED, stream, &payload)
}

impl Plan {
    fn new(id: u32, random: &mut Random) -> Self {
        let is_grpc = random.below(2) == 0;
        let (asks, request) = bodies(random, is_grpc);
        let (answers, response) = bodies(random, is_grpc);
        let status = if is_grpc {
            ["0", "5", "14"][random.below(3)]
        } else {
            ["200", "204", "418", "503"][random.below(4)]
        };
        Self {
            id,
            path: format!("/p{}/M{}", random.below(6), id % 50),
            is_grpc,
            asks,
            answers,
            asked: false,
            answered: false,
            trailers: is_grpc || random.below(4) == 0,
            status,
            request,
            response,
        }
    }

    fn expected(&self) -> String {
        let path = &self.path;
        if self.is_grpc {
            let name = match self.status {
                "0" => "OK",
                "5" => "NOT_FOUND",
                _ => "UNAVAILABLE",
            };
            format!("grpc {} {name} {}:{}", &path[1..], self.request.1, self.response.1)
        } else {
            format!("POST {path} {} {}:{}", self.status, self.request.0, self.response.0)
        }
    }

    /// The next frames of the request direction, if any.
    fn ask(&mut self, encoder: &mut Encoder, random: &mut Random) -> Option<Vec<u8>> {
        if !self.asked {
            self.asked = true;
            let id = self.id.to_string();
            let mut fields = vec![
                (":method", "POST"),
                (":scheme", "http"),
                (":path", self.path.as_str()),
                (":authority", "localhost:8080"),
                ("x-id", id.as_str()),
            ];
            if self.is_grpc {
                fields.push(("content-type", "application/grpc"));
            }
            let block = encoder.encode(&fields, random);
            return Some(frames(HEADERS, self.id, self.asks.is_empty(), &block, random));
        }
        let bytes = (!self.asks.is_empty()).then(|| self.asks.remove(0))?;
        Some(data(self.id, self.asks.is_empty(), &bytes, random))
    }

    /// The next frames of the response direction, and whether they are the last.
    fn answer(&mut self, encoder: &mut Encoder, random: &mut Random) -> (Vec<u8>, bool) {
        if !self.answered {
            self.answered = true;
            let status = if self.is_grpc { "200" } else { self.status };
            let mut fields = vec![(":status", status), ("server", "test")];
            if self.is_grpc {
                fields.push(("content-type", "application/grpc"));
            }
            let end = self.answers.is_empty() && !self.trailers;
            let block = encoder.encode(&fields, random);
            return (frames(HEADERS, self.id, end, &block, random), end);
        }
        if !self.answers.is_empty() {
            let bytes = self.answers.remove(0);
            let end = self.answers.is_empty() && !self.trailers;
            return (data(self.id, end, &bytes, random), end);
        }
        let fields = if self.is_grpc { ("grpc-status", self.status) } else { ("checksum", "7") };
        let block = encoder.encode(&[fields], random);
        (frames(HEADERS, self.id, true, &block, random), true)
    }
}

/// A conversation of so many streams.
pub(super) fn conversation(streams: usize, random: &mut Random) -> Conversation {
    let mut steps = start();
    let mut expected = Vec::new();
    let (mut client, mut server) = (Encoder::new(), Encoder::new());
    let mut next = 1;
    let mut open: Vec<Plan> = Vec::new();
    let noise = |random: &mut Random| match random.below(6) {
        0 => frame(PING, 0, 0, &[7; 8]),
        1 => frame(WINDOW, 0, 0, &[0, 0, 4, 0]),
        2 => frame(SETTINGS, 0, 0, &[0, 1, 0, 0, 16, 0, 0, 5, 0, 0, 64, 0]),
        3 => frame(2, 0, 1, &[0; 5]),
        4 => frame(0x10, 0, 0, b"\0\0\0\x01u=1"),
        _ => Vec::new(),
    };
    while next < 2 * u32::try_from(streams).unwrap() || !open.is_empty() {
        if open.len() < 8 && next < 2 * u32::try_from(streams).unwrap() && random.below(2) == 0 {
            let mut plan = Plan::new(next, random);
            if random.below(40) == 0 {
                client.resize([0, 100, 4096][random.below(3)]);
            }
            let bytes = plan.ask(&mut client, random).unwrap();
            steps.push(Step::Ask([bytes, noise(random)].concat()));
            open.push(plan);
            next += 2;
            continue;
        }
        if open.is_empty() {
            continue;
        }
        let which = random.below(open.len());
        let plan = &mut open[which];
        if let Some(bytes) = plan.ask(&mut client, random) {
            steps.push(Step::Ask([bytes, noise(random)].concat()));
            continue;
        }
        if random.below(40) == 0 {
            server.resize([0, 100, 4096][random.below(3)]);
        }
        if random.below(10) == 0 {
            let fields = [(":status", "103"), ("link", "x")];
            let interim = server.encode(&fields, random);
            if !plan.answered {
                steps.push(Step::Answer(frames(HEADERS, plan.id, false, &interim, random)));
                continue;
            }
            // Encoded, so it must be sent: as a promise.
            steps.push(Step::Answer(frames(PROMISE, plan.id, false, &interim, random)));
        }
        let (bytes, last) = plan.answer(&mut server, random);
        steps.push(Step::Answer([bytes, noise(random)].concat()));
        if last {
            expected.push(open.remove(which).expected());
        }
    }
    Conversation { steps, expected }
}

/// The same bytes in other calls: what follows in one direction is put together and cut anew.
pub(super) fn split(steps: &[Step], random: &mut Random) -> Vec<Step> {
    let longest = [1, 3, 30, 500, 5000][random.below(5)];
    let mut out = Vec::new();
    let mut pending: Option<(bool, Vec<u8>)> = None;
    let mut cut = |asks: bool, bytes: Vec<u8>, random: &mut Random| {
        let mut rest = bytes.as_slice();
        while !rest.is_empty() {
            let (piece, after) = rest.split_at((1 + random.below(longest)).min(rest.len()));
            out.push(if asks { Step::Ask(piece.into()) } else { Step::Answer(piece.into()) });
            rest = after;
        }
    };
    for step in steps {
        let (asks, bytes) = match step {
            Step::Ask(bytes) => (true, bytes),
            Step::Answer(bytes) => (false, bytes),
            _ => continue,
        };
        match &mut pending {
            Some((direction, together)) if *direction == asks => together.extend(bytes),
            _ => {
                if let Some((direction, together)) = pending.take() {
                    cut(direction, together, random);
                }
                pending = Some((asks, bytes.clone()));
            }
        }
    }
    if let Some((direction, together)) = pending {
        cut(direction, together, random);
    }
    out
}

#[test]
fn any_split_gives_the_same() {
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    for round in 0..100 {
        let Conversation { steps, expected } = conversation(20, &mut random);
        for _ in 0..3 {
            let steps = split(&steps, &mut random);
            for role in [Role::Server, Role::Client] {
                let mut seen = Seen::default();
                let mut parser = Http2::new(role, Limits::default(), Begin::Start);
                feed(&mut parser, &steps, &mut seen);
                assert_eq!(seen.exchanges, expected, "round {round}");
                assert!(seen.problems.is_empty(), "round {round}: {:?}", seen.problems);
                assert!(!parser.is_waiting());
            }
        }
    }
}
