//! Redis: what the server counted of its commands is what vigie says of both ends.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use vigie_tests::agent::Agent;
use vigie_tests::needs::{self, Need, missing};
use vigie_tests::process::{LIMIT, Process, service};
use vigie_tests::redis::Redis;
use vigie_tests::span::{Kind, Span};
use vigie_tests::tally::Tally;
use vigie_tests::workload::{grpc as python, script};

const NEEDS: [Need; 5] = [
    Need::Root,
    Need::Agent,
    Need::Program("redis-server"),
    Need::Program("redis-cli"),
    Need::Program("redis-benchmark"),
];

fn is_redis(span: &Span) -> bool {
    span.protocol == "redis"
}

/// Of redis-cli, which asks the server for what it counted.
fn is_asked_by_the_test(span: &Span) -> bool {
    matches!(span.name.as_str(), "INFO" | "CONFIG RESETSTAT")
}

fn tally(spans: &[Span], kind: Kind, pid: u32) -> Tally {
    let ours: Vec<Span> = spans
        .iter()
        .filter(|span| is_redis(span) && !is_asked_by_the_test(span))
        .cloned()
        .collect();
    Tally::of(&ours, kind, &[pid], |span| span.name.clone())
}

/// The commands that failed: `GET WRONGTYPE`.
fn errors(spans: &[Span], kind: Kind, pid: u32) -> Tally {
    let failed: Vec<Span> = spans
        .iter()
        .filter(|span| is_redis(span) && span.text("error.type").is_some())
        .cloned()
        .collect();
    Tally::of(&failed, kind, &[pid], |span| {
        format!("{} {}", span.name, span.text("error.type").unwrap_or_default())
    })
}

/// Nothing that the workloads use as a value is in a span.
fn check_secrets(spans: &[Span]) -> Result<()> {
    let told = spans.iter().map(|span| format!("{span:?}")).find(|span| {
        let span = span.to_lowercase();
        span.contains("hush") || span.contains("counter")
    });
    ensure!(told.is_none(), "{told:?}");
    Ok(())
}

/// The median time of each test in nanoseconds, as redis-benchmark says:
/// `SET: 90909.09 requests per second, p50=0.327 msec`.
fn medians(output: &[String]) -> Vec<(String, f64)> {
    let median = |line: &String| {
        // What it said before on the same line is overwritten.
        let (name, rest) = line.rsplit('\r').next()?.split_once(": ")?;
        let (_, rest) = rest.split_once("p50=")?;
        let milliseconds: f64 = rest.split(' ').next()?.parse().ok()?;
        Some((name.trim_end_matches("_INLINE").to_owned(), milliseconds * 1e6))
    };
    output.iter().filter_map(median).collect()
}

/// The median duration in nanoseconds.
fn median<'a>(spans: impl Iterator<Item = &'a Span>) -> f64 {
    let mut durations: Vec<u64> = spans.map(|span| span.duration_ns).collect();
    durations.sort_unstable();
    durations.get(durations.len() / 2).map_or(0.0, |duration| *duration as f64)
}

#[test]
fn redis_benchmark_one_by_one_and_sixteen_at_a_time() -> Result<()> {
    if missing("redis: benchmark", &NEEDS)? {
        return Ok(());
    }
    let server = Redis::start()?;
    for in_flight in ["1", "16"] {
        let agent = Agent::start(&server.options())?;
        let mut command = Command::new(needs::find("redis-benchmark").context("none")?);
        command
            .args(["-p", &server.port(), "-n", "10000", "-c", "10", "-P", in_flight])
            .args(["-t", "ping_inline,set,get", "-q"])
            .env("OTEL_SERVICE_NAME", service("client"));
        let client = Process::start(&mut command)?;
        let pid = client.pid();
        let ended = client.wait(2 * LIMIT)?;
        ensure!(ended.status.success(), "redis-benchmark: {:?}", ended.errors);
        let expected: Tally =
            [("PING", 10_000), ("SET", 10_000), ("GET", 10_000), ("CONFIG GET", 2)]
                .into_iter()
                .collect();
        agent.settle(2 * expected.total(), is_redis);
        let spans = agent.finish()?.spans;
        for (who, kind, pid) in
            [("client", Kind::Client, pid), ("server", Kind::Server, server.pid())]
        {
            let who = format!("the {who}, {in_flight} at a time");
            expected.compare(&who, &tally(&spans, kind, pid))?;
            let of = spans.iter().filter(|span| is_redis(span) && span.kind == kind);
            for span in of {
                ensure!(span.flags.is_empty(), "{who}: {} has {:?}", span.name, span.flags);
                ensure!(span.status == "ok", "{who}: {span:?}");
                ensure!(span.duration_ns < 10_000_000_000, "{who}: {span:?}");
            }
        }
        // It measures from before it writes to before it reads.
        let medians = medians(&ended.output);
        ensure!(medians.len() == 3, "redis-benchmark says {:?}", ended.output);
        for (name, by_itself) in medians {
            let of = |kind| spans.iter().filter(move |span| span.kind == kind && is_redis(span));
            let client = median(of(Kind::Client).filter(|span| span.name == name));
            let server = median(of(Kind::Server).filter(|span| span.name == name));
            let told = format!("{name}, {in_flight} at a time: {by_itself}, {client}, {server}");
            ensure!((client - by_itself).abs() < 200_000.0 + by_itself / 4.0, "{told} ns");
            ensure!(server <= client, "{told} ns");
        }
    }
    Ok(())
}

#[test]
fn redis_py_over_both_versions_of_the_protocol() -> Result<()> {
    if missing("redis: redis-py", &[&NEEDS[..], &[Need::Wheel("redis")]].concat())? {
        return Ok(());
    }
    let server = Redis::start()?;
    for protocol in ["2", "3"] {
        let agent = Agent::start(&server.options())?;
        server.reset()?;
        let mut command = python("redis_client.py")?;
        command.args([&server.port(), "--protocol", protocol, "--large"]);
        let client = Process::start(&mut command)?;
        let pid = client.pid();
        let ended = client.wait(2 * LIMIT)?;
        ensure!(ended.status.success(), "redis-py: {:?}", ended.errors);
        let mut expected = server.counted()?;
        let failed: std::collections::BTreeMap<String, usize> =
            serde_json::from_str(ended.output.last().context("no output")?)?;
        let mut failed: Tally = failed.into_iter().collect();
        // A command that it does not have the server does not count.
        expected.add("redis", 20);
        agent.settle(2 * expected.total() + 2, is_redis);
        let spans = agent.finish()?.spans;
        check_secrets(&spans)?;
        failed.add("", 0);
        for (kind, pid) in [(Kind::Client, pid), (Kind::Server, server.pid())] {
            let who = format!("{kind:?}, RESP{protocol}");
            expected.compare(&who, &tally(&spans, kind, pid))?;
            let mut seen = errors(&spans, kind, pid);
            seen.add("", 0);
            failed.compare(&who, &seen)?;
        }
        let of = |name: &str| {
            let of = spans.iter().filter(|span| is_redis(span) && span.name == name);
            of.filter(|span| span.pid == pid).cloned().collect::<Vec<_>>()
        };
        let numbers: Vec<_> = of("EXEC")
            .iter()
            .filter_map(|span| span.attributes.get("db.operation.batch.size")?.as_u64())
            .collect();
        ensure!(numbers.iter().filter(|number| **number == 5).count() == 10, "{numbers:?}");
        ensure!(numbers.iter().filter(|number| **number == 2).count() == 10, "{numbers:?}");
        let databases: Tally = of("HGETALL")
            .iter()
            .map(|span| (span.text("db.namespace").unwrap_or("-").to_owned(), 1))
            .collect();
        [("0", 10), ("3", 10)].into_iter().collect::<Tally>().compare(&who_of(pid), &databases)?;
        // It waited for a tenth of a second, and says so.
        let longest = of("BLPOP").iter().map(|span| span.duration_ns).max();
        ensure!(longest > Some(90_000_000), "{longest:?}");
    }
    Ok(())
}

fn who_of(pid: u32) -> String {
    format!("process {pid}")
}

#[test]
fn ioredis_over_tcp_and_a_unix_socket() -> Result<()> {
    let more = [Need::Program("node"), Need::NodePackage("ioredis")];
    if missing("redis: ioredis", &[&NEEDS[..], &more].concat())? {
        return Ok(());
    }
    let server = Redis::start()?;
    let path = server.path().display().to_string();
    // Over a unix socket Node writes all that waits in one call, of which 48 pieces are followed.
    for (target, at_a_time) in [(server.port(), "500"), (path.clone(), "20")] {
        let agent = Agent::start(&server.options())?;
        server.reset()?;
        let mut command = Command::new(needs::find("node").context("no node")?);
        command
            .arg(script("redis_client.js"))
            .args([&target, at_a_time])
            .env("OTEL_SERVICE_NAME", service("client"))
            .env("NODE_PATH", needs::node_packages());
        let client = Process::start(&mut command)?;
        let pid = client.pid();
        let ended = client.wait(2 * LIMIT)?;
        ensure!(ended.status.success(), "ioredis: {:?}", ended.errors);
        let expected = server.counted()?;
        agent.settle(2 * expected.total() + 2, is_redis);
        let spans = agent.finish()?.spans;
        check_secrets(&spans)?;
        for (kind, pid) in [(Kind::Client, pid), (Kind::Server, server.pid())] {
            let who = format!("{kind:?} at {target}");
            expected.compare(&who, &tally(&spans, kind, pid))?;
        }
    }
    Ok(())
}

/// Every command from the first one on is counted, on connections that have carried others before.
#[test]
fn connections_older_than_vigie() -> Result<()> {
    if missing("redis: older", &[&NEEDS[..], &[Need::Wheel("redis")]].concat())? {
        return Ok(());
    }
    let server = Redis::start()?;
    for protocol in ["2", "3"] {
        let mut command = python("redis_client.py")?;
        command.args([&server.port(), "--protocol", protocol, "--wait"]);
        let mut client = Process::start(&mut command)?;
        let pid = client.pid();
        client.wait_output("word that it waits", |lines| {
            lines.iter().any(|line| line.contains("\"waiting\"")).then_some(())
        })?;
        let agent = Agent::start(&server.options())?;
        server.reset()?;
        client.tell("go")?;
        let ended = client.wait(2 * LIMIT)?;
        ensure!(ended.status.success(), "redis-py: {:?}", ended.errors);
        let mut expected = server.counted()?;
        expected.add("redis", 20);
        agent.settle(2 * expected.total() + 2, is_redis);
        let spans = agent.finish()?.spans;
        for (kind, pid) in [(Kind::Client, pid), (Kind::Server, server.pid())] {
            let who = format!("{kind:?}, RESP{protocol}");
            expected.compare(&who, &tally(&spans, kind, pid))?;
        }
    }
    Ok(())
}

/// What people type, commands that are not answered, and a password.
#[test]
fn inline_commands_and_answers_that_are_switched_off() -> Result<()> {
    if missing("redis: inline", &NEEDS)? {
        return Ok(());
    }
    let server = Redis::start()?;
    let agent = Agent::start(&server.options())?;
    let mut stream = TcpStream::connect(server.address())?;
    stream.set_read_timeout(Some(LIMIT))?;
    let mut talk = |ask: &str, answers: usize| -> Result<()> {
        stream.write_all(ask.as_bytes())?;
        let mut seen = String::new();
        let mut buffer = [0; 4096];
        while seen.lines().count() < answers {
            let length = stream.read(&mut buffer)?;
            ensure!(length > 0, "{ask:?}: the server ended");
            seen += &String::from_utf8_lossy(buffer.get(..length).unwrap_or_default());
        }
        Ok(())
    };
    talk("PING\r\n", 1)?;
    talk("set inline hush\r\n\r\nget inline\r\n", 3)?;
    talk("AUTH user hush\r\n", 1)?;
    talk("CLIENT REPLY OFF\r\nSET a 1\r\n", 0)?;
    talk("GET a\r\nCLIENT REPLY ON\r\n", 1)?;
    talk("CLIENT REPLY SKIP\r\nSET a 1\r\nINCR a\r\n", 1)?;
    talk("MULTI\r\nINCR a\r\nMONITOR hush\r\nDISCARD\r\n", 4)?;
    talk("MONITOR\r\n", 1)?;
    server.ask(&["set", "seen", "by-monitor"])?;
    drop(stream);
    std::thread::sleep(Duration::from_millis(100));
    let expected: Tally = [
        ("PING", 1),
        ("SET", 3),
        ("GET", 2),
        ("AUTH", 1),
        ("CLIENT REPLY", 3),
        ("INCR", 2),
        ("MULTI", 1),
        ("MONITOR", 2),
        ("DISCARD", 1),
    ]
    .into_iter()
    .collect();
    agent.settle(2 * (expected.total() + 1), is_redis);
    let spans = agent.finish()?.spans;
    check_secrets(&spans)?;
    expected.compare("the client", &tally(&spans, Kind::Client, std::process::id()))?;
    let mut expected = expected;
    expected.add("SET", 1);
    expected.compare("the server", &tally(&spans, Kind::Server, server.pid()))?;
    let untrusted = spans.iter().filter(|span| span.flags == ["duration_untrusted"]);
    ensure!(untrusted.filter(|span| span.kind == Kind::Client && is_redis(span)).count() == 5);
    Ok(())
}
