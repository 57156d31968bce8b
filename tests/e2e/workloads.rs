//! The workloads by themselves: every row of the accuracy table without vigie. What is red here
//! is a fault of the tests.

use anyhow::Result;
use vigie_tests::compare::report;
use vigie_tests::needs::{Need, missing};
use vigie_tests::rows::{rows, run};
use vigie_tests::site::Site;

#[test]
fn workloads_do_what_they_promise() -> Result<()> {
    let needs = ["nginx", "python3", "node", "gcc", "curl", "wrk", "ab"].map(Need::Program);
    if missing("workloads", &needs)? {
        return Ok(());
    }
    let site = Site::start()?;
    let problems: Vec<String> = rows()
        .iter()
        .filter_map(|row| run(row, &site).err())
        .map(|error| format!("{error:#}"))
        .collect();
    report(&problems)
}
