//! `getaddrinfo` in the C libraries that watched processes use: found by what processes have mapped, and
//! attached to once per file, whatever it is called and in whichever container.

use std::collections::HashSet;
use std::fs::File;
use std::io::{BufRead as _, BufReader, ErrorKind, Read as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use aya::Ebpf;
use aya::programs::uprobe::{UProbeAttachLocation, UProbeScope};
use aya::programs::{ProgramError, UProbe};
use object::elf::{FileHeader64, PT_LOAD, SHT_DYNSYM};
use object::read::ReadCache;
use object::read::elf::{FileHeader as _, ProgramHeader as _, SectionHeader as _, Sym as _};
use object::{Endianness, ReadRef};

use super::attach::{self, AttachError};
use super::load::{ProbeState, Status};

/// The function.
const FUNCTION: &str = "getaddrinfo";

/// What is attached to its entry and to its return. The entry comes first: what is called in between
/// is not seen at all.
const PROGRAMS: [(&str, &str); 2] =
    [("getaddrinfo_called", "uprobe"), ("getaddrinfo_returned", "uretprobe")];

/// Most files that are attached to.
const MAX_LIBRARIES: usize = 256;

/// Most files that could not be attached to and are remembered, so that they are tried once.
const MAX_REFUSED: usize = 1024;

/// Most bytes read of the list of mappings of a process.
const MAX_MAPS_BYTES: u64 = 512 << 10;

/// Bounds of a library's file, which may come from a container: sections, and bytes of symbols.
const MAX_SECTIONS: usize = 4096;
const MAX_SYMBOL_BYTES: u64 = 4 << 20;

/// What became of the libraries.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Files that are attached to.
    pub attached: u64,
    /// Files that could not be attached to: calls through them are not seen.
    pub refused: u64,
    /// Files that were left out because there were too many.
    pub left_out: u64,
}

/// The libraries that are known.
#[derive(Debug, Default)]
pub(super) struct Libraries {
    attached: HashSet<(u64, u64)>,
    refused: HashSet<(u64, u64)>,
    /// Why the last one was.
    reason: Option<String>,
    stats: Stats,
}

impl Libraries {
    /// Begins where it is `wanted`. `None` with what is said of the programs where it is not, or the
    /// kernel does not take them. With `try_one` the library of some process is attached to at once.
    pub(super) fn begin(
        ebpf: &mut Ebpf,
        wanted: bool,
        try_one: bool,
    ) -> (Option<Self>, Vec<Status>) {
        if !wanted {
            return (None, Self::off());
        }
        let (mut libraries, statuses) = Self::load(ebpf);
        let tried = match &mut libraries {
            Some(libraries) if try_one => libraries.try_one(ebpf),
            _ => None,
        };
        (libraries, tried.unwrap_or(statuses))
    }

    /// Has the kernel check the programs.
    fn load(ebpf: &mut Ebpf) -> (Option<Self>, Vec<Status>) {
        let mut statuses = Vec::new();
        let mut is_ok = true;
        for (program, hook) in PROGRAMS {
            let state = match load(ebpf, program) {
                Ok(()) => ProbeState::Ok,
                Err(reason) => ProbeState::Refused(reason),
            };
            is_ok &= state == ProbeState::Ok;
            statuses.push(status(hook, state));
        }
        (is_ok.then(Self::default), statuses)
    }

    /// What is said where nobody asked for it.
    fn off() -> Vec<Status> {
        let off = || ProbeState::Off("off by default: `dns.getaddrinfo`".to_owned());
        PROGRAMS.into_iter().map(|(_, hook)| status(hook, off())).collect()
    }

    /// Attaches to the library of any process, to see whether the kernel allows it. What is said of both
    /// programs if it does not.
    fn try_one(&mut self, ebpf: &mut Ebpf) -> Option<Vec<Status>> {
        let entries = std::fs::read_dir("/proc").into_iter().flatten().flatten();
        let mut pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
        let is_attached = pids.any(|pid| {
            self.look(ebpf, pid);
            self.stats.attached > 0
        });
        let reason = self.reason.clone().filter(|_| !is_attached)?;
        let refused = || ProbeState::Refused(reason.clone());
        Some(PROGRAMS.into_iter().map(|(_, hook)| status(hook, refused())).collect())
    }

    /// What became of the libraries.
    pub(super) fn stats(&self) -> Stats {
        self.stats
    }

    /// Attaches to the C library of a process, if it has one that is not known yet.
    pub(super) fn look(&mut self, ebpf: &mut Ebpf, pid: u32) {
        let Some(mapped) = mapped(pid) else { return };
        // The link leads to the very file that is mapped, whatever its path is now.
        let file = match File::open(&mapped) {
            Ok(file) => file,
            Err(error) if error.kind() == ErrorKind::PermissionDenied => {
                self.may_not(&error);
                return;
            }
            // The process is gone.
            Err(_) => return,
        };
        let Ok(metadata) = file.metadata() else { return };
        let key = (metadata.dev(), metadata.ino());
        if self.attached.contains(&key) || self.refused.contains(&key) {
            return;
        }
        if self.attached.len() >= MAX_LIBRARIES || self.refused.len() >= MAX_REFUSED {
            self.stats.left_out += 1;
            return;
        }
        let result = offset_of(&ReadCache::new(file), FUNCTION)
            .ok_or_else(|| format!("no {FUNCTION} in it"))
            .and_then(|offset| attach_all(ebpf, &mapped, offset));
        match result {
            Ok(()) => {
                self.attached.insert(key);
                self.stats.attached += 1;
            }
            Err(reason) => {
                tracing::warn!(pid, reason, "the C library of a process is not attached to");
                self.refused.insert(key);
                self.stats.refused += 1;
                self.reason = Some(reason);
            }
        }
    }

    /// Links of `/proc` may not be followed, which is the same for all processes: said once.
    fn may_not(&mut self, error: &std::io::Error) {
        self.stats.refused += 1;
        if self.reason.is_none() {
            let reason = format!("/proc/PID/map_files: {error}; it needs CAP_CHECKPOINT_RESTORE");
            tracing::warn!(reason, "the C libraries of processes are not attached to");
            self.reason = Some(reason);
        }
    }

    /// Detaches everything.
    pub(super) fn unload(ebpf: &mut Ebpf) {
        for (program, _) in PROGRAMS {
            if let Some(program) = ebpf.program_mut(program) {
                // Fails only for a program that was not loaded.
                drop(<&mut UProbe>::try_from(program).map(UProbe::unload));
            }
        }
    }
}

fn status(hook: &'static str, state: ProbeState) -> Status {
    Status { name: FUNCTION, hook, state, fallback: None }
}

fn program<'a>(ebpf: &'a mut Ebpf, name: &str) -> Result<&'a mut UProbe, String> {
    let program = ebpf.program_mut(name).ok_or("vigie's own object lacks the program")?;
    program.try_into().map_err(|error: ProgramError| error.to_string())
}

fn load(ebpf: &mut Ebpf, name: &str) -> Result<(), String> {
    if attach::is_refused(FUNCTION) {
        return Err(format!("refused by {}", attach::REFUSE));
    }
    program(ebpf, name)?.load().map_err(reason)
}

fn attach_all(ebpf: &mut Ebpf, file: &Path, offset: u64) -> Result<(), String> {
    for (name, _) in PROGRAMS {
        let location = UProbeAttachLocation::AbsoluteOffset(offset);
        program(ebpf, name)?.attach(location, file, UProbeScope::AllProcesses).map_err(reason)?;
    }
    Ok(())
}

fn reason(error: ProgramError) -> String {
    match AttachError::from(error) {
        AttachError::Refused(reason) => reason,
        AttachError::Incomplete => "vigie's own object lacks the program".to_owned(),
    }
}

/// Where the code of a process's C library is mapped from, as a link of `/proc`.
fn mapped(pid: u32) -> Option<PathBuf> {
    let folder = PathBuf::from(format!("/proc/{pid}"));
    let lines =
        BufReader::new(File::open(folder.join("maps")).ok()?.take(MAX_MAPS_BYTES)).split(b'\n');
    lines.map_while(Result::ok).find_map(|line| {
        let line = std::str::from_utf8(&line).ok()?;
        let name = line.rsplit_once('/')?.1;
        let mut words = line.split(' ');
        let (range, access) = (words.next()?, words.next()?);
        let found = access.starts_with("r-x") && is_c_library(name);
        found.then(|| folder.join("map_files").join(trimmed(range)))
    })
}

/// Addresses without leading zeros, as the links have them.
fn trimmed(range: &str) -> String {
    let bounds: Vec<&str> = range.split('-').map(|bound| bound.trim_start_matches('0')).collect();
    bounds.join("-")
}

/// Whether a file is a C library by its name: of glibc, before 2.34 and since; of musl.
fn is_c_library(name: &str) -> bool {
    let name = name.strip_suffix(" (deleted)").unwrap_or(name);
    ["libc.so.", "libc-2.", "ld-musl-", "libc.musl-"].iter().any(|start| name.starts_with(start))
}

/// Where a function begins in the file of a library.
fn offset_of<'data>(data: impl ReadRef<'data>, function: &str) -> Option<u64> {
    let header = FileHeader64::<Endianness>::parse(data).ok()?;
    let endian = header.endian().ok()?;
    let sections = header.sections(endian, data).ok()?;
    let is_symbols =
        |section: &&object::elf::SectionHeader64<Endianness>| section.sh_type(endian) == SHT_DYNSYM;
    let size = sections.iter().take(MAX_SECTIONS).find(is_symbols)?.sh_size(endian);
    if size > MAX_SYMBOL_BYTES {
        return None;
    }
    let symbols = sections.symbols(endian, data, SHT_DYNSYM).ok()?;
    let symbol = symbols.iter().find(|symbol| {
        !symbol.is_undefined(endian)
            && symbols.symbol_name(endian, symbol).is_ok_and(|name| name == function.as_bytes())
    })?;
    let address = symbol.st_value(endian);
    let segments = header.program_headers(endian, data).ok()?;
    segments.iter().find_map(|segment| {
        let from = segment.p_vaddr(endian);
        let inside = address.checked_sub(from)?;
        let is_here = segment.p_type(endian) == PT_LOAD && inside < segment.p_filesz(endian);
        is_here.then(|| segment.p_offset(endian).checked_add(inside)).flatten()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_c_libraries() {
        for name in ["libc.so.6", "libc-2.31.so", "ld-musl-x86_64.so.1", "libc.so.6 (deleted)"] {
            assert!(is_c_library(name), "{name}");
        }
        for name in ["libcrypto.so.3", "libc-client.so.2", "libcap.so.2", "libc", "python3.12"] {
            assert!(!is_c_library(name), "{name}");
        }
    }

    #[test]
    fn own_library() {
        let link = mapped(std::process::id()).unwrap();
        let Ok(file) = File::open(&link) else { return };
        let data = ReadCache::new(file);
        assert!(offset_of(&data, FUNCTION).is_some_and(|offset| offset > 0));
        assert_eq!(offset_of(&data, "no_such_function"), None);
        assert_eq!(offset_of(&b"\x7fELF no library"[..], FUNCTION), None);
    }
}
