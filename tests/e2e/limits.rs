//! What vigie keeps to: its budget, past which it gives up one thing after the other, says so, and
//! takes it up again; and its table of connections, where the longest idle make room.

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use vigie_tests::agent::{Agent, Options};
use vigie_tests::http;
use vigie_tests::needs::{Need, missing};

/// More than an idle agent takes on a machine where others work, less than one under [`Load`].
const CONFIG: &str = "limits: {cpu: 8%, shed_after: 1s, return_after: 2s}\n";

/// Places in the table of connections.
const PLACES: u32 = 64;

/// Three levels up or down, with time to spare for a machine that is busy.
const PATIENCE: Duration = Duration::from_secs(90);

/// Requests as fast as they go, over connections that are kept, within this process.
struct Load {
    stop: Arc<AtomicBool>,
    threads: Vec<thread::JoinHandle<()>>,
}

impl Load {
    fn start() -> Result<Self> {
        let stop = Arc::new(AtomicBool::new(false));
        let mut threads = Vec::new();
        for _ in 0..4 {
            let listener = TcpListener::bind(("127.0.0.1", 0))?;
            let mut client = TcpStream::connect(listener.local_addr()?)?;
            let (mut server, _) = listener.accept()?;
            threads.push(thread::spawn(move || {
                let mut buffer = [0; 1024];
                // Ends when the client is gone.
                while server.read(&mut buffer).is_ok_and(|length| length > 0) {
                    if server.write_all(b"HTTP/1.1 204 No Content\r\n\r\n").is_err() {
                        return;
                    }
                }
            }));
            let stop = Arc::clone(&stop);
            threads.push(thread::spawn(move || {
                let mut buffer = [0; 1024];
                while !stop.load(Ordering::Relaxed) {
                    let sent = client.write_all(b"GET /budget HTTP/1.1\r\nHost: localhost\r\n\r\n");
                    if sent.is_err() || client.read(&mut buffer).is_err() {
                        return;
                    }
                }
            }));
        }
        Ok(Self { stop, threads })
    }

    fn stop(self) -> Result<()> {
        self.stop.store(true, Ordering::Relaxed);
        for thread in self.threads {
            thread.join().ok().context("a thread of the load panicked")?;
        }
        Ok(())
    }
}

#[test]
fn over_budget_things_are_given_up_and_come_back() -> Result<()> {
    if missing("limits: budget", &[Need::Root, Need::Agent])? {
        return Ok(());
    }
    let agent = Agent::start(&Options {
        config: Some(CONFIG.to_owned()),
        // The harness allows everything; the variable goes before the file.
        environment: vec![("VIGIE_LIMITS_CPU".to_owned(), String::new())],
        ..Options::default()
    })?;
    let level = || agent.metrics().map(|samples| samples.sum("vigie_shed_level", &[]));
    ensure!(level()? < 0.5, "something is given up before there is anything to do");
    let load = Load::start()?;
    wait(|| Ok(level()? > 2.5)).context("not everything was given up under load")?;
    let (_, health) = http::get(agent.address(), "/healthz")?;
    ensure!(health.starts_with("alive\nover budget, level"), "/healthz says {health:?}");
    wait(|| lost(&agent, "shed").map(|lost| lost > 0.0)).context("no record was shed")?;
    ensure!(lost(&agent, "spans_shed")? > 0.0, "no span was shed");
    let completeness = agent.metrics()?.sum("vigie_completeness_ratio", &[]);
    ensure!(completeness < 1.0, "records were shed and completeness is {completeness}");
    load.stop()?;
    wait(|| Ok(level()? < 0.5)).context("what was given up did not come back")?;
    let (_, health) = http::get(agent.address(), "/healthz")?;
    ensure!(health == "alive\n", "/healthz says {health:?}");
    let before = agent.spans()?.len();
    let load = Load::start()?;
    let again = wait(|| Ok(agent.spans()?.len() > before));
    load.stop()?;
    again.context("no span after all came back")?;
    let errors = agent.stop()?.errors;
    for word in ["over budget", "within budget again"] {
        ensure!(errors.iter().any(|line| line.contains(word)), "no `{word}` in {errors:#?}");
    }
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

    fn exchange(&mut self, path: &str) -> Result<()> {
        let mut buffer = [0; 1024];
        let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n");
        self.client.write_all(request.as_bytes())?;
        ensure!(self.server.read(&mut buffer)? > 0, "no request came");
        self.server.write_all(b"HTTP/1.1 204 No Content\r\n\r\n")?;
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
