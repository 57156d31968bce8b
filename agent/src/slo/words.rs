//! Figures of SLOs in words.

use vigie_slo::ratio::Ratio;

use super::status::Findings;
use super::surroundings::{Cause, Excess};

/// `1.9 % of 500 bad, 0.1 % allowed`.
pub fn allowed(bad: Ratio, total: u64, budget: Ratio) -> String {
    format!("{} of {total} bad, {} allowed", percent(bad), percent(budget))
}

/// A share in percent with at most three places.
pub fn percent(share: Ratio) -> String {
    let hundred = Ratio::new(100, 1).unwrap_or(Ratio::ONE);
    let percent = share.checked_mul(hundred).unwrap_or(share);
    format!("{} %", percent.decimal(3))
}

/// `; 503 412, slow 3; probable cause: db SELECT orders, 94 % of the bad calls`. Empty where nothing is
/// known.
pub fn why(findings: &Findings) -> String {
    let mut text = String::new();
    let classes = findings.classes.iter().take(3);
    let classes: Vec<String> =
        classes.map(|class| format!("{} {}", class.class, class.count)).collect();
    if !classes.is_empty() {
        text += "; ";
        text += &classes.join(", ");
    }
    if let Some(cause) = &findings.cause {
        text += "; probable cause: ";
        text += &self::cause(cause);
    }
    text
}

/// `db SELECT orders, 94 % of the bad calls`.
pub fn cause(cause: &Cause) -> String {
    let Cause { peer, name, what, share_percent } = cause;
    let what = match what {
        Excess::Errors => "failed calls there are",
        Excess::Time => "time there is",
    };
    let of = match cause.what {
        Excess::Errors => "the bad calls",
        Excess::Time => "the time of the bad calls",
    };
    format!("{peer} {name}: {what} {share_percent} % of {of}")
}
