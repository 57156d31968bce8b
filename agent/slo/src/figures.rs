//! What an SLO has come to at one time, and what changes on the way.

use crate::ratio::Ratio;
use crate::rings::Sums;
use crate::zone::Zone;

/// How an error ratio counts the time of a window that was not observed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    /// `bad / total × observed / window`: an hour of errors after a cold start is an hour of the
    /// period, not all of it.
    #[default]
    Scaled,
    /// `bad / total`, as Prometheus computes it.
    Raw,
}

/// Burn rate: the error ratio over a window as a multiple of the error budget. None without an event.
pub fn burn(mode: Mode, sums: Sums, length_s: u64, error_budget: Ratio) -> Option<Ratio> {
    let (num, den) = error_budget.parts();
    let (bad, total) = (u128::from(sums.bad), u128::from(sums.total));
    match mode {
        Mode::Raw => Ratio::new(bad * den, total * num),
        Mode::Scaled => {
            let window_cs = u128::from(length_s) * 100;
            Ratio::new(bad * u128::from(sums.observed_cs) * den, total * window_cs * num)
        }
    }
}

/// Something that changed at `t`, in seconds since 1970.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Transition {
    /// When.
    pub t: i64,
    /// What.
    pub change: Change,
}

/// What changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// The alert with this index in the SLO began or ended.
    Alert {
        /// Index in `Slo::alerts`.
        index: usize,
        /// Began.
        on: bool,
    },
    /// The no-data alert began or ended.
    NoData {
        /// Began.
        on: bool,
    },
    /// The budget entered another zone.
    Zone {
        /// The new one.
        zone: Zone,
    },
}

/// The figures of an SLO.
#[derive(Clone, Debug, PartialEq)]
pub struct Figures {
    /// When, in seconds since 1970.
    pub t: i64,
    /// What was counted within the period, in the unit of the budget (events or slices).
    pub period: Sums,
    /// Burn rate per window, by its length in seconds. None: no traffic.
    pub burn: Vec<(u64, Option<Ratio>)>,
    /// Burn rate over the period, which is the share of the budget that is spent. None: no traffic.
    pub spent: Option<Ratio>,
    /// Time until the budget is spent at the pace of the last hour (or the longest window that is
    /// shorter), in seconds. 0: it is. None: never at this pace, or no traffic.
    pub exhausted_in_s: Option<u64>,
    /// Zone of the policy.
    pub zone: Zone,
    /// Share of the time that was observed, of that part of the period in which there was an SLO.
    pub coverage: Ratio,
    /// Indices of the alerts that fire.
    pub firing: Vec<usize>,
    /// Whether the no-data alert fires.
    pub no_data: bool,
    /// Events that came too late and were counted in the tick that was open.
    pub late: u64,
    /// Events that were not counted, because a window would have held more than 2⁴⁸ of them.
    pub overflowed: u64,
}

impl Figures {
    /// Budget remaining as a decimal with so many places; below 0 when more is spent than there was.
    /// Without traffic all of it remains.
    pub fn remaining(&self, places: u32) -> String {
        let (negative, share) = self.spent.unwrap_or(Ratio::ZERO).complement();
        format!("{}{}", if negative { "-" } else { "" }, share.decimal(places))
    }
}

/// `period × remaining / burn` in whole seconds.
pub fn exhausted_in_s(spent: Ratio, burn: Ratio, period_s: u64) -> Option<u64> {
    const PLACES: u32 = 12;
    let (over, remaining) = spent.complement();
    if over || remaining.is_zero() {
        return Some(0);
    }
    let remaining = remaining.scaled(PLACES)?.checked_mul(period_s.into())?;
    u64::try_from(remaining.checked_div(burn.scaled(PLACES)?)?).ok()
}
