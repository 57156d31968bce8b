//! What a call costs in the parser. Run with
//! `cargo test --release -p vigie --lib http2::tests::speed -- --ignored --nocapture`.

use std::time::Instant;

use super::wire::*;
use super::*;
use crate::protocol::testing::Random;

struct Count(u64);

impl Sink for Count {
    fn exchange(&mut self, exchange: Exchange) {
        self.0 += u64::from(std::hint::black_box(exchange).flags == Flags::none());
    }
    fn problem(&mut self, problem: Problem) {
        panic!("{problem:?}");
    }
    fn advice(&mut self, _: Advice) {}
}

#[test]
#[ignore = "a measurement"]
fn nanoseconds_per_call() {
    const ROUNDS: u32 = 500_000;
    let mut random = Random(1);
    let mut encoder = Encoder::new();
    let request = [
        (":method", "POST"),
        (":scheme", "http"),
        (":path", "/shop.Orders/Get"),
        (":authority", "127.0.0.1:50051"),
        ("te", "trailers"),
        ("content-type", "application/grpc"),
        ("user-agent", "grpc-python/1.60.0 grpc-c/37.0.0 (linux; chttp2)"),
        ("grpc-accept-encoding", "identity, deflate, gzip"),
    ];
    let response = [(":status", "200"), ("content-type", "application/grpc")];
    let trailers = [("grpc-status", "0"), ("grpc-message", "")];
    for (name, huffman) in [("indexed", false), ("literal, Huffman", true)] {
        let (mut asks, mut heads, mut ends) = (coded(&request), coded(&response), coded(&trailers));
        let mut parser = Http2::new(Role::Server, Limits::default(), Begin::Start);
        let mut count = Count(0);
        feed_start(&mut parser, &mut count);
        if !huffman {
            let mut answers = Encoder::new();
            for stream in [1_u32, 3, 5, 7, 9] {
                asks = encoder.encode(&request, &mut random);
                heads = answers.encode(&response, &mut random);
                ends = answers.encode(&trailers, &mut random);
                call(&mut parser, stream, &asks, &heads, &ends, &mut count);
            }
            asks = encoder.encode(&request, &mut random);
        }
        println!("blocks of {}, {} and {} bytes", asks.len(), heads.len(), ends.len());
        let begin = Instant::now();
        for round in 0..ROUNDS {
            call(&mut parser, 2 * round + 11, &asks, &heads, &ends, &mut count);
        }
        println!("{name}: {} ns per call", begin.elapsed().as_nanos() / u128::from(ROUNDS));
        assert!(count.0 >= u64::from(ROUNDS));
    }
}

fn coded(fields: &[(&str, &str)]) -> Vec<u8> {
    let mut block = Vec::new();
    for (name, value) in fields {
        block.push(0);
        for text in [name, value] {
            let mut coded = Vec::new();
            httlib_huffman::encode(text.as_bytes(), &mut coded).unwrap();
            length(&mut block, 0x80, 7, coded.len());
            block.extend(coded);
        }
    }
    block
}

fn feed_start(parser: &mut Http2, count: &mut Count) {
    for step in start() {
        let (direction, bytes) = match step {
            Step::Ask(bytes) => (Direction::Received, bytes),
            Step::Answer(bytes) => (Direction::Sent, bytes),
            _ => continue,
        };
        parser.piece(direction, Piece::Bytes(&bytes), &at(1), count);
    }
}

fn call(
    parser: &mut Http2,
    stream: u32,
    request: &[u8],
    head: &[u8],
    trailers: &[u8],
    count: &mut Count,
) {
    let message = [0, 0, 0, 0, 20, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1];
    let ask = [frame(HEADERS, WHOLE, stream, request), frame(DATA, END, stream, &message)].concat();
    let answer = [
        frame(HEADERS, WHOLE, stream, head),
        frame(DATA, 0, stream, &message),
        frame(HEADERS, WHOLE | END, stream, trailers),
    ]
    .concat();
    parser.piece(Direction::Received, Piece::Bytes(&ask), &at(1), count);
    parser.piece(Direction::Sent, Piece::Bytes(&answer), &at(2), count);
}
