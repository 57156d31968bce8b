//! `vigie check`: what it says of the kernel, and of one without type information.

use std::ffi::CStr;

use anyhow::{Context as _, Result, bail, ensure};
use rustix::mount::{MountFlags, UnmountFlags, mount, mount_bind, unmount};
use serde_json::Value;

use super::{Case, Verdict, kernel, text};
use crate::agent::{self, Options};
use crate::backend;

/// The shape of the JSON, and every probe of the backend in place. The one that the agent is to choose is
/// not named to it.
pub(super) fn machine(case: &Case) -> Result<Verdict> {
    let is_chosen = case.backend == backend::chosen(case.kernel);
    let options = if is_chosen { Options::on("") } else { case.options() };
    let (code, found, errors) = agent::check(&options)?;
    ensure!(code == Some(0), "exit code {code:?}: {errors}");
    println!("{found}");
    ensure!(found["version"] == 1, "version {}", found["version"]);
    let (major, minor) = kernel()?;
    ensure!(text(&found, "kernel").starts_with(&format!("{major}.{minor}.")), "kernel");
    ensure!(found["btf"] == true && found["root"] == true, "BTF and root");
    ensure!(text(&found, "arch") == "x86_64", "architecture");
    ensure!(text(&found, "backend") == case.backend, "backend {}", found["backend"]);
    let backends = found["backends"].as_array().context("backends")?;
    ensure!(backends.len() == 4, "{} backends", backends.len());
    for one in backends {
        let expected = backend::is_exact(text(one, "name"), case.kernel);
        ensure!(one["exact"] == expected, "exact is {expected}: {one}");
    }
    let probes = found["probes"].as_array().context("probes")?;
    ensure!(!probes.is_empty(), "no probes");
    for probe in probes {
        let state = text(probe, "state");
        ensure!(["ok", "off", "refused"].contains(&state), "state of {probe}");
        ensure!(state == "ok" || !text(probe, "reason").is_empty(), "no reason: {probe}");
        if state == "refused" {
            // What the verifier said.
            println!("{}", agent::check(&case.options().with("VIGIE_LOG_LEVEL", "debug"))?.2);
            bail!("refused by a stock kernel: {probe}");
        }
    }
    for feature in found["features"].as_array().context("features")? {
        let is_said = text(feature, "state") == "ok" || !text(feature, "reason").is_empty();
        ensure!(is_said, "no reason: {feature}");
    }
    Ok(Verdict::Passed)
}

const BTF: &str = "/sys/kernel/btf";

/// Type information that is not there, or that is empty: exit code 3, and what it is about.
pub(super) fn without_btf(_case: &Case) -> Result<Verdict> {
    mount("none", BTF, "tmpfs", MountFlags::empty(), None::<&CStr>).context("hiding BTF")?;
    let absent = refusal("absent");
    unmount(BTF, UnmountFlags::empty()).context("showing BTF")?;
    absent?;
    let (file, empty) = (format!("{BTF}/vmlinux"), "/tmp/empty");
    std::fs::write(empty, "").context("writing an empty file")?;
    mount_bind(empty, &file).context("emptying BTF")?;
    let emptied = refusal("empty");
    unmount(&file, UnmountFlags::empty()).context("showing BTF")?;
    emptied?;
    Ok(Verdict::Passed)
}

fn refusal(what: &str) -> Result<()> {
    let options = Options::default();
    let mut profile = options.command(&["profile", "--duration", "1s"]);
    let output = profile.output().context("cannot start vigie")?;
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    println!("{what}: {errors}");
    let code = output.status.code();
    ensure!(code == Some(3), "{what}: exit code {code:?} instead of 3: {errors}");
    let names_it = errors.contains("BTF") || errors.contains("type information");
    ensure!(names_it, "{what}: the error does not say what is missing: {errors}");
    ensure!(errors.lines().count() >= 2, "{what}: what to do is missing: {errors}");
    let (code, found, errors) = agent::check(&options)?;
    println!("check: {code:?} {errors}{found}");
    ensure!(found == Value::Null || found["backend"].is_null(), "{what}: check has a backend");
    Ok(())
}
