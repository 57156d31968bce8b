//! Connections that speak HTTP/2, or come to.

use super::bounds::{data, open};
use super::*;
use crate::event::Direction::{self, Received, Sent};

/// Feeds what a server reads (true) and writes, in its order.
fn replay(class: Class, flows: &mut Flows, seen: &mut Seen, calls: &[(bool, &[u8])]) {
    let mut positions = [0, 0];
    for (number, (reads, bytes)) in (1_u64..).zip(calls) {
        let direction: Direction = if *reads { Received } else { Sent };
        let position = &mut positions[usize::from(*reads)];
        let mut data = data(1, direction, number, *position, "");
        data.class = class;
        data.head = (*bytes).into();
        data.length = u32::try_from(bytes.len()).unwrap();
        *position += bytes.len() as u64;
        flows.event(&Event::Data(data), seen);
    }
}

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";
const SETTINGS: &[u8] = b"\0\0\0\x04\0\0\0\0\0";
/// `GET /` and 204 on stream 3, from the static table.
const GET: &[u8] = b"\0\0\x03\x01\x05\0\0\0\x03\x82\x86\x84";
const NO_CONTENT: &[u8] = b"\0\0\x01\x01\x05\0\0\0\x03\x89";

#[test]
fn prior_knowledge() {
    let mut flows = Flows::new(Limits::default());
    let mut seen = Seen::default();
    flows.event(&open(1, 1), &mut seen);
    let calls: &[(bool, &[u8])] =
        &[(false, SETTINGS), (true, PREFACE), (true, GET), (false, NO_CONTENT)];
    replay(Class::Http2Server, &mut flows, &mut seen, calls);
    assert_eq!(seen.text, "1 server http/2 GET / 204 3+1 first+1\n");
}

#[test]
fn an_upgrade_from_http_1() {
    let mut flows = Flows::new(Limits::default());
    let mut seen = Seen::default();
    flows.event(&open(1, 1), &mut seen);
    let request = b"GET /up HTTP/1.1\r\nHost: h\r\nConnection: Upgrade, HTTP2-Settings\r\n\
        Upgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQ\r\n\r\n";
    let switching =
        b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n";
    let first = [&switching[..], SETTINGS].concat();
    let calls: &[(bool, &[u8])] = &[
        (true, request),
        (false, &first),
        (true, PREFACE),
        // The response to the request that came as HTTP/1.1: 200 and two bytes.
        (false, b"\0\0\x01\x01\x04\0\0\0\x01\x88\0\0\x02\0\x01\0\0\0\x01ok"),
        (true, GET),
        (false, NO_CONTENT),
    ];
    replay(Class::Http1Server, &mut flows, &mut seen, calls);
    assert_eq!(
        seen.text,
        "1 server http/2 GET /up 200 1+3 first+3\n1 server http/2 GET / 204 5+1 first+1\n"
    );
}
