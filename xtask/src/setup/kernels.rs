//! Stock Debian kernels for the virtual machines, unpacked below `target/setup/kernels`.
//!
//! Of each package only the kernel image is kept: everything that the tests use is built in, and
//! the root file system is an initramfs, so no driver is needed.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};

use super::private_apt::{PrivateApt, clear, unpack};
use super::{Context, say};
use crate::advice::Advice;
use crate::command;

const STEP: &str = "kernels";

/// A line of kernels: the version as it is named on the command line, and the suites that have one,
/// best first.
#[derive(Debug)]
pub(crate) struct Kernel {
    /// Major and minor version.
    pub(crate) version: &'static str,
    suites: &'static [&'static str],
}

/// The matrix, oldest first.
pub(crate) const KERNELS: [Kernel; 5] = [
    Kernel { version: "5.10", suites: &["bullseye"] },
    Kernel { version: "6.1", suites: &["bookworm"] },
    Kernel { version: "6.12", suites: &["trixie"] },
    Kernel { version: "6.18", suites: &["trixie-backports"] },
    Kernel { version: "7.2", suites: &["sid", "trixie-backports"] },
];

impl Kernel {
    /// Its image below the folder of set-up, whether or not it is there.
    pub(crate) fn image(&self, setup: &Path) -> PathBuf {
        self.folder(setup).join("vmlinuz")
    }

    fn folder(&self, setup: &Path) -> PathBuf {
        setup.join("kernels").join(self.version)
    }
}

/// Makes sure that every kernel is there. What cannot be had is named; the others are used.
pub(super) fn ensure(context: &Context) -> Result<()> {
    let mut missing = Vec::new();
    for kernel in &KERNELS {
        if kernel.image(&context.folder).is_file() {
            continue;
        }
        if let Err(error) = get(kernel, &context.folder) {
            say(STEP, &format!("no Linux {}: {error:#}", kernel.version));
            missing.push(kernel.version);
        }
    }
    if missing.is_empty() {
        return Ok(());
    }
    Err(Advice::error(
        format!("no kernel package for Linux {}", missing.join(", ")),
        "put an image to target/setup/kernels/VERSION/vmlinuz, or leave it: tests on it are skipped",
    ))
}

/// From the first suite that has it.
fn get(kernel: &Kernel, setup: &Path) -> Result<()> {
    let work = setup.join("apt-kernels");
    let mut reasons = Vec::new();
    for suite in kernel.suites {
        match from_suite(kernel, suite, &work, setup) {
            Ok(()) => {
                clear(&work)?;
                return fs::remove_dir(&work).context("removing the lists of packages");
            }
            Err(error) => reasons.push(format!("{suite}: {error:#}")),
        }
    }
    bail!("{}", reasons.join("; "))
}

fn from_suite(kernel: &Kernel, suite: &str, work: &Path, setup: &Path) -> Result<()> {
    say(STEP, &format!("looking for Linux {} in Debian's {suite}", kernel.version));
    let apt = PrivateApt::try_new(work, &[suite])?;
    apt.update()?;
    let pattern = format!(
        "^linux-(image|binary)-{}[.][0-9a-z.+-]*-cloud-amd64$",
        kernel.version.replace('.', "[.]")
    );
    let mut search = apt.command("apt-cache");
    let offered = command::read(search.args(["search", "--names-only", &pattern]))?;
    let package = newest(&offered).context("no such package")?;
    say(STEP, &format!("fetching {package} (20 to 50 MB)"));
    let file = apt.download(package)?;
    let tree = work.join("tree");
    clear(&tree)?;
    // The modules are nine tenths of a package.
    unpack(&file, &tree, &["./lib/modules", "./usr/lib/modules/*/kernel"])?;
    let image = find_image(&tree).context("the package holds no kernel image")?;
    let folder = kernel.folder(setup);
    clear(&folder)?;
    fs::write(folder.join("package"), format!("{package}\n")).context("naming the package")?;
    fs::rename(&image, kernel.image(setup)).context("keeping the kernel image")
}

/// The newest package of a line in the output of `apt-cache search`, whose lines are
/// `NAME - DESCRIPTION`. Newer kernels keep the image in a package of its own, `linux-binary-…`;
/// `linux-image-…` is empty then.
fn newest(offered: &str) -> Option<&str> {
    offered
        .lines()
        .filter_map(|line| line.split_once(" - ").map(|(name, _)| name))
        .max_by_key(|name| (numbers(name), name.starts_with("linux-binary-")))
}

fn numbers(name: &str) -> Vec<u32> {
    name.trim_end_matches("-cloud-amd64")
        .split(|c: char| !c.is_ascii_digit())
        .filter_map(|digits| digits.parse().ok())
        .collect()
}

fn find_image(folder: &Path) -> Option<PathBuf> {
    let entries = fs::read_dir(folder).ok()?;
    entries.flatten().find_map(|entry| {
        let path = entry.path();
        if path.is_dir() && !path.is_symlink() {
            return find_image(&path);
        }
        let name = entry.file_name();
        let is_image = name.to_string_lossy().starts_with("vmlinuz");
        (is_image && path.is_file()).then_some(path)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn newest_is_by_number() {
        let offered = "linux-image-6.18.5+deb13-cloud-amd64 - Linux 6.18.5 (signed)\n\
                       linux-image-6.18.15+deb13-cloud-amd64 - Linux 6.18.15 (signed)\n\
                       linux-image-6.18.9+deb13-cloud-amd64 - Linux 6.18.9 (signed)\n";
        assert_eq!(newest(offered), Some("linux-image-6.18.15+deb13-cloud-amd64"));
        assert_eq!(newest(""), None);
    }

    #[test]
    fn image_in_a_package_of_its_own_is_preferred() {
        let offered = "linux-binary-7.2.13+deb14-cloud-amd64 - Linux 7.2.13 (kernel image)\n\
                       linux-image-7.2.13+deb14-cloud-amd64 - Linux 7.2.13\n";
        assert_eq!(newest(offered), Some("linux-binary-7.2.13+deb14-cloud-amd64"));
    }
}
