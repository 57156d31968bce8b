//! `vigie slo gate`: whether to deploy, as an exit code.

use clap::Args;

use super::super::{Common, Failure};
use super::ask::{self, Where};
use crate::config::Glob;
use crate::slo::status::{SloStatus, Status};

#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// Services whose SLOs are asked
    #[arg(long, value_name = "GLOB")]
    service: Glob,
    /// Least share of the time that must have been observed; that of each SLO unless given
    #[arg(long, value_name = "SHARE", value_parser = share)]
    min_coverage: Option<f64>,
    #[command(flatten)]
    at: Where,
}

fn share(text: &str) -> Result<f64, String> {
    let share = text.parse().ok().filter(|share| (0.0..=1.0).contains(share));
    share.ok_or_else(|| "write a share between 0 and 1, as 0.9".to_owned())
}

/// What the gate says, and its exit code.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Verdict {
    Ship = 0,
    Careful = 10,
    Freeze = 20,
    Unknown = 30,
}

pub(super) fn run(common: &Common, arguments: &Arguments) -> Result<(), Failure> {
    let (verdict, reason) = match ask::status(common, &arguments.at) {
        Ok(status) => judge(&status, &arguments.service, arguments.min_coverage),
        // Without an agent there are no data; wrong arguments are told as such.
        Err(failure) if failure.exit_code() == 1 => (Verdict::Unknown, failure.what),
        Err(failure) => return Err(failure),
    };
    println!("{}: {reason}", word(verdict));
    match verdict {
        Verdict::Ship => Ok(()),
        verdict => Err(Failure::passed_on(verdict as i32)),
    }
}

const fn word(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Ship => "ship",
        Verdict::Careful => "careful",
        Verdict::Freeze => "freeze",
        Verdict::Unknown => "unknown",
    }
}

/// The worst of all SLOs of the services.
fn judge(status: &Status, services: &Glob, min_coverage: Option<f64>) -> (Verdict, String) {
    let of_services = status.slos.iter().filter(|slo| services.matches(&slo.service));
    let verdicts = of_services.map(|slo| one(slo, min_coverage));
    // The first of those that are alike.
    verdicts.reduce(|worst, next| if next.0 > worst.0 { next } else { worst }).unwrap_or_else(
        || (Verdict::Unknown, format!("the agent has no SLO for a service {}", services.as_str())),
    )
}

fn one(slo: &SloStatus, min_coverage: Option<f64>) -> (Verdict, String) {
    let name = &slo.name;
    let least = min_coverage.unwrap_or(slo.min_coverage);
    let budget = format!("{:.2} % of the budget of {name} is left", slo.budget_remaining * 100.0);
    let firing = match slo.firing.as_slice() {
        [] => String::new(),
        firing => format!(", {} fires", firing.join(", ")),
    };
    if !slo.matched || slo.total == 0 {
        return (Verdict::Unknown, format!("{name} has counted nothing yet"));
    }
    if slo.no_data {
        return (Verdict::Unknown, format!("nothing is observed for {name} any more"));
    }
    if slo.coverage < least {
        let seen = slo.coverage * 100.0;
        let reason = format!(
            "{name} was observed for {seen:.1} % of the time, {} % are asked",
            least * 100.0
        );
        return (Verdict::Unknown, reason);
    }
    let verdict = match slo.zone.as_str() {
        "ship" => Verdict::Ship,
        "careful" => Verdict::Careful,
        _ => Verdict::Freeze,
    };
    (verdict, budget + &firing)
}
