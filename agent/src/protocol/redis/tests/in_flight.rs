//! What is shown of commands in flight.

use super::*;
use crate::protocol::in_flight::CallId;

#[test]
fn commands_are_shown_in_their_order_until_they_are_answered() {
    let mut talk = talk(Role::Server, true);
    ask(&mut talk, &["GET a", "INCR b", "CONFIG GET c"]);
    let shown = talk.in_flight();
    assert_eq!(
        shown.lines,
        [
            "server redis GET @10..10",
            "server redis INCR @10..10",
            "server redis CONFIG GET @10..10"
        ]
    );
    assert_eq!(shown.ids(), [1, 2, 3].map(|sequence| CallId::new(10, sequence)));
    let Call::Database(call) = &shown.exchanges[0].call else { panic!() };
    assert_eq!((call.namespace.as_deref(), call.answered), (Some("0"), false));
    say(&mut talk, "$1\r\nx\r\n:2\r\n*2\r\n");
    assert_eq!(talk.in_flight().lines, ["server redis CONFIG GET @10..20"]);
    say(&mut talk, "$1\r\nx\r\n$1\r\ny\r\n");
    assert!(talk.in_flight().lines.is_empty());
    assert_eq!(talk.heard.ids(), shown.ids());
    talk.bytes(Direction::Received, b"*2\r\n$3\r\nGET\r\n");
    assert!(talk.in_flight().lines.is_empty(), "it is not whole");
}

#[test]
fn what_waits_by_intent_is_not_shown() {
    let mut talk = talk(Role::Client, true);
    talk.bytes(Direction::Sent, command("BLPOP l 0").as_bytes());
    talk.bytes(Direction::Sent, command("XREAD BLOCK 0 STREAMS s $").as_bytes());
    assert!(talk.parser.is_waiting() && talk.in_flight().lines.is_empty());
    talk.bytes(Direction::Sent, command("LPOP l").as_bytes());
    assert_eq!(talk.in_flight().lines, ["client redis LPOP @25..30"]);
}

#[test]
fn what_is_no_command_is_not_named_before_it_was_obeyed() {
    let mut talk = talk(Role::Client, true);
    talk.bytes(Direction::Sent, command("FT.SEARCH i").as_bytes());
    assert_eq!(talk.in_flight().lines, ["client redis redis @5..10"]);
}

#[test]
fn what_may_be_answered_is_not_shown() {
    let mut talk = talk(Role::Client, true);
    talk.bytes(Direction::Sent, command("GET a").as_bytes());
    talk.pieces(Direction::Received, &[Piece::Bytes(b"*9\r\n"), Piece::Skipped(9000)]);
    assert!(talk.parser.is_waiting() && talk.in_flight().lines.is_empty());
    let mut lossy = self::talk(Role::Client, true);
    lossy.bytes(Direction::Sent, command("GET a").as_bytes());
    lossy.parser.mark_lossy();
    lossy.bytes(Direction::Sent, command("GET b").as_bytes());
    assert!(lossy.in_flight().lines.is_empty(), "answers to what was lost may come");
}
