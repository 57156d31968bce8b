//! nginx as people run it: a master with two workers, static files by sendfile, a proxy with
//! connections to its upstream that are kept alive.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use tempfile::TempDir;

use crate::http;
use crate::needs;
use crate::process::{LIMIT, Process, until};
use crate::workload::{Exchange, exchanges};

/// Bytes of the large file.
pub const LARGE: usize = 10_000_000;

/// A running nginx.
pub struct Nginx {
    process: Process,
    folder: TempDir,
    port: u16,
    http2: u16,
}

/// Where its proxied locations go: `HOST:PORT` or `unix:PATH`.
pub struct Upstreams<'a> {
    /// `/proxy/` (HTTP/1.1, kept alive) and `/proxy10/` (HTTP/1.0).
    pub tcp: &'a str,
    /// `/proxy-unix/`.
    pub unix: &'a str,
}

impl Nginx {
    /// Starts it and waits until it accepts.
    pub fn start(upstreams: &Upstreams<'_>) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        // The workers may run as another user.
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755))?;
        let files = folder.path().join("files");
        fs::create_dir(&files)?;
        fs::write(files.join("small"), "a small file\n".repeat(50))?;
        fs::write(files.join("large"), vec![b'l'; LARGE])?;
        let (address, http2) = (http::free_address()?, http::free_address()?.port());
        let config = folder.path().join("nginx.conf");
        fs::write(&config, configuration(folder.path(), (address.port(), http2), upstreams)?)?;
        let program = needs::find("nginx").context("no nginx")?;
        let mut process = Process::start(
            Command::new(program)
                .arg("-p")
                .arg(folder.path())
                .arg("-c")
                .arg(&config)
                .args(["-e", "stderr"]),
        )?;
        until("nginx accepts", LIMIT, || {
            ensure!(process.is_running()?, "nginx ended{}", process.said());
            Ok(http::accepts(address))
        })?;
        Ok(Self { process, folder, port: address.port(), http2 })
    }

    /// `HOST:PORT`.
    pub fn target(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// TCP port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Where it speaks HTTP/2 in clear text.
    pub fn http2_port(&self) -> u16 {
        self.http2
    }

    /// The same server over a unix socket.
    pub fn unix_target(&self) -> String {
        format!("unix:{}", self.folder.path().join("nginx.sock").display())
    }

    /// Exchanges in its access log.
    pub fn exchanges(&self) -> Result<Vec<Exchange>> {
        let text = fs::read_to_string(self.folder.path().join("access.log"))?;
        // A line without an end is still being written.
        let whole = text.rsplit_once('\n').map_or("", |(lines, _)| lines);
        let lines: Vec<String> = whole.lines().map(str::to_owned).collect();
        let mut found = exchanges(&lines)?;
        for exchange in &mut found {
            if let Some((path, _)) = exchange.path.split_once('?') {
                exchange.path = path.to_owned();
            }
        }
        Ok(found)
    }

    /// Process ids of the workers.
    pub fn workers(&self) -> Result<Vec<u32>> {
        let children = format!("/proc/{0}/task/{0}/children", self.process.pid());
        let text = fs::read_to_string(children)?;
        text.split_whitespace().map(|pid| Ok(pid.parse()?)).collect()
    }

    /// Whether it still runs.
    pub fn is_running(&mut self) -> Result<bool> {
        self.process.is_running()
    }
}

fn configuration(
    folder: &Path,
    (port, http2): (u16, u16),
    upstreams: &Upstreams<'_>,
) -> Result<String> {
    let dead = http::free_address()?;
    let Upstreams { tcp, unix } = upstreams;
    let folder = folder.display();
    Ok(format!(
        r#"
daemon off;
worker_processes 2;
pid {folder}/nginx.pid;
events {{ worker_connections 512; }}
http {{
    log_format exchange escape=json '{{"side":"server","pid":$pid,"method":"$request_method",'
        '"path":"$request_uri","status":$status,"whole":true}}';
    access_log {folder}/access.log exchange;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    sendfile on;
    tcp_nopush on;
    keepalive_requests 100000000;
    keepalive_timeout 120s;
    client_max_body_size 100m;
    client_header_buffer_size 4k;
    large_client_header_buffers 4 2m;
    upstream kept {{ server {tcp}; keepalive 8; }}
    upstream local {{ server {unix}; keepalive 8; }}
    server {{
        listen 127.0.0.1:{port};
        listen 127.0.0.1:{http2} http2;
        listen unix:{folder}/nginx.sock;
        location /static/ {{ rewrite ^ /files/small break; root {folder}; }}
        location /large/ {{ rewrite ^ /files/large break; root {folder}; }}
        location /missing/ {{ root {folder}; }}
        location /ok/ {{ return 200 "ok\n"; }}
        location /empty/ {{ return 204; }}
        location /moved/ {{ return 301 /ok/; }}
        location /unmodified/ {{ return 304; }}
        location /broken/ {{ return 500 "broken\n"; }}
        location /proxy/ {{
            proxy_pass http://kept/;
            proxy_http_version 1.1;
            proxy_set_header Connection "";
        }}
        location /proxy10/ {{ proxy_pass http://{tcp}/; }}
        location /proxy-unix/ {{
            proxy_pass http://local/;
            proxy_http_version 1.1;
            proxy_set_header Connection "";
        }}
        location /dead/ {{ proxy_pass http://{dead}/; }}
    }}
}}
"#
    ))
}
