//! memcached: what the client says of its requests is what vigie says of both ends.

use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use vigie_tests::agent::{Agent, Options};
use vigie_tests::http;
use vigie_tests::needs::{self, Need, missing};
use vigie_tests::process::{LIMIT, Process, service, until};
use vigie_tests::span::{Kind, Span};
use vigie_tests::tally::Tally;
use vigie_tests::workload::grpc as python;

const NEEDS: [Need; 4] =
    [Need::Root, Need::Agent, Need::Program("memcached"), Need::Wheel("pymemcache")];

/// A server and where it listens.
struct Server {
    process: Process,
    address: SocketAddr,
}

impl Server {
    fn start() -> Result<Self> {
        let address = http::free_address()?;
        let mut command = Command::new(needs::find("memcached").context("no memcached")?);
        command
            .args(["-u", "root", "-l", "127.0.0.1", "-U", "0", "-m", "64"])
            .args(["-p", &address.port().to_string()])
            .env("OTEL_SERVICE_NAME", service("cache"));
        let mut process = Process::start(&mut command)?;
        until("memcached accepts", LIMIT, || {
            ensure!(process.is_running()?, "memcached ended{}", process.said());
            Ok(http::accepts(address))
        })?;
        Ok(Self { process, address })
    }

    fn client(&self, options: &[&str]) -> Result<Process> {
        let mut command = python("memcached_client.py")?;
        Process::start(command.arg(self.address.port().to_string()).args(options))
    }
}

fn is_memcached(span: &Span) -> bool {
    span.protocol == "memcached"
}

fn tally(spans: &[Span], kind: Kind, pid: u32) -> Tally {
    let ours: Vec<Span> = spans.iter().filter(|span| is_memcached(span)).cloned().collect();
    Tally::of(&ours, kind, &[pid], |span| {
        format!("{} {}", span.name, span.text("error.type").unwrap_or("-"))
    })
}

fn finish(client: Process) -> Result<Tally> {
    let ended = client.wait(2 * LIMIT)?;
    ensure!(ended.status.success(), "pymemcache: {:?}", ended.errors);
    let last = ended.output.last().context("the client said nothing")?;
    let said: BTreeMap<String, usize> = serde_json::from_str(last)?;
    Ok(said.into_iter().collect())
}

#[test]
fn pymemcache_on_both_ends() -> Result<()> {
    if missing("memcached", &NEEDS)? {
        return Ok(());
    }
    let server = Server::start()?;
    let agent = Agent::start(&Options::ours(""))?;
    let client = server.client(&["--large"])?;
    let pid = client.pid();
    let expected = finish(client)?;
    agent.settle(2 * expected.total(), is_memcached);
    let spans = agent.finish()?.spans;
    for (who, kind, pid) in
        [("the client", Kind::Client, pid), ("the server", Kind::Server, server.process.pid())]
    {
        expected.compare(who, &tally(&spans, kind, pid))?;
        let of = spans.iter().filter(|span| is_memcached(span) && span.kind == kind);
        // Two in each round, and the last one, are not answered.
        let untrusted = of.filter(|span| !span.flags.is_empty());
        let flags: Tally = untrusted.map(|span| (span.flags.join(" "), 1)).collect();
        [("duration_untrusted", 201)].into_iter().collect::<Tally>().compare(who, &flags)?;
    }
    let values: u64 = spans
        .iter()
        .filter(|span| span.pid == pid && span.name == "get")
        .filter_map(|span| span.attributes.get("db.response.returned_rows")?.as_u64())
        .sum();
    // In each round its own, and those of the rounds before that were not deleted.
    let of_rounds: u64 = (0..100_u64).map(|number| 1 + number - number.div_ceil(10)).sum();
    ensure!(values == of_rounds + 1, "{values} values, not {}", of_rounds + 1);
    let told = spans.iter().find(|span| format!("{span:?}").contains("hush"));
    ensure!(told.is_none(), "{told:?}");
    Ok(())
}

#[test]
fn connections_older_than_vigie() -> Result<()> {
    if missing("memcached: older", &NEEDS)? {
        return Ok(());
    }
    let server = Server::start()?;
    let mut client = server.client(&["--wait", "--rounds", "20"])?;
    let pid = client.pid();
    client.wait_output("word that it waits", |lines| {
        lines.iter().any(|line| line.contains("\"waiting\"")).then_some(())
    })?;
    let agent = Agent::start(&Options::ours(""))?;
    client.tell("go")?;
    let expected = finish(client)?;
    agent.settle(2 * expected.total(), is_memcached);
    let spans = agent.finish()?.spans;
    expected.compare("the client", &tally(&spans, Kind::Client, pid))?;
    expected.compare("the server", &tally(&spans, Kind::Server, server.process.pid()))
}

/// Commands of the meta protocol, a thousand at a time, quiet ones among them.
#[test]
fn the_meta_protocol() -> Result<()> {
    if missing("memcached: meta", &NEEDS)? {
        return Ok(());
    }
    let server = Server::start()?;
    let agent = Agent::start(&Options::ours(""))?;
    let mut stream = TcpStream::connect(server.address)?;
    stream.set_read_timeout(Some(LIMIT))?;
    let mut talk = |ask: &str, last: &str| -> Result<()> {
        stream.write_all(ask.as_bytes())?;
        let mut seen = Vec::new();
        let mut buffer = [0; 4096];
        while !seen.ends_with(last.as_bytes()) {
            let length = stream.read(&mut buffer)?;
            ensure!(length > 0, "the server ended");
            seen.extend_from_slice(buffer.get(..length).unwrap_or_default());
        }
        Ok(())
    };
    let many = |count: usize, of: &dyn Fn(usize) -> String| -> String {
        (0..count).map(of).chain(["mn\r\n".to_owned()]).collect()
    };
    talk(&many(1000, &|number| format!("ms hush{number} 4\r\nhush\r\n")), "MN\r\n")?;
    talk(&many(1000, &|number| format!("mg hush{number} v k O{number}\r\n")), "MN\r\n")?;
    // Every second one has no value, and is not answered.
    let quiet = many(500, &|number| format!("mg hush{number} v q\r\nmg none{number} v q\r\n"));
    talk(&quiet, "MN\r\n")?;
    talk("ma none\r\nma number N0 J5\r\nma number v\r\nmd number\r\nme hush1\r\nmn\r\n", "MN\r\n")?;
    talk("mg hush1 v\r\nma hush1\r\nmg\r\nversion\r\nmn\r\n", "MN\r\n")?;
    drop(stream);
    let expected: Tally = [
        ("ms -", 1000),
        ("mg -", 2001),
        ("mn -", 5),
        ("ma -", 3),
        ("ma CLIENT_ERROR", 1),
        ("md -", 1),
        ("me -", 1),
        ("memcached ERROR", 1),
        ("version -", 1),
    ]
    .into_iter()
    .collect();
    agent.settle(2 * expected.total(), is_memcached);
    let spans = agent.finish()?.spans;
    expected.compare("the client", &tally(&spans, Kind::Client, std::process::id()))?;
    expected.compare("the server", &tally(&spans, Kind::Server, server.process.pid()))?;
    let told = spans.iter().find(|span| format!("{span:?}").contains("hush"));
    ensure!(told.is_none(), "{told:?}");
    Ok(())
}
