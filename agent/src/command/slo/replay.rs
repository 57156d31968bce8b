//! `vigie slo replay`: the evaluator over a series, without an agent or a clock.

mod table;

use std::path::PathBuf;
use std::sync::Arc;

use clap::{Args, ValueEnum};
use serde_json::{Map, Value, json};
use vigie_slo::duration::short;
use vigie_slo::figures::{Change, Figures, Mode};
use vigie_slo::model::Slo;
use vigie_slo::ratio::Ratio;
use vigie_slo::series::{self, Cut, Outcome, SeriesError};

use super::super::Failure;

/// Largest series in bytes: a year of ticks of 10 s has some 100 MB.
const MAX_SERIES_BYTES: u64 = 256 << 20;

#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// SLO file
    file: PathBuf,
    /// Counts per tick: lines of t,good,bad; t is the end of the tick in seconds
    #[arg(long, value_name = "CSV")]
    series: PathBuf,
    /// How the outcome is printed
    #[arg(long, value_enum, default_value = "json")]
    format: Format,
    /// The same as --format json
    #[arg(long, conflicts_with = "format")]
    json: bool,
    /// Compute ratios as another system does
    #[arg(long, value_name = "SYSTEM")]
    compat: Option<Compat>,
    /// How windows are cut: exactly, or as a node does (10 s, and 5 min for windows above 6 h)
    #[arg(long, value_enum, default_value = "exact")]
    resolution: Resolution,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    /// One JSON object per line, for each change and each SLO
    Json,
    /// For people: the changes, then figures and alerts per SLO
    Table,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Compat {
    /// Error ratios are not scaled by the time observed
    Prometheus,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Resolution {
    /// To the second
    Exact,
    /// As a node
    Node,
}

pub(super) fn run(arguments: &Arguments) -> Result<(), Failure> {
    let loaded = super::load(std::slice::from_ref(&arguments.file))?;
    let name = arguments.series.display();
    let rows = series::parse(&super::read(&arguments.series, MAX_SERIES_BYTES)?)
        .map_err(|error| wrong(&name, &error))?;
    let mode = match arguments.compat {
        Some(Compat::Prometheus) => Mode::Raw,
        None => Mode::Scaled,
    };
    let cut = match arguments.resolution {
        Resolution::Exact => Cut::Exact,
        Resolution::Node => Cut::Node,
    };
    let mut outcomes = Vec::new();
    for slo in loaded.slos {
        let slo = Arc::new(slo);
        let outcome = series::run(&slo, &rows, mode, cut).map_err(|error| wrong(&name, &error))?;
        outcomes.push((slo, outcome));
    }
    if arguments.format == Format::Table {
        let outcomes: Vec<(&Slo, &Outcome)> =
            outcomes.iter().map(|(slo, outcome)| (slo.as_ref(), outcome)).collect();
        print!("{}", table::table(&outcomes));
        return Ok(());
    }
    let (mut changes, mut ends) = (Vec::new(), Vec::new());
    for (slo, outcome) in &outcomes {
        changes.extend(transitions(slo, outcome));
        ends.push(end(slo, &outcome.figures));
    }
    changes.sort_by_key(|(t, _)| *t);
    for line in changes.iter().map(|(_, line)| line).chain(&ends) {
        println!("{line}");
    }
    Ok(())
}

fn wrong(name: &dyn std::fmt::Display, error: &SeriesError) -> Failure {
    let todo = match error {
        SeriesError::Line { .. } | SeriesError::Empty => {
            "write lines of t,good,bad: whole seconds and counts"
        }
        SeriesError::TickLongerThanSlice { .. } => "give a series with shorter ticks",
    };
    Failure::usage(format_args!("{name}: {error}"), todo)
}

/// What changed, and when.
fn transitions(slo: &Slo, outcome: &Outcome) -> Vec<(i64, Value)> {
    let name = &slo.name;
    let on_off = |on: bool| if on { "on" } else { "off" };
    let mut lines = Vec::new();
    for transition in &outcome.transitions {
        let t = transition.t;
        let line = match transition.change {
            Change::Alert { index, on } => {
                let pair = slo.alerts.get(index).map(|alert| alert.name.as_str());
                json!({"t": t, "slo": name, "pair": pair, "event": on_off(on)})
            }
            Change::NoData { on } => {
                json!({"t": t, "slo": name, "event": "no_data", "state": on_off(on)})
            }
            Change::Zone { zone } => {
                json!({"t": t, "slo": name, "event": "zone", "zone": zone.word()})
            }
        };
        lines.push((t, line));
    }
    lines
}

fn end(slo: &Slo, figures: &Figures) -> Value {
    let burn: Map<String, Value> =
        figures.burn.iter().map(|(length_s, burn)| (short(*length_s), number(*burn))).collect();
    let firing = figures.firing.iter().filter_map(|index| slo.alerts.get(*index));
    let firing: Vec<&str> = firing.map(|alert| alert.name.as_str()).collect();
    json!({
        "t": figures.t,
        "slo": slo.name,
        "event": "end",
        "total": figures.period.total,
        "bad": figures.period.bad,
        "burn": burn,
        "budget_remaining": figures.remaining(PLACES).parse::<f64>().ok(),
        "zone": figures.zone.word(),
        "coverage": number(Some(figures.coverage)),
        "exhausted_in_s": figures.exhausted_in_s,
        "firing": firing,
        "no_data": figures.no_data,
        "late": figures.late,
        "overflowed": figures.overflowed,
    })
}

/// Digits after the decimal point that are printed.
const PLACES: u32 = 9;

fn number(ratio: Option<Ratio>) -> Value {
    ratio.and_then(|ratio| ratio.decimal(PLACES).parse::<f64>().ok()).into()
}

#[cfg(test)]
mod tests {
    use vigie_slo::file::{Source, load};

    use super::*;

    #[test]
    fn json_lines() {
        let text =
            "slos: [{name: api, service: api, objective: 99.9%, window: 30d, availability: true}]";
        let file = Source { name: "slo.yaml".to_owned(), text: text.to_owned() };
        let slo = Arc::new(load(&[file]).unwrap().slos.remove(0));
        // 20 s without a tick; then all fail for a minute.
        let rows = series::parse("10,1000,0\n40,1000,0\n50,0,500\n60,0,500\n").unwrap();
        let outcome = series::run(&slo, &rows, Mode::Raw, Cut::Exact).unwrap();
        let changes = transitions(&slo, &outcome);
        let lines: Vec<String> = changes.iter().map(|(_, line)| line.to_string()).collect();
        assert_eq!(lines[0], r#"{"event":"on","pair":"page-quick","slo":"api","t":50}"#);
        assert_eq!(lines[4], r#"{"event":"zone","slo":"api","t":50,"zone":"exhausted"}"#);
        let end = end(&slo, &outcome.figures);
        assert_eq!(end["coverage"], 0.666_666_667);
        assert_eq!(
            (&end["total"], &end["bad"], &end["t"]),
            (&json!(3000), &json!(1000), &json!(60))
        );
        assert_eq!(end["burn"]["5m"], 333.333_333_333);
        assert_eq!(end["budget_remaining"], -332.333_333_333);
        assert_eq!(lines.len(), 5);
    }
}
