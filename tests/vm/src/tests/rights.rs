//! Less than root: a user with six capabilities, and a kernel that is locked down.

use std::fs;

use anyhow::{Context as _, Result, ensure};
use rustix::process::{Resource, Rlimit, setrlimit};

use super::{Case, Verdict, expect_exactly, text, watching};
use crate::agent::{self, NOBODY, Options};
use crate::client::{Client, To};
use crate::init::write_setting;
use crate::server::{self, Server};

const CAPABILITIES: &str =
    "-all,+bpf,+perfmon,+net_admin,+sys_ptrace,+dac_read_search,+checkpoint_restore";

/// An ordinary user with these capabilities alone, where unprivileged users have no bpf(2).
pub(super) fn capabilities(case: &Case) -> Result<Verdict> {
    write_setting("kernel/unprivileged_bpf_disabled", "2")?;
    // Before Linux 5.11 maps count against this limit, which only CAP_SYS_RESOURCE can raise: whoever
    // grants the capabilities has to, as `LimitMEMLOCK=infinity` does in a systemd unit.
    setrlimit(Resource::Memlock, Rlimit { current: None, maximum: None })
        .context("limit of locked memory")?;
    let user = NOBODY.to_string();
    let through = [
        "/bin/setpriv".to_owned(),
        format!("--reuid={user}"),
        format!("--regid={user}"),
        "--clear-groups".to_owned(),
        format!("--bounding-set={CAPABILITIES}"),
        format!("--inh-caps={CAPABILITIES}"),
        format!("--ambient-caps={CAPABILITIES}"),
    ];
    let options = Options { through: through.to_vec(), ..case.options() };
    let (code, found, errors) = agent::check(&options)?;
    println!("{found}\n{errors}");
    ensure!(code == Some(0), "exit code {code:?} of check: {errors}");
    ensure!(found["root"] == false, "still root");
    let paranoid = fs::read_to_string("/proc/sys/kernel/perf_event_paranoid").unwrap_or_default();
    let allows_kprobes = paranoid.trim().parse::<i32>().is_ok_and(|paranoid| paranoid <= 2);
    if case.backend == "socket-kprobe" && !allows_kprobes {
        // Debian's kernels then ask for CAP_SYS_ADMIN.
        ensure!(!found["backend"].is_null(), "no other backend");
    } else {
        ensure!(text(&found, "backend") == case.backend, "backend {}", found["backend"]);
    }
    count(&options)?;
    Ok(Verdict::Passed)
}

const LOCKDOWN: &str = "/sys/kernel/security/lockdown";

/// Lockdown `integrity`, from which there is no way back until the next boot.
pub(super) fn lockdown(case: &Case) -> Result<Verdict> {
    let state = fs::read_to_string(LOCKDOWN).context("reading the state of lockdown")?;
    if !state.contains("[integrity]") {
        fs::write(LOCKDOWN, "integrity").context("locking down")?;
    }
    let options = case.options();
    let (code, found, errors) = agent::check(&options)?;
    println!("{found}\n{errors}");
    ensure!(code == Some(0), "exit code {code:?} of check: {errors}");
    ensure!(text(&found, "lockdown") == "integrity", "check says lockdown {}", found["lockdown"]);
    ensure!(text(&found, "backend") == case.backend, "backend {}", found["backend"]);
    count(&options)?;
    Ok(Verdict::Passed)
}

fn count(options: &Options) -> Result<()> {
    let _server = Server::start()?;
    let mut client = Client::connect(To::Port(server::PLAIN))?;
    let report = watching(options, || (0..50).try_for_each(|_| client.get("/asked")))?;
    expect_exactly(&report, "GET /asked", 50)
}
