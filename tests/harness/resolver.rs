//! A resolver with names of its own: unbound on an address of the loopback network, at port 53, as
//! resolver libraries know no other.

use std::fmt::Write as _;
use std::net::{Ipv4Addr, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use anyhow::{Context as _, Result};
use tempfile::TempDir;

use crate::needs;
use crate::process::{LIMIT, Process, until};

/// Names `n0.test`, `n1.test`, … that there are.
pub const NAMES: usize = 100;

/// Addresses of `big.test`: too many for a datagram.
pub const BIG: usize = 100;

/// A running resolver.
pub struct Resolver {
    process: Process,
    /// Where it answers, at port 53.
    pub address: Ipv4Addr,
    folder: TempDir,
    commands: AtomicU32,
}

impl Resolver {
    /// Starts it and waits until it answers. `named.test` and `also.test` are 127.0.0.1; there are no other names of
    /// `test.`, and none of `lost.`.
    pub fn start() -> Result<Self> {
        let folder = tempfile::tempdir()?;
        // An address that no other test has.
        let [low, high, ..] = std::process::id().to_le_bytes();
        let address = Ipv4Addr::new(127, 1 + high % 200, low, 53);
        let file = folder.path().join("unbound.conf");
        std::fs::write(&file, config(address, folder.path()))?;
        let program = needs::find("unbound").context("no unbound")?;
        let process = Process::start(Command::new(program).arg("-d").arg("-c").arg(&file))?;
        let resolver = Self { process, address, folder, commands: AtomicU32::new(0) };
        until("unbound answers", LIMIT, || resolver.answers())?;
        Ok(resolver)
    }

    /// Its process.
    pub fn pid(&self) -> u32 {
        self.process.pid()
    }

    /// A command in a mount namespace of its own, in which this is the resolver of all programs.
    /// `options` are further lines of `resolv.conf`.
    pub fn command(&self, program: &Path, options: &str) -> Result<Command> {
        // Each command has its own.
        let number = self.commands.fetch_add(1, Ordering::Relaxed);
        let file: PathBuf = self.folder.path().join(format!("resolv.conf.{number}"));
        std::fs::write(&file, format!("nameserver {}\n{options}\n", self.address))?;
        let mut command = Command::new("unshare");
        command
            .args(["--mount", "sh", "-c", "mount --bind \"$0\" /etc/resolv.conf && exec \"$@\""])
            .arg(file)
            .arg(program);
        Ok(command)
    }

    fn answers(&self) -> Result<bool> {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
        socket.set_read_timeout(Some(Duration::from_millis(200)))?;
        let question = b"\0\x07\x01\0\0\x01\0\0\0\0\0\0\x02n0\x04test\0\0\x01\0\x01";
        if socket.send_to(question, (self.address, 53)).is_err() {
            return Ok(false);
        }
        Ok(socket.recv(&mut [0; 512]).is_ok())
    }
}

fn config(address: Ipv4Addr, folder: &Path) -> String {
    let mut text = format!(
        "server:\n  interface: {address}\n  port: 53\n  do-daemonize: no\n  username: \"\"\n  \
         chroot: \"\"\n  directory: \"{}\"\n  pidfile: \"\"\n  use-syslog: no\n  num-threads: 1\n  \
         access-control: 127.0.0.0/8 allow\n  local-zone: \"lost.\" static\n  \
         local-zone: \"test.\" static\n  \
         local-data: \"named.test. 60 IN A 127.0.0.1\"\n  \
         local-data: \"also.test. 60 IN A 127.0.0.1\"\n",
        folder.display()
    );
    let mut add = |name: &str, last: usize| {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "  local-data: \"{name}.test. 60 IN A 10.9.8.{last}\"");
    };
    (0..NAMES).for_each(|number| add(&format!("n{number}"), number));
    (0..BIG).for_each(|number| add("big", number));
    text + "remote-control:\n  control-enable: no\n"
}
