//! An initramfs: a cpio archive in the "newc" format, as the kernel unpacks it
//! (Documentation/driver-api/early-userspace/buffer-format.rst).

use std::collections::BTreeSet;
use std::path::{Component, Path};

/// An archive that grows by one entry at a time. Folders come by themselves.
#[derive(Debug, Default)]
pub(crate) struct Archive {
    bytes: Vec<u8>,
    entries: u32,
    folders: BTreeSet<String>,
}

const FOLDER: u32 = 0o040_755;
const PROGRAM: u32 = 0o100_755;
const FILE: u32 = 0o100_644;
const LINK: u32 = 0o120_777;
/// The name that ends an archive.
const END: &str = "TRAILER!!!";

impl Archive {
    /// Adds an executable file at an absolute path.
    pub(crate) fn program(&mut self, path: &str, content: &[u8]) {
        self.add(path, PROGRAM, content);
    }

    /// Adds a file at an absolute path.
    pub(crate) fn file(&mut self, path: &str, content: &[u8]) {
        self.add(path, FILE, content);
    }

    /// Adds a symbolic link at an absolute path.
    pub(crate) fn link(&mut self, path: &str, to: &str) {
        self.add(path, LINK, to.as_bytes());
    }

    /// Adds a folder at an absolute path, and those above it.
    pub(crate) fn folder(&mut self, path: &str) {
        let mut so_far = String::new();
        for part in Path::new(path).components() {
            let Component::Normal(part) = part else { continue };
            if !so_far.is_empty() {
                so_far.push('/');
            }
            so_far.push_str(&part.to_string_lossy());
            if self.folders.insert(so_far.clone()) {
                self.entry(&so_far, FOLDER, &[]);
            }
        }
    }

    /// The whole archive.
    pub(crate) fn finish(mut self) -> Vec<u8> {
        self.entry(END, 0, &[]);
        self.bytes
    }

    fn add(&mut self, path: &str, mode: u32, content: &[u8]) {
        if let Some(folder) = Path::new(path).parent() {
            self.folder(&folder.to_string_lossy());
        }
        self.entry(path.trim_start_matches('/'), mode, content);
    }

    fn entry(&mut self, name: &str, mode: u32, content: &[u8]) {
        self.entries += 1;
        let fields = [
            self.entries, // inode
            mode,
            0, // owner
            0, // group
            1, // links
            0, // time
            u32::try_from(content.len()).unwrap_or(u32::MAX),
            0, // device
            0,
            0, // device of a device file
            0,
            u32::try_from(name.len() + 1).unwrap_or(u32::MAX),
            0, // check sum, which this format has not
        ];
        self.bytes.extend_from_slice(b"070701");
        for field in fields {
            self.bytes.extend_from_slice(format!("{field:08X}").as_bytes());
        }
        self.bytes.extend_from_slice(name.as_bytes());
        self.bytes.push(0);
        self.pad();
        self.bytes.extend_from_slice(content);
        self.pad();
    }

    fn pad(&mut self) {
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_are_aligned_and_folders_come_first() {
        let mut archive = Archive::default();
        archive.program("/bin/a", b"12345");
        archive.file("/bin/b", b"");
        let bytes = archive.finish();
        assert_eq!(bytes.len() % 4, 0);
        let text = String::from_utf8_lossy(&bytes);
        assert_eq!(text.matches("070701").count(), 4);
        assert!(text.find("bin\0") < text.find("bin/a\0"), "{text}");
        // 110 bytes of header and "bin\0" make 114, padded to 116.
        assert_eq!(&bytes[116..122], b"070701");
        assert!(text.contains("12345\x00\x00\x00070701"), "{text}");
    }
}
