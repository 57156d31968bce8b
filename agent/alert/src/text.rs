//! A notice as text for people: one line that says what users feel, and below it what a person who was
//! woken up wants to know next.

use vigie_slo::duration::short;

use crate::notice::{Burn, Notice, Reason, State};
use crate::wording::{lasting, percent, percent_beside, remaining, rfc3339};

/// The command that explains an SLO.
pub fn explain(slo: &str) -> String {
    format!("vigie slo explain {slo}")
}

/// The one line.
pub fn title(notice: &Notice) -> String {
    let about = about(notice);
    let lasted = lasting(seconds(notice.starts_at, notice.ended_at.unwrap_or(notice.fired_at)));
    match (&notice.reason, notice.state) {
        (Reason::Burn(burn), State::Firing) => {
            format!("{}: {about}: {}", notice.severity.word(), failing(burn))
        }
        (Reason::NoData { for_s }, State::Firing) => {
            let word = notice.severity.word();
            format!("{word}: {about}: nothing observed for {}", lasting(*for_s))
        }
        (Reason::Burn(_), State::Resolved) => {
            format!("resolved: {about}: {} no longer fires, after {lasted}", notice.alert)
        }
        (Reason::NoData { .. }, State::Resolved) => {
            format!("resolved: {about}: observed again, after {lasted}")
        }
    }
}

/// What follows it, a line for each fact.
pub fn body(notice: &Notice) -> String {
    let mut lines = vec![format!(
        "SLO {} ({} %), alert {}, service {}",
        notice.slo,
        percent_of_target(notice),
        notice.alert,
        notice.service
    )];
    if !notice.routes.is_empty() {
        lines.push(format!("routes: {}", notice.routes.join(", ")));
    }
    let fired = lasting(seconds(notice.starts_at, notice.fired_at));
    lines.push(format!("since {}, fired after {fired}", rfc3339(notice.starts_at)));
    if let Some(ended_at) = notice.ended_at {
        lines.push(format!("ended {}", rfc3339(ended_at)));
    }
    if let Reason::Burn(burn) = &notice.reason {
        lines.extend(burns(burn));
    }
    lines.push(budget(notice));
    lines.extend(evidence(notice));
    let coverage = percent(notice.budget.coverage);
    lines.push(format!("coverage {coverage} %, scope node {}", notice.node));
    lines.extend(notice.runbook_url.iter().map(|url| format!("runbook: {url}")));
    lines.push(format!("explain: {}", explain(&notice.slo)));
    lines.join("\n")
}

/// `api /checkout`.
fn about(notice: &Notice) -> String {
    match notice.routes.as_slice() {
        [] => notice.service.clone(),
        [route] => format!("{} {route}", notice.service),
        [route, more @ ..] => format!("{} {route} and {} more", notice.service, more.len()),
    }
}

/// `1.9 % of requests failing, 0.1 % allowed`.
fn failing(burn: &Burn) -> String {
    let allowed = percent(burn.allowed);
    match burn.actual() {
        Some(actual) => {
            let actual = percent_beside(actual, burn.allowed);
            format!("{actual} % of {} {}, {allowed} % allowed", burn.unit, burn.bad_word)
        }
        None => format!("{} {}, {allowed} % allowed", burn.unit, burn.bad_word),
    }
}

fn burns(burn: &Burn) -> Vec<String> {
    let mut lines = Vec::new();
    let long = burn.windows.first().map(|window| short(window.window_s)).unwrap_or_default();
    if burn.total > 0 {
        let Burn { bad, total, unit, bad_word, .. } = burn;
        lines.push(format!("{bad} of {total} {unit} {bad_word} in {long}"));
    }
    for window in &burn.windows {
        let rate = window.burn.map_or_else(|| "unknown".to_owned(), |burn| burn.decimal(1));
        let (length, factor) = (short(window.window_s), window.factor.decimal(3));
        lines.push(format!("burn rate over {length}: {rate}, fires above {factor}"));
    }
    lines
}

fn budget(notice: &Notice) -> String {
    let left = remaining(notice.budget.spent);
    let when = match notice.budget.exhausted_in_s {
        Some(0) => "spent".to_owned(),
        Some(seconds) => format!("spent in {} at this pace", lasting(seconds)),
        None => "lasts at this pace".to_owned(),
    };
    format!("budget: {left} % left, {when}, zone {}", notice.budget.zone.word())
}

fn evidence(notice: &Notice) -> Vec<String> {
    let evidence = &notice.evidence;
    let mut lines = Vec::new();
    if let Some(cause) = &evidence.cause {
        lines.push(format!(
            "probable cause: {}, {} % of the excess",
            cause.what,
            percent(cause.share)
        ));
    }
    if let Some(class) = &evidence.error_class {
        lines.push(format!("errors: {}, {} % of them", class.what, percent(class.share)));
    }
    lines.extend(evidence.changes.iter().map(|change| format!("at the onset: {change}")));
    if !evidence.trace_ids.is_empty() {
        lines.push(format!("traces: {}", evidence.trace_ids.join(" ")));
    }
    lines
}

/// An objective is exact: no digit of it is left out.
fn percent_of_target(notice: &Notice) -> String {
    let all = vigie_slo::ratio::Ratio::new(100, 1);
    all.and_then(|all| all.checked_mul(notice.target)).unwrap_or(notice.target).to_string()
}

fn seconds(from: i64, to: i64) -> u64 {
    u64::try_from(to.saturating_sub(from)).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fields::samples;

    fn texts(index: usize) -> (String, String) {
        let mut notice = samples().swap_remove(index);
        "api".clone_into(&mut notice.service);
        (title(&notice), body(&notice))
    }

    #[test]
    fn a_page() {
        let (title, body) = texts(0);
        assert_eq!(
            title,
            "page: api /sample/{id} and 1 more: 1.9 % of requests failing, 1 % allowed"
        );
        assert_eq!(
            body,
            "SLO sample (99 %), alert page-quick, service api\n\
             routes: /sample/{id}, /<other>&\n\
             since 2026-11-18T11:06:40Z, fired after 1 min\n\
             19 of 1000 requests failing in 1h\n\
             burn rate over 1h: 1, fires above 1\n\
             burn rate over 5m: unknown, fires above 1\n\
             budget: 77 % left, spent in 1 d at this pace, zone ship\n\
             probable cause: sample → \"other\", 92 % of the excess\n\
             errors: http 503, 92 % of them\n\
             at the onset: sample (pid 7) restarted\n\
             traces: 4bf92f3577b34da6a3ce929d0e0e4736\n\
             coverage 100 %, scope node sample-node\n\
             runbook: https://runbooks.example/sample\n\
             explain: vigie slo explain sample"
        );
    }

    #[test]
    fn no_data_and_ends() {
        assert_eq!(texts(2).0, "ticket: api: nothing observed for 10 min");
        assert!(!texts(2).1.contains("burn"), "{}", texts(2).1);
        assert_eq!(
            texts(3).0,
            "resolved: api /sample/{id} and 1 more: page-quick no longer fires, after 15 min"
        );
        assert!(texts(3).1.contains("\nended 2026-11-18T11:21:40Z\n"));
        assert_eq!(texts(4).0, "resolved: api: observed again, after 15 min");
    }
}
