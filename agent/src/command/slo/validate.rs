//! `vigie slo validate`: what was understood, in words.

use vigie_alert::receiver::Receiver;
use vigie_slo::alert::{Alert, Guards, Op, Severity};
use vigie_slo::duration::short;
use vigie_slo::file::Loaded;
use vigie_slo::model::{Budgeting, Slo};
use vigie_slo::select::{Criteria, Selector, Verdict};
use vigie_slo::window::{Unit, Window};

pub(super) fn print(loaded: &Loaded, receivers: &[Receiver]) {
    for slo in &loaded.slos {
        print!("{}", describe(slo));
    }
    for receiver in receivers {
        println!("{}", tells(receiver));
    }
    let count = loaded.slos.len();
    println!("{count} SLO{} ok", if count == 1 { "" } else { "s" });
}

/// `on-call: alertmanager at http://am-0:9093 and http://am-1:9093, of page`. No secret is in it.
fn tells(receiver: &Receiver) -> String {
    let addresses: Vec<String> = receiver.addresses().iter().map(ToString::to_string).collect();
    let words: Vec<&str> = receiver.severities.iter().map(Severity::word).collect();
    let of = if words.is_empty() { "all".to_owned() } else { words.join(", ") };
    format!(
        "{}: {} at {}, told of {of}",
        receiver.name,
        receiver.kind.word(),
        addresses.join(" and ")
    )
}

fn describe(slo: &Slo) -> String {
    let percent = vigie_slo::ratio::Ratio::new(100, 1).and_then(|all| all.checked_mul(slo.target));
    let percent = percent.unwrap_or(slo.target);
    let mut lines = vec![
        format!("{}: {percent} % over {}", slo.name, window(&slo.window)),
        format!("  counted: {}", selector(&slo.indicator.total)),
    ];
    for excluded in &slo.indicator.exclude {
        lines.push(format!("  but not: {}", selector(excluded)));
    }
    match &slo.indicator.verdict {
        Verdict::Bad(any) => {
            let any: Vec<String> = any.iter().map(criteria).collect();
            lines.push(format!("  bad:     {}", any.join(", or ")));
        }
        Verdict::Good(good) => lines.push(format!("  good:    {}", criteria(good))),
    }
    if let Some(millis) = slo.indicator.hung_after_ms {
        lines.push(format!("  hung:    bad once in flight for {millis} ms"));
    }
    lines.push(format!("  budget:  {} {}", slo.error_budget(), budgeting(slo.budgeting)));
    for alert in &slo.alerts {
        lines.push(format!("  alert:   {}", self::alert(alert)));
    }
    if let Some(after_s) = slo.no_data_after_s {
        lines.push(format!("  alert:   no data for {}", short(after_s)));
    }
    for silence in &slo.silences {
        let (length, zone) = (short(silence.length_s), &silence.zone_name);
        lines.push(format!("  silent:  {} for {length}, {zone}", silence.schedule));
    }
    let zones = &slo.zones;
    lines.push(format!(
        "  policy:  ship above {}, freeze below {}, coverage at least {}",
        zones.ship_above, zones.freeze_below, slo.min_coverage
    ));
    lines.join("\n") + "\n"
}

fn window(window: &Window) -> String {
    match window {
        Window::Rolling(seconds) => short(*seconds),
        Window::Calendar(calendar) => {
            let unit = match calendar.unit {
                Unit::Days(1) => "day",
                Unit::Days(_) => "week",
                Unit::Months(1) => "month",
                Unit::Months(3) => "quarter",
                Unit::Months(_) => "year",
            };
            format!("each {unit} of {} from {}", calendar.zone_name, calendar.anchor)
        }
    }
}

fn selector(selector: &Selector) -> String {
    let Selector { service, namespace, route, method, status, protocol, direction, peer } =
        selector;
    let direction: Vec<String> = direction.iter().map(|one| one.word().to_owned()).collect();
    let all = [
        ("service", service),
        ("namespace", namespace),
        ("route", route),
        ("method", method),
        ("status", status),
        ("protocol", protocol),
        ("direction", &direction),
        ("peer", peer),
    ];
    let given: Vec<String> = all
        .into_iter()
        .filter(|(_, patterns)| !patterns.is_empty())
        .map(|(name, patterns)| format!("{name} {}", patterns.join(" or ")))
        .collect();
    if given.is_empty() { "all requests".to_owned() } else { given.join(", ") }
}

fn criteria(criteria: &Criteria) -> String {
    let mut all = Vec::new();
    if criteria.select != Selector::default() {
        all.push(selector(&criteria.select));
    }
    if let Some(errors) = &criteria.errors {
        let codes: Vec<&str> = errors.http.iter().chain(&errors.grpc).map(String::as_str).collect();
        all.push(format!("{}, reset, time-out", codes.join(" ")));
    }
    all.extend(criteria.slower_than_ms.map(|millis| format!("slower than {millis} ms")));
    all.extend(criteria.within_ms.map(|millis| format!("within {millis} ms")));
    all.join(" and ")
}

fn budgeting(budgeting: Budgeting) -> String {
    match budgeting {
        Budgeting::Occurrences => "of the requests".to_owned(),
        Budgeting::Slices(slices) => format!(
            "of the slices of {} with less than {} good",
            short(slices.length_s),
            slices.target
        ),
        Budgeting::RatioSlices(slices) => {
            format!("of the mean over slices of {}", short(slices.length_s))
        }
    }
}

fn alert(alert: &Alert) -> String {
    let conditions: Vec<String> = alert
        .conditions
        .iter()
        .map(|condition| {
            let op = match condition.op {
                Op::Gt => ">",
                Op::Gte => "≥",
            };
            let factor = condition.factor.decimal(3);
            let after = match condition.after_s {
                0 => String::new(),
                after_s => format!(" for {}", short(after_s)),
            };
            format!("burn({}) {op} {factor}{after}", short(condition.window_s))
        })
        .collect();
    let Guards { min_bad, min_total, min_budget_spend } = alert.guards;
    let mut parts = vec![conditions.join(" and ")];
    for (name, least) in [("min_bad", min_bad), ("min_total", min_total)] {
        parts.extend((least > 0).then(|| format!("{name} {least}")));
    }
    parts.extend(min_budget_spend.map(|least| format!("min_budget_spend {least}")));
    format!("{} ({}): {}", alert.name, alert.severity.word(), parts.join(", "))
}
