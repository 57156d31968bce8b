//! The agent under measurement: started, awaited, questioned and stopped for each watched run.

use std::fs;
use std::net::SocketAddr;
use std::process::Command;

use anyhow::{Context as _, Result};

use super::process::{self, Memory};
use super::ready::Running;
use super::{Bench, http};

/// Programs that the agent shall not watch, as globs over the path of the executable.
#[derive(Clone, Copy, Debug)]
pub(super) struct Unwatched<'g>(pub(super) &'g [&'g str]);

impl Unwatched<'_> {
    /// The agent's configuration that says so.
    fn configuration(self) -> String {
        if self.0.is_empty() {
            return "{}\n".to_owned();
        }
        let mut text = "watch:\n  exclude:\n".to_owned();
        for glob in self.0 {
            text += "    - executable: \"";
            text += glob;
            text += "\"\n";
        }
        text
    }
}

/// A running agent; ends when dropped.
pub(super) struct Agent {
    running: Running,
    prometheus: SocketAddr,
}

impl Agent {
    /// Starts one and waits until it has attached its probes. With `otlp`, spans go to that
    /// address.
    pub(super) fn start(
        bench: &Bench,
        unwatched: Unwatched<'_>,
        otlp: Option<SocketAddr>,
    ) -> Result<Self> {
        let configuration = bench.folder.join("vigie.yaml");
        fs::write(&configuration, unwatched.configuration())
            .with_context(|| format!("writing {}", configuration.display()))?;
        let prometheus = http::free_address()?;
        let mut command = Command::new(&bench.agent);
        // What it costs is measured here, not limited.
        command.env("VIGIE_LIMITS_CPU", "100%");
        command.arg("run").arg("-c").arg(&configuration);
        command.arg("--prometheus").arg(prometheus.to_string());
        if let Some(address) = otlp {
            command.arg("--otlp-endpoint").arg(format!("http://{address}"));
            command.env("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf");
        } else {
            command.env_remove("OTEL_EXPORTER_OTLP_ENDPOINT");
        }
        let log = bench.folder.join("vigie.log");
        Ok(Self { running: Running::start("the agent", &mut command, &log)?, prometheus })
    }

    /// Its processor time so far, in seconds.
    pub(super) fn cpu_seconds(&self) -> Result<f64> {
        process::cpu_seconds(self.running.id())
    }

    /// Its memory.
    pub(super) fn memory(&self) -> Result<Memory> {
        Memory::of(self.running.id())
    }

    /// Its metrics in Prometheus' text format.
    pub(super) fn scrape(&self) -> Result<String> {
        http::get(self.prometheus, "/metrics").context("scraping the agent")
    }

    /// Ends it in an orderly way.
    pub(super) fn stop(self) -> Result<()> {
        self.running.stop()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn configuration_names_each_program() {
        assert_eq!(Unwatched(&[]).configuration(), "{}\n");
        assert_eq!(
            Unwatched(&["*/wrk", "*/xtask"]).configuration(),
            "watch:\n  exclude:\n    - executable: \"*/wrk\"\n    - executable: \"*/xtask\"\n"
        );
    }
}
