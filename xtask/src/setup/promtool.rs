//! promtool of Prometheus 3, beside the one of the machine's own Debian (2.x): rules must say the same to
//! both. From Debian's package, in `target/setup/promtool/3`.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result, bail};

use super::private_apt::{PrivateApt, clear, unpack};
use super::{Context, say};
use crate::advice::Advice;
use crate::command;

const STEP: &str = "promtool";
const PACKAGE: &str = "promtool";
/// Suites that have it, best first. trixie's is 2.53.
const SUITES: [&str; 2] = ["trixie-backports", "sid"];
const MAJOR: &str = "3";

/// Makes sure that it is there and starts.
pub(super) fn ensure(context: &Context) -> Result<()> {
    let folder = context.folder.join("promtool").join(MAJOR);
    let program = folder.join("promtool");
    if is_right(&program) {
        return Ok(());
    }
    let work = context.folder.join("apt-promtool");
    let mut reasons = Vec::new();
    for suite in SUITES {
        match from_suite(suite, &work, &folder, &program) {
            Ok(()) => {
                clear(&work)?;
                return fs::remove_dir(&work).context("removing the lists of packages");
            }
            Err(error) => reasons.push(format!("{suite}: {error:#}")),
        }
    }
    Err(Advice::error(
        format!("no promtool {MAJOR} ({})", reasons.join("; ")),
        "put one to target/setup/promtool/3/promtool, or leave it: tests on it are skipped",
    ))
}

fn from_suite(suite: &str, work: &Path, folder: &Path, program: &Path) -> Result<()> {
    say(STEP, &format!("looking for promtool {MAJOR} in Debian's {suite}"));
    let apt = PrivateApt::try_new(work, &[suite])?;
    apt.update()?;
    let policy = command::read(apt.command("apt-cache").args(["policy", PACKAGE]))?;
    let version = candidate(&policy).context("no such package")?;
    if !version.starts_with(&format!("{MAJOR}.")) {
        bail!("it has {version}");
    }
    say(STEP, &format!("fetching {PACKAGE} {version} (17 MB)"));
    let package = apt.download(PACKAGE)?;
    let tree = work.join("tree");
    clear(&tree)?;
    unpack(&package, &tree, &[])?;
    clear(folder)?;
    fs::rename(tree.join("usr/bin/promtool"), program).context("keeping promtool")?;
    if !is_right(program) {
        bail!("{} does not start: run it to see what it misses", program.display());
    }
    Ok(())
}

/// Whether it starts, and is of the right version.
fn is_right(program: &Path) -> bool {
    let version = command::read(Command::new(program).arg("--version"));
    version.is_ok_and(|said| said.starts_with(&format!("promtool, version {MAJOR}.")))
}

/// The version that the output of `apt-cache policy` for one package offers.
fn candidate(policy: &str) -> Option<&str> {
    let version = policy.lines().find_map(|line| line.trim().strip_prefix("Candidate:"))?.trim();
    (version != "(none)").then_some(version)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn candidate_of_a_policy() {
        let policy = "promtool:\n  Installed: (none)\n  Candidate: 3.5.3+ds1-6\n  Version table:\n";
        assert_eq!(candidate(policy), Some("3.5.3+ds1-6"));
        assert_eq!(candidate("promtool:\n  Candidate: (none)\n"), None);
        assert_eq!(candidate(""), None);
    }
}
