//! A server of Redis, on TCP and on a unix socket.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use tempfile::TempDir;

use crate::agent::Options;
use crate::http;
use crate::needs;
use crate::process::{LIMIT, Process, run, service, until};
use crate::tally::Tally;

/// A running server without a file of its data.
pub struct Redis {
    process: Process,
    address: SocketAddr,
    folder: TempDir,
}

impl Redis {
    /// Starts it and waits until it accepts.
    pub fn start() -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let address = http::free_address()?;
        let mut command = Command::new(needs::find("redis-server").context("no redis-server")?);
        command
            .args(["--bind", "127.0.0.1", "--port", &address.port().to_string(), "--save", ""])
            .args(["--proto-max-bulk-len", "64mb", "--unixsocket"])
            .arg(folder.path().join("redis.sock"))
            .arg("--dir")
            .arg(folder.path())
            .env("OTEL_SERVICE_NAME", service("store"));
        let mut process = Process::start(&mut command)?;
        until("redis-server accepts", LIMIT, || {
            ensure!(process.is_running()?, "redis-server ended{}", process.said());
            Ok(http::accepts(address))
        })?;
        Ok(Self { process, address, folder })
    }

    /// How an agent watches it, and what the tests start: its title is where its environment was.
    pub fn options(&self) -> Options {
        Options::ours_and(&format!("{{pid: {}}}", self.process.pid()), "")
    }

    /// Its process.
    pub fn pid(&self) -> u32 {
        self.process.pid()
    }

    /// Where it listens on TCP.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Its TCP port.
    pub fn port(&self) -> String {
        self.address.port().to_string()
    }

    /// The path of its unix socket.
    pub fn path(&self) -> PathBuf {
        self.folder.path().join("redis.sock")
    }

    /// What `redis-cli` says when it asks this.
    pub fn ask(&self, words: &[&str]) -> Result<Vec<String>> {
        let cli = needs::find("redis-cli").context("no redis-cli")?;
        let mut cli = Command::new(cli);
        cli.args(["-p", &self.port()]).args(words).env("OTEL_SERVICE_NAME", service("client"));
        Ok(run(&mut cli)?.output)
    }

    /// From now on it counts anew.
    pub fn reset(&self) -> Result<()> {
        self.ask(&["config", "resetstat"]).map(drop)
    }

    /// The commands that it ran since [`Self::reset`], as vigie names them.
    pub fn counted(&self) -> Result<Tally> {
        let mut counted = Tally::default();
        for line in self.ask(&["info", "commandstats"])? {
            let Some((name, figures)) =
                line.strip_prefix("cmdstat_").and_then(|rest| rest.split_once(":calls="))
            else {
                continue;
            };
            let calls = figures.split(',').next().unwrap_or_default();
            let name = name.to_uppercase().replace('|', " ");
            // That of the reset is written down after it.
            if name != "CONFIG RESETSTAT" {
                counted.add(name, calls.parse()?);
            }
        }
        Ok(counted)
    }
}
