//! Process 1: a small system around the tests.

use std::convert::Infallible;
use std::ffi::CStr;
use std::fs;
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::process::Command;

use anyhow::{Context as _, Result, bail};
use rustix::mount::{MountFlags, mount};
use rustix::system::RebootCommand;

use crate::{runner, say};

/// File systems: type and folder. The first have to be there; a kernel may lack one of the others,
/// and the test that needs it says so.
const NEEDED: [(&str, &str); 4] =
    [("proc", "/proc"), ("sysfs", "/sys"), ("devtmpfs", "/dev"), ("tmpfs", "/tmp")];
const WANTED: [(&str, &str); 5] = [
    ("tmpfs", "/run"),
    ("tracefs", "/sys/kernel/tracing"),
    ("securityfs", "/sys/kernel/security"),
    ("bpf", "/sys/fs/bpf"),
    ("cgroup2", "/sys/fs/cgroup"),
];

/// Sets up the system, runs what the command line asks for, powers off.
pub(crate) fn run() -> ! {
    let result = set_up().and_then(|()| work());
    if let Err(error) = result {
        say::line(&format!("fail init - 0 {error:#}"));
    }
    say::line("done");
    // The serial port has a queue, and power-off does not wait for it.
    if let Ok(port) = fs::File::options().write(true).open("/dev/ttyS1") {
        let _ = rustix::termios::tcdrain(port);
    }
    match power_off() {
        Ok(never) => match never {},
        // Process 1 must not end: the kernel panics, which the host sees.
        Err(error) => panic_by_ending(&error),
    }
}

#[expect(clippy::exit, reason = "the host takes the kernel's panic for what it is: no power-off")]
fn panic_by_ending(error: &anyhow::Error) -> ! {
    say::line(&format!("fail init - 0 {error:#}"));
    std::process::exit(1)
}

fn power_off() -> Result<Infallible> {
    rustix::system::reboot(RebootCommand::PowerOff).context("power-off")?;
    bail!("power-off returned")
}

fn set_up() -> Result<()> {
    for (kind, folder) in NEEDED {
        attach(kind, folder)?;
    }
    for (kind, folder) in WANTED {
        if let Err(error) = attach(kind, folder) {
            eprintln!("init: {error:#}");
        }
    }
    fs::set_permissions("/tmp", fs::Permissions::from_mode(0o1777)).context("/tmp")?;
    loopback_up()?;
    // Thousands of connections, both ends here.
    rustix::process::setrlimit(
        rustix::process::Resource::Nofile,
        rustix::process::Rlimit { current: Some(200_000), maximum: Some(200_000) },
    )
    .context("limit of open files")?;
    for (file, value) in [
        ("net/core/somaxconn", "4096"),
        ("net/ipv4/tcp_max_syn_backlog", "4096"),
        ("net/ipv4/ip_local_port_range", "10000 65000"),
        ("net/ipv4/tcp_tw_reuse", "1"),
    ] {
        write_setting(file, value)?;
    }
    Ok(())
}

/// Writes a file below `/proc/sys`.
pub(crate) fn write_setting(name: &str, value: &str) -> Result<()> {
    let path = format!("/proc/sys/{name}");
    let mut file =
        fs::File::options().write(true).open(&path).with_context(|| format!("opening {path}"))?;
    file.write_all(value.as_bytes()).with_context(|| format!("writing {value} to {path}"))
}

fn attach(kind: &str, folder: &str) -> Result<()> {
    fs::create_dir_all(folder).with_context(|| format!("creating {folder}"))?;
    mount(kind, folder, kind, MountFlags::empty(), None::<&CStr>)
        .with_context(|| format!("mounting {kind} at {folder}"))
}

fn loopback_up() -> Result<()> {
    let status = Command::new("/bin/ip").args(["link", "set", "lo", "up"]).status();
    if !status.context("cannot start ip")?.success() {
        bail!("`ip link set lo up` failed");
    }
    Ok(())
}

/// What is asked for: `vigie.do=bench:N:BACKENDS` or `vigie.do=test:NAMES:BACKENDS`, each joined
/// by commas, or `all`.
fn work() -> Result<()> {
    let line = fs::read_to_string("/proc/cmdline").context("reading the command line")?;
    let asked = line.split_whitespace().find_map(|word| word.strip_prefix("vigie.do="));
    match asked.and_then(|asked| asked.split_once(':')) {
        Some(("bench", rest)) => {
            let (requests, backends) = rest.split_once(':').unwrap_or((rest, "all"));
            let output = Command::new("/init").args(["bench", requests, backends]).output();
            let output = output.context("cannot start the benchmark")?;
            for line in String::from_utf8_lossy(&output.stdout).lines() {
                say::line(&format!("log {line}"));
            }
            if output.status.success() {
                return Ok(());
            }
            bail!("benchmark: {}", String::from_utf8_lossy(&output.stderr).trim())
        }
        Some(("test", rest)) => {
            let (names, backends) = rest.split_once(':').unwrap_or((rest, "all"));
            runner::run(names, backends)
        }
        // To see whether it boots.
        Some(("nothing", _)) => Ok(()),
        _ => bail!("nothing to do on the kernel's command line"),
    }
}
