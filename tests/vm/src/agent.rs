//! The agent under test as a child: started until ready, interrupted for its report, or killed.

use std::fs::{self, File};
use std::io::Read as _;
use std::io::Write as _;
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use rustix::process::{Pid, Signal};
use serde_json::Value;

use crate::process;

/// Where it is in the initramfs.
pub(crate) const BINARY: &str = "/bin/vigie";
/// Where `vigie run` serves its metrics.
const METRICS: &str = "127.0.0.1:9464";
/// Software emulation is slow, and the verifier is a lot of work: on 5.10 fentry takes 20 s where the
/// host has nothing else to do.
const READY_LIMIT: Duration = Duration::from_mins(2);
const STOP_LIMIT: Duration = Duration::from_mins(1);

const PROFILE: [&str; 4] = ["profile", "--json", "--duration", "1h"];

static STARTED: AtomicU32 = AtomicU32::new(0);

/// How to start it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Options {
    /// Environment.
    pub(crate) environment: Vec<(String, String)>,
    /// A command that the agent's own is appended to, such as one that changes the user.
    pub(crate) through: Vec<String>,
}

impl Options {
    /// On a backend; an empty name is the agent's own choice.
    pub(crate) fn on(backend: &str) -> Self {
        // Emulation is slow: at the default budget the agent would give things up.
        let mut options = Self::default().with("VIGIE_LIMITS_CPU", "100%");
        if !backend.is_empty() {
            options = options.with("VIGIE_CAPTURE_BACKEND", backend);
        }
        options
    }

    /// With a further variable.
    pub(crate) fn with(mut self, name: &str, value: &str) -> Self {
        self.environment.push((name.to_owned(), value.to_owned()));
        self
    }

    /// A command of the agent.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut words = self.through.iter().map(String::as_str).chain([BINARY]);
        let mut command = Command::new(words.next().unwrap_or(BINARY));
        command.args(words).args(arguments).stdin(Stdio::null());
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        command
    }
}

/// A running agent; killed when dropped.
pub(crate) struct Agent {
    child: Child,
    files: String,
}

impl Agent {
    /// Starts `vigie profile`, which reports when it is interrupted, and waits until it is ready.
    pub(crate) fn profile(options: &Options) -> Result<Self> {
        let mut agent = Self::spawn(options, &PROFILE, files())?;
        agent.wait_ready()?;
        Ok(agent)
    }

    /// The same, with every span written to a file.
    pub(crate) fn profile_with_spans(options: &Options) -> Result<Self> {
        let files = files();
        let spans = format!("{files}.spans");
        let mut agent =
            Self::spawn(options, &[&PROFILE[..], &["--spans", &spans]].concat(), files)?;
        agent.wait_ready()?;
        Ok(agent)
    }

    /// Starts `vigie run`, and waits until it is ready.
    pub(crate) fn run(options: &Options) -> Result<Self> {
        let mut agent = Self::spawn_run(options)?;
        agent.wait_ready()?;
        Ok(agent)
    }

    /// Starts `vigie run` and does not wait.
    pub(crate) fn spawn_run(options: &Options) -> Result<Self> {
        let arguments = ["run", "--prometheus", METRICS, "--state", "/tmp/state"];
        Self::spawn(options, &arguments, files())
    }

    fn spawn(options: &Options, arguments: &[&str], files: String) -> Result<Self> {
        let output = File::create(format!("{files}.out")).context("creating a file")?;
        let errors = File::create(format!("{files}.err")).context("creating a file")?;
        let child = options.command(arguments).stdout(output).stderr(errors).spawn();
        Ok(Self { child: child.context("cannot start vigie")?, files })
    }

    /// Waits for the line that begins with `ready`.
    pub(crate) fn wait_ready(&mut self) -> Result<()> {
        process::wait_for("vigie is ready", READY_LIMIT, || {
            if self.errors().lines().any(|line| line.starts_with("ready")) {
                return Ok(Some(()));
            }
            if let Some(status) = self.child.try_wait().context("waiting for vigie")? {
                bail!("vigie ended with {status} before it was ready: {}", self.errors().trim());
            }
            Ok(None)
        })
        .with_context(|| self.errors())
    }

    /// What it said on standard error.
    pub(crate) fn errors(&self) -> String {
        fs::read_to_string(format!("{}.err", self.files)).unwrap_or_default()
    }

    /// Process id.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Sends a signal.
    pub(crate) fn signal(&self, signal: Signal) -> Result<()> {
        rustix::process::kill_process(Pid::from_child(&self.child), signal).context("kill")
    }

    /// Interrupts it and waits for its end.
    pub(crate) fn stop(&mut self) -> Result<ExitStatus> {
        self.signal(Signal::INT)?;
        process::wait_for("vigie ends", STOP_LIMIT, || {
            self.child.try_wait().context("waiting for vigie")
        })
    }

    /// Interrupts `vigie profile` and reads its report.
    pub(crate) fn report(mut self) -> Result<Value> {
        self.end()
    }

    /// The same, and its spans.
    pub(crate) fn report_with_spans(mut self) -> Result<(Value, Vec<Value>)> {
        let report = self.end()?;
        let path = format!("{}.spans", self.files);
        let spans = fs::read_to_string(&path).with_context(|| format!("reading {path}"))?;
        let spans = spans.lines().map(serde_json::from_str).collect::<Result<_, _>>();
        Ok((report, spans.context("a span is no JSON")?))
    }

    fn end(&mut self) -> Result<Value> {
        let status = self.stop()?;
        ensure!(status.success(), "vigie ended with {status}: {}", self.errors().trim());
        let path = format!("{}.out", self.files);
        let report = fs::read_to_string(&path).with_context(|| format!("reading {path}"))?;
        serde_json::from_str(&report).context("the report is no JSON")
    }
}

/// User id of tests without root.
pub(crate) const NOBODY: u32 = 65_534;

impl Drop for Agent {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn files() -> String {
    format!("/tmp/agent-{}-{}", std::process::id(), STARTED.fetch_add(1, Ordering::Relaxed))
}

/// `vigie check --json`: exit code, findings if there are any, standard error.
pub(crate) fn check(options: &Options) -> Result<(Option<i32>, Value, String)> {
    let output = options.command(&["check", "--json"]).output().context("cannot start vigie")?;
    let findings = serde_json::from_slice(&output.stdout).unwrap_or(Value::Null);
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    Ok((output.status.code(), findings, errors))
}

/// The agent's metrics in Prometheus' text format.
pub(crate) fn scrape() -> Result<String> {
    let address: SocketAddr = METRICS.parse().context("an address")?;
    let mut stream = TcpStream::connect(address).context("connecting to vigie")?;
    stream
        .write_all(b"GET /metrics HTTP/1.1\r\nHost: vigie\r\nConnection: close\r\n\r\n")
        .context("asking vigie for metrics")?;
    let mut text = String::new();
    stream.read_to_string(&mut text).context("reading metrics")?;
    Ok(text)
}
