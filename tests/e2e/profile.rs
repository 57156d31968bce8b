//! `vigie profile`: the report that one command gives, in each of its forms.

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;
use vigie_tests::agent;
use vigie_tests::needs::{Need, missing};
use vigie_tests::process::{Ended, LIMIT, Process};
use vigie_tests::site::{Name, Site};
use vigie_tests::workload::curl;

const NEEDS: [Need; 6] = [
    Need::Root,
    Need::Agent,
    Need::Program("nginx"),
    Need::Program("python3"),
    Need::Program("node"),
    Need::Program("curl"),
];

/// To each of them 50 requests over one connection and 50 over connections of their own.
const TARGETS: [(Name, &str); 3] =
    [(Name::Nginx, "/static"), (Name::PythonHttp11, "/plain"), (Name::Node, "/plain")];

#[test]
fn counts_are_exact() -> Result<()> {
    if missing("profile", &NEEDS)? {
        return Ok(());
    }
    let site = Site::start()?;
    let ended = profile(&["--duration", "5s", "--json"], || drive(&site))?;
    let text = ended.output.join("\n");
    let report: Value = serde_json::from_str(&text).with_context(|| format!("no JSON: {text}"))?;
    let is = |pointer: &str, wanted: Value| -> Result<()> {
        let found = report.pointer(pointer);
        ensure!(found == Some(&wanted), "{pointer} is {found:?}, should be {wanted}");
        Ok(())
    };
    is("/version", 1.into())?;
    is("/backend", "socket-tracepoint".into())?;
    is("/loss/records_dropped", 0.into())?;
    is("/loss/completeness", 1.0.into())?;
    for (name, path) in TARGETS {
        let pids = match name {
            Name::Nginx => site.nginx.workers()?,
            _ => site.server(name).map(|server| server.pids.clone()).unwrap_or_default(),
        };
        let route = format!("GET {path}/profile/{{id}}");
        let count = endpoint_count(&report, &pids, "server", &route);
        ensure!(count == 100, "{name:?}: {count} of 100 for {route}: {text}");
    }
    let calls: u64 = ["/static", "/plain"]
        .map(|path| client_count(&report, &format!("GET {path}/profile/{{id}}")))
        .iter()
        .sum();
    ensure!(calls == 300, "clients made {calls} of 300: {text}");
    let edges = report.pointer("/edges").and_then(Value::as_array).context("no edges")?;
    ensure!(!edges.is_empty(), "no edges");
    Ok(())
}

fn drive(site: &Site) -> Result<()> {
    for (name, path) in TARGETS {
        let target = site.target(name).context("no such server")?;
        let prefix = format!("{path}/profile");
        curl(&target, &prefix, 50, &[])?;
        // Not one curl with `Connection: close`: where the server closes without saying so, curl
        // now and then asks again on a connection that is being closed, and then once more on
        // another, which are two requests.
        for _ in 0..50 {
            curl(&target, &prefix, 1, &[])?;
        }
    }
    Ok(())
}

/// Sum of the counts of an endpoint over the services that have one of these processes.
fn endpoint_count(report: &Value, pids: &[u32], kind: &str, name: &str) -> u64 {
    services(report)
        .filter(|service| {
            let own = service.get("pids").and_then(Value::as_array);
            own.is_some_and(|own| pids.iter().any(|pid| own.contains(&Value::from(*pid))))
        })
        .map(|service| count_in(service, kind, name))
        .sum()
}

fn client_count(report: &Value, name: &str) -> u64 {
    services(report).map(|service| count_in(service, "client", name)).sum()
}

fn services(report: &Value) -> impl Iterator<Item = &Value> {
    report.get("services").and_then(Value::as_array).into_iter().flatten()
}

fn count_in(service: &Value, kind: &str, name: &str) -> u64 {
    let endpoints = service.get("endpoints").and_then(Value::as_array).into_iter().flatten();
    endpoints
        .filter(|endpoint| endpoint.get("kind").is_some_and(|own| own == kind))
        .filter(|endpoint| endpoint.get("name").is_some_and(|own| own == name))
        .filter_map(|endpoint| endpoint.get("count").and_then(Value::as_u64))
        .sum()
}

#[test]
fn the_table_fits_a_terminal() -> Result<()> {
    if missing("profile: table", &NEEDS)? {
        return Ok(());
    }
    let site = Site::start()?;
    let ended = profile(&["--duration", "4s"], || drive(&site))?;
    for line in &ended.output {
        let width = line.chars().count();
        ensure!(width <= 100, "{width} columns: {line}");
    }
    let text = ended.output.join("\n");
    for word in ["nginx", "/static/profile/{id}", "/plain/profile/{id}", "python11", "node"] {
        ensure!(text.contains(word), "no {word} in the table:\n{text}");
    }
    Ok(())
}

#[test]
fn a_command_is_watched_to_its_end() -> Result<()> {
    if missing("profile: command", &NEEDS)? {
        return Ok(());
    }
    let site = Site::start()?;
    let url = format!("http://{}/static/command/[0-9]", site.nginx.target());
    let script = format!("curl -sS -o /dev/null '{url}'; exit 7");
    let mut command = agent::command()?;
    let process = Process::start(command.args(["profile", "--json", "--", "sh", "-c", &script]))?;
    let ended = process.wait(LIMIT)?;
    let text = ended.output.join("\n");
    let report: Value = serde_json::from_str(&text)
        .with_context(|| format!("no JSON: {text}\n{}", ended.errors.join("\n")))?;
    ensure!(has_exit_code(&report, 7), "no exit code 7 in {text}");
    let count = client_count(&report, "GET /static/command/{id}");
    ensure!(count == 10, "{count} of 10: {text}");
    Ok(())
}

/// Whether some field whose name speaks of an exit holds this code.
fn has_exit_code(value: &Value, code: i64) -> bool {
    let Value::Object(fields) = value else { return false };
    fields.iter().any(|(name, value)| {
        (name.contains("exit") && value.as_i64() == Some(code)) || has_exit_code(value, code)
    })
}

/// Runs it, and `work` once it says that it is ready.
fn profile(arguments: &[&str], work: impl FnOnce() -> Result<()>) -> Result<Ended> {
    let mut command = agent::command()?;
    let process = Process::start(command.arg("profile").args(arguments))?;
    let is_ready =
        |lines: &[String]| lines.iter().any(|line| line.starts_with("ready")).then_some(());
    let ready = process.errors.wait(0, LIMIT, is_ready);
    ready.with_context(|| format!("not ready{}", process.said()))?;
    work()?;
    let ended = process.wait(LIMIT)?;
    ensure!(ended.status.success(), "profile: {}: {}", ended.status, ended.errors.join("\n"));
    Ok(ended)
}
