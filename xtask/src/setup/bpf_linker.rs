//! bpf-linker, linked to rustc's own LLVM.
//!
//! It reads the bitcode that rustc writes, so both must use one LLVM; linking against the library
//! inside the toolchain needs no LLVM package. The library's name holds rustc's version: a linker
//! built for another toolchain does not start, which is how a stale one is noticed.
//!
//! The agent's build script looks for it in `target/setup/bin`, or where `VIGIE_BPF_LINKER` says:
//! checkouts of one machine can share one.

use std::env;
use std::fs;
use std::io;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result};

use super::{Context, say};
use crate::advice::Advice;
use crate::{command, toolchain};

const STEP: &str = "bpf-linker";
const VERSION: &str = "0.13.0";

/// Makes sure that `target/setup/bin/bpf-linker`, or the one that `VIGIE_BPF_LINKER` names, is
/// there and starts.
pub(super) fn ensure(context: &Context) -> Result<()> {
    if let Some(named) = env::var_os("VIGIE_BPF_LINKER") {
        let named = PathBuf::from(named);
        return if works(context, &named) {
            Ok(())
        } else {
            Err(Advice::error(
                format!("VIGIE_BPF_LINKER names {}, which does not start", named.display()),
                format!("unset it, or name a bpf-linker {VERSION} built for this toolchain"),
            ))
        };
    }
    let program = context.bin().join("bpf-linker");
    if works(context, &program) {
        return Ok(());
    }
    say(STEP, &format!("building {VERSION} against rustc's own LLVM, one minute or two"));
    let work = context.folder.join("build-bpf-linker");
    let built = build(context, &work);
    // Only the program is of use; its build folder is ten times as large.
    let removed = fs::remove_dir_all(&work);
    built.map_err(|error| {
        Advice::error(
            format!("cannot build it: {error:#}"),
            "see cargo's messages above; it needs crates.io and a C compiler, and no LLVM package",
        )
    })?;
    removed.with_context(|| format!("removing {}", work.display()))?;
    if !works(context, &program) {
        return Err(Advice::error(
            "built, but does not start",
            format!("try LD_LIBRARY_PATH=$(rustc --print sysroot)/lib {}", program.display()),
        ));
    }
    say(STEP, "ready");
    Ok(())
}

fn works(context: &Context, program: &Path) -> bool {
    let mut command = Command::new(program);
    command.arg("--version").env("LD_LIBRARY_PATH", context.toolchain.lib());
    program.is_file()
        && command::read(&mut command).is_ok_and(|said| said.trim().ends_with(VERSION))
}

fn build(context: &Context, work: &Path) -> Result<()> {
    let llvm = work.join("llvm");
    link_llvm(context, &llvm.join("lib"))?;
    command::run(
        toolchain::cargo()
            .args(["install", "bpf-linker", "--locked", "--force", "--no-track"])
            .args(["--version", &format!("={VERSION}"), "--no-default-features"])
            .arg("--features")
            .arg(format!("llvm-{}", context.toolchain.llvm_major))
            .arg("--root")
            .arg(&context.folder)
            .env("LLVM_PREFIX", &llvm)
            .env("CARGO_TARGET_DIR", work.join("target"))
            .env("CARGO_PROFILE_RELEASE_DEBUG", "false")
            .env("LD_LIBRARY_PATH", context.toolchain.library_path())
            // Flags meant for the agent must not change the tool.
            .env_remove("RUSTFLAGS")
            .env_remove("CARGO_ENCODED_RUSTFLAGS")
            .current_dir(context.folder.parent().unwrap_or(&context.folder)),
    )
}

/// A folder laid out as an installed LLVM, with nothing in it but rustc's library.
fn link_llvm(context: &Context, lib: &Path) -> Result<()> {
    let library = context.toolchain.llvm()?;
    fs::create_dir_all(lib).with_context(|| format!("creating {}", lib.display()))?;
    for name in ["libLLVM.so".to_owned(), format!("libLLVM-{}.so", context.toolchain.llvm_major)] {
        let link = lib.join(name);
        match symlink(&library, &link) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
                return Err(error).with_context(|| format!("linking {}", link.display()));
            }
            _ => {}
        }
    }
    Ok(())
}
