//! The control socket: what the commands ask a running agent, over HTTP on a unix socket in its state
//! folder that only its user may open.

pub mod client;
pub mod server;

use std::path::{Path, PathBuf};

/// Name of the socket in the state folder.
const SOCKET: &str = "vigie.sock";

/// Path of the state of SLOs, [`crate::slo::status::Status`] as JSON.
pub const SLO: &str = "/slo";

/// Path of what `vigie slo suggest` prints.
pub const SUGGEST: &str = "/slo/suggest";

/// Where the socket of an agent with this state folder is.
pub fn path(state_dir: &Path) -> PathBuf {
    state_dir.join(SOCKET)
}
