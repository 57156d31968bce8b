//! What is to be told about one alert of one SLO. Every text and list in it is bounded, as much of it
//! comes from traffic: names of routes, of services, of errors.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use vigie_slo::alert::{Alert, Severity};
use vigie_slo::figures::Figures;
use vigie_slo::model::{Budgeting, Slo};
use vigie_slo::ratio::Ratio;
use vigie_slo::zone::Zone;

use crate::{plain, wording};

/// Name of the alert that fires when nothing is observed.
pub const NO_DATA: &str = "no-data";
/// Most characters of one text; the rest is cut, with `…` in its place.
pub const MAX_TEXT: usize = 256;
/// Most characters of the node's name: what Linux allows a host name.
pub const MAX_NODE: usize = 64;
/// Most routes that are named.
pub const MAX_ROUTES: usize = 8;
/// Most labels.
pub const MAX_LABELS: usize = 32;
/// Most conditions of an alert that are shown.
pub const MAX_BURNS: usize = 8;
/// Most trace ids.
pub const MAX_TRACES: usize = 3;
/// Most processes that changed.
pub const MAX_CHANGES: usize = 5;

/// Something to be told.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Notice {
    /// Name of the SLO.
    pub slo: String,
    /// The objective, as a share of good events.
    #[serde(with = "plain::ratio")]
    pub target: Ratio,
    /// The service that it is about.
    pub service: String,
    /// Routes that it is about, as the file has them. Empty: all.
    pub routes: Vec<String>,
    /// Name of the alert: of the pair, of the policy, or [`NO_DATA`].
    pub alert: String,
    /// How urgent.
    #[serde(with = "plain::severity")]
    pub severity: Severity,
    /// Labels of the SLO.
    pub labels: BTreeMap<String, String>,
    /// What to do.
    pub runbook_url: Option<String>,
    /// Name of the node that saw it: vigie judges by what one node sees.
    pub node: String,
    /// Firing, or over.
    pub state: State,
    /// The true onset, in seconds since 1970: when what is bad began.
    pub starts_at: i64,
    /// When the alert began to fire, in seconds since 1970.
    pub fired_at: i64,
    /// When it ended, in seconds since 1970.
    pub ended_at: Option<i64>,
    /// Why it fires.
    pub reason: Reason,
    /// What is left of the budget.
    pub budget: Budget,
    /// What else is known.
    pub evidence: Evidence,
}

/// Whether an alert fires.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// It does.
    Firing,
    /// It did.
    Resolved,
}

impl State {
    /// Its word, which is Alertmanager's.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Firing => "firing",
            Self::Resolved => "resolved",
        }
    }
}

/// Why an alert fires.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// The budget burns too fast.
    Burn(Burn),
    /// Nothing was observed.
    NoData {
        /// For so many seconds.
        for_s: u64,
    },
}

/// Burn rates, and what they come from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Burn {
    /// What is counted: `requests`, or `time slices`.
    pub unit: String,
    /// What the bad ones are: `failing`, `slower than 300 ms`.
    pub bad_word: String,
    /// Conditions, longest window first.
    pub windows: Vec<WindowBurn>,
    /// Share of bad ones that the objective allows.
    #[serde(with = "plain::ratio")]
    pub allowed: Ratio,
    /// Bad ones within the longest window.
    pub bad: u64,
    /// All within the longest window.
    pub total: u64,
}

impl Burn {
    /// Share of bad ones within the longest window; none if there is nothing in it.
    pub fn actual(&self) -> Option<Ratio> {
        Ratio::new(self.bad.into(), self.total.into())
    }
}

/// The burn rate over one window.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WindowBurn {
    /// Length of the window in seconds.
    pub window_s: u64,
    /// The burn rate; none without an event.
    #[serde(with = "plain::some_ratio")]
    pub burn: Option<Ratio>,
    /// What it is compared with.
    #[serde(with = "plain::ratio")]
    pub factor: Ratio,
}

/// What is left of the budget.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Budget {
    /// Share that is spent; none: no events in the period.
    #[serde(with = "plain::some_ratio")]
    pub spent: Option<Ratio>,
    /// Seconds until it is spent at the pace of the last hour. 0: it is. None: never at this pace.
    pub exhausted_in_s: Option<u64>,
    /// Zone of the policy.
    #[serde(with = "plain::zone")]
    pub zone: Zone,
    /// Share of the period that was observed.
    #[serde(with = "plain::ratio")]
    pub coverage: Ratio,
}

impl Budget {
    fn of(figures: &Figures) -> Self {
        Self {
            spent: figures.spent,
            exhausted_in_s: figures.exhausted_in_s,
            zone: figures.zone,
            coverage: figures.coverage,
        }
    }
}

/// What else is known about the bad events. All of it may be missing; nothing of it is guessed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Evidence {
    /// The downstream edge with the most excess errors or latency, `api → payments POST /charge`, and
    /// its share of the excess. Told as the probable cause.
    pub cause: Option<Share>,
    /// Trace ids of bad requests, at most [`MAX_TRACES`].
    pub trace_ids: Vec<String>,
    /// The most frequent class of errors, `http 503`, and its share.
    pub error_class: Option<Share>,
    /// Processes that restarted or whose binary changed at the onset, at most [`MAX_CHANGES`].
    pub changes: Vec<String>,
}

/// Something and its share of a whole.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Share {
    /// What.
    pub what: String,
    /// Its share, at most 1.
    #[serde(with = "plain::ratio")]
    pub share: Ratio,
}

/// When and where.
#[derive(Clone, Copy, Debug)]
pub struct Seen<'a> {
    /// Name of the node.
    pub node: &'a str,
    /// The true onset, in seconds since 1970.
    pub starts_at: i64,
    /// When the alert began to fire, in seconds since 1970.
    pub fired_at: i64,
}

impl Notice {
    /// For an alert that fires. `bad` and `total` are those of its longest window.
    pub fn burn(
        slo: &Slo,
        alert: &Alert,
        figures: &Figures,
        (bad, total): (u64, u64),
        seen: Seen<'_>,
    ) -> Self {
        let burn_of = |window_s| {
            let found = figures.burn.iter().find(|(length_s, _)| *length_s == window_s);
            found.and_then(|(_, burn)| *burn)
        };
        let conditions = alert.conditions.iter().map(|condition| WindowBurn {
            window_s: condition.window_s,
            burn: burn_of(condition.window_s),
            factor: condition.factor,
        });
        let mut windows: Vec<WindowBurn> = conditions.collect();
        windows.sort_by_key(|window| std::cmp::Reverse(window.window_s));
        let (unit, bad_word) = match slo.budgeting {
            Budgeting::Occurrences => ("requests", wording::bad(&slo.indicator)),
            Budgeting::Slices(_) | Budgeting::RatioSlices(_) => ("time slices", "bad".to_owned()),
        };
        let reason = Reason::Burn(Burn {
            unit: unit.to_owned(),
            bad_word,
            windows,
            allowed: slo.error_budget(),
            bad,
            total,
        });
        Self::new(slo, &alert.name, alert.severity.clone(), figures, reason, seen)
    }

    /// For an SLO of which nothing was observed for `for_s` seconds: a ticket, as what users feel is not
    /// known.
    pub fn no_data(slo: &Slo, figures: &Figures, for_s: u64, seen: Seen<'_>) -> Self {
        Self::new(slo, NO_DATA, Severity::Ticket, figures, Reason::NoData { for_s }, seen)
    }

    fn new(
        slo: &Slo,
        alert: &str,
        severity: Severity,
        figures: &Figures,
        reason: Reason,
        seen: Seen<'_>,
    ) -> Self {
        let mut notice = Self {
            slo: slo.name.clone(),
            target: slo.target,
            service: slo.service.clone(),
            routes: slo.indicator.total.route.clone(),
            alert: alert.to_owned(),
            severity,
            labels: slo.labels.clone(),
            runbook_url: slo.runbook_url.clone(),
            node: seen.node.to_owned(),
            state: State::Firing,
            starts_at: seen.starts_at,
            fired_at: seen.fired_at,
            ended_at: None,
            reason,
            budget: Budget::of(figures),
            evidence: Evidence::default(),
        };
        notice.bound();
        notice
    }

    /// The same with what else is known.
    #[must_use]
    pub fn with(mut self, evidence: Evidence) -> Self {
        self.evidence = evidence;
        self.bound();
        self
    }

    /// The same, over since `t`, in seconds since 1970.
    #[must_use]
    pub fn resolved(mut self, t: i64) -> Self {
        self.state = State::Resolved;
        self.ended_at = Some(t.max(self.fired_at));
        self
    }

    /// Cuts what is too long, and takes control characters out.
    pub(crate) fn bound(&mut self) {
        let Self { routes, labels, node, evidence, runbook_url, .. } = self;
        for text in [&mut self.slo, &mut self.service, &mut self.alert] {
            clean(text, MAX_TEXT);
        }
        clean(node, MAX_NODE);
        if let Severity::Other(word) = &mut self.severity {
            clean(word, MAX_NODE);
        }
        if runbook_url.as_ref().is_some_and(|url| url.len() > 2_048) {
            *runbook_url = None;
        }
        routes.truncate(MAX_ROUTES);
        evidence.trace_ids.truncate(MAX_TRACES);
        evidence.changes.truncate(MAX_CHANGES);
        let shares = [&mut evidence.cause, &mut evidence.error_class];
        let lists = [routes, &mut evidence.trace_ids, &mut evidence.changes];
        for text in lists.into_iter().flatten() {
            clean(text, MAX_TEXT);
        }
        for share in shares.into_iter().flatten() {
            clean(&mut share.what, MAX_TEXT);
        }
        while labels.len() > MAX_LABELS {
            labels.pop_last();
        }
        for value in labels.values_mut() {
            clean(value, MAX_TEXT);
        }
        if let Reason::Burn(burn) = &mut self.reason {
            burn.windows.truncate(MAX_BURNS);
            clean(&mut burn.bad_word, MAX_TEXT);
        }
    }
}

/// At most so many characters, and none that a terminal or a log would act on.
pub(crate) fn clean(text: &mut String, most: usize) {
    // What can change the order of what is around it counts as one, too (UAX #9).
    let bad = |char: char| {
        char.is_control() || matches!(char, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    if text.chars().any(bad) {
        *text = text.chars().map(|char| if bad(char) { ' ' } else { char }).collect();
    }
    if let Some((end, _)) = text.char_indices().nth(most) {
        let before = text.char_indices().nth(most - 1).map_or(end, |(at, _)| at);
        text.truncate(before);
        text.push('…');
    }
}

#[cfg(test)]
mod tests {
    use vigie_slo::evaluate::{Evaluator, Tick};
    use vigie_slo::figures::Mode;
    use vigie_slo::file::{Source, load};
    use vigie_slo::rings::Resolution;

    use super::*;

    #[test]
    fn figures_of_an_evaluator_become_a_notice() {
        let text = "slos: [{name: checkout, service: api, objective: 99.9%, window: 30d, availability: true, latency: 300ms}]";
        let source = Source { name: "slo.yaml".to_owned(), text: text.to_owned() };
        let slo = std::sync::Arc::new(load(&[source]).unwrap().slos.remove(0));
        let node = Resolution::node(Evaluator::longest_s(&slo));
        let mut evaluator = Evaluator::new(slo.clone(), Mode::Scaled, node);
        let mut changes = Vec::new();
        for step in 1..=360 {
            let bad = u64::from(step > 353) * 1_000;
            let (t, good) = (step * 10, 1_000 - bad);
            evaluator.tick(&Tick { t, length_s: 10, good, bad, unobserved: 0 }, &mut changes);
        }
        let figures = evaluator.figures().unwrap();
        assert_eq!(figures.firing.first(), Some(&0));
        let alert = &slo.alerts[0];
        let seen = Seen { node: "node\n-1", starts_at: 3_530, fired_at: 3_590 };
        let notice = Notice::burn(&slo, alert, &figures, (7_000, 360_000), seen);
        assert_eq!(
            crate::text::title(&notice),
            "page: api: 1.9 % of requests failing or slower than 300 ms, 0.1 % allowed"
        );
        assert_eq!(notice.node, "node -1");
        let Reason::Burn(burn) = &notice.reason else { unreachable!() };
        assert_eq!((burn.windows[0].window_s, burn.windows[1].window_s), (3_600, 300));
        assert_eq!(burn.windows[0].burn, Ratio::new(7_000_000, 360_000));
    }

    #[test]
    fn everything_is_bounded() {
        let mut notice = crate::fields::samples().remove(0);
        notice.service = "é".repeat(1_000);
        notice.routes = vec!["/\u{202e}\u{7}".to_owned(); 99];
        notice.node = "n".repeat(999);
        notice.labels = (0..99).map(|index| (index.to_string(), "v".repeat(999))).collect();
        notice.runbook_url = Some("u".repeat(9_999));
        let many = vec!["t".repeat(999); 99];
        notice =
            notice.with(Evidence { trace_ids: many.clone(), changes: many, ..Evidence::default() });
        assert_eq!(notice.service.chars().count(), MAX_TEXT);
        assert!(notice.service.ends_with('…'));
        assert_eq!((notice.routes.len(), notice.routes[0].as_str()), (MAX_ROUTES, "/  "));
        assert_eq!(notice.node.chars().count(), MAX_NODE);
        assert_eq!((notice.labels.len(), notice.runbook_url.as_ref()), (MAX_LABELS, None));
        assert_eq!((notice.evidence.trace_ids.len(), notice.evidence.changes.len()), (3, 5));
        let bytes = serde_json::to_vec(&notice).unwrap();
        assert_eq!(serde_json::from_slice::<Notice>(&bytes).unwrap(), notice);
        assert!(bytes.len() < 24 << 10, "{}", bytes.len());
    }
}
