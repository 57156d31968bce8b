//! Look-ups of names: what resolvers and resolver libraries do is what vigie says of both ends.

use std::net::UdpSocket;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;
use vigie_tests::agent::{self, Agent, Options};
use vigie_tests::needs::{self, Need, missing};
use vigie_tests::process::{Ended, LIMIT, Process, run};
use vigie_tests::resolver::{BIG, Resolver};
use vigie_tests::span::{Kind, Span};
use vigie_tests::tally::Tally;
use vigie_tests::workload::Server;

const NEEDS: [Need; 4] =
    [Need::Root, Need::Agent, Need::Program("unbound"), Need::Program("python3")];

/// `A n1.test NOERROR`, with how it went if that is worth a word.
fn lookup(span: &Span) -> String {
    let result = span.text("vigie.dns.response.code").or(span.text("error.type")).unwrap_or("-");
    let mut text = format!("{} {result}", span.name);
    if span.text("network.transport") != Some("udp") {
        text += " tcp";
    }
    if let Some(attempts) = span.attributes.get("vigie.dns.attempts") {
        text = format!("{text} {attempts}x");
    }
    if span.attributes.contains_key("vigie.dns.truncated") {
        text += " truncated";
    }
    for flag in &span.flags {
        text = format!("{text} {flag}");
    }
    text
}

/// As [`lookup`], without the number of the name.
fn kind_of_lookup(span: &Span) -> String {
    lookup(span).chars().filter(|c| !c.is_ascii_digit()).collect()
}

fn is_lookup(span: &Span) -> bool {
    span.protocol == "dns"
}

fn workload(name: &str) -> PathBuf {
    needs::workspace().join("tests/workloads").join(name)
}

fn client(name: &str) -> Result<Command> {
    let mut command = Command::new(needs::find("python3").context("no python3")?);
    command.arg(workload("dns_client.py")).env("OTEL_SERVICE_NAME", name);
    Ok(command)
}

fn start_agent() -> Result<Agent> {
    let config = Some("capture: {ring_bytes: 16MiB}\n".to_owned());
    Agent::start(&Options { config, ..Options::default() })
}

/// Spans of one end, by its process.
fn tally(spans: &[Span], kind: Kind, pid: u32, text: fn(&Span) -> String) -> Tally {
    let lookups: Vec<Span> = spans.iter().filter(|span| is_lookup(span)).cloned().collect();
    Tally::of(&lookups, kind, &[pid], text)
}

#[test]
fn answers_codes_and_time_outs_are_exact() -> Result<()> {
    if missing("dns", &NEEDS)? {
        return Ok(());
    }
    let resolver = Resolver::start()?;
    let agent = start_agent()?;
    let address = resolver.address.to_string();
    // Somebody who never answers.
    let silent = UdpSocket::bind("127.0.0.1:0")?;
    let port = silent.local_addr()?.port().to_string();
    let mut asks = client("asks")?;
    asks.args(["--resolver", "127.0.0.1", "--port", &port, "--in-flight", "20", "--wait", "1"]);
    let asks = Process::start(asks.arg("gone%.test:A:20"))?;
    let unanswered = asks.pid();
    let mut asks = client("client")?;
    asks.args(["--resolver", &address, "--in-flight", "16", "n%.test:A:1000", "no%.test:A:50"]);
    let asks = Process::start(&mut asks)?;
    let answered = asks.pid();
    let said = asks.wait(LIMIT)?.output.join("");
    ensure!(said.contains("\"NOERROR\": 1000") && said.contains("\"NXDOMAIN\": 50"), "{said}");

    agent.settle(2 * 1050 + 20, is_lookup);
    let spans = agent.stop()?.spans;
    let wanted: Tally =
        [("A n.test NOERROR", 1000), ("A no.test NXDOMAIN", 50)].into_iter().collect();
    wanted.compare("client", &tally(&spans, Kind::Client, answered, kind_of_lookup))?;
    wanted.compare("server", &tally(&spans, Kind::Server, resolver.pid(), kind_of_lookup))?;
    let wanted: Tally = [("A gone.test timeout", 20)].into_iter().collect();
    wanted.compare("unanswered", &tally(&spans, Kind::Client, unanswered, kind_of_lookup))?;

    for span in spans.iter().filter(|span| is_lookup(span)) {
        let (pid, other) = (span.pid, span.peer.service.as_deref());
        if pid == answered {
            ensure!(other == Some("unbound"), "the resolver has no name: {span:?}");
        } else if pid == resolver.pid() {
            ensure!(other == Some("client"), "who asks has no name: {span:?}");
        } else {
            ensure!(span.duration_ns == 5_000_000_000 && span.status == "error", "{span:?}");
        }
    }
    Ok(())
}

/// A program that looks names up, and what is to be seen of it.
struct Library {
    command: Command,
    seen: &'static [(&'static str, usize)],
}

/// Everything that looks up names in this machine's way, and dig.
fn libraries(resolver: &Resolver) -> Result<Vec<Library>> {
    let program = |name| needs::find(name).with_context(|| format!("no {name}"));
    let address = resolver.address.to_string();
    let dig = |arguments: &[&str]| -> Result<Command> {
        let mut command = Command::new(program("dig")?);
        command.arg(format!("@{address}")).args(["+tries=1", "+short"]).args(arguments);
        Ok(command)
    };
    let glibc = |names: &str, options: &str| -> Result<Command> {
        let mut command = resolver.command(&program("python3")?, options)?;
        let script = "import socket,sys\nfor name in sys.argv[1].split(','):\n    \
                      socket.getaddrinfo(name, 80, type=socket.SOCK_STREAM)";
        command.args(["-c", script, names]);
        Ok(command)
    };
    let mut node = Command::new(program("node")?);
    node.arg(workload("dns_node.js")).args([&address, "n1.test", "n2.test", "no.test", "big.test"]);
    Ok(vec![
        Library { command: dig(&["n1.test", "A"])?, seen: &[("A n1.test NOERROR", 1)] },
        Library {
            command: dig(&["no.test", "AAAA", "+tcp"])?,
            seen: &[("AAAA no.test NXDOMAIN tcp", 1)],
        },
        Library {
            command: dig(&["big.test", "A", "+bufsize=512"])?,
            seen: &[("A big.test NOERROR tcp 2x truncated", 1)],
        },
        Library {
            // The trailing dot keeps the search list out.
            command: glibc("n1.test.,n2.test.", "")?,
            seen: &[
                ("A n1.test NOERROR", 1),
                ("AAAA n1.test NOERROR", 1),
                ("A n2.test NOERROR", 1),
                ("AAAA n2.test NOERROR", 1),
            ],
        },
        Library {
            command: glibc("n3", "search one.test test\noptions ndots:5")?,
            seen: &[
                ("A n3.one.test NXDOMAIN", 1),
                ("AAAA n3.one.test NXDOMAIN", 1),
                ("A n3.test NOERROR", 1),
                ("AAAA n3.test NOERROR", 1),
            ],
        },
        Library {
            command: node,
            seen: &[
                ("A n1.test NOERROR", 1),
                ("A n2.test NOERROR", 1),
                ("A no.test NXDOMAIN", 1),
                ("A big.test NOERROR tcp 2x truncated", 1),
            ],
        },
    ])
}

#[test]
fn resolver_libraries() -> Result<()> {
    let programs = ["dig", "node", "unshare"].map(Need::Program);
    if missing("dns: libraries", &NEEDS)? || missing("dns: libraries", &programs)? {
        return Ok(());
    }
    let resolver = Resolver::start()?;
    let agent = start_agent()?;
    let mut libraries = libraries(&resolver)?;
    if missing("dns: Go", &[Need::Program("go")])? {
        // The others are there.
    } else {
        let mut command = resolver.command(&go_program()?, "")?;
        command.args(["n5.test.", "no.test.", "big.test."]);
        let seen = &[
            ("A n5.test NOERROR", 1),
            ("A no.test NXDOMAIN", 1),
            ("A big.test NOERROR tcp 2x truncated", 1),
        ];
        libraries.push(Library { command, seen });
    }
    let mut wanted = Vec::new();
    for Library { mut command, seen } in libraries {
        let process = Process::start(&mut command)?;
        let pid = process.pid();
        let Ended { status, errors, .. } = process.wait(LIMIT)?;
        ensure!(status.success(), "{command:?}: {status}: {errors:?}");
        wanted.push((pid, format!("{command:?}"), seen));
    }
    let total: usize =
        wanted.iter().flat_map(|(_, _, seen)| seen.iter()).map(|(_, count)| count).sum();
    agent.settle(2 * total, is_lookup);
    let spans = agent.stop()?.spans;
    let mut all = Tally::default();
    for (pid, command, seen) in wanted {
        let wanted: Tally = seen.iter().copied().collect();
        wanted.compare(&command, &tally(&spans, Kind::Client, pid, lookup))?;
        for (what, count) in seen {
            all.add(*what, *count);
        }
    }
    all.compare("resolver", &tally(&spans, Kind::Server, resolver.pid(), lookup))?;
    let big = spans.iter().filter(|span| span.name == "A big.test");
    for span in big {
        let answers = span.attributes.get("vigie.dns.answers").and_then(Value::as_u64);
        ensure!(answers == u64::try_from(BIG).ok(), "not the whole answer: {span:?}");
    }
    Ok(())
}

/// Built once into the target folder: nothing but Go's own library is in it.
fn go_program() -> Result<PathBuf> {
    let folder = needs::workspace().join("target/tmp/lookup");
    std::fs::create_dir_all(&folder)?;
    let built = folder.join("lookup");
    let go = needs::find("go").context("no go")?;
    let mut command = Command::new(go);
    command
        .args(["build", "-o"])
        .arg(&built)
        .arg(workload("lookup.go"))
        .envs([("GOCACHE", folder.join("cache")), ("GOPATH", folder.join("path"))])
        .envs([("GO111MODULE", "off"), ("CGO_ENABLED", "0"), ("GOFLAGS", "")]);
    run(&mut command)?;
    Ok(built)
}

#[test]
fn addresses_have_names_in_edges() -> Result<()> {
    let programs = ["unshare"].map(Need::Program);
    if missing("dns: names", &NEEDS)? || missing("dns: names", &programs)? {
        return Ok(());
    }
    let resolver = Resolver::start()?;
    let server = Server::python("elsewhere", "scripted_server.py", &[])?;
    // As if it were on another machine.
    let pid = server.pids.first().context("a server without a process")?;
    let config = Some(format!("watch: {{exclude: [{{pid: {pid}}}]}}\n"));
    let agent = Agent::start(&Options { config, ..Options::default() })?;
    let port = server.target().rsplit(':').next().context("a port")?.to_owned();
    let mut command =
        resolver.command(&needs::find("python3").context("no python3")?, "options ndots:1")?;
    let script = "import sys,urllib.request\nfor n in range(10):\n    \
                  urllib.request.urlopen(f'http://named.test:{sys.argv[1]}/plain/{n}').read()";
    command.args(["-c", script, &port]).env("OTEL_SERVICE_NAME", "web");
    let Ended { status, errors, .. } = Process::start(&mut command)?.wait(LIMIT)?;
    ensure!(status.success(), "{errors:?}");
    let is_of_web = |span: &Span| span.service == "web" && span.protocol == "http/1.1";
    agent.settle(10, is_of_web);
    let edge = [("client", "web"), ("server", &*format!("named.test:{port}"))];
    let calls = agent.metrics()?.sum("traces_service_graph_request_total", &edge);
    let spans = agent.stop()?.spans;
    let of_web: Vec<&Span> = spans.iter().filter(|span| is_of_web(span)).collect();
    ensure!(of_web.len() == 10, "{} of 10 calls", of_web.len());
    for span in of_web {
        ensure!(span.peer.name.as_deref() == Some("named.test"), "no name: {span:?}");
    }
    ensure!((calls - 10.0).abs() < f64::EPSILON, "{calls} of 10 calls on the edge {edge:?}");
    Ok(())
}

#[test]
fn the_report_has_names() -> Result<()> {
    if missing("dns: report", &NEEDS)? || missing("dns: report", &[Need::Program("dig")])? {
        return Ok(());
    }
    let resolver = Resolver::start()?;
    let dig = needs::find("dig").context("no dig")?;
    let names = ["n1.test", "n1.test", "no.test"].map(|name| format!("{name} A "));
    let list = resolver_batch(&names)?;
    let mut command = agent::command()?;
    // Its output would stand before the report.
    command.args(["profile", "--json", "--", "sh", "-c", "\"$@\" > /dev/null", "sh"]);
    command.arg(dig).arg(format!("@{}", resolver.address));
    command.args(["+tries=1", "-f"]).arg(list.path());
    let Ended { output, .. } = run(&mut command)?;
    let report: Value = serde_json::from_str(&output.join("\n"))?;
    let rows = report.get("dns").and_then(Value::as_array).context("no section for DNS")?;
    let row = |name: &str| rows.iter().find(|row| row.get("name") == Some(&Value::from(name)));
    for (name, count, errors) in [("n1.test", 2, 0), ("no.test", 1, 1)] {
        let row = row(name).with_context(|| format!("no {name} in {rows:?}"))?;
        let number = |key: &str| row.get(key).and_then(Value::as_u64);
        ensure!(row.get("type") == Some(&Value::from("A")), "{row}");
        ensure!((number("count"), number("errors")) == (Some(count), Some(errors)), "{row}");
        let seconds = |key: &str| row.get(key).and_then(Value::as_f64).unwrap_or(0.0);
        ensure!(seconds("p50_s") > 0.0 && seconds("max_s") >= seconds("p50_s"), "{row}");
    }
    Ok(())
}

/// A file with what dig is to ask for.
fn resolver_batch(lines: &[String]) -> Result<tempfile::NamedTempFile> {
    let file = tempfile::NamedTempFile::new()?;
    std::fs::write::<&Path, _>(file.path(), lines.join("\n") + "\n")?;
    Ok(file)
}
