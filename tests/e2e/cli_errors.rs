//! What goes wrong at start: the right exit code, one line that says what, one that says what to
//! do, and nothing on standard output.

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;
use vigie_tests::agent::{Agent, Options, binary, clean, command};
use vigie_tests::needs::{Need, missing};
use vigie_tests::process::{Ended, LIMIT, Process, run};

/// Runs vigie to its end.
fn vigie(arguments: &[&str]) -> Result<Ended> {
    Process::start(command()?.args(arguments))?.wait(LIMIT)
}

/// The exit code, two lines at most, and all of `words` in them.
fn check(ended: &Ended, code: i32, words: &[&str]) -> Result<()> {
    let text = ended.errors.join("\n");
    ensure!(ended.status.code() == Some(code), "{}, should be {code}: {text}", ended.status);
    ensure!(ended.output.is_empty(), "on standard output: {:?}", ended.output);
    for word in words {
        ensure!(text.contains(word), "no `{word}` in: {text}");
    }
    Ok(())
}

fn check_two_lines(ended: &Ended, code: i32, words: &[&str]) -> Result<()> {
    check(ended, code, words)?;
    let lines = ended.errors.iter().filter(|line| !line.trim().is_empty()).count();
    ensure!(lines == 2, "{lines} lines, should be what and what to do: {:?}", ended.errors);
    Ok(())
}

#[test]
fn an_unknown_key_names_its_place_and_the_nearest() -> Result<()> {
    if missing("cli_errors: configuration", &[Need::Agent])? {
        return Ok(());
    }
    let shown = vigie(&["config", "show"])?;
    ensure!(shown.status.success(), "config show: {:?}", shown.errors);
    let is_key = |line: &&String| {
        let key = line.split(':').next().unwrap_or_default();
        key.len() > 3 && key.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_')
    };
    let line = shown.output.iter().find(is_key).context("no key in config show")?;
    let key = line.split(':').next().unwrap_or_default();
    let wrong = format!("{key}x");
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("vigie.yaml");
    fs::write(&file, format!("# A comment.\n\n{wrong}: 1\n"))?;
    let path = file.to_string_lossy();
    for command in [vec!["run", "-c", &path], vec!["config", "check", "-c", &path]] {
        check(&vigie(&command)?, 2, &[&path, "3", &wrong, key])?;
    }
    Ok(())
}

#[test]
fn a_file_that_cannot_be_read_is_named() -> Result<()> {
    if missing("cli_errors: unreadable", &[Need::Agent])? {
        return Ok(());
    }
    check_two_lines(
        &vigie(&["run", "-c", "/nonexistent/vigie.yaml"])?,
        2,
        &["/nonexistent/vigie.yaml"],
    )?;
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("broken.yaml");
    fs::write(&file, "a: [1,\nb: {\n")?;
    check(&vigie(&["run", "-c", &file.to_string_lossy()])?, 2, &["broken.yaml"])
}

#[test]
fn wrong_arguments_exit_with_2() -> Result<()> {
    if missing("cli_errors: arguments", &[Need::Agent])? {
        return Ok(());
    }
    for arguments in [
        vec!["run", "--no-such-flag"],
        vec!["no-such-command"],
        vec!["run", "--prometheus", "nowhere"],
        vec!["run", "--print", "poems"],
        vec!["profile", "--duration", "soon"],
        vec!["run", "--otlp-endpoint", "no url"],
    ] {
        check(&vigie(&arguments)?, 2, &[]).with_context(|| format!("{arguments:?}"))?;
    }
    Ok(())
}

#[test]
fn without_root_it_names_the_capabilities() -> Result<()> {
    if missing("cli_errors: not root", &[Need::Root, Need::Agent, Need::Program("setpriv")])? {
        return Ok(());
    }
    // Where it was built, nobody may have no right to look.
    let folder = tempfile::tempdir()?;
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755))?;
    let copy = folder.path().join("vigie");
    fs::copy(binary()?, &copy)?;
    for arguments in [["run", "--prometheus", "off"], ["profile", "--duration", "1s"]] {
        let ended = as_nobody(&copy, &arguments)?;
        check_two_lines(&ended, 3, &["CAP_BPF", "CAP_PERFMON"])
            .with_context(|| format!("{arguments:?}"))?;
    }
    Ok(())
}

fn as_nobody(program: &Path, arguments: &[&str]) -> Result<Ended> {
    with_capabilities("", program, arguments)
}

/// As an ordinary user with these capabilities alone: `+bpf,+perfmon`.
fn with_capabilities(capabilities: &str, program: &Path, arguments: &[&str]) -> Result<Ended> {
    let nobody = ["--reuid", "65534", "--regid", "65534", "--clear-groups", "--no-new-privs"];
    let mut command = clean(Command::new("setpriv"));
    command.args(nobody);
    for set in ["--bounding-set", "--inh-caps", "--ambient-caps"] {
        let capabilities =
            if capabilities.is_empty() { String::new() } else { format!(",{capabilities}") };
        command.args([set, &format!("-all{capabilities}")]);
    }
    Process::start(command.arg("--").arg(program).args(arguments))?.wait(LIMIT)
}

#[test]
fn two_capabilities_are_enough() -> Result<()> {
    if missing("cli_errors: capabilities", &[Need::Root, Need::Agent, Need::Program("setpriv")])? {
        return Ok(());
    }
    let folder = tempfile::tempdir()?;
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755))?;
    let copy = folder.path().join("vigie");
    fs::copy(binary()?, &copy)?;
    for (one, other) in [("+bpf", "CAP_PERFMON"), ("+perfmon", "CAP_BPF")] {
        let ended = with_capabilities(one, &copy, &["profile", "--duration", "1s"])?;
        let line = format!("error: missing capabilities: {other}");
        check_two_lines(&ended, 3, &[other])?;
        ensure!(ended.errors.contains(&line), "no `{line}` in {:?}", ended.errors);
    }
    let ended = with_capabilities("+bpf,+perfmon", &copy, &["check", "--json"])?;
    ensure!(ended.status.success(), "check: {}: {:?}", ended.status, ended.errors);
    let report: Value = serde_json::from_str(&ended.output.join("\n"))?;
    let found = report.get("capabilities");
    ensure!(found == Some(&serde_json::json!(["CAP_BPF", "CAP_PERFMON"])), "has {found:?}");
    let lacking = report.get("missing_capabilities").and_then(Value::as_array);
    let explained = |one: &Value| one.get("required") == Some(&Value::from(false));
    ensure!(
        lacking.is_some_and(|lacking| lacking.len() == 6 && lacking.iter().all(explained)),
        "missing: {lacking:?}"
    );
    Ok(())
}

#[test]
fn a_taken_port_is_named() -> Result<()> {
    if missing("cli_errors: port", &[Need::Root, Need::Agent])? {
        return Ok(());
    }
    let taken = TcpListener::bind(("127.0.0.1", 0))?;
    let address = taken.local_addr()?.to_string();
    let folder = tempfile::tempdir()?;
    let state = folder.path().to_string_lossy();
    let ended = vigie(&["run", "--prometheus", &address, "--state", &state])?;
    check_two_lines(&ended, 1, &[&address])
}

#[test]
fn sigterm_is_a_good_end() -> Result<()> {
    if missing("cli_errors: SIGTERM", &[Need::Root, Need::Agent])? {
        return Ok(());
    }
    Agent::start(&Options::default())?.stop()?;
    Ok(())
}

#[test]
fn check_says_what_will_run() -> Result<()> {
    if missing("cli_errors: check", &[Need::Root, Need::Agent])? {
        return Ok(());
    }
    let ended = run(command()?.args(["check", "--json"]))?;
    let report: Value = serde_json::from_str(&ended.output.join("\n"))?;
    for (pointer, wanted) in [
        ("/version", Value::from(1)),
        ("/backend", Value::from("socket-tracepoint")),
        ("/btf", Value::from(true)),
        ("/root", Value::from(true)),
    ] {
        let found = report.pointer(pointer);
        ensure!(found == Some(&wanted), "{pointer} is {found:?}, should be {wanted}");
    }
    let probes = report.pointer("/probes").and_then(Value::as_array).context("no probes")?;
    let is_complete = |probe: &Value| {
        ["name", "hook", "state", "reason", "needs", "fallback"]
            .iter()
            .all(|field| probe.get(field).is_some())
    };
    ensure!(!probes.is_empty() && probes.iter().all(is_complete), "probes: {probes:?}");
    let total = report.pointer("/maps/total_bytes").and_then(Value::as_u64).context("no maps")?;
    ensure!((1 << 20..32 << 20).contains(&total), "the maps take {total} bytes");
    let maps = report.pointer("/maps/maps").and_then(Value::as_array).context("no maps")?;
    let sum: u64 = maps.iter().filter_map(|map| map.get("bytes").and_then(Value::as_u64)).sum();
    ensure!(sum == total, "the maps take {sum}, in all {total}");
    let reasons = report.get("loss_reasons").and_then(Value::as_array).context("no reasons")?;
    let is_explained = |reason: &Value| {
        ["name", "unit", "effect", "meaning", "todo"].iter().all(|field| {
            reason.get(field).and_then(Value::as_str).is_some_and(|text| !text.is_empty())
        })
    };
    ensure!(reasons.len() > 10 && reasons.iter().all(is_explained), "reasons: {reasons:?}");
    ensure!(report.pointer("/budget/cpu").is_some(), "no budget");
    for field in ["kernel", "arch", "lockdown", "capabilities", "features"] {
        ensure!(report.get(field).is_some(), "no {field}");
    }
    Ok(())
}
