//! What vigie keeps to: its budget, past which it gives up one thing after the other, says so, and
//! takes it up again; and its table of connections, where the longest idle make room.

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;
use vigie_tests::agent::{self, Agent, Options};
use vigie_tests::http;
use vigie_tests::needs::{Need, missing};
use vigie_tests::process::{LIMIT, Process};
use vigie_tests::prometheus::Samples;

/// More than an idle agent takes on a machine where others work, less than one under [`Load`].
/// At the last level it stays for longer than it takes to look for what was counted there.
const CPU: &str = "limits: {cpu: 8%, shed_after: 1s, return_after: 10s}\n";

/// Memory that incomplete heads are to take, in bytes; the budget allows half of it.
const HELD: f64 = 32.0 * 1024.0 * 1024.0;

/// Calls whose number is compared at the last level.
const CALLS: u32 = 100;

/// Places in the table of connections.
const PLACES: u32 = 64;

/// Three levels up or down, with time to spare for a machine that is busy.
const PATIENCE: Duration = Duration::from_secs(90);

/// Requests as fast as they go, over connections that are kept, within this process.
struct Load {
    stop: Arc<AtomicBool>,
    servers: Vec<thread::JoinHandle<()>>,
    /// Each tells how many of its calls were answered.
    clients: Vec<thread::JoinHandle<u32>>,
}

impl Load {
    fn start() -> Result<Self> {
        let stop = Arc::new(AtomicBool::new(false));
        let (mut servers, mut clients) = (Vec::new(), Vec::new());
        for _ in 0..4 {
            let listener = TcpListener::bind(("127.0.0.1", 0))?;
            let mut client = TcpStream::connect(listener.local_addr()?)?;
            let (mut server, _) = listener.accept()?;
            servers.push(thread::spawn(move || {
                let mut buffer = [0; 1024];
                // Ends when the client is gone.
                while server.read(&mut buffer).is_ok_and(|length| length > 0) {
                    if server.write_all(b"HTTP/1.1 204 No Content\r\n\r\n").is_err() {
                        return;
                    }
                }
            }));
            let stop = Arc::clone(&stop);
            clients.push(thread::spawn(move || {
                let mut buffer = [0; 1024];
                let mut answered = 0;
                while !stop.load(Ordering::Relaxed) {
                    let sent = client.write_all(b"GET /budget HTTP/1.1\r\nHost: localhost\r\n\r\n");
                    if sent.is_err() || client.read(&mut buffer).is_err() {
                        break;
                    }
                    answered += 1;
                }
                answered
            }));
        }
        Ok(Self { stop, servers, clients })
    }

    /// How many calls there were in all.
    fn stop(self) -> Result<u32> {
        self.stop.store(true, Ordering::Relaxed);
        let mut all = 0;
        for client in self.clients {
            all += client.join().ok().context("a client of the load panicked")?;
        }
        for server in self.servers {
            server.join().ok().context("a server of the load panicked")?;
        }
        Ok(all)
    }
}

/// Starts an agent that sees this process only, with its own `limits`.
fn agent(limits: &str) -> Result<Agent> {
    let config = format!("{limits}watch: {{include: [{{pid: {}}}]}}\n", std::process::id());
    Agent::start(&Options { config: Some(config), own_budget: true, ..Options::default() })
}

#[test]
fn over_budget_things_are_given_up_and_come_back() -> Result<()> {
    if missing("limits: budget", &[Need::Root, Need::Agent])? {
        return Ok(());
    }
    let agent = agent(CPU)?;
    ensure!(level(&agent.metrics()?) < 0.5, "something is given up before anything is to do");
    let load = Load::start()?;
    wait(|| Ok(level(&agent.metrics()?) > 2.5)).context("not everything was given up")?;
    let (_, health) = http::get(agent.address(), "/healthz")?;
    ensure!(health.starts_with("alive\nover budget, level"), "/healthz says {health:?}");
    let shed = calls_without_records(&agent)?;
    wait(|| lost(&agent, "shed").map(|lost| lost > 0.0)).context("no record was shed")?;
    ensure!(lost(&agent, "spans_shed")? > 0.0, "no span was shed");
    let completeness = agent.metrics()?.sum("vigie_completeness_ratio", &[]);
    ensure!(completeness < 1.0, "records were shed and completeness is {completeness}");
    let made = load.stop()?;
    wait(|| Ok(level(&agent.metrics()?) < 0.5)).context("what was given up did not come back")?;
    let (_, health) = http::get(agent.address(), "/healthz")?;
    ensure!(health == "alive\n", "/healthz says {health:?}");
    expect_in_all(&agent, shed + made)?;
    let before = agent.spans()?.len();
    let load = Load::start()?;
    let again = wait(|| Ok(agent.spans()?.len() > before));
    let more = load.stop()?;
    again.context("no span after all came back")?;
    expect_in_all(&agent, shed + made + more)?;
    let errors = agent.stop()?.errors;
    for word in ["over budget", "within budget again"] {
        ensure!(errors.iter().any(|line| line.contains(word)), "no `{word}` in {errors:#?}");
    }
    Ok(())
}

/// Memory is passed by heads that never end, and comes back when their connections do.
#[test]
fn over_memory_things_are_given_up_and_come_back() -> Result<()> {
    if missing("limits: memory", &[Need::Root, Need::Agent])? {
        return Ok(());
    }
    let resident = |agent: &Agent| Ok(agent.metrics()?.sum("vigie_memory_resident_bytes", &[]));
    let idle = {
        let agent = agent("")?;
        let idle: Result<f64> = resident(&agent);
        agent.stop()?;
        idle?
    };
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "bytes")]
    let budget = (idle + HELD / 2.0) as u64;
    let agent = agent(&format!(
        "limits: {{cpu: 100%, memory: {budget}B, shed_after: 3s, return_after: 3s, \
         parser_memory: 256MiB}}\n"
    ))?;
    ensure!(level(&agent.metrics()?) < 0.5, "something is given up before anything is to do");
    let listener = TcpListener::bind(("127.0.0.1", 0))?;
    let mut endless = Vec::new();
    wait(|| {
        if resident(&agent)? < idle + HELD {
            endless.push(Pair::endless(&listener)?);
        }
        Ok(level(&agent.metrics()?) > 0.5)
    })
    .context("the memory was passed, and nothing given up")?;
    wait(|| Ok(level(&agent.metrics()?) > 2.5)).context("not everything was given up")?;
    let (_, health) = http::get(agent.address(), "/healthz")?;
    ensure!(health.starts_with("alive\nover budget, level"), "/healthz says {health:?}");
    // As many again, of which nothing is kept.
    let before = resident(&agent)?;
    for _ in 0..endless.len() {
        endless.push(Pair::endless(&listener)?);
    }
    calls_without_records(&agent)?;
    let after = resident(&agent)?;
    ensure!(after < before + HELD / 4.0, "memory went on from {before} to {after}");
    drop(endless);
    wait(|| Ok(level(&agent.metrics()?) < 0.5)).context("what was given up did not come back")?;
    let (_, health) = http::get(agent.address(), "/healthz")?;
    ensure!(health == "alive\n", "/healthz says {health:?}");
    let errors = agent.stop()?.errors;
    for word in ["over budget", "within budget again"] {
        let says = |line: &&String| line.contains(word) && line.contains("memory");
        ensure!(errors.iter().any(|line| says(&line)), "no `{word}` in {errors:#?}");
    }
    Ok(())
}

/// What a report says of a budget that is less than vigie takes at all.
#[test]
fn a_report_says_what_was_given_up() -> Result<()> {
    if missing("limits: report", &[Need::Root, Need::Agent])? {
        return Ok(());
    }
    let mut command = agent::command()?;
    command.args(["profile", "--duration", "8s", "--json"]);
    command.envs([("VIGIE_LIMITS_MEMORY", "16MiB"), ("VIGIE_LIMITS_SHED_AFTER", "1s")]);
    let process = Process::start(&mut command)?;
    let ended = process.wait(LIMIT)?;
    let text = ended.output.join("\n");
    let report: Value = serde_json::from_str(&text).with_context(|| format!("no JSON: {text}"))?;
    let budget = report.get("budget").context("no budget")?;
    ensure!(budget["highest_level"] == "counts" && budget["level"] == "counts", "{budget}");
    ensure!(budget["memory_bytes"] == 16 << 20, "{budget}");
    ensure!(budget["shed_s"].as_f64().is_some_and(|seconds| seconds > 1.0), "{budget}");
    Ok(())
}

/// What is given up: 0 to 3.
fn level(samples: &Samples) -> f64 {
    samples.sum("vigie_shed_level", &[])
}

/// Makes calls while no records are made, and waits until the metrics have exactly these, at the same
/// level. Some connections are kept, so that the last call of each is over only as it is silent.
fn calls_without_records(agent: &Agent) -> Result<u32> {
    let listener = TcpListener::bind(("127.0.0.1", 0))?;
    let mut kept = Pair::connect(&listener)?;
    for _ in 0..CALLS {
        kept.call("PUT", "/kept", "503 Unavailable")?;
        Pair::connect(&listener)?.call("PUT", "/fresh", "503 Unavailable")?;
    }
    let made = f64::from(2 * CALLS);
    let labels = [("http_request_method", "PUT"), ("error_type", "503")];
    wait(|| {
        let samples = agent.metrics()?;
        ensure!(level(&samples) > 2.5, "records came back before all calls were counted");
        let counted = ["server", "client"].map(|side| {
            samples.sum(&format!("http_{side}_request_duration_seconds_count"), &labels)
        });
        ensure!(counted.iter().all(|count| *count <= made), "{counted:?} of {made} calls");
        Ok(counted.iter().all(|count| *count >= made))
    })
    .context("calls whose records were not made are not counted")?;
    Ok(2 * CALLS)
}

/// Waits until the metrics have so many calls on each side, but for those of asking for metrics; some
/// may have no duration.
fn expect_in_all(agent: &Agent, made: u32) -> Result<()> {
    let made = f64::from(made);
    let mut last = [(0.0, 0.0); 2];
    wait(|| {
        let samples = agent.metrics()?;
        last = ["server", "client"].map(|side| {
            let timed = format!("http_{side}_request_duration_seconds_count");
            let metric = format!("http.{side}.request.duration");
            let for_metrics = samples.sum(&timed, &[("http_response_status_code", "200")]);
            let untimed = [("metric", metric.as_str())];
            (
                samples.sum(&timed, &[]) - for_metrics,
                samples.sum("vigie_durations_untrusted_total", &untimed),
            )
        });
        Ok(last.iter().all(|(timed, untimed)| timed + untimed >= made))
    })
    .with_context(|| format!("{last:?} of {made} calls were counted"))?;
    let [(server, untimed), (client, _)] = last;
    // Of the calls for metrics, too, some may have no duration.
    ensure!(server + untimed <= made && client <= made, "{last:?} of {made} calls were counted");
    Ok(())
}

/// A server and its client end of a connection, on which requests are answered one by one.
struct Pair {
    client: TcpStream,
    server: TcpStream,
}

impl Pair {
    fn connect(listener: &TcpListener) -> Result<Self> {
        let client = TcpStream::connect(listener.local_addr()?)?;
        let (server, _) = listener.accept()?;
        Ok(Self { client, server })
    }

    /// With a request whose head does not end.
    fn endless(listener: &TcpListener) -> Result<Self> {
        let mut pair = Self::connect(listener)?;
        let mut head = b"GET /endless HTTP/1.1\r\nX-Endless: ".to_vec();
        head.resize(60 << 10, b'x');
        let mut left = head.as_slice();
        let mut buffer = [0; 4096];
        // In pieces that the socket holds, as one thread does both.
        while !left.is_empty() {
            let (piece, rest) = left.split_at(left.len().min(buffer.len()));
            pair.client.write_all(piece)?;
            pair.server.read_exact(buffer.get_mut(..piece.len()).context("a piece")?)?;
            left = rest;
        }
        Ok(pair)
    }

    fn exchange(&mut self, path: &str) -> Result<()> {
        self.call("GET", path, "204 No Content")
    }

    fn call(&mut self, method: &str, path: &str, answer: &str) -> Result<()> {
        let mut buffer = [0; 1024];
        let request = format!("{method} {path} HTTP/1.1\r\nHost: localhost\r\n\r\n");
        self.client.write_all(request.as_bytes())?;
        ensure!(self.server.read(&mut buffer)? > 0, "no request came");
        let answer = format!("HTTP/1.1 {answer}\r\nContent-Length: 0\r\n\r\n");
        self.server.write_all(answer.as_bytes())?;
        ensure!(self.client.read(&mut buffer)? > 0, "no response came");
        Ok(())
    }
}

#[test]
fn a_full_table_makes_room_for_new_connections() -> Result<()> {
    if missing("limits: connections", &[Need::Root, Need::Agent])? {
        return Ok(());
    }
    let config = format!(
        "capture: {{max_connections: {PLACES}}}\nwatch: {{include: [{{pid: {}}}]}}\n",
        std::process::id()
    );
    let agent = Agent::start(&Options { config: Some(config), ..Options::default() })?;
    let listener = TcpListener::bind(("127.0.0.1", 0))?;
    let mut idle = Vec::new();
    for _ in 0..PLACES * 2 {
        let mut pair = Pair::connect(&listener)?;
        pair.exchange("/idle")?;
        idle.push(pair);
    }
    wait(|| Ok(lost(&agent, "connection_evicted")? >= f64::from(PLACES / 4 - 1)))
        .context("nobody made room")?;
    let mut fresh = Pair::connect(&listener)?;
    // It may have come in the moment between a full table and the next look.
    wait(|| {
        fresh.exchange("/fresh")?;
        Ok(agent.spans()?.iter().any(|span| span.name == "GET /fresh"))
    })
    .context("a connection that came when the table was full is not seen")?;
    let samples = agent.metrics()?;
    ensure!(samples.sum("vigie_records_dropped_total", &[("reason", "connection_map_full")]) > 0.0);
    ensure!(samples.sum("vigie_kernel_connections_total", &[("event", "evicted")]) > 0.0);
    let held = samples.sum("vigie_kernel_connections_held", &[]);
    ensure!(held <= f64::from(PLACES), "{held} connections in {PLACES} places");
    agent.stop()?;
    Ok(())
}

fn lost(agent: &Agent, reason: &str) -> Result<f64> {
    Ok(agent.metrics()?.sum("vigie_records_dropped_total", &[("reason", reason)]))
}

fn wait(mut until: impl FnMut() -> Result<bool>) -> Result<()> {
    let end = Instant::now() + PATIENCE;
    while !until()? {
        ensure!(Instant::now() < end, "waited for {PATIENCE:?}");
        thread::sleep(Duration::from_millis(100));
    }
    Ok(())
}
