//! An Alertmanager that tells everything to a webhook in the test, at once.

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::Command;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;
use tempfile::TempDir;

use crate::http;
use crate::needs;
use crate::process::{LIMIT, Process, until};

/// The program, as Debian calls it.
pub const PROGRAM: &str = "prometheus-alertmanager";

/// How long the webhook waits for the rest of a post.
const READ_TIMEOUT: Duration = Duration::from_secs(10);

type Notes = Arc<Mutex<Vec<Value>>>;

/// A running Alertmanager without peers.
pub struct Alertmanager {
    process: Process,
    _folder: TempDir,
    address: SocketAddr,
    notes: Notes,
}

impl Alertmanager {
    /// Starts it with alerts grouped by these labels, and waits until it answers.
    pub fn start(group_by: &[&str]) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let (hook, notes) = webhook()?;
        let config = folder.path().join("alertmanager.yml");
        fs::write(
            &config,
            format!(
                "route: {{receiver: hook, group_by: [{}], group_wait: 1s, group_interval: 1s, repeat_interval: 1h}}\n\
                 receivers:\n\
                 - name: hook\n  webhook_configs: [{{url: 'http://{hook}/', send_resolved: true}}]\n",
                group_by.join(", ")
            ),
        )?;
        let address = http::free_address()?;
        let program = needs::find(PROGRAM).with_context(|| format!("no {PROGRAM}"))?;
        let mut process = Process::start(
            Command::new(program)
                .arg(format!("--config.file={}", config.display()))
                .arg(format!("--storage.path={}", folder.path().join("data").display()))
                .arg(format!("--web.listen-address={address}"))
                .arg("--cluster.listen-address="),
        )?;
        until("Alertmanager ready", LIMIT, || {
            ensure!(process.is_running()?, "{PROGRAM} ended{}", process.said());
            Ok(http::get(address, "/-/ready").is_ok_and(|(status, _)| status == 200))
        })?;
        Ok(Self { process, _folder: folder, address, notes })
    }

    /// Its base URL.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Alerts that it takes for active.
    pub fn alerts(&self) -> Result<Vec<Value>> {
        let (status, body) = http::get(self.address, "/api/v2/alerts?active=true")?;
        ensure!(status == 200, "alerts: {status}: {body}");
        Ok(serde_json::from_str(&body)?)
    }

    /// What it has told so far: bodies of webhooks, each with the alerts of one group.
    pub fn told(&self) -> Vec<Value> {
        self.notes.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Waits for a group that is as `is` wants it.
    pub fn wait(&mut self, what: &str, is: impl Fn(&Value) -> bool) -> Result<Value> {
        let mut found = None;
        until(what, LIMIT, || {
            ensure!(self.process.is_running()?, "{PROGRAM} ended{}", self.process.said());
            found = self.told().into_iter().find(&is);
            Ok(found.is_some())
        })
        .with_context(|| format!("told so far: {:#?}", self.told()))?;
        found.context("it was there")
    }
}

/// A server that notes the bodies of posts, on a thread that ends with the test.
fn webhook() -> Result<(SocketAddr, Notes)> {
    let listener = TcpListener::bind(("127.0.0.1", 0))?;
    let address = listener.local_addr()?;
    let notes = Notes::default();
    let own = Arc::clone(&notes);
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            // What is no post of Alertmanager is no concern of the test.
            if let Ok(body) = post(stream) {
                own.lock().unwrap_or_else(PoisonError::into_inner).push(body);
            }
        }
    });
    Ok((address, notes))
}

fn post(stream: TcpStream) -> Result<Value> {
    stream.set_read_timeout(Some(READ_TIMEOUT))?;
    let mut reader = BufReader::new(stream);
    let mut length = 0;
    loop {
        let mut line = String::new();
        ensure!(reader.read_line(&mut line)? > 0, "the head has no end");
        if line.trim().is_empty() {
            break;
        }
        if let Some((name, value)) = line.split_once(':')
            && name.eq_ignore_ascii_case("content-length")
        {
            length = value.trim().parse()?;
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body)?;
    let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
    reader.get_mut().write_all(answer)?;
    Ok(serde_json::from_slice(&body)?)
}
