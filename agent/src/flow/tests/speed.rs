//! What a request costs from event to exchange. Run with
//! `cargo test --release -p vigie --lib flow::tests::speed -- --ignored --nocapture`.

use std::time::Instant;

use super::bounds::{data, open};
use super::*;
use crate::event::Direction;

struct Count(u64);

impl Sink for Count {
    fn exchange(&mut self, exchange: Exchange, _: &Connection) {
        self.0 += u64::from(std::hint::black_box(exchange).flags == crate::span::Flags::none());
    }
    fn problem(&mut self, problem: Problem, _: &Connection) {
        panic!("{problem:?}");
    }
    fn advice(&mut self, _: ConnectionId, _: Advice) {}
}

/// A look at as many connections as the kernel keeps by default: one in a hundred waits for an answer,
/// the others for the next request.
#[test]
#[ignore = "a measurement"]
fn nanoseconds_per_look() {
    const CONNECTIONS: u64 = 16_384;
    const LOOKS: u32 = 100;
    const REQUEST: &str = "GET / HTTP/1.1\r\n\r\n";
    const ANSWER: &str = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";
    let mut flows = Flows::new(Limits::default());
    let mut count = Count(0);
    for id in 0..CONNECTIONS {
        flows.event(&open(id, 1), &mut count);
        flows.event(&Event::Data(data(id, Direction::Received, id, 0, REQUEST)), &mut count);
        if id % 100 != 0 {
            let answer = data(id, Direction::Sent, id, 0, ANSWER);
            flows.event(&Event::Data(answer), &mut count);
        }
    }
    let mut shown = 0;
    let begin = Instant::now();
    for look in 0..LOOKS {
        // Each sees another tenth of them come of age.
        let first = u64::from(look % 10) * CONNECTIONS / 10;
        let range = first..first + CONNECTIONS / 10;
        shown += flows.in_flight(range, 4096, CONNECTIONS, |_, _| {}).shown;
    }
    let spent = begin.elapsed();
    println!("{} ns per look, {shown} shown", spent.as_nanos() / u128::from(LOOKS));
}

#[test]
#[ignore = "a measurement"]
fn nanoseconds_per_exchange() {
    const REQUEST: &str = "GET /index.html HTTP/1.1\r\nHost: 127.0.0.1:8080\r\nUser-Agent: wrk/4.2\r\n\
         Accept: */*\r\nAccept-Encoding: gzip, deflate\r\nConnection: keep-alive\r\n\r\n";
    const ROUNDS: u64 = 1_000_000;
    const CONNECTIONS: u64 = 64;
    let body = "x".repeat(600);
    let response = format!(
        "HTTP/1.1 200 OK\r\nServer: nginx/1.26.3\r\nDate: Sat, 21 Nov 2026 09:00:00 GMT\r\n\
         Content-Type: text/html\r\nContent-Length: 600\r\nLast-Modified: Sat, 21 Nov 2026 \
         08:00:00 GMT\r\nConnection: keep-alive\r\nETag: \"6740-258\"\r\nAccept-Ranges: bytes\r\n\r\n{body}"
    );
    let mut flows = Flows::new(Limits::default());
    let mut count = Count(0);
    for id in 0..CONNECTIONS {
        flows.event(&open(id, 1), &mut count);
    }
    let begin = Instant::now();
    for round in 0..ROUNDS {
        let (id, turn) = (round % CONNECTIONS, round / CONNECTIONS);
        let mut request =
            data(id, Direction::Received, round, turn * REQUEST.len() as u64, REQUEST);
        request.turn = turn > 0;
        flows.event(&Event::Data(request), &mut count);
        let mut answer = data(id, Direction::Sent, round, turn * response.len() as u64, &response);
        answer.turn = true;
        flows.event(&Event::Data(answer), &mut count);
    }
    let spent = begin.elapsed();
    assert_eq!(count.0, ROUNDS);
    println!("{} ns per exchange", spent.as_nanos() / u128::from(ROUNDS));
}
