//! A notice as named fields: the body of a webhook without a template, and what templates are filled
//! from. Every field is always there; what is not known is an empty text or list. Decimals are texts, so
//! that they stay as exact as they are.

use serde_json::{Map, Value, json};
use vigie_slo::alert::Severity;
use vigie_slo::duration::short;
use vigie_slo::ratio::Ratio;
use vigie_slo::zone::Zone;

use crate::notice::{Budget, Burn, Evidence, NO_DATA, Notice, Reason, Share, State, WindowBurn};
use crate::text::{body, explain, title};
use crate::wording::{lasting, percent, percent_beside, remaining, rfc3339};

/// Version of the fields: it changes when the meaning of one does.
pub const VERSION: u64 = 1;

/// All fields. `id` names what is told, the same in every try; `incident` what belongs together.
pub fn fields(notice: &Notice, id: &str, incident: &str) -> Map<String, Value> {
    let mut fields = Map::new();
    let mut set = |name: &str, value: Value| drop(fields.insert(name.to_owned(), value));
    set("version", json!(VERSION));
    set("id", json!(id));
    set("incident", json!(incident));
    set("state", json!(notice.state.word()));
    set("title", json!(title(notice)));
    set("text", json!(body(notice)));
    set("slo", json!(notice.slo));
    set("objective_percent", json!(percent_of(notice.target)));
    set("service", json!(notice.service));
    set("routes", json!(notice.routes));
    set("severity", json!(notice.severity.word()));
    set("alert", json!(notice.alert));
    set("labels", json!(notice.labels));
    set("runbook_url", json!(notice.runbook_url.as_deref().unwrap_or_default()));
    set("scope", json!("node"));
    set("node", json!(notice.node));
    set("starts_at", json!(rfc3339(notice.starts_at)));
    set("fired_at", json!(rfc3339(notice.fired_at)));
    set("ended_at", json!(notice.ended_at.map(rfc3339).unwrap_or_default()));
    let (kind, burn, silent) = match &notice.reason {
        Reason::Burn(burn) => ("burn", Some(burn), String::new()),
        Reason::NoData { for_s } => ("no_data", None, lasting(*for_s)),
    };
    set("kind", json!(kind));
    set("no_data_for", json!(silent));
    of_burn(burn, &mut set);
    set("budget_remaining_percent", json!(remaining(notice.budget.spent)));
    let exhausted = notice.budget.exhausted_in_s.map(lasting).unwrap_or_default();
    set("budget_spent_in", json!(exhausted));
    set("zone", json!(notice.budget.zone.word()));
    set("coverage_percent", json!(percent(notice.budget.coverage)));
    let evidence = &notice.evidence;
    let (cause, class) = (evidence.cause.as_ref(), evidence.error_class.as_ref());
    set("probable_cause", json!(what(cause)));
    set("probable_cause_percent", json!(share(cause)));
    set("error_class", json!(what(class)));
    set("error_class_percent", json!(share(class)));
    set("trace_ids", json!(evidence.trace_ids));
    set("changes", json!(evidence.changes));
    set("explain", json!(explain(&notice.slo)));
    fields
}

fn of_burn(burn: Option<&Burn>, set: &mut impl FnMut(&str, Value)) {
    let windows = burn.map(|burn| burn.windows.as_slice()).unwrap_or_default();
    let rate = |burn: Option<Ratio>| burn.map(|burn| burn.decimal(3)).unwrap_or_default();
    let burns = windows.iter().map(|window| {
        json!({
            "window": short(window.window_s),
            "burn": rate(window.burn),
            "factor": window.factor.decimal(3),
        })
    });
    set("burns", burns.collect());
    let actual = burn.and_then(|burn| Some(percent_beside(burn.actual()?, burn.allowed)));
    set("actual_percent", json!(actual.unwrap_or_default()));
    set("allowed_percent", json!(burn.map(|burn| percent(burn.allowed)).unwrap_or_default()));
    set("unit", json!(burn.map(|burn| burn.unit.as_str()).unwrap_or_default()));
    set("bad_word", json!(burn.map(|burn| burn.bad_word.as_str()).unwrap_or_default()));
    set("bad", json!(burn.map_or(0, |burn| burn.bad)));
    set("total", json!(burn.map_or(0, |burn| burn.total)));
    let window = windows.first().map(|window| short(window.window_s));
    set("window", json!(window.unwrap_or_default()));
}

fn what(share: Option<&Share>) -> &str {
    share.map(|share| share.what.as_str()).unwrap_or_default()
}

fn share(share: Option<&Share>) -> String {
    share.map(|share| percent(share.share)).unwrap_or_default()
}

fn percent_of(share: Ratio) -> String {
    let all = Ratio::new(100, 1).and_then(|all| all.checked_mul(share));
    all.unwrap_or(share).to_string()
}

/// Notices of every kind, which a template is tried with when it is loaded: with all that there may be,
/// with nothing that may be missing, over, and without data. Their texts have what breaks out of quotes.
pub fn samples() -> Vec<Notice> {
    let share = |what: &str| Some(Share { what: what.to_owned(), share: Ratio::percent(92) });
    let window = |window_s, burn| WindowBurn { window_s, burn, factor: Ratio::ONE };
    let full = Notice {
        slo: "sample".to_owned(),
        target: Ratio::percent(99),
        service: "sa\"mp\\le".to_owned(),
        routes: vec!["/sample/{id}".to_owned(), "/<other>&".to_owned()],
        alert: "page-quick".to_owned(),
        severity: Severity::Page,
        labels: [("team".to_owned(), "sample".to_owned())].into(),
        runbook_url: Some("https://runbooks.example/sample".to_owned()),
        node: "sample-node".to_owned(),
        state: State::Firing,
        starts_at: 1_795_000_000,
        fired_at: 1_795_000_060,
        ended_at: None,
        reason: Reason::Burn(Burn {
            unit: "requests".to_owned(),
            bad_word: "failing".to_owned(),
            windows: vec![window(3_600, Some(Ratio::ONE)), window(300, None)],
            allowed: Ratio::percent(1),
            bad: 19,
            total: 1_000,
        }),
        budget: Budget {
            spent: Some(Ratio::percent(23)),
            exhausted_in_s: Some(86_400),
            zone: Zone::Ship,
            coverage: Ratio::ONE,
        },
        evidence: Evidence {
            cause: share("sample → \"other\""),
            trace_ids: vec!["4bf92f3577b34da6a3ce929d0e0e4736".to_owned()],
            error_class: share("http 503"),
            changes: vec!["sample (pid 7) restarted".to_owned()],
        },
    };
    let bare = Notice {
        routes: Vec::new(),
        runbook_url: None,
        labels: std::collections::BTreeMap::new(),
        evidence: Evidence::default(),
        budget: Budget { spent: None, exhausted_in_s: None, ..full.budget },
        ..full.clone()
    };
    let silent = Notice {
        alert: NO_DATA.to_owned(),
        severity: Severity::Ticket,
        reason: Reason::NoData { for_s: 600 },
        ..bare.clone()
    };
    let over = [full.clone().resolved(1_795_000_900), silent.clone().resolved(1_795_000_900)];
    [full, bare, silent].into_iter().chain(over).collect()
}
