//! In which stretches of time calls were counted at all: what is missing was not observed.

use std::collections::VecDeque;

use vigie_slo::suggest::Step;

use super::varint::{Reader, put};
use super::{COARSE_S, COARSE_SPAN_S, FINE_S, FINE_SPAN_S};

/// Steps of both lengths, in the order of time.
#[derive(Debug, Default)]
pub(super) struct Steps {
    fine: VecDeque<Step>,
    coarse: VecDeque<Step>,
}

impl Steps {
    /// Adds a fine step that ended at `t`.
    pub(super) fn push_fine(&mut self, t: i64, length_s: u64) {
        self.fine.push_back(Step { t, length_s });
    }

    /// Closes the coarse step that the last fine one lies in, if a fine one that ends at `next` lies in
    /// another. Gives its beginning and its end.
    pub(super) fn close_coarse(&mut self, next: i64) -> Option<(i64, i64)> {
        let last = self.fine.back()?.t;
        let number = |t: i64| t.saturating_sub(1).div_euclid(COARSE_S.cast_signed());
        let start = number(last).saturating_mul(COARSE_S.cast_signed());
        let end = start.saturating_add_unsigned(COARSE_S);
        let closed = self.coarse.back().is_some_and(|step| step.t >= end);
        if number(next) == number(last) || closed {
            return None;
        }
        let within = self.fine.iter().rev().take_while(|step| step.t > start);
        let length_s = within.map(|step| step.length_s).sum::<u64>().min(COARSE_S);
        self.coarse.push_back(Step { t: end, length_s });
        Some((start, end))
    }

    /// Forgets what ended at or before these times.
    pub(super) fn expire(&mut self, fine: i64, coarse: i64) {
        for (steps, oldest) in [(&mut self.fine, fine), (&mut self.coarse, coarse)] {
            while steps.front().is_some_and(|step| step.t <= oldest) {
                steps.pop_front();
            }
        }
    }

    /// All steps: coarse ones up to the time that is given beside them, fine ones after it.
    pub(super) fn all(&self) -> (Vec<Step>, i64) {
        let begin = |step: &Step| step.t.saturating_sub_unsigned(step.length_s);
        let fine_begin = self.fine.front().map_or(i64::MAX, begin);
        let older = self.coarse.iter().take_while(|step| begin(step) < fine_begin);
        let fine_from = older.last().map_or(i64::MIN, |step| step.t);
        let coarse = self.coarse.iter().take_while(|step| step.t <= fine_from);
        let fine = self.fine.iter().filter(|step| step.t > fine_from);
        (coarse.chain(fine).copied().collect(), fine_from)
    }

    /// End of the last step.
    pub(super) fn last(&self) -> Option<i64> {
        self.fine.back().or(self.coarse.back()).map(|step| step.t)
    }

    /// Adds those of another that are not there.
    pub(super) fn merge(&mut self, other: Self) {
        for (steps, more) in [(&mut self.fine, other.fine), (&mut self.coarse, other.coarse)] {
            let mut all: Vec<Step> = steps.drain(..).chain(more).collect();
            all.sort_by_key(|step| step.t);
            all.dedup_by_key(|step| step.t);
            steps.extend(all);
        }
    }

    /// Writes all steps.
    pub(super) fn encode(&self, bytes: &mut Vec<u8>) {
        for (steps, unit_s) in [(&self.fine, FINE_S), (&self.coarse, COARSE_S)] {
            put(bytes, steps.len() as u64);
            let mut last = 0;
            for step in steps {
                let number = step.t.max(0).unsigned_abs() / unit_s;
                put(bytes, number.saturating_sub(last));
                put(bytes, step.length_s);
                last = number;
            }
        }
    }

    /// Reads all steps; none if there is anything that was not written here. Steps after `now` are left
    /// out.
    pub(super) fn decode(reader: &mut Reader<'_>, now: i64) -> Option<Self> {
        let mut all = Self::default();
        for (steps, unit_s, span_s) in
            [(&mut all.fine, FINE_S, FINE_SPAN_S), (&mut all.coarse, COARSE_S, COARSE_SPAN_S)]
        {
            let count = reader.at_most(span_s / unit_s + 1)?;
            let mut last = 0_u64;
            for _ in 0..count {
                let passed = reader.at_most(1 << 36)?;
                last = last.checked_add(passed).filter(|_| passed > 0)?;
                let t = i64::try_from(last.checked_mul(unit_s)?).ok()?;
                let length_s = reader.at_most(COARSE_S)?;
                if t <= now {
                    steps.push_back(Step { t, length_s });
                }
            }
        }
        Some(all)
    }
}
