//! Rounds of runs, the way every benchmark compares: within one round without anything, with an
//! empty pair of tracepoints, and with the agent.
//!
//! A machine's speed drifts between rounds by more than what is to be measured, so figures are
//! compared only within a round, and the median is taken of those comparisons.
//!
//! The empty pair is the reference: what the kernel itself takes, on this machine, for any two
//! programs on `sys_enter` and `sys_exit`, whatever they do. That differs several times over
//! between machines; what the agent adds to it is the agent's own.

use std::process::Command;

use anyhow::{Context as _, Result};
use serde::Serialize;

use super::Bench;
use super::ready::Running;
use super::statistics::median;
use crate::advice::Advice;

/// Results of one round: `B` without the agent, `W` with it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Round<B, W> {
    pub(super) bare: B,
    /// Absent with `--no-reference`.
    pub(super) reference: Option<B>,
    pub(super) watched: W,
}

impl Round<f64, f64> {
    /// For the progress of a measurement, with so many decimals.
    pub(super) fn shown(&self, decimals: usize) -> String {
        let Self { bare, reference, watched } = self;
        let reference = reference.map_or_else(String::new, |figure| {
            format!(", with an empty pair of tracepoints {figure:.decimals$}")
        });
        format!("{bare:.decimals$} -> {watched:.decimals$}{reference}")
    }
}

/// One run of a round.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Turn {
    Bare,
    Reference,
    Watched,
}

/// The bare run is between the two others, so that each is compared with its neighbour in time;
/// every other round goes backwards, so that a machine that slows down favours none.
const FORTH: [Turn; 3] = [Turn::Reference, Turn::Bare, Turn::Watched];
const BACK: [Turn; 3] = [Turn::Watched, Turn::Bare, Turn::Reference];

fn turns(round: u32) -> [Turn; 3] {
    if round.is_multiple_of(2) { FORTH } else { BACK }
}

/// Does one round, the `number`th from 0. `bare` starts no agent, `watched` starts and ends one.
pub(super) fn round<B, W>(
    bench: &Bench,
    number: u32,
    mut bare: impl FnMut() -> Result<B>,
    mut watched: impl FnMut() -> Result<W>,
) -> Result<Round<B, W>> {
    let (mut without, mut reference, mut with) = (None, None, None);
    for turn in turns(number) {
        match turn {
            Turn::Bare => without = Some(bare()?),
            Turn::Reference if bench.reference => {
                let pair = start_reference(bench)?;
                reference = Some(bare()?);
                pair.stop()?;
            }
            Turn::Reference => {}
            Turn::Watched => with = Some(watched()?),
        }
    }
    Ok(Round {
        bare: without.context("no bare run")?,
        reference,
        watched: with.context("no run with the agent")?,
    })
}

/// Attaches an empty program to each end of every system call.
fn start_reference(bench: &Bench) -> Result<Running> {
    let mut command = Command::new(&bench.agent);
    command.args(["debug", "reference"]);
    let log = bench.folder.join("reference.log");
    Running::start("`vigie debug reference`", &mut command, &log).map_err(|error| {
        let todo = "an agent older than this bench has no such command: use `--no-reference`";
        Advice::error(format!("{error:#}"), todo)
    })
}

/// What rounds say: medians of the figures, and medians of comparisons within a round.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(super) struct Comparison {
    /// Without the agent.
    pub(super) bare: f64,
    /// With the agent.
    pub(super) with: f64,
    /// With ÷ bare.
    pub(super) ratio: f64,
    /// Number of rounds.
    pub(super) runs: usize,
    /// With ÷ bare of each round.
    pub(super) ratios: Vec<f64>,
    /// With an empty pair of tracepoints.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) reference: Option<f64>,
    /// Reference ÷ bare.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) reference_ratio: Option<f64>,
}

/// Compares; `None` without rounds.
pub(super) fn compare(rounds: &[Round<f64, f64>]) -> Option<Comparison> {
    let ratios: Vec<f64> = rounds.iter().map(|round| round.watched / round.bare).collect();
    Some(Comparison {
        bare: median(rounds.iter().map(|round| round.bare))?,
        with: median(rounds.iter().map(|round| round.watched))?,
        ratio: median(ratios.iter().copied())?,
        runs: rounds.len(),
        ratios,
        reference: median(rounds.iter().filter_map(|round| round.reference)),
        reference_ratio: median(
            rounds.iter().filter_map(|round| Some(round.reference? / round.bare)),
        ),
    })
}

/// Differences, in the figures' unit, where these say more than ratios; medians over rounds.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub(super) struct Differences {
    /// With − bare.
    pub(super) added: f64,
    /// Reference − bare.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) added_by_reference: Option<f64>,
    /// With − reference: the agent's own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) added_by_vigie: Option<f64>,
}

/// Subtracts; `None` without rounds.
pub(super) fn subtract(rounds: &[Round<f64, f64>]) -> Option<Differences> {
    Some(Differences {
        added: median(rounds.iter().map(|round| round.watched - round.bare))?,
        added_by_reference: median(
            rounds.iter().filter_map(|round| Some(round.reference? - round.bare)),
        ),
        added_by_vigie: median(
            rounds.iter().filter_map(|round| Some(round.watched - round.reference?)),
        ),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rounds(figures: &[(f64, f64, f64)]) -> Vec<Round<f64, f64>> {
        let round =
            |&(bare, reference, watched)| Round { bare, reference: Some(reference), watched };
        figures.iter().map(round).collect()
    }

    /// On a machine that halves its speed from round to round, a ratio of medians would be that of
    /// two different rounds.
    #[test]
    fn ratio_is_the_median_of_the_ratios_of_each_round() {
        let rounds = rounds(&[(400.0, 380.0, 360.0), (200.0, 180.0, 100.0), (100.0, 95.0, 91.0)]);
        let found = compare(&rounds).unwrap();
        assert_eq!((found.bare, found.reference, found.with), (200.0, Some(180.0), 100.0));
        assert_eq!(found.ratios, [0.9, 0.5, 0.91]);
        assert_eq!((found.ratio, found.reference_ratio), (0.9, Some(0.95)));
        assert_eq!(found.runs, 3);
    }

    #[test]
    fn differences_are_of_each_round() {
        let found = subtract(&rounds(&[(300.0, 430.0, 434.0), (280.0, 420.0, 422.0)])).unwrap();
        let wanted = Differences {
            added: 138.0,
            added_by_reference: Some(135.0),
            added_by_vigie: Some(3.0),
        };
        assert_eq!(found, wanted);
    }

    #[test]
    fn reference_may_be_left_out() {
        let rounds = [Round { bare: 2.0, reference: None, watched: 3.0 }];
        let found = compare(&rounds).unwrap();
        assert_eq!((found.ratio, found.reference, found.reference_ratio), (1.5, None, None));
        let found = subtract(&rounds).unwrap();
        assert_eq!((found.added, found.added_by_vigie), (1.0, None));
        assert_eq!(compare(&[]), None);
    }

    #[test]
    fn bare_runs_are_next_to_what_is_compared_with_them() {
        for round in 0..4 {
            assert_eq!(turns(round)[1], Turn::Bare);
        }
        assert_ne!(turns(0), turns(1));
    }
}
