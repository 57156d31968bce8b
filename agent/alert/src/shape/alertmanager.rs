//! Alertmanager, API v2: `POST /api/v2/alerts` with an array of alerts.
//!
//! Labels are what tells alerts apart, so they carry nothing that changes: no values, no trace ids. The
//! name of the node is one of them: nodes judge by what each of them sees, and one that is well must not
//! end the alert of one that is not. Alertmanager refuses names of labels that are none in Prometheus, and
//! with them the whole alert, so those of the file are made to be.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::desk::{EXPIRES_S, Order};
use crate::notice::{Notice, Reason, State};
use crate::text::{body, explain, title};
use crate::wording::{percent, remaining, rfc3339};

/// Names that labels of the file cannot take, beside those that begin with `sloth_` or `vigie_`.
const OURS: [&str; 4] = ["alertname", "slo", "service", "severity"];
const OUR_PREFIXES: [&str; 3] = ["__", "sloth_", "vigie_"];

/// The body for orders that are given out together.
pub fn alerts(orders: &[Order]) -> Value {
    orders.iter().map(alert).collect()
}

fn alert(order: &Order) -> Value {
    let notice = &order.notice;
    let ends_at = match notice.ended_at {
        Some(ended_at) if order.state == State::Resolved => ended_at,
        // From when it was given out, not from now: an alert that nobody renews must end.
        _ => order.at.saturating_add(EXPIRES_S),
    };
    json!({
        "labels": labels(notice),
        "annotations": annotations(order),
        // At the latest a second before the end: Alertmanager takes no alert without a duration.
        "startsAt": rfc3339(notice.starts_at.min(ends_at - 1)),
        "endsAt": rfc3339(ends_at),
    })
}

/// What makes an alert this one.
pub fn labels(notice: &Notice) -> BTreeMap<String, String> {
    let mut labels = BTreeMap::new();
    for (name, value) in &notice.labels {
        let name = label_name(name);
        let is_ours = OURS.contains(&name.as_str())
            || OUR_PREFIXES.iter().any(|prefix| name.starts_with(prefix));
        if !is_ours && !value.is_empty() {
            labels.insert(name, value.clone());
        }
    }
    let name = match notice.reason {
        Reason::Burn(_) => "SloBurnRate",
        Reason::NoData { .. } => "SloNoData",
    };
    let id = format!("{}-{}", notice.service, notice.slo);
    for (label, value) in [
        ("alertname", name),
        // Those of the rules for the fleet: the same routes take both.
        ("sloth_id", &id),
        ("sloth_service", &notice.service),
        ("sloth_slo", &notice.slo),
        ("sloth_severity", notice.severity.word()),
        ("slo", &notice.slo),
        ("service", &notice.service),
        ("severity", notice.severity.word()),
        ("vigie_pair", &notice.alert),
        ("vigie_scope", "node"),
        ("vigie_node", &notice.node),
    ] {
        if !value.is_empty() {
            labels.insert(label.to_owned(), value.to_owned());
        }
    }
    labels
}

/// `[a-zA-Z_][a-zA-Z0-9_]*`.
fn label_name(text: &str) -> String {
    let inner = |char: char| if char.is_ascii_alphanumeric() { char } else { '_' };
    let mut name: String = text.chars().map(inner).collect();
    if name.starts_with(|first: char| first.is_ascii_digit()) || name.is_empty() {
        name.insert(0, '_');
    }
    name
}

fn annotations(order: &Order) -> BTreeMap<&'static str, String> {
    let notice = &order.notice;
    let mut all = BTreeMap::new();
    let mut set = |name, value: String| {
        if !value.is_empty() {
            all.insert(name, value);
        }
    };
    set("summary", title(notice));
    set("description", body(notice));
    set("runbook_url", notice.runbook_url.clone().unwrap_or_default());
    set("explain", explain(&notice.slo));
    set("budget_remaining_percent", remaining(notice.budget.spent));
    set("zone", notice.budget.zone.word().to_owned());
    set("coverage_percent", percent(notice.budget.coverage));
    set("trace_ids", notice.evidence.trace_ids.join(" "));
    let cause = notice.evidence.cause.as_ref();
    set("probable_cause", cause.map(|cause| cause.what.clone()).unwrap_or_default());
    let class = notice.evidence.error_class.as_ref();
    set("error_class", class.map(|class| class.what.clone()).unwrap_or_default());
    set("id", order.id.clone());
    all
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fields::samples;

    fn order(notice: Notice) -> Order {
        Order {
            receiver: "am".to_owned(),
            id: "i".to_owned(),
            case: "c".to_owned(),
            incident: "n".to_owned(),
            state: notice.state,
            repeats: true,
            at: 1_795_000_100,
            notice,
        }
    }

    #[test]
    fn labels_are_names_of_prometheus_and_carry_no_values() {
        let mut notice = samples().remove(0);
        notice.labels = [("app.kubernetes.io/name", "a"), ("7", "b"), ("slo", "c"), ("e", "")]
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .into();
        let labels = labels(&notice);
        let names: Vec<&str> = labels.keys().map(String::as_str).collect();
        assert_eq!(
            names,
            [
                "_7",
                "alertname",
                "app_kubernetes_io_name",
                "service",
                "severity",
                "slo",
                "sloth_id",
                "sloth_service",
                "sloth_severity",
                "sloth_slo",
                "vigie_node",
                "vigie_pair",
                "vigie_scope"
            ]
        );
        assert_eq!(labels["slo"], "sample");
        let changed = Notice { evidence: crate::notice::Evidence::default(), ..notice.clone() };
        assert_eq!(labels, self::labels(&changed.resolved(1_795_000_500)));
    }

    #[test]
    fn firing_ones_end_in_four_minutes_and_resolved_ones_when_they_did() {
        let notice = samples().remove(0);
        let both = alerts(&[order(notice.clone()), order(notice.resolved(1_795_000_090))]);
        assert_eq!(both[0]["startsAt"], "2026-11-18T11:06:40Z");
        assert_eq!(both[0]["endsAt"], "2026-11-18T11:12:20Z");
        assert_eq!(both[1]["startsAt"], both[0]["startsAt"]);
        assert_eq!(both[1]["endsAt"], "2026-11-18T11:08:10Z");
        assert!(both[0]["annotations"]["trace_ids"].as_str().unwrap().starts_with("4bf9"));
    }
}
