//! A table of ways to ask and to answer: each request is one span on each side, with its status.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::Value;

use super::{Case, Verdict, excuse, expect_exactly, number, text};
use crate::agent::Agent;
use crate::client::{Client, To, request};
use crate::server::{self, Server};
use crate::wire::{Give, Take};

/// One way. Its requests go to a path of its own, by which its spans are known.
#[derive(Clone, Copy, Debug)]
struct Row {
    name: &'static str,
    to: To,
    give: Give,
    take: Take,
    method: &'static str,
    /// What the server does, the query of the path: see [`server`].
    answer: &'static str,
    status: u16,
    /// Body of the request, and the fields that announce it.
    body: Body,
    /// Requests sent before the first response is awaited.
    pipeline: usize,
    /// A new connection for each.
    fresh: bool,
    count: usize,
}

/// Body of a request.
#[derive(Clone, Copy, Debug)]
enum Body {
    None,
    Length(usize),
    Chunked,
}

impl Row {
    const fn new(name: &'static str) -> Self {
        Self {
            name,
            to: To::Port(server::PLAIN),
            give: Give::Write,
            take: Take::Read,
            method: "GET",
            answer: "plain",
            status: 200,
            body: Body::None,
            pipeline: 1,
            fresh: false,
            count: 10,
        }
    }

    const fn to(mut self, to: To) -> Self {
        self.to = to;
        self
    }

    const fn calls(mut self, give: Give, take: Take) -> Self {
        (self.give, self.take) = (give, take);
        self
    }

    const fn asks(mut self, method: &'static str, body: Body) -> Self {
        (self.method, self.body) = (method, body);
        self
    }

    const fn gets(mut self, answer: &'static str, status: u16) -> Self {
        (self.answer, self.status) = (answer, status);
        self
    }

    const fn pipelined(mut self, pipeline: usize) -> Self {
        self.pipeline = pipeline;
        self
    }

    const fn fresh(mut self) -> Self {
        self.fresh = true;
        self
    }

    const fn times(mut self, count: usize) -> Self {
        self.count = count;
        self
    }
}

/// Rows that a backend sees: splice out of a unix socket passes no function that is hooked.
fn table(case: &Case) -> Vec<Row> {
    let mut rows = vec![
        Row::new("kept"),
        Row::new("fresh").fresh(),
        Row::new("pipeline").pipelined(10).times(100),
        Row::new("byte-by-byte").calls(Give::Bytes, Take::Bytes).times(3),
        Row::new("byte-by-byte-fresh").calls(Give::Bytes, Take::Bytes).fresh().times(3),
        Row::new("three-first").calls(Give::ThreeFirst, Take::Read),
        Row::new("three-first-fresh").calls(Give::ThreeFirst, Take::Read).fresh(),
        Row::new("head").asks("HEAD", Body::None),
        Row::new("delete").asks("DELETE", Body::None),
        Row::new("post").asks("POST", Body::Length(5_000)),
        Row::new("post-large").asks("POST", Body::Length(2_000_000)).times(2),
        Row::new("post-chunked").asks("POST", Body::Chunked),
        Row::new("chunked").gets("chunked", 200),
        Row::new("split").gets("split", 200),
        Row::new("large").gets("large", 200).times(3),
        Row::new("file").gets("sendfile", 200),
        Row::new("splice").gets("splice", 200),
        Row::new("splice-taken").calls(Give::Write, Take::Splice).gets("large", 200).times(3),
        Row::new("splice-both").calls(Give::Write, Take::Splice).gets("splice", 200),
        Row::new("splice-body")
            .to(To::Port(server::SPLICE))
            .asks("POST", Body::Length(200_000))
            .times(3),
        Row::new("until-close").gets("until-close", 200).fresh(),
        Row::new("no-content").gets("204", 204),
        Row::new("not-modified").gets("304", 304),
        Row::new("not-found").gets("404", 404),
        Row::new("broken").gets("503", 503),
        Row::new("vectors").to(To::Port(server::VECTORS)).calls(Give::Writev, Take::Readv),
        Row::new("messages").to(To::Port(server::MESSAGES)).calls(Give::Sendmsg, Take::Recvmsg),
        Row::new("send-to").to(To::Port(server::SENDTO)).calls(Give::Sendto, Take::Recvfrom),
        Row::new("zerocopy").to(To::Port(server::ZEROCOPY)).calls(Give::Zerocopy, Take::Recvmsg),
        Row::new("zerocopy-large").to(To::Port(server::ZEROCOPY)).gets("large", 200).times(3),
        Row::new("zerocopy-post")
            .calls(Give::Zerocopy, Take::Read)
            .asks("POST", Body::Length(200_000)),
        Row::new("zerocopy-pipeline").calls(Give::Zerocopy, Take::Read).pipelined(10).times(20),
        Row::new("peeked").to(To::Port(server::PEEK)).calls(Give::Write, Take::Peek),
        Row::new("peeked-pipeline").to(To::Port(server::PEEK)).pipelined(10).times(20),
        Row::new("bytes-server").to(To::Port(server::BYTES)).times(3),
        Row::new("six").to(To::Six),
        Row::new("six-fresh").to(To::Six).fresh(),
        Row::new("unix").to(To::Unix),
        Row::new("unix-fresh").to(To::Unix).fresh(),
        Row::new("unix-vectors").to(To::Unix).calls(Give::Writev, Take::Readv),
        Row::new("unix-peeked").to(To::Unix).calls(Give::Sendmsg, Take::Peek),
        Row::new("unix-splice").to(To::Unix).gets("splice", 200).times(3),
        Row::new("unix-file").to(To::Unix).gets("sendfile", 200).times(3),
    ];
    if case.backend == "syscall" {
        let taken = Row::new("unix-splice-taken").to(To::Unix).calls(Give::Write, Take::Splice);
        rows.push(taken.gets("large", 200).times(3));
    }
    rows
}

/// All rows under one agent.
pub(super) fn rows(case: &Case) -> Result<Verdict> {
    let server = Server::start()?;
    let rows = table(case);
    let agent = Agent::profile_with_spans(&case.options())?;
    for row in &rows {
        send(row).with_context(|| format!("row {}", row.name))?;
    }
    let (report, spans) = agent.report_with_spans()?;
    drop(server);
    excuse(&report)?;
    let mut wrong = Vec::new();
    for row in &rows {
        if let Err(error) = compare(row, &report, &spans) {
            wrong.push(format!("{}: {error:#}", row.name));
        }
    }
    if wrong.is_empty() { Ok(Verdict::Passed) } else { bail!("{}", wrong.join("; ")) }
}

fn send(row: &Row) -> Result<()> {
    let target = format!("/{}?{}", row.name, row.answer);
    let rest = match row.body {
        Body::None if row.fresh => b"Connection: close\r\n\r\n".to_vec(),
        Body::None => Vec::new(),
        Body::Length(length) => {
            let mut rest = format!("Content-Length: {length}\r\n\r\n").into_bytes();
            rest.resize(rest.len() + length, b'b');
            rest
        }
        Body::Chunked => {
            b"Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\nA\r\n0123456789\r\n0\r\n\r\n".to_vec()
        }
    };
    let text = request(row.method, &target, &rest);
    let connect = || Client::connect_with(row.to, row.give, row.take);
    let mut client = connect()?;
    let mut left = row.count;
    while left > 0 {
        let together = row.pipeline.min(left);
        client.send(&text.repeat(together))?;
        for _ in 0..together {
            let status = client.receive(row.method)?;
            ensure!(status == row.status, "status {status} instead of {}", row.status);
        }
        left -= together;
        if row.fresh && left > 0 {
            client = connect()?;
        }
    }
    Ok(())
}

fn compare(row: &Row, report: &Value, spans: &[Value]) -> Result<()> {
    let path = format!("/{}", row.name);
    expect_exactly(report, &format!("{} {path}", row.method), row.count as u64)?;
    for kind in ["server", "client"] {
        let mut statuses: BTreeMap<u64, usize> = BTreeMap::new();
        for span in spans {
            let attributes = &span["attributes"];
            if text(span, "kind") != kind || text(attributes, "url.path") != path {
                continue;
            }
            *statuses.entry(number(attributes, "http.response.status_code")).or_default() += 1;
            let flags = span["flags"].as_array().map_or(0, Vec::len);
            ensure!(flags == 0, "{kind} span with flags {}", span["flags"]);
        }
        let wanted = BTreeMap::from([(u64::from(row.status), row.count)]);
        ensure!(statuses == wanted, "{kind} spans by status {statuses:?} instead of {wanted:?}");
    }
    Ok(())
}
