//! nginx with one worker and a small static page.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result};

use crate::process;

/// Size of the page in bytes.
const PAGE: usize = 600;
/// How far the port for HTTP/2 is above the other one.
const HTTP2: u16 = 1000;
const START_LIMIT: Duration = Duration::from_secs(30);

/// A running nginx; ends when dropped.
pub(crate) struct Nginx {
    master: Child,
    /// Process id of the one worker.
    pub(crate) worker: u32,
    /// Where it answers.
    pub(crate) address: SocketAddr,
    /// Where it answers over HTTP/2.
    pub(crate) http2: SocketAddr,
}

impl Nginx {
    /// Starts one and waits for its worker.
    pub(crate) fn start(port: u16) -> Result<Self> {
        let prefix = format!("/tmp/nginx-{port}");
        let html = format!("{prefix}/html");
        fs::create_dir_all(&html).with_context(|| format!("creating {html}"))?;
        let page: String = ('a'..='z').cycle().take(PAGE).collect();
        fs::write(format!("{html}/index.html"), page).context("writing the page")?;
        let configuration = format!("{prefix}/nginx.conf");
        fs::write(&configuration, configure(port, port + HTTP2)).context("writing nginx.conf")?;
        let log = fs::File::create(format!("{prefix}/error.log")).context("creating a log")?;
        let master = Command::new("/bin/nginx")
            .args(["-p", &prefix, "-c", &configuration, "-e", "stderr"])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .context("cannot start nginx")?;
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let http2 = SocketAddr::from((Ipv4Addr::LOCALHOST, port + HTTP2));
        let id = master.id();
        let mut nginx = Self { master, worker: 0, address, http2 };
        nginx.worker = process::wait_for("nginx answers", START_LIMIT, || {
            let worker = process::children(id)?.first().copied();
            Ok(worker.filter(|_| TcpStream::connect(address).is_ok()))
        })?;
        Ok(nginx)
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        // The worker sees its master go, and goes.
        let _ = self.master.kill();
        let _ = self.master.wait();
        if let Some(worker) =
            i32::try_from(self.worker).ok().and_then(rustix::process::Pid::from_raw)
        {
            let _ = rustix::process::kill_process(worker, rustix::process::Signal::KILL);
        }
    }
}

fn configure(port: u16, http2: u16) -> String {
    format!(
        "user root;
worker_processes 1;
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
    server {{
        listen 127.0.0.1:{port};
        listen 127.0.0.1:{http2} http2;
        location / {{ root html; sendfile on; tcp_nopush on; }}
    }}
}}
"
    )
}
