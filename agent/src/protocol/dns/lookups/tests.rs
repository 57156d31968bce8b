mod in_flight;

use std::borrow::Cow;

use super::super::testing::{answer, ask, cut, refuse};
use super::*;
use crate::event::{ProcessKey, Unit};
use crate::protocol::in_flight::CallId;
use crate::span::dns::{DnsCall, DnsTransport};

const SECOND: u64 = 1_000_000_000;
const CLIENT: u16 = 40_000;

fn inet(address: &str, port: u16) -> Address {
    Address::Inet { address: address.parse().unwrap(), port }
}

fn unit(pid: u32, tid: u32) -> Unit {
    Unit { process: ProcessKey { pid, start_ns: 0 }, tid, goroutine: 0 }
}

/// A datagram of a client, process 1, at a resolver.
fn client(time_ns: u64, direction: Direction, bytes: &[u8]) -> Datagram<'_> {
    Datagram {
        socket: 11,
        direction,
        unit: unit(1, 1),
        comm: String::new(),
        enter_ns: 0,
        exit_ns: time_ns,
        network_namespace: 1,
        local: inet("0.0.0.0", CLIENT),
        remote: Some(inet("127.0.0.1", 53)),
        length: u32::try_from(bytes.len()).unwrap(),
        head: Cow::Borrowed(bytes),
    }
}

/// A datagram of that resolver, process 2.
fn server(time_ns: u64, direction: Direction, bytes: &[u8]) -> Datagram<'_> {
    Datagram {
        socket: 22,
        unit: unit(2, 2),
        local: inet("0.0.0.0", 53),
        remote: Some(inet("127.0.0.1", CLIENT)),
        ..client(time_ns, direction, bytes)
    }
}

use Direction::{Received, Sent};

struct Heard {
    lookups: Lookups,
    found: Vec<Found>,
}

impl Heard {
    fn new(limit: usize) -> Self {
        Self { lookups: Lookups::new(limit), found: Vec::new() }
    }

    fn round(&mut self) {
        let Settled { found, over_tcp, .. } = self.lookups.settle();
        self.found.extend(found);
        let found = |(exchange, open)| Found { exchange, open, other: None };
        self.found.extend(over_tcp.into_iter().map(found));
    }

    /// All that came out, in short.
    fn all(&mut self) -> Vec<String> {
        self.round();
        self.round();
        self.found.drain(..).map(|found| short(&found)).collect()
    }
}

/// `client A a.b NOERROR 1x 5..7 flags`, in seconds.
fn short(found: &Found) -> String {
    let Exchange { role, start_ns, end_ns, flags, call: Call::Dns(call), .. } = &found.exchange
    else {
        panic!("{found:?}")
    };
    let result = if call.timed_out { "timeout" } else { call.code.unwrap_or("-") };
    let role = if *role == Role::Client { "client" } else { "server" };
    let mut text = format!(
        "{role} {} {} {result} {}x {}..{}",
        call.kind,
        call.name,
        call.attempts,
        start_ns / SECOND,
        end_ns / SECOND
    );
    if call.truncated {
        text += " truncated";
    }
    for flag in flags.names() {
        text = text + " " + flag;
    }
    text
}

#[test]
fn a_question_and_its_answer_at_both_ends() {
    let mut heard = Heard::new(10);
    let (asked, answered) = (ask(1, "A.b", "A"), answer(1, "A.b", "A", 0, &["10.0.0.1"]));
    heard.lookups.datagram(&client(SECOND, Sent, &asked));
    heard.lookups.datagram(&server(SECOND, Received, &asked));
    // The resolver's record comes after that of the client, through another ring.
    heard.lookups.datagram(&client(3 * SECOND, Received, &answered));
    heard.round();
    heard.lookups.datagram(&server(2 * SECOND, Sent, &answered));
    heard.round();
    heard.round();
    let others: Vec<_> = heard.found.iter().map(|found| found.other.map(|p| p.pid)).collect();
    assert_eq!(others, [Some(2), Some(1)]);
    assert_eq!(heard.all(), ["client A a.b NOERROR 1x 1..3", "server A a.b NOERROR 1x 1..2"]);
    assert!(heard.lookups.is_empty() && heard.lookups.by_message.is_empty());
    assert!(heard.lookups.by_asker.is_empty() && heard.lookups.deadlines.is_empty());
}

#[test]
fn pairs_share_a_socket() {
    let mut heard = Heard::new(10);
    for (id, kind) in [(1, "A"), (2, "AAAA")] {
        heard.lookups.datagram(&client(SECOND, Sent, &ask(id, "a.b", kind)));
    }
    for (id, kind) in [(2, "AAAA"), (1, "A")] {
        heard.lookups.datagram(&client(2 * SECOND, Received, &answer(id, "a.b", kind, 3, &[])));
    }
    let found = heard.all();
    assert_eq!(found, ["client AAAA a.b NXDOMAIN 1x 1..2", "client A a.b NXDOMAIN 1x 1..2"]);
}

#[test]
fn who_asks_again_makes_no_second_look_up() {
    let check = |again: Datagram<'_>, id: u16, expected: &[&str]| {
        let mut heard = Heard::new(10);
        let asked = ask(1, "a.b", "A");
        heard.lookups.datagram(&client(0, Sent, &asked));
        heard.lookups.datagram(&again);
        let answered = answer(id, "a.b", "A", 0, &[]);
        let received = Datagram { socket: again.socket, ..client(3 * SECOND, Received, &answered) };
        heard.lookups.datagram(&received);
        heard.lookups.expire(10 * SECOND);
        assert_eq!(heard.all(), expected, "{again:?}");
    };
    let (same, other) = (ask(1, "a.b", "A"), ask(2, "a.b", "A"));
    let one = ["client A a.b NOERROR 2x 0..3"];
    // glibc and musl: the same message, at the next resolver from another socket.
    check(client(SECOND / 10, Sent, &same), 1, &one);
    check(Datagram { socket: 12, ..client(2 * SECOND, Sent, &same) }, 1, &one);
    // Go: everything is new but the question.
    check(Datagram { socket: 12, ..client(2 * SECOND, Sent, &other) }, 2, &one);
    // At once, or by another thread: somebody else wants to know the same.
    let two = ["client A a.b NOERROR 1x 2..3", "client A a.b timeout 1x 0..5"];
    check(Datagram { unit: unit(1, 9), socket: 12, ..client(2 * SECOND, Sent, &same) }, 1, &two);
    let two = ["client A a.b NOERROR 1x 0..3", "client A a.b timeout 1x 0..5"];
    check(Datagram { socket: 12, ..client(SECOND / 2, Sent, &other) }, 2, &two);
    let two = ["client A a.b NOERROR 1x 2..3", "client A a.b timeout 1x 0..5"];
    check(Datagram { unit: unit(1, 9), ..client(2 * SECOND, Sent, &other) }, 2, &two);
}

#[test]
fn a_server_is_asked_again() {
    let mut heard = Heard::new(10);
    let (asked, answered) = (ask(1, "a.b", "A"), answer(1, "a.b", "A", 2, &[]));
    let other = |datagram| Datagram { remote: Some(inet("10.0.0.9", CLIENT)), ..datagram };
    heard.lookups.datagram(&server(0, Received, &asked));
    heard.lookups.datagram(&other(server(SECOND, Received, &asked)));
    heard.lookups.datagram(&server(SECOND, Received, &asked));
    heard.lookups.datagram(&other(server(2 * SECOND, Sent, &answered)));
    heard.lookups.datagram(&server(3 * SECOND, Sent, &answered));
    let expected = ["server A a.b SERVFAIL 1x 1..2", "server A a.b SERVFAIL 2x 0..3"];
    assert_eq!(heard.all(), expected);
}

#[test]
fn a_server_that_cannot_see_who_asks_learns_it_from_its_answer() {
    let mut heard = Heard::new(10);
    let (asked, answered) = (ask(1, "a.b", "A"), answer(1, "a.b", "A", 0, &[]));
    heard.lookups.datagram(&client(0, Sent, &asked));
    heard.lookups.datagram(&Datagram { remote: None, ..server(0, Received, &asked) });
    heard.lookups.datagram(&server(SECOND, Sent, &answered));
    heard.round();
    heard.round();
    let found = heard.found.pop().unwrap();
    assert_eq!(found.open.unwrap().remote, inet("127.0.0.1", CLIENT));
    assert_eq!(found.other.unwrap().pid, 1);
}

#[test]
fn a_refusal_may_leave_out_the_question() {
    let mut heard = Heard::new(10);
    heard.lookups.datagram(&client(SECOND, Sent, &ask(1, "a.b", "A")));
    heard.lookups.datagram(&client(2 * SECOND, Received, &refuse(2, 1)));
    heard.lookups.datagram(&client(2 * SECOND, Received, &refuse(1, 1)));
    assert_eq!(heard.all(), ["client A a.b FORMERR 1x 1..2"]);
    assert_eq!(heard.lookups.stats().unmatched, 1);
}

#[test]
fn no_answer() {
    let mut heard = Heard::new(10);
    let asked = ask(1, "a.b", "A");
    heard.lookups.datagram(&client(SECOND, Sent, &asked));
    heard.lookups.expire(6 * SECOND);
    assert!(heard.all().is_empty(), "it may be asked again just now");
    heard.lookups.expire(7 * SECOND);
    assert_eq!(heard.all(), ["client A a.b timeout 1x 1..6"]);
    // Late answers, those given twice, and those without a question are counted only.
    let answered = answer(1, "a.b", "A", 0, &[]);
    heard.lookups.datagram(&client(8 * SECOND, Received, &answered));
    assert_eq!((heard.all().len(), heard.lookups.stats().unmatched), (0, 1));
}

#[test]
fn after_a_loss_nobody_knows() {
    let mut heard = Heard::new(10);
    heard.lookups.datagram(&client(SECOND, Sent, &ask(1, "a.b", "A")));
    heard.lookups.lost(3);
    heard.lookups.datagram(&client(2 * SECOND, Sent, &ask(2, "c.d", "A")));
    heard.lookups.lost(3);
    heard.lookups.expire(8 * SECOND);
    let found = heard.all();
    assert_eq!(found.len(), 2);
    assert!(found.iter().any(|found| found.ends_with("lossy duration_untrusted no_response")));
    assert!(found.contains(&"client A c.d timeout 1x 2..7".to_owned()));
}

#[test]
fn what_still_waits_at_the_end() {
    let mut heard = Heard::new(10);
    heard.lookups.datagram(&client(SECOND, Sent, &ask(1, "a.b", "A")));
    heard.lookups.finish(2 * SECOND);
    assert_eq!(heard.all(), ["client A a.b - 1x 1..2 duration_untrusted no_response"]);
}

fn over_tcp(start_ns: u64, end_ns: u64) -> Exchange {
    over_tcp_of("A", start_ns, end_ns)
}

fn over_tcp_of(kind: &str, start_ns: u64, end_ns: u64) -> Exchange {
    let call = DnsCall {
        name: "a.b".into(),
        kind: kind.into(),
        code: Some("NOERROR"),
        answers: Some(99),
        attempts: 1,
        transport: DnsTransport::Tcp,
        truncated: false,
        timed_out: false,
        search: None,
        addresses: Vec::new(),
    };
    Exchange {
        id: CallId::new(start_ns, 1),
        role: Role::Client,
        start_ns,
        first_byte_ns: None,
        end_ns,
        unit: unit(1, 1),
        context: None,
        flags: Flags::none(),
        call: Call::Dns(Box::new(call)),
        undelivered: false,
    }
}

#[test]
fn a_cut_answer_is_asked_for_again_over_tcp() {
    let mut heard = Heard::new(10);
    let (asked, answered) = (ask(1, "a.b", "A"), cut(1, "a.b", "A"));
    let expected = ["client A a.b NOERROR 2x 1..4 truncated"];
    heard.lookups.datagram(&client(SECOND, Sent, &asked));
    heard.lookups.datagram(&client(2 * SECOND, Received, &answered));
    heard.lookups.over_tcp(over_tcp(3 * SECOND, 4 * SECOND), None);
    assert_eq!(heard.all(), expected);
    // The records of the datagrams come through another ring, after those of the connection.
    heard.lookups.over_tcp(over_tcp(3 * SECOND, 4 * SECOND), None);
    heard.round();
    heard.lookups.datagram(&client(SECOND, Sent, &asked));
    heard.lookups.datagram(&client(2 * SECOND, Received, &answered));
    assert_eq!(heard.all(), expected);
    heard.lookups.expire(100 * SECOND);
    assert!(heard.all().is_empty());
    // All at once at the end, as in a short recording.
    heard.lookups.datagram(&client(SECOND, Sent, &asked));
    heard.lookups.datagram(&client(2 * SECOND, Received, &answered));
    heard.lookups.over_tcp(over_tcp(3 * SECOND, 4 * SECOND), None);
    heard.lookups.finish(4 * SECOND);
    assert_eq!(heard.all(), expected);
    // Nobody asks again: the cut answer was enough.
    heard.lookups.datagram(&client(SECOND, Sent, &asked));
    heard.lookups.datagram(&client(2 * SECOND, Received, &answered));
    heard.lookups.expire(100 * SECOND);
    assert_eq!(heard.all(), ["client A a.b NOERROR 1x 1..2 truncated"]);
    // glibc asks for both again where one answer is cut, and reads no more of the other.
    let other = ask(2, "a.b", "AAAA");
    heard.lookups.datagram(&client(SECOND, Sent, &other));
    heard.lookups.over_tcp(over_tcp_of("AAAA", 3 * SECOND, 4 * SECOND), None);
    assert_eq!(heard.all(), ["client AAAA a.b NOERROR 2x 1..4"]);
    heard.lookups.datagram(&client(3 * SECOND, Sent, &other));
    heard.lookups.over_tcp(over_tcp_of("AAAA", SECOND, 2 * SECOND), None);
    assert_eq!(heard.all(), ["client AAAA a.b NOERROR 1x 1..2"], "it was asked before");
    heard.lookups.expire(100 * SECOND);
    assert_eq!(heard.all(), ["client AAAA a.b timeout 1x 3..8"]);
    // A look-up over TCP by itself.
    heard.lookups.over_tcp(over_tcp(3 * SECOND, 4 * SECOND), None);
    assert_eq!(heard.all(), ["client A a.b NOERROR 1x 3..4"]);
}

#[test]
fn those_that_wait_are_bounded() {
    let mut heard = Heard::new(100);
    for id in 0..1000 {
        heard.lookups.datagram(&client(u64::from(id), Sent, &ask(id, &format!("n{id}"), "A")));
    }
    assert_eq!((heard.lookups.len(), heard.lookups.stats().evicted), (100, 900));
    assert_eq!(heard.lookups.by_message.len(), 100);
    heard.lookups.finish(SECOND);
    assert_eq!(heard.all().len(), 1000, "each is counted");
}

#[test]
fn other_protocols_and_no_protocol_at_all() {
    let mut heard = Heard::new(10);
    let asked = ask(0, "printer.local", "A");
    let multicast = Datagram { remote: Some(inet("224.0.0.251", 5353)), ..client(0, Sent, &asked) };
    heard.lookups.datagram(&multicast);
    heard.lookups.datagram(&client(0, Sent, b"\0\x01\x01\0\0\x01\0\0\0\0\0\0 no name at all"));
    heard.lookups.finish(SECOND);
    assert!(heard.all().is_empty());
    let stats = heard.lookups.stats();
    assert_eq!((stats.apart, stats.others, stats.messages), (1, 1, 0));
}

#[test]
fn hostile_datagrams() {
    let mut random = fastrand::Rng::with_seed(7);
    let mut heard = Heard::new(200);
    let mut bytes = 0;
    while bytes < 10 << 20 {
        let mut message = match random.u8(..4) {
            0 => (0..random.usize(..300)).map(|_| random.u8(..)).collect(),
            1 => ask(random.u16(..50), "host.example.org", "A"),
            2 => cut(random.u16(..50), "host.example.org", "A"),
            _ => answer(random.u16(..50), "host.example.org", "A", 0, &["10.0.0.1", "10.0.0.2"]),
        };
        for _ in 0..random.u8(..4) {
            if !message.is_empty() {
                let at = random.usize(..message.len());
                message[at] ^= 1 << random.u8(..8);
            }
        }
        message.truncate(random.usize(..=message.len()).max(message.len() / 2));
        bytes += message.len();
        let direction = if random.bool() { Sent } else { Received };
        let time = bytes as u64 * 1000;
        let mut datagram = client(time, direction, &message);
        datagram.socket = random.u64(..4);
        datagram.length += u32::from(random.u8(..10) == 0);
        heard.lookups.datagram(&datagram);
        heard.lookups.expire(time);
        heard.round();
        heard.found.clear();
        assert!(heard.lookups.len() <= 200);
    }
    assert!(heard.lookups.stats().messages > 10_000);
    heard.lookups.finish(u64::MAX);
    assert!(heard.lookups.by_message.is_empty() && heard.lookups.by_asker.is_empty());
}
