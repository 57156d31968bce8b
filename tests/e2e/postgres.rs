//! PostgreSQL: what its clients say of their calls is what vigie says of both ends.

use std::collections::BTreeMap;
use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use serde::Deserialize;
use vigie_tests::agent::{Agent, Options};
use vigie_tests::needs::{Need, missing, node_packages};
use vigie_tests::postgres::Postgres;
use vigie_tests::process::{LIMIT, Process, run, service};
use vigie_tests::span::{Kind, Span};
use vigie_tests::tally::Tally;
use vigie_tests::workload::{grpc as python, script};

const NEEDS: [Need; 3] = [Need::Root, Need::Agent, Need::Postgres];

const DRIVERS: [Need; 6] = [
    Need::Root,
    Need::Agent,
    Need::Postgres,
    Need::Wheel("psycopg"),
    Need::Wheel("asyncpg"),
    Need::NodePackage("pg"),
];

/// Which processes are those of a server.
const SERVER: &str = "{executable: postgres}";

fn start_agent() -> Result<Agent> {
    Agent::start(&Options::ours_and(SERVER, "protocols: {query_text: 1KiB}\n"))
}

/// Name and error.
fn call(span: &Span) -> String {
    format!("{} {}", span.name, span.text("error.type").unwrap_or("-"))
}

fn client_tally(spans: &[Span], pid: u32) -> Tally {
    Tally::of(spans, Kind::Client, &[pid], call)
}

fn server_tally(server: &Postgres, spans: &[Span]) -> Tally {
    let mut tally = Tally::default();
    server.spans(spans).for_each(|span| tally.add(call(span), 1));
    tally
}

/// No test of this file has these in a name of anything: they are values.
fn has_no_secrets(spans: &[Span]) -> Result<()> {
    for span in spans.iter().filter(|span| span.protocol == "postgresql") {
        let all = format!("{span:?}");
        ensure!(!all.contains("swordfish"), "a value in {all}");
    }
    Ok(())
}

struct Client(Process);

impl Client {
    fn python(server: &Postgres, driver: &str, host: &str, jobs: &[&str]) -> Result<Self> {
        let mut command = python("postgres_client.py")?;
        command
            .args(["--driver", driver, "--host", host, "--port", &server.port().to_string()])
            .args(jobs);
        Ok(Self(Process::start(&mut command)?))
    }

    fn node(server: &Postgres, host: &str, options: &[&str]) -> Result<Self> {
        let mut command = Command::new("node");
        command
            .arg(script("postgres_client.js"))
            .args([host, &server.port().to_string()])
            .args(options)
            .env("OTEL_SERVICE_NAME", service("client"))
            .env("NODE_PATH", node_packages());
        Ok(Self(Process::start(&mut command)?))
    }

    fn wait(&mut self) -> Result<()> {
        self.0.wait_output("word that it waits", |lines| {
            lines.iter().any(|line| line.contains("\"waiting\"")).then_some(())
        })
    }

    /// Its process and what it says that it called.
    fn finish(self) -> Result<(u32, Tally)> {
        let pid = self.0.pid();
        let ended = self.0.wait(2 * LIMIT)?;
        let last = ended.output.last().cloned().unwrap_or_default();
        let said: BTreeMap<String, usize> = serde_json::from_str(&last)
            .with_context(|| format!("the client said {last}: {:?}", ended.errors))?;
        Ok((pid, said.into_iter().collect()))
    }
}

/// Compares what clients said with both ends.
fn compare(server: &Postgres, agent: Agent, said: &[(u32, Tally)]) -> Result<Vec<Span>> {
    let total: usize = said.iter().map(|(_, tally)| tally.total()).sum();
    agent.settle(2 * total, |span| span.protocol == "postgresql");
    let spans = agent.finish()?.spans;
    let mut all: BTreeMap<String, usize> = BTreeMap::new();
    for (number, (pid, tally)) in said.iter().enumerate() {
        tally.compare(&format!("client {number}"), &client_tally(&spans, *pid))?;
        tally.each(|what, calls| *all.entry(what.to_owned()).or_default() += calls);
    }
    let all: Tally = all.into_iter().collect();
    all.compare("the server", &server_tally(server, &spans))?;
    has_no_secrets(&spans)?;
    Ok(spans)
}

/// The standard script, ten thousand transactions in each mode: as many of each statement as pgbench says
/// that it ran, and the server.
#[test]
fn pgbench_is_exact_on_both_ends() -> Result<()> {
    const EACH: usize = 10_000;
    if missing("postgres: pgbench", &NEEDS)? {
        return Ok(());
    }
    let server = Postgres::start()?;
    run(server.client("pgbench", "127.0.0.1", "shop").args(["-i", "-q"]))?;
    let ask = |statement: &str| -> Result<String> {
        let said = run(server.psql("shop").args(["-t", "-A", "-c", statement]))?.output;
        Ok(said.first().cloned().unwrap_or_default())
    };
    ask("CREATE EXTENSION pg_stat_statements")?;
    let agent = Agent::start(&Options { without_spans: true, ..Options::ours_and(SERVER, "") })?;
    // What it asks before it begins depends on its version.
    let names = [
        "BEGIN -",
        "UPDATE pgbench_accounts -",
        "SELECT pgbench_accounts -",
        "UPDATE pgbench_tellers -",
        "UPDATE pgbench_branches -",
        "INSERT pgbench_history -",
        "END -",
    ];
    let expected = |each: usize| names.iter().map(|name| (*name, each)).collect::<Tally>();
    let modes = ["simple", "extended", "prepared"];
    for mode in modes {
        let start = |host: &str| -> Result<Process> {
            let mut command = server.client("pgbench", host, "shop");
            let transactions = (EACH / 4).to_string();
            command.args(["-n", "-c", "2", "-t", &transactions, "-M", mode]);
            Process::start(command.env("OTEL_SERVICE_NAME", service(mode)))
        };
        for process in [start("127.0.0.1")?, start(server.folder())?] {
            let ended = process.wait(2 * LIMIT)?;
            let all = format!("{}/{}", EACH / 2, EACH / 2);
            ensure!(ended.output.iter().any(|line| line.ends_with(&all)), "{:?}", ended.output);
        }
    }
    for mode in modes {
        agent.has_database_calls("client", Some(&service(mode)), &expected(EACH))?;
    }
    agent.has_database_calls("server", None, &expected(modes.len() * EACH))?;
    // BEGIN and END it counts once where they are prepared.
    let counted = ask("SELECT sum(calls) FROM pg_stat_statements WHERE query ~ \
         '^(UPDATE|INSERT INTO pgbench_history|SELECT abalance)'")?;
    let all = (modes.len() * (names.len() - 2) * EACH).to_string();
    ensure!(counted == all, "the server counted {counted} statements, not {all}");
    agent.finish()?;
    Ok(())
}

/// When a query of a pipeline was sent and its answer was there, in nanoseconds of Unix time.
#[derive(Deserialize)]
struct Piped {
    /// Before it was sent.
    before: u64,
    /// After that.
    sent: u64,
    /// When the program had the answer.
    answered: u64,
}

/// A thousand queries at a time on one connection, of which each takes two milliseconds: each lasts from
/// its own request to its own response, at both ends.
#[test]
fn a_pipeline_of_a_thousand_queries() -> Result<()> {
    const EACH_TAKES: u64 = 2_000_000;
    /// By which clocks may differ that are compared once a second.
    const TOLERANCE: u64 = 1_000_000;
    if missing("postgres: pipeline", &DRIVERS)? {
        return Ok(());
    }
    let server = Postgres::start()?;
    let agent = start_agent()?;
    let client = Client::python(&server, "psycopg", "127.0.0.1", &["timed:1000"])?;
    let pid = client.0.pid();
    let ended = client.0.wait(2 * LIMIT)?;
    let line = ended.output.first().context("the client said nothing")?;
    let piped: Vec<Piped> = serde_json::from_str(line).with_context(|| line.clone())?;
    ensure!(piped.len() == 1000, "{} queries", piped.len());
    let is_ours = |span: &Span| span.protocol == "postgresql" && span.name == "SELECT";
    agent.settle(2 * piped.len(), is_ours);
    let spans = agent.finish()?.spans;
    let first = piped.first().map_or(0, |query| query.before);
    let at_client = |span: &&Span| is_ours(span) && span.kind == Kind::Client && span.pid == pid;
    let at_server: Vec<&Span> = server.spans(&spans).filter(|span| is_ours(span)).collect();
    for (who, mut of) in
        [("client", spans.iter().filter(at_client).collect()), ("server", at_server)]
    {
        ensure!(of.len() == piped.len(), "{} spans of the {who}", of.len());
        of.sort_by_key(|span| span.end_unix_nano());
        for (number, (span, query)) in (1..).zip(of.iter().zip(&piped)) {
            let (start, end) = (span.start_unix_nano, span.end_unix_nano());
            let told = || format!("{who}, query {number}: {start} to {end}, of {}", query.before);
            ensure!(span.flags.is_empty(), "{}: {:?}", told(), span.flags);
            ensure!(start + TOLERANCE >= query.before, "{}: begins too early", told());
            let is_client = who == "client";
            ensure!(!is_client || start <= query.sent + TOLERANCE, "{}: begins late", told());
            let least = first + number * EACH_TAKES;
            ensure!(end + TOLERANCE >= least, "{}: ends before {least}", told());
            ensure!(end <= query.answered + TOLERANCE, "{}: ends late", told());
        }
    }
    Ok(())
}

#[test]
fn errors_of_a_script_have_their_sqlstate() -> Result<()> {
    if missing("postgres: errors", &NEEDS)? {
        return Ok(());
    }
    let server = Postgres::start()?;
    let agent = start_agent()?;
    let script = "SELECT * FROM missing WHERE name = 'swordfish';
        INSERT INTO orders (id) VALUES (1);
        SELECT amount / 0 FROM orders;
        BEGIN; SELECT wrong FROM orders; SELECT amount FROM orders; ROLLBACK;
        SELECT amount FROM orders;
        DELETE FROM orders WHERE amount = 'swordfish';\n";
    let file = tempfile::NamedTempFile::new()?;
    std::fs::write(file.path(), script.repeat(50))?;
    let psql = Process::start(server.psql("shop").arg("-f").arg(file.path()))?;
    let pid = psql.pid();
    psql.wait(2 * LIMIT)?;
    let said: Tally = [
        ("SELECT missing 42P01", 50),
        ("INSERT orders 23505", 50),
        ("SELECT orders 22012", 50),
        ("BEGIN -", 50),
        ("SELECT orders 42703", 50),
        ("SELECT orders 25P02", 50),
        ("ROLLBACK -", 50),
        ("SELECT orders -", 50),
        ("DELETE orders 22P02", 50),
    ]
    .into_iter()
    .collect();
    compare(&server, agent, &[(pid, said)])?;
    Ok(())
}

#[test]
fn drivers_are_exact_on_both_ends() -> Result<()> {
    if missing("postgres: drivers", &DRIVERS)? {
        return Ok(());
    }
    let server = Postgres::start()?;
    let agent = start_agent()?;
    let mut said = Vec::new();
    for host in ["127.0.0.1", server.folder()] {
        let jobs = [
            "text:200",
            "select:200",
            "pipeline:1000",
            "many:300",
            "abort:20",
            "errors:20",
            "transaction:20",
            "several:10",
            "copy:20000",
            "large:10000",
            "cursor:10",
            "notify:20",
            "cancel:2",
            "select:10",
        ];
        said.push(Client::python(&server, "psycopg", host, &jobs)?.finish()?);
        let jobs =
            ["select:200", "text:200", "many:300", "errors:20", "transaction:20", "copy:20000"];
        said.push(Client::python(&server, "asyncpg", host, &jobs)?.finish()?);
        said.push(Client::node(&server, host, &[])?.finish()?);
    }
    let spans = compare(&server, agent, &said)?;
    // The large answers were not copied whole, and their ends were seen.
    let large = spans.iter().filter(|span| {
        span.attributes.get("db.response.returned_rows").and_then(serde_json::Value::as_u64)
            == Some(10_000)
    });
    ensure!(large.count() == 4, "the rows of large answers are not known");
    for span in spans.iter().filter(|span| span.protocol == "postgresql") {
        let aborted = span.text("error.type") == Some("pipeline_aborted");
        let untrusted = span.flags.iter().any(|flag| flag == "duration_untrusted");
        ensure!(aborted == untrusted, "{} has flags {:?}", span.name, span.flags);
    }
    Ok(())
}

/// Every call from then on is counted on both ends; the table is known of statements that were prepared
/// before only where the driver sends their text again.
#[test]
fn connections_older_than_vigie() -> Result<()> {
    if missing("postgres: older", &DRIVERS)? {
        return Ok(());
    }
    let server = Postgres::start()?;
    let mut clients = Vec::new();
    for host in ["127.0.0.1", server.folder()] {
        let jobs = ["--before", "0", "select:50", "text:50", "pipeline:100", "errors:10"];
        clients.push(Client::python(&server, "psycopg", host, &jobs)?);
        let jobs = ["--before", "0", "select:50", "text:50", "many:50", "errors:10"];
        clients.push(Client::python(&server, "asyncpg", host, &jobs)?);
        clients.push(Client::node(&server, host, &["--before"])?);
    }
    for client in &mut clients {
        client.wait()?;
    }
    let agent = start_agent()?;
    let mut said = Vec::new();
    for mut client in clients {
        client.0.tell("go")?;
        said.push(client.finish()?);
    }
    compare(&server, agent, &said)?;
    Ok(())
}
