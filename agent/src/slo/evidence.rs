//! What is known of the bad calls of an SLO: when they began, which they are, how they failed, and what
//! may be the cause.
//!
//! Everything is bounded: [`MAX_BAD`] calls, [`MAX_CLASSES`] classes, an hour of spans of time in which
//! something was bad; per service [`MAX_EDGES`] edges and [`MAX_PROCESSES`] processes.

use std::collections::VecDeque;
use std::sync::Arc;

use hashbrown::HashMap;
use serde::{Deserialize, Serialize};
use vigie_slo::intake::Outcome;
use vigie_slo::ratio::Ratio;

use super::facts::{Ending, Facts, Time};
use crate::span::{Process, Span, TraceId};

/// Bad calls that are remembered, the latest.
pub const MAX_BAD: usize = 16;
/// Classes of errors that are told apart.
pub const MAX_CLASSES: usize = 16;
/// Edges of a service that are told apart.
pub const MAX_EDGES: usize = 32;
/// Processes of a service that are remembered, the latest.
pub const MAX_PROCESSES: usize = 16;

/// Length of a span of time in which bad calls are summed, in milliseconds.
const SPAN_MS: i64 = 10_000;
/// How many of these are remembered: an hour.
const MAX_SPANS: usize = 360;
/// Length of the spans of time of edges and classes, in milliseconds.
const MINUTE_MS: i64 = 60_000;
/// How many minutes of them are told apart; older ones are the usual.
const MINUTES: usize = 6;
const LATEST_MS: i64 = MINUTES.cast_signed() as i64 * MINUTE_MS;

/// Bad calls of one SLO.
#[derive(Debug, Default)]
pub struct Evidence {
    bad: VecDeque<Bad>,
    spans: VecDeque<Spell>,
    classes: Vec<(Box<str>, Minutes<1>)>,
    /// Bad calls, and their nanoseconds.
    sums: Minutes<2>,
}

#[derive(Clone, Copy, Debug)]
struct Bad {
    end_ms: i64,
    trace_id: TraceId,
}

/// Ten seconds in which something was bad.
#[derive(Clone, Copy, Debug, Default)]
struct Spell {
    start_ms: i64,
    first_bad_ms: i64,
    bad: u64,
    total: u64,
}

impl Evidence {
    /// Takes a call that counts into account.
    pub(super) fn call(&mut self, span: &Span, call: &Facts<'_>, outcome: Outcome, end_ms: i64) {
        if outcome == Outcome::Unobserved {
            return;
        }
        let is_bad = outcome == Outcome::Bad;
        self.spell(end_ms, is_bad);
        if !is_bad {
            return;
        }
        if self.bad.len() >= MAX_BAD {
            self.bad.pop_front();
        }
        self.bad.push_back(Bad { end_ms, trace_id: span.trace_id });
        self.sums.add(end_ms, [1, span.duration_ns]);
        let class = class(call);
        let known = self.classes.iter_mut().find(|(name, _)| **name == *class);
        if let Some((_, minutes)) = known {
            minutes.add(end_ms, [1]);
        } else {
            if self.classes.len() >= MAX_CLASSES {
                self.classes.retain(|(_, minutes)| minutes.since(end_ms, 0) != [0]);
                self.classes.truncate(MAX_CLASSES - 1);
            }
            let mut minutes = Minutes::default();
            minutes.add(end_ms, [1]);
            self.classes.push((class.into(), minutes));
        }
    }

    fn spell(&mut self, end_ms: i64, is_bad: bool) {
        let start_ms = end_ms.div_euclid(SPAN_MS) * SPAN_MS;
        let newest = self.spans.back().map_or(i64::MIN, |spell| spell.start_ms);
        if start_ms > newest {
            // One without a bad call makes room for the next.
            if self.spans.back().is_some_and(|spell| spell.bad == 0) {
                self.spans.pop_back();
            }
            if self.spans.len() >= MAX_SPANS {
                self.spans.pop_front();
            }
            self.spans.push_back(Spell { start_ms, ..Spell::default() });
        }
        // A late one counts where it belongs, or where there is room.
        let found = self.spans.iter_mut().rev().find(|spell| spell.start_ms <= start_ms);
        let Some(spell) = found else { return };
        spell.total += 1;
        if is_bad {
            let first = if spell.bad == 0 { end_ms } else { spell.first_bad_ms.min(end_ms) };
            spell.first_bad_ms = first;
            spell.bad += 1;
        }
    }

    /// When the bad calls began that have been more than `share` of all since, with pauses of at most
    /// `pause_s`: milliseconds since 1970. `None` where there are none.
    pub fn onset_ms(&self, share: Ratio, pause_s: u64) -> Option<i64> {
        let longest_ms = i64::try_from(pause_s.saturating_mul(1_000)).unwrap_or(i64::MAX);
        let burns = |spell: &&Spell| {
            let now = Ratio::new(spell.bad.into(), spell.total.into());
            spell.bad > 0 && now.is_some_and(|now| now > share)
        };
        let mut onset: Option<Spell> = None;
        for spell in self.spans.iter().rev().filter(burns) {
            let follows = |later: Spell| later.start_ms - spell.start_ms - SPAN_MS <= longest_ms;
            if !onset.is_none_or(follows) {
                break;
            }
            onset = Some(*spell);
        }
        onset.map(|spell| spell.first_bad_ms)
    }

    /// Trace ids of the latest bad calls since a time, at most so many, each once.
    pub fn trace_ids(&self, since_ms: i64, most: usize) -> Vec<String> {
        let mut ids: Vec<TraceId> = Vec::new();
        for bad in self.bad.iter().rev().filter(|bad| bad.end_ms >= since_ms) {
            if ids.len() < most && !ids.contains(&bad.trace_id) {
                ids.push(bad.trace_id);
            }
        }
        ids.iter().map(ToString::to_string).collect()
    }

    /// Classes of errors of the last minutes since a time, the most frequent first.
    pub fn classes(&self, since_ms: i64) -> Vec<Class> {
        let now = self.sums.newest_ms;
        let mut classes: Vec<Class> = self
            .classes
            .iter()
            .map(|(name, minutes)| (name, minutes.since(now, since_ms)))
            .filter(|(_, [count])| *count > 0)
            .map(|(name, [count])| Class { class: name.to_string(), count })
            .collect();
        classes.sort_by(|a, b| b.count.cmp(&a.count).then_with(|| a.class.cmp(&b.class)));
        classes
    }

    /// Bad calls of the last minutes since a time, and their nanoseconds.
    fn sums(&self, since_ms: i64) -> [u64; 2] {
        self.sums.since(self.sums.newest_ms, since_ms)
    }
}

/// A class of errors: a status, a code, `slow`, `hung`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Class {
    /// Its name.
    pub class: String,
    /// Calls.
    pub count: u64,
}

fn class<'a>(call: &'a Facts<'_>) -> std::borrow::Cow<'a, str> {
    match (call.ending, call.time) {
        (_, Time::AtLeast(_)) => "hung".into(),
        (Ending::Http(status), _) if status >= 500 => status.to_string().into(),
        (Ending::Grpc(name, code), _) if code > 0 => name.into(),
        (Ending::Code(code) | Ending::Broken(code), _) => code.into(),
        _ => "slow".into(),
    }
}

/// Sums by minute, and the usual: what is older.
#[derive(Clone, Copy, Debug)]
struct Minutes<const N: usize> {
    /// The newest minute, by its beginning.
    newest_ms: i64,
    /// The newest first.
    latest: [[u64; N]; MINUTES],
    usual: [u64; N],
}

impl<const N: usize> Default for Minutes<N> {
    fn default() -> Self {
        Self { newest_ms: i64::MIN, latest: [[0; N]; MINUTES], usual: [0; N] }
    }
}

impl<const N: usize> Minutes<N> {
    fn add(&mut self, at_ms: i64, amounts: [u64; N]) {
        self.turn(at_ms);
        let back = self.newest_ms.saturating_sub(at_ms.div_euclid(MINUTE_MS) * MINUTE_MS);
        let minute = usize::try_from(back / MINUTE_MS).unwrap_or(0).min(MINUTES - 1);
        if let Some(sums) = self.latest.get_mut(minute) {
            add(sums, amounts);
        }
    }

    /// Goes on to the minute of a time. The usual is halved with each ten minutes, so that it follows.
    fn turn(&mut self, at_ms: i64) {
        let minute_ms = at_ms.div_euclid(MINUTE_MS) * MINUTE_MS;
        if self.newest_ms == i64::MIN {
            self.newest_ms = minute_ms;
        }
        let passed = minute_ms.saturating_sub(self.newest_ms) / MINUTE_MS;
        if passed <= 0 {
            return;
        }
        let steps = usize::try_from(passed).unwrap_or(MINUTES).min(MINUTES);
        for _ in 0..steps {
            self.latest.rotate_right(1);
            if let Some(first) = self.latest.first_mut() {
                add(&mut self.usual, std::mem::replace(first, [0; N]));
            }
        }
        let tens = minute_ms.div_euclid(10 * MINUTE_MS) - self.newest_ms.div_euclid(10 * MINUTE_MS);
        let halvings = u32::try_from(tens).unwrap_or(0).min(63);
        self.usual = self.usual.map(|sum| sum >> halvings);
        self.newest_ms = minute_ms;
    }

    /// Sums of the minutes that end after `since_ms`.
    fn since(&self, now_ms: i64, since_ms: i64) -> [u64; N] {
        let mut sums = [0; N];
        let mut start = self.newest_ms;
        for minute in &self.latest {
            let is_recent = now_ms.saturating_sub(start) < LATEST_MS;
            if start.saturating_add(MINUTE_MS) > since_ms && is_recent {
                add(&mut sums, *minute);
            }
            start = start.saturating_sub(MINUTE_MS);
        }
        sums
    }

    /// What came before `since_ms`.
    fn before(&self, since_ms: i64) -> [u64; N] {
        let mut sums = self.usual;
        let mut start = self.newest_ms;
        for minute in &self.latest {
            if start.saturating_add(MINUTE_MS) <= since_ms {
                add(&mut sums, *minute);
            }
            start = start.saturating_sub(MINUTE_MS);
        }
        sums
    }
}

fn add<const N: usize>(sums: &mut [u64; N], amounts: [u64; N]) {
    for (sum, amount) in sums.iter_mut().zip(amounts) {
        *sum = sum.saturating_add(amount);
    }
}

/// What a service that has an SLO does beside: whom it calls, and which its processes are.
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
