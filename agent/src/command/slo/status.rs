//! `vigie slo status`: all SLOs at a glance.

use clap::Args;

use super::super::{Common, Failure};
use super::ask::{self, Where};
use crate::slo::status::{SloStatus, Status};

#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    at: Where,
}

pub(super) fn run(common: &Common, arguments: &Arguments) -> Result<(), Failure> {
    let status = ask::status(common, &arguments.at)?;
    if arguments.json {
        let text = serde_json::to_string_pretty(&status)
            .map_err(|error| Failure::failed(error, "please report this"))?;
        println!("{text}");
    } else {
        print!("{}", table(&status));
    }
    Ok(())
}

const HEAD: [&str; 8] =
    ["SLO", "objective", "sli", "budget left", "burn 5m", "burn 1h", "zone", "firing"];

fn table(status: &Status) -> String {
    if status.slos.is_empty() {
        return "no SLO; start the agent with --slo FILE\n".to_owned();
    }
    let rows: Vec<[String; 8]> = status.slos.iter().map(row).collect();
    let head = HEAD.map(str::to_owned);
    let mut widths = head.each_ref().map(|text| text.chars().count());
    for row in &rows {
        for (width, text) in widths.iter_mut().zip(row) {
            *width = (*width).max(text.chars().count());
        }
    }
    let mut text = String::new();
    for row in std::iter::once(&head).chain(&rows) {
        let columns = row.iter().zip(widths).map(|(text, width)| format!("{text:width$}"));
        text += columns.collect::<Vec<_>>().join("  ").trim_end();
        text.push('\n');
    }
    text
}

fn row(slo: &SloStatus) -> [String; 8] {
    let percent = |share: f64| format!("{} %", super::rounded(share * 100.0, 3));
    let burn = |window: &str| match slo.burn.get(window) {
        Some(Some(burn)) => super::rounded(*burn, 2),
        Some(None) => "no traffic".to_owned(),
        None => "-".to_owned(),
    };
    let mut firing = slo.firing.join(", ");
    if slo.no_data {
        firing = if firing.is_empty() { "no data".to_owned() } else { firing + ", no data" };
    }
    if !slo.matched {
        "nothing matched yet".clone_into(&mut firing);
    }
    [
        slo.name.clone(),
        format!("{} over {}", percent(slo.objective), slo.window),
        slo.sli.map_or_else(|| "-".to_owned(), percent),
        percent(slo.budget_remaining),
        burn("5m"),
        burn("1h"),
        slo.zone.clone(),
        firing,
    ]
}
