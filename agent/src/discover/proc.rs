//! What `/proc` tells of one process (proc(5)), each read bounded.

use std::fs::File;
use std::io::{BufRead as _, BufReader, Read as _};
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags, ResolveFlags};

/// Most bytes read of a command line or an environment.
const MAX_BYTES: u64 = 64 << 10;
/// Most bytes read of the list of mappings. A Java process with 500 threads has 150 KB.
const MAX_MAPS_BYTES: u64 = 512 << 10;
/// Most arguments that are kept.
const MAX_ARGUMENTS: usize = 256;
/// Most descriptors looked at for the ports that a process listens on.
const MAX_DESCRIPTORS: usize = 16_384;
/// Most listening sockets looked at in one network namespace.
const MAX_LISTENERS: usize = 16_384;

/// A mounted proc file system.
#[derive(Clone, Debug)]
pub(super) struct Proc {
    root: PathBuf,
    ticks_per_second: u64,
}

/// A process as it was at one moment.
#[derive(Clone, Debug, Default)]
pub(super) struct Snapshot {
    /// Start in clock ticks since boot.
    pub(super) start_ticks: u64,
    /// Name of the main thread.
    pub(super) comm: String,
    /// Path of the executable; empty for kernel threads and where it may not be read.
    pub(super) executable: String,
    /// Command line.
    pub(super) arguments: Vec<String>,
    /// Text of the file `cgroup`.
    pub(super) cgroup: String,
    /// Whether its environment, of which the next two are, may not be read.
    pub(super) hides_environment: bool,
    /// `OTEL_SERVICE_NAME`.
    pub(super) service_name: Option<String>,
    /// `OTEL_RESOURCE_ATTRIBUTES`.
    pub(super) resource_attributes: Option<String>,
    /// Whether its environment has a search list for the resolver library (`LOCALDOMAIN`), or may not be
    /// read.
    pub(super) has_own_search: bool,
}

impl Proc {
    /// The one at `root`, usually `/proc`.
    pub(super) fn new(root: &Path) -> Self {
        let ticks_per_second = rustix::param::clock_ticks_per_second().max(1);
        Self { root: root.to_path_buf(), ticks_per_second }
    }

    fn path(&self, pid: u32, name: &str) -> PathBuf {
        self.root.join(pid.to_string()).join(name)
    }

    /// Path of the executable's file, readable whatever the process's mount namespace is.
    pub(super) fn executable(&self, pid: u32) -> PathBuf {
        self.path(pid, "exe")
    }

    /// All processes there are.
    pub(super) fn pids(&self) -> Vec<u32> {
        let entries = std::fs::read_dir(&self.root).into_iter().flatten().flatten();
        entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect()
    }

    /// The process `pid` as it is now; `None` when there is none, or only what a parent has not
    /// collected yet.
    pub(super) fn snapshot(&self, pid: u32) -> Option<Snapshot> {
        let executable = std::fs::read_link(self.path(pid, "exe")).unwrap_or_default();
        let executable = executable.to_string_lossy();
        let executable = executable.strip_suffix(" (deleted)").unwrap_or(&executable).to_owned();
        let arguments = self.text(pid, "cmdline", MAX_BYTES).unwrap_or_default();
        let environment = self.text(pid, "environ", MAX_BYTES);
        let hides_environment = environment.is_none();
        let environment = environment.unwrap_or_default();
        let variable = |name: &str| {
            let mut variables = environment.split('\0');
            let value = variables.find_map(|text| text.strip_prefix(name)?.strip_prefix('='));
            value.map(str::to_owned)
        };
        let mut snapshot = Snapshot {
            executable,
            arguments: arguments_of(&arguments),
            cgroup: self.text(pid, "cgroup", MAX_BYTES).unwrap_or_default(),
            hides_environment,
            service_name: variable("OTEL_SERVICE_NAME"),
            resource_attributes: variable("OTEL_RESOURCE_ATTRIBUTES"),
            has_own_search: hides_environment || variable("LOCALDOMAIN").is_some(),
            ..Snapshot::default()
        };
        // Read last: a process whose start is right now was there during all the reads before.
        let stat = self.text(pid, "stat", MAX_BYTES)?;
        let (comm, state, start_ticks) = stat_fields(&stat)?;
        // Its memory goes first when it ends: then the reads before may have come too late, though
        // its state does not tell yet.
        let has_memory = if snapshot.executable.is_empty() {
            !snapshot.arguments.is_empty()
        } else {
            std::fs::read_link(self.path(pid, "exe")).is_ok()
        };
        if matches!(state, "Z" | "X") || !has_memory {
            return None;
        }
        comm.clone_into(&mut snapshot.comm);
        snapshot.start_ticks = start_ticks;
        Some(snapshot)
    }

    /// Nanoseconds since boot of the beginning of a clock tick.
    pub(super) fn start_ns(&self, ticks: u64) -> u64 {
        ticks.saturating_mul(self.tick_ns())
    }

    /// Length of a clock tick in nanoseconds, 10 ms almost everywhere.
    pub(super) fn tick_ns(&self) -> u64 {
        1_000_000_000 / self.ticks_per_second
    }

    /// Whether any file that the process has mapped has a name that `matches`.
    pub(super) fn mapped<T>(&self, pid: u32, matches: impl Fn(&str) -> Option<T>) -> Option<T> {
        let file = File::open(self.path(pid, "maps")).ok()?;
        let lines = BufReader::new(file.take(MAX_MAPS_BYTES)).split(b'\n');
        // Not past an error: a process that has ended gives the same one at each read.
        lines.map_while(Result::ok).find_map(|line| {
            let line = std::str::from_utf8(&line).ok()?;
            matches(line.rsplit_once('/')?.1)
        })
    }

    /// Whether the process listens on a TCP port, in its own network namespace.
    ///
    /// The kernel lists listening sockets before all others, so that reading stops at the first
    /// that is not, however many connections there are.
    pub(super) fn listens(&self, pid: u32, port: u16) -> bool {
        let inodes: Vec<String> = ["net/tcp", "net/tcp6"]
            .into_iter()
            .filter_map(|name| File::open(self.path(pid, name)).ok())
            .flat_map(|file| {
                let lines = BufReader::new(file).lines().skip(1).take(MAX_LISTENERS);
                let listeners = lines.map_while(|line| listener(&line.ok()?));
                listeners.filter(|(at, _)| *at == port).map(|(_, inode)| inode).collect::<Vec<_>>()
            })
            .map(|inode| format!("socket:[{inode}]"))
            .collect();
        if inodes.is_empty() {
            return false;
        }
        let descriptors = std::fs::read_dir(self.path(pid, "fd")).into_iter().flatten().flatten();
        descriptors.take(MAX_DESCRIPTORS).any(|descriptor| {
            let target = std::fs::read_link(descriptor.path()).unwrap_or_default();
            inodes.iter().any(|inode| target.as_os_str() == inode.as_str())
        })
    }

    /// Absolute form, as the process sees it, of a path that it was given.
    pub(super) fn absolute(&self, pid: u32, path: &str) -> Option<PathBuf> {
        let path = Path::new(path);
        if path.is_absolute() {
            return Some(path.to_path_buf());
        }
        Some(std::fs::read_link(self.path(pid, "cwd")).ok()?.join(path))
    }

    /// Opens a path inside the root directory of a process. Links never lead out of it, and
    /// nothing but a file or a directory is opened: a container must not be able to make the agent
    /// read the host's files or wait on a pipe.
    pub(super) fn open_inside(&self, pid: u32, path: &Path) -> Option<File> {
        let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
        let root =
            rustix::fs::open(self.path(pid, "root"), OFlags::PATH | OFlags::CLOEXEC, Mode::empty());
        let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
        let file = rustix::fs::openat2(root.ok()?, path, flags, Mode::empty(), resolve).ok()?;
        let file = File::from(file);
        let kind = file.metadata().ok()?;
        (kind.is_file() || kind.is_dir()).then_some(file)
    }

    fn text(&self, pid: u32, name: &str, max: u64) -> Option<String> {
        text(File::open(self.path(pid, name)).ok()?, max)
    }
}

/// Up to `max` bytes of a file; what is no UTF-8 is replaced.
pub(super) fn text(file: File, max: u64) -> Option<String> {
    let mut bytes = Vec::new();
    file.take(max).read_to_end(&mut bytes).ok()?;
    Some(match String::from_utf8(bytes) {
        Ok(text) => text,
        Err(error) => String::from_utf8_lossy(error.as_bytes()).into_owned(),
    })
}

/// Splits a command line. A program that rewrote its title leaves zero bytes behind it.
fn arguments_of(text: &str) -> Vec<String> {
    let text = text.trim_end_matches('\0');
    if text.is_empty() {
        return Vec::new();
    }
    text.split('\0').take(MAX_ARGUMENTS).map(str::to_owned).collect()
}

/// Name, state and start in ticks from `stat`. The name may hold blanks and brackets.
fn stat_fields(stat: &str) -> Option<(&str, &str, u64)> {
    let (before, after) = stat.rsplit_once(')')?;
    let (_, comm) = before.split_once('(')?;
    let mut fields = after.split_ascii_whitespace();
    let state = fields.next()?;
    // Field 22 of proc_pid_stat(5); the state is field 3.
    Some((comm, state, fields.nth(18)?.parse().ok()?))
}

/// Port and inode from a line of `net/tcp` whose socket listens.
fn listener(line: &str) -> Option<(u16, String)> {
    /// `TCP_LISTEN` in the kernel's `tcp_states.h`.
    const LISTEN: &str = "0A";
    let mut fields = line.split_ascii_whitespace().skip(1);
    let (_, port) = fields.next()?.rsplit_once(':')?;
    let state = fields.nth(1)?;
    let inode = fields.nth(5)?;
    let port = u16::from_str_radix(port, 16).ok()?;
    (state == LISTEN).then(|| (port, inode.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stat_of_a_name_with_brackets() {
        let rest = "S 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 4242 20";
        let stat = format!("7 (a) b) {rest}");
        assert_eq!(stat_fields(&stat), Some(("a) b", "S", 4242)));
        assert_eq!(stat_fields("7 (a) S 1"), None);
        assert_eq!(stat_fields(""), None);
    }

    #[test]
    fn rewritten_titles_have_no_trailing_arguments() {
        assert_eq!(arguments_of("nginx: worker process\0\0\0\0"), ["nginx: worker process"]);
        assert_eq!(arguments_of("a\0\0b\0"), ["a", "", "b"]);
        assert!(arguments_of("\0\0").is_empty());
    }

    #[test]
    fn own_process() {
        let proc = Proc::new(Path::new("/proc"));
        let snapshot = proc.snapshot(std::process::id()).unwrap();
        assert!(snapshot.start_ticks > 0 && snapshot.executable.starts_with('/'));
        assert!(!snapshot.arguments.is_empty());
        assert!(proc.pids().contains(&std::process::id()));
        assert!(proc.snapshot(u32::MAX).is_none());
    }

    #[test]
    fn own_listener() {
        let proc = Proc::new(Path::new("/proc"));
        let socket = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = socket.local_addr().unwrap().port();
        assert!(proc.listens(std::process::id(), port));
        drop(socket);
        assert!(!proc.listens(std::process::id(), port));
    }
}
