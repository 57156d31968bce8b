//! What the running agent says of its SLOs.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use bytes::Bytes;
use clap::Args;

use super::super::{Common, Failure};
use crate::config::{Listen, Overrides};
use crate::control;
use crate::control::client::{self, AskError};
use crate::slo::status::{SloStatus, Status};

/// Where the agent is.
#[derive(Debug, Args)]
pub(super) struct Where {
    /// State folder of the agent, where its control socket is
    #[arg(long, value_name = "DIR")]
    state: Option<PathBuf>,
    /// Prometheus address of the agent, which is asked where there is no socket
    #[arg(long, value_name = "ADDR|off")]
    prometheus: Option<String>,
}

/// Asks it for what SLOs have come to.
pub(super) fn status(common: &Common, at: &Where) -> Result<Status, Failure> {
    let answer = answer(common, at, control::SLO, |_| None)?;
    serde_json::from_slice(&answer).map_err(|error| {
        Failure::failed(
            format!("vigie's answer cannot be read: {error}"),
            "use the command of the same version as the agent",
        )
    })
}

/// Asks it for a path. `todo` says what to do where it refuses, by what it says.
pub(super) fn answer(
    common: &Common,
    at: &Where,
    path: &str,
    todo: impl FnOnce(&str) -> Option<&'static str>,
) -> Result<Bytes, Failure> {
    let flags = Overrides {
        state_dir: at.state.as_deref().map(super::super::absolute),
        prometheus: at.prometheus.clone(),
        ..Overrides::default()
    };
    let config = super::super::load(common, flags)?;
    let address = match config.prometheus.address {
        Listen::At(address) => Some(reachable(address)),
        Listen::Off => None,
    };
    client::ask(&config.state_dir, address, path).map_err(|error| {
        let refused = match &error {
            AskError::Refused(why) => todo(why),
            _ => None,
        };
        Failure::failed(
            error,
            refused.unwrap_or(
                "start `vigie run --slo FILE`, or name its folder with --state DIR; its user is needed",
            ),
        )
    })
}

/// An address that is listened at, as one that can be connected to.
fn reachable(mut address: SocketAddr) -> SocketAddr {
    if address.ip().is_unspecified() {
        address.set_ip(IpAddr::V4(Ipv4Addr::LOCALHOST));
    }
    address
}

/// The SLO of this name.
pub(super) fn find<'a>(status: &'a Status, name: &str) -> Result<&'a SloStatus, Failure> {
    status.slos.iter().find(|slo| slo.name == name).ok_or_else(|| {
        let names: Vec<&str> = status.slos.iter().map(|slo| slo.name.as_str()).collect();
        let todo = if names.is_empty() {
            "start the agent with --slo FILE".to_owned()
        } else {
            format!("there are: {}", names.join(", "))
        };
        Failure::failed(format!("the agent has no SLO {name}"), todo)
    })
}
