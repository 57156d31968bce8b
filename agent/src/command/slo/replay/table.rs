//! The outcome of a replay for people: what changed and when, then per SLO the figures at the end and how
//! often each alert fired.

use vigie_slo::duration::{instant, short};
use vigie_slo::figures::{Change, Figures};
use vigie_slo::model::Slo;
use vigie_slo::ratio::Ratio;
use vigie_slo::series::Outcome;

/// Times from this on (in the year 2001) are shown as dates, those before it as seconds.
const A_DATE: i64 = 1_000_000_000;

fn time(t: i64) -> String {
    if t < A_DATE { format!("{t} s") } else { instant(t) }
}

/// What changed, in the order of time, then the figures.
pub(super) fn table(outcomes: &[(&Slo, &Outcome)]) -> String {
    let mut changes = Vec::new();
    for (slo, outcome) in outcomes {
        for transition in &outcome.transitions {
            changes.push((transition.t, slo.name.as_str(), what(slo, transition.change)));
        }
    }
    changes.sort_by_key(|(t, _, _)| *t);
    let times: Vec<String> = changes.iter().map(|(t, _, _)| time(*t)).collect();
    let width = |texts: &mut dyn Iterator<Item = usize>| texts.max().unwrap_or(0);
    let first = width(&mut times.iter().map(String::len));
    let second = width(&mut changes.iter().map(|(_, slo, _)| slo.len()));
    let mut lines: Vec<String> = times
        .iter()
        .zip(&changes)
        .map(|(time, (_, slo, what))| format!("{time:>first$}  {slo:<second$}  {what}"))
        .collect();
    for (slo, outcome) in outcomes {
        if !lines.is_empty() {
            lines.push(String::new());
        }
        lines.extend(end(slo, outcome));
    }
    lines.join("\n") + "\n"
}

fn what(slo: &Slo, change: Change) -> String {
    let on_off = |on: bool| if on { "on" } else { "off" };
    match change {
        Change::Alert { index, on } => {
            let name = slo.alerts.get(index).map_or("?", |alert| alert.name.as_str());
            format!("{name} {}", on_off(on))
        }
        Change::NoData { on } => format!("no data {}", on_off(on)),
        Change::Zone { zone } => format!("budget: {}", zone.word()),
    }
}

fn percent(ratio: Ratio) -> String {
    let hundred = Ratio::new(100, 1).and_then(|all| all.checked_mul(ratio));
    hundred.map_or_else(|| ratio.to_string(), |percent| format!("{}%", percent.decimal(4)))
}

fn end(slo: &Slo, outcome: &Outcome) -> Vec<String> {
    let figures = &outcome.figures;
    let Figures { period, coverage, zone, .. } = figures;
    let (over, left) = figures.spent.unwrap_or(Ratio::ZERO).complement();
    let mut lines = vec![
        format!("{} at {}: {} of {} bad", slo.name, time(figures.t), period.bad, period.total),
        format!(
            "  budget   {}{} left: {}; {} of the time was observed",
            if over { "-" } else { "" },
            percent(left),
            zone.word(),
            percent(*coverage)
        ),
    ];
    let burn = figures.burn.iter().map(|(length_s, burn)| {
        let burn = burn.map_or_else(|| "-".to_owned(), |burn| burn.decimal(3));
        format!("{} {burn}", short(*length_s))
    });
    lines.push(format!("  burn     {}", burn.collect::<Vec<_>>().join(", ")));
    for (index, alert) in slo.alerts.iter().enumerate() {
        lines.push(format!("  alert    {}: {}", alert.name, fired(outcome, index)));
    }
    lines
}

/// How often and how long an alert fired.
fn fired(outcome: &Outcome, alert: usize) -> String {
    let (mut times, mut seconds, mut since) = (0_u64, 0_u64, None);
    for transition in &outcome.transitions {
        match transition.change {
            Change::Alert { index, on: true } if index == alert => {
                times += 1;
                since = Some(transition.t);
            }
            Change::Alert { index, on: false } if index == alert => {
                seconds += since.take().map_or(0, |since| transition.t.abs_diff(since));
            }
            _ => {}
        }
    }
    let still = since.map_or("", |_| ", still firing");
    seconds += since.map_or(0, |since| outcome.figures.t.abs_diff(since));
    match times {
        0 => "never".to_owned(),
        1 => format!("once, for {}{still}", short(seconds)),
        times => format!("{times} times, for {} in all{still}", short(seconds)),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use vigie_slo::figures::Mode;
    use vigie_slo::file::{Source, load};
    use vigie_slo::series::{self, Cut};

    use super::*;

    #[test]
    fn changes_and_figures() {
        let text =
            "slos: [{name: api, service: api, objective: 99.9%, window: 30d, availability: true}]";
        let file = Source { name: "slo.yaml".to_owned(), text: text.to_owned() };
        let slo = Arc::new(load(&[file]).unwrap().slos.remove(0));
        // All fail for two minutes.
        let mut rows = String::new();
        for tick in 1..=60 {
            let counts = if tick <= 12 { "0,1000" } else { "1000,0" };
            rows.extend([format!("{},{counts}\n", 1_795_000_000 + tick * 10)]);
        }
        let rows = series::parse(&rows).unwrap();
        let outcome = series::run(&slo, &rows, Mode::Scaled, Cut::Exact).unwrap();
        let text = table(&[(&slo, &outcome)]);
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines[0], "2026-11-18T11:07:40Z  api  page-quick on", "{text}");
        assert_eq!(lines[1], "2026-11-18T11:13:40Z  api  page-quick off", "{text}");
        for line in [
            "api at 2026-11-18T11:16:40Z: 12000 of 60000 bad",
            "  budget   95.3704% left: ship; 100% of the time was observed",
            "  alert    page-quick: once, for 6m",
            "  alert    page-slow: never",
        ] {
            assert!(lines.contains(&line), "{line}\n{text}");
        }
        assert_eq!(time(60), "60 s");
    }
}
