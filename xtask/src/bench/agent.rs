//! The agent under measurement: started, awaited, questioned and stopped for each watched run.

use std::fs::{self, File};
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStderr, Command, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};

use super::process::{self, Memory};
use super::{Bench, http};
use crate::advice::Advice;

const START_LIMIT: Duration = Duration::from_secs(30);
/// The agent itself flushes for at most 10 s.
const STOP_LIMIT: Duration = Duration::from_secs(15);
/// After `ready`: what a start leaves to do must not fall into the measured time.
const SETTLE: Duration = Duration::from_millis(500);

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
    child: Child,
    prometheus: SocketAddr,
    stopped: bool,
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
        let log = bench.folder.join("vigie.log");
        let prometheus = http::free_address()?;
        let mut command = Command::new(&bench.agent);
        command.arg("run").arg("-c").arg(&configuration);
        command.arg("--prometheus").arg(prometheus.to_string());
        if let Some(address) = otlp {
            command.arg("--otlp-endpoint").arg(format!("http://{address}"));
            command.env("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf");
        } else {
            command.env_remove("OTEL_EXPORTER_OTLP_ENDPOINT");
        }
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .with_context(|| format!("cannot start {}", bench.agent.display()))?;
        let messages = child.stderr.take().context("the agent has no standard error")?;
        let agent = Self { child, prometheus, stopped: false };
        await_ready(messages, &log)?;
        thread::sleep(SETTLE);
        Ok(agent)
    }

    /// Its processor time so far, in seconds.
    pub(super) fn cpu_seconds(&self) -> Result<f64> {
        process::cpu_seconds(self.child.id())
    }

    /// Its memory.
    pub(super) fn memory(&self) -> Result<Memory> {
        Memory::of(self.child.id())
    }

    /// Its metrics in Prometheus' text format.
    pub(super) fn scrape(&self) -> Result<String> {
        http::get(self.prometheus, "/metrics").context("scraping the agent")
    }

    /// Ends it in an orderly way.
    pub(super) fn stop(mut self) -> Result<()> {
        self.stopped = true;
        process::stop(&mut self.child, STOP_LIMIT).context("stopping the agent")
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        if !self.stopped
            && let Err(error) = process::stop(&mut self.child, STOP_LIMIT)
        {
            eprintln!("bench: agent: {error:#}");
        }
    }
}

/// Copies the agent's messages to a file, and returns once one of them says `ready`.
fn await_ready(messages: ChildStderr, log: &Path) -> Result<()> {
    let mut file = File::create(log).with_context(|| format!("creating {}", log.display()))?;
    let (ready, heard) = mpsc::channel();
    thread::spawn(move || {
        for line in BufReader::new(messages).lines().map_while(Result::ok) {
            // A log that cannot be written must not stop the agent's own writes.
            writeln!(file, "{line}").ok();
            if says_ready(&line) {
                ready.send(()).ok();
            }
        }
    });
    let advice = |what: &str| Advice::error(what, format!("see {}", PathBuf::from(log).display()));
    match heard.recv_timeout(START_LIMIT) {
        Ok(()) => Ok(()),
        Err(RecvTimeoutError::Timeout) => Err(advice("the agent does not say `ready`")),
        Err(RecvTimeoutError::Disconnected) => {
            let said = fs::read_to_string(log).unwrap_or_default();
            match said.lines().last() {
                Some(last) => bail!("the agent ended before it was ready: {last}"),
                None => Err(advice("the agent ended before it was ready")),
            }
        }
    }
}

fn says_ready(line: &str) -> bool {
    let word = line.split_whitespace().next().unwrap_or_default();
    word.trim_end_matches([':', ',']) == "ready"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ready_is_the_first_word() {
        assert!(says_ready("ready: prometheus 127.0.0.1:9464"));
        assert!(says_ready("ready"));
        assert!(!says_ready("not ready"));
        assert!(!says_ready("already running"));
    }

    #[test]
    fn configuration_names_each_program() {
        assert_eq!(Unwatched(&[]).configuration(), "{}\n");
        assert_eq!(
            Unwatched(&["*/wrk", "*/xtask"]).configuration(),
            "watch:\n  exclude:\n    - executable: \"*/wrk\"\n    - executable: \"*/xtask\"\n"
        );
    }
}
