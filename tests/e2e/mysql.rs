//! MariaDB and its clients: what they say that they did is what vigie says of both ends.

use std::process::Command;
use std::thread;
use std::time::Duration;

use anyhow::{Result, ensure};
use vigie_tests::agent::{Agent, Options};
use vigie_tests::mariadb::{MariaDb, PASSWORD, call, said};
use vigie_tests::needs::{Need, missing};
use vigie_tests::process::{LIMIT, Process, run, service};
use vigie_tests::span::{Kind, Span};
use vigie_tests::tally::Tally;

const NEEDS: [Need; 11] = [
    Need::Root,
    Need::Agent,
    Need::Program("mariadbd"),
    Need::Program("mariadb-install-db"),
    Need::Program("mariadb"),
    Need::Program("mariadb-slap"),
    Need::Program("node"),
    Need::Wheel("pymysql"),
    Need::Wheel("mysql"),
    Need::NodePackage("mysql2"),
    Need::NodePackage("mariadb"),
];

/// Clients that have run, and what they did.
#[derive(Default)]
struct Clients {
    pids: Vec<u32>,
    did: Tally,
}

impl Clients {
    /// Runs one that says itself what it did.
    fn run(&mut self, command: &mut Command) -> Result<()> {
        let process = Process::start(command)?;
        self.ended(process)
    }

    fn ended(&mut self, process: Process) -> Result<()> {
        self.pids.push(process.pid());
        let ended = process.wait(3 * LIMIT)?;
        ensure!(ended.status.success(), "{}: {:?}", ended.status, ended.errors);
        self.did.add_all(&said(&ended.output)?);
        Ok(())
    }

    /// Runs one of which it is known what it does.
    fn run_known(&mut self, command: &mut Command, does: &[(&str, usize)]) -> Result<()> {
        let process = Process::start(command)?;
        self.pids.push(process.pid());
        process.wait(3 * LIMIT)?;
        self.did.add_all(&does.iter().map(|(what, number)| (*what, *number)).collect());
        Ok(())
    }

    /// Compares with what the agent saw of both ends, and gives the spans of these.
    fn compare(&self, agent: Agent, server: &MariaDb) -> Result<Vec<Span>> {
        agent.settle(2 * self.did.total(), |span| span.protocol == "mysql");
        // More than there should be comes right behind.
        thread::sleep(Duration::from_millis(300));
        let mut spans = agent.finish()?.spans;
        spans.retain(|span| span.protocol == "mysql");
        let server = [server.pid()];
        let client = Tally::of(&spans, Kind::Client, &self.pids, call);
        self.did.compare("the clients", &client)?;
        let answered = Tally::of(&spans, Kind::Server, &server, call);
        self.did.compare("the server", &answered)?;
        spans.retain(|span| self.pids.contains(&span.pid) || server.contains(&span.pid));
        Ok(spans)
    }
}

/// Text and prepared statements, errors with their numbers, transactions, several statements in one
/// text, over TCP and over a unix socket.
#[test]
fn statements_are_exact_on_both_ends() -> Result<()> {
    if missing("mysql", &NEEDS)? {
        return Ok(());
    }
    let server = MariaDb::start()?;
    let agent = Agent::start(&Options::ours("protocols: {query_text: 500B}\n"))?;
    let mut clients = Clients::default();
    let (tcp, unix) = (server.tcp(), server.unix());
    clients.run(&mut MariaDb::python(
        "pymysql",
        &tcp,
        &[
            "select:800",
            "insert:200",
            "transactions:50",
            "failing:10",
            "several:10",
            "procedures:10",
        ],
    )?)?;
    clients.run(&mut MariaDb::python("pymysql", &tcp, &["cursors:3", "commands:2"])?)?;
    clients.run(&mut MariaDb::python(
        "connector",
        &tcp,
        &["prepared:1000", "empty:10", "pings:5", "failing:2"],
    )?)?;
    clients.run(&mut MariaDb::python(
        "pymysql",
        &unix,
        &["select:100", "failing:2", "pings:5"],
    )?)?;
    clients.run(&mut MariaDb::python("connector", &unix, &["prepared:100"])?)?;
    clients.run(&mut MariaDb::node("mysql_client.js", &tcp, &["50", "50"]))?;
    clients.run(&mut MariaDb::node("mysql_client.js", &unix, &["10", "10"]))?;
    clients.run(&mut MariaDb::node("mariadb_client.js", &tcp, &["200"]))?;
    clients.run(&mut MariaDb::node("mariadb_client.js", &unix, &["20"]))?;
    clients.run_known(
        server.client("mariadb-slap")?.args([
            "--create-schema=shop",
            "--no-drop",
            "--concurrency=4",
            "--number-of-queries=1000",
            "--query=SELECT id, name FROM orders WHERE id = 1",
        ]),
        &[("SELECT orders -", 1000)],
    )?;
    let statements = "SELECT 1; DELETE FROM orders WHERE id = 4711; COMMIT; SELECT * FROM missing";
    clients.run_known(
        server.client("mariadb")?.args(["shop", "--force", "--execute", statements]),
        &[("SELECT -", 1), ("DELETE orders -", 1), ("SELECT missing 1146", 1), ("COMMIT -", 1)],
    )?;
    clients.run_known(
        server.client("mariadb")?.args(["--execute", "SELECT 1", "nowhere"]),
        &[("CONNECT 1049", 1)],
    )?;

    for span in clients.compare(agent, &server)? {
        ensure!(span.flags.is_empty(), "{} has flags {:?}", span.name, span.flags);
        let database = if span.name == "CONNECT" { "nowhere" } else { "shop" };
        ensure!(span.text("db.namespace") == Some(database), "{span:?}");
        let code = span.text("db.response.status_code");
        ensure!(span.text("error.type") == code, "{span:?}");
        ensure!((span.status == "error") == code.is_some(), "{span:?}");
        let state = match code {
            Some("1049" | "1064") => Some("42000"),
            Some("1054") => Some("42S22"),
            Some("1062") => Some("23000"),
            Some("1146") => Some("42S02"),
            _ => None,
        };
        ensure!(span.text("vigie.db.sqlstate") == state, "{span:?}");
        let said = format!("{:?}", span.attributes);
        for secret in [PASSWORD, "customer-", "4711"] {
            ensure!(!said.contains(secret), "{secret} is in {said}");
        }
    }
    Ok(())
}

/// Ten thousand transactions each in text, by one of the database's own clients, and in prepared
/// statements: as many of each statement as the server counted itself.
#[test]
fn ten_thousand_transactions() -> Result<()> {
    const EACH: usize = 10_000;
    if missing("mysql: transactions", &NEEDS)? {
        return Ok(());
    }
    let server = MariaDb::start()?;
    let agent = Agent::start(&Options { without_spans: true, ..Options::ours("") })?;
    let counters = ["Com_begin", "Com_update", "Com_select", "Com_commit"];
    let names = ["BEGIN -", "UPDATE orders -", "SELECT orders -", "COMMIT -"];
    let counted = |server: &MariaDb| -> Result<Vec<usize>> {
        counters.iter().map(|counter| server.counted(counter)).collect()
    };
    let before = counted(&server)?;
    let [text, prepared] = ["text", "prepared"].map(service);
    let statements = "BEGIN; UPDATE orders SET price = price + 1 WHERE id = 1; \
                      SELECT price FROM orders WHERE id = 1; COMMIT";
    run(server
        .client("mariadb-slap")?
        .args(["--create-schema=shop", "--no-drop", "--concurrency=2", "--delimiter=;"])
        .arg(format!("--number-of-queries={}", EACH * counters.len()))
        .arg(format!("--query={statements}"))
        .env("OTEL_SERVICE_NAME", &text))?;
    let of_each = (EACH / 4).to_string();
    let mut node = MariaDb::node("mysql_client.js", &server.tcp(), &["0", "0", &of_each]);
    let said = said(&run(node.env("OTEL_SERVICE_NAME", &prepared))?.output)?;

    let expected: Tally = names.iter().map(|name| (*name, EACH)).collect();
    agent.has_database_calls("client", Some(&text), &expected)?;
    agent.has_database_calls("client", Some(&prepared), &said)?;
    let after = counted(&server)?;
    let by_server = names.iter().zip(after.iter().zip(&before));
    let by_server: Tally =
        by_server.map(|(name, (after, before))| (*name, after - before)).collect();
    let twice: Tally = names.iter().map(|name| (*name, 2 * EACH)).collect();
    twice.compare("what the server counted", &by_server)?;
    agent.has_database_calls("server", None, &by_server)?;
    agent.finish()?;
    Ok(())
}

/// Results and statements larger than what is copied, files, and the compressed protocol.
#[test]
fn large_messages_are_counted() -> Result<()> {
    if missing("mysql: large", &NEEDS)? {
        return Ok(());
    }
    let server = MariaDb::start()?;
    let agent = Agent::start(&Options::ours(""))?;
    let mut clients = Clients::default();
    let tcp = server.tcp();
    clients.run(&mut MariaDb::python(
        "pymysql",
        &tcp,
        &["large:2", "sent:1", "files:2", "select:5"],
    )?)?;
    clients.run(&mut MariaDb::python(
        "connector",
        &tcp,
        &["large:1", "long_data:3", "prepared:5"],
    )?)?;
    clients.run(&mut MariaDb::python(
        "connector",
        &tcp,
        &["--compress", "prepared:50", "failing:2", "empty:2", "long_data:1"],
    )?)?;
    let statements = "SELECT 1; SELECT REPEAT('x', 1000) FROM seq_1_to_3000; COMMIT";
    clients.run_known(
        server.client("mariadb")?.args(["shop", "--compress", "--execute", statements]),
        &[("SELECT -", 1), ("SELECT seq_1_to_3000 -", 1), ("COMMIT -", 1)],
    )?;
    clients.compare(agent, &server)?;
    Ok(())
}

/// Connections that are older than vigie: exact from the first command on. What was prepared before is
/// counted, without its text.
#[test]
fn older_connections() -> Result<()> {
    if missing("mysql: older connections", &NEEDS)? {
        return Ok(());
    }
    let server = MariaDb::start()?;
    let mut waiting = Vec::new();
    for (driver, target, jobs) in [
        ("pymysql", server.tcp(), ["--wait", "select:100", "failing:5"]),
        ("pymysql", server.unix(), ["--wait", "pings:5", "select:100"]),
        ("connector", server.tcp(), ["--wait", "prepared:100", "failing:5"]),
        ("connector", server.unix(), ["--wait", "prepared:100", "pings:5"]),
    ] {
        let mut client = Process::start(&mut MariaDb::python(driver, &target, &jobs)?)?;
        client.wait_output("`waiting`", |lines| {
            lines.iter().any(|line| line == "waiting").then_some(())
        })?;
        waiting.push(client);
    }
    let agent = Agent::start(&Options::ours(""))?;
    let mut clients = Clients::default();
    for mut client in waiting {
        client.tell("go")?;
        clients.ended(client)?;
    }
    for span in clients.compare(agent, &server)? {
        let was_prepared = matches!(&*span.name, "EXECUTE" | "RESET");
        let expected: &[&str] = if was_prepared { &["mid_stream"] } else { &[] };
        ensure!(span.flags == expected, "{} has flags {:?}", span.name, span.flags);
    }
    Ok(())
}
