//! What `vigie slo suggest` prints, made where the history is.

use serde_json::{Value, json};
use vigie_slo::ratio::Ratio;
use vigie_slo::suggest::{
    Aim, Endpoint, Omitted, Options, Reason, SuggestError, Suggested, Suggestion,
};

use super::History;

/// How it is printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// An SLO file in the short form.
    Text,
    /// One JSON object.
    Json,
}

/// Why there is nothing to print.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AnswerError {
    /// There is no past.
    #[error(transparent)]
    Suggest(#[from] SuggestError),
    /// The past supports no SLO.
    #[error("no SLO can be suggested yet: {0}")]
    Nothing(String),
}

impl History {
    /// What this past suggests, as it is printed.
    pub fn answer(&self, options: &Options, form: Form) -> Result<String, AnswerError> {
        let suggested = self.suggest(options)?;
        if suggested.slos.is_empty() {
            return Err(AnswerError::Nothing(suggested.reasons()));
        }
        Ok(match form {
            Form::Text => suggested.text(),
            Form::Json => format!("{}\n", object(&suggested)),
        })
    }
}

fn object(suggested: &Suggested) -> Value {
    let (from, to) = suggested.span;
    json!({
        "version": 1,
        "from": from,
        "to": to,
        "observed_s": suggested.observed_s,
        "slos": suggested.slos.iter().map(slo).collect::<Vec<_>>(),
        "omitted": suggested.omitted.iter().map(omitted).collect::<Vec<_>>(),
    })
}

fn slo(slo: &Suggestion) -> Value {
    let (kind, threshold_ms) = match slo.aim {
        Aim::Availability => ("availability", None),
        Aim::Latency { threshold_ms } => ("latency", Some(threshold_ms)),
    };
    let alerts = &slo.alerts;
    let mut value = json!({
        "name": slo.name,
        "kind": kind,
        "threshold_ms": threshold_ms,
        "objective": number(slo.objective),
        "total": slo.total,
        "bad": slo.bad,
        "min_bad": slo.min_bad,
        "alerts": {
            "observed_s": alerts.observed_s,
            "pages": alerts.pages,
            "tickets": alerts.tickets,
            "pages_in_30d": number(alerts.per_month(alerts.pages)),
            "tickets_in_30d": number(alerts.per_month(alerts.tickets)),
        },
        "slo": slo.text,
    });
    add(&mut value, &slo.of);
    value
}

fn omitted(omitted: &Omitted) -> Value {
    let kind = if omitted.latency { "latency" } else { "availability" };
    let mut value = match omitted.reason {
        Reason::Young { observed_s, needed_s } => {
            json!({"reason": "young", "observed_s": observed_s, "needed_s": needed_s})
        }
        Reason::Few { total } => json!({"reason": "few", "total": total}),
        Reason::Poor { total, bad } => json!({"reason": "poor", "total": total, "bad": bad}),
        Reason::Unsaid => json!({"reason": "unsaid"}),
    };
    if let Value::Object(value) = &mut value {
        value.insert("kind".to_owned(), kind.into());
    }
    add(&mut value, &omitted.of);
    value
}

fn add(value: &mut Value, of: &Endpoint) {
    let Value::Object(value) = value else { return };
    for (key, text) in [
        ("service", Some(&of.service)),
        ("namespace", Some(&of.namespace)),
        ("protocol", Some(&of.protocol)),
        ("peer", of.peer.as_ref()),
        ("method", of.method.as_ref()),
        ("route", of.route.as_ref()),
    ] {
        value.insert(key.to_owned(), text.map(String::as_str).into());
    }
    value.insert("direction".to_owned(), of.direction.word().into());
}

fn number(ratio: Ratio) -> Option<f64> {
    ratio.decimal(9).parse().ok()
}
