//! Whether SLOs were kept over a stretch of time: all that was counted since the start, without windows;
//! and how they are now.

use vigie_slo::ratio::Ratio;

use super::live::Objectives;
use super::status::{Findings, SloStatus, number};
use super::words;
use crate::discover::host::Clock;
use crate::report::{SloReport, SloVerdict};

/// The verdict on each.
pub fn verdicts(slos: &Objectives) -> Vec<SloReport> {
    let clock = Clock::read();
    let verdict = |(index, (slo, totals)): (usize, (std::sync::Arc<vigie_slo::model::Slo>, _))| {
        let super::counting::Totals { counts, .. } = totals;
        let total = counts.good.saturating_add(counts.bad);
        let share = Ratio::new(counts.bad.into(), total.into());
        let budget = slo.error_budget();
        let verdict = match share {
            None => SloVerdict::NoData,
            Some(share) if share > budget => SloVerdict::Broken,
            Some(_) => SloVerdict::Kept,
        };
        let burn = share.and_then(|share| share.checked_div(budget));
        let mut detail = match share {
            None if counts.unobserved > 0 => {
                format!("{} calls, of none of which it is known how it went", counts.unobserved)
            }
            None => "nothing matched".to_owned(),
            Some(share) => words::allowed(share, total, budget),
        };
        if let (Some(burn), true) = (burn, counts.bad > 0) {
            detail += " (burn rate ";
            detail += &burn.decimal(3);
            detail += ")";
        }
        let findings: Option<Findings> = slos.findings(index, 0, &clock);
        if let (Some(findings), true) = (findings, counts.bad > 0) {
            detail += &words::why(&findings);
        }
        SloReport {
            name: slo.name.clone(),
            service: slo.service.clone(),
            ok: verdict != SloVerdict::Broken,
            verdict,
            detail,
            objective: number(slo.target).unwrap_or_default(),
            total,
            bad: counts.bad,
            unobserved: counts.unobserved,
            sli: share.map(|share| share.complement().1).and_then(number),
            burn: burn.and_then(number),
        }
    };
    slos.totals().into_iter().enumerate().map(verdict).collect()
}

/// How each is now, for a table: broken while an alert fires.
pub fn present(slos: &Objectives) -> Vec<SloReport> {
    let status = slos.status(&Clock::read(), Clock::monotonic_now());
    let report = |slo: SloStatus| {
        let verdict = match (slo.matched, slo.firing.is_empty()) {
            (false, _) => SloVerdict::NoData,
            (true, true) => SloVerdict::Kept,
            (true, false) => SloVerdict::Broken,
        };
        let mut detail = if slo.matched {
            format!("{:.2} % of the budget left, {}", slo.budget_remaining * 100.0, slo.zone)
        } else {
            "nothing matched yet".to_owned()
        };
        if !slo.firing.is_empty() {
            detail += "; ";
            detail += &slo.firing.join(", ");
            detail += " fires";
        }
        let burn = slo.burn.get("1h").copied().flatten();
        SloReport {
            ok: verdict != SloVerdict::Broken,
            verdict,
            detail,
            name: slo.name,
            service: slo.service,
            objective: slo.objective,
            total: slo.total,
            bad: slo.bad,
            unobserved: slo.unobserved,
            sli: slo.sli,
            burn,
        }
    };
    status.slos.into_iter().map(report).collect()
}
