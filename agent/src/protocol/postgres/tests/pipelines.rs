//! Several calls in flight, and those that fail.

use super::*;

#[test]
fn a_pipeline_has_the_times_of_each() {
    let mut talk = talk();
    let one =
        |name| join(&[parse("", &format!("SELECT * FROM {name}")), bind("", ""), execute("")]);
    talk.bytes(Sent, &one("a"));
    talk.bytes(Sent, &one("b"));
    talk.bytes(Sent, &join(&[one("c"), sync()]));
    let done = join(&[simple(b'1'), simple(b'2'), complete("SELECT 0")]);
    talk.bytes(Received, &done);
    talk.bytes(Received, &[&done[..], &done[..7]].concat());
    talk.bytes(Received, &[&done[7..], &ready(b'I')].concat());
    check(
        &talk,
        &[
            "client postgresql SELECT a @5..40",
            "client postgresql SELECT b @15..50",
            "client postgresql SELECT c @25..60",
        ],
    );
}

#[test]
fn errors_in_a_pipeline() {
    let mut talk = talk();
    let one =
        |name| join(&[parse("", &format!("SELECT * FROM {name}")), bind("", ""), execute("")]);
    let done = join(&[simple(b'1'), simple(b'2'), complete("SELECT 0")]);
    // While being executed, while being prepared; the rest of the group is passed over, the next is not.
    talk.bytes(Sent, &join(&[one("a"), one("b"), one("c"), sync(), one("d"), sync()]));
    let group = join(&[done.clone(), simple(b'1'), simple(b'2'), error("22012"), ready(b'I')]);
    talk.bytes(Received, &[group, done.clone(), ready(b'I')].concat());
    talk.bytes(Sent, &join(&[one("e"), one("f"), sync()]));
    talk.bytes(Received, &join(&[error("42P01"), ready(b'I')]));
    // The error comes before the rest is sent.
    talk.bytes(Sent, &one("g"));
    talk.bytes(Received, &error("42601"));
    talk.bytes(Sent, &join(&[one("h"), sync()]));
    talk.bytes(Received, &ready(b'I'));
    talk.bytes(Sent, &join(&[one("i"), sync()]));
    talk.bytes(Received, &join(&[done, ready(b'I')]));
    check(
        &talk,
        &[
            "client postgresql SELECT a @5..20",
            "client postgresql SELECT b 22012 @5..20",
            "client postgresql SELECT c pipeline_aborted @5..20 [duration_untrusted]",
            "client postgresql SELECT d @5..20",
            "client postgresql SELECT e 42P01 @25..40",
            "client postgresql SELECT f pipeline_aborted @25..40 [duration_untrusted]",
            "client postgresql SELECT g 42601 @45..60",
            "client postgresql SELECT h pipeline_aborted @65..65 [duration_untrusted]",
            "client postgresql SELECT i @85..100",
        ],
    );
}

#[test]
fn what_fails_without_being_executed_is_a_call() {
    let mut talk = talk();
    talk.bytes(Sent, &join(&[parse("p", "SELECT * FROM missing"), describe(b'S', "p"), sync()]));
    talk.bytes(Received, &join(&[error("42P01"), ready(b'I')]));
    // The same, but flushed: what follows is passed over.
    talk.bytes(Sent, &join(&[parse("p", "SELECT * FROM missing"), simple(b'H')]));
    talk.bytes(Received, &error("42P01"));
    talk.bytes(Sent, &sync());
    talk.bytes(Received, &ready(b'I'));
    // Sent in two parts, with the error between: one call.
    talk.bytes(Sent, &parse("", "SELECT * FROM missing"));
    talk.bytes(Received, &error("42P01"));
    talk.bytes(Sent, &join(&[bind("", ""), execute(""), sync()]));
    talk.bytes(Received, &ready(b'I'));
    // A commit that fails.
    talk.bytes(
        Sent,
        &join(&[parse("", "INSERT INTO t VALUES (1)"), bind("", ""), execute(""), sync()]),
    );
    let done = join(&[simple(b'1'), simple(b'2'), complete("INSERT 0 1")]);
    talk.bytes(Received, &join(&[done, error("23503"), ready(b'I')]));
    answered(&mut talk);
    check(
        &talk,
        &[
            "client postgresql SELECT missing 42P01 @5..20",
            "client postgresql SELECT missing 42P01 @25..40",
            "client postgresql SELECT missing 42P01 @85..85 [duration_untrusted]",
            "client postgresql INSERT t @105..120",
            "client postgresql postgresql 23503 @115..115 [duration_untrusted]",
            "client postgresql SELECT t @125..140",
        ],
    );
}
