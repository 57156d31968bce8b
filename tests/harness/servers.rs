//! A server of each kind of protocol that vigie reads, and clients of all of them that use secrets
//! (`tests/workloads/secrets_client.py`).

use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::sync::{Mutex, MutexGuard, PoisonError};

use anyhow::{Context as _, Result, ensure};
use tempfile::TempDir;

use crate::http;
use crate::mariadb::MariaDb;
use crate::needs::{self, Need};
use crate::postgres::Postgres;
use crate::process::{LIMIT, Process, run, until};
use crate::secrets::Secrets;
use crate::workload::{Server, grpc as python, script};

/// What it takes.
pub const NEEDS: [Need; 13] = [
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

/// A running server of each kind.
pub struct Servers {
    _postgres: Postgres,
    _mariadb: MariaDb,
    _plain: Vec<Process>,
    _scripts: Vec<Server>,
    _folder: TempDir,
    /// The name of each kind of client, and where its server listens.
    pub targets: Vec<(&'static str, String)>,
    _alone: MutexGuard<'static, ()>,
}

/// One test at a time: vigie sees what the other one's servers do.
static ALONE: Mutex<()> = Mutex::new(());

impl Servers {
    /// Starts them all.
    pub fn start(secrets: &Secrets) -> Result<Self> {
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
    pub fn clients(&self, options: &[&str]) -> Result<Vec<Process>> {
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
    let before = fs::read_to_string(&file)?;
    let mut lines = String::new();
    let mut commands = String::new();
    for (role, way, how) in [
        ("in_the_clear", "password", "scram-sha-256"),
        ("by_md5", "md5", "md5"),
        ("by_scram", "scram-sha-256", "scram-sha-256"),
    ] {
        writeln!(lines, "host all {role} 127.0.0.1/32 {way}")?;
        let password = secrets.password();
        write!(
            commands,
            "SET password_encryption = '{how}'; CREATE ROLE {role} LOGIN PASSWORD '{password}';"
        )?;
    }
    fs::write(&file, lines + &before)?;
    run(server.psql("shop").args(["-c", &commands, "-c", "SELECT pg_reload_conf()"]))?;
    Ok(())
}

/// Waits for the clients, and says how much they did.
pub fn finish(clients: Vec<Process>) -> Result<u64> {
    let mut done = 0;
    for client in clients {
        let ended = client.wait(3 * LIMIT)?;
        ensure!(ended.status.success(), "a client: {:?}", ended.errors);
        let last = ended.output.last().context("a client said nothing")?;
        let said: serde_json::Value = serde_json::from_str(last)?;
        done += said.get("done").and_then(serde_json::Value::as_u64).unwrap_or_default();
    }
    Ok(done)
}
