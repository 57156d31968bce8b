//! h2load, the load over HTTP/2: one connection with many streams at a time.

use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};

use super::wrk::Run;
use crate::command;

/// Streams at a time.
const STREAMS: &str = "100";

/// Loads `url` for as long as said; any failed request is an error.
pub(super) fn run(url: &str, length: Duration) -> Result<Run> {
    let h2load =
        command::which("h2load").context("h2load is missing; see the messages of set-up")?;
    let output = command::read(
        Command::new(h2load)
            .args(["--clients", "1", "--max-concurrent-streams", STREAMS])
            .args(["--duration", &length.as_secs().to_string()])
            .arg(url),
    )?;
    let (run, failed) = parse(&output)
        .with_context(|| format!("h2load printed another form than expected:\n{output}"))?;
    // Those that were under way at the end count as failed.
    if failed > STREAMS.parse()? {
        bail!("h2load had {failed} failures:\n{output}");
    }
    Ok(run)
}

fn parse(output: &str) -> Option<(Run, u64)> {
    let rate = output.lines().find_map(|line| {
        let figures = line.strip_prefix("finished in ")?.split(", ").nth(1)?;
        figures.strip_suffix(" req/s")?.parse().ok()
    })?;
    let requests = output.lines().find_map(|line| line.strip_prefix("requests: "))?;
    let number = |what: &str| {
        requests.split(", ").find_map(|part| part.strip_suffix(what)?.trim().parse::<u64>().ok())
    };
    let run = Run { requests: number(" succeeded")?, rate, p99: None };
    Some((run, number(" failed")?))
}

#[cfg(test)]
mod tests {
    use super::*;

    const OUTPUT: &str = "\
finished in 2.00s, 45000.50 req/s, 5.66MB/s
requests: 90101 total, 90151 started, 90101 done, 90001 succeeded, 100 failed, 100 errored, 0 timeout
status codes: 90001 2xx, 0 3xx, 0 4xx, 0 5xx
";

    #[test]
    fn reads_what_h2load_prints() {
        let (run, failed) = parse(OUTPUT).unwrap();
        assert_eq!((run.requests, run.p99, failed), (90_001, None, 100));
        assert!((run.rate - 45_000.5).abs() < 1e-6);
        assert!(parse("unable to connect").is_none());
    }
}
