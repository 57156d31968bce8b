//! Maps that are read and written without system calls, through memory shared with the programs.
//!
//! It is cheaper, and it is what keeps kprobes exact: during `bpf(2)` on a map the kernel leaves out
//! programs on kprobes on that processor (`bpf_prog_active`), and a kernel that preempts the caller in the
//! middle leaves them out until it goes on.

use std::ffi::c_void;
use std::marker::PhantomData;
use std::os::fd::AsFd as _;
use std::ptr::{self, NonNull};

use aya::maps::{Map, MapData};
use rustix::mm::{MapFlags, ProtFlags, mmap, munmap};

/// An array map (`BPF_F_MMAPABLE`) in this process's memory.
pub(super) struct Shared<T> {
    start: NonNull<c_void>,
    bytes: usize,
    entries: u32,
    /// Keeps the map.
    _map: MapData,
    _entry: PhantomData<T>,
}

// SAFETY: the mapping is of no thread, and nothing else points there in this process.
unsafe impl<T: Send> Send for Shared<T> {}

/// Why a map is not shared.
#[derive(Debug, thiserror::Error)]
pub enum SharedError {
    /// It is of another kind.
    #[error("it is no array")]
    Kind,
    /// The kernel refused.
    #[error("it cannot be mapped: {0}")]
    Refused(#[from] rustix::io::Errno),
}

impl<T: aya::Pod> Shared<T> {
    /// Bytes from one entry to the next: the kernel aligns them to 8.
    const STRIDE: usize = size_of::<T>().next_multiple_of(8);

    /// Maps an array with so many entries.
    pub(super) fn map(map: Map, entries: u32) -> Result<Self, SharedError> {
        let Map::Array(data) = map else { return Err(SharedError::Kind) };
        let bytes = Self::STRIDE * usize::try_from(entries).unwrap_or_default();
        // SAFETY: a new mapping anywhere; the kernel refuses a length beyond the map's own pages.
        let start = unsafe {
            mmap(
                ptr::null_mut(),
                bytes,
                ProtFlags::READ | ProtFlags::WRITE,
                MapFlags::SHARED,
                data.fd().as_fd(),
                0,
            )
        }?;
        let start = NonNull::new(start).ok_or(rustix::io::Errno::FAULT)?;
        Ok(Self { start, bytes, entries, _map: data, _entry: PhantomData })
    }

    fn entry(&self, index: u32) -> Option<*mut T> {
        let offset = Self::STRIDE * usize::try_from(index).ok()?;
        // SAFETY: within the mapping, as the index is below the number of entries.
        (index < self.entries).then(|| unsafe { self.start.as_ptr().byte_add(offset) }.cast())
    }

    /// An entry as it is now. The programs may be writing it.
    pub(super) fn get(&self, index: u32) -> Option<T> {
        // SAFETY: aligned to 8 within the mapping; any bits are a value, as the type is `Pod`.
        self.entry(index).map(|entry| unsafe { entry.read_volatile() })
    }

    /// Writes an entry. The programs may be reading it, and may see a part of it only.
    pub(super) fn set(&mut self, index: u32, value: T) {
        if let Some(entry) = self.entry(index) {
            // SAFETY: as in `get`; nobody else in this process writes there.
            unsafe { entry.write_volatile(value) };
        }
    }
}

impl<T> Drop for Shared<T> {
    fn drop(&mut self) {
        // SAFETY: the mapping of `map`, to which no pointer is left. A failure leaves memory only.
        let _ = unsafe { munmap(self.start.as_ptr(), self.bytes) };
    }
}
