//! `vigie slo explain`: the evidence in words.

use clap::Args;

use super::super::{Common, Failure};
use super::ask::{self, Where};
use crate::slo::status::{AlertStatus, Findings, SloStatus, Status};
use crate::slo::words;

#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// Name of the SLO
    #[arg(value_name = "SLO")]
    name: String,
    #[command(flatten)]
    at: Where,
}

pub(super) fn run(common: &Common, arguments: &Arguments) -> Result<(), Failure> {
    let status = ask::status(common, &arguments.at)?;
    let slo = ask::find(&status, &arguments.name)?;
    for line in explain(&status, slo) {
        println!("{line}");
    }
    Ok(())
}

fn explain(status: &Status, slo: &SloStatus) -> Vec<String> {
    let percent = |share: f64| format!("{} %", super::rounded(share * 100.0, 4));
    let mut lines = vec![format!(
        "{}: {} of {} over {} on {}",
        slo.name,
        percent(slo.objective),
        slo.service,
        slo.window,
        status.node
    )];
    if !slo.matched {
        lines.push(
            "no request has matched its selector yet: see `vigie slo validate FILE` for what it \
                    selects, and `vigie profile` for what there is"
                .to_owned(),
        );
        return lines;
    }
    lines.push(format!(
        "{} bad of {} in the period; {} of the budget is left: {}",
        slo.bad,
        slo.total,
        percent(slo.budget_remaining),
        slo.zone
    ));
    lines.push(match slo.exhausted_in_s {
        Some(0) => "the budget is spent".to_owned(),
        Some(seconds) => format!("at the present pace the budget is spent in {}", length(seconds)),
        None => "at the present pace the budget is not spent".to_owned(),
    });
    if slo.no_data {
        lines.push(
            "nothing is observed any more: is the service running, and is it watched?".to_owned(),
        );
    }
    if slo.coverage < 1.0 || slo.unobserved > 0 {
        let coverage = percent(slo.coverage);
        lines.push(format!(
            "{coverage} of the time was observed; {} events are not known",
            slo.unobserved
        ));
    }
    for alert in &slo.alerts {
        lines.extend(self::alert(status, alert));
    }
    if slo.alerts.is_empty() {
        lines.push("no alert fires".to_owned());
    }
    if let Some(findings) = &slo.evidence {
        lines.extend(evidence(findings));
    }
    lines.extend(slo.runbook_url.as_ref().map(|url| format!("runbook: {url}")));
    lines
}

fn alert(status: &Status, alert: &AlertStatus) -> Vec<String> {
    let AlertStatus { pair, severity, since, onset_ms, conditions, bad, total } = alert;
    let ago = |t: i64| length(status.t.saturating_sub(t).unsigned_abs());
    let mut lines = vec![format!(
        "{pair} ({severity}) fires for {}; the bad requests began {} ago",
        ago(*since),
        ago(onset_ms / 1_000)
    )];
    for condition in conditions {
        let burn =
            condition.burn.map_or_else(|| "no traffic".to_owned(), |burn| format!("{burn:.2}"));
        lines.push(format!(
            "  burn rate over {}: {burn}, above {}",
            condition.window, condition.factor
        ));
    }
    lines.push(format!("  {bad} bad of {total} in the longest of these windows"));
    lines
}

fn evidence(findings: &Findings) -> Vec<String> {
    let mut lines = Vec::new();
    if !findings.classes.is_empty() {
        let classes: Vec<String> =
            findings.classes.iter().map(|one| format!("{} {}", one.class, one.count)).collect();
        lines.push(format!("how they failed: {}", classes.join(", ")));
    }
    if let Some(cause) = &findings.cause {
        lines.push(format!("probable cause: {}", words::cause(cause)));
    }
    for started in &findings.started {
        lines.push(format!("about then {}", started.text()));
    }
    if !findings.trace_ids.is_empty() {
        lines.push(format!("traces: {}", findings.trace_ids.join(" ")));
    }
    lines
}

/// `3 h 20 min`.
fn length(seconds: u64) -> String {
    match seconds {
        0..120 => format!("{seconds} s"),
        120..7_200 => format!("{} min", seconds / 60),
        7_200..172_800 => format!("{} h {} min", seconds / 3_600, seconds % 3_600 / 60),
        _ => format!("{} d {} h", seconds / 86_400, seconds % 86_400 / 3_600),
    }
}
