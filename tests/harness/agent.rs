//! `vigie run` as a child: started until ready, its spans and metrics read, stopped in good order.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Command;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use tempfile::TempDir;

use crate::http;
use crate::needs;
use crate::process::{Ended, LIMIT, Process, service};
use crate::prometheus::Samples;
use crate::span::Span;
use crate::tally::Tally;

/// Stopping flushes for at most 10 s.
const STOP_LIMIT: Duration = Duration::from_secs(15);

/// One agent at a time: two would watch each other, and share two cores.
static ALONE: Mutex<()> = Mutex::new(());

/// How to start it.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Content of its configuration file.
    pub config: Option<String>,
    /// Further arguments.
    pub arguments: Vec<String>,
    /// Environment.
    pub environment: Vec<(String, String)>,
    /// The configuration has a budget of CPU time: it is not to be that of all tests.
    pub own_budget: bool,
    /// Print no spans: the figures are enough.
    pub without_spans: bool,
}

impl Options {
    /// Of an agent that watches this program of tests, what it starts under a name of [`service`], and
    /// nothing else: other programs may keep the machine busy. The rings are large, as a debug build is
    /// slow. `more` is what else the configuration says.
    pub fn ours(more: &str) -> Self {
        Self::ours_and("", more)
    }

    /// As [`Self::ours`], and what `rule` matches: some programs write their title over their environment.
    pub fn ours_and(rule: &str, more: &str) -> Self {
        let (named, own) = (service("*"), std::process::id());
        let config = format!(
            "capture: {{ring_bytes: 32MiB}}\n\
             watch: {{include: [{{service: \"{named}\"}}, {{pid: {own}}}, {rule}]}}\n{more}"
        );
        Self { config: Some(config), ..Self::default() }
    }
}

/// A running agent.
pub struct Agent {
    process: Process,
    address: SocketAddr,
    folder: TempDir,
    _alone: MutexGuard<'static, ()>,
}

/// What is left of an agent that was stopped.
pub struct Stopped {
    /// All spans that it printed.
    pub spans: Vec<Span>,
    /// Standard error.
    pub errors: Vec<String>,
    /// Standard output, as it came.
    pub output: Vec<String>,
    /// The folder of its state and configuration, as it left it.
    pub folder: TempDir,
}

/// Its budget of CPU time.
const CPU_BUDGET: &str = "VIGIE_LIMITS_CPU";

/// Path of the agent under test.
pub fn binary() -> Result<PathBuf> {
    needs::agent()?.context("no vigie")
}

/// A command that runs it, without the variables of these tests, which it would take for its own.
pub fn command() -> Result<Command> {
    let mut command = clean(Command::new(binary()?));
    // A debug build on a busy machine costs more than a user would allow.
    command.env(CPU_BUDGET, "100%");
    Ok(command)
}

/// A command without the variables of these tests.
pub fn clean(mut command: Command) -> Command {
    for variable in ["VIGIE_BIN", "VIGIE_SETUP", "VIGIE_ROW", "VIGIE_SKIPPED"] {
        command.env_remove(variable);
    }
    command
}

impl Agent {
    /// Starts it with spans printed and waits until it is ready.
    pub fn start(options: &Options) -> Result<Self> {
        let mut agent = Self::spawn(options)?;
        agent.wait_ready()?;
        Ok(agent)
    }

    /// Starts it and does not wait.
    pub fn spawn(options: &Options) -> Result<Self> {
        let alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
        let folder = tempfile::tempdir()?;
        let address = http::free_address()?;
        let mut command = command()?;
        command
            .args(["run", "--print", if options.without_spans { "none" } else { "spans" }])
            .args(["--prometheus", &address.to_string(), "--state"])
            .arg(folder.path().join("state"))
            .args(&options.arguments)
            .env_remove("OTEL_EXPORTER_OTLP_ENDPOINT")
            .envs(options.environment.iter().map(|(name, value)| (name, value)));
        if options.own_budget {
            // The variable would go before the file.
            command.env_remove(CPU_BUDGET);
        }
        if let Some(config) = &options.config {
            let file = folder.path().join("vigie.yaml");
            std::fs::write(&file, config)?;
            command.arg("--config").arg(file);
        }
        let process = Process::start(&mut command)?;
        Ok(Self { process, address, folder, _alone: alone })
    }

    /// Waits for the line that begins with `ready` on standard error.
    pub fn wait_ready(&mut self) -> Result<()> {
        let end = Instant::now() + LIMIT;
        let step = Duration::from_millis(100);
        let is_ready =
            |lines: &[String]| lines.iter().any(|line| line.starts_with("ready")).then_some(());
        while self.process.errors.wait(0, step, is_ready).is_none() {
            if !self.process.is_running()? {
                bail!("vigie ended before it was ready{}", self.process.said());
            }
            ensure!(Instant::now() < end, "vigie not ready in {LIMIT:?}{}", self.process.said());
        }
        Ok(())
    }

    /// Process id.
    pub fn pid(&self) -> u32 {
        self.process.pid()
    }

    /// Where it serves metrics.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The folder of its state and configuration.
    pub fn folder(&self) -> PathBuf {
        self.folder.path().to_owned()
    }

    /// Whether it is still there.
    pub fn is_running(&mut self) -> Result<bool> {
        self.process.is_running()
    }

    /// Gives it another configuration file, if it was started with one, and waits until it says
    /// `word` of that on standard error.
    pub fn reload(&self, config: &str, word: &str) -> Result<()> {
        std::fs::write(self.folder.path().join("vigie.yaml"), config)?;
        let before = self.process.errors.all().len();
        self.process.hang_up()?;
        let says = |lines: &[String]| {
            lines.iter().skip(before).any(|line| line.contains(word)).then_some(())
        };
        self.process
            .errors
            .wait(0, LIMIT, says)
            .with_context(|| format!("no `{word}` after SIGHUP{}", self.process.said()))
    }

    /// Stops its reader for as long as `VIGIE_DEBUG_STOP_READER` in its environment says.
    pub fn stop_reader(&self) -> Result<()> {
        self.process.user_signal()
    }

    /// Waits until the metrics have these calls of a side (`client`, `server`) and, where one is named, of
    /// this service, and compares. Only names that are `expected` count. Nothing is lost meanwhile, and no
    /// duration in doubt.
    pub fn has_database_calls(
        &self,
        side: &str,
        service: Option<&str>,
        expected: &Tally,
    ) -> Result<()> {
        let seen = |samples: &Samples| samples.database_calls(side, service, expected);
        let end = Instant::now() + LIMIT;
        while seen(&self.metrics()?).total() < expected.total() && Instant::now() < end {
            thread::sleep(Duration::from_millis(100));
        }
        // More than there should be comes right behind.
        thread::sleep(Duration::from_millis(300));
        let samples = self.metrics()?;
        let reasons = || format!("with losses {:?}", samples.reasons());
        let who = format!("the {side} {}", service.unwrap_or_default());
        expected.compare(&who, &seen(&samples)).with_context(reasons)?;
        let untrusted = samples.sum("vigie_durations_untrusted_total", &[]);
        let completeness = samples.sum("vigie_completeness_ratio", &[]);
        ensure!(untrusted < 1.0, "{untrusted} durations in doubt, {}", reasons());
        ensure!(completeness >= 1.0, "completeness {completeness}, {}", reasons());
        Ok(())
    }

    /// What the metrics endpoint says now.
    pub fn metrics(&self) -> Result<Samples> {
        let (status, body) = http::get(self.address, "/metrics").context("GET /metrics")?;
        ensure!(status == 200, "/metrics answered {status}");
        Samples::parse(&body)
    }

    /// What it answers at a path of that address.
    pub fn page(&self, path: &str) -> Result<String> {
        Ok(http::get(self.address, path).with_context(|| format!("GET {path}"))?.1)
    }

    /// Spans printed so far.
    pub fn spans(&self) -> Result<Vec<Span>> {
        parse(&self.process.output.all())
    }

    /// Waits until `count` spans have come that `wanted` wants, or until the limit. What is
    /// missing then, the comparison tells better than this could.
    pub fn settle(&self, count: usize, wanted: impl Fn(&Span) -> bool) {
        let (mut read, mut found) = (0, 0);
        self.process.output.wait(0, LIMIT, |lines| {
            for line in lines.get(read..).unwrap_or_default() {
                read += 1;
                found += usize::from(serde_json::from_str(line).is_ok_and(|span| wanted(&span)));
            }
            (found >= count).then_some(())
        });
    }

    /// As [`Self::stop`]; what was lost is told where the test fails. It asks by HTTP, which is seen where
    /// the agent watches this program.
    #[expect(clippy::print_stdout, reason = "shown by the runner where the test fails")]
    pub fn finish(self) -> Result<Stopped> {
        let lost = self.metrics().map(|samples| samples.reasons()).unwrap_or_default();
        if !lost.is_empty() {
            println!("vigie's own counters: {lost:?}");
        }
        self.stop()
    }

    /// SIGTERM; it must flush and exit with 0.
    pub fn stop(self) -> Result<Stopped> {
        let Self { process, folder, .. } = self;
        let Ended { status, output, errors } = process.terminate(STOP_LIMIT)?;
        ensure!(
            status.code() == Some(0),
            "vigie ended with {status} after SIGTERM:\n{}",
            errors.join("\n")
        );
        Ok(Stopped { spans: parse(&output)?, errors, output, folder })
    }
}

fn parse(lines: &[String]) -> Result<Vec<Span>> {
    lines
        .iter()
        .map(|line| serde_json::from_str(line).with_context(|| format!("no span line: {line}")))
        .collect()
}
