//! What is shown of look-ups that wait.

use super::*;
use crate::protocol::in_flight::Looked;

/// `role kind name attempts x start..end` of what began in `started`, in that order, and the ids.
fn shown(lookups: &Lookups, started: std::ops::Range<u64>) -> (Vec<String>, Vec<CallId>) {
    let mut found = Vec::new();
    let now = 9 * SECOND;
    let looked = lookups.in_flight(started, 10, now, |one| found.push(one));
    assert_eq!((looked.shown, looked.left), (found.len(), 0));
    found.sort_by_key(|found| (found.exchange.start_ns, found.exchange.id.sequence));
    let line = |found: &Found| {
        let Call::Dns(call) = &found.exchange.call else { panic!("{found:?}") };
        assert!(!call.timed_out && call.code.is_none() && found.exchange.first_byte_ns.is_none());
        short(found).replace(" - ", " ")
    };
    let ids = found.iter().map(|found| found.exchange.id).collect();
    (found.iter().map(line).collect(), ids)
}

#[test]
fn a_look_up_is_shown_until_it_is_answered() {
    let mut heard = Heard::new(10);
    let (a, aaaa) = (ask(1, "a.b", "A"), ask(2, "a.b", "AAAA"));
    heard.lookups.datagram(&client(SECOND, Sent, &a));
    heard.lookups.datagram(&client(SECOND, Sent, &aaaa));
    heard.lookups.datagram(&client(3 * SECOND, Sent, &a));
    heard.lookups.datagram(&server(3 * SECOND, Received, &a));
    let (lines, ids) = shown(&heard.lookups, 0..u64::MAX);
    assert_eq!(lines, ["client A a.b 2x 1..9", "client AAAA a.b 1x 1..9", "server A a.b 1x 3..9"]);
    assert_eq!(shown(&heard.lookups, 0..SECOND).0.len(), 0);
    assert_eq!(shown(&heard.lookups, SECOND..3 * SECOND).1, ids[..2]);
    heard.lookups.datagram(&client(4 * SECOND, Received, &answer(1, "a.b", "A", 0, &[])));
    assert_eq!(shown(&heard.lookups, 0..u64::MAX).1, ids[1..]);
    heard.lookups.expire(100 * SECOND);
    assert!(shown(&heard.lookups, 0..u64::MAX).0.is_empty());
    heard.round();
    heard.round();
    let ended: std::collections::HashSet<_> =
        heard.found.iter().map(|found| found.exchange.id).collect();
    assert_eq!(ended, ids.into_iter().collect());
}

#[test]
fn what_was_cut_is_over_and_what_went_on_over_tcp_is_shown_once() {
    let mut heard = Heard::new(10);
    heard.lookups.datagram(&client(SECOND, Sent, &ask(1, "a.b", "A")));
    heard.lookups.datagram(&client(SECOND, Sent, &ask(2, "a.b", "AAAA")));
    let (_, ids) = shown(&heard.lookups, 0..u64::MAX);
    heard.lookups.datagram(&client(2 * SECOND, Received, &cut(1, "a.b", "A")));
    assert_eq!(shown(&heard.lookups, 0..u64::MAX).0, ["client AAAA a.b 1x 1..9"]);
    let over_tcp = [over_tcp(3 * SECOND, 4 * SECOND), over_tcp_of("AAAA", 3 * SECOND, 4 * SECOND)];
    let is_shown = |exchange| heard.lookups.is_shown_for(exchange, None);
    assert_eq!(over_tcp.each_ref().map(is_shown), [false, true]);
    let id = over_tcp[0].id;
    for exchange in over_tcp {
        heard.lookups.over_tcp(exchange, None);
    }
    heard.round();
    heard.round();
    let ended: Vec<_> = heard.found.iter().map(|found| found.exchange.id).collect();
    assert_eq!(ended, [id, ids[1]]);
    assert!(shown(&heard.lookups, 0..u64::MAX).0.is_empty());
}

#[test]
fn of_too_many_the_oldest_and_none_after_a_loss() {
    let mut heard = Heard::new(100);
    for id in 0..20 {
        heard.lookups.datagram(&client(u64::from(id), Sent, &ask(id, &format!("n{id}"), "A")));
    }
    let mut count = 0;
    let looked = heard.lookups.in_flight(0..SECOND, 15, SECOND, |_| count += 1);
    assert_eq!((looked, count), (Looked { shown: 15, left: 5, until: 15 }, 15));
    heard.lookups.lost(1);
    assert!(shown(&heard.lookups, 0..u64::MAX).0.is_empty());
}
