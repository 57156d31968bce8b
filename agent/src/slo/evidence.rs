//! What is known of the bad calls of an SLO: when they began, which they are, and how they failed.
//!
//! Everything is bounded: [`MAX_BAD`] calls, [`MAX_CLASSES`] classes, an hour of spells in which something
//! was bad.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};
use vigie_slo::intake::Outcome;
use vigie_slo::ratio::Ratio;

use super::facts::{Ending, Facts, Time};
use super::minutes::Minutes;
use crate::span::{Span, TraceId};

/// Bad calls that are remembered, the latest.
pub const MAX_BAD: usize = 16;
/// Classes of errors that are told apart.
pub const MAX_CLASSES: usize = 16;

/// Length of a spell, in milliseconds.
const SPELL_MS: i64 = 10_000;
/// How many are remembered: an hour.
const MAX_SPELLS: usize = 360;

/// Bad calls of one SLO.
#[derive(Debug, Default)]
pub struct Evidence {
    bad: VecDeque<Bad>,
    spells: VecDeque<Spell>,
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
        let start_ms = end_ms.div_euclid(SPELL_MS) * SPELL_MS;
        let newest = self.spells.back().map_or(i64::MIN, |spell| spell.start_ms);
        if start_ms > newest {
            // One without a bad call makes room for the next.
            if self.spells.back().is_some_and(|spell| spell.bad == 0) {
                self.spells.pop_back();
            }
            if self.spells.len() >= MAX_SPELLS {
                self.spells.pop_front();
            }
            self.spells.push_back(Spell { start_ms, ..Spell::default() });
        }
        // A late one counts where it belongs, or where there is room.
        let found = self.spells.iter_mut().rev().find(|spell| spell.start_ms <= start_ms);
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
        for spell in self.spells.iter().rev().filter(burns) {
            let follows = |later: Spell| later.start_ms - spell.start_ms - SPELL_MS <= longest_ms;
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
    pub(super) fn sums(&self, since_ms: i64) -> [u64; 2] {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::span::testing::server;

    fn at(evidence: &mut Evidence, second: i64, status: u16) {
        let span = server("api", status);
        let outcome = if status < 500 { Outcome::Good } else { Outcome::Bad };
        evidence.call(&span, &Facts::of(&span), outcome, second * 1_000);
    }

    #[test]
    fn the_onset_is_the_first_bad_call_after_a_pause() {
        let mut evidence = Evidence::default();
        let tenth = Ratio::percent(10);
        assert_eq!(evidence.onset_ms(tenth, 300), None);
        // One failure in a hundred is usual; then an outage, with a pause of a minute.
        for second in 0..1_000 {
            at(&mut evidence, second, if second % 100 == 0 { 503 } else { 200 });
        }
        for second in (1_003..1_020).chain(1_080..1_100) {
            at(&mut evidence, second, 503);
        }
        assert_eq!(evidence.onset_ms(tenth, 300), Some(1_003_000));
        assert_eq!(evidence.onset_ms(tenth, 30), Some(1_080_000));
    }

    #[test]
    fn classes_are_bounded_and_grow_old() {
        let mut evidence = Evidence::default();
        for status in 500..530 {
            at(&mut evidence, 0, status);
        }
        assert_eq!(evidence.classes(0).len(), MAX_CLASSES);
        at(&mut evidence, 3_600, 503);
        let classes = evidence.classes(0);
        assert_eq!(classes, [Class { class: "503".to_owned(), count: 1 }]);
        assert_eq!(evidence.bad.len(), MAX_BAD);
    }
}
