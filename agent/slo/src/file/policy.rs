//! Alert policies of OpenSLO: several conditions in one mean AND.

use super::extras::{Extras, OF_POLICY};
use super::field::{Field, Keys};
use super::objects::{Kind, Object, Objects, inline};
use super::report::{At, Report};
use super::values::{Places, lookback, seconds};
use crate::alert::{Alert, Condition, Op, Severity};
use crate::duration::{Length, length};

const POLICY: Keys = Keys::new(&[
    "description",
    "alertWhenNoData",
    "alertWhenResolved",
    "alertWhenBreaching",
    "conditions",
    "notificationTargets",
]);
const CONDITION: Keys = Keys::new(&["description", "severity", "condition"]);
const BURN: Keys = Keys::new(&["kind", "op", "threshold", "lookbackWindow", "alertAfter"]);
const REF: Keys = Keys::new(&["conditionRef", "targetRef", "alertPolicyRef"]);

/// A policy that has been read.
pub(super) struct Policy {
    pub(super) alert: Alert,
    pub(super) places: Places,
    pub(super) extras: Extras,
    /// `alertWhenNoData`, where it is given.
    pub(super) no_data: Option<bool>,
}

/// An object that is named (`key: name`, or the name alone) or written out in place.
fn find<'a>(
    objects: &Objects<'a>,
    kind: Kind,
    key: &str,
    field: &Field<'a>,
    report: &mut Report,
) -> Option<Object<'a>> {
    if !field.is_map() {
        return objects.refer(kind, field, report).cloned();
    }
    let named = field.any_map(report)?.get(key);
    let Some(name) = named else { return inline(kind, field, report) };
    field.map(report, &REF)?;
    objects.refer(kind, &name, report).cloned()
}

pub(super) fn policy<'a>(
    objects: &Objects<'a>,
    field: &Field<'a>,
    report: &mut Report,
) -> Option<Policy> {
    let object = find(objects, Kind::AlertPolicy, "alertPolicyRef", field, report)?;
    compile(objects, &object, report)
}

/// A policy from its object.
pub(super) fn compile<'a>(
    objects: &Objects<'a>,
    object: &Object<'a>,
    report: &mut Report,
) -> Option<Policy> {
    let spec = object.spec.map(report, &POLICY)?;
    let extras = Extras::annotations(object.metadata.annotations.as_ref(), OF_POLICY, report);
    let list = spec.need(report, "conditions", "write conditions: with at least one item")?;
    let (mut conditions, mut places, mut severity) = (Vec::new(), Vec::new(), None);
    for item in list.list(report) {
        let Some(object) = find(objects, Kind::AlertCondition, "conditionRef", &item, report)
        else {
            continue;
        };
        let Some((condition, place, urgency)) = condition(&object, report) else { continue };
        conditions.push(condition);
        places.push(place);
        severity = severity.or(Some(urgency));
    }
    let mut targets = Vec::new();
    for item in spec.get("notificationTargets").iter().flat_map(Field::items) {
        targets.extend(target(objects, &item, report));
    }
    let flag = |report: &mut Report, name| spec.get(name).and_then(|field| field.flag(report));
    if flag(report, "alertWhenBreaching") == Some(false) {
        let at = spec.get("alertWhenBreaching").map_or_else(|| spec.at.clone(), |field| field.at);
        report.wrong(&at, "a policy that never alerts", "write true, or remove the policy");
    }
    let alert = Alert {
        name: object.metadata.name.clone(),
        severity: severity?,
        conditions,
        guards: extras.guards(&Extras::default()),
        targets,
        tell_resolved: flag(report, "alertWhenResolved").unwrap_or(true),
    };
    Some(Policy { alert, places, no_data: flag(report, "alertWhenNoData"), extras })
}

/// The name of a target. One that is written out in place would be known to this policy alone, while
/// receivers are made once for all.
fn target<'a>(objects: &Objects<'a>, field: &Field<'a>, report: &mut Report) -> Option<String> {
    let is_inline =
        field.is_map() && field.any_map(report).is_some_and(|map| map.get("targetRef").is_none());
    if is_inline {
        let advice = "write targetRef: NAME, and an object of kind: AlertNotificationTarget";
        report.wrong(&field.at, "a target written out in a policy", advice);
        return None;
    }
    find(objects, Kind::Target, "targetRef", field, report).map(|object| object.metadata.name)
}

/// Where a factor and its window are.
type Place = (At, At);

pub(super) fn condition(
    object: &Object<'_>,
    report: &mut Report,
) -> Option<(Condition, Place, Severity)> {
    let spec = object.spec.map(report, &CONDITION)?;
    let severity = spec.need(report, "severity", "write severity: page, or ticket")?.text(report);
    let burn =
        spec.need(report, "condition", "write condition: with op, threshold, lookbackWindow")?;
    let map = burn.map(report, &BURN)?;
    if let Some(kind) = map.get("kind") {
        kind.word(report, &[("burnrate", ())]);
    }
    let op = map.need(report, "op", "write op: gt")?;
    let op = match op.text(report)? {
        "gt" => Some(Op::Gt),
        "gte" => Some(Op::Gte),
        other => {
            let message = format!("`{other}` would alert while all is well");
            report.wrong(&op.at, message, "write gt or gte");
            None
        }
    };
    let threshold = map.need(report, "threshold", "write the burn rate: threshold: 14.4")?;
    let window = map.need(report, "lookbackWindow", "write lookbackWindow: 1h")?;
    let factor = threshold.ratio(report);
    let window_s = lookback(&window, report);
    let after = map.get("alertAfter");
    let after_s =
        after.filter(|field| !is_zero(field)).map_or(Some(0), |field| seconds(&field, report));
    let condition = Condition { window_s: window_s?, factor: factor?, op: op?, after_s: after_s? };
    Some((condition, (threshold.at, window.at), severity?.into()))
}

/// `0m`, `0s`: at once. Lengths are above 0 everywhere else.
fn is_zero(field: &Field<'_>) -> bool {
    let text = field.text(&mut Report::default()).unwrap_or_default();
    let one = text.strip_prefix('0').map(|unit| format!("1{unit}"));
    one.is_some_and(|one| matches!(length(&one), Ok(Length::Seconds(_)))) || text == "0"
}
