//! A Python environment with software of others, as wheels with binaries: rotel, an OTLP receiver,
//! grpcio, the C core of gRPC, and drivers of databases.

use std::fs;
use std::io;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result};

use super::{Context, packages, say};
use crate::advice::Advice;
use crate::command;

const STEP: &str = "wheels";
const ROTEL: &str = "rotel";
/// The wheels with their versions. The binary in rotel's has a numbering of its own.
const WHEELS: [(&str, &str); 12] = [
    (ROTEL, "0.0.1a15"),
    ("grpcio", "1.85.1"),
    ("pymongo", "4.20.0"),
    ("confluent_kafka", "2.16.1"),
    ("kafka_python", "2.0.6"),
    ("pymysql", "1.2.4"),
    ("mysql_connector_python", "26.10.0"),
    ("psycopg", "3.3.9"),
    ("psycopg_binary", "3.3.9"),
    ("asyncpg", "0.32.0"),
    ("redis", "8.1.0"),
    ("pymemcache", "4.0.0"),
];
const PIP_LIMIT: Duration = Duration::from_mins(3);

/// Makes sure that the wheels are in `target/setup/venv`, and that `bin/rotel` is there and starts.
pub(super) fn ensure(context: &Context) -> Result<()> {
    let venv = context.folder.join("venv");
    let link = venv.join("bin/rotel");
    if site(&venv).is_some() && starts(&link) {
        return Ok(());
    }
    let names: Vec<String> =
        WHEELS.iter().map(|(name, version)| format!("{name} {version}")).collect();
    say(STEP, &format!("installing {} from PyPI (20 MB)", names.join(", ")));
    let site = install(context, &venv)?;
    // Relative, so that the link survives a checkout that is moved.
    let below = site.strip_prefix(&venv).context("the wheels are outside of their environment")?;
    replace_link(&Path::new("..").join(below).join("rotel/rotel-agent"), &link)?;
    if !starts(&link) {
        install_libpython(context, &site)?;
    }
    if !starts(&link) {
        return Err(Advice::error(
            "rotel is installed, but does not start",
            format!("run {} --version to see what it misses", link.display()),
        ));
    }
    Ok(())
}

fn starts(rotel: &Path) -> bool {
    command::succeeds(Command::new(rotel).arg("--version"))
}

/// The folder that holds the installed wheels, if they are of the right versions.
fn site(venv: &Path) -> Option<PathBuf> {
    let has_all = |site: &PathBuf| {
        WHEELS
            .iter()
            .all(|(name, version)| site.join(format!("{name}-{version}.dist-info")).is_dir())
    };
    let pythons = fs::read_dir(venv.join("lib")).ok()?;
    pythons.flatten().map(|python| python.path().join("site-packages")).find(has_all)
}

fn install(context: &Context, venv: &Path) -> Result<PathBuf> {
    let create = || {
        let mut python = Command::new("python3");
        python.args(["-m", "venv", "--clear"]).arg(venv);
        command::run(&mut python)
    };
    if !command::succeeds(Command::new("python3").args(["-c", "import venv, ensurepip"])) {
        packages::install(context, &[&["python3-venv"]])?;
    }
    create()?;
    let mut pip = Command::new(venv.join("bin/pip"));
    pip.args(["install", "--quiet", "--disable-pip-version-check", "--only-binary", ":all:"]);
    pip.args(WHEELS.map(|(name, version)| format!("{name}=={version}")));
    command::run_within(&mut pip, PIP_LIMIT).ok().and_then(|()| site(venv)).ok_or_else(|| {
        Advice::error(
            format!("PyPI did not give {STEP} for this machine's Python"),
            "see pip's message above; seen to work: CPython 3.11 on x86_64 with glibc 2.36",
        )
    })
}

/// The binary embeds Python and wants the shared library of the version that the wheel is for.
fn install_libpython(context: &Context, site: &Path) -> Result<()> {
    let python = site
        .parent()
        .and_then(Path::file_name)
        .and_then(|name| name.to_str())
        .context("the environment has no folder named for its Python")?;
    let package = format!("lib{python}");
    packages::install(context, &[&[&package]])
}

fn replace_link(to: &Path, link: &Path) -> Result<()> {
    match fs::remove_file(link) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            return Err(error).with_context(|| format!("removing {}", link.display()));
        }
        _ => {}
    }
    symlink(to, link).with_context(|| format!("linking {}", link.display()))
}
