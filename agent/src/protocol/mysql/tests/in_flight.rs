//! What is shown of commands in flight.

use super::*;
use crate::protocol::in_flight::CallId;

#[test]
fn a_command_is_shown_until_its_response_is_whole() {
    let mut talk = exchange(USUAL, &[(Sent, query("SELECT a FROM orders"))]);
    let shown = talk.in_flight();
    assert_eq!(shown.lines, ["client mysql SELECT orders @35..40"]);
    assert_eq!(shown.ids(), [CallId::new(35, 1)]);
    let answer = result(true, 3);
    let (first, rest) = answer.split_at(30);
    talk.bytes(Received, first);
    assert_eq!(talk.in_flight().lines, ["client mysql SELECT orders @35..50"]);
    assert_eq!(talk.in_flight().exchanges[0].first_byte_ns, None);
    talk.bytes(Received, rest);
    assert!(talk.in_flight().lines.is_empty());
    assert_eq!(talk.heard.ids(), shown.ids());
    talk.bytes(Sent, &query("DELETE FROM orders"));
    assert_eq!(talk.in_flight().ids(), [CallId::new(65, 2)]);
}

#[test]
fn pipelined_commands_are_told_apart() {
    let both = [query("SELECT a FROM orders"), query("SELECT b FROM carts")].concat();
    let mut talk = exchange(USUAL, &[(Sent, both)]);
    let shown = talk.in_flight();
    assert_eq!(
        shown.lines,
        ["client mysql SELECT orders @35..40", "client mysql SELECT carts @35..40"]
    );
    talk.bytes(Received, &[result(true, 1), result(true, 1)].concat());
    assert!(talk.in_flight().lines.is_empty());
    assert_eq!(talk.heard.ids(), shown.ids());
}

#[test]
fn a_response_whose_middle_was_not_captured_may_be_over() {
    let mut talk = exchange(USUAL, &[(Sent, query("SELECT a FROM orders"))]);
    let answer = result(true, 3);
    talk.pieces(Received, &[Piece::Bytes(&answer[..30]), Piece::Skipped(90_000)]);
    assert!(talk.parser.is_waiting() && talk.in_flight().lines.is_empty());
    let mut login = self::talk(Role::Client);
    login.bytes(Received, &greeting(USUAL));
    login.bytes(Sent, &self::login(USUAL));
    assert!(login.in_flight().lines.is_empty(), "being let in is no call");
}
