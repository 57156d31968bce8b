//! Sources of the standard library, which `-Z build-std=core` compiles for the kernel's target.
//!
//! Cargo wants them inside the toolchain's folder, at exactly rustc's version. Sources from a
//! Debian package are unpacked below `target/setup` and linked there; a link that another checkout
//! made is used as long as it leads somewhere.

use std::fs;
use std::io;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{self, Command};
use std::time::Duration;

use anyhow::{Context as _, Result};

use super::private_apt::{PrivateApt, clear};
use super::{Context, say};
use crate::advice::Advice;
use crate::command;

const STEP: &str = "rust-src";
/// Suites of Debian that carry rustc versions newer than its stable release.
const SUITES: [&str; 1] = ["trixie-backports"];
/// Without a network rustup hangs instead of failing.
const RUSTUP_LIMIT: Duration = Duration::from_mins(1);

/// Makes sure that the toolchain has the sources.
pub(super) fn ensure(context: &Context) -> Result<()> {
    let link = context.toolchain.rust_src();
    let release = &context.toolchain.release;
    if is_usable(&link, release) {
        return Ok(());
    }
    let sources = context.folder.join("rust-src").join(folder_name(release));
    if !has_core(&sources) {
        let Err(debian) = from_debian(context, &sources) else {
            return link_into_toolchain(&sources, &link);
        };
        say(STEP, &format!("not from Debian: {debian:#}"));
        say(STEP, &format!("asking rustup, for at most {} s", RUSTUP_LIMIT.as_secs()));
        return from_rustup(&link).map_err(|rustup| {
            Advice::error(
                format!("no sources of Rust {release}'s standard library: {rustup:#}"),
                format!(
                    "run `rustup component add rust-src` where there is a network, or link the \
                     folder with `library/` of these sources to {}",
                    link.display()
                ),
            )
        });
    }
    link_into_toolchain(&sources, &link)
}

fn folder_name(release: &str) -> String {
    format!("rustc-{release}")
}

fn has_core(sources: &Path) -> bool {
    sources.join("library/core/Cargo.toml").is_file()
}

/// Whether sources are there, and not through a link to those of another version.
fn is_usable(link: &Path, release: &str) -> bool {
    let other_version = fs::read_link(link).is_ok_and(|to| {
        let name = to.file_name().unwrap_or_default().to_string_lossy().into_owned();
        name.starts_with("rustc-") && name != folder_name(release)
    });
    has_core(link) && !other_version
}

fn from_debian(context: &Context, sources: &Path) -> Result<()> {
    let release = &context.toolchain.release;
    let work = context.folder.join("apt");
    let apt = PrivateApt::try_new(&work, &SUITES)?;
    say(STEP, &format!("looking for Debian's rust-src {release} in {}", SUITES.join(", ")));
    apt.update()?;
    let offered = command::read(apt.command("apt-cache").args(["madison", "rust-src"]))?;
    let version = choose_version(&offered, release).ok_or_else(|| {
        Advice::error(
            format!("{} has no rust-src {release}", SUITES.join(", ")),
            "`rustup component add rust-src`",
        )
    })?;
    say(STEP, &format!("fetching rust-src {version} (45 MB)"));
    let package = apt.download(&format!("rust-src={version}"))?;
    unpack(&package, &work, sources)?;
    clear(&work)?;
    fs::remove_dir(&work).with_context(|| format!("removing {}", work.display()))
}

/// The newest version of the package that has exactly the sources of `release`, from the output
/// of `apt-cache madison`, which lists the newest first.
fn choose_version(madison: &str, release: &str) -> Option<String> {
    madison.lines().find_map(|line| {
        let mut fields = line.split('|').map(str::trim);
        let (package, version) = (fields.next()?, fields.next()?);
        let upstream = version.split(['+', '-', '~']).next()?;
        (package == "rust-src" && upstream == release).then(|| version.to_owned())
    })
}

/// Takes `library/` out of the package: the rest of the compiler's sources, nine tenths,
/// is of no use here.
fn unpack(package: &Path, work: &Path, sources: &Path) -> Result<()> {
    let tree = work.join("tree");
    command::run(Command::new("dpkg-deb").arg("-x").arg(package).arg(&tree))?;
    let name = sources.file_name().context("sources have no folder name")?;
    let library = tree.join("usr/src").join(name).join("library");
    fs::create_dir_all(sources).with_context(|| format!("creating {}", sources.display()))?;
    let to = sources.join("library");
    clear(&to)?;
    fs::remove_dir(&to).ok();
    fs::rename(&library, &to)
        .with_context(|| format!("the package has no usr/src/{}/library", name.display()))
}

/// Puts a link to `sources` into the toolchain, in one step: another checkout may be reading it.
fn link_into_toolchain(sources: &Path, link: &Path) -> Result<()> {
    try_link(sources, link).map_err(|error| {
        Advice::error(
            format!("cannot link the sources into the toolchain: {error}"),
            format!(
                "as the owner of the toolchain: mkdir -p {}; ln -sfn {} {}",
                link.parent().unwrap_or(link).display(),
                sources.display(),
                link.display()
            ),
        )
    })?;
    say(STEP, &format!("linked into the toolchain at {}", link.display()));
    Ok(())
}

fn try_link(sources: &Path, link: &Path) -> io::Result<()> {
    if let Some(folder) = link.parent() {
        fs::create_dir_all(folder)?;
    }
    // A folder without sources is of no use to anyone; `remove_dir` refuses one with contents.
    if link.is_dir() && !link.is_symlink() {
        fs::remove_dir(link)?;
    }
    let mut fresh = PathBuf::from(link).into_os_string();
    fresh.push(format!(".{}", process::id()));
    symlink(sources, &fresh)?;
    fs::rename(&fresh, link)
}

fn from_rustup(link: &Path) -> Result<()> {
    let mut rustup = Command::new("rustup");
    command::run_within(rustup.args(["component", "add", "rust-src"]), RUSTUP_LIMIT)?;
    if has_core(link) {
        return Ok(());
    }
    Err(Advice::error("rustup added rust-src to another toolchain", "run it in this checkout"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sources(root: &Path, release: &str) -> PathBuf {
        let sources = root.join(folder_name(release));
        fs::create_dir_all(sources.join("library/core")).unwrap();
        fs::write(sources.join("library/core/Cargo.toml"), "").unwrap();
        sources
    }

    #[test]
    fn version_is_exactly_the_compilers() {
        let madison = "  rust-src | 1.96.1+dfsg1-2~bpo13+1 | http://m/debian trixie-backports/main\n\
             \x20 rust-src | 1.95.0+dfsg1-2~bpo13+1 | http://m/debian trixie-backports/main\n\
             \x20 rust-src | 1.95.0+dfsg1-1~bpo13+1 | http://m/debian trixie-backports/main\n";
        let version = |release| choose_version(madison, release);
        assert_eq!(version("1.95.0").as_deref(), Some("1.95.0+dfsg1-2~bpo13+1"));
        assert_eq!(version("1.96.1").as_deref(), Some("1.96.1+dfsg1-2~bpo13+1"));
        assert_eq!(version("1.95"), None);
        assert_eq!(version("1.9"), None);
        assert_eq!(choose_version("", "1.95.0"), None);
    }

    #[test]
    fn dangling_link_is_replaced() {
        let root = tempfile::tempdir().unwrap();
        let link = root.path().join("toolchain/src/rust");
        let gone = sources(root.path(), "1.95.0");
        try_link(&gone, &link).unwrap();
        assert!(is_usable(&link, "1.95.0"));
        fs::remove_dir_all(&gone).unwrap();
        assert!(!is_usable(&link, "1.95.0"));
        try_link(&sources(&root.path().join("other"), "1.95.0"), &link).unwrap();
        assert!(is_usable(&link, "1.95.0"));
    }

    #[test]
    fn link_to_another_version_is_replaced() {
        let root = tempfile::tempdir().unwrap();
        let link = root.path().join("rust");
        try_link(&sources(root.path(), "1.94.0"), &link).unwrap();
        assert!(!is_usable(&link, "1.95.0"));
    }

    #[test]
    fn folder_without_sources_is_replaced_and_one_with_contents_kept() {
        let root = tempfile::tempdir().unwrap();
        let link = root.path().join("rust");
        fs::create_dir(&link).unwrap();
        let sources = sources(root.path(), "1.95.0");
        try_link(&sources, &link).unwrap();
        assert!(is_usable(&link, "1.95.0"));

        let full = root.path().join("full");
        fs::create_dir(&full).unwrap();
        fs::write(full.join("mine"), "").unwrap();
        assert!(try_link(&sources, &full).is_err());
    }
}
