//! Running other programs: output to standard error, captured, or with a time limit.

use std::env;
use std::ffi::OsStr;
use std::fs::File;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

/// Folders that hold system daemons and are missing from the `PATH` of ordinary users.
const SYSTEM_FOLDERS: [&str; 3] = ["/usr/sbin", "/usr/local/sbin", "/sbin"];

/// Runs a command to its end with both output streams on standard error; a failure is an error.
pub(crate) fn run(command: &mut Command) -> Result<()> {
    let status = to_stderr(command).status().with_context(|| cannot_start(command))?;
    check(command, status)
}

/// As [`run`], but ends the command once `limit` has passed.
pub(crate) fn run_within(command: &mut Command, limit: Duration) -> Result<()> {
    let mut child = to_stderr(command).spawn().with_context(|| cannot_start(command))?;
    match wait_within(&mut child, limit)? {
        Some(status) => check(command, status),
        None => bail!("`{}` did not finish within {} s", line(command), limit.as_secs()),
    }
}

/// As [`run_within`], for commands that say much of no interest: their output goes to the end of a
/// file, which the error of a failure names.
pub(crate) fn run_quietly(command: &mut Command, limit: Duration, log: &Path) -> Result<()> {
    let open = File::options().create(true).append(true).open(log);
    let file = open.with_context(|| format!("opening {}", log.display()))?;
    let errors = file.try_clone().context("output of a command")?;
    command.stdin(Stdio::null()).stdout(file).stderr(errors);
    let mut child = command.spawn().with_context(|| cannot_start(command))?;
    match wait_within(&mut child, limit)? {
        Some(status) if status.success() => Ok(()),
        Some(status) => bail!("`{}` failed ({status}), see {}", line(command), log.display()),
        None => bail!("`{}` did not finish within {} s", line(command), limit.as_secs()),
    }
}

/// Runs a command and gives its standard output; standard error is shown only in a failure.
pub(crate) fn read(command: &mut Command) -> Result<String> {
    let output = command.stdin(Stdio::null()).output().with_context(|| cannot_start(command))?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        let said = said.trim().lines().last().unwrap_or("nothing said");
        bail!("`{}` failed ({}): {said}", line(command), output.status);
    }
    String::from_utf8(output.stdout).with_context(|| format!("output of `{}`", line(command)))
}

/// Whether a command starts and succeeds; shows nothing.
pub(crate) fn succeeds(command: &mut Command) -> bool {
    command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success())
}

/// Where a program is: on `PATH`, or in a folder for daemons.
pub(crate) fn which(program: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&path)
        .chain(SYSTEM_FOLDERS.iter().map(PathBuf::from))
        .map(|folder| folder.join(program))
        .find(|file| {
            file.metadata().is_ok_and(|m| m.is_file() && m.permissions().mode() & 0o111 != 0)
        })
}

/// Sends both output streams to standard error, so that standard output stays the caller's.
pub(crate) fn to_stderr(command: &mut Command) -> &mut Command {
    command.stdin(Stdio::null()).stdout(io::stderr())
}

/// Waits for a child to end; one that outlives `limit` is killed and gives `None`.
pub(crate) fn wait_within(child: &mut Child, limit: Duration) -> Result<Option<ExitStatus>> {
    let end = Instant::now() + limit;
    loop {
        if let Some(status) = child.try_wait().context("waiting for a child process")? {
            return Ok(Some(status));
        }
        if Instant::now() >= end {
            child.kill().context("ending a child process")?;
            child.wait().context("waiting for a child process")?;
            return Ok(None);
        }
        thread::sleep(Duration::from_millis(20));
    }
}

/// Whether this process may install system packages and load programs into the kernel.
pub(crate) fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

fn check(command: &Command, status: ExitStatus) -> Result<()> {
    if !status.success() {
        bail!("`{}` failed ({status})", line(command));
    }
    Ok(())
}

fn cannot_start(command: &Command) -> String {
    format!("cannot start `{}`", line(command))
}

/// A command as one would type it, shortened to what identifies it: without apt's `-o` settings.
fn line(command: &Command) -> String {
    const SHOWN: usize = 6;
    let name = |arg: &OsStr| arg.to_string_lossy().into_owned();
    let program = PathBuf::from(command.get_program());
    let mut words = vec![program.file_name().map_or_else(String::new, name)];
    let mut args = command.get_args();
    while let Some(arg) = args.next() {
        if arg == "-o" {
            args.next();
        } else if words.len() > SHOWN {
            words.push("…".to_owned());
            break;
        } else {
            words.push(name(arg));
        }
    }
    words.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_limit_ends_a_command_that_hangs() {
        let error = run_within(Command::new("sleep").arg("60"), Duration::from_millis(50));
        assert!(error.unwrap_err().to_string().contains("did not finish"));
    }

    #[test]
    fn failure_shows_what_the_command_said() {
        let error = read(Command::new("sh").args(["-c", "echo no such thing >&2; exit 3"]));
        let text = error.unwrap_err().to_string();
        assert!(text.contains("no such thing") && text.contains("exit status: 3"), "{text}");
    }

    #[test]
    fn line_is_what_identifies_a_command() {
        let mut command = Command::new("/usr/bin/apt-get");
        command.args(["-o", "Dir::Etc=/x", "update"]);
        assert_eq!(line(&command), "apt-get update");
        let mut command = Command::new("cargo");
        command.args(["a", "b", "c", "d", "e", "f", "g", "h"]);
        assert_eq!(line(&command), "cargo a b c d e f …");
    }

    #[test]
    fn which_finds_programs_only() {
        assert!(which("sh").is_some());
        assert!(which("no-such-program-anywhere").is_none());
    }
}
