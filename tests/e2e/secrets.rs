//! No secret leaves vigie: literals, parameters, keys, values and credentials of a file of secrets go over
//! all protocols to real servers, and everything that vigie gives out is searched for them.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, MutexGuard, PoisonError};

use anyhow::{Context as _, Result, ensure};
use tempfile::TempDir;
use vigie_tests::agent::{self, Agent, Options};
use vigie_tests::http;
use vigie_tests::mariadb::MariaDb;
use vigie_tests::needs::{self, Need, missing};
use vigie_tests::otlp::Sink;
use vigie_tests::postgres::Postgres;
use vigie_tests::process::{LIMIT, Process, run, until};
use vigie_tests::secrets::Secrets;
use vigie_tests::span::Span;
use vigie_tests::tally::Tally;
use vigie_tests::workload::{Server, grpc as python, script};

const NEEDS: [Need; 13] = [
    Need::Root,
    Need::Agent,
    Need::Postgres,
    Need::Program("mariadbd"),
    Need::Program("mariadb-install-db"),
    Need::Program("redis-server"),
    Need::Program("memcached"),
    Need::Grpcio,
    Need::Wheel("psycopg"),
    Need::Wheel("pymysql"),
    Need::Wheel("pymemcache"),
    Need::Wheel("pymongo"),
    Need::Wheel("kafka"),
];

/// What the clients speak, as span lines have it.
const PROTOCOLS: [&str; 7] =
    ["postgresql", "mysql", "redis", "memcached", "mongodb", "kafka", "http/1.1"];

/// A server of each kind, and where it listens.
struct Servers {
    _postgres: Postgres,
    _mariadb: MariaDb,
    _plain: Vec<Process>,
    _scripts: Vec<Server>,
    _folder: TempDir,
    targets: Vec<(&'static str, String)>,
    _alone: MutexGuard<'static, ()>,
}

/// One test at a time: vigie sees what the other one's servers do.
static ALONE: Mutex<()> = Mutex::new(());

impl Servers {
    fn start(secrets: &Secrets) -> Result<Self> {
        let alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
        let folder = tempfile::tempdir()?;
        let postgres = Postgres::start()?;
        passwords(&postgres, secrets)?;
        let mariadb = MariaDb::start()?;
        let (redis, memcached) = (http::free_address()?, http::free_address()?);
        let mut plain = Vec::new();
        let of = |name: &str| needs::find(name).with_context(|| format!("no {name}"));
        let port = redis.port().to_string();
        plain.push(Process::start(
            Command::new(of("redis-server")?)
                .args(["--bind", "127.0.0.1", "--port", &port, "--save", "", "--dir"])
                .arg(folder.path()),
        )?);
        let port = memcached.port().to_string();
        plain.push(Process::start(Command::new(of("memcached")?).args([
            "-u",
            "root",
            "-l",
            "127.0.0.1",
            "-U",
            "0",
            "-m",
            "64",
            "-p",
            &port,
        ]))?);
        for address in [redis, memcached] {
            until("a server accepts", LIMIT, || Ok(http::accepts(address)))?;
        }
        let scripts = vec![
            Server::start("store", python("mongo_server.py")?.arg("0"))?,
            Server::start("broker", &mut python("kafka_broker.py")?)?,
            Server::python("web", "http_server.py", &[])?,
        ];
        let mut targets = vec![
            ("postgres", format!("127.0.0.1:{}", postgres.port())),
            ("mysql", mariadb.tcp()),
            ("redis", redis.to_string()),
            ("memcached", memcached.to_string()),
        ];
        for (kind, server) in ["mongodb", "kafka", "http"].into_iter().zip(&scripts) {
            targets.push((kind, server.target().to_owned()));
        }
        Ok(Self {
            _postgres: postgres,
            _mariadb: mariadb,
            _plain: plain,
            _scripts: scripts,
            _folder: folder,
            targets,
            _alone: alone,
        })
    }

    /// Starts a client of each kind. `options`: as the script takes them.
    fn clients(&self, options: &[&str]) -> Result<Vec<Process>> {
        let client = |(kind, target): &(&str, String)| {
            let mut command = python("secrets_client.py")?;
            command.args([kind, target.as_str()]).arg(script("secrets.json")).args(options);
            Process::start(&mut command)
        };
        self.targets.iter().map(client).collect()
    }
}

/// Lets roles in by their passwords in three ways.
fn passwords(server: &Postgres, secrets: &Secrets) -> Result<()> {
    let file = Path::new(server.folder()).join("data/pg_hba.conf");
    let rules = fs::read_to_string(&file)?;
    let mut lines = String::new();
    let mut roles = String::new();
    for (role, way, how) in [
        ("in_the_clear", "password", "scram-sha-256"),
        ("by_md5", "md5", "md5"),
        ("by_scram", "scram-sha-256", "scram-sha-256"),
    ] {
        lines += &format!("host all {role} 127.0.0.1/32 {way}\n");
        let password = secrets.password();
        roles += &format!(
            "SET password_encryption = '{how}'; CREATE ROLE {role} LOGIN PASSWORD '{password}';"
        );
    }
    fs::write(&file, lines + &rules)?;
    run(server.psql("shop").args(["-c", &roles, "-c", "SELECT pg_reload_conf()"]))?;
    Ok(())
}

/// Waits for the clients, and says how much they did.
fn finish(clients: Vec<Process>) -> Result<usize> {
    let mut done = 0;
    for client in clients {
        let ended = client.wait(3 * LIMIT)?;
        ensure!(ended.status.success(), "a client: {:?}", ended.errors);
        let last = ended.output.last().context("a client said nothing")?;
        let said: serde_json::Value = serde_json::from_str(last)?;
        done += said.get("done").and_then(serde_json::Value::as_u64).unwrap_or_default() as usize;
    }
    Ok(done)
}

/// All files below a folder.
fn files(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut all = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            all.extend(files(&path)?);
        } else if path.is_file() {
            all.push(path);
        }
    }
    Ok(all)
}

/// Each protocol was spoken, and vigie saw it.
fn check_seen(spans: &[Span]) -> Result<()> {
    for protocol in PROTOCOLS {
        let seen = spans.iter().filter(|span| span.protocol == protocol).count();
        ensure!(seen > 5, "{seen} calls of {protocol}");
    }
    Ok(())
}

#[test]
fn no_secret_leaves_vigie() -> Result<()> {
    if missing("secrets", &NEEDS)? {
        return Ok(());
    }
    let secrets = Secrets::read()?;
    let servers = Servers::start(&secrets)?;
    for text in ["0B", "64KiB"] {
        let sink = Sink::start()?;
        let agent = Agent::start(&Options {
            config: Some(format!(
                "capture: {{ring_bytes: 32MiB}}\nprotocols: {{query_text: {text}}}\n"
            )),
            arguments: ["--log-level", "trace", "--otlp-endpoint"]
                .into_iter()
                .map(str::to_owned)
                .chain([format!("http://{}", sink.address())])
                .collect(),
            environment: vec![
                ("OTEL_EXPORTER_OTLP_PROTOCOL".to_owned(), "http/protobuf".to_owned()),
                ("OTEL_METRIC_EXPORT_INTERVAL".to_owned(), "500".to_owned()),
            ],
            ..Options::default()
        })?;
        let done = finish(servers.clients(&[])?)?;
        ensure!(done > 500, "the clients did {done} things");
        let is_memcached = |span: &Span| span.protocol == "memcached";
        agent.settle(20, is_memcached);
        let pages = ["/metrics", "/healthz", "/readyz"]
            .into_iter()
            .map(|path| agent.page(path))
            .collect::<Result<Vec<_>>>()?;
        let stopped = agent.stop()?;
        check_seen(&stopped.spans)?;
        let texts = stopped.spans.iter().filter(|span| span.text("db.query.text").is_some());
        ensure!((texts.count() > 100) == (text != "0B"), "texts are there or not as told");
        secrets.check("span lines", stopped.output.join("\n").as_bytes())?;
        secrets.check("log", stopped.errors.join("\n").as_bytes())?;
        secrets.check("pages", pages.join("\n").as_bytes())?;
        sink.look(|received| {
            ensure!(received.problems.is_empty(), "{:?}", received.problems);
            ensure!(received.spans.len() > 1000, "{} spans by OTLP", received.spans.len());
            ensure!(!received.metrics.is_empty(), "no metrics by OTLP");
            secrets.check("OTLP", &received.raw)
        })?;
        for file in files(stopped.folder.path())? {
            secrets.check(&format!("{}", file.display()), &fs::read(&file)?)?;
        }
    }
    Ok(())
}

/// What comes of a recorded stream.
fn replayed(file: &Path) -> Result<Tally> {
    let output = run(agent::command()?.args(["debug", "replay"]).arg(file))?.output;
    let spans = output.iter().map(|line| serde_json::from_str::<Span>(line));
    spans
        .map(|span| {
            let span = span?;
            Ok((format!("{:?} {} {} {}", span.kind, span.protocol, span.name, span.status), 1))
        })
        .collect::<Result<Tally>>()
}

/// A recording has secrets; what `redact` makes of it has none, and replays to the same calls.
#[test]
fn a_redacted_recording_has_no_secrets() -> Result<()> {
    if missing("secrets: recording", &NEEDS)? {
        return Ok(());
    }
    let secrets = Secrets::read()?;
    let servers = Servers::start(&secrets)?;
    let folder = tempfile::tempdir()?;
    let [config, raw, redacted] =
        ["vigie.yaml", "raw", "redacted"].map(|name| folder.path().join(name));
    // One end of each call is enough.
    fs::write(&config, "watch: {include: [{arguments: \"*secrets_client*\"}]}\n")?;
    let mut record = agent::command()?;
    record.args(["debug", "record", "--duration", "10s", "--config"]).arg(&config).arg(&raw);
    let recorder = Process::start(&mut record)?;
    let is_ready =
        |lines: &[String]| lines.iter().any(|line| line.starts_with("ready")).then_some(());
    recorder.errors.wait(0, LIMIT, is_ready).context("the recorder is not ready")?;
    finish(servers.clients(&["few"])?)?;
    let ended = recorder.wait(2 * LIMIT)?;
    ensure!(ended.status.success(), "{:?}", ended.errors);
    ensure!(fs::metadata(&raw)?.permissions().mode() & 0o077 == 0, "others may read it");
    let mut there: Vec<String> =
        secrets.find(&fs::read(&raw)?).into_iter().map(|(found, _)| found.secret).collect();
    there.dedup();
    ensure!(there.len() >= secrets.words(), "only {there:?} were recorded");

    let said = run(agent::command()?.args(["debug", "redact"]).arg(&raw).arg(&redacted))?.output;
    secrets.check("the redacted recording", &fs::read(&redacted)?)?;
    let said = said.last().cloned().unwrap_or_default();
    ensure!(said.contains("left out: 0 too long, ") && !said.ends_with(", 0 compressed"), "{said}");
    let (before, after) = (replayed(&raw)?, replayed(&redacted)?);
    // Connections that are compressed are left out: those of MongoDB, as some of it.
    let plain = |calls: &Tally| {
        let mut plain = Tally::default();
        calls.each(|what, calls| {
            if !what.contains("mongodb") {
                plain.add(what, calls);
            }
        });
        plain
    };
    plain(&before).compare("the recording", &plain(&after))?;
    ensure!(after.total() > 40, "{} calls are left:\n{after}", after.total());
    Ok(())
}
