//! Results: JSON for programs, a table for people.

use std::fmt;
use std::fs;
use std::thread;

use anyhow::{Context as _, Result};
use serde::Serialize;

use super::receiver::Kind;
use super::rounds::{Comparison, Differences};

/// Load average, as a number of tasks, above which others' work is a part of the figures.
const BUSY: f64 = 1.5;

/// Everything that one invocation measured.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    version: u32,
    machine: Machine,
    /// In the order of measurement.
    pub(super) results: Vec<Outcome>,
}

/// Where it was measured.
#[derive(Debug, Serialize)]
pub(super) struct Machine {
    cpu: String,
    cores: usize,
    kernel: String,
    memory_bytes: u64,
    /// Before the first run, over one minute: much more than 0 means that others were at work.
    load_average: f64,
}

/// Result of one benchmark. Figures of several runs are medians, memory is the largest, counts are
/// sums.
#[derive(Debug, Serialize)]
pub(super) struct Outcome {
    pub(super) name: &'static str,
    pub(super) unit: &'static str,
    #[serde(flatten)]
    pub(super) comparison: Comparison,
    /// What the figure of a run is, where it is not the one figure that the run gives.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) figure: Option<String>,
    /// Differences in `unit`, where these say more than a ratio.
    #[serde(flatten)]
    pub(super) added: Option<Differences>,
    /// Agent's processor time per million requests.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) agent_cpu_s_per_million: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) agent_rss_bytes: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) agent_rss_peak_bytes: Option<u64>,
    /// Who took the spans, where some were exported.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) receiver: Option<Kind>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) receiver_cpu_s_per_million: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) records_dropped: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) requests: Option<Requests>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) bare_p99_s: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) with_p99_s: Option<f64>,
}

/// One load, as three parties counted it. A request in flight when the load ends is served and may
/// be counted, but has no answer for the sender to count: at most one per connection and run.
#[derive(Debug, Serialize)]
pub(super) struct Requests {
    /// Answers that the load received.
    pub(super) sent: u64,
    /// Requests that the server served.
    pub(super) served: u64,
    /// Requests that the agent counted; absent when it exported no such metric.
    pub(super) counted: Option<f64>,
}

impl Report {
    pub(super) fn new(machine: Machine) -> Self {
        Self { version: 1, machine, results: Vec::new() }
    }
}

impl Outcome {
    /// One of which only the comparison is known.
    pub(super) fn new(name: &'static str, unit: &'static str, comparison: Comparison) -> Self {
        Self {
            name,
            unit,
            comparison,
            figure: None,
            added: None,
            agent_cpu_s_per_million: None,
            agent_rss_bytes: None,
            agent_rss_peak_bytes: None,
            receiver: None,
            receiver_cpu_s_per_million: None,
            records_dropped: None,
            requests: None,
            bare_p99_s: None,
            with_p99_s: None,
        }
    }
}

impl Machine {
    /// What a reader of its figures has to know.
    fn remark(&self) -> Option<String> {
        (self.load_average > BUSY).then(|| {
            format!(
                "the machine was busy with other work at the start (load average {:.2}, above \
                 {BUSY}): measure again when it is idle",
                self.load_average
            )
        })
    }

    /// Reads it from `/proc`.
    pub(super) fn read() -> Result<Self> {
        let read = |file: &str| fs::read_to_string(file).with_context(|| format!("reading {file}"));
        let after = |text: &str, name: &str| {
            let line = text.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default();
            line.trim_matches([':', ' ', '\t']).to_owned()
        };
        let memory = after(&read("/proc/meminfo")?, "MemTotal");
        let load = read("/proc/loadavg")?;
        let number = |text: &str| text.split_whitespace().next().unwrap_or_default().to_owned();
        Ok(Self {
            cpu: after(&read("/proc/cpuinfo")?, "model name"),
            cores: thread::available_parallelism().context("number of processors")?.get(),
            kernel: read("/proc/sys/kernel/osrelease")?.trim().to_owned(),
            memory_bytes: number(&memory).parse::<u64>().context("/proc/meminfo")? * 1024,
            load_average: number(&load).parse().context("/proc/loadavg")?,
        })
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let machine = &self.machine;
        writeln!(
            f,
            "{} cores, {}, Linux {}, load {:.2} at the start\n",
            machine.cores, machine.cpu, machine.kernel, machine.load_average
        )?;
        let width = self.results.iter().map(|r| r.name.len()).max().unwrap_or(0);
        writeln!(
            f,
            "{:<width$} {:>8} {:>8} {:>6} {:>6} {:>8} {:>7} {:>6} {:>8}",
            "", "bare", "with", "ratio", "empty", "CPU s/M", "RSS MB", "drops", "counted"
        )?;
        for result in &self.results {
            writeln!(f, "{}", row(result, width))?;
        }
        writeln!(f)?;
        if let Some(remark) = machine.remark() {
            writeln!(f, "{remark}")?;
        }
        for result in &self.results {
            for line in remarks(result) {
                writeln!(f, "{}: {line}", result.name)?;
            }
        }
        Ok(())
    }
}

fn row(result: &Outcome, columns: usize) -> String {
    let dash = || "-".to_owned();
    let cpu = result.agent_cpu_s_per_million.map_or_else(dash, |s| format!("{s:.2}"));
    let rss = result.agent_rss_bytes.map_or_else(dash, |b| format!("{:.1}", b as f64 / 1e6));
    let drops = result.records_dropped.map_or_else(dash, |d| format!("{d:.0}"));
    let counted = result.requests.as_ref().and_then(Requests::share);
    let counted = counted.map_or_else(dash, |share| format!("{:.2}%", share * 100.0));
    let Comparison { bare, with, ratio, reference_ratio, .. } = &result.comparison;
    let (without, with) = (figure(*bare), figure(*with));
    let empty = reference_ratio.map_or_else(dash, |ratio| format!("{ratio:.3}"));
    format!(
        "{:<columns$} {without:>8} {with:>8} {ratio:>6.3} {empty:>6} {cpu:>8} {rss:>7} {drops:>6} \
         {counted:>8}",
        result.name
    )
}

/// What a table has no room for.
fn remarks(result: &Outcome) -> Vec<String> {
    let figure = result.figure.as_ref().map_or_else(String::new, |figure| format!(" ({figure})"));
    let mut lines = vec![format!(
        "{}{figure}, medians of {} alternating rounds",
        result.unit, result.comparison.runs
    )];
    if let Some(added) = &result.added {
        lines.push(in_words(added, result.unit));
    } else if let Some(ratio) = result.comparison.reference_ratio {
        lines.push(format!("an empty pair of tracepoints alone: ratio {ratio:.3}"));
    }
    if let (Some(bare), Some(with)) = (result.bare_p99_s, result.with_p99_s) {
        lines.push(format!("p99 {:.2} -> {:.2} ms", bare * 1e3, with * 1e3));
    }
    if let (Some(receiver), Some(cpu)) = (result.receiver, result.receiver_cpu_s_per_million) {
        lines.push(format!("spans received by {}, {cpu:.2} CPU s/M of its own", receiver.name()));
    }
    if let Some(requests) = &result.requests {
        let counted = requests.counted.map_or_else(|| "none".to_owned(), |c| format!("{c:.0}"));
        lines.push(format!(
            "requests: {} answered, {} served, {counted} counted",
            requests.sent, requests.served
        ));
    }
    lines
}

fn in_words(differences: &Differences, unit: &str) -> String {
    let added = format!("{:+.1} {unit} with the agent", differences.added);
    match (differences.added_by_reference, differences.added_by_vigie) {
        (Some(empty), Some(own)) => format!(
            "{added}, {empty:+.1} with an empty pair of tracepoints, {own:+.1} of vigie's own"
        ),
        _ => added,
    }
}

impl Requests {
    /// Share of the served requests that the agent counted.
    fn share(&self) -> Option<f64> {
        (self.served > 0).then(|| Some(self.counted? / self.served as f64)).flatten()
    }
}

/// Four significant digits at least, no more than a table needs.
fn figure(value: f64) -> String {
    if value >= 1000.0 { format!("{value:.0}") } else { format!("{value:.1}") }
}

#[cfg(test)]
mod tests {
    use super::super::rounds::{self, Round};
    use super::*;

    /// As long as the longest.
    const NAME: &str = "overhead/nginx-keepalive-both-ends";

    fn machine(load_average: f64) -> Machine {
        let (cpu, kernel) = ("A processor".to_owned(), "6.18.5".to_owned());
        Machine { cpu, cores: 2, kernel, memory_bytes: 4 << 30, load_average }
    }

    fn report() -> Report {
        let mut report = Report::new(machine(0.2));
        let round = Round { bare: 50_000.0, reference: Some(47_500.0), watched: 45_000.0 };
        report.results.push(Outcome {
            agent_cpu_s_per_million: Some(3.5),
            agent_rss_bytes: Some(30_000_000),
            records_dropped: Some(0.0),
            requests: Some(Requests { sent: 998, served: 1000, counted: Some(1000.0) }),
            bare_p99_s: Some(0.001),
            with_p99_s: Some(0.002),
            ..Outcome::new(NAME, "requests/s", rounds::compare(&[round]).unwrap())
        });
        report
    }

    #[test]
    fn json_has_the_documented_keys() {
        let json = serde_json::to_value(report()).unwrap();
        assert_eq!(json["version"], 1);
        assert_eq!(json["machine"]["cores"], 2);
        let result = &json["results"][0];
        assert_eq!(result["ratio"], 0.9);
        assert_eq!(result["unit"], "requests/s");
        assert_eq!(result["runs"], 1);
        assert_eq!(result["reference"], 47_500.0);
        assert_eq!(result["reference_ratio"], 0.95);
        assert_eq!(result["agent_rss_bytes"], 30_000_000);
        assert_eq!(result.get("added"), None);
    }

    #[test]
    fn table_fits_100_columns() {
        let text = report().to_string();
        assert!(text.contains("0.900  0.950     3.50    30.0      0  100.00%"), "{text}");
        assert!(text.lines().all(|line| line.chars().count() <= 100), "{text}");
    }

    #[test]
    fn remarks_name_the_price_of_an_empty_pair() {
        let mut report = report();
        assert!(report.to_string().contains("an empty pair of tracepoints alone: ratio 0.950"));

        let round = Round { bare: 284.0, reference: Some(421.0), watched: 423.0 };
        let result = report.results.first_mut().unwrap();
        result.added = rounds::subtract(&[round]);
        result.unit = "ns/call";
        let text = report.to_string();
        let wanted = "+139.0 ns/call with the agent, +137.0 with an empty pair of tracepoints, \
                      +2.0 of vigie's own";
        assert!(text.contains(wanted), "{text}");
    }

    #[test]
    fn a_busy_machine_is_remarked_on() {
        assert_eq!(machine(1.5).remark(), None);
        assert!(machine(2.43).remark().unwrap().contains("load average 2.43"));
    }

    #[test]
    fn own_machine_can_be_read() {
        assert!(Machine::read().unwrap().cores > 0);
    }
}
