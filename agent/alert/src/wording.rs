//! Figures and lengths of time in words.

use vigie_slo::ratio::Ratio;
use vigie_slo::select::{Criteria, Indicator, Verdict};

/// Most digits after the point of a percentage.
const MAX_PLACES: u32 = 6;

/// What the bad events of an indicator are.
pub(crate) fn bad(indicator: &Indicator) -> String {
    let mut words: Vec<String> = match &indicator.verdict {
        Verdict::Bad(any) => any.iter().map(criteria).collect(),
        Verdict::Good(good) => vec![not(good)],
    };
    words.extend(indicator.hung_after_ms.map(|ms| format!("hung for {}", millis(ms))));
    words.dedup();
    words.join(" or ")
}

fn criteria(criteria: &Criteria) -> String {
    let mut words = Vec::new();
    words.extend(criteria.errors.is_some().then(|| "failing".to_owned()));
    words.extend(criteria.slower_than_ms.map(|ms| format!("slower than {}", millis(ms))));
    words.extend(criteria.within_ms.map(|ms| format!("done within {}", millis(ms))));
    if words.is_empty() { "bad".to_owned() } else { words.join(" and ") }
}

/// What does not meet the description of good.
fn not(good: &Criteria) -> String {
    let only_time = Criteria { within_ms: good.within_ms, ..Criteria::default() } == *good;
    match good.within_ms {
        Some(ms) if only_time => format!("slower than {}", millis(ms)),
        Some(ms) => format!("bad or slower than {}", millis(ms)),
        None => "bad".to_owned(),
    }
}

fn millis(ms: u64) -> String {
    let seconds = Ratio::new(ms.into(), 1_000).unwrap_or(Ratio::ZERO);
    if ms < 1_000 { format!("{ms} ms") } else { format!("{} s", seconds.decimal(3)) }
}

/// A share as a percentage without its sign, rounded to as few digits as say enough: one after the
/// point, below 1 % two that are not zeros.
pub(crate) fn percent(share: Ratio) -> String {
    let Some(percent) = Ratio::new(100, 1).and_then(|all| all.checked_mul(share)) else {
        return share.decimal(MAX_PLACES);
    };
    let mut places = 1;
    let (mut least, tenth) = (Ratio::ONE, Ratio::percent(10));
    while percent < least && !percent.is_zero() && places < MAX_PLACES {
        places += 1;
        least = least.checked_mul(tenth).unwrap_or(Ratio::ZERO);
    }
    percent.decimal(places)
}

/// A share as a percentage that differs from another one in its digits where it does in its value:
/// "0.1 % failing, 0.1 % allowed" would be a riddle.
pub(crate) fn percent_beside(share: Ratio, other: Ratio) -> String {
    let short = percent(share);
    if share == other || short != percent(other) {
        return short;
    }
    let scaled = Ratio::new(100, 1).and_then(|all| all.checked_mul(share)).unwrap_or(share);
    let longer = (2..=MAX_PLACES).map(|places| scaled.decimal(places));
    longer.into_iter().find(|longer| *longer != short).unwrap_or(short)
}

/// What is left of the budget in percent without the sign; below 0 if it is overspent.
pub(crate) fn remaining(spent: Option<Ratio>) -> String {
    let (negative, share) = spent.unwrap_or(Ratio::ZERO).complement();
    format!("{}{}", if negative { "-" } else { "" }, percent(share))
}

/// A length of time in at most two units.
pub(crate) fn lasting(seconds: u64) -> String {
    const UNITS: [(u64, &str); 4] = [(86_400, "d"), (3_600, "h"), (60, "min"), (1, "s")];
    let first = UNITS.iter().position(|(length, _)| seconds >= *length);
    let Some(first) = first else { return "0 s".to_owned() };
    let mut left = seconds;
    let mut words = Vec::new();
    for (length, unit) in UNITS.iter().skip(first).take(2) {
        if left >= *length {
            words.push(format!("{} {unit}", left / length));
        }
        left %= length;
    }
    words.join(" ")
}

/// Seconds since 1970 as RFC 3339 in UTC.
pub(crate) fn rfc3339(t: i64) -> String {
    jiff::Timestamp::from_second(t).map_or_else(|_| t.to_string(), |t| t.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentages_say_enough() {
        let ratio = |num, den| Ratio::new(num, den).unwrap();
        for (num, den, text) in [
            (19, 1_000, "1.9"),
            (1, 1_000, "0.1"),
            (1, 3, "33.3"),
            (1, 1, "100"),
            (0, 5, "0"),
            (123, 100_000, "0.12"),
            (1, 1_000_000, "0.0001"),
        ] {
            assert_eq!(percent(ratio(num, den)), text);
        }
        assert_eq!(percent_beside(ratio(1_004, 1_000_000), ratio(1, 1_000)), "0.1004");
        assert_eq!(percent_beside(ratio(19, 1_000), ratio(1, 1_000)), "1.9");
        assert_eq!(remaining(Some(ratio(12, 10))), "-20");
        assert_eq!(remaining(None), "100");
    }

    #[test]
    fn lengths_have_two_units() {
        let all = [0, 59, 61, 3_600, 183_900, 86_399].map(lasting);
        assert_eq!(all, ["0 s", "59 s", "1 min 1 s", "1 h", "2 d 3 h", "23 h 59 min"]);
    }
}
