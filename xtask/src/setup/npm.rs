//! Packages of npm for the tests' programs in Node, in `target/setup/node/node_modules`.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result};

use super::{Context, packages, say};
use crate::advice::Advice;
use crate::command;

const STEP: &str = "npm";
/// The packages with their versions.
const PACKAGES: [(&str, &str); 4] =
    [("mysql2", "3.24.6"), ("mariadb", "3.5.4"), ("pg", "8.23.1"), ("ioredis", "6.0.0")];
const LIMIT: Duration = Duration::from_mins(3);

/// Makes sure that the packages are there.
pub(super) fn ensure(context: &Context) -> Result<()> {
    let folder = context.folder.join("node");
    if PACKAGES.iter().all(|(name, version)| has(&folder, name, version)) {
        return Ok(());
    }
    if command::which("npm").is_none() {
        packages::install(context, &[&["npm"]])?;
    }
    let wanted = PACKAGES.map(|(name, version)| format!("{name}@{version}"));
    say(STEP, &format!("installing {} from npm", wanted.join(", ")));
    fs::create_dir_all(&folder).with_context(|| format!("creating {}", folder.display()))?;
    // Scripts of packages are not run: drivers in plain JavaScript have none that they need.
    let mut npm = Command::new("npm");
    npm.args(["install", "--ignore-scripts", "--no-audit", "--no-fund", "--no-save", "--prefix"])
        .arg(&folder)
        .args(&wanted);
    command::run_quietly(&mut npm, LIMIT, &context.folder.join("npm.log")).map_err(|error| {
        Advice::error(format!("{error:#}"), "see npm's message in the file that is named")
    })
}

/// Whether a package is there in this version.
fn has(folder: &Path, name: &str, version: &str) -> bool {
    let file = folder.join("node_modules").join(name).join("package.json");
    let Ok(text) = fs::read(file) else { return false };
    serde_json::from_slice::<serde_json::Value>(&text)
        .is_ok_and(|package| package.get("version").and_then(|v| v.as_str()) == Some(version))
}
