//! The small programs in `tests/workloads`, other people's clients, and the exchanges they log.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, Result, anyhow, ensure};
use serde::Deserialize;

use crate::needs;
use crate::process::{LIMIT, Process, run, service, until};

/// One request with its response, as the program that made or answered it logged it.
#[derive(Clone, Debug, Deserialize)]
pub struct Exchange {
    /// Process.
    pub pid: u32,
    /// Method as sent.
    pub method: String,
    /// Path without query; empty for CONNECT.
    pub path: String,
    /// Status of the final response, if any of it went over.
    pub status: Option<u16>,
    /// Whether request and response went over whole.
    pub whole: bool,
    /// Before it, in nanoseconds of Unix time.
    pub start: Option<u64>,
    /// After it.
    pub end: Option<u64>,
    /// Port of this end.
    pub local_port: Option<u16>,
    /// Port of the other end.
    pub peer_port: Option<u16>,
}

/// Reads the exchanges in a log and leaves its other lines alone.
pub fn exchanges(lines: &[String]) -> Result<Vec<Exchange>> {
    lines
        .iter()
        .filter(|line| line.contains("\"side\""))
        .map(|line| serde_json::from_str(line).with_context(|| format!("no exchange: {line}")))
        .collect()
}

/// Nanoseconds of Unix time.
pub fn now() -> Result<u64> {
    Ok(u64::try_from(SystemTime::now().duration_since(UNIX_EPOCH)?.as_nanos())?)
}

/// A server of `tests/workloads`.
pub struct Server {
    process: Process,
    target: String,
    /// The processes that answer.
    pub pids: Vec<u32>,
    /// Its `OTEL_SERVICE_NAME`.
    pub service: String,
}

#[derive(Deserialize)]
struct Ready {
    ready: u16,
    #[serde(default)]
    workers: Vec<u32>,
}

impl Server {
    /// Starts it and waits until it says that it is ready. With a port of 0 it listens on a unix
    /// socket, whose path is the last argument.
    pub fn start(service: &str, command: &mut Command) -> Result<Self> {
        let mut process = Process::start(command.env("OTEL_SERVICE_NAME", service))?;
        let Ready { ready, workers } = process.wait_output("ready line", |lines| {
            lines.iter().find_map(|line| serde_json::from_str(line).ok())
        })?;
        let arguments: Vec<String> =
            command.get_args().map(|argument| argument.to_string_lossy().into_owned()).collect();
        let last = arguments.last().cloned().unwrap_or_default();
        let target = match ready {
            0 => format!("unix:{last}"),
            port if last == "::" => format!("[::1]:{port}"),
            port => format!("127.0.0.1:{port}"),
        };
        let pids = if workers.is_empty() { vec![process.pid()] } else { workers };
        Ok(Self { process, target, pids, service: service.to_owned() })
    }

    /// Python: one of the scripts.
    pub fn python(service: &str, script: &str, arguments: &[&str]) -> Result<Self> {
        Self::start(service, python(script)?.args(arguments))
    }

    /// Node.
    pub fn node(service: &str) -> Result<Self> {
        Self::start(service, Command::new("node").arg(script("node_server.js")))
    }

    /// The C program, with the calls that it is to use.
    pub fn wire(service: &str, send: &str, receive: &str) -> Result<Self> {
        Self::start(service, Command::new(wire()?).args(["serve", send, receive]))
    }

    /// `HOST:PORT` or `unix:PATH`.
    pub fn target(&self) -> &str {
        &self.target
    }

    /// TCP port, 0 for a unix socket.
    pub fn port(&self) -> u16 {
        self.target.rsplit(':').next().and_then(|port| port.parse().ok()).unwrap_or_default()
    }

    /// Exchanges logged so far.
    pub fn exchanges(&self) -> Result<Vec<Exchange>> {
        exchanges(&self.process.output.all())
    }

    /// Whether it still runs.
    pub fn is_running(&mut self) -> Result<bool> {
        self.process.is_running()
    }

    /// What it said last.
    pub fn said(&self) -> String {
        self.process.said()
    }
}

/// Waits until `log` holds `count` exchanges: a server logs after the client has its answer.
pub fn wait_for(
    count: usize,
    mut log: impl FnMut() -> Result<Vec<Exchange>>,
) -> Result<Vec<Exchange>> {
    let mut found = Vec::new();
    until(&format!("{count} exchanges in a server's log"), LIMIT, || {
        found = log()?;
        Ok(found.len() >= count)
    })
    .with_context(|| format!("{} so far", found.len()))?;
    Ok(found)
}

/// Path of a workload.
pub fn script(name: &str) -> PathBuf {
    needs::workspace().join("tests/workloads").join(name)
}

/// A Python script of the workloads. The interpreter itself, not a wrapper around it that would
/// start other programs first.
pub fn python(name: &str) -> Result<Command> {
    static INTERPRETER: OnceLock<Option<PathBuf>> = OnceLock::new();
    let interpreter = INTERPRETER.get_or_init(|| {
        let ask =
            Command::new("python3").args(["-c", "import sys; print(sys.executable)"]).output();
        let answer = String::from_utf8(ask.ok()?.stdout).ok()?;
        Some(PathBuf::from(answer.trim())).filter(|path| path.is_file())
    });
    let interpreter = interpreter.as_ref().context("python3 does not tell where it is")?;
    let mut command = Command::new(interpreter);
    command.arg(script(name)).env("PYTHONDONTWRITEBYTECODE", "1");
    Ok(command)
}

/// A Python script of the workloads that needs packages of Python. It is a [`service`] `client`.
pub fn grpc(name: &str) -> Result<Command> {
    let mut command = Command::new(needs::grpcio().context("no grpcio")?);
    command
        .arg(script(name))
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .env("OTEL_SERVICE_NAME", service("client"));
    Ok(command)
}

/// The C program, compiled once in each test run.
pub fn wire() -> Result<PathBuf> {
    static BUILT: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    let compile = |fresh: &Path| {
        let mut gcc = Command::new("gcc");
        gcc.args(["-O1", "-Wall", "-o"]).arg(fresh).arg(script("wire.c"));
        gcc
    };
    once(&BUILT, "wire", compile)
}

/// `go_grpc.go`, compiled as [`wire`] is.
pub fn go_grpc() -> Result<PathBuf> {
    static BUILT: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    once(&BUILT, "go_grpc", |fresh| go(fresh, "go_grpc.go"))
}

/// `go_http2.go`, compiled as [`wire`] is.
pub fn go_http2() -> Result<PathBuf> {
    static BUILT: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    once(&BUILT, "go_http2", |fresh| go(fresh, "go_http2.go"))
}

/// The libraries are Debian's, as sources, so nothing is fetched. What they compile to is kept by the
/// set-up: a few seconds the first time.
fn go(fresh: &Path, source: &str) -> Command {
    let mut go = Command::new("go");
    go.args(["build", "-o"]).arg(fresh).arg(script(source));
    go.env("GO111MODULE", "off").env("GOPATH", needs::GO_LIBRARIES);
    go.env("GOCACHE", needs::setup().join("go-cache")).env("GOFLAGS", "");
    go
}

fn once(
    built: &OnceLock<Result<PathBuf, String>>,
    name: &str,
    compile: impl FnOnce(&Path) -> Command,
) -> Result<PathBuf> {
    built
        .get_or_init(|| build(name, compile).map_err(|error| format!("{error:#}")))
        .clone()
        .map_err(|error| anyhow!(error))
}

fn build(name: &str, compile: impl FnOnce(&Path) -> Command) -> Result<PathBuf> {
    let folder = needs::workspace().join("target/workloads");
    fs::create_dir_all(&folder)?;
    // Another test may run the old one at this moment: it keeps its file.
    let fresh = folder.join(format!("{name}.{}", std::process::id()));
    run(&mut compile(&fresh))?;
    let path = folder.join(name);
    fs::rename(&fresh, &path)?;
    Ok(path)
}

/// Runs a client that logs its exchanges.
pub fn logging_client(command: &mut Command) -> Result<Vec<Exchange>> {
    exchanges(&run(command.env("OTEL_SERVICE_NAME", "client"))?.output)
}

/// The exchanges of a client that only reports how many there were, all to one path.
struct Uniform<'a> {
    pid: u32,
    path: &'a str,
    start: u64,
    count: usize,
}

impl Uniform<'_> {
    fn exchanges(&self) -> Result<Vec<Exchange>> {
        let one = Exchange {
            pid: self.pid,
            method: "GET".to_owned(),
            path: self.path.to_owned(),
            status: Some(200),
            whole: true,
            start: Some(self.start),
            end: Some(now()?),
            local_port: None,
            peer_port: None,
        };
        Ok(vec![one; self.count])
    }
}

/// curl, `count` requests in one process to `PATH/0`, `PATH/1`, …
pub fn curl(target: &str, path: &str, count: usize, options: &[&str]) -> Result<Vec<Exchange>> {
    let start = now()?;
    let url = format!("http://{target}{path}/[0-{}]", count.saturating_sub(1));
    let report = ["-sS", "-o", "/dev/null", "-w", "%{http_code} %{urlnum} %{method}\\n"];
    // With several URLs by one pattern, `urlnum` stays 0, but answers come in order.
    let process = Process::start(
        Command::new("curl")
            .args(report)
            .args(options)
            .arg(&url)
            .env("OTEL_SERVICE_NAME", "client"),
    )?;
    let pid = process.pid();
    let ended = process.wait(2 * LIMIT)?;
    ensure!(ended.status.success(), "curl: {}: {:?}", ended.status, ended.errors);
    let end = now()?;
    let exchange = |(number, line): (usize, &String)| {
        let mut fields = line.split(' ');
        let status = fields.next().and_then(|status| status.parse().ok()).filter(|code| *code > 0);
        Exchange {
            pid,
            method: fields.nth(1).unwrap_or_default().to_owned(),
            path: format!("{path}/{number}"),
            status,
            whole: status.is_some(),
            start: Some(start),
            end: Some(end),
            local_port: None,
            peer_port: None,
        }
    };
    Ok(ended.output.iter().enumerate().map(exchange).collect())
}

/// `ApacheBench`: HTTP/1.0, with keep-alive by option, `count` requests to one path.
pub fn ab(target: &str, path: &str, count: usize, options: &[&str]) -> Result<Vec<Exchange>> {
    let start = now()?;
    let url = format!("http://{target}{path}/0");
    let process = Process::start(
        Command::new("ab")
            .args(["-q", "-n", &count.to_string()])
            .args(options)
            .arg(url)
            .env("OTEL_SERVICE_NAME", "client"),
    )?;
    let pid = process.pid();
    let ended = process.wait(2 * LIMIT)?;
    let field = |name: &str| {
        let line = ended.output.iter().find_map(|line| line.strip_prefix(name));
        line.and_then(|rest| rest.trim().parse::<usize>().ok())
    };
    ensure!(
        field("Complete requests:") == Some(count) && field("Failed requests:") == Some(0),
        "ab: {:?} {:?}",
        ended.output,
        ended.errors
    );
    Uniform { pid, path: &format!("{path}/0"), start, count }.exchanges()
}

/// wrk always runs for so long, though its script stops it after a small part of it.
const WRK_DURATION: &str = "5s";

/// wrk with a script that stops it after `count` answers, over one connection: with more, some
/// requests would be under way at the end, of which wrk says nothing.
pub fn wrk(target: &str, path: &str, count: usize) -> Result<Vec<Exchange>> {
    let start = now()?;
    let process = Process::start(
        Command::new("wrk")
            .args(["-t", "1", "-c", "1", "-d", WRK_DURATION, "-s"])
            .arg(script("bounded.lua"))
            .args([&format!("http://{target}{path}/0"), "--", &count.to_string()])
            .env("OTEL_SERVICE_NAME", "client"),
    )?;
    let pid = process.pid();
    let ended = process.wait(3 * LIMIT)?;
    let said = format!("{count} requests in");
    ensure!(ended.output.iter().any(|line| line.contains(&said)), "wrk: {:?}", ended.output);
    Uniform { pid, path: &format!("{path}/0"), start, count }.exchanges()
}

/// A `client.py` that is connected and waits for the word to go on.
pub struct Waiting {
    process: Process,
    /// Requests that it made before it waited.
    pub before: usize,
}

impl Waiting {
    /// Starts it: `before` requests, then it waits with its connection open.
    pub fn start(target: &str, path: &str, before: usize, options: &[&str]) -> Result<Self> {
        let mut command = python("client.py")?;
        command
            .args(["--target", target, "--path", path, "--before", &before.to_string()])
            .args(options)
            .env("OTEL_SERVICE_NAME", "client");
        let mut process = Process::start(&mut command)?;
        process.wait_output("word that it waits", |lines| {
            lines.iter().any(|line| line.contains("\"waiting\"")).then_some(())
        })?;
        Ok(Self { process, before })
    }

    /// Tells it to go on.
    pub fn go(&mut self) -> Result<()> {
        self.process.tell("go")
    }

    /// Waits for its end; what it did after the word.
    pub fn finish(self) -> Result<Vec<Exchange>> {
        let ended = self.process.wait(2 * LIMIT)?;
        ensure!(ended.status.success(), "client.py: {}: {:?}", ended.status, ended.errors);
        Ok(exchanges(&ended.output)?.split_off(self.before))
    }
}
