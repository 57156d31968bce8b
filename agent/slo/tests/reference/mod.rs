//! The same semantics once more, written apart from the evaluator: rational numbers over big integers,
//! no rings, everything summed up from the raw list at each instant. Slow.
#![allow(unreachable_pub, reason = "a module of a test")]

use num_bigint::BigInt;
use num_rational::BigRational;
use num_traits::{One as _, ToPrimitive as _, Zero as _};
use vigie_slo::alert::Op;
use vigie_slo::model::{Budgeting, Empty, Slices, Slo};
use vigie_slo::ratio::Ratio;
use vigie_slo::series::Row;
use vigie_slo::window::Window;

fn big(value: impl Into<BigInt>) -> BigRational {
    BigRational::from_integer(value.into())
}

pub fn exact(ratio: Ratio) -> BigRational {
    let (num, den) = ratio.parts();
    BigRational::new(num.into(), den.into())
}

/// A tick: `(t − length, t]`.
#[derive(Clone, Copy)]
struct Span {
    t: i64,
    good: u64,
    bad: u64,
    observed_cs: i64,
}

pub struct Reference<'a> {
    slo: &'a Slo,
    tick_s: i64,
    raw: bool,
    /// Windows begin within entries of 10 s, and above 6 h of 5 min, as on a node.
    node: bool,
    /// Begin of the first tick.
    origin: i64,
    ticks: Vec<Span>,
    /// With time slices: end, bad and all of each that counts.
    slices: Vec<(i64, u64, u64)>,
    pub late: u64,
}

/// Bad, all, observed hundredths of a second.
type Counted = (BigRational, BigRational, BigRational);

pub struct Outcome {
    /// When, and what in words.
    pub transitions: Vec<(i64, String)>,
    pub burn: Vec<Option<BigRational>>,
    pub spent: Option<BigRational>,
    pub coverage: BigRational,
    pub firing: Vec<usize>,
}

impl<'a> Reference<'a> {
    pub fn new(slo: &'a Slo, rows: &[Row], tick_s: i64, raw: bool, node: bool) -> Self {
        let mut ticks: Vec<Span> = Vec::new();
        let (mut late, mut waiting) = (0, (0, 0));
        for row in rows {
            if ticks.last().is_some_and(|last| row.t <= last.t) {
                late += row.good + row.bad;
                waiting = (waiting.0 + row.good, waiting.1 + row.bad);
                continue;
            }
            let known = i128::from(row.good + row.bad);
            let all = known + i128::from(row.unobserved);
            let length = i128::from(tick_s) * 100;
            let observed = if row.unobserved == 0 { length } else { length * known / all };
            let (good, bad) = std::mem::take(&mut waiting);
            let observed_cs = i64::try_from(observed).unwrap();
            ticks.push(Span { t: row.t, good: row.good + good, bad: row.bad + bad, observed_cs });
        }
        let origin = rows[0].t - tick_s;
        let mut new = Self { slo, tick_s, raw, node, origin, ticks, slices: Vec::new(), late };
        new.slices = match slo.budgeting {
            Budgeting::Occurrences => Vec::new(),
            Budgeting::Slices(slices) => new.slices(slices, false),
            Budgeting::RatioSlices(slices) => new.slices(slices, true),
        };
        new
    }

    /// The ticks that end in `(from, to]`.
    fn inside(&self, from: i64, to: i64) -> &[Span] {
        let place = |t: i64| self.ticks.partition_point(|tick| tick.t <= t);
        &self.ticks[place(from)..place(to).max(place(from))]
    }

    /// What lies in `(from, to]`, both ends of ticks.
    fn sum(&self, from: i64, to: i64) -> Counted {
        let inside = self.inside(from, to).iter();
        let observed: i64 = inside.clone().map(|tick| tick.observed_cs).sum();
        let (bad, total) = match self.slo.budgeting {
            Budgeting::Occurrences => inside
                .fold((0, 0), |(bad, total), tick| (bad + tick.bad, total + tick.good + tick.bad)),
            Budgeting::Slices(_) | Budgeting::RatioSlices(_) => {
                let inside = self.slices.iter().filter(|(end, ..)| *end > from && *end <= to);
                inside.fold((0, 0), |(bad, total), slice| (bad + slice.1, total + slice.2))
            }
        };
        (big(bad), big(total), big(observed))
    }

    fn slices(&self, slices: Slices, by_share: bool) -> Vec<(i64, u64, u64)> {
        let length = slices.length_s as i64;
        let mut all = Vec::new();
        let mut end = self.origin.div_euclid(length) * length + length;
        let whole = if by_share { 10_000_000 } else { 1 };
        while end <= self.ticks.last().unwrap().t {
            let inside = self.inside(end - length, end).iter();
            let inside = inside.filter(|tick| tick.observed_cs > 0 || tick.good + tick.bad > 0);
            let (seen, bad, good) = inside.fold((false, 0_u64, 0_u64), |(_, bad, good), tick| {
                (true, bad + tick.bad, good + tick.good)
            });
            let verdict = if !seen {
                None
            } else if bad + good == 0 {
                match slices.empty {
                    Empty::Good => Some(0),
                    Empty::Bad => Some(whole),
                    Empty::Exclude => None,
                }
            } else if by_share {
                let share = BigRational::new(bad.into(), (bad + good).into()) * big(whole);
                share.round().to_integer().to_u64()
            } else {
                let share = BigRational::new(good.into(), (bad + good).into());
                Some(u64::from(share < exact(slices.target)))
            };
            if let Some(verdict) = verdict {
                all.push((end, verdict, whole));
            }
            end += length;
        }
        all
    }

    /// What lies in the last `length` seconds before `t`.
    fn window(&self, t: i64, length: i64) -> Counted {
        let from = t - length;
        if !self.node || from <= self.origin {
            return self.sum(from, t);
        }
        // The entry that the window begins in counts as evenly spread, whole units of what lies before.
        let (base, step) = if length <= 21_600 { (self.origin, 10) } else { (0, 300) };
        let entry = base + (from - base).div_euclid(step) * step;
        let (start, end) = (entry.max(self.origin), (entry + step).min(t));
        let (bad, total, observed) = self.sum(start, end);
        let before = |whole: BigRational| (whole * big(from - start) / big(end - start)).floor();
        let (rest_bad, rest_total, rest_observed) = self.sum(end, t);
        let rest = |whole: &BigRational| whole - before(whole.clone());
        (rest(&bad) + rest_bad, rest(&total) + rest_total, rest(&observed) + rest_observed)
    }

    fn burn(&self, counted: &Counted, length: i64) -> Option<BigRational> {
        let (bad, total, observed) = counted;
        if total.is_zero() {
            return None;
        }
        let scale = if self.raw { BigRational::one() } else { observed / big(length * 100) };
        Some(bad / total * scale / (BigRational::one() - exact(self.slo.target)))
    }

    /// Begin and length of the period at `t`. Calendar: days of UTC.
    fn period(&self, t: i64) -> (i64, i64) {
        match self.slo.window {
            Window::Rolling(length) => (t - length as i64, length as i64),
            Window::Calendar(_) => ((t - 1).div_euclid(86_400) * 86_400, 86_400),
        }
    }

    fn in_period(&self, t: i64) -> Counted {
        match (self.period(t), &self.slo.window) {
            ((_, length), Window::Rolling(_)) => self.window(t, length),
            ((start, _), Window::Calendar(_)) => self.sum(start, t),
        }
    }

    pub fn run(&self) -> Outcome {
        let mut transitions = Vec::new();
        let mut since = Vec::new();
        for alert in &self.slo.alerts {
            since.push(vec![None; alert.conditions.len()]);
        }
        let mut firing = vec![false; self.slo.alerts.len()];
        let (mut silent, mut zone) = (false, "");
        let last = self.ticks.last().unwrap().t;
        let mut t = self.ticks[0].t;
        while t <= last {
            let (period, (_, length)) = (self.in_period(t), self.period(t));
            let spent = self.burn(&period, length);
            for (index, alert) in self.slo.alerts.iter().enumerate() {
                let mut all = true;
                for (condition, since) in alert.conditions.iter().zip(&mut since[index]) {
                    let window = condition.window_s as i64;
                    let burn = self.burn(&self.window(t, window), window);
                    let factor = exact(condition.factor);
                    let holds = burn.is_some_and(|burn| match condition.op {
                        Op::Gt => burn > factor,
                        Op::Gte => burn >= factor,
                    });
                    *since = holds.then(|| since.unwrap_or(t));
                    all &= since.is_some_and(|since| t - since >= condition.after_s as i64);
                }
                let long = self.window(t, alert.long_s() as i64);
                all &= long.0 >= big(alert.guards.min_bad);
                all &= long.1 >= big(alert.guards.min_total);
                if let Some(least) = alert.guards.min_budget_spend {
                    let part = (long.0, period.1.clone(), period.2.clone());
                    all &= self.burn(&part, length).is_some_and(|spend| spend >= exact(least));
                }
                if all != firing[index] {
                    firing[index] = all;
                    transitions.push((t, format!("{} {all}", alert.name)));
                }
            }
            let seen = self.ticks.iter().rev().find(|tick| tick.t <= t && tick.observed_cs > 0);
            let quiet = t - seen.map_or(self.origin, |tick| tick.t);
            let no_data = self.slo.no_data_after_s.is_some_and(|after| quiet >= after as i64);
            if no_data != silent {
                silent = no_data;
                transitions.push((t, format!("no data {no_data}")));
            }
            let left = BigRational::one() - spent.unwrap_or_else(BigRational::zero);
            let now = self.zone(&left, zone);
            if !zone.is_empty() && now != zone {
                transitions.push((t, format!("zone {now}")));
            }
            zone = now;
            t += self.tick_s;
        }
        let (start, length) = self.period(last);
        let period = self.in_period(last);
        let lived = big((last - start.max(self.origin)) * 100);
        let windows = self.slo.windows_s();
        let burn = windows.iter().map(|window| {
            let window = *window as i64;
            self.burn(&self.window(last, window), window)
        });
        Outcome {
            burn: burn.collect(),
            spent: self.burn(&period, length),
            coverage: &period.2 / lived,
            firing: (0..firing.len()).filter(|index| firing[*index]).collect(),
            transitions,
        }
    }

    fn zone(&self, left: &BigRational, before: &str) -> &'static str {
        let zones = &self.slo.zones;
        let mut freeze = exact(zones.freeze_below);
        if before == "freeze" || before == "exhausted" {
            freeze += exact(zones.hysteresis);
        }
        if *left < BigRational::zero() {
            "exhausted"
        } else if *left < freeze {
            "freeze"
        } else if *left > exact(zones.ship_above) {
            "ship"
        } else {
            "careful"
        }
    }
}
