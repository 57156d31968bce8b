//! What is shown of calls in flight.

use super::*;
use crate::protocol::in_flight::CallId;

#[test]
fn a_query_is_shown_until_the_server_is_ready() {
    let mut talk = talk();
    talk.bytes(Sent, &query("SELECT a FROM t WHERE b = 'swordfish'"));
    let shown = talk.in_flight();
    assert_eq!(shown.lines, ["client postgresql SELECT t @5..10"]);
    assert_eq!(shown.ids(), [CallId::new(5, 1)]);
    assert!(!call(&shown.exchanges[0]).answered);
    talk.bytes(Received, &join(&[columns(), row()]));
    let shown = talk.in_flight();
    assert_eq!(shown.lines, ["client postgresql SELECT t @5..20"]);
    assert_eq!((shown.exchanges[0].first_byte_ns, call(&shown.exchanges[0]).rows), (None, None));
    talk.bytes(Received, &join(&[row(), complete("SELECT 2"), ready(b'I')]));
    assert!(talk.in_flight().lines.is_empty());
    assert_eq!(talk.heard.ids(), shown.ids());
}

#[test]
fn of_an_extended_query_the_executions_are_shown_each_by_itself() {
    let mut talk = talk();
    talk.bytes(Sent, &join(&[parse("p", "UPDATE t SET a = $1"), describe(b'S', "p")]));
    assert!(talk.in_flight().lines.is_empty(), "preparing is no call");
    let one = join(&[bind("", "p"), execute("")]);
    talk.bytes(Sent, &join(&[one.clone(), one, sync()]));
    let shown = talk.in_flight();
    assert_eq!(shown.lines, ["client postgresql UPDATE t @15..20"; 2]);
    assert_eq!(shown.ids(), [CallId::new(15, 1), CallId::new(15, 2)]);
    talk.bytes(Received, &join(&[simple(b'1'), simple(b'n'), simple(b'2'), complete("UPDATE 1")]));
    let second = talk.in_flight();
    assert_eq!(second.ids(), shown.ids()[1..]);
    talk.bytes(Received, &join(&[simple(b'2'), complete("UPDATE 1"), ready(b'I')]));
    assert!(talk.in_flight().lines.is_empty());
    assert_eq!(talk.heard.ids(), shown.ids());
}

#[test]
fn what_may_be_over_is_not_shown() {
    let mut blind = talk();
    blind.bytes(Sent, &query("SELECT * FROM t"));
    blind.bytes(Received, &columns());
    assert_eq!(blind.in_flight().lines.len(), 1);
    blind.pieces(Received, &[Piece::Bytes(b"D\0"), Piece::Skipped(90_000), Piece::Bytes(b"xx")]);
    assert!(blind.in_flight().lines.is_empty(), "the end of the answer is looked for");
    let mut lossy = talk();
    lossy.bytes(Sent, &query("SELECT * FROM t"));
    lossy.parser.mark_lossy();
    assert!(lossy.in_flight().lines.is_empty(), "its answer may be what was lost");
    // The answer to a query that went by before comes in between.
    let mut behind = older();
    behind.bytes(Sent, &query("SELECT * FROM t"));
    assert_eq!(behind.in_flight().lines.len(), 1);
    behind.bytes(Received, &ready(b'I'));
    assert!(behind.in_flight().lines.is_empty());
}
