//! Recorded streams against the exchanges expected of them, and the bounds of the table.

mod bounds;
mod http2;
mod in_flight;
mod speed;

use std::fmt::Write as _;
use std::path::PathBuf;

use super::*;
use crate::event::stream::Reader;
use crate::protocol::dns::lookups::Lookups;
use crate::protocol::{Call, Role};
use crate::span::http::HttpVersion;
use crate::span::{database, messaging};

/// What came out, as text, and the advice.
#[derive(Debug, Default)]
pub(super) struct Seen {
    pub(super) text: String,
    pub(super) advice: Vec<(ConnectionId, Advice)>,
}

impl Seen {
    /// What an exchange was and when: without the connection's number and without an end of line.
    fn tell(&mut self, exchange: &Exchange) {
        let role = if exchange.role == Role::Server { "server" } else { "client" };
        let text = &mut self.text;
        text.push_str(role);
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
                call.error.map(|error| error.name().to_owned())
            }
            Call::Database(call) => {
                let (operation, collection) =
                    (&call.statement.operation, &call.statement.collection);
                let endpoint = database::endpoint(call.system, operation, collection);
                write!(text, " {} {endpoint}", call.system.name()).unwrap();
                if let Some(rows) = call.rows {
                    write!(text, " rows {rows}").unwrap();
                }
                if !call.answered {
                    text.push_str(" unanswered");
                }
                call.error_type().map(str::to_owned)
            }
            Call::Messaging(call) => {
                let endpoint = messaging::endpoint(call.operation, call.destination.as_deref());
                write!(text, " kafka {endpoint}").unwrap();
                call.error_type().map(str::to_owned)
            }
            Call::Dns(call) => {
                write!(text, " dns {} {}", call.kind, call.name).unwrap();
                if let Some(answers) = call.answers {
                    write!(text, " answers {answers}").unwrap();
                }
                call.error_type().map(str::to_owned)
            }
            Call::Grpc(call) => {
                let status = call.status.map_or("-", |status| status.name());
                write!(text, " grpc {} {status}", call.method).unwrap();
                call.error.map(|error| error.name().to_owned())
            }
        };
        write!(text, " {}+{}", exchange.start_ns, exchange.end_ns - exchange.start_ns).unwrap();
        if let Some(first) = exchange.first_byte_ns {
            write!(text, " first+{}", first - exchange.start_ns).unwrap();
        }
        exchange.flags.names().for_each(|name| write!(text, " {name}").unwrap());
        if let Some(error) = error {
            write!(text, " {error}").unwrap();
        }
    }
}

impl Sink for Seen {
    fn exchange(&mut self, exchange: Exchange, connection: &Connection) {
        write!(self.text, "{} ", connection.id.0).unwrap();
        self.tell(&exchange);
        let text = &mut self.text;
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
    let mut lookups = Lookups::new(64);
    for event in Reader::new(file.as_slice()) {
        let event = event.unwrap();
        if let Event::Datagram(datagram) = &event {
            lookups.datagram(datagram);
        }
        flows.event(&event, &mut seen);
    }
    let much_later = 2 * Limits::default().idle_ns;
    flows.expire(much_later, &mut seen);
    lookups.finish(much_later);
    for _ in 0..2 {
        for found in lookups.settle().found {
            seen.text.push_str("udp ");
            seen.tell(&found.exchange);
            seen.text.push('\n');
        }
    }
    if std::env::var_os("VIGIE_BLESS").is_some() {
        std::fs::write(fixtures().join(format!("{name}.expected")), &seen.text).unwrap();
        return;
    }
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
fn postgres() {
    check("postgres");
}

#[test]
fn mysql() {
    check("mysql");
}

#[test]
fn redis() {
    check("redis");
}

#[test]
fn memcached() {
    check("memcached");
}

#[test]
fn mongodb() {
    check("mongodb");
}

#[test]
fn kafka() {
    check("kafka");
}

#[test]
fn dns() {
    check("dns");
}

#[test]
fn unix_socket() {
    check("unix_socket");
}
