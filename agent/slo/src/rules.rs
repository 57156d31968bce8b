//! Rules for Prometheus and Mimir from the same SLO, for the whole fleet: Sloth's names and labels, so
//! that its dashboards work, over the counters that each vigie exports per SLO
//! (`vigie_slo_events_total`, `vigie_slo_bad_events_total`, label `slo`). What is bad was decided at each
//! node, so thresholds, exclusions and hung requests need no words of Prometheus.
//!
//! Different from Sloth: the ratio of the period is weighted by events, not the mean of ratios; idle
//! time is no NaN; numbers are exact decimals.

use std::fmt::Write as _;

use crate::alert::{Alert, Op};
use crate::duration::short;
use crate::model::{Budgeting, Slo};
use crate::ratio::Ratio;

/// Counter of all events of an SLO.
pub const EVENTS: &str = "vigie_slo_events_total";
/// Counter of its bad events.
pub const BAD_EVENTS: &str = "vigie_slo_bad_events_total";

/// How a range is written for a Prometheus version.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Ranges {
    /// `[5m]`.
    #[default]
    Plain,
    /// `[5m1ms]`: takes the sample at the window's beginning in both 2.x (closed on the left) and 3.x
    /// (open on the left), for tests with samples at exact times.
    Padded,
}

/// What rules cannot say, each with the name of the SLO.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RulesError {
    /// Time slices.
    #[error("{slo}: rules count events: time slices cannot be said in them")]
    Slices {
        /// The SLO.
        slo: String,
    },
    /// A guard.
    #[error("{slo}: min_budget_spend of {alert} cannot be said in rules")]
    MinBudgetSpend {
        /// The SLO.
        slo: String,
        /// The alert.
        alert: String,
    },
}

/// A rule file with the rules of all SLOs.
pub fn rules(slos: &[Slo], ranges: Ranges) -> Result<String, RulesError> {
    let mut out = Out { text: "groups:\n".to_owned(), ranges };
    for slo in slos {
        if slo.budgeting != Budgeting::Occurrences {
            return Err(RulesError::Slices { slo: slo.name.clone() });
        }
        out.slo(slo)?;
    }
    Ok(out.text)
}

struct Out {
    text: String,
    ranges: Ranges,
}

/// A string of YAML, in quotes.
pub(crate) fn quoted(text: &str) -> String {
    let mut quoted = String::from('"');
    for char in text.chars() {
        match char {
            '"' | '\\' => quoted.extend(['\\', char]),
            char if char.is_control() => drop(write!(quoted, "\\u{:04x}", u32::from(char))),
            char => quoted.push(char),
        }
    }
    quoted.push('"');
    quoted
}

/// Decimal digits of numbers in expressions: enough for any float.
const PLACES: u32 = 18;

impl Out {
    fn line(&mut self, indent: usize, text: impl AsRef<str>) {
        let _ = writeln!(self.text, "{:indent$}{}", "", text.as_ref());
    }

    fn range(&self, seconds: u64) -> String {
        match self.ranges {
            Ranges::Plain => short(seconds),
            Ranges::Padded => format!("{}1ms", short(seconds)),
        }
    }

    fn group(&mut self, kind: &str, slo: &Slo) {
        self.line(2, format!("- name: {}", quoted(&group(kind, slo))));
        self.line(4, "rules:");
    }

    fn record(&mut self, slo: &Slo, name: &str, expr: &str, window: Option<&str>) {
        self.line(6, format!("- record: {name}"));
        self.line(8, format!("expr: {}", quoted(expr)));
        self.line(8, "labels:");
        self.labels(slo, 10);
        if let Some(window) = window {
            self.line(10, format!("sloth_window: {}", quoted(window)));
        }
    }

    fn labels(&mut self, slo: &Slo, indent: usize) {
        for (name, value) in [
            ("sloth_id", id(slo)),
            ("sloth_service", slo.service.clone()),
            ("sloth_slo", slo.name.clone()),
        ] {
            self.line(indent, format!("{name}: {}", quoted(&value)));
        }
    }

    fn slo(&mut self, slo: &Slo) -> Result<(), RulesError> {
        self.group("sli-recordings", slo);
        let series = format!("{{slo={}}}", quoted(&slo.name));
        for window_s in slo.windows_s() {
            let (range, window) = (self.range(window_s), short(window_s));
            let expr = format!(
                "(sum(rate({BAD_EVENTS}{series}[{range}])) or vector(0)) / (sum(rate({EVENTS}{series}[{range}])) > 0)"
            );
            self.record(slo, &ratio(&window), &expr, Some(&window));
        }
        // The period, weighted by events: sums of what each evaluation of five minutes saw.
        let period_s = slo.window.nominal_s();
        let (range, window) = (self.range(300), short(period_s));
        let bad = format!("sum(rate({BAD_EVENTS}{series}[{range}])) or vector(0)");
        let total = format!("sum(rate({EVENTS}{series}[{range}])) or vector(0)");
        self.record(slo, "slo:sli_bad:rate5m", &bad, None);
        self.record(slo, "slo:sli_total:rate5m", &total, None);
        if !slo.windows_s().contains(&period_s) {
            let (this, range) = (this(slo), self.range(period_s));
            let expr = format!(
                "sum_over_time(slo:sli_bad:rate5m{this}[{range}]) / ignoring(sloth_window) (sum_over_time(slo:sli_total:rate5m{this}[{range}]) > 0)"
            );
            self.record(slo, &ratio(&window), &expr, Some(&window));
        }
        self.group("meta-recordings", slo);
        let budget = slo.error_budget();
        let days = Ratio::new(period_s.into(), 86_400).unwrap_or(Ratio::ONE);
        let (this, on) = (this(slo), "on(sloth_id, sloth_slo, sloth_service) group_left");
        let shortest = slo.windows_s().first().copied().unwrap_or(period_s);
        let current = ratio(&short(shortest));
        for (name, expr) in [
            ("slo:objective:ratio", format!("vector({})", slo.target.decimal(PLACES))),
            ("slo:error_budget:ratio", format!("vector({})", budget.decimal(PLACES))),
            ("slo:time_period:days", format!("vector({})", days.decimal(PLACES))),
            (
                "slo:current_burn_rate:ratio",
                format!("{current}{this} / {on} slo:error_budget:ratio{this}"),
            ),
            (
                "slo:period_burn_rate:ratio",
                format!("{}{this} / {on} slo:error_budget:ratio{this}", ratio(&window)),
            ),
            (
                "slo:period_error_budget_remaining:ratio",
                format!("1 - slo:period_burn_rate:ratio{this}"),
            ),
        ] {
            self.record(slo, name, &expr, None);
        }
        self.record(slo, "sloth_slo_info", "vector(1)", None);
        if slo.alerts.is_empty() {
            return Ok(());
        }
        self.group("alerts", slo);
        slo.alerts.iter().try_for_each(|alert| self.alert(slo, alert, &series))
    }

    fn alert(&mut self, slo: &Slo, alert: &Alert, series: &str) -> Result<(), RulesError> {
        if alert.guards.min_budget_spend.is_some() {
            let (slo, alert) = (slo.name.clone(), alert.name.clone());
            return Err(RulesError::MinBudgetSpend { slo, alert });
        }
        let mut all = Vec::new();
        for condition in &alert.conditions {
            let op = match condition.op {
                Op::Gt => ">",
                Op::Gte => ">=",
            };
            let least = condition.factor.checked_mul(slo.error_budget());
            let least = match least {
                Some(least) => least.decimal(PLACES),
                None => format!("({} * {})", condition.factor, slo.error_budget()),
            };
            all.push(format!(
                "max({}{} {op} {least})",
                ratio(&short(condition.window_s)),
                this(slo)
            ));
        }
        let range = self.range(alert.long_s());
        for (counter, least) in
            [(BAD_EVENTS, alert.guards.min_bad), (EVENTS, alert.guards.min_total)]
        {
            if least > 0 {
                all.push(format!("sum(increase({counter}{series}[{range}])) >= {least}"));
            }
        }
        self.line(6, "- alert: SloBurnRate");
        self.line(8, format!("expr: {}", quoted(&all.join(" and "))));
        if let Some(after_s) =
            alert.conditions.iter().map(|one| one.after_s).max().filter(|s| *s > 0)
        {
            self.line(8, format!("for: {}", short(after_s)));
        }
        self.line(8, "labels:");
        self.labels(slo, 10);
        self.line(10, format!("sloth_severity: {}", quoted(alert.severity.word())));
        self.line(10, format!("vigie_pair: {}", quoted(&alert.name)));
        for (name, value) in &slo.labels {
            if is_label(name) {
                self.line(10, format!("{name}: {}", quoted(value)));
            }
        }
        self.line(8, "annotations:");
        let summary = format!("{} burns its error budget too fast ({})", slo.name, alert.name);
        self.line(10, format!("summary: {}", quoted(&summary)));
        if let Some(url) = &slo.runbook_url {
            self.line(10, format!("runbook_url: {}", quoted(url)));
        }
        Ok(())
    }
}

/// Name of a group of rules; kinds are `sli-recordings`, `meta-recordings`, `alerts`.
pub fn group(kind: &str, slo: &Slo) -> String {
    format!("sloth-slo-{kind}-{}", slo.name)
}

/// `sloth_id`.
pub fn id(slo: &Slo) -> String {
    format!("{}-{}", slo.service, slo.name)
}

/// Matches the series that are recorded for an SLO.
fn this(slo: &Slo) -> String {
    format!("{{sloth_id={}}}", quoted(&id(slo)))
}

fn ratio(window: &str) -> String {
    format!("slo:sli_error:ratio_rate{window}")
}

/// Whether Prometheus takes it as a label, and it is none of those that rules have.
fn is_label(name: &str) -> bool {
    let inner = |char: char| char.is_ascii_alphanumeric() || char == '_';
    name.chars().all(inner)
        && name.starts_with(|first: char| first.is_ascii_alphabetic())
        && !name.starts_with("sloth_")
        && !name.starts_with("vigie_")
}
