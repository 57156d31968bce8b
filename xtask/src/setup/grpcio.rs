//! grpcio, gRPC's own library for Python, in the environment that rotel is in.

use std::process::Command;
use std::time::Duration;

use anyhow::Result;

use super::{Context, packages, say};
use crate::advice::Advice;
use crate::command;

const STEP: &str = "grpcio";
const VERSION: &str = "1.85.1";
const PIP_LIMIT: Duration = Duration::from_mins(3);

/// Makes sure that `target/setup/venv/bin/python` has grpcio.
pub(super) fn ensure(context: &Context) -> Result<()> {
    let venv = context.folder.join("venv");
    let python = venv.join("bin/python");
    let check = format!("import grpc; assert grpc.__version__ == '{VERSION}'");
    let has_it = || command::succeeds(Command::new(&python).args(["-c", &check]));
    if has_it() {
        return Ok(());
    }
    say(STEP, &format!("installing grpcio {VERSION} from PyPI (6 MB)"));
    if !python.is_file() {
        if !command::succeeds(Command::new("python3").args(["-c", "import venv, ensurepip"])) {
            packages::install(context, &[&["python3-venv"]])?;
        }
        command::run(Command::new("python3").args(["-m", "venv"]).arg(&venv))?;
    }
    // Not `bin/pip`, which names the folder that it was made in.
    let mut pip = Command::new(&python);
    pip.args([
        "-m",
        "pip",
        "install",
        "--quiet",
        "--disable-pip-version-check",
        "--only-binary",
        ":all:",
    ]);
    let installed = command::run_within(pip.arg(format!("grpcio=={VERSION}")), PIP_LIMIT);
    if installed.is_err() || !has_it() {
        return Err(Advice::error(
            format!("PyPI gave no grpcio {VERSION} for this machine's Python"),
            "see pip's message above; seen to work: CPython 3.11 on x86_64 with glibc 2.36",
        ));
    }
    Ok(())
}
