//! `overhead/nginx-keepalive…` and `overhead/h2`: one nginx worker at saturation, small answers over
//! connections that stay open.

use std::time::Duration;

use anyhow::Result;

use super::agent::Unwatched;
use super::load::{self, Subject};
use super::nginx::Nginx;
use super::receiver::Receiver;
use super::report::Outcome;
use super::{Bench, h2load, prometheus, wrk};

const COUNTED: &str = "http_server_request_duration_seconds_count";

/// Who sends the requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Load {
    /// HTTP/1.1, over as many connections as asked for.
    Wrk,
    /// HTTP/2, over one connection.
    H2load,
}

/// What the agent does with what it sees.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mode {
    /// Exports spans; the load counts as one on another machine.
    Spans,
    /// Keeps metrics only; the load counts as one on another machine.
    Metrics,
    /// Exports spans, and the load is watched too.
    SpansOfBothEnds,
}

impl Mode {
    /// The benchmark's own programs are never of interest.
    fn unwatched(self) -> Unwatched<'static> {
        match self {
            Self::Spans | Self::Metrics => {
                Unwatched(&["*/wrk", "*/h2load", "*/xtask", "*/rotel-agent"])
            }
            Self::SpansOfBothEnds => Unwatched(&["*/xtask", "*/rotel-agent"]),
        }
    }
}

/// nginx and its load.
struct Site {
    nginx: Nginx,
    load: Load,
    connections: u32,
}

impl Subject for Site {
    fn load(&self, length: Duration) -> Result<wrk::Run> {
        match self.load {
            Load::Wrk => wrk::run(&self.nginx.url(), self.connections, length),
            Load::H2load => h2load::run(&self.nginx.http2_url(), length),
        }
    }

    fn served(&self) -> Result<u64> {
        self.nginx.requests()
    }

    /// For all services when none has that name.
    fn counted(&self, metrics: &str) -> Option<f64> {
        let is_nginx = |labels: &str| labels.contains("\"nginx\"");
        prometheus::sum_where(metrics, COUNTED, is_nginx)
            .or_else(|| prometheus::sum(metrics, COUNTED))
    }
}

/// Runs the benchmark.
pub(super) fn measure(
    bench: &Bench,
    name: &'static str,
    load: Load,
    mode: Mode,
) -> Result<Outcome> {
    let nginx = Nginx::start(&bench.folder, bench.page)?;
    let site = Site { nginx, load, connections: bench.connections };
    let receiver = match mode {
        Mode::Spans | Mode::SpansOfBothEnds => Some(Receiver::start(bench)?),
        Mode::Metrics => None,
    };
    load::measure(bench, name, &site, mode.unwatched(), receiver.as_ref())
}
