//! SIGHUP: a good configuration takes effect without a restart, a bad one is refused, named, and
//! changes nothing. No request is lost over it.

use std::collections::BTreeSet;
use std::thread;
use std::time::Duration;

use anyhow::{Result, ensure};
use vigie_tests::agent::{Agent, Options};
use vigie_tests::needs::{Need, missing};
use vigie_tests::span::{Kind, Span};
use vigie_tests::workload::{Server, logging_client, python, wait_for};

/// The watching thread takes new rules over within a second.
const TAKEN_OVER: Duration = Duration::from_millis(1500);

/// Requests in each step.
const COUNT: usize = 5;

fn rules(name: &str, pattern: &str) -> String {
    format!(
        "services: [{{match: {{service: told}}, name: {name}}}]\n\
         routes: {{patterns: ['{pattern}']}}\n"
    )
}

struct Step {
    path: &'static str,
    config: String,
    /// What vigie says of the configuration.
    says: &'static str,
    /// Service and route after it.
    wanted: (&'static str, &'static str),
}

#[test]
fn a_new_configuration_takes_effect_and_a_bad_one_does_not() -> Result<()> {
    if missing("reload", &[Need::Root, Need::Agent, Need::Program("python3")])? {
        return Ok(());
    }
    let to = |path, config, says, wanted| Step { path, config, says, wanted };
    let reloaded = "configuration reloaded";
    let steps = [
        to("/plain/b", rules("two", "/plain/{letter}/*"), reloaded, ("two", "/plain/{letter}/*")),
        to("/plain/c", "nonsense: 1\n".into(), "nonsense", ("two", "/plain/{letter}/*")),
        to("/plain/d", "a: [1,\n".into(), "vigie.yaml", ("two", "/plain/{letter}/*")),
        to("/plain/e", "{}\n".into(), reloaded, ("told", "/plain/e/{id}")),
    ];
    let config = Some(rules("one", "/none"));
    let mut agent = Agent::start(&Options { config, ..Options::default() })?;
    let server = Server::python("told", "scripted_server.py", &[])?;
    let mut requests = 0;
    let mut send = |path: &str| -> Result<()> {
        let mut client = python("client.py")?;
        client.args(["--target", server.target(), "--path", path, "--count", &COUNT.to_string()]);
        logging_client(&mut client)?;
        requests += COUNT;
        wait_for(requests, || server.exchanges()).map(drop)
    };
    let of_server = |span: &Span| span.kind == Kind::Server && server.pids.contains(&span.pid);
    send("/plain/a")?;
    agent.settle(COUNT, of_server);
    for (number, step) in (2..).zip(&steps) {
        agent.reload(&step.config, step.says)?;
        thread::sleep(TAKEN_OVER);
        send(step.path)?;
        agent.settle(number * COUNT, of_server);
    }
    ensure!(agent.is_running()?, "vigie ended");
    let spans = agent.stop()?.spans;
    let first = ("/plain/a", ("one", "/plain/a/{id}"));
    for (path, (service, route)) in steps.iter().map(|step| (step.path, step.wanted)).chain([first])
    {
        let found: Vec<_> = spans
            .iter()
            .filter(|span| of_server(span) && span.path().starts_with(path))
            .map(|span| (span.service.as_str(), span.text("http.route").unwrap_or_default()))
            .collect();
        ensure!(found.len() == COUNT, "{path}: {} of {COUNT}", found.len());
        let kinds: BTreeSet<_> = found.into_iter().collect();
        ensure!(kinds == BTreeSet::from([(service, route)]), "{path}: {kinds:?}");
    }
    Ok(())
}
