//! Look-ups of names: what resolvers and resolver libraries do is what vigie says of both ends.

use std::net::UdpSocket;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;
use vigie_tests::agent::{self, Agent, Options};
use vigie_tests::needs::{self, Need, missing};
use vigie_tests::process::{Ended, LIMIT, Process, run};
use vigie_tests::prometheus::Samples;
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
    if let Some(name) = span.text("vigie.dns.search.name") {
        let tries = span.attributes.get("vigie.dns.search.attempts");
        text = format!("{text} ({name}, {})", tries.and_then(Value::as_u64).unwrap_or_default());
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
    command.arg(workload("dns_client.py"));
    Ok(known(&command, name))
}

/// Watches only what the test starts, as other tests may keep the machine busy. The rings are large, as a
/// debug build is slow.
fn start_agent(resolver: &Resolver) -> Result<Agent> {
    let config = format!(
        "capture: {{ring_bytes: 16MiB}}\nwatch: {{include: [{{pid: {}}}, {{service: \"test-*\"}}]}}\n",
        resolver.pid()
    );
    Agent::start(&Options { config: Some(config), ..Options::default() })
}

/// A command of a service that waits until vigie knows its process.
fn known(command: &Command, service: &str) -> Command {
    let mut shell = Command::new("sh");
    shell
        .args(["-c", "sleep 1; exec \"$@\"", "sh"])
        .arg(command.get_program())
        .args(command.get_args())
        .env("OTEL_SERVICE_NAME", service);
    shell
}

/// Spans of one end, by its process.
fn tally(spans: &[Span], kind: Kind, pid: u32, text: fn(&Span) -> String) -> Tally {
    let lookups: Vec<Span> = spans.iter().filter(|span| is_lookup(span)).cloned().collect();
    Tally::of(&lookups, kind, &[pid], text)
}

#[test]
fn answers_codes_and_time_outs_are_exact() -> Result<()> {
    if missing("dns", &NEEDS)? || missing("dns", &[Need::Program("unshare")])? {
        return Ok(());
    }
    let resolver = Resolver::start()?;
    // Not watched, as if it were on another machine.
    let elsewhere = Server::python("elsewhere", "scripted_server.py", &[])?;
    let agent = start_agent(&resolver)?;
    let address = resolver.address.to_string();
    // Somebody who never answers.
    let silent = UdpSocket::bind("127.0.0.1:0")?;
    let port = silent.local_addr()?.port().to_string();
    let mut asks = client("test-unanswered")?;
    asks.args(["--resolver", "127.0.0.1", "--port", &port, "--in-flight", "20", "--wait", "1"]);
    let asks = Process::start(asks.arg("gone%.test:A:20"))?;
    let unanswered = asks.pid();
    let mut asks = client("test-client")?;
    asks.args(["--resolver", &address, "--in-flight", "16", "n%.test:A:1000", "no%.test:A:50"]);
    let asks = Process::start(&mut asks)?;
    let answered = asks.pid();
    let said = asks.wait(LIMIT)?.output.join("");
    ensure!(said.contains("\"NOERROR\": 1000") && said.contains("\"NXDOMAIN\": 50"), "{said}");
    for (name, options, service) in
        [("named.test", "", "test-web"), ("also.test", "options use-vc", "test-web-tcp")]
    {
        let mut command =
            resolver.command(&needs::find("python3").context("no python3")?, options)?;
        let script = "import sys,urllib.request\nfor n in range(10):\n    \
                      urllib.request.urlopen(f'http://{sys.argv[1]}/plain/{n}').read()";
        command.args(["-c", script, &format!("{name}:{}", elsewhere.port())]);
        run(&mut known(&command, service))?;
    }

    // Those of "test-web" itself are as many as its resolver library likes.
    agent.settle(2 * 1050 + 20 + 20, |span| match (&*span.service, span.kind) {
        ("test-web" | "test-web-tcp", _) => !is_lookup(span),
        (_, Kind::Server) => span.peer.service.as_deref() == Some("test-client"),
        _ => is_lookup(span),
    });
    let metrics = agent.metrics()?;
    let spans = agent.stop()?.spans;
    let wanted: Tally =
        [("A n.test NOERROR", 1000), ("A no.test NXDOMAIN", 50)].into_iter().collect();
    wanted.compare("client", &tally(&spans, Kind::Client, answered, kind_of_lookup))?;
    let mut of_server: Vec<Span> = spans.clone();
    of_server.retain(|span| span.peer.service.as_deref() == Some("test-client"));
    wanted.compare("server", &tally(&of_server, Kind::Server, resolver.pid(), kind_of_lookup))?;
    let wanted: Tally = [("A gone.test timeout", 20)].into_iter().collect();
    wanted.compare("unanswered", &tally(&spans, Kind::Client, unanswered, kind_of_lookup))?;

    for span in spans.iter().filter(|span| is_lookup(span) && span.kind == Kind::Client) {
        let other = span.peer.service.as_deref();
        if span.pid == unanswered {
            ensure!(span.duration_ns == 5_000_000_000 && span.status == "error", "{span:?}");
        } else {
            ensure!(other == Some("unbound"), "the resolver has no name: {span:?}");
        }
    }
    same_in_metrics(&metrics, silent.local_addr()?.port(), elsewhere.port())
}

/// What the metrics and the edges say of the same calls.
fn same_in_metrics(metrics: &Samples, silent: u16, elsewhere: u16) -> Result<()> {
    let check = |name: &str, labels: &[(&str, &str)], wanted: f64| {
        let found = metrics.sum(name, labels);
        ensure!((found - wanted).abs() < f64::EPSILON, "{name} {labels:?}: {found} of {wanted}");
        Ok(())
    };
    let lookups = |service, error, wanted| {
        let labels = [("service_name", service), ("error_type", error)];
        check("dns_lookup_duration_seconds_count", &labels, wanted)
    };
    let all = [("service_name", "test-client")];
    check("dns_lookup_duration_seconds_count", &all, 1050.0)?;
    lookups("test-client", "NXDOMAIN", 50.0)?;
    lookups("test-unanswered", "timeout", 20.0)?;
    let silent = format!("127.0.0.1:{silent}");
    // An address that was looked up has its name.
    let [named, also] = ["named.test", "also.test"].map(|name| format!("{name}:{elsewhere}"));
    for (client, server, calls, failed) in [
        ("test-client", "unbound", 1050.0, 50.0),
        ("test-unanswered", &*silent, 20.0, 20.0),
        ("test-web", &*named, 10.0, 0.0),
        ("test-web-tcp", &*also, 10.0, 0.0),
    ] {
        let edge = [("client", client), ("server", server)];
        check("traces_service_graph_request_total", &edge, calls)?;
        check("traces_service_graph_request_failed_total", &edge, failed)?;
    }
    Ok(())
}

/// A program that looks names up, and what is to be seen of it.
struct Library {
    command: Command,
    seen: &'static [(&'static str, usize)],
}

/// Lines of `resolv.conf` as a kubelet writes them.
const POD: &str = "search shop.svc.test svc.test other.test\noptions ndots:5";

/// A question whose answer was not waited for, as it was asked again over TCP.
const LEFT: &str = "AAAA big.test NOERROR tcp 2x";

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
            // Both questions are asked again where one of the answers is cut, and all of that three
            // times, until there is room for so many addresses.
            command: glibc("big.test.", "")?,
            seen: &[("A big.test NOERROR tcp 2x truncated", 3), (LEFT, 3)],
        },
        Library {
            command: glibc("n3", "search one.test test\noptions ndots:5")?,
            seen: &[
                ("A n3.one.test NXDOMAIN", 1),
                ("AAAA n3.one.test NXDOMAIN", 1),
                ("A n3.test NOERROR (n3, 2)", 1),
                ("AAAA n3.test NOERROR (n3, 2)", 1),
            ],
        },
        Library {
            // As in a pod: a name of somewhere else is tried with everything first.
            command: glibc("n4.test", POD)?,
            seen: &[
                ("A n4.test.shop.svc.test NXDOMAIN", 1),
                ("AAAA n4.test.shop.svc.test NXDOMAIN", 1),
                ("A n4.test.svc.test NXDOMAIN (n4.test, 2)", 1),
                ("AAAA n4.test.svc.test NXDOMAIN (n4.test, 2)", 1),
                ("A n4.test.other.test NXDOMAIN (n4.test, 3)", 1),
                ("AAAA n4.test.other.test NXDOMAIN (n4.test, 3)", 1),
                ("A n4.test NOERROR (n4.test, 4)", 1),
                ("AAAA n4.test NOERROR (n4.test, 4)", 1),
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
    let agent = start_agent(&resolver)?;
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
        let mut command = resolver.command(&go_program()?, POD)?;
        command.args(["n6.test", "lost"]);
        let seen = &[
            ("A n6.test.shop.svc.test NXDOMAIN", 1),
            ("A n6.test.svc.test NXDOMAIN (n6.test, 2)", 1),
            ("A n6.test.other.test NXDOMAIN (n6.test, 3)", 1),
            ("A n6.test NOERROR (n6.test, 4)", 1),
            ("A lost.shop.svc.test NXDOMAIN", 1),
            ("A lost.svc.test NXDOMAIN (lost, 2)", 1),
            ("A lost.other.test NXDOMAIN (lost, 3)", 1),
            ("A lost NXDOMAIN (lost, 4)", 1),
        ];
        libraries.push(Library { command, seen });
    }
    let mut wanted = Vec::new();
    for Library { command, seen } in libraries {
        let mut command = known(&command, "test-library");
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
            // Who answers knows neither what a question is a part of nor that nobody reads the answer.
            if *what == LEFT {
                all.add("AAAA big.test NOERROR", *count);
                all.add("AAAA big.test NOERROR tcp", *count);
            } else {
                all.add(what.split(" (").next().unwrap_or(what), *count);
            }
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
    let report = report(&mut command)?;
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

#[test]
fn stubs_and_multicast_are_apart() -> Result<()> {
    if missing("dns: apart", &NEEDS)? {
        return Ok(());
    }
    // The stubs of systemd-resolved, where there is none: who asks waits in vain.
    let stubs = ["127.0.0.53", "127.0.0.54"];
    let silent = stubs.map(|stub| UdpSocket::bind((stub, 53)));
    let multicast = UdpSocket::bind("127.0.0.1:5353");
    let config = "watch: {include: [{service: \"test-*\"}]}\n".to_owned();
    let agent = Agent::start(&Options { config: Some(config), ..Options::default() })?;
    for stub in stubs {
        let mut asks = client("test-stub")?;
        run(asks.args(["--resolver", stub, "--wait", "0.5", "n%.test:A:2"]))?;
    }
    let mut asks = client("test-multicast")?;
    asks.args(["--resolver", "127.0.0.1", "--port", "5353", "--wait", "0.5", "--in-flight", "5"]);
    run(asks.arg("printer%.local:A:5"))?;
    agent.settle(2, is_lookup);
    let apart = agent.metrics()?.sum("vigie_dns_messages_total", &[("kind", "apart")]);
    let spans = agent.stop()?.spans;
    drop((silent, multicast));
    ensure!(apart >= 5.0, "{apart} messages of multicast DNS");
    let lookups: Vec<&Span> = spans.iter().filter(|span| is_lookup(span)).collect();
    for span in &lookups {
        let is_stub = span.attributes.get("vigie.dns.stub") == Some(&Value::Bool(true));
        ensure!(span.service == "test-stub" && is_stub, "{span:?}");
    }
    ensure!(lookups.len() >= 2, "{} questions at the stubs", lookups.len());
    Ok(())
}

fn report(command: &mut Command) -> Result<Value> {
    let Ended { output, .. } = run(command)?;
    Ok(serde_json::from_str(&output.join("\n"))?)
}

#[test]
fn the_report_has_searches() -> Result<()> {
    if missing("dns: searches", &NEEDS)? || missing("dns: searches", &[Need::Program("unshare")])? {
        return Ok(());
    }
    let resolver = Resolver::start()?;
    let script = "import socket\nfor name in ['n7.test', 'n7.test', 'lost']:\n    try: \
                  socket.getaddrinfo(name, 80, socket.AF_INET, socket.SOCK_STREAM)\n    \
                  except socket.gaierror: pass";
    let mut looks = resolver.command(&needs::find("python3").context("no python3")?, POD)?;
    looks.args(["-c", script]);
    let mut command = agent::command()?;
    command.args(["profile", "--json", "--"]).arg(looks.get_program()).args(looks.get_args());
    let report = report(&mut command)?;
    let rows = report.get("dns_searches").and_then(Value::as_array).context("no searches")?;
    for (name, found, count, attempts) in
        [("n7.test", Value::from("n7.test"), 2, 8), ("lost", Value::Null, 1, 4)]
    {
        let row = rows.iter().find(|row| row.get("name") == Some(&Value::from(name)));
        let row = row.with_context(|| format!("no {name} in {rows:?}"))?;
        let number = |key: &str| row.get(key).and_then(Value::as_u64);
        ensure!(row.get("found") == Some(&found), "{row}");
        ensure!((number("count"), number("attempts")) == (Some(count), Some(attempts)), "{row}");
    }
    let rows = report.get("dns").and_then(Value::as_array).context("no section for DNS")?;
    let sum = |key: &str| rows.iter().filter_map(|row| row.get(key)?.as_u64()).sum::<u64>();
    let sums = [sum("count"), sum("queries"), sum("search_attempts")];
    ensure!(sums == [12, 12, 12], "{sums:?}: {rows:?}");
    Ok(())
}

/// A file with what dig is to ask for.
fn resolver_batch(lines: &[String]) -> Result<tempfile::NamedTempFile> {
    let file = tempfile::NamedTempFile::new()?;
    std::fs::write::<&Path, _>(file.path(), lines.join("\n") + "\n")?;
    Ok(file)
}
