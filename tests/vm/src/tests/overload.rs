//! More than the agent can take: what is lost is counted.

use anyhow::{Result, ensure};
use rustix::process::Signal;

use super::{Case, Verdict, counted_in_all, number};
use crate::agent::Agent;
use crate::client::{self, To};
use crate::server::{self, Server};

/// The agent is stopped while the load overflows its rings, then goes on.
pub(super) fn stopped_reader(case: &Case) -> Result<Verdict> {
    const CONNECTIONS: u32 = 20;
    const EACH: u32 = 100;
    const PLAIN: To = To::Port(server::PLAIN);
    let _server = Server::start()?;
    let options = case.options().with("VIGIE_CAPTURE_RING_BYTES", "64KiB");
    let agent = Agent::profile(&options)?;
    agent.signal(Signal::STOP)?;
    let sent = client::kept(PLAIN, "/load", CONNECTIONS, EACH)
        .and_then(|()| client::fresh(PLAIN, "/load", CONNECTIONS));
    agent.signal(Signal::CONT)?;
    sent?;
    let sent = u64::from(CONNECTIONS * EACH + CONNECTIONS);
    let report = agent.report()?;
    let loss = &report["loss"];
    println!("loss: {loss}");
    ensure!(number(loss, "records_dropped") > 0, "nothing dropped, so nothing shown");
    let completeness = loss["completeness"].as_f64().unwrap_or(1.0);
    ensure!(completeness < 1.0, "completeness {completeness} although records were dropped");
    for kind in ["server", "client"] {
        let counted = counted_in_all(&report, kind);
        ensure!(counted == sent, "{counted} instead of {sent} {kind} requests counted");
    }
    Ok(Verdict::Passed)
}
