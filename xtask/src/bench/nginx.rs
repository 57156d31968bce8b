//! nginx with one worker and a small static answer: the program that is watched.

use std::fs::{self, File};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use clap::ValueEnum;

use super::{http, process};
use crate::advice::Advice;
use crate::command;

/// Size of the answer's body in bytes.
const PAGE: usize = 600;
const START_LIMIT: Duration = Duration::from_secs(5);
const STOP_LIMIT: Duration = Duration::from_secs(5);

/// Where the answer comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Page {
    /// A file, sent as Debian's nginx is configured to: the usual case
    File,
    /// The configuration: the fewest system calls per request, so the agent weighs the most
    Memory,
}

/// A running nginx; ends when dropped.
pub(super) struct Nginx {
    child: Child,
    address: SocketAddr,
    http2: SocketAddr,
}

impl Nginx {
    /// Starts one whose files are in `folder`, and waits until it answers.
    pub(super) fn start(folder: &Path, page: Page) -> Result<Self> {
        let program = command::which("nginx").context("nginx is missing; see set-up's messages")?;
        let prefix = folder.join("nginx");
        fs::create_dir_all(&prefix).with_context(|| format!("creating {}", prefix.display()))?;
        let (address, http2) = (http::free_address()?, http::free_address()?);
        let configuration = prefix.join("nginx.conf");
        fs::write(&configuration, configure(address, http2, page))
            .with_context(|| format!("writing {}", configuration.display()))?;
        let html = prefix.join("html");
        fs::create_dir_all(&html).with_context(|| format!("creating {}", html.display()))?;
        fs::write(html.join("index.html"), body())
            .with_context(|| format!("writing to {}", html.display()))?;
        let log = prefix.join("nginx.log");
        let output = File::create(&log).with_context(|| format!("creating {}", log.display()))?;
        let child = Command::new(program)
            .arg("-p")
            .arg(&prefix)
            .arg("-c")
            .arg(&configuration)
            .args(["-e", "stderr"])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(output)
            .spawn()
            .context("cannot start nginx")?;
        let nginx = Self { child, address, http2 };
        let end = Instant::now() + START_LIMIT;
        while nginx.requests().is_err() {
            if Instant::now() >= end {
                return Err(Advice::error(
                    "nginx does not answer",
                    format!("see {}", log.display()),
                ));
            }
            thread::sleep(Duration::from_millis(20));
        }
        Ok(nginx)
    }

    /// Address of the page.
    pub(super) fn url(&self) -> String {
        format!("http://{}/", self.address)
    }

    /// Address of the page over HTTP/2.
    pub(super) fn http2_url(&self) -> String {
        format!("http://{}/", self.http2)
    }

    /// Requests that it has served since its start, this question among them.
    pub(super) fn requests(&self) -> Result<u64> {
        let status = http::get(self.address, "/status")?;
        parse_requests(&status).context("nginx's status page has another form than expected")
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        if let Err(error) = process::stop(&mut self.child, STOP_LIMIT) {
            eprintln!("bench: nginx: {error:#}");
        }
    }
}

fn body() -> String {
    ('a'..='z').cycle().take(PAGE).collect()
}

fn configure(address: SocketAddr, http2: SocketAddr, page: Page) -> String {
    let location = match page {
        // What Debian's nginx.conf says of files.
        Page::File => "root html; sendfile on; tcp_nopush on;".to_owned(),
        Page::Memory => format!("return 200 \"{}\";", body()),
    };
    // The worker must be able to read below a folder that only this user may enter.
    let user = if command::is_root() { "user root;\n" } else { "" };
    format!(
        "{user}worker_processes 1;
daemon off;
master_process on;
pid nginx.pid;
events {{ worker_connections 4096; }}
http {{
    access_log off;
    client_body_temp_path body;
    proxy_temp_path proxy;
    fastcgi_temp_path fastcgi;
    uwsgi_temp_path uwsgi;
    scgi_temp_path scgi;
    keepalive_requests 1000000000;
    http2_max_concurrent_streams 128;
    server {{
        listen {address};
        listen {http2} http2;
        location / {{ {location} }}
        location = /status {{ stub_status; }}
    }}
}}
"
    )
}

/// The third number of the third line of `ngx_http_stub_status_module`'s page.
fn parse_requests(status: &str) -> Option<u64> {
    status.lines().nth(2)?.split_whitespace().nth(2)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_of_a_status_page() {
        let status = "Active connections: 1 \nserver accepts handled requests\n 52 52 238128 \n\
            Reading: 0 Writing: 1 Waiting: 0 \n";
        assert_eq!(parse_requests(status), Some(238_128));
        assert_eq!(parse_requests("<html>"), None);
    }
}
