//! Who takes the spans that the agent exports.

use std::fs::File;
use std::net::{SocketAddr, TcpStream};
use std::process::{self, Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use clap::ValueEnum;
use serde::Serialize;

use super::{Bench, http};
use crate::advice::Advice;

const START_LIMIT: Duration = Duration::from_secs(5);
const STOP_LIMIT: Duration = Duration::from_secs(5);

/// Kinds of receiver.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Kind {
    /// A part of this process that reads requests and answers, without decoding
    Sink,
    /// A collector that others wrote: decodes everything, which costs it about 2 s of CPU per
    /// million spans, on the processors that nginx, the load and the agent share
    Rotel,
}

impl Kind {
    /// Name as on the command line.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Sink => "sink",
            Self::Rotel => "rotel",
        }
    }
}

/// A running receiver of OTLP over HTTP; ends when dropped.
pub(super) struct Receiver {
    address: SocketAddr,
    child: Option<Child>,
}

impl Receiver {
    /// Starts one and waits until it listens.
    pub(super) fn start(bench: &Bench) -> Result<Self> {
        if bench.receiver == Kind::Sink {
            return Ok(Self { address: http::start_sink()?, child: None });
        }
        let address = http::free_address()?;
        let log = bench.folder.join("rotel.log");
        let output = File::create(&log).with_context(|| format!("creating {}", log.display()))?;
        let errors = output.try_clone().context("log of rotel")?;
        let child = Command::new(&bench.rotel)
            .args(["start", "--exporter", "blackhole"])
            .args(["--otlp-http-endpoint", &address.to_string()])
            .args(["--otlp-grpc-endpoint", &http::free_address()?.to_string()])
            .stdin(Stdio::null())
            .stdout(output)
            .stderr(errors)
            .spawn();
        let child = child.map_err(|error| {
            Advice::error(
                format!("cannot start rotel: {error}"),
                "see the messages of `cargo xtask setup`, or use `--receiver sink`",
            )
        })?;
        let receiver = Self { address, child: Some(child) };
        let end = Instant::now() + START_LIMIT;
        while TcpStream::connect(address).is_err() {
            if Instant::now() >= end {
                let todo = format!("see {}, or use `--receiver sink`", log.display());
                return Err(Advice::error("rotel does not listen", todo));
            }
            thread::sleep(Duration::from_millis(20));
        }
        Ok(receiver)
    }

    /// Where it listens.
    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Its processor time so far, in seconds. A sink shares this process with the measurement,
    /// which is idle while the load runs.
    pub(super) fn cpu_seconds(&self) -> Result<f64> {
        super::process::cpu_seconds(self.child.as_ref().map_or_else(process::id, Child::id))
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child
            && let Err(error) = super::process::stop(child, STOP_LIMIT)
        {
            eprintln!("bench: rotel: {error:#}");
        }
    }
}
