//! Tests of the parser, and how they say what goes over a connection.

mod bytes;
mod in_flight;
mod pipelines;
mod queries;
mod unseen;

use super::*;
use crate::protocol::conversation::{Opening, Recognition};
use crate::protocol::testing::{Random, Talk};
use crate::protocol::{Call, Exchange};
use crate::span::database::DatabaseCall;
use Direction::{Received, Sent};

fn message(kind: u8, payload: &[u8]) -> Vec<u8> {
    let mut bytes = vec![kind];
    bytes.extend_from_slice(&(u32::try_from(payload.len()).unwrap() + 4).to_be_bytes());
    bytes.extend_from_slice(payload);
    bytes
}

fn join(parts: &[Vec<u8>]) -> Vec<u8> {
    parts.concat()
}

fn startup(parameters: &[u8]) -> Vec<u8> {
    let mut bytes = (u32::try_from(parameters.len()).unwrap() + 9).to_be_bytes().to_vec();
    bytes.extend_from_slice(&[0, 3, 0, 0]);
    bytes.extend_from_slice(parameters);
    bytes.push(0);
    bytes
}

fn query(text: &str) -> Vec<u8> {
    message(b'Q', &[text.as_bytes(), b"\0"].concat())
}

fn parse(name: &str, text: &str) -> Vec<u8> {
    message(b'P', &[name.as_bytes(), b"\0", text.as_bytes(), b"\0\0\0"].concat())
}

fn bind(portal: &str, name: &str) -> Vec<u8> {
    let values = b"\0\0\0\0\x01\0\0\0\x09swordfish\0\0";
    message(b'B', &[portal.as_bytes(), b"\0", name.as_bytes(), &values[..]].concat())
}

fn describe(kind: u8, name: &str) -> Vec<u8> {
    message(b'D', &[&[kind], name.as_bytes(), b"\0"].concat())
}

fn execute(portal: &str) -> Vec<u8> {
    message(b'E', &[portal.as_bytes(), b"\0\0\0\0\0"].concat())
}

fn sync() -> Vec<u8> {
    message(b'S', b"")
}

fn simple(kind: u8) -> Vec<u8> {
    message(kind, b"")
}

fn row() -> Vec<u8> {
    message(b'D', b"\0\x01\0\0\0\x01x")
}

fn columns() -> Vec<u8> {
    message(b'T', b"\0\x01a\0\0\0\0\0\0\0\0\0\0\x19\xff\xff\xff\xff\xff\xff\0\0")
}

fn complete(tag: &str) -> Vec<u8> {
    message(b'C', &[tag.as_bytes(), b"\0"].concat())
}

fn error(code: &str) -> Vec<u8> {
    message(b'E', format!("SERROR\0VERROR\0C{code}\0Mswordfish\0\0").as_bytes())
}

fn ready(status: u8) -> Vec<u8> {
    message(b'Z', &[status])
}

/// Of a connection that is known from its beginning.
fn talk() -> Talk<Postgres> {
    let mut talk = older();
    talk.parser.calls.settled = true;
    talk
}

/// Of one that is older than vigie.
fn older() -> Talk<Postgres> {
    Talk::new(Postgres::new(Role::Client, Limits { query_text: 200, ..Limits::default() }))
}

/// As many lines as there are calls and problems, in order.
fn check(talk: &Talk<Postgres>, expected: &[&str]) {
    assert_eq!(talk.heard.lines, expected);
    let all = format!("{:?}", talk.heard.exchanges);
    assert!(!all.contains("swordfish"), "{all}");
}

fn call(exchange: &Exchange) -> &DatabaseCall {
    match &exchange.call {
        Call::Database(call) => call,
        call => panic!("{call:?}"),
    }
}

/// One query and its answer.
fn answered(talk: &mut Talk<Postgres>) {
    talk.bytes(Sent, &query("SELECT a FROM t WHERE b = 'swordfish'"));
    talk.bytes(Received, &join(&[columns(), row(), row(), complete("SELECT 2"), ready(b'I')]));
}

/// A talk of every kind, as both sides send it: requests and answers in turns.
fn conversation() -> Vec<(Direction, Vec<u8>)> {
    let data = message(b'd', b"data\n");
    let one =
        join(&[parse("p", "UPDATE t SET a = $1"), bind("", "p"), describe(b'P', ""), execute("")]);
    let done = join(&[simple(b'1'), simple(b'2'), simple(b'n'), complete("UPDATE 1")]);
    vec![
        (Sent, startup(b"user\0me\0")),
        (Received, join(&[message(b'R', &[0; 4]), message(b'S', b"a\0b\0"), ready(b'I')])),
        (Sent, query("SELECT * FROM t")),
        (Received, join(&[columns(), row(), complete("SELECT 1"), ready(b'I')])),
        (Sent, join(&[one.clone(), one, sync()])),
        (Received, join(&[done.clone(), done, ready(b'I')])),
        (Sent, query("COPY t FROM STDIN")),
        (Received, message(b'G', b"\0\0\0")),
        (Sent, join(&[data.clone(), data, simple(b'c')])),
        (Received, join(&[complete("COPY 2"), ready(b'I')])),
        (Sent, join(&[parse("", "SELECT * FROM missing"), bind("", ""), execute(""), sync()])),
        (Received, join(&[error("42P01"), ready(b'I')])),
        (Sent, query("SELECT 1")),
        (Received, join(&[columns(), row(), complete("SELECT 1"), ready(b'I')])),
    ]
}
