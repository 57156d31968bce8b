//! Reading kernel and user memory.

use aya_ebpf::helpers::generated::{bpf_probe_read_kernel, bpf_probe_read_user};

/// Reads a `T` at `base + offset` in kernel memory.
#[inline(always)]
pub(crate) fn read<T: Copy>(base: u64, offset: usize) -> Option<T> {
    let mut value = core::mem::MaybeUninit::<T>::uninit();
    // SAFETY: the helper writes `size_of::<T>()` bytes to `value` or fails; it checks the source.
    let result = unsafe {
        bpf_probe_read_kernel(
            value.as_mut_ptr().cast(),
            size_of::<T>() as u32,
            (base as usize).wrapping_add(offset) as *const _,
        )
    };
    // SAFETY: written on success; only plain integers and arrays of them are read.
    (result == 0).then(|| unsafe { value.assume_init() })
}

/// Reads a `T` at `address` in the memory of the current process.
#[inline(always)]
pub(crate) fn read_user<T: Copy>(address: u64) -> Option<T> {
    let mut value = core::mem::MaybeUninit::<T>::uninit();
    // SAFETY: as in `read`.
    let result = unsafe {
        bpf_probe_read_user(
            value.as_mut_ptr().cast(),
            size_of::<T>() as u32,
            address as usize as *const _,
        )
    };
    // SAFETY: as in `read`.
    (result == 0).then(|| unsafe { value.assume_init() })
}
