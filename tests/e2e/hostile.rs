//! Bytes that are meant to hurt: vigie stays up and counts what it could not make sense of, and
//! the watched programs notice nothing of it.

use std::collections::BTreeSet;
use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;
use vigie_tests::agent::{Agent, Options};
use vigie_tests::compare::{Expected, compare, report};
use vigie_tests::needs::{Need, missing};
use vigie_tests::process::run;
use vigie_tests::site::{Name, Site};
use vigie_tests::span::{Kind, Span};
use vigie_tests::workload::{logging_client, python, wait_for};

const TARGETS: [Name; 4] = [Name::Nginx, Name::PythonHttp11, Name::Scripted, Name::Node];

/// Options of `client.py`; whether the server answers them, and with what, is its own affair.
const ATTACKS: [&str; 7] = [
    "--raw 10000000",
    "--header-bytes 1048576",
    "--query a --form asterisk",
    "--method G\u{1}T",
    "--version 9.9",
    "--reset connect",
    "--reset head",
];

#[test]
fn hostile_bytes_do_no_harm() -> Result<()> {
    let programs = ["nginx", "python3", "node"].map(Need::Program);
    if missing("hostile", &[Need::Root, Need::Agent])? || missing("hostile", &programs)? {
        return Ok(());
    }
    let mut agent = Agent::start(&Options::default())?;
    let mut site = Site::start()?;
    for name in TARGETS {
        for attack in ATTACKS {
            let Some(target) = site.target(name) else { continue };
            let mut command = python("client.py")?;
            command.args(["--target", &target, "--path", "/plain/attack"]);
            // How the client fares is its own affair too: some servers hang up on it.
            drop(run(command.args(attack.split(' '))));
        }
    }
    ensure!(agent.is_running()?, "vigie ended");
    ensure!(site.nginx.is_running()? && site.scripted.is_running()?, "a server ended");
    ensure!(site.python11.is_running()? && site.node.is_running()?, "a server ended");
    let reasons = agent.metrics()?.reasons();
    ensure!(
        reasons.iter().any(|reason| reason.contains("malformed")),
        "nothing of it is counted: {reasons:?}"
    );

    let (mut expected, mut watched) = (Vec::new(), BTreeSet::new());
    for name in TARGETS {
        let Some(target) = site.target(name) else { continue };
        let path = if name == Name::Nginx { "/static/after" } else { "/plain/after" };
        let mut command = python("client.py")?;
        command.args(["--target", &target, "--path", path, "--count", "5"]);
        let made = logging_client(&mut command)?;
        let answered = wait_for(made.len(), || {
            let mut found = site.exchanges(name)?;
            found.retain(|exchange| exchange.path.starts_with(path));
            Ok(found)
        })?;
        watched.extend(made.iter().chain(&answered).map(|exchange| exchange.pid));
        expected.extend(made.into_iter().map(|one| Expected::new("after", Kind::Client, one)));
        expected.extend(answered.into_iter().map(|one| Expected::new("after", Kind::Server, one)));
    }
    let is_after = |path: &str| path.contains("/after/");
    agent.settle(expected.len(), |span| watched.contains(&span.pid) && is_after(span.path()));
    let mut spans = agent.stop()?.spans;
    spans.retain(|span| is_after(span.path()));
    report(&compare(&expected, &spans, &watched))
}

/// Resident memory of a process, in bytes.
fn resident(pid: u32) -> Result<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.and_then(|line| line.split_whitespace().next()).context("no VmRSS")?;
    Ok(kib.parse::<u64>()? << 10)
}

/// Memory that vigie may take on, in bytes: parsers and rings have their bounds, spans go out at once.
const MEMORY: u64 = 128 << 20;

/// Ten megabytes of broken messages of each protocol that is told by its bytes, between processes that are
/// watched: vigie stays up and within its memory, counts what made no sense, and goes on to see good ones.
#[test]
fn broken_databases_do_no_harm() -> Result<()> {
    let needs = [Need::Root, Need::Agent, Need::Program("python3")];
    if missing("hostile: databases", &needs)? {
        return Ok(());
    }
    let config = Some("capture: {ring_bytes: 16MiB}\nprotocols: {query_text: 1KiB}\n".to_owned());
    let mut agent = Agent::start(&Options { config, ..Options::default() })?;
    let before = resident(agent.pid())?;
    let mut highest = before;
    let mut counted = Vec::new();
    for protocol in ["postgresql", "mysql", "redis", "memcached", "mongodb", "kafka", "dns"] {
        let problems = agent.metrics()?.reasons().len();
        let mut command = python("broken_streams.py")?;
        let ended = run(command.args([protocol, "10000000"]).env("OTEL_SERVICE_NAME", protocol))?;
        let said: Value = serde_json::from_str(ended.output.last().context("nothing said")?)?;
        ensure!(said.get("failed") == Some(&Value::from(0)), "{protocol}: {said}");
        ensure!(agent.is_running()?, "vigie ended with {protocol}");
        highest = highest.max(resident(agent.pid())?);
        let reasons = agent.metrics()?.reasons();
        ensure!(reasons.len() >= problems, "{protocol}: {reasons:?}");
        counted = reasons;
        let number = |name: &str| said.get(name).and_then(Value::as_u64).context("no number");
        let (port, wanted) = (number("port")?, number("good")?);
        let is_good = |span: &Span| {
            let is_there = span.local.port.is_some_and(|own| u64::from(own) == port);
            span.protocol == protocol && is_there && span.status == "ok" && span.flags.is_empty()
        };
        agent.settle(usize::try_from(wanted)?, is_good);
        let good = agent.spans()?.iter().filter(|span| is_good(span)).count();
        ensure!(good as u64 == wanted, "{protocol}: {good} of {wanted}, {counted:?}");
    }
    for problem in ["malformed_message", "wrong_guess"] {
        ensure!(counted.iter().any(|reason| reason.contains(problem)), "{problem}: {counted:?}");
    }
    ensure!(highest < before + MEMORY, "{before} bytes became {highest}");
    agent.stop()?;
    Ok(())
}

/// A program that is watched runs as if it were not: same answer to the last byte, same exit.
#[test]
fn programs_notice_nothing() -> Result<()> {
    if missing(
        "hostile: programs",
        &[Need::Root, Need::Agent, Need::Program("nginx"), Need::Program("curl")],
    )? {
        return Ok(());
    }
    let site = Site::start()?;
    let url = format!("http://{}/large/notice/0", site.nginx.target());
    let fetch = || -> Result<Vec<String>> {
        let sum = format!("set -e -o pipefail; curl -sS {url} | sha256sum");
        Ok(run(Command::new("bash").args(["-c", &sum]))?.output)
    };
    let bare = fetch()?;
    let agent = Agent::start(&Options::default())?;
    let watched = fetch()?;
    drop(agent.stop()?);
    ensure!(bare == watched, "{bare:?} became {watched:?}");
    Ok(())
}
