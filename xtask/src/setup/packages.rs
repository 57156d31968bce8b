//! Debian packages with the programs that tests and benchmarks start.
//!
//! Nothing is asked of apt while every program is there. Packages that bring a daemon must not
//! start it: a temporary `policy-rc.d` (see invoke-rc.d(8)) says so for the time of the install.

use std::fs;
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result};

use super::{Context, say};
use crate::advice::Advice;
use crate::command;

const STEP: &str = "packages";
const LIMIT: Duration = Duration::from_mins(10);

/// Programs, or folders by their paths, each with the packages that have it, best first.
const NEEDED: [(&str, &[&str]); 25] = [
    ("nginx", &["nginx-light", "nginx"]),
    ("wrk", &["wrk"]),
    ("ab", &["apache2-utils"]),
    ("h2load", &["nghttp2-client"]),
    ("nghttpd", &["nghttp2-server"]),
    ("nghttpx", &["nghttp2-proxy"]),
    ("curl", &["curl"]),
    ("prometheus", &["prometheus"]),
    ("prometheus-alertmanager", &["prometheus-alertmanager"]),
    ("python3", &["python3"]),
    ("node", &["nodejs"]),
    ("dig", &["bind9-dnsutils"]),
    ("unbound", &["unbound"]),
    // 91 MB with all that it needs, most of it Go itself.
    ("go", &["golang-go"]),
    ("/usr/share/gocode/src/google.golang.org/grpc", &["golang-google-grpc-dev"]),
    ("ip", &["iproute2"]),
    ("ss", &["iproute2"]),
    ("qemu-system-x86_64", &["qemu-system-x86"]),
    ("mariadbd", &["mariadb-server-core"]),
    ("mariadb", &["mariadb-client"]),
    ("mariadb-slap", &["mariadb-client"]),
    // With its server, whose programs are where no path leads.
    ("pgbench", &["postgresql"]),
    ("redis-server", &["redis-server"]),
    ("redis-benchmark", &["redis-tools"]),
    ("memcached", &["memcached"]),
];

/// Makes sure that every program is there.
pub(super) fn ensure(context: &Context) -> Result<()> {
    let missing = missing();
    if missing.is_empty() {
        return Ok(());
    }
    let programs: Vec<&str> = missing.iter().map(|(program, _)| *program).collect();
    say(STEP, &format!("missing: {}", programs.join(", ")));
    let packages: Vec<&[&str]> = missing.iter().map(|(_, packages)| *packages).collect();
    install(context, &packages)
}

fn missing() -> Vec<(&'static str, &'static [&'static str])> {
    NEEDED.into_iter().filter(|(what, _)| !is_there(what)).collect()
}

fn is_there(what: &str) -> bool {
    if what.starts_with('/') { Path::new(what).is_dir() } else { command::which(what).is_some() }
}

/// Installs packages, from each list the first that apt knows.
pub(super) fn install(context: &Context, wanted: &[&[&str]]) -> Result<()> {
    let by_hand = || {
        let mut first: Vec<&str> = wanted.iter().filter_map(|p| p.first().copied()).collect();
        first.dedup();
        first.join(" ")
    };
    if command::which("apt-get").is_none() {
        return Err(Advice::error(
            "this machine has no apt-get",
            format!("install what your system calls these Debian packages: {}", by_hand()),
        ));
    }
    if !command::is_root() {
        return Err(Advice::error(
            "installing packages needs root",
            format!("as root: apt-get update && apt-get install {}", by_hand()),
        ));
    }
    let log = context.folder.join("apt.log");
    say(STEP, "apt-get update");
    command::run_quietly(apt().arg("update"), LIMIT, &log)?;
    let mut packages: Vec<&str> = wanted
        .iter()
        .filter_map(|names| names.iter().find(|name| is_known(name)).or(names.first()).copied())
        .collect();
    packages.dedup();
    say(STEP, &format!("apt-get install {}", packages.join(" ")));
    let policy = NoDaemons::try_new()?;
    let mut install = apt();
    install.args(["install", "--yes", "--no-install-recommends"]).args(&packages);
    let installed = command::run_quietly(&mut install, LIMIT, &log);
    drop(policy);
    installed.map_err(|error| {
        Advice::error(
            format!("{error:#}"),
            format!("as root: apt-get update && apt-get install {}", packages.join(" ")),
        )
    })
}

fn apt() -> Command {
    let mut apt = Command::new("apt-get");
    apt.args(["-q", "-o", "DPkg::Lock::Timeout=120", "-o", "Dpkg::Use-Pty=0"])
        .env("DEBIAN_FRONTEND", "noninteractive");
    apt
}

fn is_known(package: &str) -> bool {
    command::read(Command::new("apt-cache").args(["policy", package]))
        .is_ok_and(|policy| has_candidate(&policy))
}

/// Whether the output of `apt-cache policy` for one package has a version that can be installed.
fn has_candidate(policy: &str) -> bool {
    policy
        .lines()
        .find_map(|line| line.trim().strip_prefix("Candidate:"))
        .is_some_and(|version| version.trim() != "(none)")
}

/// Keeps packages from starting their daemons while it lives; an administrator's own policy is
/// left as it is.
struct NoDaemons {
    ours: bool,
}

impl NoDaemons {
    const POLICY: &str = "/usr/sbin/policy-rc.d";
    const SCRIPT: &str =
        "#!/bin/sh\n# vigie's cargo xtask setup: start no daemon while it installs\nexit 101\n";

    fn try_new() -> Result<Self> {
        let path = Path::new(Self::POLICY);
        // One that an interrupted set-up left behind.
        if fs::read_to_string(path).is_ok_and(|script| script == Self::SCRIPT) {
            return Ok(Self { ours: true });
        }
        match fs::OpenOptions::new().write(true).create_new(true).mode(0o755).open(path) {
            Ok(mut file) => {
                file.write_all(Self::SCRIPT.as_bytes()).context("writing policy-rc.d")?;
                Ok(Self { ours: true })
            }
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(Self { ours: false }),
            Err(error) => Err(error).context("creating policy-rc.d"),
        }
    }
}

impl Drop for NoDaemons {
    fn drop(&mut self) {
        if self.ours
            && let Err(error) = fs::remove_file(Self::POLICY)
        {
            say(STEP, &format!("cannot remove {}: {error}; remove it by hand", Self::POLICY));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn candidate_of_a_policy() {
        assert!(has_candidate("wrk:\n  Installed: (none)\n  Candidate: 4.1.0-4\n"));
        assert!(!has_candidate("nginx-light:\n  Installed: (none)\n  Candidate: (none)\n"));
        assert!(!has_candidate(""));
    }
}
