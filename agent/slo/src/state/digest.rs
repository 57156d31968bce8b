//! Digests of what gives counts their meaning. Written out field by field, so that they stay the same from
//! build to build, and a new field asks whether it changes what is counted.
//!
//! FNV-1a of 64 bits: nobody gains from making two SLOs of one name look alike, so it need not be a
//! cryptographic one.

use crate::model::{Budgeting, Empty, Slices, Slo};
use crate::ratio::Ratio;
use crate::select::{Criteria, Direction, ErrorClasses, Indicator, Selector, Verdict};
use crate::window::{Calendar, Unit, Window};

struct Digest(u64);

impl Digest {
    const fn new() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }

    fn bytes(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }

    fn number(&mut self, number: u64) {
        self.bytes(&number.to_le_bytes());
    }

    fn text(&mut self, text: &str) {
        self.number(text.len() as u64);
        self.bytes(text.as_bytes());
    }

    /// Any of which may match: their order says nothing.
    fn patterns(&mut self, patterns: &[String]) {
        let mut sorted: Vec<&String> = patterns.iter().collect();
        sorted.sort_unstable();
        sorted.dedup();
        self.number(sorted.len() as u64);
        for pattern in sorted {
            self.text(pattern);
        }
    }

    fn optional(&mut self, number: Option<u64>) {
        self.number(u64::from(number.is_some()));
        self.number(number.unwrap_or(0));
    }

    fn ratio(&mut self, ratio: Ratio) {
        let (num, den) = ratio.reduced().parts();
        self.bytes(&num.to_le_bytes());
        self.bytes(&den.to_le_bytes());
    }

    fn selector(&mut self, selector: &Selector) {
        let Selector { service, namespace, route, method, status, protocol, direction, peer } =
            selector;
        for patterns in [service, namespace, route, method, status, protocol, peer] {
            self.patterns(patterns);
        }
        self.text(direction.map_or("", Direction::word));
    }

    fn criteria(&mut self, criteria: &Criteria) {
        let Criteria { select, slower_than_ms, within_ms, errors } = criteria;
        self.selector(select);
        self.optional(*slower_than_ms);
        self.optional(*within_ms);
        self.number(u64::from(errors.is_some()));
        if let Some(ErrorClasses { http, grpc }) = errors {
            self.patterns(http);
            self.patterns(grpc);
        }
    }
}

/// Of what is counted, and as what. The indicator's name is not a part of that.
pub(crate) fn indicator(slo: &Slo) -> u64 {
    let Indicator { name: _, total, exclude, verdict, hung_after_ms } = &slo.indicator;
    let mut digest = Digest::new();
    if total.service.is_empty() {
        digest.text(&slo.service);
    }
    digest.selector(total);
    digest.number(exclude.len() as u64);
    for selector in exclude {
        digest.selector(selector);
    }
    match verdict {
        Verdict::Bad(any_of) => {
            digest.number(any_of.len() as u64);
            for criteria in any_of {
                digest.criteria(criteria);
            }
        }
        Verdict::Good(criteria) => {
            digest.number(u64::MAX);
            digest.criteria(criteria);
        }
    }
    digest.optional(*hung_after_ms);
    digest.0
}

/// Of the unit of the budget.
pub(crate) fn budgeting(slo: &Slo) -> u64 {
    let mut digest = Digest::new();
    let (kind, slices) = match slo.budgeting {
        Budgeting::Occurrences => (0, None),
        Budgeting::Slices(slices) => (1, Some(slices)),
        Budgeting::RatioSlices(slices) => (2, Some(slices)),
    };
    digest.number(kind);
    if let Some(Slices { length_s, target, empty }) = slices {
        digest.number(length_s);
        if kind == 1 {
            digest.ratio(target);
        }
        digest.number(match empty {
            Empty::Good => 0,
            Empty::Exclude => 1,
            Empty::Bad => 2,
        });
    }
    digest.0
}

/// Of all that gives counts their meaning: of indicator and budgeting. Counts of an SLO whose fingerprint
/// was another one are of something else.
pub fn fingerprint(slo: &Slo) -> u64 {
    let mut digest = Digest::new();
    digest.number(indicator(slo));
    digest.number(budgeting(slo));
    digest.0
}

/// Of the period.
pub(crate) fn window(slo: &Slo) -> u64 {
    let mut digest = Digest::new();
    match &slo.window {
        Window::Rolling(length_s) => digest.optional(Some(*length_s)),
        Window::Calendar(Calendar { unit, anchor, zone: _, zone_name }) => {
            digest.optional(None);
            let (kind, count) = match unit {
                Unit::Days(days) => (0, days),
                Unit::Months(months) => (1, months),
            };
            digest.number(kind);
            digest.number(u64::from(*count));
            digest.text(&anchor.to_string());
            digest.text(zone_name);
        }
    }
    digest.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_of_patterns_are_sets() {
        let of = |patterns: &[&str]| {
            let mut digest = Digest::new();
            digest.patterns(&patterns.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>());
            digest.0
        };
        assert_eq!(of(&["a", "b"]), of(&["b", "a", "b"]));
        assert_ne!(of(&["ab"]), of(&["a", "b"]));
    }

    #[test]
    fn the_digest_is_the_published_one() {
        let mut digest = Digest::new();
        digest.bytes(b"foobar");
        assert_eq!(digest.0, 0x8594_4171_f739_67e8);
    }
}
