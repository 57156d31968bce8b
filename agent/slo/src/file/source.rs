//! Metric sources of `type: vigie`: selectors, and what makes a request bad or good.

use super::field::{Field, Keys, Map};
use super::report::Report;
use crate::duration::millis;
use crate::select::{Criteria, Direction, ErrorClasses, Indicator, Patterns, Selector, Verdict};

const SELECTOR: Keys = Keys::new(&[
    "service",
    "namespace",
    "route",
    "method",
    "status",
    "protocol",
    "direction",
    "peer",
]);
const TOTAL: Keys = Keys {
    known: &[
        "service",
        "namespace",
        "route",
        "method",
        "status",
        "protocol",
        "direction",
        "peer",
        "exclude",
        "hung_after",
    ],
    instead: &[
        ("slower_than", "write it under `bad`: `total` says what is counted"),
        ("errors", "write it under `bad`: `total` says what is counted"),
        ("within", "write it under `good`: `total` says what is counted"),
    ],
};
const BAD: Keys = Keys {
    known: &[
        "service",
        "namespace",
        "route",
        "method",
        "status",
        "protocol",
        "direction",
        "peer",
        "errors",
        "slower_than",
        "any_of",
    ],
    instead: &[("within", "write slower_than under `bad`, or `good` instead of `bad`")],
};
const GOOD: Keys = Keys {
    known: &[
        "service",
        "namespace",
        "route",
        "method",
        "status",
        "protocol",
        "direction",
        "peer",
        "within",
    ],
    instead: &[("slower_than", "write within under `good`, or `bad` instead of `good`")],
};
const ERRORS: Keys = Keys::new(&["http", "grpc"]);

const GRPC: [&str; 16] = [
    "CANCELLED",
    "UNKNOWN",
    "INVALID_ARGUMENT",
    "DEADLINE_EXCEEDED",
    "NOT_FOUND",
    "ALREADY_EXISTS",
    "PERMISSION_DENIED",
    "RESOURCE_EXHAUSTED",
    "FAILED_PRECONDITION",
    "ABORTED",
    "OUT_OF_RANGE",
    "UNIMPLEMENTED",
    "INTERNAL",
    "UNAVAILABLE",
    "DATA_LOSS",
    "UNAUTHENTICATED",
];

/// What `total` says.
pub(super) struct Total {
    pub(super) select: Selector,
    pub(super) exclude: Vec<Selector>,
    pub(super) hung_after_ms: Option<u64>,
}

fn selector_of(map: &Map<'_>, report: &mut Report) -> Selector {
    let mut patterns = |name: &str| -> Patterns {
        let field = map.get(name);
        let items = field.iter().flat_map(Field::items);
        items.filter_map(|item| item.owned(report)).collect()
    };
    let mut selector = Selector {
        service: patterns("service"),
        namespace: patterns("namespace"),
        route: patterns("route"),
        method: patterns("method"),
        status: patterns("status"),
        protocol: patterns("protocol"),
        direction: None,
        peer: patterns("peer"),
    };
    let words = [("server", Direction::Server), ("client", Direction::Client)];
    selector.direction = map.get("direction").and_then(|field| field.word(report, &words));
    selector
}

/// A selector.
pub(super) fn selector(field: &Field<'_>, report: &mut Report) -> Option<Selector> {
    let map = field.map(report, &SELECTOR)?;
    Some(selector_of(&map, report))
}

/// A list of selectors.
pub(super) fn exclusions(field: Option<&Field<'_>>, report: &mut Report) -> Vec<Selector> {
    let Some(field) = field else { return Vec::new() };
    let mut all = Vec::new();
    for item in field.items() {
        let Some(selector) = selector(&item, report) else { continue };
        if selector == Selector::default() {
            report.wrong(
                &item.at,
                "this excludes everything",
                "write what it is about: route: /healthz",
            );
        }
        all.push(selector);
    }
    all
}

pub(super) fn total(field: &Field<'_>, report: &mut Report) -> Option<Total> {
    let map = field.map(report, &TOTAL)?;
    let hung = map.get("hung_after");
    Some(Total {
        select: selector_of(&map, report),
        exclude: exclusions(map.get("exclude").as_ref(), report),
        hung_after_ms: hung.and_then(|field| field.read(report, millis)),
    })
}

/// What counts as a failure: `true` for the usual, or codes and classes.
pub(super) fn errors(field: &Field<'_>, report: &mut Report) -> Option<ErrorClasses> {
    if !field.is_map() {
        return field.word(report, &[("true", ())]).map(|()| ErrorClasses::default());
    }
    let map = field.map(report, &ERRORS)?;
    Some(codes(&map, report))
}

/// Codes and classes under `http` and `grpc`.
pub(super) fn codes(map: &Map<'_>, report: &mut Report) -> ErrorClasses {
    let mut classes = ErrorClasses { http: Vec::new(), grpc: Vec::new() };
    for item in map.get("http").iter().flat_map(Field::items) {
        classes.http.extend(item.read(report, http_code));
    }
    for item in map.get("grpc").iter().flat_map(Field::items) {
        let words = GRPC.map(|code| (code, code));
        classes.grpc.extend(item.word(report, &words).map(str::to_owned));
    }
    classes
}

fn http_code(text: &str) -> Result<String, String> {
    let right = match text.as_bytes() {
        [b'1'..=b'5', b'x', b'x'] => true,
        [b'1'..=b'5', tens, ones] => tens.is_ascii_digit() && ones.is_ascii_digit(),
        _ => false,
    };
    if right { Ok(text.to_owned()) } else { Err("write a code or a class: 503, 5xx".to_owned()) }
}

/// What `bad` says: any of its alternatives.
pub(super) fn bad(field: &Field<'_>, report: &mut Report) -> Option<Verdict> {
    let map = field.map(report, &BAD)?;
    let Some(any) = map.get("any_of") else {
        return Some(Verdict::Bad(vec![bad_criteria(field, &map, report)]));
    };
    let mut all = Vec::new();
    for item in any.items() {
        let Some(map) = item.map(report, &BAD) else { continue };
        all.push(bad_criteria(&item, &map, report));
    }
    Some(Verdict::Bad(all))
}

fn bad_criteria(field: &Field<'_>, map: &Map<'_>, report: &mut Report) -> Criteria {
    let slower_than = map.get("slower_than");
    let criteria = Criteria {
        select: selector_of(map, report),
        slower_than_ms: slower_than.and_then(|field| field.read(report, millis)),
        within_ms: None,
        errors: map.get("errors").and_then(|field| errors(&field, report)),
    };
    if map.entries().next().is_none() {
        report.wrong(
            &field.at,
            "says nothing",
            "write what is bad: errors: true, slower_than: 300ms",
        );
    }
    criteria
}

/// What `good` says.
pub(super) fn good(field: &Field<'_>, report: &mut Report) -> Option<Verdict> {
    let map = field.map(report, &GOOD)?;
    if map.entries().next().is_none() {
        report.wrong(&field.at, "says nothing", "write what is good: status: 2xx, within: 3s");
    }
    Some(Verdict::Good(Criteria {
        select: selector_of(&map, report),
        slower_than_ms: None,
        within_ms: map.get("within").and_then(|field| field.read(report, millis)),
        errors: None,
    }))
}

/// An indicator of these parts.
pub(super) fn indicator(name: Option<String>, total: Total, verdict: Verdict) -> Indicator {
    let Total { select, exclude, hung_after_ms } = total;
    Indicator { name, total: select, exclude, verdict, hung_after_ms }
}
