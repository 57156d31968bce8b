//! wrk, the load: one thread that sends requests over connections it keeps open.

use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};

use crate::command;

/// What a run of wrk reports.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Run {
    /// Answers received.
    pub(super) requests: u64,
    /// Answers per second.
    pub(super) rate: f64,
    /// 99th percentile of the time to an answer, in seconds, where the load tells it.
    pub(super) p99: Option<f64>,
}

/// Loads `url` for as long as said; any failed request is an error.
pub(super) fn run(url: &str, connections: u32, length: Duration) -> Result<Run> {
    let wrk = command::which("wrk").context("wrk is missing; see the messages of set-up")?;
    let output = command::read(
        Command::new(wrk)
            .args(["--threads", "1", "--latency", "--connections", &connections.to_string()])
            .args(["--duration", &format!("{}s", length.as_secs())])
            .arg(url),
    )?;
    for trouble in ["Socket errors:", "Non-2xx or 3xx responses:"] {
        if let Some(line) = output.lines().find(|line| line.trim().starts_with(trouble)) {
            bail!("wrk had failures: {}", line.trim());
        }
    }
    parse(&output).with_context(|| format!("wrk printed another form than expected:\n{output}"))
}

fn parse(output: &str) -> Option<Run> {
    let requests = output.lines().find_map(|line| line.split_once(" requests in "))?.0;
    let rate = output.lines().find_map(|line| line.strip_prefix("Requests/sec:"))?;
    let p99 = output.lines().find_map(|line| line.trim().strip_prefix("99%"))?;
    Some(Run {
        requests: requests.trim().parse().ok()?,
        rate: rate.trim().parse().ok()?,
        p99: Some(parse_time(p99.trim())?),
    })
}

/// A time as wrk writes it, such as `1.23ms`, in seconds.
fn parse_time(text: &str) -> Option<f64> {
    let unit_start = text.find(|c: char| c.is_ascii_alphabetic())?;
    let (number, unit) = text.split_at_checked(unit_start)?;
    let factor = match unit {
        "us" => 1e-6,
        "ms" => 1e-3,
        "s" => 1.0,
        "m" => 60.0,
        _ => return None,
    };
    Some(number.parse::<f64>().ok()? * factor)
}

#[cfg(test)]
mod tests {
    use super::*;

    const OUTPUT: &str = "\
Running 3s test @ http://127.0.0.1:18080/
  1 threads and 50 connections
  Thread Stats   Avg      Stdev     Max   +/- Stdev
    Latency   563.91us  636.21us  11.81ms   95.40%
    Req/Sec    77.22k    16.14k  129.90k    80.65%
  Latency Distribution
     50%  493.00us
     75%  556.00us
     90%  615.00us
     99%    3.78ms
  238127 requests in 3.10s, 56.77MB read
Requests/sec:  76821.90
Transfer/sec:     18.32MB
";

    #[test]
    fn reads_what_wrk_prints() {
        let run = parse(OUTPUT).unwrap();
        assert_eq!(run.requests, 238_127);
        assert!((run.rate - 76_821.9).abs() < 1e-6);
        assert!((run.p99.unwrap() - 0.003_78).abs() < 1e-9);
        assert_eq!(parse("unable to connect"), None);
    }

    #[test]
    fn reads_times_of_every_unit() {
        let time = |text| parse_time(text).unwrap();
        assert!((time("250.00us") - 0.000_25).abs() < 1e-12);
        assert!((time("1.50s") - 1.5).abs() < 1e-12);
        assert!((time("2.00m") - 120.0).abs() < 1e-9);
        assert_eq!(parse_time("12"), None);
        assert_eq!(parse_time("1.0h"), None);
    }
}
