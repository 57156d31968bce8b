//! Bytes that are meant to hurt: vigie stays up and counts what it could not make sense of, and
//! the watched programs notice nothing of it.

use std::collections::BTreeSet;
use std::process::Command;

use anyhow::{Result, ensure};
use vigie_tests::agent::{Agent, Options};
use vigie_tests::compare::{Expected, compare, report};
use vigie_tests::needs::{Need, missing};
use vigie_tests::process::run;
use vigie_tests::site::{Name, Site};
use vigie_tests::span::Kind;
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
