//! `overhead/redis`: Redis at saturation by redis-benchmark, one command at a time on each connection.

use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};

use super::agent::Unwatched;
use super::load::{self, Subject};
use super::report::Outcome;
use super::{Bench, http, process, prometheus, wrk};
use crate::advice::Advice;
use crate::command;

const START_LIMIT: Duration = Duration::from_secs(5);
const STOP_LIMIT: Duration = Duration::from_secs(5);

/// Commands of the first run, by which the length of the others is known.
const FIRST: u64 = 10_000;

const COUNTED: &str = "db_server_operation_duration_seconds_count";

/// A running server; ends when dropped.
struct Redis {
    child: Child,
    address: SocketAddr,
    connections: u32,
    /// Commands per second of the run before.
    rate: AtomicU64,
}

impl Redis {
    fn start(bench: &Bench) -> Result<Self> {
        let address = http::free_address()?;
        let child = Command::new(find("redis-server")?)
            .args(["--bind", "127.0.0.1", "--port", &address.port().to_string()])
            .args(["--save", "", "--dir"])
            .arg(&bench.folder)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .context("cannot start redis-server")?;
        let connections = bench.connections;
        let redis = Self { child, address, connections, rate: AtomicU64::new(FIRST) };
        let end = Instant::now() + START_LIMIT;
        while redis.served().is_err() {
            if Instant::now() >= end {
                return Err(Advice::error(
                    "redis-server does not answer",
                    format!("run it: redis-server --port {}", redis.address.port()),
                ));
            }
            thread::sleep(Duration::from_millis(20));
        }
        Ok(redis)
    }

    fn port(&self) -> String {
        self.address.port().to_string()
    }
}

impl Subject for Redis {
    /// As many `SET` as `GET`, for about as long as said.
    fn load(&self, length: Duration) -> Result<wrk::Run> {
        let rate = self.rate.load(Ordering::Relaxed);
        let of_each = (rate.saturating_mul(length.as_secs()) / 2).max(1);
        let begin = Instant::now();
        let output = command::read(
            Command::new(find("redis-benchmark")?)
                .args(["-p", &self.port(), "-t", "set,get", "--csv"])
                .args(["-c", &self.connections.to_string(), "-n", &of_each.to_string()]),
        )?;
        let run = parse(&output, of_each).with_context(|| {
            format!("redis-benchmark printed another form than expected:\n{output}")
        })?;
        let taken = u64::try_from(begin.elapsed().as_millis())?.max(1);
        self.rate.store(run.requests.saturating_mul(1000) / taken, Ordering::Relaxed);
        Ok(run)
    }

    fn served(&self) -> Result<u64> {
        let stats = command::read(Command::new(find("redis-cli")?).args([
            "-p",
            &self.port(),
            "info",
            "stats",
        ]))?;
        let line = stats.lines().find_map(|line| line.strip_prefix("total_commands_processed:"));
        let before: u64 = line.context("redis-server counts no commands")?.trim().parse()?;
        Ok(before + 1)
    }

    fn counted(&self, metrics: &str) -> Option<f64> {
        prometheus::sum_where(metrics, COUNTED, |labels| labels.contains("\"redis\""))
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        if let Err(error) = process::stop(&mut self.child, STOP_LIMIT) {
            eprintln!("bench: redis-server: {error:#}");
        }
    }
}

fn find(program: &str) -> Result<std::path::PathBuf> {
    command::which(program)
        .with_context(|| format!("{program} is missing; see the messages of set-up"))
}

/// Reads both tests: `"SET","76335.88",…,P99,MAX` in milliseconds. Between them, and before the first,
/// it asks for the server's configuration.
fn parse(output: &str, of_each: u64) -> Option<wrk::Run> {
    let mut seconds = 0.0;
    let mut p99: f64 = 0.0;
    for test in ["\"SET\",", "\"GET\","] {
        let line = output.lines().find_map(|line| line.strip_prefix(test))?;
        let figure =
            |index: usize| line.split(',').nth(index)?.trim_matches('"').parse::<f64>().ok();
        seconds += of_each as f64 / figure(0)?;
        p99 = p99.max(figure(5)? / 1e3);
    }
    let requests = 2 * of_each;
    Some(wrk::Run { requests, rate: requests as f64 / seconds, p99: Some(p99) })
}

/// Runs the benchmark; the load counts as one on another machine.
pub(super) fn measure(bench: &Bench, name: &'static str) -> Result<Outcome> {
    let redis = Redis::start(bench)?;
    let unwatched = Unwatched(&["*/redis-benchmark", "*/redis-cli", "*/xtask"]);
    load::measure(bench, name, &redis, unwatched, None)
}

#[cfg(test)]
mod tests {
    use super::*;

    const OUTPUT: &str = "\
\"test\",\"rps\",\"avg_latency_ms\",\"min_latency_ms\",\"p50_latency_ms\",\"p95_latency_ms\",\"p99_latency_ms\",\"max_latency_ms\"
\"SET\",\"50000.00\",\"0.033\",\"0.016\",\"0.031\",\"0.047\",\"0.055\",\"0.423\"
\"GET\",\"100000.00\",\"0.033\",\"0.016\",\"0.031\",\"0.047\",\"0.063\",\"0.423\"
";

    #[test]
    fn reads_what_redis_benchmark_prints() {
        let run = parse(OUTPUT, 1000).unwrap();
        assert_eq!(run.requests, 2000);
        assert!((run.rate - 2000.0 / 0.03).abs() < 1e-3, "{}", run.rate);
        assert!((run.p99.unwrap() - 0.000_063).abs() < 1e-9);
        assert!(parse("Could not connect", 1).is_none());
    }
}
