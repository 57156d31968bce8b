//! Conversations of which a part was skipped by design or lost.

use super::*;

#[test]
fn gaps_within_counted_bodies_change_nothing() {
    check(
        "> POST /a HTTP/1.1|Content-Length: 100||{skip 96}tail
         < HTTP/1.1 200 OK|Content-Length: 1000||{skip 100}
         < {skip 836}{t*64}
         > GET /b HTTP/1.1||
         < HTTP/1.1 200 OK|Content-Length: 0||",
        "POST /a 200 1/2/3 100:1000
         GET /b 200 4/5/5 0:0",
    );
    check(
        "> POST /a HTTP/1.1|Content-Length: 100||
         ~
         > {lost 50}{x*50}
         < HTTP/1.1 200 OK|Content-Length: 100||
         < {lost 50}{x*50}",
        "POST /a 200 1/4/5 100:100 lossy",
    );
    // Whether the last byte came with this call is not known.
    check(
        "> GET /a HTTP/1.1||
         < HTTP/1.1 200 OK|Content-Length: 100||
         ~
         > GET /b HTTP/1.1||
         < {lost 100}HTTP/1.1 201 OK|Content-Length: 0||",
        "GET /a 200 1/2/5 0:100 lossy duration_untrusted
         GET /b 201 4/5/5 0:0",
    );
}

#[test]
fn chunked_bodies_beyond_the_budget() {
    check(
        "> GET /a HTTP/1.1||
         < HTTP/1.1 200 OK|Transfer-Encoding: chunked||1000|{x*100}
         < {skip 5000}{x*64}
         < {skip 5000}{x*57}|0||
         > GET /b HTTP/1.1||
         < HTTP/1.1 200 OK|Transfer-Encoding: chunked||ffff|x
         < {skip 70000}{x*64}
         < 0||
         > GET /c HTTP/1.1||
         < HTTP/1.1 200 OK|Content-Length: 0||",
        "GET /a 200 1/2/4 0:?
         GET /b 200 5/6/8 0:?
         GET /c 200 9/10/10 0:0",
    );
    // What looked like the end was not: the body went on, and ended with the connection.
    check(
        "> GET /a HTTP/1.1||
         < HTTP/1.1 200 OK|Transfer-Encoding: chunked||1000|{x*100}
         < {skip 5000}{x*57}|0||
         < {skip 5000}{x*57}|0||
         ! close",
        "GET /a 200 1/2/4 0:?",
    );
    // Given out after a time of quiet.
    check(
        "> GET /a HTTP/1.1||
         < HTTP/1.1 200 OK|Transfer-Encoding: chunked||1000|{x*100}
         < {skip 5000}{x*57}|0||
         ! settle
         ! reset",
        "GET /a 200 1/2/3 0:?",
    );
    // Pipelined: confirmed by the next head.
    check(
        "> GET /a HTTP/1.1||GET /b HTTP/1.1||
         < HTTP/1.1 200 OK|Transfer-Encoding: chunked||1000|{x*100}
         < {skip 5000}{x*57}|0||
         < HTTP/1.1 201 OK|Content-Length: 0||",
        "GET /a 200 1/2/3 0:?
         GET /b 201 1/4/4 0:0",
    );
    // Skipped stretches that are chunk data for certain lose nothing.
    check(
        "> GET /a HTTP/1.1||
         < HTTP/1.1 200 OK|Transfer-Encoding: chunked||1000|{x*96}{skip 4000}|0||",
        "GET /a 200 1/2/2 0:4096",
    );
    check(
        "> POST /a HTTP/1.1|Transfer-Encoding: chunked||1000|{x*100}
         > {skip 5000}{x*57}|0||
         < HTTP/1.1 200 OK|Content-Length: 0||
         > GET /b HTTP/1.1||
         < HTTP/1.1 200 OK|Content-Length: 0||",
        "POST /a 200 1/3/3 ?:0
         GET /b 200 4/5/5 0:0",
    );
}

#[test]
fn heads_that_were_cut() {
    check(
        "> GET /a HTTP/1.1|Host: h|X: {x*100}{skip 9000}|A: b||
         < HTTP/1.1 200 OK|Content-Length: 5|X: {x*100}{skip 9000}
         < hello
         > GET /b HTTP/1.1||
         < HTTP/1.1 200 OK|Content-Length: 0||",
        "GET /a 200 1/2/3 ?:? truncated
         GET /b 200 4/5/5 0:0",
    );
    check(
        "> GET /{a*3000}{skip 9000}
         < HTTP/1.1 414 Too Long|Content-Length: 0||",
        &format!("GET /{} 414 1/2/2 ?:0 truncated", "a".repeat(1023)),
    );
}

#[test]
fn responses_that_went_by_unseen() {
    // The loss is noticed with the next request: only the request before it is touched.
    check(
        "> GET /a HTTP/1.1||
         ~
         < {lost 100}
         > GET /b HTTP/1.1||
         < HTTP/1.1 201 OK|Content-Length: 0||",
        "GET /a - 1/0/4 0:? lossy duration_untrusted
         GET /b 201 4/5/5 0:0
         ? resynchronised",
    );
    // Response and next request were lost: the response that is seen answers neither for certain.
    check(
        "> GET /a HTTP/1.1||
         ~
         < {lost 100}HTTP/1.1 201 OK|Content-Length: 0||
         > {lost 50}GET /c HTTP/1.1||
         < HTTP/1.1 200 OK|Content-Length: 0||",
        "GET /a - 1/0/3 0:? lossy duration_untrusted
         GET /c 200 4/5/5 0:0
         ? resynchronised
         ? resynchronised
         ? response_without_request",
    );
    // Beyond the budget of a turn, by design.
    check(
        "> GET /1 HTTP/1.1||GET /2 HTTP/1.1||GET /3 HTTP/1.1||
         < HTTP/1.1 200 OK|Content-Length: 1||1
         < {skip 9000}{x*64}
         > GET /4 HTTP/1.1||
         < HTTP/1.1 200 OK|Content-Length: 0||",
        "GET /1 200 1/2/2 0:1
         GET /2 - 1/0/4 0:? truncated duration_untrusted
         GET /3 - 1/0/4 0:? truncated duration_untrusted
         GET /4 200 4/5/5 0:0",
    );
    check(
        "> GET /a HTTP/1.1||
         ~
         ! close",
        "GET /a - 1/0/3 0:? lossy duration_untrusted",
    );
}

#[test]
fn requests_that_went_by_unseen() {
    check(
        "> GET /a HTTP/1.1||
         < HTTP/1.1 200 OK|Content-Length: 0||
         ~
         < HTTP/1.1 201 OK|Content-Length: 0||
         > {lost 50}GET /c HTTP/1.1||
         < HTTP/1.1 202 OK|Content-Length: 0||",
        "GET /a 200 1/2/2 0:0
         GET /c 202 5/6/6 0:0
         ? resynchronised
         ? response_without_request",
    );
    // One of a burst was lost: which response is whose cannot be said.
    check(
        "> GET /1 HTTP/1.1||
         < HTTP/1.1 200 OK|Content-Length: 0||
         > GET /2 HTTP/1.1||
         > {lost 50}GET /4 HTTP/1.1||
         < HTTP/1.1 200 OK|Content-Length: 0||HTTP/1.1 201 OK|Content-Length: 0||HTTP/1.1 202 OK|Content-Length: 0||
         > GET /5 HTTP/1.1||
         < HTTP/1.1 205 OK|Content-Length: 0||",
        "GET /1 200 1/2/2 0:0
         GET /4 - 4/0/4 0:? truncated duration_untrusted
         GET /2 200 3/5/5 0:0
         GET /5 205 6/7/7 0:0
         ? resynchronised
         ? response_without_request
         ? response_without_request",
    );
}

#[test]
fn abandoned_connections() {
    check(
        "> GET /a HTTP/1.1||GET /b HTTP/1.1||
         < HTTP/1.1 200 OK|Content-Length: 5||
         ! abandon
         > GET /c HTTP/1.1||
         < HTTP/1.1 200 OK|Content-Length: 0||",
        "GET /a 200 1/2/3 0:? truncated duration_untrusted
         GET /b - 1/0/3 0:? truncated duration_untrusted
         GET /c 200 4/5/5 0:0
         ? resynchronised
         ? resynchronised",
    );
}
