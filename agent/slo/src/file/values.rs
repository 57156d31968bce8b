//! Values that both forms of the file have: objectives, periods, lookback windows, and what must hold
//! between them.

use super::field::Field;
use super::report::{At, Report};
use crate::alert::{Alert, DEFAULT_PAIRS};
use crate::duration::{Length, length, short};
use crate::ratio::Ratio;
use crate::rings::{COARSE_S, FINE_S, FINE_SPAN_S};
use crate::window::{Unit, Window};

/// Longest rolling period: a leap year.
const MAX_PERIOD_S: u64 = 366 * 86_400;
/// Shortest.
const MIN_PERIOD_S: u64 = 3_600;

/// A share of good events between 0 and 1. `percent`: the number is one of a hundred.
pub(super) fn target(field: &Field<'_>, report: &mut Report, percent: bool) -> Option<Ratio> {
    let number = field.ratio(report)?;
    let ratio = if percent { number.checked_mul(Ratio::percent(1))? } else { number };
    if ratio > Ratio::ZERO && ratio < Ratio::ONE {
        return Some(ratio.reduced());
    }
    let advice = if ratio == Ratio::ONE {
        "an objective of all leaves no budget: write 0.9999, or what users need"
    } else if percent {
        "write a percentage above 0 and below 100: 99.9"
    } else {
        "write a share above 0 and below 1, as 0.999, or a percentage, as 99.9%"
    };
    report.wrong(&field.at, format!("{number} is no objective"), advice);
    None
}

/// A share of at most 1.
pub(super) fn share(field: &Field<'_>, report: &mut Report) -> Option<Ratio> {
    let ratio = field.ratio(report)?;
    if ratio <= Ratio::ONE {
        return Some(ratio);
    }
    report.wrong(&field.at, format!("{ratio} is above the whole"), "write a share: 25%, or 0.25");
    None
}

/// A length of fixed seconds.
pub(super) fn seconds(field: &Field<'_>, report: &mut Report) -> Option<u64> {
    field.read(report, |text| match length(text)? {
        Length::Seconds(seconds) => Ok(seconds),
        Length::Months(_) => Err(format!(
            "`M` is months, and their length is not fixed: write `{}` for minutes, or days",
            text.to_ascii_lowercase()
        )),
    })
}

/// A rolling period in seconds.
pub(super) fn rolling(field: &Field<'_>, report: &mut Report) -> Option<u64> {
    field.read(report, |text| match length(text)? {
        Length::Months(months) => Err(format!(
            "a rolling period has a fixed length: write {}d, or a calendar window",
            months.saturating_mul(30)
        )),
        Length::Seconds(_) if text.ends_with('m') => Err(format!(
            "`m` is minutes: write {} for months in a calendar window, or days, as 30d",
            text.replace('m', "M")
        )),
        Length::Seconds(seconds) if !(MIN_PERIOD_S..=MAX_PERIOD_S).contains(&seconds) => {
            Err("write a period from 1h to 366d; 28d and 30d are usual".to_owned())
        }
        Length::Seconds(seconds) if seconds % COARSE_S != 0 => {
            Err("write a multiple of 5m".to_owned())
        }
        Length::Seconds(seconds) => Ok(seconds),
    })
}

/// A calendar unit.
pub(super) fn unit(field: &Field<'_>, report: &mut Report) -> Option<Unit> {
    field.read(report, |text| match length(text)? {
        Length::Seconds(86_400) => Ok(Unit::Days(1)),
        Length::Seconds(604_800) => Ok(Unit::Days(7)),
        Length::Months(months @ (1 | 3 | 12)) => Ok(Unit::Months(months)),
        Length::Seconds(_) if text.ends_with('m') => {
            Err(format!("`m` is minutes: write {} for months", text.replace('m', "M")))
        }
        _ => Err("write one calendar unit: 1d, 1w, 1M, 1Q, 1Y".to_owned()),
    })
}

/// A window to look back over, in seconds.
pub(super) fn lookback(field: &Field<'_>, report: &mut Report) -> Option<u64> {
    let seconds = seconds(field, report)?;
    let (step, advice) = if seconds > FINE_SPAN_S {
        (COARSE_S, "write a multiple of 5m for a window above 6h")
    } else {
        (FINE_S, "write a multiple of 10s")
    };
    if seconds.is_multiple_of(step) {
        return Some(seconds);
    }
    report.wrong(&field.at, format!("a window of {} cannot be read", short(seconds)), advice);
    None
}

/// The places of an alert's factors and windows, in the order of its conditions.
pub(super) type Places = Vec<(At, At)>;

/// Checks an alert against the SLO that has it.
pub(super) fn check_alert(
    report: &mut Report,
    slo: &str,
    alert: &Alert,
    places: &Places,
    error_budget: Ratio,
    window: &Window,
) {
    let most = Ratio::ONE.checked_div(error_budget).unwrap_or(Ratio::ONE);
    let period_s = window.nominal_s();
    for (condition, (factor_at, window_at)) in alert.conditions.iter().zip(places) {
        let factor = condition.factor;
        if condition.is_unreachable(error_budget) {
            let message = format!(
                "{} can never fire for {slo}: its error budget is {error_budget}, so the burn rate is at most {}",
                alert.name,
                most.decimal(3)
            );
            let advice = format!("write a factor below {}", most.decimal(3));
            report.wrong(factor_at, message, advice);
        } else if factor < Ratio::ONE {
            warn_below_one(report, factor_at, &alert.name, slo, factor);
        }
        if condition.window_s > period_s {
            let message = format!(
                "a window of {} is longer than the period of {slo}",
                short(condition.window_s)
            );
            report.wrong(window_at, message, format!("write at most {}", short(period_s)));
        }
    }
}

fn warn_below_one(report: &mut Report, at: &At, name: &str, slo: &str, factor: Ratio) {
    let message = format!(
        "{name} of {slo} fires at a burn rate of {}, below 1: the objective is met all the same",
        factor.decimal(3)
    );
    report.warn(at, message, "write a factor of at least 1, or keep it as an early sign");
}

/// The alerts of an SLO without policies. Those that could never fire, or look back over more than the
/// period, are left out with a warning.
pub(super) fn default_alerts(
    report: &mut Report,
    at: &At,
    slo: &str,
    error_budget: Ratio,
    window: &Window,
) -> Vec<Alert> {
    let period_s = window.nominal_s();
    let mut alerts = Vec::new();
    for pair in DEFAULT_PAIRS {
        let alert = pair.alert(period_s);
        let Some(condition) = alert.conditions.first() else { continue };
        if pair.long_s > period_s {
            let message = format!(
                "{slo} gets no {}: its period is shorter than {}",
                pair.name,
                short(pair.long_s)
            );
            report.warn(at, message, "write own alerts with shorter windows");
            continue;
        }
        if condition.is_unreachable(error_budget) {
            let message = format!(
                "{slo} gets no {}: a burn rate of {} is out of reach with an error budget of {error_budget}",
                pair.name,
                condition.factor.decimal(3)
            );
            report.warn(at, message, "write own alerts with lower factors");
            continue;
        }
        if condition.factor < Ratio::ONE {
            warn_below_one(report, at, pair.name, slo, condition.factor);
        }
        alerts.push(alert);
    }
    alerts
}

/// A name that goes into labels, file names and URLs.
pub(super) fn name(field: &Field<'_>, report: &mut Report) -> Option<String> {
    field.read(report, |text| {
        let inner = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        let right = text.len() <= 63
            && text.bytes().all(inner)
            && !text.starts_with('-')
            && !text.ends_with('-');
        if right {
            Ok(text.to_owned())
        } else {
            Err("write a-z, 0-9 and - inside, at most 63 of them".to_owned())
        }
    })
}
