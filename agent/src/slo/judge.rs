//! Whether a call counts for an SLO, and as what.

use std::sync::Arc;

use vigie_slo::intake::Outcome;
use vigie_slo::model::Slo;
use vigie_slo::select::{Criteria, Direction, ErrorClasses, Patterns, Selector, Verdict, matches};

use super::facts::{Ending, Facts, Time, fits_http};
use crate::span::Service;

/// Judges calls for one SLO. Answers are of three values: `None` is not known.
#[derive(Clone, Debug)]
pub(super) struct Judge {
    slo: Arc<Slo>,
    /// What counts; with a direction always.
    total: Selector,
}

impl Judge {
    pub(super) fn new(slo: Arc<Slo>) -> Self {
        let mut total = slo.indicator.total.clone();
        // A service that is named stands for the requests that it answers.
        total.direction.get_or_insert(Direction::Server);
        Self { slo, total }
    }

    /// The SLO.
    pub(super) fn slo(&self) -> &Arc<Slo> {
        &self.slo
    }

    /// Times in flight that decide something, in nanoseconds.
    pub(super) fn limits_ns(&self) -> impl Iterator<Item = u64> {
        self.slo.indicator.limits_ms().map(nanos)
    }

    /// Whether calls of a service can count.
    pub(super) fn is_of(&self, service: &Service) -> bool {
        fits(&self.total.service, &service.name) && fits(&self.total.namespace, &service.namespace)
    }

    /// What a call counts as; `None` where it does not count.
    pub(super) fn judge(&self, call: &Facts<'_>) -> Option<Outcome> {
        match self.counts(call) {
            Some(false) => None,
            None => Some(Outcome::Unobserved),
            Some(true) => match self.is_bad(call) {
                Some(true) => Some(Outcome::Bad),
                Some(false) => Some(Outcome::Good),
                None if call.time == Time::Waits => None,
                None => Some(Outcome::Unobserved),
            },
        }
    }

    /// Whether a call in flight is bad already, whatever becomes of it.
    pub(super) fn is_bad_already(&self, call: &Facts<'_>) -> bool {
        let Time::AtLeast(passed) = call.time else { return false };
        let hung = self.slo.indicator.hung_after_ms.is_some_and(|limit| passed > nanos(limit));
        self.counts(call) == Some(true) && (hung || self.is_bad(call) == Some(true))
    }

    fn counts(&self, call: &Facts<'_>) -> Option<bool> {
        let excluded = self.slo.indicator.exclude.iter().map(|one| selects(one, call));
        all([selects(&self.total, call), not(any_of(excluded))])
    }

    fn is_bad(&self, call: &Facts<'_>) -> Option<bool> {
        match &self.slo.indicator.verdict {
            Verdict::Bad(criteria) => any_of(criteria.iter().map(|one| meets(one, call))),
            Verdict::Good(criteria) => not(meets(criteria, call)),
        }
    }
}

fn nanos(millis: u64) -> u64 {
    millis.saturating_mul(1_000_000)
}

fn not(answer: Option<bool>) -> Option<bool> {
    answer.map(|answer| !answer)
}

fn all(answers: impl IntoIterator<Item = Option<bool>>) -> Option<bool> {
    not(any_of(answers.into_iter().map(not)))
}

/// True if one is, else not known if one is not, else false.
fn any_of(answers: impl IntoIterator<Item = Option<bool>>) -> Option<bool> {
    let mut known = true;
    for answer in answers {
        match answer {
            Some(true) => return Some(true),
            Some(false) => {}
            None => known = false,
        }
    }
    known.then_some(false)
}

/// Whether a text matches one of some patterns; any does where there are none.
fn fits(patterns: &Patterns, text: &str) -> bool {
    patterns.is_empty() || patterns.iter().any(|pattern| matches(pattern, text))
}

fn selects(selector: &Selector, call: &Facts<'_>) -> Option<bool> {
    let Selector { service, namespace, route, method, status, protocol, direction, peer } =
        selector;
    let given = |patterns: &Patterns, ask: &dyn Fn() -> Option<bool>| {
        if patterns.is_empty() { Some(true) } else { ask() }
    };
    all([
        direction.map_or(Some(true), |direction| Some(direction == call.direction)),
        Some(fits(service, &call.service.name)),
        Some(fits(namespace, &call.service.namespace)),
        given(protocol, &|| Some(call.is_protocol(|text| fits(protocol, text)))),
        given(method, &|| call.method.map(|text| fits(method, text))),
        given(status, &|| call.is_status(|text| fits(status, text))),
        given(route, &|| call.is_route(|text| fits(route, text))),
        given(peer, &|| call.is_peer(|text| fits(peer, text))),
    ])
}

fn meets(criteria: &Criteria, call: &Facts<'_>) -> Option<bool> {
    let Criteria { select, slower_than_ms, within_ms, errors } = criteria;
    all([
        selects(select, call),
        slower_than_ms.map_or(Some(true), |limit| is_slower(call.time, limit)),
        within_ms.map_or(Some(true), |limit| not(is_slower(call.time, limit))),
        errors.as_ref().map_or(Some(true), |classes| has_failed(classes, call.ending)),
    ])
}

fn is_slower(time: Time, limit_ms: u64) -> Option<bool> {
    match time {
        Time::Took(duration) => Some(duration > nanos(limit_ms)),
        Time::AtLeast(passed) => (passed > nanos(limit_ms)).then_some(true),
        Time::Unknown | Time::Waits => None,
    }
}

/// Of protocols without classes of their own each error is a failure, but for a name that there is not.
fn has_failed(classes: &ErrorClasses, ending: Ending<'_>) -> Option<bool> {
    Some(match ending {
        Ending::Http(status) => {
            fits_http(status, |text| classes.http.iter().any(|class| matches(class, text)))
        }
        Ending::Grpc(name, _) => classes.grpc.iter().any(|class| matches(class, name)),
        Ending::Code(code) => code != "NXDOMAIN",
        Ending::Broken(_) => true,
        Ending::Well | Ending::GivenUp => false,
        Ending::Unknown => return None,
    })
}

#[cfg(test)]
mod tests {
    use vigie_slo::file::{Source, load};

    use super::*;
    use crate::protocol::Call;
    use crate::span::http::HttpError;
    use crate::span::testing::{client, grpc, server, untrusted};
    use crate::span::{Flags, Span};

    fn judge(keys: &str) -> Judge {
        let text =
            format!("slos: [{{name: a, service: api, objective: 99%, window: 30d, {keys}}}]");
        let loaded = load(&[Source { name: "slo.yaml".to_owned(), text }]).unwrap();
        Judge::new(Arc::new(loaded.slos.into_iter().next().unwrap()))
    }

    fn of(keys: &str, span: &Span) -> Option<Outcome> {
        judge(keys).judge(&Facts::of(span))
    }

    fn took(mut span: Span, millis: u64) -> Span {
        span.duration_ns = millis * 1_000_000;
        span
    }

    fn broken(mut span: Span, error: HttpError) -> Span {
        if let Call::Http(call) = &mut span.call {
            (call.error, call.status) = (Some(error), None);
        }
        span.flags.set(Flags::NO_RESPONSE);
        span
    }

    const GOOD: Option<Outcome> = Some(Outcome::Good);
    const BAD: Option<Outcome> = Some(Outcome::Bad);
    const UNSEEN: Option<Outcome> = Some(Outcome::Unobserved);

    #[test]
    fn availability() {
        let keys = "availability: true";
        assert_eq!(of(keys, &server("api", 200)), GOOD);
        assert_eq!(of(keys, &server("api", 404)), GOOD);
        assert_eq!(of(keys, &server("api", 503)), BAD);
        assert_eq!(of(keys, &broken(server("api", 200), HttpError::ConnectionReset)), BAD);
        let given_up = broken(server("api", 200), HttpError::StreamReset("CANCEL"));
        assert_eq!(of(keys, &given_up), GOOD);
        assert_eq!(of(keys, &grpc(server("api", 200), 13)), BAD);
        assert_eq!(of(keys, &grpc(server("api", 200), 5)), GOOD);
        // A duration that is not trusted does not matter.
        assert_eq!(of(keys, &untrusted(server("api", 200))), GOOD);
        let mut unknown = server("api", 200);
        if let Call::Http(call) = &mut unknown.call {
            call.status = None;
        }
        assert_eq!(of(keys, &unknown), UNSEEN);
    }

    #[test]
    fn latency() {
        let keys = "latency: 300ms";
        assert_eq!(of(keys, &took(server("api", 503), 300)), GOOD);
        assert_eq!(of(keys, &took(server("api", 200), 301)), BAD);
        assert_eq!(of(keys, &untrusted(took(server("api", 200), 301))), UNSEEN);
        let both = "latency: 300ms, availability: true";
        assert_eq!(of(both, &untrusted(server("api", 503))), BAD);
        assert_eq!(of(both, &untrusted(server("api", 200))), UNSEEN);
        assert_eq!(of(both, &took(server("api", 200), 2)), GOOD);
    }

    #[test]
    fn what_is_selected() {
        let span = server("api", 200);
        for (select, counts) in [
            ("route: '/users/{id}'", true),
            ("route: /users/*", true),
            ("route: /orders", false),
            ("method: [POST, GET]", true),
            ("status: 2xx", true),
            ("status: '404'", false),
            ("protocol: http", true),
            ("protocol: http/1.1", true),
            ("protocol: [grpc, sql]", false),
            ("peer: 10.0.0.2", true),
            ("peer: '10.0.0.2:51234'", true),
            ("peer: web", false),
            ("direction: client", false),
        ] {
            let keys = format!("availability: true, select: {{{select}}}");
            assert_eq!(of(&keys, &span), counts.then_some(Outcome::Good), "{select}");
        }
        assert_eq!(of("availability: true", &server("web", 200)), None);
        assert_eq!(of("availability: true", &client("api", 200)), None);
        let dependency = "availability: true, select: {direction: client, peer: 10.0.0.2}";
        assert_eq!(of(dependency, &client("api", 500)), BAD);
        let exclude = "availability: true, exclude: [{route: /health}, {method: GET}]";
        assert_eq!(of(exclude, &span), None);
    }

    #[test]
    fn in_flight() {
        let span = |millis| took(server("api", 200), millis);
        let is_bad =
            |keys: &str, millis| judge(keys).is_bad_already(&Facts::in_flight(&span(millis)));
        assert!(!is_bad("latency: 300ms", 300));
        assert!(is_bad("latency: 300ms", 301));
        assert!(!is_bad("availability: true", 99_999));
        assert!(is_bad("availability: true, hung_after: 30s", 30_001));
        assert!(!is_bad("latency: 300ms, select: {route: /other}", 301));
        // How it ends decides whether it counts.
        assert!(!is_bad("latency: 300ms, select: {status: 2xx}", 301));
        let limits = |keys: &str| judge(keys).limits_ns().collect::<Vec<_>>();
        assert_eq!(limits("latency: 300ms, hung_after: 30s"), [300_000_000, 30_000_000_000]);
        assert!(limits("availability: true").is_empty());
    }
}
