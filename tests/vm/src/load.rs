//! Load by `ab`, and over HTTP/2 by `h2load`.

use std::net::SocketAddr;
use std::process::Command;

use anyhow::{Context as _, Result, ensure};

/// What `ab` measured.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Load {
    /// Requests answered.
    pub(crate) requests: u64,
    /// Seconds that they took.
    pub(crate) seconds: f64,
}

/// Sends `requests` over `connections` keep-alive connections.
pub(crate) fn ab(address: SocketAddr, requests: u64, connections: u32) -> Result<Load> {
    let output = Command::new("/bin/ab")
        .args(["-q", "-k", "-c", &connections.to_string(), "-n", &requests.to_string()])
        .arg(format!("http://{address}/"))
        .output()
        .context("cannot start ab")?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    ensure!(output.status.success(), "ab: {}", String::from_utf8_lossy(&output.stderr).trim());
    let field = |name: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(name));
        let word = line.and_then(|rest| rest.trim().split(' ').next());
        word.with_context(|| format!("ab says nothing of `{name}`"))
    };
    let failed: u64 = field("Failed requests:")?.parse().context("ab's failed requests")?;
    ensure!(failed == 0, "{failed} of ab's requests failed");
    Ok(Load {
        requests: field("Complete requests:")?.parse().context("ab's requests")?,
        seconds: field("Time taken for tests:")?.parse().context("ab's time")?,
    })
}

/// Sends `requests` over two connections, ten streams at a time.
pub(crate) fn h2load(address: SocketAddr, requests: u64) -> Result<()> {
    let output = Command::new("/bin/h2load")
        .args(["-c", "2", "-m", "10", "-n", &requests.to_string()])
        .arg(format!("http://{address}/"))
        .output()
        .context("cannot start h2load")?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    ensure!(output.status.success(), "h2load: {}", String::from_utf8_lossy(&output.stderr).trim());
    let all = format!("{requests} succeeded");
    ensure!(text.contains(&all), "h2load did not say `{all}`:\n{text}");
    Ok(())
}
