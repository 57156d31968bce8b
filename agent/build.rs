//! Builds the kernel programs and hands the object to the agent, which embeds it.
//!
//! `cargo xtask setup` provides what this needs: the standard library's sources beside rustc, and
//! a bpf-linker that was linked against rustc's own LLVM.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs};

const TARGET: &str = "bpfel-unknown-none";

fn main() -> Result<(), String> {
    let manifest = PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").ok_or("no manifest folder")?);
    let root = manifest.parent().ok_or("the agent has no parent folder")?;
    let source = root.join("ebpf");
    for part in ["Cargo.toml", "Cargo.lock", "src", "common"] {
        println!("cargo:rerun-if-changed={}", source.join(part).display());
    }
    println!("cargo:rerun-if-env-changed=VIGIE_BPF_LINKER");
    let out = PathBuf::from(env::var_os("OUT_DIR").ok_or("no output folder")?);
    let linker = linker(root);
    let sysroot = sysroot()?;
    if !linker.is_file() || !sysroot.join("lib/rustlib/src/rust/library/core").is_dir() {
        return Err("the tools for the kernel programs are missing: run `cargo xtask setup`".into());
    }
    build(&source, &out.join("ebpf"), &linker, &sysroot)?;
    let object = out.join("ebpf").join(TARGET).join("release/vigie");
    fs::copy(&object, out.join("vigie.o"))
        .map_err(|error| format!("{}: {error}", object.display()))?;
    Ok(())
}

/// `VIGIE_BPF_LINKER`, else the one that set-up built.
fn linker(root: &Path) -> PathBuf {
    env::var_os("VIGIE_BPF_LINKER")
        .map_or_else(|| root.join("target/setup/bin/bpf-linker"), PathBuf::from)
}

fn rustc() -> PathBuf {
    env::var_os("RUSTC").map_or_else(|| "rustc".into(), PathBuf::from)
}

fn sysroot() -> Result<PathBuf, String> {
    let output = Command::new(rustc())
        .args(["--print", "sysroot"])
        .output()
        .map_err(|error| format!("rustc does not run: {error}"))?;
    Ok(PathBuf::from(String::from_utf8_lossy(&output.stdout).trim()))
}

fn build(source: &Path, target_dir: &Path, linker: &Path, sysroot: &Path) -> Result<(), String> {
    let cargo = env::var_os("CARGO").map_or_else(|| "cargo".into(), PathBuf::from);
    let mut command = Command::new(cargo);
    // What cargo tells this script is about the host; the programs are not built for it.
    for (name, _) in env::vars_os() {
        let text = name.to_string_lossy();
        let is_ours = text.starts_with("CARGO_") && text != "CARGO_HOME";
        // The last two: lints of the host's side must not stop this build (`cargo xtask ci` has
        // them for the programs, too).
        if is_ours || ["RUSTFLAGS", "RUSTC_WORKSPACE_WRAPPER", "CLIPPY_ARGS"].contains(&&*text) {
            command.env_remove(&name);
        }
    }
    let mut libraries = sysroot.join("lib").into_os_string();
    if let Some(more) = env::var_os("LD_LIBRARY_PATH") {
        libraries.push(":");
        libraries.push(more);
    }
    let status = command
        .current_dir(source)
        .env("RUSTC", rustc())
        // `-Z build-std` on the pinned stable compiler.
        .env("RUSTC_BOOTSTRAP", "1")
        // bpf-linker loads rustc's LLVM from there.
        .env("LD_LIBRARY_PATH", libraries)
        .env(
            "CARGO_ENCODED_RUSTFLAGS",
            format!("-Clinker={}\u{1f}-Clink-arg=--btf\u{1f}-Cdebuginfo=2", linker.display()),
        )
        .args(["build", "--quiet", "--release", "--locked", "--target", TARGET])
        .args(["-Z", "build-std=core", "--target-dir"])
        .arg(target_dir)
        .args(if env::var_os("CARGO_FEATURE_LOG").is_some() {
            &["--features", "log"][..]
        } else {
            &[]
        })
        .status()
        .map_err(|error| format!("cargo does not run: {error}"))?;
    if status.success() {
        Ok(())
    } else {
        Err(format!("the kernel programs do not build: {status}"))
    }
}
