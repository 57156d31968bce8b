//! Zones of the budget policy: what the budget that is left says about shipping.

use crate::ratio::Ratio;

/// A zone, best first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Zone {
    /// Budget to spend.
    Ship,
    /// Less than plenty.
    Careful,
    /// Only repairs.
    Freeze,
    /// More is spent than there was.
    Exhausted,
}

impl Zone {
    /// Its word.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Ship => "ship",
            Self::Careful => "careful",
            Self::Freeze => "freeze",
            Self::Exhausted => "exhausted",
        }
    }
}

/// Where zones begin, as shares of the budget that are left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Zones {
    /// Above it: ship. At it: careful.
    pub ship_above: Ratio,
    /// Below it: freeze. At it: careful.
    pub freeze_below: Ratio,
    /// So much more than `freeze_below` must be left before a freeze ends.
    pub hysteresis: Ratio,
}

impl Default for Zones {
    fn default() -> Self {
        Self {
            ship_above: Ratio::percent(50),
            freeze_below: Ratio::percent(25),
            hysteresis: Ratio::percent(2),
        }
    }
}

impl Zones {
    /// The zone when `spent` of the budget is spent, after `before`.
    pub fn zone(&self, spent: Ratio, before: Option<Zone>) -> Zone {
        let (over, left) = spent.complement();
        if over {
            return Zone::Exhausted;
        }
        let frozen = matches!(before, Some(Zone::Freeze | Zone::Exhausted));
        let thaw = if frozen { self.thaw() } else { self.freeze_below };
        if left < thaw {
            Zone::Freeze
        } else if left > self.ship_above {
            Zone::Ship
        } else {
            Zone::Careful
        }
    }

    /// What must be left for a freeze to end.
    fn thaw(&self) -> Ratio {
        let ((a, b), (c, d)) = (self.freeze_below.parts(), self.hysteresis.parts());
        // Both come from files, with at most 11 digits below the line.
        Ratio::new(a * d + c * b, b * d).unwrap_or(self.freeze_below)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn boundaries_and_hysteresis() {
        let zones = Zones::default();
        let spent = |bad: u128| Ratio::new(bad, 10_000).unwrap();
        let table = [
            (4_999, None, Zone::Ship),
            (5_000, None, Zone::Careful),
            (7_500, None, Zone::Careful),
            (7_501, None, Zone::Freeze),
            (10_000, None, Zone::Freeze),
            (10_001, None, Zone::Exhausted),
            (7_500, Some(Zone::Freeze), Zone::Freeze),
            (7_301, Some(Zone::Exhausted), Zone::Freeze),
            (7_300, Some(Zone::Freeze), Zone::Careful),
            (7_301, Some(Zone::Careful), Zone::Careful),
            (0, Some(Zone::Exhausted), Zone::Ship),
        ];
        for (bad, before, zone) in table {
            assert_eq!(zones.zone(spent(bad), before), zone, "{bad} after {before:?}");
        }
    }
}
