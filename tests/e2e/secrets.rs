//! No secret leaves vigie: literals, parameters, keys, values and credentials of a file of secrets go over
//! all protocols to real servers, and everything that vigie gives out is searched for them.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;
use vigie_tests::agent::{self, Agent, Options};
use vigie_tests::fixture;
use vigie_tests::needs::{self, Need, missing};
use vigie_tests::otlp::Sink;
use vigie_tests::process::{LIMIT, Process, run};
use vigie_tests::resolver::Resolver;
use vigie_tests::secrets::Secrets;
use vigie_tests::servers::{NEEDS, Servers, finish};
use vigie_tests::span::Span;
use vigie_tests::tally::Tally;

/// What the clients speak, as span lines have it.
const PROTOCOLS: [&str; 7] =
    ["postgresql", "mysql", "redis", "memcached", "mongodb", "kafka", "http/1.1"];

/// All files below a folder.
fn files(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut all = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            all.extend(files(&path)?);
        } else if path.is_file() {
            all.push(path);
        }
    }
    Ok(all)
}

/// Each protocol was spoken, and vigie saw it.
fn check_seen(spans: &[Span]) -> Result<()> {
    for protocol in PROTOCOLS {
        let seen = spans.iter().filter(|span| span.protocol == protocol).count();
        ensure!(seen > 5, "{seen} calls of {protocol}");
    }
    Ok(())
}

#[test]
fn no_secret_leaves_vigie() -> Result<()> {
    if missing("secrets", &NEEDS)? {
        return Ok(());
    }
    let secrets = Secrets::read()?;
    let servers = Servers::start(&secrets)?;
    for text in ["0B", "64KiB"] {
        let sink = Sink::start()?;
        let agent = Agent::start(&Options {
            config: Some(format!(
                "capture: {{ring_bytes: 32MiB}}\nprotocols: {{query_text: {text}}}\n"
            )),
            arguments: ["--log-level", "trace", "--otlp-endpoint"]
                .into_iter()
                .map(str::to_owned)
                .chain([format!("http://{}", sink.address())])
                .collect(),
            environment: vec![
                ("OTEL_EXPORTER_OTLP_PROTOCOL".to_owned(), "http/protobuf".to_owned()),
                ("OTEL_METRIC_EXPORT_INTERVAL".to_owned(), "500".to_owned()),
            ],
            ..Options::default()
        })?;
        let done = finish(servers.clients(&[])?)?;
        ensure!(done > 500, "the clients did {done} things");
        let is_memcached = |span: &Span| span.protocol == "memcached";
        agent.settle(20, is_memcached);
        let pages = ["/metrics", "/healthz", "/readyz"]
            .into_iter()
            .map(|path| agent.page(path))
            .collect::<Result<Vec<_>>>()?;
        let stopped = agent.stop()?;
        check_seen(&stopped.spans)?;
        let texts = stopped.spans.iter().filter(|span| span.text("db.query.text").is_some());
        ensure!((texts.count() > 100) == (text != "0B"), "texts are there or not as told");
        secrets.check("span lines", stopped.output.join("\n").as_bytes())?;
        secrets.check("log", stopped.errors.join("\n").as_bytes())?;
        secrets.check("pages", pages.join("\n").as_bytes())?;
        sink.look(|received| {
            ensure!(received.problems.is_empty(), "{:?}", received.problems);
            ensure!(received.spans.len() > 1000, "{} spans by OTLP", received.spans.len());
            ensure!(!received.metrics.is_empty(), "no metrics by OTLP");
            secrets.check("OTLP", &received.raw)
        })?;
        for file in files(stopped.folder.path())? {
            secrets.check(&format!("{}", file.display()), &fs::read(&file)?)?;
        }
    }
    Ok(())
}

#[test]
fn no_secret_is_in_a_report() -> Result<()> {
    if missing("secrets: report", &NEEDS)? {
        return Ok(());
    }
    let secrets = Secrets::read()?;
    let servers = Servers::start(&secrets)?;
    let folder = tempfile::tempdir()?;
    let spans = folder.path().join("spans");
    let mut profile = agent::command()?;
    profile.args(["profile", "--duration", "10s", "--json", "--log-level", "trace", "--spans"]);
    let profile = started(profile.arg(&spans))?;
    finish(servers.clients(&[])?)?;
    let ended = profile.wait(2 * LIMIT)?;
    ensure!(ended.status.success(), "{:?}", ended.errors);
    let report = ended.output.join("\n");
    for protocol in PROTOCOLS {
        ensure!(report.contains(&format!("\"{protocol}\"")), "no {protocol} in {report}");
    }
    secrets.check("report", report.as_bytes())?;
    secrets.check("log", ended.errors.join("\n").as_bytes())?;
    secrets.check("spans", &fs::read(&spans)?)
}

/// A command of vigie, once it is ready.
fn started(command: &mut Command) -> Result<Process> {
    let process = Process::start(command)?;
    let is_ready =
        |lines: &[String]| lines.iter().any(|line| line.starts_with("ready")).then_some(());
    let ready = process.errors.wait(0, LIMIT, is_ready);
    ready.with_context(|| format!("it is not ready{}", process.said()))?;
    Ok(process)
}

/// What comes of a recorded stream.
fn replayed(file: &Path) -> Result<Tally> {
    let output = run(agent::command()?.args(["debug", "replay"]).arg(file))?.output;
    let spans = output.iter().map(|line| serde_json::from_str::<Span>(line));
    spans
        .map(|span| {
            let span = span?;
            Ok((format!("{:?} {} {} {}", span.kind, span.protocol, span.name, span.status), 1))
        })
        .collect::<Result<Tally>>()
}

/// A recording has secrets; what `redact` makes of it has none, and replays to the same calls.
#[test]
fn a_redacted_recording_has_no_secrets() -> Result<()> {
    if missing("secrets: recording", &NEEDS)? {
        return Ok(());
    }
    let secrets = Secrets::read()?;
    let servers = Servers::start(&secrets)?;
    let folder = tempfile::tempdir()?;
    let [raw, redacted] = ["raw", "redacted"].map(|name| folder.path().join(name));
    record(&servers, &raw)?;
    ensure!(fs::metadata(&raw)?.permissions().mode() & 0o777 == 0o600, "others may read it");
    let mut there: Vec<String> =
        secrets.find(&fs::read(&raw)?).into_iter().map(|(found, _)| found.secret).collect();
    there.dedup();
    ensure!(there.len() >= secrets.words(), "only {there:?} were recorded");

    let said = run(agent::command()?.args(["debug", "redact"]).arg(&raw).arg(&redacted))?.output;
    secrets.check("the redacted recording", &fs::read(&redacted)?)?;
    let said = said.last().cloned().unwrap_or_default();
    ensure!(said.contains("left out: 0 too long, ") && !said.ends_with(", 0 compressed"), "{said}");
    let (before, after) = (replayed(&raw)?, replayed(&redacted)?);
    // Connections that are compressed are left out: those of MongoDB, as some of it.
    let plain = |calls: &Tally| {
        let mut plain = Tally::default();
        calls.each(|what, calls| {
            if !what.contains("mongodb") {
                plain.add(what, calls);
            }
        });
        plain
    };
    plain(&before).compare("the recording", &plain(&after))?;
    ensure!(after.total() > 40, "{} calls are left:\n{after}", after.total());
    Ok(())
}

/// Records what a few calls of each client bring. One end of each call is enough.
fn record(servers: &Servers, to: &Path) -> Result<()> {
    let config = to.with_extension("yaml");
    fs::write(&config, "watch: {include: [{arguments: \"*secrets_client*\"}]}\n")?;
    let mut record = agent::command()?;
    record.args(["debug", "record", "--duration", "10s", "--config"]).arg(&config).arg(to);
    let recorder = started(&mut record)?;
    finish(servers.clients(&["few"])?)?;
    let ended = recorder.wait(2 * LIMIT)?;
    ensure!(ended.status.success(), "{:?}", ended.errors);
    Ok(())
}

/// Makes the fixtures of databases, brokers and DNS anew: `cargo test -p vigie-tests --test secrets --
/// --ignored`, then `VIGIE_BLESS=1 cargo test -p vigie flow`, and read what changed.
#[test]
#[ignore = "writes into tests/fixtures"]
fn record_fixtures() -> Result<()> {
    if missing("fixtures", &NEEDS)? || missing("fixtures", &[Need::Program("unbound")])? {
        return Ok(());
    }
    let mut servers = Servers::start(&Secrets::read()?)?;
    let resolver = Resolver::start()?;
    servers.targets.push(("dns", format!("{}:53", resolver.address)));
    let folder = tempfile::tempdir()?;
    let [raw, redacted] = ["raw", "redacted"].map(|name| folder.path().join(name));
    record(&servers, &raw)?;
    run(agent::command()?.args(["debug", "redact"]).arg(&raw).arg(&redacted))?;
    let events = fs::read_to_string(&redacted)?;
    let events = events.lines().map(serde_json::from_str).collect::<Result<Vec<Value>, _>>()?;
    for (kind, target) in &servers.targets {
        let written = fixture::of(&events, target)?;
        ensure!(!written.is_empty(), "nothing of {kind} at {target}");
        let what = format!(
            "# a client of {kind}: recorded and redacted by record_fixtures in tests/e2e/secrets.rs\n"
        );
        let path = needs::workspace().join(format!("tests/fixtures/{kind}.jsonl"));
        // HTTP has fixtures of its own.
        if *kind != "http" {
            fs::write(path, what + &written)?;
        }
    }
    Ok(())
}
