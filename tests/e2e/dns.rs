//! Look-ups of names: what a resolver and those who ask it do is what vigie says of both ends.

use std::net::UdpSocket;
use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;
use vigie_tests::agent::{self, Agent, Options};
use vigie_tests::lookup::{is_lookup, known, lookup, start_agent, tally, workload};
use vigie_tests::needs::{self, Need, missing};
use vigie_tests::process::{Ended, LIMIT, Process, run};
use vigie_tests::prometheus::Samples;
use vigie_tests::resolver::Resolver;
use vigie_tests::span::{Kind, Span};
use vigie_tests::tally::Tally;
use vigie_tests::workload::Server;

const NEEDS: [Need; 4] =
    [Need::Root, Need::Agent, Need::Program("unbound"), Need::Program("python3")];

/// As [`lookup`], without the number of the name.
fn kind_of_lookup(span: &Span) -> String {
    lookup(span).chars().filter(|c| !c.is_ascii_digit()).collect()
}

fn client(name: &str) -> Result<Command> {
    let mut command = Command::new(needs::find("python3").context("no python3")?);
    command.arg(workload("dns_client.py"));
    Ok(known(&command, name))
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

/// A file with what dig is to ask for.
fn resolver_batch(lines: &[String]) -> Result<tempfile::NamedTempFile> {
    let file = tempfile::NamedTempFile::new()?;
    std::fs::write::<&Path, _>(file.path(), lines.join("\n") + "\n")?;
    Ok(file)
}
