//! Recorded streams against the exchanges expected of them, and the bounds of the table.

mod bounds;
mod http2;
mod speed;

use std::fmt::Write as _;
use std::path::PathBuf;

use super::*;
use crate::event::stream::Reader;
use crate::protocol::{Call, Role};
use crate::span::http::HttpVersion;

/// What came out, as text, and the advice.
#[derive(Debug, Default)]
pub(super) struct Seen {
    pub(super) text: String,
    pub(super) advice: Vec<(ConnectionId, Advice)>,
}

impl Sink for Seen {
    fn exchange(&mut self, exchange: Exchange, connection: &Connection) {
        let role = if exchange.role == Role::Server { "server" } else { "client" };
        let text = &mut self.text;
        write!(text, "{} {role}", connection.id.0).unwrap();
        let error = match &exchange.call {
            Call::Http(call) => {
                if call.version == HttpVersion::Http2 {
                    text.push_str(" http/2");
                }
                write!(text, " {} {}", call.method.original(), call.path).unwrap();
                match call.status {
                    Some(status) => write!(text, " {status}").unwrap(),
                    None => text.push_str(" -"),
                }
                call.error
            }
            Call::Database(_) | Call::Messaging(_) | Call::Dns(_) => panic!("none is sent here"),
            Call::Grpc(call) => {
                let status = call.status.map_or("-", |status| status.name());
                write!(text, " grpc {} {status}", call.method).unwrap();
                call.error
            }
        };
        write!(text, " {}+{}", exchange.start_ns, exchange.end_ns - exchange.start_ns).unwrap();
        if let Some(first) = exchange.first_byte_ns {
            write!(text, " first+{}", first - exchange.start_ns).unwrap();
        }
        exchange.flags.names().for_each(|name| write!(text, " {name}").unwrap());
        if let Some(error) = error {
            write!(text, " {}", error.name()).unwrap();
        }
        if connection.open.is_none() {
            text.push_str(" (no open)");
        }
        if exchange.undelivered {
            text.push_str(" (counted by the kernel)");
        }
        text.push('\n');
    }

    fn problem(&mut self, problem: Problem, connection: &Connection) {
        writeln!(self.text, "{} ? {}", connection.id.0, problem.name()).unwrap();
    }

    fn advice(&mut self, connection: ConnectionId, advice: Advice) {
        self.advice.push((connection, advice));
    }
}

fn fixtures() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures")
}

/// Replays `NAME.jsonl`, then lets much time pass; the outcome is in `NAME.expected`.
#[track_caller]
fn check(name: &str) {
    let file = std::fs::read(fixtures().join(format!("{name}.jsonl"))).unwrap();
    let expected =
        std::fs::read_to_string(fixtures().join(format!("{name}.expected"))).unwrap_or_default();
    let mut flows = Flows::new(Limits::default());
    let mut seen = Seen::default();
    for event in Reader::new(file.as_slice()) {
        flows.event(&event.unwrap(), &mut seen);
    }
    flows.expire(2 * Limits::default().idle_ns, &mut seen);
    assert_eq!(seen.text, expected, "{name}");
    assert_eq!((flows.len(), flows.parser_bytes), (0, 0), "{name}");
}

#[test]
fn keep_alive() {
    check("keep_alive");
}

#[test]
fn one_byte_reads() {
    check("one_byte_reads");
}

#[test]
fn sendfile() {
    check("sendfile");
}

#[test]
fn chunked_client() {
    check("chunked_client");
}

#[test]
fn mid_stream() {
    check("mid_stream");
}

#[test]
fn lost_records() {
    check("lost_records");
}

#[test]
fn counted_by_kernel() {
    check("counted_by_kernel");
}

#[test]
fn websocket() {
    check("websocket");
}

#[test]
fn resets() {
    check("resets");
}

#[test]
fn http2() {
    check("http2");
}

#[test]
fn grpc() {
    check("grpc");
}

#[test]
fn unix_socket() {
    check("unix_socket");
}
