//! SLOs from what was observed.
//!
//! A history of endpoints goes in: how many calls each had per step of time, how many of them failed, and
//! how many fell into each bucket of durations. Out come SLOs that this past has kept:
//!
//! - the requests of a service (by protocol and direction; of clients by whom they call): availability
//! - its busiest endpoints: latency, with a threshold on an edge of the histogram
//!
//! An objective is the highest of [`LADDER`] that the past supports (`choose`), and what its alerts would
//! have done comes from a replay of that past through the evaluator, of the SLO as it is printed
//! (`replay`). No comparison is made in binary floating point.

mod choose;
mod replay;
#[cfg(test)]
mod tests;
mod text;

use std::collections::BTreeMap;

pub use choose::{LADDER, MIN_BAD};
pub use replay::Alerts;

use crate::alert::DEFAULT_PAIRS;
use crate::ratio::Ratio;
use crate::select::Direction;

/// Upper, inclusive edges of the buckets of durations in milliseconds, those that every histogram of
/// vigie has.
pub const EDGES_MS: [u64; 14] =
    [5, 10, 25, 50, 75, 100, 250, 500, 750, 1_000, 2_500, 5_000, 7_500, 10_000];
/// One more than there are edges: the last bucket has none.
pub const BUCKETS: usize = EDGES_MS.len() + 1;

/// The period of what is suggested: 30 days.
pub const PERIOD_S: u64 = 30 * 86_400;

/// A stretch of time in which calls were counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Step {
    /// Its end in seconds since 1970.
    pub t: i64,
    /// Its length in seconds.
    pub length_s: u64,
}

/// What one endpoint did within one step.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Row {
    /// End of the step, as in [`Step::t`].
    pub t: i64,
    /// Calls.
    pub total: u64,
    /// Failed calls, by the classes that an SLO has without any of its own.
    pub errors: u64,
    /// Durations by bucket, each by itself. Together less than `total` where some are not trusted.
    pub buckets: [u64; BUCKETS],
}

/// An endpoint, by what selectors can say of it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Endpoint {
    /// Service that was watched.
    pub service: String,
    /// Its namespace; empty where it has none.
    pub namespace: String,
    /// Whether the service answers, or calls.
    pub direction: Direction,
    /// As selectors name it: `http`, `grpc`, `postgresql`, …
    pub protocol: String,
    /// Of clients: who answers.
    pub peer: Option<String>,
    /// Route of HTTP, method of gRPC, or name of the operation. None: not known, or there is none.
    pub route: Option<String>,
    /// Method of HTTP.
    pub method: Option<String>,
}

/// What was observed. Rows come from a function, one endpoint at a time, so that all of them need not be in
/// memory at once.
pub struct History<'a> {
    /// All steps in which calls were counted, in the order of time.
    pub steps: &'a [Step],
    /// All endpoints.
    pub endpoints: &'a [Endpoint],
    /// The rows of the endpoint with this index, in the order of time. Steps without calls may be left out.
    pub rows: &'a dyn Fn(usize) -> Vec<Row>,
}

/// What to suggest.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Time in seconds that must have been observed.
    pub min_span_s: u64,
    /// Most endpoints of a group that get an SLO for their latency, the busiest.
    pub routes: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self { min_span_s: 3_600, routes: 5 }
    }
}

/// What an SLO is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Aim {
    /// Calls that do not fail.
    Availability,
    /// Calls that take at most so many milliseconds.
    Latency {
        /// One of [`EDGES_MS`].
        threshold_ms: u64,
    },
}

/// One SLO, and what it rests on.
#[derive(Clone, Debug, PartialEq)]
pub struct Suggestion {
    /// Its name, unique among those that are suggested.
    pub name: String,
    /// The calls that it counts.
    pub of: Endpoint,
    /// What is good.
    pub aim: Aim,
    /// Share that is to be good.
    pub objective: Ratio,
    /// Calls that were seen and whose outcome is known.
    pub total: u64,
    /// Those of them that were bad.
    pub bad: u64,
    /// A guard for low traffic. None where traffic is not low.
    pub min_bad: Option<u64>,
    /// What its alerts would have done.
    pub alerts: Alerts,
    /// The SLO in the short form, an item of the list `slos`.
    pub text: String,
}

/// Why there is no SLO.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// Not observed for long enough.
    Young {
        /// Seconds.
        observed_s: u64,
        /// Seconds.
        needed_s: u64,
    },
    /// So few calls that they support no objective.
    Few {
        /// Calls.
        total: u64,
    },
    /// Less than the lowest objective was kept.
    Poor {
        /// Calls.
        total: u64,
        /// Bad ones; of latency: slower than the last edge.
        bad: u64,
    },
    /// Its names cannot be said in a file.
    Unsaid,
}

/// Calls for which no SLO is suggested.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Omitted {
    /// The calls.
    pub of: Endpoint,
    /// Whether it is their latency.
    pub latency: bool,
    /// Why.
    pub reason: Reason,
}

/// What is suggested.
#[derive(Clone, Debug, PartialEq)]
pub struct Suggested {
    /// Beginning and end of what was observed, in seconds since 1970.
    pub span: (i64, i64),
    /// Seconds of it that were observed.
    pub observed_s: u64,
    /// SLOs, by service.
    pub slos: Vec<Suggestion>,
    /// What gets none, and why.
    pub omitted: Vec<Omitted>,
}

/// Why nothing is suggested.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SuggestError {
    /// Not observed for long enough.
    #[error("observed for {} of the {} that suggestions need: {} more are missing", text::span(*observed_s), text::span(*needed_s), text::span(needed_s.saturating_sub(*observed_s)))]
    TooShort {
        /// Seconds.
        observed_s: u64,
        /// Seconds.
        needed_s: u64,
    },
    /// No endpoint has had a call.
    #[error("no calls were observed within {}", text::span(*observed_s))]
    NoCalls {
        /// Seconds.
        observed_s: u64,
    },
}

impl Suggested {
    /// Whether the past is shorter than the longest window of a ticket alert, so that it says little of
    /// tickets.
    pub fn is_short_for_tickets(&self) -> bool {
        let longest_s = DEFAULT_PAIRS.iter().map(|pair| pair.long_s).max();
        longest_s.is_some_and(|longest_s| self.observed_s < longest_s)
    }

    /// An SLO file in the short form, with what it rests on as comments.
    pub fn text(&self) -> String {
        text::file(self)
    }

    /// Why calls get no SLO, on one line; the first few.
    pub fn reasons(&self) -> String {
        text::reasons(self)
    }
}

/// Suggests SLOs.
pub fn suggest(history: &History<'_>, options: &Options) -> Result<Suggested, SuggestError> {
    let observed_s = history.steps.iter().map(|step| step.length_s).sum();
    let needed_s = options.min_span_s;
    if observed_s < needed_s {
        return Err(SuggestError::TooShort { observed_s, needed_s });
    }
    let (Some(first), Some(last)) = (history.steps.first(), history.steps.last()) else {
        return Err(SuggestError::NoCalls { observed_s });
    };
    let span = (first.t.saturating_sub_unsigned(first.length_s), last.t);
    let mut groups: BTreeMap<Endpoint, Vec<usize>> = BTreeMap::new();
    for (index, endpoint) in history.endpoints.iter().enumerate() {
        let group = Endpoint { route: None, method: None, ..endpoint.clone() };
        groups.entry(group).or_default().push(index);
    }
    let mut work = Work {
        history,
        options,
        out: Suggested { span, observed_s, slos: Vec::new(), omitted: Vec::new() },
    };
    for (group, members) in groups {
        work.group(&group, &members);
    }
    if work.out.slos.is_empty() && work.out.omitted.is_empty() {
        return Err(SuggestError::NoCalls { observed_s });
    }
    Ok(work.out)
}

struct Work<'a> {
    history: &'a History<'a>,
    options: &'a Options,
    out: Suggested,
}

impl Work<'_> {
    /// A service by protocol and direction: all its calls, then its busiest endpoints.
    fn group(&mut self, group: &Endpoint, members: &[usize]) {
        let (mut sums, mut busiest) = (BTreeMap::<i64, Row>::new(), Vec::new());
        for &index in members {
            let mut calls = 0_u64;
            for row in (self.history.rows)(index) {
                let sum = sums.entry(row.t).or_insert(Row { t: row.t, ..Row::default() });
                sum.total = sum.total.saturating_add(row.total);
                sum.errors = sum.errors.saturating_add(row.errors);
                calls = calls.saturating_add(row.total);
            }
            busiest.push((calls, index));
        }
        let rows: Vec<Row> = sums.into_values().collect();
        let all: u64 = rows.iter().fold(0, |sum, row| sum.saturating_add(row.total));
        if all == 0 {
            return;
        }
        self.one(group, &rows, None);
        let has_route = |index: usize| {
            self.history.endpoints.get(index).is_some_and(|endpoint| endpoint.route.is_some())
        };
        let alone = members.len() == 1;
        // A hundredth of the calls at least.
        busiest.retain(|(calls, index)| {
            u128::from(*calls) * 100 >= u128::from(all) && (alone || has_route(*index))
        });
        busiest.sort_unstable_by_key(|(calls, index)| (std::cmp::Reverse(*calls), *index));
        for (_, index) in busiest.into_iter().take(self.options.routes) {
            let Some(endpoint) = self.history.endpoints.get(index) else { continue };
            let mut of = endpoint.clone();
            if of.route.is_none() {
                of.method = None;
            }
            let rows = (self.history.rows)(index);
            let edge = choose::edge(&rows);
            self.one(&of, &rows, Some(edge));
        }
    }

    /// One SLO: availability, or latency with this edge of the histogram.
    fn one(&mut self, of: &Endpoint, rows: &[Row], edge: Option<usize>) {
        let counts = replay::counts(self.history.steps, rows, edge);
        let result = self.slo(of, &counts, edge);
        match result {
            Ok(suggestion) => self.out.slos.push(suggestion),
            Err(reason) => {
                let latency = edge.is_some();
                self.out.omitted.push(Omitted { of: of.clone(), latency, reason });
            }
        }
    }

    fn slo(
        &self,
        of: &Endpoint,
        counts: &[replay::Count],
        edge: Option<usize>,
    ) -> Result<Suggestion, Reason> {
        let needed_s = self.options.min_span_s;
        let observed_s = counts.iter().map(|count| count.step.length_s).sum();
        if observed_s < needed_s {
            return Err(Reason::Young { observed_s, needed_s });
        }
        let (total, bad) = replay::sums(counts);
        let objective = choose::objective(total, bad)?;
        let min_bad = choose::min_bad(counts, objective);
        let threshold_ms = edge.and_then(|edge| EDGES_MS.get(edge)).copied();
        let aim =
            threshold_ms.map_or(Aim::Availability, |threshold_ms| Aim::Latency { threshold_ms });
        let name = text::name(of, aim, &|name| self.out.slos.iter().any(|slo| slo.name == name));
        let text = text::item(&name, of, aim, objective, min_bad);
        let alerts = replay::alerts(&text, counts).ok_or(Reason::Unsaid)?;
        let of = of.clone();
        Ok(Suggestion { name, of, aim, objective, total, bad, min_bad, alerts, text })
    }
}
