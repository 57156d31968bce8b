//! `overhead/postgres`: PostgreSQL at saturation by pgbench, one `SELECT` by primary key at a time on each
//! connection.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};

use super::agent::Unwatched;
use super::load::{self, Subject};
use super::report::Outcome;
use super::{Bench, http, process, prometheus, wrk};
use crate::advice::Advice;
use crate::command;

const START_LIMIT: Duration = Duration::from_secs(20);
const STOP_LIMIT: Duration = Duration::from_secs(10);

/// Where Debian has the server's programs, by version.
const PROGRAMS: &str = "/usr/lib/postgresql";
/// The user that Debian's package makes; the server does not run as root.
const USER: &str = "postgres";

const COUNTED: &str = "db_server_operation_duration_seconds_count";
/// What pgbench asks; its questions before the run are of other tables.
const TABLE: &str = "\"pgbench_accounts\"";

/// A running server; ends when dropped.
struct Postgres {
    child: Child,
    programs: PathBuf,
    folder: PathBuf,
    port: u16,
    connections: u32,
    /// Statements that were answered.
    answered: AtomicU64,
}

impl Postgres {
    fn start(bench: &Bench) -> Result<Self> {
        let programs = programs()?;
        // Not among the others, where the server's user may not come.
        let folder = env::temp_dir().join(format!("vigie-bench-{}", std::process::id()));
        make_folder(&folder)?;
        let data = folder.join("data");
        let data_text = data.display().to_string();
        command::read(as_user(&programs.join("initdb")).args([
            "--no-sync",
            "--auth=trust",
            "--username=postgres",
            "--pgdata",
            &data_text,
        ]))?;
        let port = http::free_address()?.port();
        let child = as_user(&programs.join("postgres"))
            .args(["-D", &data_text, "-p", &port.to_string()])
            .args(["-c", "listen_addresses=127.0.0.1", "-c", "unix_socket_directories="])
            .args(["-c", "fsync=off", "-c", "autovacuum=off", "-c"])
            .arg(format!("max_connections={}", bench.connections + 10))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .context("cannot start PostgreSQL")?;
        let connections = bench.connections;
        let answered = AtomicU64::new(0);
        let server = Self { child, programs, folder, port, connections, answered };
        let end = Instant::now() + START_LIMIT;
        while command::read(server.pgbench().args(["-i", "-q", "postgres"])).is_err() {
            if Instant::now() >= end {
                return Err(Advice::error(
                    "PostgreSQL does not answer, or pgbench cannot make its tables",
                    format!("run the server: postgres -D {data_text} -p {port}"),
                ));
            }
            thread::sleep(Duration::from_millis(50));
        }
        Ok(server)
    }

    fn pgbench(&self) -> Command {
        let mut command = Command::new(self.programs.join("pgbench"));
        command.args(["-h", "127.0.0.1", "-U", "postgres", "-p", &self.port.to_string()]);
        command
    }
}

impl Subject for Postgres {
    fn load(&self, length: Duration) -> Result<wrk::Run> {
        let output = command::read(
            self.pgbench().args(["-S", "-n", "-c", &self.connections.to_string()]).args([
                "-T",
                &length.as_secs().to_string(),
                "postgres",
            ]),
        )?;
        let run = parse(&output)
            .with_context(|| format!("pgbench printed another form than expected:\n{output}"))?;
        self.answered.fetch_add(run.requests, Ordering::Relaxed);
        Ok(run)
    }

    /// By pgbench's own count, as the server's comes late; nothing is asked for it but the one that is
    /// agreed on.
    fn served(&self) -> Result<u64> {
        Ok(self.answered.fetch_add(1, Ordering::Relaxed) + 1)
    }

    fn counted(&self, metrics: &str) -> Option<f64> {
        prometheus::sum_where(metrics, COUNTED, |labels| labels.contains(TABLE))
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        let stopped = process::stop(&mut self.child, STOP_LIMIT);
        let removed = fs::remove_dir_all(&self.folder).context("removing its data");
        if let Err(error) = stopped.and(removed) {
            eprintln!("bench: PostgreSQL: {error:#}");
        }
    }
}

/// A folder that belongs to the server's user, with nothing in it.
fn make_folder(folder: &Path) -> Result<()> {
    if folder.exists() {
        fs::remove_dir_all(folder).with_context(|| format!("removing {}", folder.display()))?;
    }
    fs::create_dir_all(folder).with_context(|| format!("creating {}", folder.display()))?;
    command::read(Command::new("chown").arg(USER).arg(folder))?;
    Ok(())
}

/// The programs of the newest version.
fn programs() -> Result<PathBuf> {
    let folders = fs::read_dir(PROGRAMS).map(|folders| folders.flatten().collect::<Vec<_>>());
    let mut folders: Vec<PathBuf> = folders
        .unwrap_or_default()
        .iter()
        .map(|folder| folder.path().join("bin"))
        .filter(|folder| folder.join("postgres").is_file() && folder.join("pgbench").is_file())
        .collect();
    folders.sort();
    folders.pop().context("PostgreSQL is missing; see the messages of set-up")
}

fn as_user(program: &Path) -> Command {
    let mut command = Command::new("setpriv");
    command
        .args(["--reuid", USER, "--regid", USER, "--clear-groups"])
        .arg(program)
        .current_dir("/");
    command
}

fn parse(output: &str) -> Option<wrk::Run> {
    let after = |name: &str| output.lines().find_map(|line| line.strip_prefix(name));
    let requests = after("number of transactions actually processed: ")?;
    let failed = after("number of failed transactions: ")?;
    let rate = after("tps = ")?;
    let is_whole = failed.starts_with("0 ");
    Some(wrk::Run {
        requests: requests.split('/').next()?.trim().parse().ok()?,
        rate: rate.split_whitespace().next()?.parse().ok()?,
        p99: None,
    })
    .filter(|_| is_whole)
}

/// Runs the benchmark; the load counts as one on another machine.
pub(super) fn measure(bench: &Bench, name: &'static str) -> Result<Outcome> {
    let server = Postgres::start(bench)?;
    load::measure(bench, name, &server, Unwatched(&["*/pgbench", "*/xtask"]), None)
}

#[cfg(test)]
mod tests {
    use super::*;

    const OUTPUT: &str = "\
pgbench (17.6 (Debian 17.6-0+deb13u1))
transaction type: <builtin: select only>
scaling factor: 1
query mode: simple
number of clients: 50
number of threads: 1
maximum number of tries: 1
duration: 2 s
number of transactions actually processed: 40000
number of failed transactions: 0 (0.000%)
latency average = 2.500 ms
initial connection time = 60.000 ms
tps = 20000.500000 (without initial connection time)
";

    #[test]
    fn reads_what_pgbench_prints() {
        let run = parse(OUTPUT).unwrap();
        assert_eq!(run.requests, 40_000);
        assert!((run.rate - 20_000.5).abs() < 1e-6);
        assert_eq!(run.p99, None);
        let failing = OUTPUT.replace("transactions: 0 (0.000%)", "transactions: 3 (0.007%)");
        assert!(parse(&failing).is_none());
        assert!(parse("pgbench: error").is_none());
    }
}
