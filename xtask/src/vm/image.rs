//! What is in the initramfs: the agent and the tests as static programs, and a few of this machine's
//! own programs with the libraries that they need.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result};

use super::cpio::Archive;
use crate::advice::Advice;
use crate::workspace::Workspace;
use crate::{command, toolchain};

/// No musl is needed: the GNU target links statically, too.
const TARGET: &str = "x86_64-unknown-linux-gnu";
/// Programs of this machine. Each is a link in `/bin` to where it is here.
const PROGRAMS: [&str; 5] = ["nginx", "ab", "h2load", "ip", "setpriv"];
/// Enough for programs that ask who they are.
const PASSWD: &str = "root:x:0:0:root:/:/bin/false\nnobody:x:65534:65534:nobody:/:/bin/false\n";
const GROUP: &str = "root:x:0:\nnogroup:x:65534:\n";

/// Builds the static programs.
pub(crate) fn build(workspace: &Workspace) -> Result<()> {
    let mut cargo = toolchain::cargo();
    cargo
        .args(["build", "--release", "--target", TARGET])
        .args(["--package", "vigie", "--package", "vigie-vm-tests"])
        .current_dir(workspace.root())
        .env("RUSTFLAGS", "-C target-feature=+crt-static");
    command::run(&mut cargo)
}

/// Writes the initramfs to a file.
pub(crate) fn write(workspace: &Workspace, to: &Path, agent: Option<&Path>) -> Result<()> {
    let built = workspace.target().join(TARGET).join("release");
    let mut archive = Archive::default();
    archive.program("/init", &stripped(&built.join("vigie-vm"), to)?);
    let own = built.join("vigie");
    archive.program("/bin/vigie", &stripped(agent.unwrap_or(&own), to)?);
    let mut libraries = BTreeSet::new();
    for name in PROGRAMS {
        let program = command::which(name).ok_or_else(|| {
            Advice::error(
                format!("{name} is missing, which the virtual machines use"),
                "see set-up's messages",
            )
        })?;
        archive.program(&program.to_string_lossy(), &read(&program)?);
        let link = format!("/bin/{name}");
        if program != Path::new(&link) {
            archive.link(&link, &program.to_string_lossy());
        }
        libraries.extend(libraries_of(&program)?);
    }
    for library in libraries {
        archive.program(&library.to_string_lossy(), &read(&library)?);
    }
    archive.file("/etc/passwd", PASSWD.as_bytes());
    archive.file("/etc/group", GROUP.as_bytes());
    for folder in ["/dev", "/proc", "/sys", "/tmp", "/run", "/var/lib/nginx", "/var/log/nginx"] {
        archive.folder(folder);
    }
    fs::write(to, archive.finish()).with_context(|| format!("writing {}", to.display()))
}

fn read(file: &Path) -> Result<Vec<u8>> {
    fs::read(file).with_context(|| format!("reading {}", file.display()))
}

/// A program without its debug information, which is most of it.
fn stripped(program: &Path, near: &Path) -> Result<Vec<u8>> {
    let mut to = near.as_os_str().to_owned();
    to.push(".stripped");
    let to = PathBuf::from(to);
    command::run(Command::new("strip").arg("-o").arg(&to).arg(program))?;
    let bytes = read(&to)?;
    fs::remove_file(&to).with_context(|| format!("removing {}", to.display()))?;
    Ok(bytes)
}

/// The shared libraries of a program and its loader, as ldd(1) finds them.
fn libraries_of(program: &Path) -> Result<Vec<PathBuf>> {
    let said = command::read(Command::new("ldd").arg(program))?;
    Ok(parse_ldd(&said))
}

/// `NAME => PATH (ADDRESS)`, or `PATH (ADDRESS)` for the loader.
fn parse_ldd(said: &str) -> Vec<PathBuf> {
    said.lines()
        .filter_map(|line| line.trim().rsplit_once(" (").map(|(before, _)| before))
        .filter_map(|line| line.rsplit(" => ").next())
        .filter(|path| path.starts_with('/'))
        .map(PathBuf::from)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn libraries_and_the_loader() {
        let said = "\tlinux-vdso.so.1 (0x00007f)\n\
                    \tlibz.so.1 => /lib/x86_64-linux-gnu/libz.so.1 (0x00007f)\n\
                    \tlibgone.so => not found\n\
                    \t/lib64/ld-linux-x86-64.so.2 (0x00007f)\n";
        let wanted = ["/lib/x86_64-linux-gnu/libz.so.1", "/lib64/ld-linux-x86-64.so.2"];
        assert_eq!(parse_ldd(said), wanted.map(PathBuf::from));
        assert!(parse_ldd("\tnot a dynamic executable\n").is_empty());
    }
}
