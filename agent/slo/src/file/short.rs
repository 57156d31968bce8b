//! The short form: a list `slos:`, compiled into the same model as OpenSLO.

use jiff::civil::DateTime;

use super::extras::{Extras, OF_POLICY, OF_SLO};
use super::field::{Field, Keys, Map};
use super::objects::{Kind, Objects};
use super::openslo::{slice_s, time_zone};
use super::report::Report;
use super::source::{Total, codes, errors, exclusions, indicator, selector};
use super::values::{check_alert, default_alerts, lookback, name, rolling, share, target};
use crate::alert::{Alert, Severity, factor, pair};
use crate::duration::millis;
use crate::model::{Budgeting, Empty, Slices, Slo};
use crate::ratio::Ratio;
use crate::select::{Criteria, ErrorClasses, Verdict};
use crate::window::{Calendar, Unit, Window};

const TOP: Keys = Keys::new(&["slos"]);
const SLO: Keys = Keys {
    known: &[
        "name",
        "display_name",
        "description",
        "service",
        "namespace",
        "labels",
        "objective",
        "window",
        "availability",
        "latency",
        "select",
        "exclude",
        "budgeting",
        "alerts",
        "notify",
        "runbook_url",
        "min_bad",
        "min_total",
        "min_budget_spend",
        "policy",
        "ship_above",
        "freeze_below",
        "hysteresis",
        "min_coverage",
        "no_data_after",
        "hung_after",
        "maintenance",
    ],
    instead: &[("target", "write objective: 99.9%"), ("period", "write window: 30d")],
};
const AVAILABILITY: Keys = Keys::new(&["http", "grpc", "slower_than"]);
const CALENDAR: Keys = Keys::new(&["calendar", "zone"]);
const SLICES: Keys = Keys::new(&["slices", "ratio_slices", "target", "empty"]);
const ALERT: Keys = Keys::new(&[
    "name",
    "severity",
    "long",
    "short",
    "factor",
    "budget",
    "notify",
    "runbook_url",
    "min_bad",
    "min_total",
    "min_budget_spend",
]);

/// Whether a document is in the short form.
pub(super) fn is_short(document: &Field<'_>, report: &mut Report) -> bool {
    document.is_map() && document.any_map(report).is_some_and(|map| map.get("slos").is_some())
}

/// The items of a document.
pub(super) fn items<'a>(document: &Field<'a>, report: &mut Report) -> Vec<Field<'a>> {
    let list = document.map(report, &TOP).and_then(|map| map.get("slos"));
    list.map(|field| field.list(report)).unwrap_or_default()
}

/// One SLO.
pub(super) fn slo(objects: &Objects<'_>, field: &Field<'_>, report: &mut Report) -> Option<Slo> {
    let map = field.map(report, &SLO)?;
    let extras = Extras::keys(&map, OF_SLO, report);
    let name = map.need(report, "name", "write name: checkout-availability");
    let name = name.and_then(|field| self::name(&field, report));
    let service = map.need(report, "service", "write service: with the name of what it is about");
    let service = service.and_then(|field| field.owned(report));
    let objective = map.need(report, "objective", "write objective: 99.9%");
    let objective = objective.and_then(|field| target(&field, report, false));
    let window = map.need(report, "window", "write window: 30d");
    let window = window.and_then(|field| self::window(&field, report));
    let verdict = verdict(&map, report);
    let mut select =
        map.get("select").and_then(|field| selector(&field, report)).unwrap_or_default();
    let exclude = exclusions(map.get("exclude").as_ref(), report);
    let budgeting = budgeting(map.get("budgeting").as_ref(), report);
    let zones = extras.zones(&map, report);
    let (name, service, objective, window) = (name?, service?, objective?, window?);
    for (patterns, name) in [(&mut select.service, "service"), (&mut select.namespace, "namespace")]
    {
        if patterns.is_empty()
            && let Some(field) = map.get(name)
        {
            patterns.extend(field.owned(report));
        }
    }
    let alerts = alerts(objects, &map, &extras, (&name, objective, &window), report);
    let mut labels = std::collections::BTreeMap::new();
    if let Some(all) = map.get("labels").and_then(|field| field.any_map(report)) {
        for (key, value) in all.entries() {
            labels.extend(value.owned(report).map(|value| (key.to_owned(), value)));
        }
    }
    let total = Total { select, exclude, hung_after_ms: extras.hung_after_ms };
    Some(Slo {
        name,
        display_name: map.prose(report, "display_name"),
        description: map.prose(report, "description"),
        service,
        labels,
        indicator: indicator(None, total, verdict?),
        target: objective,
        window,
        budgeting: budgeting?,
        alerts,
        no_data_after_s: extras.no_data_after_s(),
        zones,
        min_coverage: extras.min_coverage(),
        silences: extras.silences,
        runbook_url: extras.runbook_url,
    })
}

/// `availability`, `latency`, or both: what fails any of them is bad.
fn verdict(map: &Map<'_>, report: &mut Report) -> Option<Verdict> {
    let slow = |millis| Criteria { slower_than_ms: Some(millis), ..Criteria::default() };
    let failed = |errors| Criteria { errors: Some(errors), ..Criteria::default() };
    let (availability, latency) = (map.get("availability"), map.get("latency"));
    if availability.is_none() && latency.is_none() {
        let advice = "write availability: true, or latency: 300ms";
        report.wrong(&map.at, "neither availability nor latency", advice);
        return None;
    }
    let mut bad = Vec::new();
    if let Some(field) = availability {
        if field.is_map() {
            let map = field.map(report, &AVAILABILITY)?;
            let given = map.get("http").is_some() || map.get("grpc").is_some();
            // Only the codes are read by `errors`; the threshold beside them is read here.
            bad.push(failed(if given { codes(&map, report) } else { ErrorClasses::default() }));
            let threshold = map.get("slower_than").and_then(|field| field.read(report, millis));
            bad.extend(threshold.map(slow));
        } else {
            bad.push(failed(errors(&field, report)?));
        }
    }
    if let Some(field) = latency {
        bad.push(slow(field.read(report, millis)?));
    }
    Some(Verdict::Bad(bad))
}

fn window(field: &Field<'_>, report: &mut Report) -> Option<Window> {
    if !field.is_map() {
        return rolling(field, report).map(Window::Rolling);
    }
    let map = field.map(report, &CALENDAR)?;
    let words = [
        ("day", Unit::Days(1)),
        ("week", Unit::Days(7)),
        ("month", Unit::Months(1)),
        ("quarter", Unit::Months(3)),
        ("year", Unit::Months(12)),
    ];
    let unit = map.need(report, "calendar", "write calendar: month");
    let unit = unit.and_then(|field| field.word(report, &words));
    let zone = map.need(report, "zone", "write zone: Europe/Paris");
    let zone = zone.and_then(|field| time_zone(&field, report));
    let (unit, (zone_name, zone)) = (unit?, zone?);
    // A Monday for weeks; for the others the first of a year.
    let day = if unit == Unit::Days(7) { 5 } else { 1 };
    let anchor = DateTime::new(1970, 1, day, 0, 0, 0, 0).ok()?;
    Some(Window::Calendar(Calendar { unit, anchor, zone, zone_name }))
}

fn budgeting(field: Option<&Field<'_>>, report: &mut Report) -> Option<Budgeting> {
    let Some(field) = field else { return Some(Budgeting::Occurrences) };
    if !field.is_map() {
        return field.word(report, &[("occurrences", Budgeting::Occurrences)]);
    }
    let map = field.map(report, &SLICES)?;
    let words = [("good", Empty::Good), ("exclude", Empty::Exclude), ("bad", Empty::Bad)];
    let empty =
        map.get("empty").map_or(Some(Empty::default()), |field| field.word(report, &words))?;
    if let Some(length) = map.get("ratio_slices") {
        let length_s = slice_s(&length, report)?;
        return Some(Budgeting::RatioSlices(Slices { length_s, target: Ratio::ONE, empty }));
    }
    let length = map.need(report, "slices", "write slices: 1m, or ratio_slices: 1m")?;
    let length_s = slice_s(&length, report);
    let target = map.need(report, "target", "write target: 95%, what makes a slice good")?;
    let target = share(&target, report)?;
    Some(Budgeting::Slices(Slices { length_s: length_s?, target, empty }))
}

type About<'a> = (&'a str, Ratio, &'a Window);

fn alerts(
    objects: &Objects<'_>,
    map: &Map<'_>,
    extras: &Extras,
    about: About<'_>,
    report: &mut Report,
) -> Vec<Alert> {
    let (name, objective, window) = about;
    let error_budget = objective.complement().1;
    let targets = notify(objects, map, report);
    let Some(list) = map.get("alerts") else {
        let mut alerts = default_alerts(report, &map.at, name, error_budget, window);
        for alert in &mut alerts {
            alert.guards = extras.guards(&Extras::default());
            alert.targets.clone_from(&targets);
        }
        return alerts;
    };
    let mut alerts: Vec<Alert> = Vec::new();
    for item in list.list(report) {
        let Some(mut alert) = alert(objects, &item, extras, about, report) else { continue };
        if alerts.iter().any(|other| other.name == alert.name) {
            let message = format!("the alert {} is there twice", alert.name);
            report.wrong(&item.at, message, "give one of the two another name");
        }
        if alert.targets.is_empty() {
            alert.targets.clone_from(&targets);
        }
        alerts.push(alert);
    }
    alerts
}

fn notify(objects: &Objects<'_>, map: &Map<'_>, report: &mut Report) -> Vec<String> {
    let field = map.get("notify");
    let items = field.iter().flat_map(Field::items);
    let found = items.filter_map(|item| objects.refer(Kind::Target, &item, report));
    found.map(|object| object.metadata.name.clone()).collect()
}

fn alert(
    objects: &Objects<'_>,
    item: &Field<'_>,
    wider: &Extras,
    (slo, objective, window): About<'_>,
    report: &mut Report,
) -> Option<Alert> {
    let map = item.map(report, &ALERT)?;
    let extras = Extras::keys(&map, OF_POLICY, report);
    let name = map.need(report, "name", "write name: page-quick");
    let name = name.and_then(|field| self::name(&field, report));
    let long = map.need(report, "long", "write long: 1h")?;
    let short = map.need(report, "short", "write short: 5m")?;
    let (long_s, short_s) = (lookback(&long, report)?, lookback(&short, report)?);
    if short_s >= long_s {
        report.wrong(&short.at, "not shorter than `long`", "write about a twelfth of `long`");
    }
    let (factor, at) = match (map.get("factor"), map.get("budget")) {
        (Some(field), None) => (field.ratio(report)?, field.at),
        (None, Some(field)) => {
            (factor(share(&field, report)?, window.nominal_s(), long_s), field.at)
        }
        (Some(_), Some(field)) => {
            report.wrong(&field.at, "both factor and budget", "keep one of the two");
            return None;
        }
        (None, None) => {
            let advice = "write factor: 14.4, or budget: 2%, the share spent within `long`";
            report.wrong(&map.at, "`factor` is missing", advice);
            return None;
        }
    };
    let severity = map.get("severity").map_or(Some("page"), |field| field.text(report));
    let alert = Alert {
        name: name?,
        severity: Severity::from(severity?),
        conditions: pair(long_s, short_s, factor),
        guards: extras.guards(wider),
        targets: notify(objects, &map, report),
        tell_resolved: true,
    };
    let places = vec![(at.clone(), short.at), (at, long.at)];
    check_alert(report, slo, &alert, &places, objective.complement().1, window);
    Some(alert)
}
