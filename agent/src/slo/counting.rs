//! Counting on the pipeline's thread: each finished call goes to the SLOs that it is of, as good, bad or
//! not observed, and into the tick in which it ended.

use std::sync::Arc;

use hashbrown::HashMap;
use vigie_slo::evaluate::Tick;
use vigie_slo::intake::{Counts, Intake, Outcome};
use vigie_slo::model::Slo;

use super::evidence::Evidence;
use super::facts::Facts;
use super::judge::Judge;
use super::surroundings::Surroundings;
use crate::discover::host::Clock;
use crate::event::MonoNs;
use crate::metrics::undelivered::UndeliveredCalls;
use crate::protocol::in_flight::CallId;
use crate::span::{Service, Span, SpanKind};

/// Services that are remembered. When there are more, those without an SLO are
/// forgotten; if that is of no use, all.
const MAX_SERVICES: usize = 4096;

/// Requests in flight that are remembered for an SLO. Of more than these the rest counts at its end.
const MAX_HUNG: usize = 4096;
/// When one is forgotten of whose end nothing was seen, in nanoseconds.
const FORGET_HUNG_NS: u64 = 3_600_000_000_000;

/// What was counted for one SLO since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Events.
    pub counts: Counts,
    /// Events that came after their tick.
    pub late: u64,
}

/// All SLOs, as far as calls are concerned.
#[derive(Debug, Default)]
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
    /// Requests in flight that were counted as bad, and when.
    hung: HashMap<CallId, MonoNs>,
}

impl Counting {
    /// Counts for these SLOs from now on. Those that are the same go on. `last` is the latest time of their
    /// state, in seconds since 1970: ticks begin after it, whatever the clock says.
    pub fn replace(&mut self, slos: &[Arc<Slo>], clock: &Clock, now: MonoNs, last: Option<i64>) {
        let last_ms = last.map_or(i64::MIN, |last| last.saturating_mul(1_000));
        let wall_ms = millis(clock.unix_nano(now)).max(last_ms);
        let mut before = std::mem::take(&mut self.slos);
        for slo in slos {
            let same = before.iter().position(|one| one.judge.slo() == slo);
            self.slos.push(match same {
                Some(position) => before.swap_remove(position),
                None => Counted {
                    judge: Judge::new(Arc::clone(slo)),
                    intake: Intake::new(wall_ms, millis(now)),
                    totals: Counts::default(),
                    evidence: Evidence::default(),
                    hung: HashMap::new(),
                },
            });
        }
        let Self { slos, services } = self;
        for (service, met) in services {
            met.slos = of_service(slos, service);
        }
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
            if slo.hung.remove(&span.id).is_some() {
                continue;
            }
            let Some(outcome) = slo.judge.judge(&call) else { continue };
            slo.count(monotonic_ms, outcome, 1);
            slo.evidence.call(span, &call, outcome, end_ms);
        }
    }

    /// Takes a request into account that is in flight for the span's duration: it is bad for those SLOs for
    /// which nothing can make it good any more, once. `is_first`: it is looked at for the first time.
    pub fn in_flight(&mut self, span: &Span, is_first: bool, clock: &Clock, now: MonoNs) {
        let Self { slos, services } = self;
        let service = met(services, slos, &span.process.service);
        let call = Facts::in_flight(span);
        let now_ms = millis(clock.unix_nano(now));
        if is_first && span.kind != SpanKind::Server && !service.slos.is_empty() {
            service.surroundings.downstream(span, &call, now_ms);
        }
        for index in &service.slos {
            let Some(slo) = slos.get_mut(*index) else { continue };
            if !slo.judge.is_bad_already(&call) || !slo.is_new(span.id, now) {
                continue;
            }
            slo.count(millis(now), Outcome::Bad, 1);
            slo.evidence.call(span, &call, Outcome::Bad, now_ms);
        }
    }

    /// Times in flight that decide something, in nanoseconds.
    pub fn limits_ns(&self) -> Vec<u64> {
        self.slos.iter().flat_map(|slo| slo.judge.limits_ns()).collect()
    }

    /// Takes calls into account that the kernel counted about now.
    pub fn undelivered(&mut self, calls: &UndeliveredCalls<'_>, now: MonoNs) {
        let Self { slos, services } = self;
        let facts = Facts::of_undelivered(calls);
        for index in &met(services, slos, &calls.process.service).slos {
            let Some(slo) = slos.get_mut(*index) else { continue };
            let Some(outcome) = slo.judge.judge(&facts) else { continue };
            slo.count(millis(now), outcome, calls.lost.count());
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
    services.entry(Arc::clone(service)).or_insert_with(|| Met {
        slos: of_service(slos, service),
        surroundings: Surroundings::default(),
    })
}

/// Indices of the SLOs that calls of a service can be of.
fn of_service(slos: &[Counted], service: &Service) -> Vec<usize> {
    let indices = slos.iter().enumerate().filter(|(_, slo)| slo.judge.is_of(service));
    indices.map(|(index, _)| index).collect()
}

impl Counted {
    /// Remembers a request in flight; whether it was not known.
    fn is_new(&mut self, id: CallId, now: MonoNs) -> bool {
        if self.hung.len() >= MAX_HUNG {
            self.hung.retain(|_, counted| now.saturating_sub(*counted) < FORGET_HUNG_NS);
        }
        // Without room it might be counted again with each look, so it is not counted before its end.
        (self.hung.len() < MAX_HUNG || self.hung.contains_key(&id))
            && self.hung.insert(id, now).is_none()
    }

    fn count(&mut self, monotonic_ms: i64, outcome: Outcome, events: u64) {
        self.totals.add(outcome, events);
        self.intake.events(monotonic_ms, outcome, events);
    }
}

fn millis(nanos: u64) -> i64 {
    i64::try_from(nanos / 1_000_000).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use vigie_slo::file::{Source, load};

    use super::*;
    use crate::span::testing::{START, client, process, server};

    const CLOCK: Clock = Clock::fixed(START as i128, 0);
    const SECOND: u64 = 1_000_000_000;

    fn counting(text: &str) -> Counting {
        let mut counting = Counting::default();
        counting.replace(&slos(text), &CLOCK, 0, None);
        counting
    }

    fn slos(text: &str) -> Vec<Arc<Slo>> {
        let text = format!("slos: [{text}]");
        let loaded = load(&[Source { name: "slo.yaml".to_owned(), text }]).unwrap();
        loaded.slos.into_iter().map(Arc::new).collect()
    }

    const API: &str = "{name: api, service: api, objective: 99%, window: 30d, availability: true}";
    const ALL: &str = "{name: all, service: '*', objective: 99%, window: 30d, availability: true}";

    fn ticks(counting: &mut Counting, now: MonoNs) -> Vec<(usize, i64, u64, u64)> {
        let mut ticks = Vec::new();
        counting.clock(&CLOCK, now, |index, tick| {
            ticks.push((index, tick.t % 1_000_000, tick.good, tick.bad));
        });
        ticks
    }

    fn at(mut span: Span, seconds: u64) -> Span {
        span.start_unix_nano = START + seconds * SECOND;
        span
    }

    #[test]
    fn calls_go_to_the_slos_that_they_are_of() {
        let mut counting = counting(&format!("{API}, {ALL}"));
        for (name, status) in [("api", 200), ("api", 503), ("web", 500)] {
            counting.span(&at(server(name, status), 1), &CLOCK);
        }
        counting.span(&at(client("api", 500), 1), &CLOCK);
        assert_eq!(ticks(&mut counting, 4 * SECOND), [(0, 2, 1, 1), (1, 2, 1, 2)]);
        let totals = counting.totals();
        assert_eq!(totals[0].counts, Counts { good: 1, bad: 1, unobserved: 0 });
        assert_eq!(totals[1].counts.bad, 2);
    }

    #[test]
    fn slos_that_stay_go_on() {
        let mut counting = counting(API);
        counting.span(&at(server("api", 503), 1), &CLOCK);
        counting.span(&at(server("web", 503), 1), &CLOCK);
        counting.replace(&slos(&format!("{ALL}, {API}")), &CLOCK, SECOND, None);
        counting.span(&at(server("api", 503), 1), &CLOCK);
        counting.span(&at(server("web", 503), 3), &CLOCK);
        let totals: Vec<u64> = counting.totals().iter().map(|one| one.counts.bad).collect();
        assert_eq!(totals, [2, 2]);
        assert_eq!(ticks(&mut counting, 4 * SECOND), [(1, 2, 0, 2)]);
    }

    #[test]
    fn what_is_known_of_bad_calls() {
        let mut counting = counting(API);
        let start = 60;
        for second in start..start + 300 {
            counting.span(&at(server("api", 200), second), &CLOCK);
            counting.span(&at(client("api", 200), second), &CLOCK);
        }
        let onset = start + 300;
        let mut new = process("api", 4300);
        Arc::make_mut(&mut new).start_ns = 40 * SECOND;
        for second in onset..onset + 20 {
            let failed = Span { process: Arc::clone(&new), ..server("api", 503) };
            counting.span(&at(failed, second), &CLOCK);
            counting.span(&at(client("api", 500), second), &CLOCK);
        }
        let (evidence, surroundings) = counting.evidence(0).unwrap();
        let ms = |second: u64| i64::try_from((START / SECOND + second) * 1_000).unwrap() + 2;
        let share = vigie_slo::ratio::Ratio::percent(14);
        assert_eq!(evidence.onset_ms(share, 300), Some(ms(onset)));
        assert_eq!(evidence.trace_ids(ms(onset), 3), ["ab".repeat(16)]);
        let classes = evidence.classes(ms(onset));
        assert_eq!((classes[0].class.as_str(), classes[0].count), ("503", 20));
        let cause = surroundings[0].cause(evidence, ms(onset)).unwrap();
        assert_eq!((&*cause.peer, &*cause.name), ("10.0.0.2:51234", "GET /users/{id}"));
        assert_eq!(
            (cause.what, cause.share_percent),
            (super::super::surroundings::Excess::Errors, 100)
        );
        let started = surroundings[0].started(2, 41 * SECOND);
        assert_eq!(started.len(), 1);
        assert!(started[0].pid == 4300 && !started[0].is_changed);
    }
}
