//! Where the commands put spans and reports.

use std::collections::HashMap;
use std::io::Write;

use crate::discover::Host;
use crate::export::otlp::{Counters as ExportCounters, TraceExporter};
use crate::export::span_line;
use crate::kernel::cost;
use crate::loss::Losses;
use crate::metrics::snapshot::Snapshot;

use crate::pipeline::TakeSpans;
use crate::report::{Cost, Meta, Report};
use crate::span::Span;
use crate::watch::{Published, Watch};

/// The line that scripts wait for: the probes are attached, nothing is missed from now on.
pub(super) fn say_ready(watch: &Watch, addresses: &str) {
    say_ready_as(&format!("backend={}{addresses}", watch.backend));
}

/// `ready`, and what is.
#[expect(clippy::print_stderr, reason = "standard output is for results")]
pub(super) fn say_ready_as(what: &str) {
    eprintln!("ready {what}");
}

/// Spans as JSON lines. A round's lines are written in one go.
pub(super) struct Lines<W> {
    to: W,
    buffer: Vec<u8>,
    failed: bool,
}

impl<W: Write> Lines<W> {
    pub(super) fn new(to: W) -> Self {
        Self { to, buffer: Vec::new(), failed: false }
    }
}

impl<W: Write + Send> TakeSpans for Lines<W> {
    fn take(&mut self, spans: &mut Vec<Span>) {
        if self.failed {
            return;
        }
        self.buffer.clear();
        for span in spans.iter() {
            span_line::write(span, &mut self.buffer);
        }
        if let Err(error) = self.to.write_all(&self.buffer).and_then(|()| self.to.flush()) {
            tracing::error!(%error, "span lines cannot be written any more");
            self.failed = true;
        }
    }
}

/// Spans to the OTLP exporter. It keeps them, so it comes last.
pub(super) struct Traces(pub(super) TraceExporter);

impl TakeSpans for Traces {
    fn take(&mut self, spans: &mut Vec<Span>) {
        self.0.offer(spans);
    }
}

/// The costs of reports.
pub(super) fn cost_of(published: &Published) -> Cost {
    let programs = &published.cost;
    #[expect(clippy::cast_sign_loss, clippy::cast_possible_truncation, reason = "saturates")]
    let whole = |runs: f64| runs.round() as u64;
    Cost {
        agent_cpu_s: cost::cpu_time().as_secs_f64(),
        agent_rss_bytes: cost::resident_bytes(),
        // The sum of no numbers is -0.0, and would be shown as such.
        probe_s: programs.iter().fold(0.0, |sum, program| sum + program.seconds),
        probe_ns_per_call: programs
            .iter()
            .map(|program| (program.name.clone(), program.ns_per_run))
            .collect(),
        probe_runs: programs
            .iter()
            .map(|program| (program.name.clone(), whole(program.runs)))
            .collect(),
        map_bytes: published.maps.iter().map(|map| map.bytes).sum(),
    }
}

/// A report of a running watch, and of the exporter where there is one.
pub(super) fn live_report(
    snapshot: &Snapshot,
    watch: &Watch,
    export: Option<&ExportCounters>,
) -> Report {
    let host = Host::read();
    let published = watch.published();
    let losses = Losses::of(&watch.counters.read(), &published, export);
    let elapsed_ns = snapshot.time_unix_nano.saturating_sub(snapshot.start_unix_nano);
    Report::new(
        snapshot,
        Meta {
            host: host.name,
            kernel: host.kernel,
            backend: watch.backend.name().to_owned(),
            started_unix_nano: snapshot.start_unix_nano,
            duration_s: elapsed_ns as f64 / 1e9,
            service_cpu_s: HashMap::new(),
            exit_code: None,
            losses,
            connections_mid_stream: published.figures.flows.mid_stream,
            cost: cost_of(&published),
            budget: published.budget,
            slo: Vec::new(),
        },
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_measured_costs_zero() {
        let cost = cost_of(&Published::default());
        assert!(cost.probe_s.to_bits() == 0 && cost.probe_ns_per_call.is_empty());
    }
}
