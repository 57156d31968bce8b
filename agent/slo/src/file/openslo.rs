//! SLOs in the form of OpenSLO v1.

use super::extras::{Extras, OF_SLO};
use super::field::{Field, Keys, Map};
use super::objects::{Kind, Object, Objects};
use super::policy::policy;
use super::report::Report;
use super::source;
use super::values::{check_alert, default_alerts, rolling, seconds, share, target, unit};
use crate::alert::Alert;
use crate::model::{Budgeting, Slices, Slo};
use crate::ratio::Ratio;
use crate::rings::FINE_S;
use crate::select::{Indicator, Verdict};
use crate::window::{Calendar, Unit, Window, zone};

const SPEC: Keys = Keys {
    known: &[
        "description",
        "service",
        "indicator",
        "indicatorRef",
        "timeWindow",
        "budgetingMethod",
        "objectives",
        "alertPolicies",
    ],
    instead: &[("indicators", "write one `indicator`"), ("timeWindows", "write `timeWindow`")],
};
const INDICATOR: Keys = Keys::new(&["apiVersion", "kind", "metadata", "spec"]);
const SLI: Keys = Keys {
    known: &["description", "ratioMetric"],
    instead: &[(
        "thresholdMetric",
        "write ratioMetric with bad: {metricSource: {type: vigie, spec: {slower_than: 300ms}}}",
    )],
};
const RATIO: Keys = Keys {
    known: &["counter", "good", "bad", "total"],
    instead: &[
        ("raw", "write bad and total, or good and total"),
        ("rawType", "write bad and total, or good and total"),
    ],
};
const METRIC: Keys = Keys::new(&["metricSource"]);
const SOURCE: Keys = Keys {
    known: &["type", "spec"],
    instead: &[("metricSourceRef", "write type: vigie and a spec with selectors")],
};
const TIME: Keys = Keys::new(&["duration", "isRolling", "calendar"]);
const CALENDAR: Keys = Keys::new(&["startTime", "timeZone"]);
const OBJECTIVE: Keys = Keys {
    known: &["displayName", "target", "targetPercent", "timeSliceTarget", "timeSliceWindow"],
    instead: &[
        ("op", "write the threshold as slower_than in the metric source of `bad`"),
        ("value", "write the threshold as slower_than in the metric source of `bad`"),
        ("compositeWeight", "write one SLO per indicator"),
        ("indicator", "write the indicator at the SLO"),
        ("indicatorRef", "write the indicator at the SLO"),
    ],
};

/// An SLO from its object.
pub(super) fn slo<'a>(
    objects: &Objects<'a>,
    object: &Object<'a>,
    report: &mut Report,
) -> Option<Slo> {
    let metadata = &object.metadata;
    let spec = object.spec.map(report, &SPEC)?;
    let extras = Extras::annotations(metadata.annotations.as_ref(), OF_SLO, report);
    let service = spec.need(report, "service", "write service: with the name of what it is about");
    let service = service.and_then(|field| service_name(objects, &field, report));
    let indicator = indicator(objects, &spec, report);
    let window = time_window(&spec, report);
    let objective = objective(&spec, report);
    let budgeting = budgeting(&spec, objective.as_ref(), &extras, report);
    let zones = extras.zones(metadata.annotations.as_ref().unwrap_or(&spec), report);
    let target = objective.as_ref().and_then(|objective| of_objective(objective, report));
    let (mut indicator, window, target, service) = (indicator?, window?, target?, service?);
    if indicator.total.service.is_empty() {
        indicator.total.service.push(service.clone());
    }
    indicator.hung_after_ms = indicator.hung_after_ms.or(extras.hung_after_ms);
    let error_budget = target.complement().1;
    let (mut alerts, mut no_data) = (Vec::new(), None);
    let policies = spec.get("alertPolicies").map(|list| list.list(report)).unwrap_or_default();
    if policies.is_empty() {
        let name = &metadata.name;
        alerts = default_alerts(report, &object.whole.at, name, error_budget, &window);
        for alert in &mut alerts {
            alert.guards = extras.guards(&Extras::default());
        }
    }
    for item in policies {
        let Some(policy) = policy(objects, &item, report) else { continue };
        let mut alert = policy.alert;
        check_alert(report, &metadata.name, &alert, &policy.places, error_budget, &window);
        if alerts.iter().any(|other: &Alert| other.name == alert.name) {
            let message = format!("the policy {} is there twice", alert.name);
            report.wrong(&item.at, message, "remove one of the two");
        }
        alert.guards = policy.extras.guards(&extras);
        alerts.push(alert);
        no_data = no_data.max(policy.no_data);
    }
    Some(Slo {
        name: metadata.name.clone(),
        display_name: metadata.display_name.clone(),
        description: spec.prose(report, "description"),
        service,
        labels: metadata.labels.clone(),
        indicator,
        target,
        window,
        budgeting: budgeting?,
        alerts,
        no_data_after_s: extras.no_data_after_s().filter(|_| no_data != Some(false)),
        zones,
        min_coverage: extras.min_coverage(),
        silences: extras.silences,
        runbook_url: extras.runbook_url,
    })
}

/// The service; where services are declared at all, one of them.
fn service_name(objects: &Objects<'_>, field: &Field<'_>, report: &mut Report) -> Option<String> {
    if objects.all.iter().any(|object| object.kind == Kind::Service) {
        return objects
            .refer(Kind::Service, field, report)
            .map(|found| found.metadata.name.clone());
    }
    field.owned(report)
}

fn indicator<'a>(objects: &Objects<'a>, spec: &Map<'a>, report: &mut Report) -> Option<Indicator> {
    match (spec.get("indicator"), spec.get("indicatorRef")) {
        (Some(inline), None) => {
            let map = inline.map(report, &INDICATOR)?;
            let name = map.get("metadata").and_then(|field| field.any_map(report));
            let name = name.and_then(|map| map.get("name")).and_then(|field| field.owned(report));
            let spec = map.need(report, "spec", "write spec: with ratioMetric")?;
            sli(name, &spec, report)
        }
        (None, Some(named)) => {
            let found = objects.refer(Kind::Sli, &named, report)?;
            sli(Some(found.metadata.name.clone()), &found.spec, report)
        }
        (Some(_), Some(named)) => {
            report.wrong(&named.at, "both indicator and indicatorRef", "keep one of the two");
            None
        }
        (None, None) => {
            report.wrong(&spec.at, "`indicator` is missing", "write indicator: or indicatorRef:");
            None
        }
    }
}

/// An indicator from the spec of an SLI.
pub(super) fn sli(
    name: Option<String>,
    spec: &Field<'_>,
    report: &mut Report,
) -> Option<Indicator> {
    let spec = spec.map(report, &SLI)?;
    let ratio = spec.need(report, "ratioMetric", "write ratioMetric: with bad and total")?;
    let ratio = ratio.map(report, &RATIO)?;
    if let Some(counter) = ratio.get("counter") {
        counter.flag(report);
    }
    let total = ratio.need(report, "total", "write total: with what is counted")?;
    let total = metric(&total, report).and_then(|field| source::total(&field, report));
    let verdict: Option<Verdict> = match (ratio.get("bad"), ratio.get("good")) {
        (Some(bad), None) => metric(&bad, report).and_then(|field| source::bad(&field, report)),
        (None, Some(good)) => metric(&good, report).and_then(|field| source::good(&field, report)),
        (Some(_), Some(good)) => {
            report.wrong(&good.at, "both bad and good", "keep one of the two");
            None
        }
        (None, None) => {
            report.wrong(&ratio.at, "`bad` is missing", "write bad: or good:");
            None
        }
    };
    Some(source::indicator(name, total?, verdict?))
}

/// The spec of a metric source.
fn metric<'a>(field: &Field<'a>, report: &mut Report) -> Option<Field<'a>> {
    let source = field.map(report, &METRIC)?.need(report, "metricSource", "write metricSource:")?;
    let source = source.map(report, &SOURCE)?;
    let kind = source.need(report, "type", "write type: vigie")?;
    if let Some(other) = kind.text(report).filter(|text| *text != "vigie") {
        let message = format!("the source `{other}`");
        report.wrong(&kind.at, message, "write type: vigie and a spec with selectors");
        return None;
    }
    source.need(report, "spec", "write spec: with selectors")
}

fn time_window(spec: &Map<'_>, report: &mut Report) -> Option<Window> {
    let list =
        spec.need(report, "timeWindow", "write timeWindow: [{duration: 30d, isRolling: true}]")?;
    let items = list.list(report);
    let [item] = items.as_slice() else {
        if !items.is_empty() {
            report.wrong(
                &list.at,
                "more than one time window",
                "keep one, and write another SLO for the other",
            );
        }
        return None;
    };
    let map = item.map(report, &TIME)?;
    let duration = map.need(report, "duration", "write duration: 30d")?;
    let is_rolling = map.get("isRolling").and_then(|field| field.flag(report));
    match (is_rolling.unwrap_or(map.get("calendar").is_none()), map.get("calendar")) {
        (true, None) => rolling(&duration, report).map(Window::Rolling),
        (true, Some(calendar)) => {
            report.wrong(
                &calendar.at,
                "a rolling window with a calendar",
                "write isRolling: false, or remove calendar",
            );
            None
        }
        (false, None) => {
            report.wrong(&map.at, "`calendar` is missing", "write calendar: {startTime: 2026-01-01 00:00:00, timeZone: Europe/Paris}, or isRolling: true");
            None
        }
        (false, Some(calendar)) => {
            let unit = unit(&duration, report);
            let map = calendar.map(report, &CALENDAR)?;
            let start = map.need(report, "startTime", "write startTime: 2026-01-01 00:00:00");
            let anchor = start.and_then(|field| anchor(&field, report));
            let name = map.need(report, "timeZone", "write timeZone: Europe/Paris");
            let zone = name.and_then(|field| time_zone(&field, report));
            let (unit, anchor, (zone_name, zone)) = (unit?, anchor?, zone?);
            if matches!(unit, Unit::Months(_)) && anchor.day() > 28 {
                report.wrong(
                    &map.at,
                    "not every month has that day",
                    "write a startTime on day 1 to 28",
                );
                return None;
            }
            Some(Window::Calendar(Calendar { unit, anchor, zone, zone_name }))
        }
    }
}

fn anchor(field: &Field<'_>, report: &mut Report) -> Option<jiff::civil::DateTime> {
    field.read(report, |text| {
        text.parse()
            .map_err(|_| "write date and time without a zone: 2026-01-01 00:00:00".to_owned())
    })
}

/// A zone and its name.
pub(super) fn time_zone(
    field: &Field<'_>,
    report: &mut Report,
) -> Option<(String, jiff::tz::TimeZone)> {
    field.read(report, |text| {
        let found = zone(text).map(|zone| (text.to_owned(), zone));
        found.ok_or_else(|| "write a name of the IANA list: Europe/Paris, UTC".to_owned())
    })
}

fn objective<'a>(spec: &Map<'a>, report: &mut Report) -> Option<Map<'a>> {
    let list = spec.need(report, "objectives", "write objectives: [{target: 0.999}]")?;
    let items = list.list(report);
    let [item] = items.as_slice() else {
        report.wrong(
            &list.at,
            format!("{} objectives", items.len()),
            "write one, and another SLO for each other",
        );
        return None;
    };
    item.map(report, &OBJECTIVE)
}

fn of_objective(objective: &Map<'_>, report: &mut Report) -> Option<Ratio> {
    match (objective.get("target"), objective.get("targetPercent")) {
        (Some(field), None) => target(&field, report, false),
        (None, Some(field)) => target(&field, report, true),
        (Some(_), Some(field)) => {
            report.wrong(&field.at, "both target and targetPercent", "keep one of the two");
            None
        }
        (None, None) => {
            report.wrong(&objective.at, "`target` is missing", "write target: 0.999");
            None
        }
    }
}

fn budgeting(
    spec: &Map<'_>,
    objective: Option<&Map<'_>>,
    extras: &Extras,
    report: &mut Report,
) -> Option<Budgeting> {
    let words = [("Occurrences", 0), ("Timeslices", 1), ("RatioTimeslices", 2)];
    let method = spec.get("budgetingMethod").map_or(Some(0), |field| field.word(report, &words))?;
    let objective = objective?;
    if method == 0 {
        for name in ["timeSliceTarget", "timeSliceWindow"] {
            if let Some(field) = objective.get(name) {
                let advice = "write budgetingMethod: Timeslices, or remove it";
                report.wrong(&field.at, "of no use with Occurrences", advice);
            }
        }
        return Some(Budgeting::Occurrences);
    }
    let length = objective.need(report, "timeSliceWindow", "write timeSliceWindow: 1m")?;
    let length_s = slice_s(&length, report);
    let target = if method == 1 {
        objective.need(report, "timeSliceTarget", "write timeSliceTarget: 0.95")
    } else {
        objective.get("timeSliceTarget")
    };
    let target = match (target, method) {
        (Some(field), _) => share(&field, report)?,
        (None, 2) => Ratio::ONE,
        (None, _) => return None,
    };
    let empty = extras.empty_slices.unwrap_or_default();
    let slices = Slices { length_s: length_s?, target, empty };
    Some(if method == 1 { Budgeting::Slices(slices) } else { Budgeting::RatioSlices(slices) })
}

/// Length of a slice: a multiple of 10 s, at most a day.
pub(super) fn slice_s(field: &Field<'_>, report: &mut Report) -> Option<u64> {
    let length_s = seconds(field, report)?;
    if length_s.is_multiple_of(FINE_S) && length_s <= 86_400 {
        return Some(length_s);
    }
    report.wrong(&field.at, "no length for a slice", "write a multiple of 10s of at most 1d: 1m");
    None
}
