//! Alerts: conditions on burn rates over windows, joined by AND, with guards for low traffic.

use crate::ratio::Ratio;

/// How a burn rate is compared with a factor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Op {
    /// Above.
    Gt,
    /// At or above.
    Gte,
}

/// One condition: the burn rate over a window is above a factor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Condition {
    /// Length of the window in seconds.
    pub window_s: u64,
    /// The factor: a burn rate of 1 spends the budget exactly within the period.
    pub factor: Ratio,
    /// How they are compared.
    pub op: Op,
    /// It counts once it has held for so many seconds.
    pub after_s: u64,
}

impl Condition {
    /// Whether `burn` is above the factor.
    pub fn holds(&self, burn: Ratio) -> bool {
        match self.op {
            Op::Gt => burn > self.factor,
            Op::Gte => burn >= self.factor,
        }
    }

    /// Whether no series can ever meet it: an error ratio is at most 1.
    pub fn is_unreachable(&self, error_budget: Ratio) -> bool {
        let most = Ratio::ONE.checked_div(error_budget).unwrap_or(Ratio::ONE);
        !self.holds(most)
    }
}

/// What else must be true before an alert fires, for services with little traffic. All apply to the
/// longest window of the alert.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Guards {
    /// At least so many bad events.
    pub min_bad: u64,
    /// At least so many events.
    pub min_total: u64,
    /// Bad events of at least this share of what the whole period allows, at the period's traffic.
    pub min_budget_spend: Option<Ratio>,
}

/// How urgent an alert is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Severity {
    /// Somebody is called.
    Page,
    /// Somebody looks at it tomorrow.
    Ticket,
    /// The file's own word.
    Other(String),
}

impl Severity {
    /// Its word.
    pub fn word(&self) -> &str {
        match self {
            Self::Page => "page",
            Self::Ticket => "ticket",
            Self::Other(word) => word,
        }
    }
}

impl From<&str> for Severity {
    fn from(word: &str) -> Self {
        match word {
            "page" => Self::Page,
            "ticket" => Self::Ticket,
            other => Self::Other(other.to_owned()),
        }
    }
}

/// An alert: fires when all conditions and guards are met.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Alert {
    /// Its name within the SLO: `page-quick`, or the policy's own.
    pub name: String,
    /// How urgent.
    pub severity: Severity,
    /// All of these must hold. Never empty.
    pub conditions: Vec<Condition>,
    /// And these.
    pub guards: Guards,
    /// Who is told: names of notification targets.
    pub targets: Vec<String>,
    /// Whether its end is told, too.
    pub tell_resolved: bool,
}

impl Alert {
    /// The shortest window in seconds.
    pub fn short_s(&self) -> u64 {
        self.conditions.iter().map(|condition| condition.window_s).min().unwrap_or(0)
    }

    /// The longest window in seconds.
    pub fn long_s(&self) -> u64 {
        self.conditions.iter().map(|condition| condition.window_s).max().unwrap_or(0)
    }
}

/// A pair of windows from which a default alert is made.
#[derive(Clone, Copy, Debug)]
pub struct Pair {
    /// The alert's name.
    pub name: &'static str,
    /// `page` or `ticket`.
    pub severity: &'static str,
    /// Long window in seconds.
    pub long_s: u64,
    /// Short window in seconds: the alert ends soon after the errors do.
    pub short_s: u64,
    /// Share of the budget, in percent, that is spent within the long window at the factor.
    pub budget_percent: u64,
}

/// What an SLO without alert policies gets.
pub const DEFAULT_PAIRS: [Pair; 4] = [
    Pair { name: "page-quick", severity: "page", long_s: 3_600, short_s: 300, budget_percent: 2 },
    Pair { name: "page-slow", severity: "page", long_s: 21_600, short_s: 1_800, budget_percent: 5 },
    Pair {
        name: "ticket-quick",
        severity: "ticket",
        long_s: 86_400,
        short_s: 7_200,
        budget_percent: 10,
    },
    Pair {
        name: "ticket-slow",
        severity: "ticket",
        long_s: 259_200,
        short_s: 21_600,
        budget_percent: 10,
    },
];

impl Pair {
    /// The alert for a period of so many seconds: `factor = budget share × period / long window`.
    pub fn alert(&self, period_s: u64) -> Alert {
        let factor = factor(Ratio::percent(self.budget_percent), period_s, self.long_s);
        Alert {
            name: self.name.to_owned(),
            severity: self.severity.into(),
            conditions: pair(self.long_s, self.short_s, factor),
            guards: Guards::default(),
            targets: Vec::new(),
            tell_resolved: true,
        }
    }
}

/// `share × period / long`.
pub fn factor(share: Ratio, period_s: u64, long_s: u64) -> Ratio {
    let times = Ratio::new(period_s.into(), long_s.max(1).into()).unwrap_or(Ratio::ONE);
    share.checked_mul(times).unwrap_or(Ratio::ONE)
}

/// The two conditions of a pair.
pub fn pair(long_s: u64, short_s: u64, factor: Ratio) -> Vec<Condition> {
    let condition = |window_s| Condition { window_s, factor, op: Op::Gt, after_s: 0 };
    vec![condition(short_s), condition(long_s)]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn factors_follow_the_period() {
        let factors = |period_s| {
            DEFAULT_PAIRS
                .map(|pair| pair.alert(period_s).conditions.first().unwrap().factor.decimal(3))
        };
        assert_eq!(factors(30 * 86_400), ["14.4", "6", "3", "1"]);
        assert_eq!(factors(28 * 86_400), ["13.44", "5.6", "2.8", "0.933"]);
    }

    #[test]
    fn a_factor_that_no_error_ratio_reaches() {
        let mut condition =
            Condition { window_s: 300, factor: "10".parse().unwrap(), op: Op::Gt, after_s: 0 };
        assert!(condition.is_unreachable(Ratio::percent(10)));
        condition.op = Op::Gte;
        assert!(!condition.is_unreachable(Ratio::percent(10)));
        assert!(condition.is_unreachable(Ratio::percent(11)));
    }
}
