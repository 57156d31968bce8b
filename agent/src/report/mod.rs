//! The report of `vigie profile`: what was seen during a stretch of time, as JSON (the shape of the
//! manual's "vigie profile") and as a table for people.
//!
//! Endpoints join the series of all statuses. What matters comes first, everywhere: what failed
//! most often, then what took most time in all, then by name.

#![forbid(unsafe_code)]

mod build;
mod format;
mod table;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use serde::Serialize;

pub use table::table;

use crate::governor::State;
use crate::loss::{Losses, Reason};
use crate::metrics::Snapshot;
use crate::span::Service;

/// What the snapshot does not know.
#[derive(Clone, Debug, Default)]
pub struct Meta {
    /// Name of the machine.
    pub host: String,
    /// Release of its kernel.
    pub kernel: String,
    /// `syscall`, `socket-fentry` or `socket-kprobe`.
    pub backend: String,
    /// When watching began.
    pub started_unix_nano: u64,
    /// For how long, in seconds.
    pub duration_s: f64,
    /// CPU seconds that services used meanwhile, where they are known.
    pub service_cpu_s: HashMap<Arc<Service>, f64>,
    /// Exit code of the command that was run, if one was.
    pub exit_code: Option<i32>,
    /// What came through and what was lost. Reasons with 0 are left out of the report.
    pub losses: Losses,
    /// Connections older than vigie of which something could not be known.
    pub connections_mid_stream: u64,
    /// What watching cost.
    pub cost: Cost,
    /// What watching may cost, and what was given up for that.
    pub budget: State,
    /// Verdicts on SLOs.
    pub slo: Vec<SloReport>,
}

/// The whole report.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Report {
    /// Version of the shape, 1.
    pub version: u32,
    /// Name of the machine.
    pub host: String,
    /// Release of its kernel.
    pub kernel: String,
    /// Backend that captured.
    pub backend: String,
    /// When watching began.
    pub started_unix_nano: u64,
    /// For how long.
    pub duration_s: f64,
    /// Services that answered or called.
    pub services: Vec<ServiceReport>,
    /// Who calls whom.
    pub edges: Vec<EdgeReport>,
    /// Names that were looked up.
    pub dns: Vec<DnsReport>,
    /// Names that were looked for with several suffixes of a search list: each search once, with all the
    /// look-ups that it took, which are in `dns`, too.
    pub dns_searches: Vec<DnsSearchReport>,
    /// Verdicts on SLOs.
    pub slo: Vec<SloReport>,
    /// What was lost.
    pub loss: Loss,
    /// What watching cost.
    pub cost: Cost,
    /// What watching may cost, and what was given up for that.
    pub budget: BudgetReport,
    /// Largest relative error of the percentiles above; counts, means and extremes are exact.
    pub percentile_error: f64,
    /// Exit code of the command that was run, absent if none was.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub exit_code: Option<i32>,
}

/// One service.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ServiceReport {
    /// `service.name`.
    pub name: String,
    /// `service.namespace`, empty where there is none.
    pub namespace: String,
    /// Its processes that did something, the latest of them where they are many.
    pub pids: Vec<u32>,
    /// `telemetry.sdk.language` where known.
    pub language: Option<String>,
    /// Container id where there is one.
    pub container: Option<String>,
    /// What it answers, then what it calls.
    pub endpoints: Vec<EndpointReport>,
    /// CPU seconds that it used, where known.
    pub cpu_s: Option<f64>,
}

/// Calls of one name.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct EndpointReport {
    /// `server` or `client`.
    pub kind: &'static str,
    /// Protocol.
    pub protocol: &'static str,
    /// `GET /users/{id}`.
    pub name: String,
    /// Calls, exactly.
    pub count: u64,
    /// Those that failed.
    pub errors: u64,
    /// Calls per second of the watched time.
    pub rate_per_s: f64,
    /// `null` where no duration was seen whole.
    pub duration_s: Option<DurationReport>,
    /// Client: who answered, service name or address.
    pub peer: Option<String>,
    /// Calls by status, `404` or `NOT_FOUND`; those without a status are in none.
    pub statuses: BTreeMap<String, u64>,
    /// Calls that `duration_s` leaves out, as their duration was not seen whole.
    pub untrusted: u64,
}

/// Distribution of durations in seconds.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct DurationReport {
    /// Shortest.
    pub min: f64,
    /// Mean.
    pub mean: f64,
    /// Median.
    pub p50: f64,
    /// 90th percentile.
    pub p90: f64,
    /// 99th percentile.
    pub p99: f64,
    /// Longest.
    pub max: f64,
}

/// Who calls whom.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct EdgeReport {
    /// Service name or address.
    pub client: String,
    /// Service name or address.
    pub server: String,
    /// Protocol.
    pub protocol: &'static str,
    /// Calls.
    pub count: u64,
    /// Those that failed.
    pub errors: u64,
    /// Median in seconds, as the client saw it where it was seen, else the server.
    pub p50_s: Option<f64>,
    /// 99th percentile, likewise.
    pub p99_s: Option<f64>,
}

/// A name that was looked up.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct DnsReport {
    /// Name.
    pub name: String,
    /// Type of the record.
    #[serde(rename = "type")]
    pub record_type: String,
    /// Look-ups.
    pub count: u64,
    /// Those that failed.
    pub errors: u64,
    /// Median in seconds, where one was seen whole.
    pub p50_s: Option<f64>,
    /// Longest in seconds.
    pub max_s: Option<f64>,
    /// Times that it was asked, retries included.
    pub queries: u64,
    /// Look-ups of `count` that were tries of a search list.
    pub search_attempts: u64,
    /// Asked of the local stub of systemd-resolved, which asks somebody else; absent where not.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub stub: bool,
}

/// A name that was looked for with several suffixes of a search list.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct DnsSearchReport {
    /// What was looked for.
    pub name: String,
    /// Type of the record.
    #[serde(rename = "type")]
    pub record_type: String,
    /// The name that there is; `null` if there is none.
    pub found: Option<String>,
    /// Searches.
    pub count: u64,
    /// Look-ups that they took in all.
    pub attempts: u64,
    /// Median in seconds, from the start of the first try to the end of the last one.
    pub p50_s: Option<f64>,
    /// Longest in seconds.
    pub max_s: Option<f64>,
}

/// Verdict on one SLO.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct SloReport {
    /// Name.
    pub name: String,
    /// The service that it is about.
    pub service: String,
    /// Whether it was not broken.
    pub ok: bool,
    /// Whether it was kept over the watched time.
    pub verdict: SloVerdict,
    /// What was found, in words.
    pub detail: String,
    /// Share of good events that is aimed at.
    pub objective: f64,
    /// Events of which it is known what they were.
    pub total: u64,
    /// Bad ones of them.
    pub bad: u64,
    /// Those of which it is not known.
    pub unobserved: u64,
    /// Share of good events; none without an event.
    pub sli: Option<f64>,
    /// Burn rate: the share of bad events as a multiple of what is allowed.
    pub burn: Option<f64>,
}

/// Whether an SLO was kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum SloVerdict {
    /// At most as many were bad as are allowed.
    Kept,
    /// More.
    Broken,
    /// No event.
    NoData,
}

/// What was lost.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Loss {
    /// What was lost that the figures miss.
    pub records_dropped: u64,
    /// Every loss by its reason, in the unit of the reason; those that cost details only, too.
    pub by_reason: BTreeMap<Reason, u64>,
    /// Calls seen / (seen + known to be lost), 1 when nothing happened.
    pub completeness: f64,
    /// Calls that lost a record: in the counts, without spans, routes and edges.
    pub calls_undelivered: u64,
    /// Connections older than vigie of which something could not be known.
    pub connections_mid_stream: u64,
}

/// What watching cost.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Cost {
    /// CPU seconds of the agent, user and system.
    pub agent_cpu_s: f64,
    /// Its resident memory in bytes.
    pub agent_rss_bytes: u64,
    /// Seconds spent in probes, over all CPUs; 0 where that could not be measured.
    pub probe_s: f64,
    /// Nanoseconds of one run, by probe; empty where that could not be measured.
    pub probe_ns_per_call: BTreeMap<String, f64>,
    /// Runs, by probe, estimated.
    pub probe_runs: BTreeMap<String, u64>,
    /// Memory of the maps in bytes.
    pub map_bytes: u64,
}

/// What watching may cost, and what was given up for that.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct BudgetReport {
    /// CPU time that may be used, as a share of all CPUs of the machine.
    pub cpu: f64,
    /// Resident memory that may be used, in bytes.
    pub memory_bytes: u64,
    /// What is given up now: `full` (nothing), `payload`, `spans`, `counts`.
    pub level: &'static str,
    /// The most that was given up.
    pub highest_level: &'static str,
    /// Seconds in which something was given up.
    pub shed_s: f64,
}

impl Report {
    /// From all that was seen since the store was made.
    pub fn new(snapshot: &Snapshot, meta: Meta) -> Self {
        build::report(snapshot, meta)
    }
}

#[cfg(test)]
mod tests;
