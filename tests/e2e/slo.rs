//! SLOs from end to end: nginx in front of a service that starts to fail, to be slow, to hang; an
//! Alertmanager that is told; the gate.

#![expect(clippy::indexing_slicing, reason = "of JSON: what is not there is null")]

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;
use vigie_tests::agent::{self, Agent, Options};
use vigie_tests::alertmanager::{Alertmanager, PROGRAM};
use vigie_tests::http;
use vigie_tests::needs::{Need, missing};
use vigie_tests::nginx::{Nginx, Upstreams};
use vigie_tests::process::{Process, until};
use vigie_tests::workload::{now, python};

/// An outage must page within a minute; a machine that is slow may take longer to say so.
const PATIENCE: Duration = Duration::from_mins(2);

/// Windows that begin and end within seconds.
const QUICK: &str = "alerts: [{name: fast, severity: page, long: 30s, short: 10s, factor: 14.4}]";

/// The service behind nginx, and its customers.
struct Shop {
    _api: Process,
    _customers: Process,
    folder: tempfile::TempDir,
    _nginx: Nginx,
}

impl Shop {
    fn start() -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let port = http::free_address()?.port();
        let task = |task: &str, port: u16| -> Result<Process> {
            let mut command = python("shop.py")?;
            command.arg(task).arg(folder.path()).env("OTEL_SERVICE_NAME", task);
            command.env("SHOP_PORT", port.to_string()).env("SHOP_ORDERS", "/proxy/orders/");
            Process::start(&mut command)
        };
        // The port of `web`, which is nginx here, is the one before.
        let api = task("api", port - 1)?;
        let address = format!("127.0.0.1:{port}");
        until("the shop accepts", PATIENCE, || Ok(http::accepts(address.parse()?)))?;
        let nginx = Nginx::start(&Upstreams { tcp: &address, unix: &address })?;
        let customers = task("customers", nginx.port())?;
        Ok(Self { _api: api, _customers: customers, folder, _nginx: nginx })
    }

    /// Sets what becomes of orders from now on. Gives the time in seconds since 1970.
    fn mood(&self, mood: &str) -> Result<f64> {
        let new = self.folder.path().join("new");
        fs::write(&new, mood)?;
        fs::rename(new, self.folder.path().join("mood"))?;
        Ok(now()? as f64 / 1e9)
    }
}

/// `vigie slo …` of the agent: exit code and standard output.
fn ask(agent: &Agent, arguments: &[&str]) -> Result<(i32, String)> {
    let mut command: Command = agent::command()?;
    let state = agent.folder().join("state");
    let output = command.arg("slo").args(arguments).arg("--state").arg(state).output()?;
    let text = String::from_utf8(output.stdout)?;
    Ok((output.status.code().context("ended by a signal")?, text))
}

fn slo(agent: &Agent, name: &str) -> Result<Value> {
    let (_, text) = ask(agent, &["status", "--json"])?;
    let status: Value = serde_json::from_str(&text)?;
    let slos = status["slos"].as_array().context("no SLOs")?;
    let found = slos.iter().find(|slo| slo["name"] == name);
    found.cloned().with_context(|| format!("no {name} in {text}"))
}

/// Waits until an alert of an SLO fires; gives it.
fn fires(agent: &Agent, name: &str, pair: &str) -> Result<Value> {
    let mut found = None;
    until(&format!("{pair} of {name}"), PATIENCE, || {
        let slo = slo(agent, name)?;
        let alerts = slo["alerts"].as_array().context("no alerts")?;
        found = alerts.iter().find(|alert| alert["pair"] == pair).cloned();
        Ok(found.is_some())
    })
    .with_context(|| format!("{:#}", slo(agent, name).unwrap_or_default()))?;
    found.context("it was there")
}

fn is_over(agent: &Agent, name: &str) -> Result<()> {
    until(&format!("end of the alerts of {name}"), PATIENCE, || {
        Ok(slo(agent, name)?["firing"].as_array().is_some_and(Vec::is_empty))
    })
}

fn files(folder: &Path, url: &str) -> Result<String> {
    let file = folder.join("slo.yaml");
    let text = format!(
        "slos:\n\
         - {{name: outage, service: nginx, objective: 99.9%, window: 30d, availability: true,\n\
         \u{20}  runbook_url: 'https://example.com/runbook'}}\n\
         - {{name: failing, service: nginx, objective: 99.9%, window: 1h, availability: true, {QUICK}}}\n\
         - {{name: slow, service: nginx, objective: 99.9%, window: 1h, latency: 1s, {QUICK}}}\n\
         - {{name: nobody, service: nobody, objective: 99%, window: 1h, availability: true}}\n\
         ---\n\
         apiVersion: openslo/v1\n\
         kind: AlertNotificationTarget\n\
         metadata: {{name: alertmanager, annotations: {{vigie.dev/url: '{url}'}}}}\n\
         spec: {{target: alertmanager}}\n"
    );
    fs::write(&file, text)?;
    Ok(file.display().to_string())
}

#[test]
fn failing_slow_and_hanging_services_page() -> Result<()> {
    let needs = [Need::Root, Need::Agent, Need::Program("nginx"), Need::Program(PROGRAM)];
    if missing("slo", &needs)? {
        return Ok(());
    }
    let mut alertmanager = Alertmanager::start(&["slo"])?;
    let folder = tempfile::tempdir()?;
    let file = files(folder.path(), &alertmanager.url())?;
    let arguments = vec!["--slo".to_owned(), file];
    let agent = Agent::start(&Options { arguments, without_spans: true, ..Options::default() })?;
    let shop = Shop::start()?;
    until("orders are counted", PATIENCE, || {
        Ok(slo(&agent, "outage")?["total"].as_u64().is_some_and(|total| total > 100))
    })?;
    ensure!(slo(&agent, "nobody")?["matched"] == false, "an SLO of nobody has matched something");
    ensure!(ask(&agent, &["gate", "--service", "nobody"])?.0 == 30, "nobody may ship");
    ensure!(ask(&agent, &["gate", "--service", "nginx"])?.0 == 0, "all is well, and yet no go");

    let broken = shop.mood("break")?;
    fires(&agent, "failing", "fast")?;
    let alert = fires(&agent, "outage", "page-quick")?;
    let (since, onset_ms) = (alert["since"].as_f64(), alert["onset_ms"].as_f64());
    let (since, onset) = (since.context("since")?, onset_ms.context("onset")? / 1e3);
    ensure!((onset - broken).abs() < 1.0, "broken at {broken}, told as {onset}");
    ensure!(since - onset <= 56.0, "the alert began {} s after the onset", since - onset);
    let told = alertmanager.wait("a page", |group| {
        let alerts = group["alerts"].as_array();
        alerts.is_some_and(|alerts| alerts.iter().any(|one| is(one, "outage", "firing")))
    })?;
    let told = told["alerts"].as_array().into_iter().flatten();
    let told = told.clone().find(|one| is(one, "outage", "firing")).context("told")?;
    let text = told["annotations"].to_string();
    for part in ["0.1 % allowed", "https://example.com/runbook", "503", "api GET"] {
        ensure!(text.contains(part), "no `{part}` in {text}");
    }
    let traces = trace_ids(&text);
    ensure!(traces >= 1, "no trace in {text}");
    ensure!(ask(&agent, &["gate", "--service", "nginx"])?.0 == 20, "a spent budget ships");
    let (_, why) = ask(&agent, &["explain", "outage"])?;
    ensure!(why.contains("probable cause: api GET"), "{why}");

    shop.mood("")?;
    is_over(&agent, "failing")?;
    alertmanager.wait("the end of a page", |group| {
        let alerts = group["alerts"].as_array();
        alerts.is_some_and(|alerts| alerts.iter().any(|one| is(one, "failing", "resolved")))
    })?;
    ensure!(slo(&agent, "slow")?["bad"] == 0, "quick failures were taken for slow");

    let failed = slo(&agent, "failing")?["bad"].as_u64();
    shop.mood("slow")?;
    fires(&agent, "slow", "fast")?;
    ensure!(slo(&agent, "failing")?["bad"].as_u64() == failed, "slow orders were taken for failed");
    shop.mood("")?;
    is_over(&agent, "slow")?;
    shop.mood("hang")?;
    fires(&agent, "slow", "fast")?;
    let slow = slo(&agent, "slow")?;
    let classes = slow["evidence"]["classes"].to_string();
    ensure!(classes.contains("hung"), "hung orders are not told: {classes}");
    agent.stop()?;
    Ok(())
}

fn is(alert: &Value, slo: &str, status: &str) -> bool {
    alert["labels"]["slo"] == slo && alert["status"] == status
}

/// Words of 32 hexadecimal digits.
fn trace_ids(text: &str) -> usize {
    let words = text.split(|c: char| !c.is_ascii_hexdigit());
    words.filter(|word| word.len() == 32).count()
}

#[test]
fn a_bad_slo_file_leaves_the_good_one() -> Result<()> {
    if missing("slo: reload", &[Need::Root, Need::Agent])? {
        return Ok(());
    }
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("slo.yaml");
    let good = |name: &str, objective: &str| {
        format!(
            "slos: [{{name: {name}, service: api, objective: {objective}, window: 30d, \
             availability: true}}]\n"
        )
    };
    fs::write(&file, good("first", "99%"))?;
    let config = format!("slo: {{files: ['{}']}}\n", file.display());
    let options = Options { config: Some(config.clone()), ..Options::default() };
    let agent = Agent::start(&options)?;
    ensure!(slo(&agent, "first")?["objective"] == 0.99);
    for (text, says) in [
        (good("first", "101%"), "slo.yaml:1:"),
        ("slos: [\n".to_owned(), "slo.yaml:"),
        (good("first", "99%").replace("30d", "1m"), "slo.yaml:1:"),
        (good("first", "99%").repeat(2), "slo.yaml:2:"),
    ] {
        fs::write(&file, &text)?;
        agent.reload(&config, says)?;
        agent.reload(&config, "the old configuration stays")?;
        ensure!(slo(&agent, "first")?["objective"] == 0.99, "{text} was taken");
    }
    fs::write(&file, good("second", "99.5%"))?;
    agent.reload(&config, "configuration reloaded")?;
    ensure!(slo(&agent, "second")?["objective"] == 0.995);
    ensure!(slo(&agent, "first").is_err(), "an SLO that is in no file any more");
    agent.stop()?;
    Ok(())
}
