//! The Rust toolchain that builds this checkout: version, folder, and the LLVM inside it.

use std::env;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use crate::advice::Advice;
use crate::command;

/// What the active `rustc` says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Toolchain {
    /// Version, such as `1.95.0`.
    pub(crate) release: String,
    /// Major version of the LLVM that rustc carries, such as `22`.
    pub(crate) llvm_major: String,
    /// Folder of the toolchain.
    pub(crate) sysroot: PathBuf,
}

impl Toolchain {
    /// Asks the active rustc.
    pub(crate) fn find() -> Result<Self> {
        let version = command::read(Command::new("rustc").arg("-vV"))?;
        let sysroot = command::read(Command::new("rustc").args(["--print", "sysroot"]))?;
        Self::parse(&version, sysroot.trim())
    }

    fn parse(version: &str, sysroot: &str) -> Result<Self> {
        let field = |name: &str| {
            version
                .lines()
                .find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
                .with_context(|| format!("`rustc -vV` has no line `{name}`"))
        };
        let release = field("release")?.to_owned();
        let llvm = field("LLVM version")?;
        let llvm_major = llvm.split('.').next().unwrap_or(llvm).to_owned();
        Ok(Self { release, llvm_major, sysroot: PathBuf::from(sysroot) })
    }

    /// Where cargo looks for the standard library's sources.
    pub(crate) fn rust_src(&self) -> PathBuf {
        self.sysroot.join("lib/rustlib/src/rust")
    }

    /// The folder of rustc's own shared libraries, which bpf-linker needs to run.
    pub(crate) fn lib(&self) -> PathBuf {
        self.sysroot.join("lib")
    }

    /// The shared library of rustc's own LLVM.
    pub(crate) fn llvm(&self) -> Result<PathBuf> {
        let lib = self.lib();
        let prefix = format!("libLLVM.so.{}", self.llvm_major);
        lib.read_dir()
            .with_context(|| format!("reading {}", lib.display()))?
            .flatten()
            .find(|entry| entry.file_name().to_string_lossy().starts_with(&prefix))
            .map(|entry| entry.path())
            .ok_or_else(|| {
                Advice::error(
                    format!("this toolchain has no {prefix}* in {}", lib.display()),
                    "use the toolchain that rust-toolchain.toml names, installed by rustup",
                )
            })
    }

    /// `LD_LIBRARY_PATH` with rustc's own libraries in front.
    pub(crate) fn library_path(&self) -> OsString {
        prepend(&self.lib(), env::var_os("LD_LIBRARY_PATH"))
    }
}

/// The cargo that started this xtask, else the one on `PATH`.
///
/// It gets the environment that this xtask's caller has, not what `cargo run` put into it about the
/// xtask package: build scripts of dependencies ask to be run again when such a variable changes
/// (ring does), so that the builds of xtask and those by hand would undo each other.
pub(crate) fn cargo() -> Command {
    let mut cargo = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    for (name, _) in env::vars_os() {
        if is_about_a_package(&name.to_string_lossy()) {
            cargo.env_remove(name);
        }
    }
    cargo
}

/// Whether cargo sets this variable for the program that it runs, to tell it about its package; see
/// "Environment variables Cargo sets for crates" in the Cargo book.
fn is_about_a_package(variable: &str) -> bool {
    const NAMES: [&str; 5] = [
        "CARGO_BIN_NAME",
        "CARGO_CRATE_NAME",
        "CARGO_PRIMARY_PACKAGE",
        "CARGO_TARGET_TMPDIR",
        "OUT_DIR",
    ];
    NAMES.contains(&variable)
        || ["CARGO_PKG_", "CARGO_MANIFEST_", "CARGO_BIN_EXE_"]
            .iter()
            .any(|start| variable.starts_with(start))
}

fn prepend(folder: &Path, rest: Option<OsString>) -> OsString {
    let mut path = folder.as_os_str().to_owned();
    if let Some(rest) = rest.filter(|rest| !rest.is_empty()) {
        path.push(":");
        path.push(rest);
    }
    path
}

#[cfg(test)]
mod tests {
    use super::*;

    const VERSION: &str = "rustc 1.95.0 (59807616e 2026-04-14)\nbinary: rustc\n\
        host: x86_64-unknown-linux-gnu\nrelease: 1.95.0\nLLVM version: 22.1.2\n";

    #[test]
    fn reads_version_and_llvm() {
        let toolchain = Toolchain::parse(VERSION, "/toolchain").unwrap();
        assert_eq!(toolchain.release, "1.95.0");
        assert_eq!(toolchain.llvm_major, "22");
        assert_eq!(toolchain.rust_src(), Path::new("/toolchain/lib/rustlib/src/rust"));
    }

    #[test]
    fn a_rustc_without_llvm_is_refused() {
        assert!(Toolchain::parse("release: 1.95.0\n", "/toolchain").is_err());
    }

    #[test]
    fn only_what_is_about_a_package_is_removed() {
        for name in ["CARGO_PKG_NAME", "CARGO_PKG_VERSION_MAJOR", "CARGO_MANIFEST_DIR", "OUT_DIR"] {
            assert!(is_about_a_package(name), "{name}");
        }
        for name in ["CARGO", "CARGO_HOME", "CARGO_TARGET_DIR", "CARGO_NET_OFFLINE", "RUSTFLAGS"] {
            assert!(!is_about_a_package(name), "{name}");
        }
    }

    #[test]
    fn library_path_keeps_what_was_there() {
        assert_eq!(prepend(Path::new("/a"), None), "/a");
        assert_eq!(prepend(Path::new("/a"), Some(OsString::new())), "/a");
        assert_eq!(prepend(Path::new("/a"), Some("/b:/c".into())), "/a:/b:/c");
    }
}
