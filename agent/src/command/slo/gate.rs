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

#[cfg(test)]
mod tests {
    use vigie_slo::file::{Source, load};

    use super::*;

    fn slo(name: &str, change: impl FnOnce(&mut SloStatus)) -> SloStatus {
        let text = format!(
            "slos: [{{name: {name}, service: api, objective: 99%, window: 30d, availability: true}}]"
        );
        let loaded = load(&[Source { name: "slo.yaml".to_owned(), text }]).unwrap();
        let mut status = SloStatus::of(&loaded.slos[0]);
        (status.matched, status.total, status.coverage) = (true, 1_000, 1.0);
        change(&mut status);
        status
    }

    fn gate(slos: Vec<SloStatus>, services: &str, least: Option<f64>) -> (i32, String) {
        let status = Status { slos, ..Status::default() };
        let (verdict, reason) = judge(&status, &services.parse().unwrap(), least);
        (verdict as i32, reason)
    }

    #[test]
    fn the_worst_slo_decides() {
        let good = || slo("good", |_| ());
        let in_zone = |zone: &'static str| {
            slo("bad", |status| {
                zone.clone_into(&mut status.zone);
                status.budget_remaining = 0.26;
                status.firing.push("page-quick".to_owned());
            })
        };
        assert_eq!(gate(vec![good()], "api", None).0, 0);
        let (code, reason) = gate(vec![good(), in_zone("careful")], "a*", None);
        assert_eq!(code, 10);
        assert_eq!(reason, "26.00 % of the budget of bad is left, page-quick fires");
        assert_eq!(gate(vec![in_zone("freeze"), in_zone("careful")], "api", None).0, 20);
        assert_eq!(gate(vec![in_zone("exhausted")], "api", None).0, 20);
    }

    #[test]
    fn without_data_nothing_is_judged() {
        assert_eq!(gate(vec![slo("a", |_| ())], "web", None).0, 30);
        assert_eq!(gate(Vec::new(), "*", None).0, 30);
        let unmatched = slo("a", |status| status.matched = false);
        assert_eq!(gate(vec![unmatched], "api", None).0, 30);
        let silent = slo("a", |status| status.no_data = true);
        assert_eq!(gate(vec![silent], "api", None).0, 30);
        let half = |share| slo("a", move |status| status.coverage = share);
        assert_eq!(gate(vec![half(0.89)], "api", None).0, 30);
        assert_eq!(gate(vec![half(0.9)], "api", None).0, 0);
        assert_eq!(gate(vec![half(0.5)], "api", Some(0.5)).0, 0);
        assert_eq!(gate(vec![half(0.95)], "api", Some(0.99)).0, 30);
    }
}
