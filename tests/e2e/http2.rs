//! HTTP/2 in clear text: what clients say of their requests is what vigie says of both ends.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use vigie_tests::agent::{Agent, Options};
use vigie_tests::http;
use vigie_tests::needs::{self, Need, missing};
use vigie_tests::process::{LIMIT, Process, run, until};
use vigie_tests::site::Site;
use vigie_tests::span::{Kind, Span};
use vigie_tests::tally::Tally;
use vigie_tests::workload::{Server, go_http2, script};

const NEEDS: [Need; 8] = [
    Need::Root,
    Need::Agent,
    Need::Program("nginx"),
    Need::Program("node"),
    Need::Program("curl"),
    Need::Program("h2load"),
    Need::Program("nghttp"),
    Need::Program("nghttpx"),
];

fn request(span: &Span) -> String {
    let code = span.code().map_or_else(|| "-".to_owned(), |code| code.to_string());
    format!("{} {} {} {code}", span.protocol, span.method(), span.path())
}

fn is_http2(span: &Span) -> bool {
    span.protocol == "http/2"
}

/// The spans are those expected, seen whole.
fn check(expected: &Tally, spans: &[Span], who: &str, kind: Kind, pids: &[u32]) -> Result<()> {
    expected.compare(who, &Tally::of(spans, kind, pids, request))?;
    let of = spans.iter().filter(|span| span.kind == kind && pids.contains(&span.pid));
    for span in of {
        ensure!(span.flags.is_empty(), "{who}: {} has flags {:?}", request(span), span.flags);
    }
    Ok(())
}

/// The rings are large, as a debug build on a busy machine is slow.
fn start_agent() -> Result<Agent> {
    let config = Some("capture: {ring_bytes: 32MiB}\n".to_owned());
    Agent::start(&Options { config, ..Options::default() })
}

/// Asks for each path and wants an answer; the process that asked.
fn ask(program: &str, options: &[&str], port: u16, paths: &[String]) -> Result<u32> {
    let mut command = Command::new(needs::find(program).context("no such program")?);
    command.args(options).args(paths.iter().map(|path| format!("http://127.0.0.1:{port}{path}")));
    let process = Process::start(&mut command)?;
    let pid = process.pid();
    let ended = process.wait(LIMIT)?;
    ensure!(ended.status.success(), "{program}: {}: {:?}", ended.status, ended.errors);
    Ok(pid)
}

fn curl(option: &str, port: u16, path: &str) -> Result<u32> {
    let options = ["--silent", "--show-error", "--output", "/dev/null", option];
    ask("curl", &options, port, &[path.to_owned()])
}

/// Fifty requests at a time over one connection, and curl over connections of its own.
#[test]
fn nginx_with_nghttp_and_curl() -> Result<()> {
    if missing("http2: nginx", &NEEDS)? {
        return Ok(());
    }
    let site = Site::start()?;
    let port = site.nginx.http2_port();
    let agent = start_agent()?;
    let (mut paths, mut expected) = (Vec::new(), Tally::default());
    for (path, status) in [
        ("/static/a", 200),
        ("/large/b", 200),
        ("/missing/c", 404),
        ("/empty/d", 204),
        ("/broken/e", 500),
    ] {
        for number in 0..10 {
            let path = format!("{path}/{number}");
            expected.add(format!("http/2 GET {path} {status}"), 1);
            paths.push(path);
        }
    }
    let nghttp = ask("nghttp", &["--null-out"], port, &paths)?;
    let mut curls = Vec::new();
    for _ in 0..5 {
        curls.push(curl("--http2-prior-knowledge", port, "/static/curl")?);
    }
    let by_curl: Tally = [("http/2 GET /static/curl 200", 5)].into_iter().collect();
    agent.settle(2 * (expected.total() + by_curl.total()), is_http2);
    let metrics = agent.metrics()?;
    let spans = agent.stop()?.spans;
    check(&expected, &spans, "nghttp", Kind::Client, &[nghttp])?;
    check(&by_curl, &spans, "curl", Kind::Client, &curls)?;
    expected.add("http/2 GET /static/curl 200", 5);
    check(&expected, &spans, "nginx", Kind::Server, &site.nginx.workers()?)?;
    // Ten downloads of 10 MB on both ends.
    let copied = metrics.sum("vigie_copied_bytes_total", &[]);
    ensure!(copied < 0.01 * 200e6, "{copied} bytes were copied of 200 MB");
    Ok(())
}

/// A library that both ends are made of.
fn on_both_ends(name: &str, program: &dyn Fn() -> Command) -> Result<()> {
    let server = Server::start("server", program().arg("serve"))?;
    for streams in ["1", "10", "100", "500"] {
        let agent = start_agent()?;
        let ask = Process::start(
            program()
                .args(["ask", &server.port().to_string(), streams])
                .args(["/a=300", "/status/404=20", "/status/503=20", "/bytes/1000000=5"])
                .args(["/post/1=20", "/reset/x=5"]),
        )?;
        let pid = ask.pid();
        let ended = ask.wait(2 * LIMIT)?;
        ensure!(ended.status.success(), "{name}: {:?}", ended.errors);
        let expected: Tally = [
            ("http/2 GET /a 200", 300),
            ("http/2 GET /status/404 404", 20),
            ("http/2 GET /status/503 503", 20),
            ("http/2 GET /bytes/1000000 200", 5),
            ("http/2 POST /post/1 200", 20),
            ("http/2 GET /reset/x -", 5),
        ]
        .into_iter()
        .collect();
        agent.settle(2 * expected.total(), is_http2);
        let spans = agent.stop()?.spans;
        let who = format!("of {name} with {streams} streams");
        for (kind, pids) in [(Kind::Client, vec![pid]), (Kind::Server, server.pids.clone())] {
            let seen = Tally::of(&spans, kind, &pids, request);
            expected.compare(&format!("{kind:?} {who}"), &seen)?;
        }
        for span in spans.iter().filter(|span| span.path() == "/reset/x") {
            ensure!(span.text("error.type") == Some("INTERNAL_ERROR"), "{span:?}");
        }
    }
    Ok(())
}

#[test]
fn node_on_both_ends() -> Result<()> {
    if missing("http2: node", &NEEDS)? {
        return Ok(());
    }
    let node = needs::find("node").context("no node")?;
    on_both_ends("node", &|| {
        let mut command = Command::new(&node);
        command.arg(script("node_http2.js"));
        command
    })
}

/// Go's net/http, with golang.org/x/net/http2.
#[test]
fn go_on_both_ends() -> Result<()> {
    if missing("http2: go", &[Need::Root, Need::Agent, Need::Go])? {
        return Ok(());
    }
    let program = go_http2()?;
    on_both_ends("go", &|| Command::new(&program))
}

/// curl asks by HTTP/1.1 first.
#[test]
fn go_by_upgrade() -> Result<()> {
    let needs = [Need::Root, Need::Agent, Need::Go, Need::Program("curl")];
    if missing("http2: go, upgrade", &needs)? {
        return Ok(());
    }
    let server = Server::start("server", Command::new(go_http2()?).arg("serve"))?;
    let agent = start_agent()?;
    let mut curls = Vec::new();
    for path in ["/a", "/status/404", "/bytes/1000000"] {
        curls.push(curl("--http2", server.port(), path)?);
    }
    agent.settle(6, is_http2);
    let spans = agent.stop()?.spans;
    let expected: Tally = [
        ("http/2 GET /a 200", 1),
        ("http/2 GET /status/404 404", 1),
        ("http/2 GET /bytes/1000000 200", 1),
    ]
    .into_iter()
    .collect();
    for (kind, pids) in [(Kind::Client, curls), (Kind::Server, server.pids.clone())] {
        expected.compare(&format!("{kind:?}"), &Tally::of(&spans, kind, &pids, request))?;
    }
    Ok(())
}

#[test]
fn hyper_on_both_ends() -> Result<()> {
    if missing("http2: hyper", &[Need::Root, Need::Agent])? {
        return Ok(());
    }
    on_both_ends("hyper", &|| Command::new(env!("CARGO_BIN_EXE_workload-hyper")))
}

#[test]
fn many_streams_of_h2load() -> Result<()> {
    if missing("http2: h2load", &NEEDS)? {
        return Ok(());
    }
    let site = Site::start()?;
    let agent = start_agent()?;
    let url = format!("http://127.0.0.1:{}/ok/load", site.nginx.http2_port());
    run(Command::new(needs::find("h2load").context("no h2load")?)
        .args(["--requests", "5000", "--clients", "2", "--max-concurrent-streams", "100"])
        .arg(&url))?;
    let expected: Tally = [("http/2 GET /ok/load 200", 5000)].into_iter().collect();
    agent.settle(10_000, is_http2);
    let spans = agent.stop()?.spans;
    check(&expected, &spans, "nginx", Kind::Server, &site.nginx.workers()?)
}

/// From HTTP/1.1 by `Upgrade: h2c`. The first request is answered over HTTP/2 already.
#[test]
fn by_upgrade() -> Result<()> {
    if missing("http2: upgrade", &NEEDS)? {
        return Ok(());
    }
    let site = Site::start()?;
    let front = http::free_address()?;
    let folder = tempfile::tempdir()?;
    let proxy = proxy(folder.path(), front, &format!("127.0.0.1,{}", site.nginx.port()))?;
    let agent = start_agent()?;
    let paths: Vec<String> = (0..10).map(|number| format!("/ok/upgraded/{number}")).collect();
    let nghttp = ask("nghttp", &["--null-out", "--upgrade"], front.port(), &paths)?;
    agent.settle(20, is_http2);
    let spans = agent.stop()?.spans;
    let expected: Tally = paths.iter().map(|path| (format!("GET {path} 200"), 1)).collect();
    // The first one is of either version, as one looks at it.
    let request =
        |span: &Span| format!("{} {} {}", span.method(), span.path(), span.code().unwrap_or(0));
    for (who, kind, of) in
        [("nghttp", Kind::Client, nghttp), ("nghttpx", Kind::Server, proxy.pid())]
    {
        expected.compare(who, &Tally::of(&spans, kind, &[of], request))?;
        let new = spans.iter().filter(|span| span.kind == kind && span.pid == of && is_http2(span));
        let new = new.count();
        ensure!(new >= paths.len() - 1, "{who}: only {new} of 10 are HTTP/2");
    }
    Ok(())
}

/// Two hops: to nghttpx by prior knowledge and by upgrade, from there to nghttpd. Large bodies, too.
#[test]
fn through_a_proxy() -> Result<()> {
    if missing("http2: proxy", &[&NEEDS[..], &[Need::Program("nghttpd")]].concat())? {
        return Ok(());
    }
    let files = tempfile::tempdir()?;
    std::fs::write(files.path().join("small"), "x".repeat(600))?;
    std::fs::write(files.path().join("large"), vec![b'l'; 10_000_000])?;
    let (front, back) = (http::free_address()?, http::free_address()?);
    let mut server = Command::new(needs::find("nghttpd").context("no nghttpd")?);
    server.args(["--no-tls", "--address=127.0.0.1", "-d"]).arg(files.path());
    let server = serve(server.arg(back.port().to_string()), back)?;
    let proxy = proxy(files.path(), front, &format!("127.0.0.1,{};;proto=h2", back.port()))?;
    let agent = start_agent()?;
    let paths = ["/small?token=secret", "/missing", "/large"];
    for path in paths {
        curl("--http2-prior-knowledge", front.port(), path)?;
        let path = [path.to_owned()];
        ask("nghttp", &["--null-out"], front.port(), &path)?;
        if path != ["/large"] {
            // Of what comes with the response 101 the kernel takes large bodies for those of HTTP/1.
            ask("nghttp", &["--null-out", "--upgrade"], front.port(), &path)?;
        }
    }
    let ends = [
        (Kind::Server, front.port()),
        (Kind::Client, front.port()),
        (Kind::Server, back.port()),
        (Kind::Client, back.port()),
    ];
    let port = |span: &Span| match span.kind {
        Kind::Server => span.local.port,
        _ => span.peer.port,
    };
    agent.settle(ends.len() * 8, |span| {
        ends.iter().any(|(kind, of)| span.kind == *kind && port(span) == Some(*of))
    });
    let spans = agent.stop()?.spans;
    drop((server, proxy));
    let expected: Tally =
        [("/small 200 600", 3), ("/missing 404 -", 3), ("/large 200 10000000", 2)]
            .into_iter()
            .collect();
    for (kind, of) in ends {
        let mut seen = Tally::default();
        for span in spans.iter().filter(|span| span.kind == kind && port(span) == Some(of)) {
            let code = span.code().unwrap_or(0);
            let size = span.attributes.get("http.response.body.size").filter(|_| code == 200);
            let size = size.map_or_else(|| "-".to_owned(), ToString::to_string);
            seen.add(format!("{} {code} {size}", span.path()), 1);
            ensure!(span.flags.is_empty(), "{} has flags {:?}", request(span), span.flags);
        }
        expected.compare(&format!("{kind:?} at {of}"), &seen)?;
    }
    Ok(())
}

/// nghttpx between `front` and `back`.
fn proxy(folder: &Path, front: SocketAddr, back: &str) -> Result<Process> {
    let config = folder.join("nghttpx.conf");
    let front_end = format!("127.0.0.1,{};no-tls", front.port());
    let text = format!("frontend={front_end}\nbackend={back}\nworkers=1\nno-ocsp=yes\n");
    std::fs::write(&config, text)?;
    let mut command = Command::new(needs::find("nghttpx").context("no nghttpx")?);
    command.arg(format!("--conf={}", config.display())).arg("--single-process");
    serve(&mut command, front)
}

/// Starts a server and waits until it accepts.
fn serve(command: &mut Command, address: SocketAddr) -> Result<Process> {
    let mut server = Process::start(command)?;
    until("the server accepts", LIMIT, || {
        ensure!(server.is_running()?, "the server ended{}", server.said());
        Ok(http::accepts(address))
    })?;
    Ok(server)
}
