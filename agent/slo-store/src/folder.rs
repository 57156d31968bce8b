//! The folder: its lock, files written at once, files put aside.

use std::ffi::OsStr;
use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

/// Most files that are kept aside; the oldest go.
pub(crate) const MAX_ASIDE: usize = 32;
/// Longest file that is read.
const MAX_FILE: u64 = 4 << 20;
const LOCK: &str = "lock";
const ASIDE: &str = "aside";
/// End of the names of files that are being written.
const TEMPORARY: &str = ".new";

/// Another process has the folder.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Taken {
    /// Which, if it says so.
    pub(crate) pid: Option<u32>,
}

/// A folder that is this process's alone, as far as it could be locked.
#[derive(Debug)]
pub(crate) struct Folder {
    path: PathBuf,
    lock: Option<File>,
}

/// Whether a path still is the file that was opened.
pub(crate) fn is_same(file: &File, path: &Path) -> io::Result<bool> {
    let (opened, named) = (file.metadata()?, fs::metadata(path)?);
    Ok((opened.dev(), opened.ino()) == (named.dev(), named.ino()))
}

impl Folder {
    /// Makes the folder if it is not there, and takes its lock. Where that is not possible for another
    /// reason than another process (nothing can be written there), it is used without, for reading.
    pub(crate) fn open(path: PathBuf) -> Result<Self, Taken> {
        let mut folder = Self { path, lock: None };
        match folder.ensure() {
            Ok(()) | Err(Ensure::Io(_)) => Ok(folder),
            Err(Ensure::Taken(taken)) => Err(taken),
        }
    }

    /// One that somebody else in this process has locked.
    pub(crate) const fn borrowed(path: PathBuf) -> Self {
        Self { path, lock: None }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// Sees to it that the folder is there and locked: it may have been removed.
    pub(crate) fn ensure(&mut self) -> Result<(), Ensure> {
        DirBuilder::new().recursive(true).mode(0o700).create(&self.path)?;
        let path = self.file(LOCK);
        if let Some(lock) = &self.lock
            && is_same(lock, &path).unwrap_or(false)
        {
            return Ok(());
        }
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false).mode(0o600);
        // On a file system that cannot be written a lock can be taken all the same.
        let mut lock = options.open(&path).or_else(|error| File::open(&path).map_err(|_| error))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let mut text = String::new();
                let _ = lock.take(16).read_to_string(&mut text);
                return Err(Ensure::Taken(Taken { pid: text.trim().parse().ok() }));
            }
            Err(TryLockError::Error(error)) => return Err(error.into()),
        }
        // For whoever finds it taken; nothing depends on it.
        if lock.set_len(0).is_ok() {
            let _ = writeln!(lock, "{}", std::process::id());
        }
        self.lock = Some(lock);
        Ok(())
    }

    /// Names of all files, in order. Files that were being written when a process ended are removed.
    pub(crate) fn names(&self) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in fs::read_dir(&self.path)? {
            let entry = entry?;
            let Ok(name) = entry.file_name().into_string() else { continue };
            if name.ends_with(TEMPORARY) {
                let _ = fs::remove_file(entry.path());
            } else if entry.file_type()?.is_file() {
                names.push(name);
            }
        }
        names.sort_unstable();
        Ok(names)
    }

    /// A whole file; none if there is none.
    pub(crate) fn read(&self, name: &str) -> io::Result<Option<Vec<u8>>> {
        let file = match File::open(self.file(name)) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        let mut bytes = Vec::new();
        file.take(MAX_FILE).read_to_end(&mut bytes)?;
        Ok(Some(bytes))
    }

    /// Replaces a file at once: whoever reads it finds all of the old or all of the new one. Safe after
    /// [`Self::sync`].
    pub(crate) fn write(&self, name: &str, bytes: &[u8]) -> io::Result<()> {
        let temporary = self.file(&format!("{name}{TEMPORARY}"));
        let written = create(&temporary).and_then(|mut file| {
            file.write_all(bytes)?;
            file.sync_data()?;
            fs::rename(&temporary, self.file(name))
        });
        if written.is_err() {
            let _ = fs::remove_file(&temporary);
        }
        written
    }

    /// Makes names of files safe.
    pub(crate) fn sync(&self) -> io::Result<()> {
        File::open(&self.path)?.sync_all()
    }

    pub(crate) fn remove(&self, name: &str) -> io::Result<()> {
        fs::remove_file(self.file(name))
    }

    /// Moves a file to where nothing reads it, for a look. Of those, the latest [`MAX_ASIDE`] are kept.
    pub(crate) fn put_aside(&self, name: &str) -> io::Result<()> {
        let aside = self.path.join(ASIDE);
        DirBuilder::new().recursive(true).mode(0o700).create(&aside)?;
        let mut old: Vec<(u64, PathBuf)> = Vec::new();
        for entry in fs::read_dir(&aside)? {
            let path = entry?.path();
            old.push((number(path.file_name()), path));
        }
        old.sort_unstable();
        let newest = old.last().map_or(0, |(number, _)| *number);
        for (_, path) in old.iter().take((old.len() + 1).saturating_sub(MAX_ASIDE)) {
            fs::remove_file(path)?;
        }
        fs::rename(self.file(name), aside.join(format!("{:06}-{name}", newest + 1)))
    }
}

/// A file that is empty.
pub(crate) fn create(path: &Path) -> io::Result<File> {
    OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path)
}

/// The number that the name of a file that was put aside begins with.
fn number(name: Option<&OsStr>) -> u64 {
    let name = name.and_then(OsStr::to_str).and_then(|name| name.split_once('-'));
    name.and_then(|(number, _)| number.parse().ok()).unwrap_or(0)
}

/// Why a folder cannot be used for writing.
#[derive(Debug)]
pub(crate) enum Ensure {
    Taken(Taken),
    Io(io::Error),
}

impl From<io::Error> for Ensure {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}
