//! The rows. Options belong to the row's client; see `tests/workloads/client.py` for those of
//! [`Raw`] and `scripted_server.py` for what the first part of a path does.

use super::Client::{Ab, Curl, HttpClient, Node, Raw, Wire, Wrk};
use super::Outcome::{Cut, Unanswered, Whole};
use super::Row;
use crate::site::Name;

const NGINX: Name = Name::Nginx;
const SCRIPTED: Name = Name::Scripted;
const PYTHON10: Name = Name::PythonHttp10;
const PYTHON11: Name = Name::PythonHttp11;
const NODE: Name = Name::Node;

/// A head that is longer than what is captured of it.
const LONG_HEAD: &[&str] = &["truncated"];

/// All rows, in the order in which they are best run.
pub fn rows() -> Vec<Row> {
    [REQUESTS, RESPONSES, BROKEN, ADDRESSES, SERVERS, PROXIED]
        .concat()
        .into_iter()
        .chain(calls())
        .collect()
}

/// Ways of asking.
const REQUESTS: &[Row] = &[
    Row::new("keep-alive", SCRIPTED, Raw, "/plain", "", 20),
    Row::new("new-connections", SCRIPTED, Raw, "/plain", "--new-connections", 20),
    Row::new("query", SCRIPTED, Raw, "/plain", "--query secret=1", 3),
    Row::new("pipeline-ten", SCRIPTED, Raw, "/plain", "--pipeline 10", 20),
    Row::new("pipeline-hundred", SCRIPTED, Raw, "/plain", "--pipeline 100", 200),
    Row::new(
        "pipeline-bodies",
        SCRIPTED,
        Raw,
        "/plain",
        "--pipeline 10 --method POST --body 99",
        20,
    ),
    Row::new("byte-by-byte", SCRIPTED, Raw, "/plain", "--pieces bytes", 5),
    Row::new("byte-by-byte-new", SCRIPTED, Raw, "/plain", "--pieces bytes --new-connections", 5),
    Row::new("three-first", SCRIPTED, Raw, "/plain", "--pieces three-first", 5),
    Row::new(
        "three-first-new",
        SCRIPTED,
        Raw,
        "/plain",
        "--pieces three-first --new-connections",
        5,
    ),
    Row::new(
        "many-writes",
        SCRIPTED,
        Raw,
        "/plain",
        "--pieces delayed --method POST --body 500",
        4,
    ),
    Row::new(
        "head-then-body",
        SCRIPTED,
        Raw,
        "/plain",
        "--pieces head-then-body --method PUT --body 500",
        5,
    ),
    Row::new("chunked-upload", SCRIPTED, Raw, "/plain", "--chunked --method POST --body 1000", 10),
    Row::new(
        "chunked-bytes",
        SCRIPTED,
        Raw,
        "/plain",
        "--chunked --method POST --body 30 --pieces bytes",
        3,
    ),
    Row::new("expect", SCRIPTED, Raw, "/plain", "--expect --method POST --body 1000", 10),
    Row::new("absolute-form", SCRIPTED, Raw, "/plain", "--form absolute", 5),
    Row::new("asterisk-form", SCRIPTED, Raw, "/plain", "--form asterisk --method OPTIONS", 5),
    Row::new("head", SCRIPTED, Raw, "/plain", "--method HEAD", 10),
    Row::new("delete", SCRIPTED, Raw, "/plain", "--method DELETE", 3),
    Row::new("unknown-method", SCRIPTED, Raw, "/plain", "--method BREW", 3),
    Row::new("old-version", SCRIPTED, Raw, "/plain", "--version 1.0", 5),
    Row::new("half-closing", SCRIPTED, Raw, "/plain", "--half-close", 5),
    Row::new("upload", SCRIPTED, Raw, "/plain", "--method POST --body 10000000", 3),
    Row::new("long-header", SCRIPTED, Raw, "/plain", "--header-bytes 16384", 5)
        .tolerating(LONG_HEAD),
    Row::new("huge-header", SCRIPTED, Raw, "/plain", "--header-bytes 1048576", 2)
        .tolerating(LONG_HEAD),
    Row::new("idle-between", SCRIPTED, Raw, "/plain", "--pause 1000", 3),
    Row::new("threads", SCRIPTED, Raw, "/plain", "--threads 4 --count 25", 100),
];

/// Ways of answering.
const RESPONSES: &[Row] = &[
    Row::new("many-chunks", SCRIPTED, Raw, "/chunked", "--query n=50", 5),
    Row::new("small-reads", SCRIPTED, Raw, "/chunked", "--read-size 3", 3),
    Row::new("single-reads", SCRIPTED, Raw, "/plain", "--read-size 1", 3),
    Row::new("with-trailers", SCRIPTED, Raw, "/trailers", "", 5),
    Row::new(
        "trailers-both-ways",
        SCRIPTED,
        Raw,
        "/trailers",
        "--chunked --method POST --body 100",
        5,
    ),
    Row::new("hints", SCRIPTED, Raw, "/early-hints", "", 5),
    Row::new("no-content", SCRIPTED, Raw, "/status", "--query code=204", 5).gives(Whole(204)),
    Row::new("not-modified", SCRIPTED, Raw, "/status", "--query code=304", 5).gives(Whole(304)),
    Row::new("not-found", SCRIPTED, Raw, "/status", "--query code=404", 5).gives(Whole(404)),
    Row::new("server-error", SCRIPTED, Raw, "/status", "--query code=503", 5).gives(Whole(503)),
    Row::new("until-close-row", SCRIPTED, Raw, "/until-close", "", 5),
    Row::new("half-closed", SCRIPTED, Raw, "/half-close", "", 5),
    Row::new(
        "early-answer",
        SCRIPTED,
        Raw,
        "/early",
        "--method POST --body 5000 --body-after-response",
        5,
    )
    .gives(Whole(413)),
    Row::new("large-body", SCRIPTED, Raw, "/large", "", 3),
    Row::new("dripping-head", SCRIPTED, Raw, "/drip", "", 3),
    Row::new("split-head", SCRIPTED, Raw, "/split", "", 5),
    Row::new("slow-answer", SCRIPTED, Raw, "/slow", "--query ms=100", 5).takes(100),
    Row::new("slow-threads", SCRIPTED, Raw, "/slow", "--query ms=100 --threads 4 --count 3", 12)
        .takes(100),
    Row::new(
        "websocket",
        SCRIPTED,
        Raw,
        "/upgrade",
        "--tunnel --header Connection:Upgrade --header Upgrade:websocket",
        3,
    )
    .gives(Whole(101)),
    Row::new("tunnel", SCRIPTED, Raw, "/plain", "--tunnel --form authority --method CONNECT", 3),
];

/// Connections that end before their time.
const BROKEN: &[Row] = &[
    Row::new("reset-after-connect", SCRIPTED, Raw, "/plain", "--reset connect --count 5", 0),
    Row::new("reset-in-head", SCRIPTED, Raw, "/plain", "--reset head --count 5", 0),
    Row::new(
        "reset-in-body",
        SCRIPTED,
        Raw,
        "/plain",
        "--reset body --expect --method POST --body 1000",
        5,
    )
    .gives(Unanswered),
    Row::new("reset-while-waiting", SCRIPTED, Raw, "/hold", "--reset wait", 5).gives(Unanswered),
    Row::new("reset-in-response", SCRIPTED, Raw, "/large", "--reset response", 3).gives(Cut(200)),
    Row::new("given-up", SCRIPTED, Raw, "/silent", "--give-up 200", 3).gives(Unanswered).takes(150),
    Row::new("reset-by-server", SCRIPTED, Raw, "/reset-before", "", 5).gives(Unanswered),
    Row::new("reset-in-answer", SCRIPTED, Raw, "/reset-middle", "", 5).gives(Cut(200)),
    Row::new("closed-in-answer", SCRIPTED, Raw, "/cut", "", 5).gives(Cut(200)),
];

/// Kinds of sockets.
const ADDRESSES: &[Row] = &[
    Row::new("unix", Name::ScriptedUnix, Raw, "/plain", "", 10),
    Row::new("unix-new", Name::ScriptedUnix, Raw, "/chunked", "--new-connections", 10),
    Row::new("unix-pipeline", Name::ScriptedUnix, Raw, "/plain", "--pipeline 10", 20),
    Row::new("six", Name::ScriptedV6, Raw, "/plain", "", 10),
    Row::new("six-new", Name::ScriptedV6, Raw, "/plain", "--new-connections", 10),
    Row::new("mapped", Name::ScriptedMapped, Raw, "/plain", "", 10),
    Row::new("nginx-unix", Name::NginxUnix, Raw, "/static", "", 10),
];

/// Servers and clients that others wrote.
const SERVERS: &[Row] = &[
    Row::new("nginx-curl", NGINX, Curl, "/static", "", 20),
    Row::new("nginx-curl-new", NGINX, Curl, "/static", "-H Connection:close", 20),
    Row::new("nginx-curl-head", NGINX, Curl, "/static", "-I", 5),
    Row::new("nginx-large", NGINX, Curl, "/large", "", 3),
    Row::new("nginx-upload", NGINX, Raw, "/proxy/plain", "--method POST --body 10000000", 2),
    Row::new("nginx-pipeline", NGINX, Raw, "/static", "--pipeline 10", 50),
    Row::new("nginx-bytes", NGINX, Raw, "/static", "--pieces bytes", 3),
    Row::new(
        "nginx-first-three",
        NGINX,
        Raw,
        "/static",
        "--pieces three-first --new-connections",
        5,
    ),
    Row::new("nginx-ok", NGINX, Raw, "/ok", "", 5),
    Row::new("nginx-empty", NGINX, Curl, "/empty", "", 5).gives(Whole(204)),
    Row::new("nginx-moved", NGINX, Curl, "/moved", "", 5).gives(Whole(301)),
    Row::new("nginx-unmodified", NGINX, Curl, "/unmodified", "", 5).gives(Whole(304)),
    Row::new("nginx-missing", NGINX, Curl, "/missing", "", 5).gives(Whole(404)),
    Row::new("nginx-broken", NGINX, Curl, "/broken", "", 5).gives(Whole(500)),
    Row::new("nginx-dead", NGINX, Curl, "/dead", "", 5).gives(Whole(502)),
    Row::new("nginx-ab", NGINX, Ab, "/static", "-k -c 4", 500),
    Row::new("nginx-ab-new", NGINX, Ab, "/static", "-c 4", 200),
    Row::new("nginx-wrk", NGINX, Wrk, "/static", "", 2000),
    Row::new("nginx-http-client", NGINX, HttpClient, "/static", "", 20),
    Row::new("ten-curl", PYTHON10, Curl, "/plain", "", 10),
    Row::new("ten-raw", PYTHON10, Raw, "/plain", "", 10),
    Row::new("ten-post", PYTHON10, HttpClient, "/plain", "--method POST --body 3000", 10),
    Row::new("ten-slow", PYTHON10, Raw, "/plain", "--query ms=100", 3).takes(100),
    Row::new("eleven-curl", PYTHON11, Curl, "/plain", "", 10),
    Row::new("eleven-http-client", PYTHON11, HttpClient, "/plain", "", 20),
    Row::new("eleven-new", PYTHON11, HttpClient, "/plain", "--new-connections", 20),
    Row::new("eleven-post", PYTHON11, HttpClient, "/plain", "--method POST --body 100000", 5),
    Row::new("eleven-pipeline", PYTHON11, Raw, "/plain", "--pipeline 10", 20),
    Row::new("eleven-bytes", PYTHON11, Raw, "/plain", "--pieces bytes", 3),
    Row::new("eleven-threads", PYTHON11, Raw, "/plain", "--threads 4 --count 10", 40),
    Row::new("eleven-missing", PYTHON11, HttpClient, "/plain", "--query code=404", 5)
        .gives(Whole(404)),
    Row::new("node-curl", NODE, Curl, "/plain", "", 20),
    Row::new("node-curl-new", NODE, Curl, "/plain", "-H Connection:close", 10),
    Row::new("node-stream", NODE, Curl, "/chunked", "", 5),
    Row::new("node-agent", NODE, Node, "/plain", "1", 20),
    Row::new("node-agent-parallel", NODE, Node, "/chunked", "8", 40),
    Row::new("node-post", NODE, Node, "/plain", "2 POST 20000", 10),
    Row::new("node-pipeline", NODE, Raw, "/plain", "--pipeline 10", 20),
    Row::new("node-slow", NODE, Raw, "/plain", "--query ms=100", 3).takes(99),
    Row::new("node-error", NODE, HttpClient, "/plain", "--query code=500", 5).gives(Whole(500)),
];

/// nginx in between: four spans for each request.
const PROXIED: &[Row] = &[
    Row::new("proxy-kept", NGINX, Curl, "/proxy/plain", "", 20),
    Row::new("proxy-chunked", NGINX, Curl, "/proxy/chunked", "", 10),
    Row::new("proxy-old", NGINX, Curl, "/proxy10/plain", "", 10),
    Row::new("proxy-old-until-close", NGINX, Curl, "/proxy10/until-close", "", 5),
    Row::new("proxy-local", NGINX, Curl, "/proxy-unix/plain", "", 20),
    Row::new("proxy-post", NGINX, HttpClient, "/proxy/plain", "--method POST --body 50000", 5),
    Row::new("proxy-slow", NGINX, Raw, "/proxy/slow", "--query ms=100", 3).takes(100),
    Row::new("proxy-error", NGINX, HttpClient, "/proxy/status", "--query code=404", 5)
        .gives(Whole(404)),
    Row::new("proxy-pipeline", NGINX, Raw, "/proxy/plain", "--pipeline 10", 20),
];

/// Every system call that moves bytes, in both programs of a row.
fn calls() -> impl Iterator<Item = Row> {
    const CALLS: [(&str, &str, &str); 13] = [
        ("calls-write-read", "write", "read"),
        ("calls-bytes", "bytes", "bytes"),
        ("calls-vectors", "writev", "readv"),
        ("calls-many-vectors", "writev-many", "readv"),
        ("calls-vectors-at", "pwritev2", "preadv2"),
        ("calls-to-from", "sendto", "recvfrom"),
        ("calls-messages", "sendmsg", "recvmsg"),
        ("calls-many-messages", "sendmmsg", "recvmmsg"),
        ("calls-sendfile", "sendfile", "peek"),
        ("calls-splice", "splice", "splice"),
        ("calls-dup", "dup", "nonblocking"),
        ("calls-discard", "sendto", "discard"),
        ("calls-wait-all", "writev", "waitall"),
    ];
    CALLS.into_iter().map(|(name, send, receive)| {
        Row::new(name, Name::Wire { send, receive }, Wire, "/wire", "", 10)
    })
}
