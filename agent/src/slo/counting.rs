//! Counting on the pipeline's thread: each finished call goes to the SLOs that it is of, as good, bad or
//! not observed, and into the tick in which it ended.

use std::sync::Arc;

use hashbrown::HashMap;
use vigie_slo::evaluate::Tick;
use vigie_slo::intake::{Counts, Intake, Outcome};
use vigie_slo::model::Slo;

use super::evidence::{Evidence, Surroundings};
use super::facts::Facts;
use super::judge::Judge;
use crate::discover::host::Clock;
use crate::event::MonoNs;
use crate::metrics::undelivered::UndeliveredCalls;
use crate::span::{Service, Span, SpanKind};

/// Services that are remembered. When there are more, those without an SLO are
/// forgotten; if that is of no use, all.
const MAX_SERVICES: usize = 4096;

/// What was counted for one SLO since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Events.
    pub counts: Counts,
    /// Events that came after their tick.
    pub late: u64,
}

/// All SLOs, as far as calls are concerned.
#[derive(Debug)]
pub struct Counting {
    slos: Vec<Counted>,
    /// Services that were met.
    services: HashMap<Arc<Service>, Met>,
}

/// A service.
#[derive(Debug)]
struct Met {
    /// Indices of the SLOs that its calls can be of.
    slos: Vec<usize>,
    /// What it does beside; empty if it has no SLO.
    surroundings: Surroundings,
}

#[derive(Debug)]
struct Counted {
    judge: Judge,
    intake: Intake,
    totals: Counts,
    evidence: Evidence,
}

impl Counting {
    /// Begins to count at a reading of the clock.
    pub fn new(slos: &[Arc<Slo>], clock: &Clock, now: MonoNs) -> Self {
        let counted = |slo: &Arc<Slo>| Counted {
            judge: Judge::new(Arc::clone(slo)),
            intake: Intake::new(millis(clock.unix_nano(now)), millis(now)),
            totals: Counts::default(),
            evidence: Evidence::default(),
        };
        Self { slos: slos.iter().map(counted).collect(), services: HashMap::new() }
    }

    /// Whether there is no SLO.
    pub fn is_empty(&self) -> bool {
        self.slos.is_empty()
    }

    /// Takes a finished call into account.
    pub fn span(&mut self, span: &Span, clock: &Clock) {
        let Self { slos, services } = self;
        let service = met(services, slos, &span.process.service);
        if service.slos.is_empty() {
            return;
        }
        let end_unix_nano = span.start_unix_nano.saturating_add(span.duration_ns);
        let (end_ms, monotonic_ms) =
            (millis(end_unix_nano), millis(clock.monotonic(end_unix_nano)));
        let call = Facts::of(span);
        service.surroundings.process(&span.process);
        if span.kind != SpanKind::Server {
            service.surroundings.downstream(span, &call, end_ms);
        }
        for index in &service.slos {
            let Some(slo) = slos.get_mut(*index) else { continue };
            let Some(outcome) = slo.judge.judge(&call) else { continue };
            slo.count(monotonic_ms, outcome, 1);
            slo.evidence.call(span, &call, outcome, end_ms);
        }
    }

    /// Takes calls into account that the kernel counted about now.
    pub fn undelivered(&mut self, calls: &UndeliveredCalls<'_>, now: MonoNs) {
        let Self { slos, services } = self;
        let facts = Facts::of_undelivered(calls);
        for index in &met(services, slos, &calls.process.service).slos {
            let Some(slo) = slos.get_mut(*index) else { continue };
            let Some(outcome) = slo.judge.judge(&facts) else { continue };
            slo.count(millis(now), outcome, calls.lost.count);
        }
    }

    /// A reading of the clock: gives `each` the ticks that it closes, by index of the SLO.
    pub fn clock(&mut self, clock: &Clock, now: MonoNs, mut each: impl FnMut(usize, Tick)) {
        let (wall_ms, monotonic_ms) = (millis(clock.unix_nano(now)), millis(now));
        for (index, slo) in self.slos.iter_mut().enumerate() {
            while let Some(tick) = slo.intake.clock(wall_ms, monotonic_ms) {
                each(index, tick);
            }
        }
    }

    /// What was counted since the start, by SLO.
    pub fn totals(&self) -> Vec<Totals> {
        let totals = |slo: &Counted| Totals { counts: slo.totals, late: slo.intake.late() };
        self.slos.iter().map(totals).collect()
    }

    /// What is known of the bad calls of an SLO, and of the services that it is about.
    pub fn evidence(&self, index: usize) -> Option<(&Evidence, Vec<&Surroundings>)> {
        let about = self.services.values().filter(|service| service.slos.contains(&index));
        let surroundings = about.map(|service| &service.surroundings).collect();
        self.slos.get(index).map(|slo| (&slo.evidence, surroundings))
    }
}

fn met<'a>(
    services: &'a mut HashMap<Arc<Service>, Met>,
    slos: &[Counted],
    service: &Arc<Service>,
) -> &'a mut Met {
    if services.len() >= MAX_SERVICES && !services.contains_key(service) {
        services.retain(|_, met| !met.slos.is_empty());
        if services.len() >= MAX_SERVICES {
            services.clear();
        }
    }
    services.entry(Arc::clone(service)).or_insert_with(|| {
        let indices = slos.iter().enumerate().filter(|(_, slo)| slo.judge.is_of(service));
        let slos = indices.map(|(index, _)| index).collect();
        Met { slos, surroundings: Surroundings::default() }
    })
}

impl Counted {
    fn count(&mut self, monotonic_ms: i64, outcome: Outcome, events: u64) {
        self.totals.add(outcome, events);
        self.intake.events(monotonic_ms, outcome, events);
    }
}

fn millis(nanos: u64) -> i64 {
    i64::try_from(nanos / 1_000_000).unwrap_or(i64::MAX)
}
