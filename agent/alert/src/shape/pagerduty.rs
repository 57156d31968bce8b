//! `PagerDuty`, Events API v2: `trigger` and `resolve`, held together by `dedup_key`.
//!
//! The key is that of the incident, not of the alert: both pairs of an outage are one page. Sizes: a
//! summary has at most 1,024 characters, an event 512 KB, which the bounds of a notice keep far below.

use serde_json::{Value, json};
use vigie_slo::alert::Severity;

use crate::desk::Order;
use crate::fields::fields;
use crate::notice::{State, clean};
use crate::receiver::Plain;
use crate::text::title;
use crate::wording::rfc3339;

/// Most characters of a summary.
const MAX_SUMMARY: usize = 1_024;
/// Most characters of a `dedup_key`.
const MAX_KEY: usize = 255;

/// The event for an order.
pub fn event(order: &Order, routing_key: &Plain) -> Value {
    let notice = &order.notice;
    let mut key = order.incident.clone();
    clean(&mut key, MAX_KEY);
    if order.state == State::Resolved {
        return json!({
            "routing_key": routing_key.expose(),
            "event_action": "resolve",
            "dedup_key": key,
        });
    }
    let mut summary = title(notice);
    clean(&mut summary, MAX_SUMMARY);
    let mut links = Vec::new();
    if let Some(url) = &notice.runbook_url {
        links.push(json!({"href": url, "text": "Runbook"}));
    }
    json!({
        "routing_key": routing_key.expose(),
        "event_action": "trigger",
        "dedup_key": key,
        "client": "vigie",
        "links": links,
        "payload": {
            "summary": summary,
            "source": notice.node,
            "severity": severity(&notice.severity),
            "timestamp": rfc3339(notice.starts_at),
            "component": notice.service,
            "group": notice.slo,
            "class": notice.alert,
            "custom_details": fields(notice, &order.id, &order.incident),
        },
    })
}

/// Its words for how urgent something is. One of the file's own that is among them is kept.
fn severity(severity: &Severity) -> &str {
    match severity {
        Severity::Page => "critical",
        Severity::Ticket => "warning",
        Severity::Other(word) => match word.as_str() {
            word @ ("critical" | "error" | "warning" | "info") => word,
            _ => "error",
        },
    }
}
