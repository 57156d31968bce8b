//! Which objective, which threshold, which guard: integers only.

use super::replay::Count;
use super::{BUCKETS, EDGES_MS, PERIOD_S, Reason, Row};
use crate::alert::DEFAULT_PAIRS;
use crate::ratio::Ratio;

/// Objectives that are usual, in ten-thousandths, lowest first: 90 % to 99.99 %.
pub const LADDER: [u64; 7] = [9_000, 9_500, 9_900, 9_950, 9_990, 9_995, 9_999];
const WHOLE: u64 = 10_000;

/// Bad calls that are taken for possible beyond those that were seen. With none seen in `n`, a share of
/// 3 / n is what 95 of 100 such pasts would stay below ("rule of three"); so few calls support no strict
/// objective, however good they were.
const UNSEEN_BAD: u64 = 3;

/// The guard that is proposed where fewer bad calls than this would page.
pub const MIN_BAD: u64 = 5;

/// Share of calls that the threshold of a latency SLO is chosen for, in ten-thousandths; the next where
/// no edge is high enough.
const WITHIN: [u64; 3] = [9_900, 9_500, 9_000];

/// Whether so many bad of all are within the budget of an objective.
fn kept(total: u64, bad: u64, objective: u64) -> bool {
    u128::from(bad) * u128::from(WHOLE) <= u128::from(total) * u128::from(WHOLE - objective)
}

/// The highest objective of the ladder that these calls kept, with a margin.
pub(super) fn objective(total: u64, bad: u64) -> Result<Ratio, Reason> {
    let supported = |objective: &&u64| kept(total, bad.saturating_add(UNSEEN_BAD), **objective);
    if let Some(objective) = LADDER.iter().rev().find(supported) {
        return Ratio::new((*objective).into(), WHOLE.into())
            .map(Ratio::reduced)
            .ok_or(Reason::Few { total });
    }
    let lowest = LADDER.first().copied().unwrap_or(WHOLE);
    Err(if kept(total, bad, lowest) { Reason::Few { total } } else { Reason::Poor { total, bad } })
}

/// The lowest edge that 99 % of the durations are within; 95 %, 90 % where the last one is too low. Its
/// position in [`EDGES_MS`]; the last edge where there is none.
pub(super) fn edge(rows: &[Row]) -> usize {
    let mut sums = [0_u64; BUCKETS];
    for row in rows {
        for (sum, count) in sums.iter_mut().zip(row.buckets) {
            *sum = sum.saturating_add(count);
        }
    }
    let total = sums.iter().fold(0_u64, |all, sum| all.saturating_add(*sum));
    let edge_for = |objective: u64| {
        let mut slower = total;
        sums.iter().take(EDGES_MS.len()).position(|sum| {
            slower = slower.saturating_sub(*sum);
            kept(total, slower.saturating_add(UNSEEN_BAD), objective)
        })
    };
    WITHIN.into_iter().find_map(edge_for).unwrap_or(EDGES_MS.len() - 1)
}

/// A guard, where at quiet times fewer than [`MIN_BAD`] bad calls within an hour would page.
pub(super) fn min_bad(counts: &[Count], objective: Ratio) -> Option<u64> {
    let calls = quiet_hour(counts)?;
    let quick = DEFAULT_PAIRS.iter().find(|pair| pair.long_s == 3_600)?;
    let alert = quick.alert(PERIOD_S);
    let budget = objective.complement().1;
    let share = alert.conditions.first()?.factor.checked_mul(budget)?;
    // The share that pages, times the calls: one bad call more than the whole part of it pages.
    let enough = Ratio::new(calls.into(), 1)?.checked_mul(share)?.scaled(0)?;
    (enough + 1 < MIN_BAD.into()).then_some(MIN_BAD)
}

/// Calls of an hour such that nine in ten hours with calls have as many or more.
fn quiet_hour(counts: &[Count]) -> Option<u64> {
    let mut hours: Vec<u64> = counts
        .chunk_by(|a, b| hour(a) == hour(b))
        .filter(|chunk| chunk.iter().map(|count| count.step.length_s).sum::<u64>() >= 3_000)
        .map(|chunk| chunk.iter().fold(0_u64, |sum, count| sum.saturating_add(count.total)))
        .filter(|calls| *calls > 0)
        .collect();
    hours.sort_unstable();
    let whole = hours.get(hours.len() / 10).copied();
    // Where there is no whole hour: the mean.
    whole.or_else(|| {
        let calls = counts.iter().fold(0_u128, |sum, count| sum + u128::from(count.total));
        let observed_s = counts.iter().map(|count| u128::from(count.step.length_s)).sum::<u128>();
        u64::try_from((calls * 3_600).checked_div(observed_s)?).ok()
    })
}

fn hour(count: &Count) -> i64 {
    count.step.t.saturating_sub(1).div_euclid(3_600)
}
