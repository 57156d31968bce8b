//! A server of PostgreSQL with a data folder of its own: Debian's, on TCP and on a unix socket.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result};
use tempfile::TempDir;

use crate::http::free_address;
use crate::needs;
use crate::process::{LIMIT, Process, run, service, until};
use crate::span::{Kind, Span};

/// Tables that the tests' clients know.
const SCHEMA: &str = "
    CREATE TABLE orders (id int PRIMARY KEY, amount int);
    CREATE TABLE items (id int, name text);
    CREATE TABLE log (line text);
    INSERT INTO orders SELECT n, n FROM generate_series(1, 100) n;
    INSERT INTO items SELECT n, 'item' FROM generate_series(1, 100) n;
";

/// A running server with a database `shop`.
pub struct Postgres {
    process: Option<Process>,
    folder: TempDir,
    port: u16,
}

/// Where Debian keeps the server's programs: those of the newest version.
pub fn programs() -> Option<PathBuf> {
    let versions = fs::read_dir("/usr/lib/postgresql").ok()?.flatten();
    let mut folders: Vec<PathBuf> = versions
        .map(|version| version.path().join("bin"))
        .filter(|folder| folder.join("postgres").is_file() && folder.join("initdb").is_file())
        .collect();
    folders.sort();
    folders.pop()
}

impl Postgres {
    /// Makes a data folder, starts the server and fills a database. Takes a few seconds.
    pub fn start() -> Result<Self> {
        let programs = programs().context("no server of PostgreSQL")?;
        let folder = tempfile::tempdir()?;
        // The server does not run as root; its socket is in this folder.
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o777))?;
        let data = folder.path().join("data");
        run(as_postgres(&programs.join("initdb"))
            .args(["--no-sync", "--auth=trust", "--username=postgres", "--pgdata"])
            .arg(&data))?;
        let port = free_address()?.port();
        let process = Process::start(
            as_postgres(&programs.join("postgres"))
                .arg("-D")
                .arg(&data)
                .args(["-p", &port.to_string()])
                .args(["-c", "listen_addresses=127.0.0.1", "-c", "fsync=off"])
                .args(["-c", "autovacuum=off", "-c", "shared_preload_libraries=pg_stat_statements"])
                .arg("-c")
                .arg(format!("unix_socket_directories={}", folder.path().display()))
                .env("OTEL_SERVICE_NAME", service("database")),
        )?;
        let server = Self { process: Some(process), folder, port };
        until("PostgreSQL answers", LIMIT, || {
            Ok(run(server.psql("postgres").args(["-c", "SELECT 1"])).is_ok())
        })?;
        run(server.psql("postgres").args(["-c", "CREATE DATABASE shop"]))?;
        run(server.psql("shop").args(["-c", SCHEMA]))?;
        Ok(server)
    }

    /// Its TCP port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The folder of its unix socket, which clients take for a host.
    pub fn folder(&self) -> &str {
        self.folder.path().to_str().unwrap_or_default()
    }

    /// `psql` over TCP, without a start-up file.
    pub fn psql(&self, database: &str) -> Command {
        let mut command = self.client("psql", "127.0.0.1", database);
        command.args(["-X", "-q"]);
        command
    }

    /// One of its own clients.
    pub fn client(&self, program: &str, host: &str, database: &str) -> Command {
        let mut command = Command::new(program);
        command
            .env("OTEL_SERVICE_NAME", service("client"))
            .env("PGHOST", host)
            .env("PGPORT", self.port.to_string())
            .env("PGUSER", "postgres")
            .env("PGDATABASE", database);
        command
    }

    /// The spans of its processes.
    pub fn spans<'a>(&self, spans: &'a [Span]) -> impl Iterator<Item = &'a Span> {
        let (port, folder) = (self.port, self.folder().to_owned());
        spans.iter().filter(move |span| {
            let is_here = span.local.port == Some(port)
                || span.local.address.as_ref().is_some_and(|path| path.starts_with(&folder));
            span.kind == Kind::Server && is_here
        })
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        // In good order, as it leaves shared memory behind otherwise.
        if let Some(process) = self.process.take() {
            drop(process.terminate(LIMIT));
        }
    }
}

/// As the user that Debian's package makes.
fn as_postgres(program: &Path) -> Command {
    let mut command = Command::new("setpriv");
    command
        .args(["--reuid", "postgres", "--regid", "postgres", "--clear-groups"])
        .arg(program)
        .current_dir("/");
    command
}

/// Whether there is all that it takes.
pub fn is_there() -> bool {
    programs().is_some() && needs::find("setpriv").is_some() && needs::find("pgbench").is_some()
}
