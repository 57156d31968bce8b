//! The endpoint as Prometheus itself reads it.

use std::fs::File;
use std::io::Write as _;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use vigie_tests::agent::{Agent, Options};
use vigie_tests::http;
use vigie_tests::needs::{Need, missing};
use vigie_tests::process::until;
use vigie_tests::prometheus;
use vigie_tests::workload::{Server, logging_client, python};

/// Time for a few scrapes, one each second.
const SCRAPES: Duration = Duration::from_secs(30);

#[test]
fn prometheus_counts_what_was_sent() -> Result<()> {
    const COUNT: usize = 150;
    let needs = ["prometheus", "python3"].map(Need::Program);
    if missing("prometheus_scrape", &[Need::Root, Need::Agent])?
        || missing("prometheus_scrape", &needs)?
    {
        return Ok(());
    }
    let agent = Agent::start(&Options::default())?;
    let prometheus = prometheus::Server::start(agent.address())?;
    let server = Server::python("api", "scripted_server.py", &[])?;
    let mut client = python("client.py")?;
    client.args(["--target", server.target(), "--path", "/status/scrape", "--query", "code=503"]);
    let made = logging_client(client.args(["--count", &COUNT.to_string()]))?;
    ensure!(made.len() == COUNT, "client made {}", made.len());

    for side in ["server", "client"] {
        let query = format!(
            "sum(http_{side}_request_duration_seconds_count{{http_route=\"/status/scrape/{{id}}\",\
             http_response_status_code=\"503\",http_request_method=\"GET\",error_type=\"503\"}})"
        );
        let mut last = None;
        let wanted = u32::try_from(COUNT)?;
        until(&query, SCRAPES, || {
            last = prometheus.query(&query)?;
            Ok(last == Some(f64::from(wanted)))
        })
        .with_context(|| format!("last: {last:?}, should be {COUNT}"))?;
    }
    agent.stop()?;
    Ok(())
}

#[test]
fn promtool_finds_nothing_wrong() -> Result<()> {
    let needs = ["promtool", "python3"].map(Need::Program);
    if missing("prometheus_scrape: promtool", &[Need::Root, Need::Agent])?
        || missing("prometheus_scrape: promtool", &needs)?
    {
        return Ok(());
    }
    let agent = Agent::start(&Options::default())?;
    let server = Server::python("api", "scripted_server.py", &[])?;
    let mut client = python("client.py")?;
    logging_client(client.args([
        "--target",
        server.target(),
        "--path",
        "/plain/lint",
        "--count",
        "5",
    ]))?;
    agent.settle(10, |span| span.path().starts_with("/plain/lint"));
    let (status, text) = http::get(agent.address(), "/metrics")?;
    ensure!(status == 200, "/metrics answered {status}");
    for path in ["/healthz", "/readyz"] {
        let (status, _) = http::get(agent.address(), path)?;
        ensure!(status == 200, "{path} answered {status}");
    }

    let folder = tempfile::tempdir()?;
    let file = folder.path().join("metrics");
    File::create(&file)?.write_all(text.as_bytes())?;
    let output = Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(Stdio::from(File::open(&file)?))
        .output()?;
    let said = String::from_utf8_lossy(&output.stderr);
    // 3 is its code for matters of style, which the semantic conventions' names are to it.
    let is_parsed = matches!(output.status.code(), Some(0 | 3));
    ensure!(is_parsed, "promtool: {}: {said}", output.status);
    agent.stop()?;
    Ok(())
}
