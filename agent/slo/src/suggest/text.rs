//! Suggestions as an SLO file in the short form: what they rest on is in comments.

use std::fmt::Write as _;

use super::{Aim, Endpoint, Omitted, Reason, Suggested, Suggestion};
use crate::duration::{instant, short};
use crate::ratio::Ratio;
use crate::rules::quoted;
use crate::select::Direction;

/// Seconds for people: the two largest units.
pub(super) fn span(seconds: u64) -> String {
    let units = [(86_400, "d"), (3_600, "h"), (60, "min"), (1, "s")];
    let mut rest = seconds;
    let mut words = Vec::new();
    for (unit, name) in units {
        if rest >= unit && words.len() < 2 {
            words.push(format!("{} {name}", rest / unit));
            rest %= unit;
        } else if !words.is_empty() {
            break;
        }
    }
    if words.is_empty() { "0 s".to_owned() } else { words.join(" ") }
}

/// A share as a percentage.
pub(super) fn percent(share: Ratio) -> String {
    let hundred = Ratio::new(100, 1).and_then(|all| all.checked_mul(share));
    format!("{}%", hundred.unwrap_or(share).decimal(4))
}

/// Most letters of a name, without the number that makes it unique.
const MAX_NAME: usize = 58;

/// A name from what the SLO is about; with a number where `taken` says that another has it.
pub(super) fn name(of: &Endpoint, aim: Aim, taken: &dyn Fn(&str) -> bool) -> String {
    let (kind, threshold) = match aim {
        Aim::Availability => ("availability", None),
        Aim::Latency { .. } => ("latency", Some(())),
    };
    let route = threshold.and(of.route.as_deref());
    let method = threshold.and(of.method.as_deref());
    let peer = of.peer.as_deref();
    let direction = (of.direction == Direction::Client).then_some("to");
    let protocol = if of.protocol == "http" { None } else { Some(of.protocol.as_str()) };
    let parts = [Some(of.service.as_str()), direction, peer, protocol, method, route];
    let mut name = String::new();
    for char in parts.into_iter().flatten().flat_map(|part| part.chars().chain(['-'])) {
        if char.is_ascii_alphanumeric() {
            name.push(char.to_ascii_lowercase());
        } else if !name.is_empty() && !name.ends_with('-') {
            name.push('-');
        }
    }
    name.truncate(MAX_NAME - kind.len() - 1);
    let name = name.trim_end_matches('-');
    let name = if name.is_empty() { kind.to_owned() } else { format!("{name}-{kind}") };
    let numbered = (2_u32..).map(|number| format!("{name}-{number}"));
    std::iter::once(name.clone()).chain(numbered).find(|name| !taken(name)).unwrap_or(name)
}

/// The SLO as an item of the list `slos`.
pub(super) fn item(
    name: &str,
    of: &Endpoint,
    aim: Aim,
    objective: Ratio,
    min_bad: Option<u64>,
) -> String {
    let mut lines = vec![format!("name: {name}"), format!("service: {}", quoted(&of.service))];
    if !of.namespace.is_empty() {
        lines.push(format!("namespace: {}", quoted(&of.namespace)));
    }
    lines.push(format!("objective: {}", percent(objective)));
    lines.push(format!("window: {}", short(super::PERIOD_S)));
    lines.push(match aim {
        Aim::Availability => "availability: true".to_owned(),
        Aim::Latency { threshold_ms } => format!("latency: {threshold_ms}ms"),
    });
    let direction = Some(of.direction.word().to_owned());
    let text = |text: &Option<String>| text.as_deref().map(quoted);
    let select = [
        ("protocol", Some(quoted(&of.protocol))),
        ("direction", direction),
        ("peer", text(&of.peer)),
        ("method", text(&of.method)),
        ("route", text(&of.route)),
    ];
    let select: Vec<String> = select
        .into_iter()
        .filter_map(|(key, value)| value.map(|value| format!("{key}: {value}")))
        .collect();
    lines.push(format!("select: {{{}}}", select.join(", ")));
    lines.extend(min_bad.map(|least| format!("min_bad: {least}")));
    format!("  - {}\n", lines.join("\n    "))
}

/// The whole file.
pub(super) fn file(suggested: &Suggested) -> String {
    let mut text = String::new();
    let (from, to) = suggested.span;
    let observed = span(suggested.observed_s);
    let _ = writeln!(
        text,
        "# Suggested by vigie: {observed} observed, {} to {}.",
        instant(from),
        instant(to)
    );
    text.push_str("# What users need may be less, or more: change what you know better.\n");
    if suggested.is_short_for_tickets() {
        text.push_str("# Less than 3 d: of tickets, which look back so far, it says little.\n");
    }
    if !suggested.slos.is_empty() {
        text.push_str("slos:\n");
    }
    for slo in &suggested.slos {
        for line in basis(slo) {
            let _ = writeln!(text, "  # {line}");
        }
        text.push_str(&slo.text);
    }
    for omitted in &suggested.omitted {
        let _ = writeln!(text, "# None for {}", self::omitted(omitted));
    }
    text
}

/// What an SLO rests on.
fn basis(slo: &Suggestion) -> Vec<String> {
    let share = Ratio::new(slo.total.saturating_sub(slo.bad).into(), slo.total.into());
    // Rounded, 99.99996 % would be all of them.
    let seen = match share {
        Some(share) if slo.bad == 0 => percent(share),
        Some(share) => {
            let floor = share.scaled(6).and_then(|millionths| Ratio::new(millionths, 1_000_000));
            percent(floor.unwrap_or(share))
        }
        None => "nothing".to_owned(),
    };
    let good = match slo.aim {
        Aim::Availability => "good".to_owned(),
        Aim::Latency { threshold_ms } => format!("within {threshold_ms} ms"),
    };
    let alerts = &slo.alerts;
    let month = |count: u64| alerts.per_month(count).decimal(1);
    let (pages, tickets) = (alerts.pages, alerts.tickets);
    let mut lines = vec![
        format!("seen: {seen} of {} calls {good}, {} not", slo.total, slo.bad),
        format!(
            "alerts in the past {}: pages {pages}, tickets {tickets}; in 30 days that is {} and {}",
            span(alerts.observed_s),
            month(pages),
            month(tickets)
        ),
    ];
    if slo.min_bad.is_some() {
        lines.push("low traffic: without min_bad, few bad calls would page".to_owned());
    }
    lines
}

/// One line without breaks: names are of strangers.
fn omitted(omitted: &Omitted) -> String {
    let of = &omitted.of;
    let parts = [
        Some(of.service.as_str()),
        Some(of.direction.word()),
        Some(of.protocol.as_str()),
        of.peer.as_deref(),
        of.method.as_deref(),
        of.route.as_deref(),
    ];
    let parts: Vec<&str> = parts.into_iter().flatten().collect();
    let what = parts.join(" ").escape_debug().to_string();
    let aim = if omitted.latency { "latency" } else { "availability" };
    let reason = match omitted.reason {
        Reason::Young { observed_s, needed_s } => {
            format!("observed for {} of {}", span(observed_s), span(needed_s))
        }
        Reason::Few { total } => format!("{total} calls are too few"),
        Reason::Poor { total, bad } if omitted.latency => {
            format!("{bad} of {total} calls were slower than the last bucket")
        }
        Reason::Poor { total, bad } => format!("{bad} of {total} calls were bad, more than 10%"),
        Reason::Unsaid => "its names cannot be said in a file".to_owned(),
    };
    format!("{what}, {aim}: {reason}")
}

/// Most reasons on one line.
const MAX_REASONS: usize = 3;

/// Reasons on one line.
pub(super) fn reasons(suggested: &Suggested) -> String {
    let mut told: Vec<String> = suggested.omitted.iter().take(MAX_REASONS).map(omitted).collect();
    let more = suggested.omitted.len().saturating_sub(MAX_REASONS);
    if more > 0 {
        told.push(format!("and {more} more"));
    }
    told.join("; ")
}
