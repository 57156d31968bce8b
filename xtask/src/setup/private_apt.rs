//! Apt with sources and lists of its own, which neither reads nor changes the machine's: for
//! packages of suites that the machine does not follow.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};

use super::apt_sources;
use crate::advice::Advice;
use crate::command;

const LIMIT: Duration = Duration::from_mins(3);

/// Apt over some suites of the machine's own mirror of Debian.
pub(super) struct PrivateApt {
    options: Vec<String>,
    downloads: PathBuf,
}

impl PrivateApt {
    /// One whose files are in `work`, which is emptied first.
    pub(super) fn try_new(work: &Path, suites: &[&str]) -> Result<Self> {
        for program in ["apt-get", "apt-cache", "apt-config", "dpkg-deb"] {
            if command::which(program).is_none() {
                return Err(Advice::error(
                    format!("no {program} here"),
                    "use Debian, or do without",
                ));
            }
        }
        clear(work)?;
        let mirror = apt_sources::debian_mirror()?;
        let (parts, lists) = (work.join("sources"), work.join("lists"));
        let downloads = work.join("downloads");
        for folder in [&parts, &lists.join("partial"), &downloads] {
            fs::create_dir_all(folder).with_context(|| format!("creating {}", folder.display()))?;
        }
        let file = parts.join("private.sources");
        fs::write(&file, mirror.stanza(suites))
            .with_context(|| format!("writing {}", file.display()))?;
        let options = [
            "Dir::Etc::sourcelist=/dev/null".to_owned(),
            format!("Dir::Etc::sourceparts={}", parts.display()),
            format!("Dir::State::lists={}", lists.display()),
            "Dir::Cache::pkgcache=".to_owned(),
            "Dir::Cache::srcpkgcache=".to_owned(),
            "Acquire::Languages=none".to_owned(),
            // Else an update that reached nothing counts as good.
            "APT::Update::Error-Mode=any".to_owned(),
            "Acquire::Retries=1".to_owned(),
            // The folder may be one that apt's own user cannot write.
            "APT::Sandbox::User=root".to_owned(),
        ];
        let options = options.into_iter().flat_map(|o| ["-o".to_owned(), o]).collect();
        Ok(Self { options, downloads })
    }

    /// A command of apt's family with these settings.
    pub(super) fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command.args(&self.options);
        command
    }

    /// Fetches the lists of packages.
    pub(super) fn update(&self) -> Result<()> {
        command::run_within(self.command("apt-get").args(["-qq", "update"]), LIMIT)
    }

    /// Fetches one package (`NAME` or `NAME=VERSION`) and gives its file.
    pub(super) fn download(&self, package: &str) -> Result<PathBuf> {
        clear(&self.downloads)?;
        let mut download = self.command("apt-get");
        download.args(["-qq", "download", package]).current_dir(&self.downloads);
        command::run_within(&mut download, LIMIT)?;
        fs::read_dir(&self.downloads)
            .with_context(|| format!("reading {}", self.downloads.display()))?
            .flatten()
            .map(|entry| entry.path())
            .find(|path| path.extension().is_some_and(|e| e == "deb"))
            .context("apt-get download left no package")
    }
}

/// Unpacks a package, without what these patterns of tar name.
pub(super) fn unpack(package: &Path, to: &Path, without: &[&str]) -> Result<()> {
    let mut contents = Command::new("dpkg-deb")
        .arg("--fsys-tarfile")
        .arg(package)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .context("cannot start dpkg-deb")?;
    let pipe = contents.stdout.take().context("dpkg-deb has no output")?;
    let status = Command::new("tar")
        .arg("-x")
        .args(without.iter().map(|pattern| format!("--exclude={pattern}")))
        .arg("-C")
        .arg(to)
        .stdin(pipe)
        .status()
        .context("cannot start tar")?;
    let packed = contents.wait().context("waiting for dpkg-deb")?;
    if !status.success() || !packed.success() {
        bail!("{} cannot be unpacked", package.display());
    }
    Ok(())
}

/// Makes an empty folder, whatever was there.
pub(super) fn clear(folder: &Path) -> Result<()> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("removing {}", folder.display()))
        }
        _ => fs::create_dir_all(folder).with_context(|| format!("creating {}", folder.display())),
    }
}
