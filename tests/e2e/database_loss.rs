//! Calls of a database while records are lost: what is missing is known to be lost, nothing is counted
//! twice, and what comes after is exact again.

use std::process::Command;
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use vigie_tests::agent::{Agent, Options};
use vigie_tests::needs::{self, Need, missing};
use vigie_tests::process::{LIMIT, Process, service, until};
use vigie_tests::redis::Redis;
use vigie_tests::tally::Tally;

const NEEDS: [Need; 4] =
    [Need::Root, Need::Agent, Need::Program("redis-server"), Need::Program("redis-benchmark")];

#[test]
fn what_is_lost_is_known() -> Result<()> {
    const MADE: usize = 200_000;
    if missing("database_loss", &NEEDS)? {
        return Ok(());
    }
    let server = Redis::start()?;
    let variable = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    let agent = Agent::start(&Options {
        environment: vec![
            variable("VIGIE_DEBUG_STOP_READER", "2s"),
            variable("VIGIE_CAPTURE_RING_BYTES", "4MiB"),
        ],
        without_spans: true,
        ..server.options()
    })?;
    let benchmark = |what: &str, number: usize, clients: &str| -> Result<Process> {
        let mut command = Command::new(needs::find("redis-benchmark").context("none")?);
        command
            .args(["-p", &server.port(), "-q", "-t", what, "-n", &number.to_string()])
            .args(["-c", clients])
            .env("OTEL_SERVICE_NAME", service(what));
        Process::start(&mut command)
    };
    let many = benchmark("get", MADE, "20")?;
    thread::sleep(Duration::from_millis(200));
    agent.stop_reader()?;
    many.wait(2 * LIMIT)?;
    let calls: Tally = [("GET -", MADE)].into_iter().collect();
    let seen = |side: &str| -> Result<(usize, f64)> {
        let samples = agent.metrics()?;
        let metric = format!("db.{side}.operation.duration");
        let labels = [("metric", metric.as_str())];
        let untrusted = samples.sum("vigie_durations_untrusted_total", &labels);
        Ok((samples.database_calls(side, None, &calls).total(), untrusted))
    };
    let mut last = Vec::new();
    until("all that was seen is counted", LIMIT, || {
        thread::sleep(Duration::from_secs(1));
        let now = vec![seen("client")?, seen("server")?];
        Ok(std::mem::replace(&mut last, now.clone()) == now)
    })?;
    let samples = agent.metrics()?;
    let dropped = samples.sum("vigie_records_dropped_total", &[("reason", "database_lost")]);
    for (timed, untrusted) in last {
        let told = format!("{timed} and {untrusted} without a duration of {MADE}, {dropped} lost");
        ensure!(timed as f64 + untrusted < MADE as f64, "nothing is missing: {told}");
        ensure!(dropped >= MADE as f64 - timed as f64 - untrusted, "not known to be lost: {told}");
    }
    ensure!(samples.sum("vigie_completeness_ratio", &[]) < 1.0, "complete with {dropped} lost");
    benchmark("incr", 5_000, "1")?.wait(2 * LIMIT)?;
    let calls: Tally = [("INCR -", 5_000)].into_iter().collect();
    for side in ["client", "server"] {
        let seen = || agent.metrics().map(|now| now.database_calls(side, None, &calls));
        until("the calls after it are counted", LIMIT, || Ok(seen()?.total() >= calls.total()))?;
        calls.compare(side, &seen()?)?;
    }
    agent.finish()?;
    Ok(())
}
