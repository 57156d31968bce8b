//! The report as a table, for a person in an incident.

use std::fmt::{self, Write as _};

use super::{EdgeReport, EndpointReport, Report, ServiceReport, SloVerdict, format};
use crate::loss::{Effect, Reason};

/// Narrowest and widest table in columns.
const WIDTH: std::ops::RangeInclusive<usize> = 80..=160;
/// Columns of the figures, right of the names.
const FIGURES: usize = 60;
/// Endpoints of one service, and edges, that are shown; the rest is summed up in one line.
const ROWS: usize = 20;

/// The table in at most `width` columns (80 to 160), ending with a line break.
pub fn table(report: &Report, width: usize) -> String {
    let mut table = Table { text: String::new(), width: width.clamp(*WIDTH.start(), *WIDTH.end()) };
    table.head(report);
    if report.services.is_empty() {
        table.line(format_args!("no calls seen"));
    } else {
        table.columns(
            "SERVICE, endpoint",
            ["calls", "rate/s", "errors", "p50", "p90", "p99", "max"],
        );
    }
    for service in &report.services {
        table.service(service);
    }
    table.edges(&report.edges, report.duration_s);
    table.dns(report);
    table.dns_searches(report);
    table.slo(report);
    table.line(format_args!(""));
    table.loss(report);
    table.cost(report);
    table.text
}

struct Table {
    text: String,
    width: usize,
}

impl Table {
    fn line(&mut self, arguments: fmt::Arguments<'_>) {
        let start = self.text.len();
        // Writing to a string cannot fail.
        let _ = self.text.write_fmt(arguments);
        let end = self.text.get(start..).map_or(start, |line| start + line.trim_end().len());
        self.text.truncate(end);
        self.text.push('\n');
    }

    /// A name and up to seven figures.
    fn columns(&mut self, name: &str, [calls, rate, errors, p50, p90, p99, max]: [&str; 7]) {
        let names = self.width - FIGURES;
        let name = format::name(name, names);
        self.line(format_args!(
            "{name:names$}{calls:>8}{rate:>7}{errors:>13}{p50:>8}{p90:>8}{p99:>8}{max:>8}"
        ));
    }

    fn head(&mut self, report: &Report) {
        let head = format!(
            "{}, kernel {}, {} backend, watched for {}",
            report.host,
            report.kernel,
            report.backend,
            format::duration(report.duration_s)
        );
        let head = format::name(&head, self.width);
        self.line(format_args!("{head}"));
        self.line(format_args!(""));
    }

    fn service(&mut self, service: &ServiceReport) {
        let mut about = Vec::new();
        about.extend(service.language.clone());
        match service.pids.as_slice() {
            [] => {}
            [pid] => about.push(format!("pid {pid}")),
            pids => about.push(format!("{} processes", pids.len())),
        }
        if let Some(container) = &service.container {
            about.push(format!("container {}", container.chars().take(12).collect::<String>()));
        }
        if let Some(cpu_s) = service.cpu_s {
            about.push(format!("CPU {}", format::duration(cpu_s)));
        }
        let about = about.join(", ");
        let mut name = service.name.clone();
        if !service.namespace.is_empty() {
            name = format!("{}/{name}", service.namespace);
        }
        let name = format::name(&name, self.width - FIGURES);
        let room = self.width.saturating_sub(name.chars().count() + 2);
        let about = format::name(&about, room);
        self.line(format_args!("{name}  {about}"));
        for endpoint in service.endpoints.iter().take(ROWS) {
            self.endpoint(endpoint);
        }
        let rest: Vec<&EndpointReport> = service.endpoints.iter().skip(ROWS).collect();
        if !rest.is_empty() {
            let calls: u64 = rest.iter().map(|endpoint| endpoint.count).sum();
            let errors: u64 = rest.iter().map(|endpoint| endpoint.errors).sum();
            let name = format!("  … {} more", rest.len());
            let (calls, errors) = (format::count(calls), format::errors(errors, calls));
            self.columns(&name, [&calls, "", &errors, "", "", "", ""]);
        }
    }

    fn endpoint(&mut self, endpoint: &EndpointReport) {
        let name = match &endpoint.peer {
            Some(peer) => {
                // Both ends of the line matter: who is called, and what.
                let room = self.width - FIGURES - 5;
                let peer = format::name(peer, room / 2);
                let call = format::name(&endpoint.name, room - peer.chars().count());
                format!("  → {peer} {call}")
            }
            None => format!("  {}", endpoint.name),
        };
        let show = |figure: fn(&super::DurationReport) -> f64| {
            endpoint.duration_s.as_ref().map_or_else(|| "-".into(), |d| format::duration(figure(d)))
        };
        self.columns(
            &name,
            [
                &format::count(endpoint.count),
                &format::rate(endpoint.rate_per_s),
                &format::errors(endpoint.errors, endpoint.count),
                &show(|durations| durations.p50),
                &show(|durations| durations.p90),
                &show(|durations| durations.p99),
                &show(|durations| durations.max),
            ],
        );
    }

    fn edges(&mut self, edges: &[EdgeReport], duration_s: f64) {
        if edges.is_empty() {
            return;
        }
        self.line(format_args!(""));
        self.columns("WHO CALLS WHOM", ["calls", "rate/s", "errors", "p50", "", "p99", ""]);
        for edge in edges.iter().take(ROWS) {
            let room = self.width - FIGURES - 3;
            let client = format::name(&edge.client, room / 2);
            let server = format::name(&edge.server, room - client.chars().count());
            let seconds =
                |value: Option<f64>| value.map_or_else(|| "-".to_owned(), format::duration);
            let rate = if duration_s > 0.0 { edge.count as f64 / duration_s } else { 0.0 };
            self.columns(
                &format!("{client} → {server}"),
                [
                    &format::count(edge.count),
                    &format::rate(rate),
                    &format::errors(edge.errors, edge.count),
                    &seconds(edge.p50_s),
                    "",
                    &seconds(edge.p99_s),
                    "",
                ],
            );
        }
        if edges.len() > ROWS {
            self.line(format_args!("… {} more", edges.len() - ROWS));
        }
    }

    fn dns(&mut self, report: &Report) {
        if report.dns.is_empty() {
            return;
        }
        self.line(format_args!(""));
        self.columns("DNS", ["calls", "", "errors", "p50", "", "", "max"]);
        for name in report.dns.iter().take(ROWS) {
            self.columns(
                &format!(
                    "{} {}{}",
                    name.record_type,
                    name.name,
                    if name.stub { " (local stub)" } else { "" }
                ),
                [
                    &format::count(name.count),
                    "",
                    &format::errors(name.errors, name.count),
                    &name.p50_s.map_or_else(|| "-".to_owned(), format::duration),
                    "",
                    "",
                    &name.max_s.map_or_else(|| "-".to_owned(), format::duration),
                ],
            );
        }
        if report.dns.len() > ROWS {
            self.line(format_args!("… {} more", report.dns.len() - ROWS));
        }
    }

    fn dns_searches(&mut self, report: &Report) {
        if report.dns_searches.is_empty() {
            return;
        }
        self.line(format_args!(""));
        self.columns("DNS search lists", ["names", "", "look-ups", "p50", "", "", "max"]);
        for search in report.dns_searches.iter().take(ROWS) {
            let found = search.found.as_deref().unwrap_or("nothing");
            self.columns(
                &format!("{} {} → {found}", search.record_type, search.name),
                [
                    &format::count(search.count),
                    "",
                    &format::count(search.attempts),
                    &search.p50_s.map_or_else(|| "-".to_owned(), format::duration),
                    "",
                    "",
                    &search.max_s.map_or_else(|| "-".to_owned(), format::duration),
                ],
            );
        }
        if report.dns_searches.len() > ROWS {
            self.line(format_args!("… {} more", report.dns_searches.len() - ROWS));
        }
    }

    fn slo(&mut self, report: &Report) {
        if report.slo.is_empty() {
            return;
        }
        self.line(format_args!(""));
        self.line(format_args!("SLO"));
        for slo in &report.slo {
            let verdict = match slo.verdict {
                SloVerdict::Kept => "kept",
                SloVerdict::Broken => "BROKEN",
                SloVerdict::NoData => "no data",
            };
            let line =
                format::name(&format!("{verdict:7} {}: {}", slo.name, slo.detail), self.width);
            self.line(format_args!("{line}"));
        }
    }

    /// What is missing in the figures above, and what that means.
    fn loss(&mut self, report: &Report) {
        let loss = &report.loss;
        if loss.records_dropped == 0 {
            self.line(format_args!("complete: nothing dropped"));
        } else {
            // Never rounded up to 100 %.
            let percent = (loss.completeness * 10_000.0).floor() / 100.0;
            let misses = |reason: &Reason| reason.effect() == Effect::Figures;
            let counts = if loss.by_reason.keys().any(misses) {
                "counts are too low"
            } else {
                "counts are right all the same"
            };
            self.line(format_args!(
                "incomplete: {} dropped, {percent} % of calls seen; {counts}",
                format::plural(loss.records_dropped, "record")
            ));
        }
        if loss.calls_undelivered > 0 {
            self.line(format_args!(
                "{} counted in the kernel only: no span, no route, no edge",
                format::plural(loss.calls_undelivered, "call")
            ));
        }
        for (reason, lost) in &loss.by_reason {
            let note = match reason.effect() {
                Effect::Figures | Effect::Counted => "",
                Effect::Details => " (details; counts are right)",
            };
            self.line(format_args!("  {}: {lost}{note}", reason.name()));
        }
        if loss.connections_mid_stream > 0 {
            self.line(format_args!(
                "{} older than vigie and not wholly known",
                format::plural(loss.connections_mid_stream, "connection")
            ));
        }
        let endpoints = report.services.iter().flat_map(|service| &service.endpoints);
        let untrusted: u64 = endpoints.map(|endpoint| endpoint.untrusted).sum();
        if untrusted > 0 {
            self.line(format_args!(
                "{} whose duration was not seen whole: counted, not in the percentiles",
                format::plural(untrusted, "call")
            ));
        }
    }

    fn cost(&mut self, report: &Report) {
        let cost = &report.cost;
        let share = |seconds: f64| {
            if report.duration_s > 0.0 { seconds / report.duration_s * 100.0 } else { 0.0 }
        };
        let probes = if cost.probe_ns_per_call.is_empty() {
            "not measured".to_owned()
        } else {
            format!("{} ({:.1} %)", format::duration(cost.probe_s), share(cost.probe_s))
        };
        self.line(format_args!(
            "cost: agent {} CPU ({:.1} % of one), {} memory; probes {probes}",
            format::duration(cost.agent_cpu_s),
            share(cost.agent_cpu_s),
            format::bytes(cost.agent_rss_bytes),
        ));
        let budget = &report.budget;
        if budget.shed_s > 0.0 {
            self.line(format_args!(
                "over budget: {} given up for {}; raise limits.cpu or limits.memory",
                budget.highest_level,
                format::duration(budget.shed_s)
            ));
        }
        if let Some(code) = report.exit_code {
            self.line(format_args!("the command ended with exit code {code}"));
        }
    }
}
