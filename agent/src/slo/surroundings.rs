//! What a service that has an SLO does beside: whom it calls, and which its processes are. What there is more of
//! than usual since bad calls began may be their cause.
//!
//! Bounded: [`MAX_EDGES`] edges and [`MAX_PROCESSES`] processes per service.

use std::collections::VecDeque;
use std::sync::Arc;

use hashbrown::HashMap;
use serde::{Deserialize, Serialize};

use super::evidence::Evidence;
use super::facts::{Ending, Facts, Time};
use super::minutes::{MINUTE_MS, Minutes};
use crate::span::{Process, Span};

/// Edges of a service that are told apart.
pub const MAX_EDGES: usize = 32;
/// Processes of a service that are remembered, the latest.
pub const MAX_PROCESSES: usize = 16;

/// See the module.
#[derive(Debug, Default)]
pub struct Surroundings {
    /// Calls, failed ones, nanoseconds.
    edges: HashMap<Edge, Minutes<3>>,
    processes: VecDeque<Arc<Process>>,
    newest_ms: i64,
}

/// Whom a service calls, and what for.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Edge {
    peer: Box<str>,
    name: Box<str>,
}

/// Stands for edges that found no room.
const OTHER: &str = "other";

impl Surroundings {
    /// Remembers a process of the service.
    pub(super) fn process(&mut self, process: &Arc<Process>) {
        let is_known = |known: &Arc<Process>| {
            Arc::ptr_eq(known, process)
                || (known.pid == process.pid && known.start_ns == process.start_ns)
        };
        // The latest are asked for most.
        if self.processes.iter().rev().any(is_known) {
            return;
        }
        if self.processes.len() >= MAX_PROCESSES {
            self.processes.pop_front();
        }
        self.processes.push_back(Arc::clone(process));
    }

    /// Takes a call that the service made into account; `waits`: it is in flight for long.
    pub(super) fn downstream(&mut self, span: &Span, call: &Facts<'_>, end_ms: i64) {
        self.newest_ms = self.newest_ms.max(end_ms);
        let peer: Box<str> = match (&span.peer_service, &span.peer_name) {
            (Some(service), _) => (&*service.name).into(),
            (None, Some(name)) => (&**name).into(),
            (None, None) => span.peer.to_string().into(),
        };
        let mut edge = Edge { peer, name: span.name().into() };
        if !self.edges.contains_key(&edge) && self.edges.len() >= MAX_EDGES {
            let newest_ms = self.newest_ms;
            self.edges.retain(|_, sums| newest_ms.saturating_sub(sums.newest_ms) < 30 * MINUTE_MS);
            if self.edges.len() >= MAX_EDGES {
                edge = Edge { peer: OTHER.into(), name: OTHER.into() };
            }
        }
        let hangs = matches!(call.time, Time::AtLeast(_));
        let failed = hangs || is_failure(call.ending);
        let time = if call.time == Time::Waits { 0 } else { span.duration_ns };
        self.edges.entry(edge).or_default().add(end_ms, [1, u64::from(failed), time]);
    }

    /// The edge with most errors more than usual since a time; else that with most time more than usual.
    pub fn cause(&self, of: &Evidence, since_ms: i64) -> Option<Cause> {
        let [bad, bad_ns] = of.sums(since_ms);
        let excess = |sums: &Minutes<3>, amount: usize| {
            let [calls, ..] = sums.since(self.newest_ms, since_ms);
            let now = sums.since(self.newest_ms, since_ms).get(amount).copied().unwrap_or(0);
            let [usual_calls, ..] = sums.before(since_ms);
            let usual = sums.before(since_ms).get(amount).copied().unwrap_or(0);
            let usual = u128::from(usual) * u128::from(calls) / u128::from(usual_calls.max(1));
            now.saturating_sub(u64::try_from(usual).unwrap_or(u64::MAX))
        };
        let worst = |amount: usize| {
            let edges = self.edges.iter().map(|(edge, sums)| (excess(sums, amount), edge));
            edges.max_by(|a, b| a.0.cmp(&b.0).then_with(|| b.1.peer.cmp(&a.1.peer)))
        };
        let cause = |edge: &Edge, what, part: u64, all: u64| Cause {
            peer: edge.peer.to_string(),
            name: edge.name.to_string(),
            what,
            share_percent: percent(part, all),
        };
        match worst(1) {
            Some((errors, edge)) if errors > 0 && bad > 0 => {
                return Some(cause(edge, Excess::Errors, errors, bad));
            }
            _ => {}
        }
        let (time, edge) = worst(2)?;
        // Less than a tenth explains nothing.
        let is_much = bad_ns > 0 && time > bad_ns / 10;
        is_much.then(|| cause(edge, Excess::Time, time, bad_ns))
    }

    /// Processes that started between two times since boot, in nanoseconds, and what came before them.
    pub fn started(&self, from_boot_ns: u64, until_boot_ns: u64) -> Vec<Started> {
        let mut started = Vec::new();
        for process in &self.processes {
            if !(from_boot_ns..=until_boot_ns).contains(&process.start_ns) {
                continue;
            }
            // Workers that started together are no news.
            let apart = process.start_ns.saturating_sub(APART_NS);
            let earlier = self.processes.iter().filter(|one| one.start_ns < apart);
            let Some(before) = earlier.max_by_key(|one| one.start_ns) else { continue };
            started.push(Started {
                pid: process.pid,
                start_boot_ns: process.start_ns,
                version: process.version.as_deref().map(str::to_owned),
                is_changed: before.version != process.version
                    || before.executable != process.executable,
            });
        }
        started
    }
}

fn is_failure(ending: Ending<'_>) -> bool {
    match ending {
        Ending::Http(status) => status >= 500,
        Ending::Grpc(_, code) => ![0, 1, 3, 5, 6].contains(&code),
        Ending::Code(_) | Ending::Broken(_) => true,
        Ending::Well | Ending::GivenUp | Ending::Unknown => false,
    }
}

fn percent(part: u64, all: u64) -> u64 {
    let share = u128::from(part) * 100 / u128::from(all.max(1));
    u64::try_from(share).unwrap_or(100).min(100)
}

/// Processes of a service that started within this of one another started together.
const APART_NS: u64 = 30_000_000_000;

/// What there is more of than usual.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Excess {
    /// Failed calls.
    Errors,
    /// Time.
    Time,
}

/// The edge that may be the cause.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cause {
    /// Who is called.
    pub peer: String,
    /// What for.
    pub name: String,
    /// What there is more of.
    pub what: Excess,
    /// Its share of the bad calls, or of their time, in percent.
    pub share_percent: u64,
}

impl Started {
    /// `process 4242 started, version 1.3, another program than before`.
    pub fn text(&self) -> String {
        let version = self.version.as_deref().map(|text| format!(", version {text}"));
        let changed = if self.is_changed { ", another program than before" } else { "" };
        format!("process {} started{}{changed}", self.pid, version.unwrap_or_default())
    }
}

/// A process that started.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Started {
    /// Process id.
    pub pid: u32,
    /// Nanoseconds since boot.
    pub start_boot_ns: u64,
    /// `service.version`, where known.
    pub version: Option<String>,
    /// Whether its executable or version is another one than that of the process before it.
    pub is_changed: bool,
}
