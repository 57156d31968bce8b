//! A server of MariaDB with a data folder of its own, on TCP and on a unix socket.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context as _, Result};
use tempfile::TempDir;

use crate::http::free_address;
use crate::needs;
use crate::process::{LIMIT, Process, run, service};
use crate::span::Span;
use crate::tally::Tally;
use crate::workload::{grpc as python, script};

/// Whom the tests' clients are to the server.
pub const USER: &str = "app";
/// And how they prove it. It must not appear anywhere.
pub const PASSWORD: &str = "swordfish-7731";

/// Tables that the tests' clients know.
const SCHEMA: &str = "
    CREATE DATABASE other;
    CREATE DATABASE shop;
    USE shop;
    CREATE TABLE orders (id INT PRIMARY KEY AUTO_INCREMENT, name VARCHAR(100), price DECIMAL(12,2));
    INSERT INTO orders (name, price) VALUES ('first', 1), ('second', 2);
    CREATE TABLE loaded (id INT PRIMARY KEY AUTO_INCREMENT, name VARCHAR(100), price DECIMAL(12,2));
    CREATE TABLE blobs (id INT PRIMARY KEY AUTO_INCREMENT, data LONGBLOB);
    DELIMITER //
    CREATE PROCEDURE twice() BEGIN SELECT 1; SELECT 2; END //
    DELIMITER ;
    CREATE USER app@'%' IDENTIFIED BY 'swordfish-7731';
    GRANT ALL ON *.* TO app@'%';
";

/// A running server with a database `shop`.
pub struct MariaDb {
    process: Process,
    folder: TempDir,
    port: u16,
}

impl MariaDb {
    /// Makes a data folder, starts the server and fills a database. Takes a few seconds.
    pub fn start() -> Result<Self> {
        let folder = tempfile::tempdir()?;
        // The server does not run as root; its socket is in this folder.
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o777))?;
        let data = format!("--datadir={}", folder.path().join("data").display());
        let small = ["--no-defaults", "--user=nobody", "--innodb-log-file-size=8M", &data];
        run(program("mariadb-install-db")?
            .args(small)
            .args(["--auth-root-authentication-method=normal", "--skip-test-db"]))?;
        let port = free_address()?.port();
        let process = Process::start(
            program("mariadbd")?
                .args(small)
                .arg(format!("--socket={}", folder.path().join("socket").display()))
                .arg(format!("--pid-file={}", folder.path().join("pid").display()))
                .arg(format!("--port={port}"))
                .args(["--bind-address=127.0.0.1", "--skip-name-resolve", "--local-infile=1"])
                .args(["--innodb-flush-log-at-trx-commit=0", "--max-allowed-packet=64M"])
                .env("OTEL_SERVICE_NAME", service("database")),
        )?;
        let is_ready = |lines: &[String]| {
            lines.iter().any(|line| line.contains("ready for connections")).then_some(())
        };
        process
            .errors
            .wait(0, LIMIT, is_ready)
            .with_context(|| format!("mariadbd is not ready{}", process.said()))?;
        let server = Self { process, folder, port };
        let schema = server.folder.path().join("schema.sql");
        fs::write(&schema, SCHEMA)?;
        let source = format!("source {}", schema.display());
        run(program("mariadb")?
            .args(["--no-defaults", "--user=root", "--execute", &source, "--socket"])
            .arg(server.socket()))?;
        Ok(server)
    }

    /// Its process.
    pub fn pid(&self) -> u32 {
        self.process.pid()
    }

    /// `HOST:PORT`.
    pub fn tcp(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// `unix:PATH`.
    pub fn unix(&self) -> String {
        format!("unix:{}", self.socket().display())
    }

    fn socket(&self) -> PathBuf {
        self.folder.path().join("socket")
    }

    /// One of MariaDB's own clients, with what it takes to be let in over TCP.
    pub fn client(&self, name: &str) -> Result<Command> {
        let mut command = program(name)?;
        command
            .args(["--no-defaults", "--host=127.0.0.1", "--user", USER])
            .arg(format!("--password={PASSWORD}"))
            .arg(format!("--port={}", self.port))
            .env("OTEL_SERVICE_NAME", service("client"));
        Ok(command)
    }

    /// What it counted itself since it started: `Com_select` and the like.
    pub fn counted(&self, name: &str) -> Result<usize> {
        let ask = format!("SHOW GLOBAL STATUS LIKE '{name}'");
        let mut client = self.client("mariadb")?;
        let said = run(client.args(["--skip-column-names", "--batch", "--execute", &ask]))?.output;
        let line = said.first().with_context(|| format!("no {name}"))?;
        let (_, value) = line.split_once('\t').with_context(|| format!("{name}: {line}"))?;
        Ok(value.trim().parse()?)
    }

    /// Python: `driver` and its jobs, see `tests/workloads/mysql_client.py`.
    pub fn python(driver: &str, target: &str, jobs: &[&str]) -> Result<Command> {
        let mut command = python("mysql_client.py")?;
        command.args([driver, target, USER, PASSWORD]).args(jobs);
        Ok(command)
    }

    /// Node: a script of `tests/workloads` with its numbers.
    pub fn node(name: &str, target: &str, numbers: &[&str]) -> Command {
        let mut command = Command::new("node");
        command
            .arg(script(name))
            .args([target, USER, PASSWORD])
            .args(numbers)
            .env("OTEL_SERVICE_NAME", service("client"))
            .env("NODE_PATH", needs::node_packages());
        command
    }
}

fn program(name: &str) -> Result<Command> {
    Ok(Command::new(needs::find(name).with_context(|| format!("no {name}"))?))
}

/// What a span is and how it ended, as the clients tell it: `SELECT orders 1054`.
pub fn call(span: &Span) -> String {
    format!("{} {}", span.name, span.text("db.response.status_code").unwrap_or("-"))
}

/// What a client says in its last line that it did.
pub fn said(output: &[String]) -> Result<Tally> {
    let last = output.last().context("a client said nothing")?;
    let calls: BTreeMap<String, usize> =
        serde_json::from_str(last).with_context(|| format!("a client said {last}"))?;
    Ok(calls.into_iter().collect())
}
