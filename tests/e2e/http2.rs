//! HTTP/2 and gRPC of real software: counts, methods, statuses and messages on both sides.

use std::collections::BTreeMap;
use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use vigie_tests::agent::{Agent, Options};
use vigie_tests::http::{accepts, free_address};
use vigie_tests::needs::{self, Need, missing};
use vigie_tests::process::{LIMIT, Process, run, until};
use vigie_tests::span::{Kind, Span};
use vigie_tests::workload::{Server, script};

/// The codes that the client asks the server to fail with.
const CODES: [&str; 5] =
    ["NOT_FOUND", "INVALID_ARGUMENT", "INTERNAL", "UNAVAILABLE", "PERMISSION_DENIED"];

/// Calls of one side: how many of each method, status and numbers of messages.
type Calls = BTreeMap<(String, String, String), usize>;

/// What the client's calls after its wait have to look like.
fn expected(unary: usize, failing: usize) -> Calls {
    let mut calls = Calls::new();
    let mut add = |method: &str, status: &str, messages: &str, count| {
        let method = format!("test.Calls/{method}");
        *calls.entry((method, status.to_owned(), messages.to_owned())).or_default() += count;
    };
    add("Unary", "OK", "1:1", unary);
    for code in CODES {
        add("Unary", code, "1:0", failing);
    }
    add("Stream", "OK", "1:100", 1);
    add("Collect", "OK", "7:1", 1);
    add("Both", "OK", "5:5", 1);
    add("Unary", "DEADLINE_EXCEEDED", "1:0", 1);
    add("Unary", "CANCELLED", "1:0", 1);
    add("Missing", "UNIMPLEMENTED", "1:0", 1);
    calls.retain(|_, count| *count > 0);
    calls
}

fn seen(spans: &[Span], pid: u32) -> Calls {
    let mut calls = Calls::new();
    for span in spans.iter().filter(|span| span.pid == pid) {
        let number = |name| span.attributes.get(name).map_or("?".into(), ToString::to_string);
        let messages =
            [number("vigie.rpc.request.messages"), number("vigie.rpc.response.messages")].join(":");
        let status = span.text("rpc.response.status_code").unwrap_or("-").to_owned();
        *calls.entry((span.name.clone(), status, messages)).or_default() += 1;
    }
    calls
}

/// The client, after the calls that it makes before it waits.
fn waiting(server: &Server, before: usize, after: usize, failing: usize) -> Result<Process> {
    let mut client = needs::grpc_python().context("no grpcio")?;
    client.arg(script("grpc_client.py")).arg(server.target());
    client.args([before, after, failing].map(|count| count.to_string()));
    let mut client = Process::start(client.env("OTEL_SERVICE_NAME", "grpc-client"))?;
    says(&mut client, "waiting")?;
    Ok(client)
}

fn says(client: &mut Process, word: &str) -> Result<()> {
    client.wait_output(word, |lines| lines.iter().any(|line| line == word).then_some(()))
}

fn server() -> Result<Server> {
    let mut python = needs::grpc_python().context("no grpcio")?;
    Server::start("grpc-server", python.arg(script("grpc_server.py")))
}

const NEEDS: [Need; 3] = [Need::Root, Need::Agent, Need::Grpcio];

#[test]
fn calls_of_grpcio_are_exact_on_both_sides() -> Result<()> {
    if missing("http2: grpcio", &NEEDS)? {
        return Ok(());
    }
    let agent = Agent::start(&Options::default())?;
    let server = server()?;
    let mut client = waiting(&server, 0, 1000, 50)?;
    client.tell("go")?;
    says(&mut client, "done")?;
    let pids = [client.pid(), server.pids[0]];
    let expected = expected(1000, 50);
    let count: usize = expected.values().sum();
    agent.settle(2 * count, |span| pids.contains(&span.pid));
    let spans = agent.stop()?.spans;
    for pid in pids {
        assert_eq!(seen(&spans, pid), expected, "{pid}");
    }
    ensure!(
        spans
            .iter()
            .filter(|span| pids.contains(&span.pid))
            .all(|span| { span.flags.iter().all(|flag| flag == "no_response") }),
        "spans with flags on a connection that was seen whole"
    );
    Ok(())
}

/// vigie starts when the connection has carried calls already. Every later one is counted; what is
/// not known of it is absent.
#[test]
fn calls_on_an_older_connection_are_exact() -> Result<()> {
    if missing("http2: older grpcio", &NEEDS)? {
        return Ok(());
    }
    // After few calls the peers' tables are nearly empty, after many they are not.
    for before in [1, 1000] {
        let server = server()?;
        let mut client = waiting(&server, before, 1000, 50)?;
        let agent = Agent::start(&Options::default())?;
        client.tell("go")?;
        says(&mut client, "done")?;
        let pids = [client.pid(), server.pids[0]];
        let expected = expected(1000, 50);
        let count: usize = expected.values().sum();
        agent.settle(2 * count, |span| pids.contains(&span.pid));
        let spans = agent.stop()?.spans;
        for pid in pids {
            let spans: Vec<_> = spans.iter().filter(|span| span.pid == pid).collect();
            assert_eq!(spans.len(), count, "{before} calls before");
            // Those that failed say so in a literal field; those that did not look like it.
            let is_grpc = |span: &&Span| span.protocol == "grpc";
            assert!(spans.iter().copied().filter(is_grpc).count() > 1250, "{before} calls before");
            for code in CODES {
                let failed = |span: &&Span| span.text("rpc.response.status_code") == Some(code);
                assert_eq!(spans.iter().copied().filter(failed).count(), 50, "{code}");
            }
            let mut named = 0;
            for span in spans {
                let path = span.text("url.path").or_else(|| span.text("rpc.method"));
                let Some(path) = path else {
                    assert!(span.flags.iter().any(|flag| flag == "mid_stream"), "{span:?}");
                    continue;
                };
                named += 1;
                let method = path.trim_start_matches('/').to_owned();
                assert!(expected.keys().any(|(known, ..)| *known == method), "{span:?}");
                // A status that is told must be one of this method.
                if let Some(status) = span.text("rpc.response.status_code") {
                    let fits = |(known, code, _): &(String, String, String)| {
                        *known == method && code == status
                    };
                    assert!(expected.keys().any(fits), "{span:?}");
                }
            }
            print_share(before, named, count);
        }
    }
    Ok(())
}

#[expect(clippy::print_stdout, reason = "a figure for the documents")]
fn print_share(before: usize, named: usize, count: usize) {
    println!("after {before} calls: {named} of {count} calls with their method");
}

/// curl with prior knowledge and nghttp by upgrade, to nghttpx, which asks nghttpd: two ends of two
/// hops.
#[test]
fn prior_knowledge_and_upgrade() -> Result<()> {
    let programs = ["nghttpd", "nghttpx", "nghttp", "curl"].map(Need::Program);
    if missing("http2: upgrade", &[&[Need::Root, Need::Agent][..], &programs].concat())? {
        return Ok(());
    }
    let agent = Agent::start(&Options::default())?;
    let files = tempfile::tempdir()?;
    std::fs::write(files.path().join("small"), "x".repeat(600))?;
    std::fs::write(files.path().join("large"), vec![b'l'; 10_000_000])?;
    let (front, back) = (free_address()?, free_address()?);
    let mut files_server = Command::new(needs::find("nghttpd").context("no nghttpd")?);
    files_server.args(["--no-tls", "--address=127.0.0.1", "-d"]).arg(files.path());
    let _back = serve(files_server.arg(back.port().to_string()), back)?;
    let proxy = needs::find("nghttpx").context("no nghttpx")?;
    let _front = serve(
        Command::new(proxy)
            .args(["--conf=/dev/null", "--workers=1"])
            .arg(format!("--frontend={},{};no-tls", front.ip(), front.port()))
            .arg(format!("--backend={},{};;proto=h2", back.ip(), back.port())),
        front,
    )?;
    for path in ["small?token=secret", "missing", "large"] {
        let url = format!("http://{front}/{path}");
        run(Command::new("curl")
            .args(["--silent", "--http2-prior-knowledge", "-o", "/dev/null"])
            .arg(&url))?;
        // Not curl, whose 7.88 now and then fails where bytes come with the response 101.
        let mut nghttp = Command::new("nghttp");
        nghttp.arg("--null-out");
        if path != "large" {
            // For the kernel an upgraded connection is HTTP/1 still, so of large bodies it leaves out
            // frame headers, too.
            nghttp.arg("--upgrade");
        }
        run(nghttp.arg(&url))?;
    }
    let ports = [front.port(), back.port()].map(Some);
    // `accepts` has connected, too, and said nothing.
    let ours = |span: &Span| ports.contains(&span.local.port) || ports.contains(&span.peer.port);
    agent.settle(24, ours);
    let spans = agent.stop()?.spans;
    for (kind, port) in [Kind::Server, Kind::Client]
        .into_iter()
        .flat_map(|kind| ports.into_iter().map(move |port| (kind, port)))
    {
        let end = |span: &Span| if kind == Kind::Server { span.local.port } else { span.peer.port };
        let mut calls = BTreeMap::new();
        for span in spans.iter().filter(|span| span.kind == kind && end(span) == port) {
            assert_eq!((span.protocol.as_str(), span.flags.len()), ("http/2", 0), "{span:?}");
            let size = span.attributes.get("http.response.body.size").map(ToString::to_string);
            let size = size.filter(|_| span.code() == Some(200));
            *calls.entry((span.path().to_owned(), span.code(), size)).or_insert(0) += 1;
        }
        let call = |path: &str, code, size: Option<u32>| {
            ((path.to_owned(), Some(code), size.map(|size| size.to_string())), 2)
        };
        let expected = BTreeMap::from([
            call("/small", 200, Some(600)),
            call("/large", 200, Some(10_000_000)),
            call("/missing", 404, None),
        ]);
        assert_eq!(calls, expected, "{kind:?} {port:?}");
    }
    Ok(())
}

/// Starts a server and waits until it accepts.
fn serve(command: &mut Command, address: std::net::SocketAddr) -> Result<Process> {
    let mut server = Process::start(command)?;
    until("the server accepts", LIMIT, || {
        ensure!(server.is_running()?, "the server ended{}", server.said());
        Ok(accepts(address))
    })?;
    Ok(server)
}
