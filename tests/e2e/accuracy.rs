//! N sent = N counted, exactly, on both sides, for every row of the table of client behaviours
//! times server behaviours, with the right status, route, times and flags.

use std::collections::BTreeSet;

use anyhow::Result;
use vigie_tests::agent::{Agent, Options};
use vigie_tests::compare::{compare, report};
use vigie_tests::needs::{Need, missing};
use vigie_tests::rows::{rows, run};
use vigie_tests::site::Site;

const NEEDS: [Need; 9] = [
    Need::Root,
    Need::Agent,
    Need::Program("nginx"),
    Need::Program("python3"),
    Need::Program("node"),
    Need::Program("gcc"),
    Need::Program("curl"),
    Need::Program("wrk"),
    Need::Program("ab"),
];

/// Room for the 105,000 records of the row that reads byte by byte, so that nothing is dropped on a
/// machine that has no time for the agent: what is tested is what becomes of records.
const CONFIG: &str = "capture: {ring_bytes: 32MiB}\n";

#[test]
fn every_exchange_is_counted_once() -> Result<()> {
    if missing("accuracy", &NEEDS)? {
        return Ok(());
    }
    let config = Some(CONFIG.to_owned());
    let agent = Agent::start(&Options { config, ..Options::default() })?;
    let site = Site::start()?;
    let mut watched: BTreeSet<u32> = site.pids()?.into_iter().collect();
    let (mut expected, mut problems) = (Vec::new(), Vec::new());
    for row in selected() {
        match run(&row, &site) {
            Ok(outcomes) => {
                expected.extend(outcomes.expected);
                watched.extend(outcomes.pids);
            }
            Err(error) => problems.push(format!("{error:#}")),
        }
    }
    agent.settle(expected.len(), |span| watched.contains(&span.pid));
    let reasons = agent.metrics()?.reasons();
    let stopped = agent.stop()?;
    problems.extend(compare(&expected, &stopped.spans, &watched));
    if !problems.is_empty() {
        problems.push(format!("vigie's own counters: {reasons:?}"));
    }
    report(&problems)
}

/// All rows, or those whose name contains what `VIGIE_ROW` says: to look into one by hand.
fn selected() -> Vec<vigie_tests::rows::Row> {
    let wanted = std::env::var("VIGIE_ROW").unwrap_or_default();
    rows().into_iter().filter(|row| row.name.contains(&wanted)).collect()
}
