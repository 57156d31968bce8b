//! What an executable's own file says of the language it was written in.
//!
//! Only the section headers and a few small sections are read, never the whole file; results are
//! kept by device, inode, size and time of change, so that a hundred workers cost one look.

use std::collections::HashMap;
use std::fs::File;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use object::elf::{DT_NEEDED, FileHeader32, FileHeader64};
use object::read::elf::{Dyn as _, FileHeader, SectionHeader as _};
use object::read::{FileKind, ReadCache};
use object::{Endianness, ReadRef};

/// Most files that are remembered. Past it all are forgotten, and looked at again when needed.
const MAX_FILES: usize = 4096;
/// Most sections that are looked at; more are a sign of a damaged or hostile file.
const MAX_SECTIONS: usize = 4096;
/// Largest `.comment` that is read, in bytes; each compiler that took part has a line in it.
const MAX_COMMENT: u64 = 64 << 10;
/// Largest `.dynamic`, in bytes, in which needed libraries are looked for.
const MAX_DYNAMIC: u64 = 64 << 10;

/// What is known of an executable.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Binary {
    /// Value of `telemetry.sdk.language`.
    pub(super) language: Option<&'static str>,
    /// Whether it is a 32-bit program: its system calls have other numbers and are not read.
    pub(super) is_32_bit: bool,
}

/// A file, whatever its names.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
struct FileKey {
    device: u64,
    inode: u64,
    size: u64,
    changed_s: i64,
    changed_ns: i64,
}

/// Executables that were looked at.
#[derive(Default)]
pub(super) struct Binaries {
    known: HashMap<FileKey, Binary>,
}

impl Binaries {
    /// The executable at a path, which may be a link of `/proc`.
    pub(super) fn inspect(&mut self, path: &Path) -> Binary {
        let Ok(file) = File::open(path) else { return Binary::default() };
        let Ok(metadata) = file.metadata() else { return Binary::default() };
        let key = FileKey {
            device: metadata.dev(),
            inode: metadata.ino(),
            size: metadata.size(),
            changed_s: metadata.mtime(),
            changed_ns: metadata.mtime_nsec(),
        };
        if let Some(binary) = self.known.get(&key) {
            return *binary;
        }
        if self.known.len() >= MAX_FILES {
            self.known.clear();
        }
        let binary = read(&ReadCache::new(file)).unwrap_or_default();
        self.known.insert(key, binary);
        binary
    }
}

fn read<'data>(data: impl ReadRef<'data>) -> Option<Binary> {
    match FileKind::parse(data).ok()? {
        FileKind::Elf64 => {
            let language = language::<FileHeader64<Endianness>, _>(data);
            Some(Binary { language, is_32_bit: false })
        }
        FileKind::Elf32 => {
            let language = language::<FileHeader32<Endianness>, _>(data);
            Some(Binary { language, is_32_bit: true })
        }
        _ => None,
    }
}

/// Go by its own sections, Rust by the compiler's line in `.comment`, C++ by its library. Nothing
/// is said of the rest: C has no value in the convention, and a stripped file tells nothing.
fn language<'data, Elf: FileHeader<Endian = Endianness>, R: ReadRef<'data>>(
    data: R,
) -> Option<&'static str> {
    let header = Elf::parse(data).ok()?;
    let endian = header.endian().ok()?;
    let sections = header.sections(endian, data).ok()?;
    let (mut is_rust, mut is_cpp) = (false, false);
    for section in sections.iter().take(MAX_SECTIONS) {
        let size: u64 = section.sh_size(endian).into();
        match sections.section_name(endian, section).ok()? {
            b".go.buildinfo" | b".note.go.buildid" | b".gopclntab" => return Some("go"),
            b".comment" if size <= MAX_COMMENT => {
                let text = section.data(endian, data).unwrap_or_default();
                is_rust = contains(text, b"rustc version");
            }
            b".dynamic" if size <= MAX_DYNAMIC => {
                let Ok(Some((entries, link))) = section.dynamic(endian, data) else { continue };
                let Ok(strings) = sections.strings(endian, data, link) else { continue };
                is_cpp = entries.iter().any(|entry| {
                    let needed = entry.tag32(endian) == Some(DT_NEEDED);
                    let offset = entry.val32(endian).filter(|_| needed);
                    let name = offset.and_then(|offset| strings.get(offset).ok());
                    name.is_some_and(|name| {
                        name.starts_with(b"libstdc++.so") || name.starts_with(b"libc++.so")
                    })
                });
            }
            _ => {}
        }
    }
    if is_rust {
        Some("rust")
    } else if is_cpp {
        Some("cpp")
    } else {
        None
    }
}

fn contains(text: &[u8], wanted: &[u8]) -> bool {
    text.windows(wanted.len()).any(|window| window == wanted)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn own_test_program_is_rust() {
        let mut binaries = Binaries::default();
        let path = std::env::current_exe().unwrap();
        let expected = Binary { language: Some("rust"), is_32_bit: false };
        assert_eq!(binaries.inspect(&path), expected);
        assert_eq!(binaries.inspect(&path), expected);
        assert_eq!(binaries.known.len(), 1);
    }

    #[test]
    fn what_is_no_program_says_nothing() {
        let mut binaries = Binaries::default();
        let check = |binaries: &mut Binaries, bytes: &[u8]| {
            let file = tempfile::NamedTempFile::new().unwrap();
            std::fs::write(file.path(), bytes).unwrap();
            assert_eq!(binaries.inspect(file.path()).language, None);
        };
        check(&mut binaries, b"");
        check(&mut binaries, b"#!/bin/sh\n");
        check(&mut binaries, b"\x7fELF\x02\x01\x01");
        let mut damaged = std::fs::read("/proc/self/exe").unwrap();
        damaged.truncate(4096);
        check(&mut binaries, &damaged);
        assert_eq!(binaries.inspect(Path::new("/nonexistent")), Binary::default());
    }

    #[test]
    fn shell_is_neither() {
        assert_eq!(Binaries::default().inspect(Path::new("/bin/sh")), Binary::default());
    }
}
