//! The eBPF programs that are loaded into the running kernel, by whomever: bpf(2).

use std::mem;
use std::os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd};
use std::time::Duration;

use anyhow::{Context as _, Result};

use crate::process;

/// Commands of bpf(2), `enum bpf_cmd` of `linux/bpf.h`.
const PROG_GET_NEXT_ID: libc::c_long = 11;
const PROG_GET_FD_BY_ID: libc::c_long = 13;
const OBJ_GET_INFO_BY_FD: libc::c_long = 15;

/// The kernel frees programs some time after their last user has gone.
const DETACH_LIMIT: Duration = Duration::from_secs(30);

/// Accounting of one loaded program.
#[derive(Clone, Debug)]
pub(crate) struct Program {
    /// Unique while it is loaded.
    pub(crate) id: u32,
    /// The first 15 letters of its function's name.
    pub(crate) name: String,
    /// Runs while accounting was on.
    pub(crate) runs: u64,
    /// Time in these runs, in nanoseconds.
    pub(crate) time: u64,
    /// Runs that the kernel left out, because a thread was in the middle of the program on the same
    /// processor.
    pub(crate) missed: u64,
}

/// Numbers of all loaded programs.
pub(crate) fn ids() -> Result<Vec<u32>> {
    let mut found = Vec::new();
    let mut last = 0;
    loop {
        // start_id, next_id, open_flags
        let mut attributes = [last, 0_u32, 0];
        match call(PROG_GET_NEXT_ID, &mut attributes) {
            Ok(_) => {
                last = attributes[1];
                found.push(last);
            }
            Err(error) if error.raw_os_error() == Some(libc::ENOENT) => return Ok(found),
            Err(error) => return Err(error).context("asking for loaded programs"),
        }
    }
}

/// All loaded programs; one that goes in the meantime is left out.
pub(crate) fn programs() -> Result<Vec<Program>> {
    Ok(ids()?.into_iter().filter_map(|id| program(id).ok()).collect())
}

/// Waits until no program is loaded: in the virtual machine nobody but vigie loads any.
pub(crate) fn all_gone() -> Result<()> {
    process::wait_for("all eBPF programs are gone", DETACH_LIMIT, || {
        Ok(ids()?.is_empty().then_some(()))
    })
    .with_context(|| format!("left in the kernel: {:?}", programs().unwrap_or_default()))
}

/// The beginning of `struct bpf_prog_info`, which only ever grew at its end.
#[repr(C)]
struct Info {
    _before_name: [u64; 8],
    name: [u8; 16],
    _between: [u64; 14],
    run_time_ns: u64,
    run_cnt: u64,
    recursion_misses: u64,
}

fn program(id: u32) -> Result<Program> {
    let mut attributes = [id, 0, 0];
    let number = call(PROG_GET_FD_BY_ID, &mut attributes).context("opening a program")?;
    let number = i32::try_from(number).context("a descriptor")?;
    // SAFETY: the kernel has just made this descriptor for us, and nobody else knows it.
    let fd = unsafe { OwnedFd::from_raw_fd(number) };
    // SAFETY: all fields are integers, for which zeros are a value.
    let mut info: Info = unsafe { mem::zeroed() };
    let address = (&raw mut info).addr() as u64;
    // bpf_fd, info_len, info as two halves
    let mut attributes = [
        fd.as_raw_fd().cast_unsigned(),
        u32::try_from(size_of::<Info>()).context("a size")?,
        (address & 0xffff_ffff) as u32,
        (address >> 32) as u32,
    ];
    call(OBJ_GET_INFO_BY_FD, &mut attributes).context("asking about a program")?;
    let name = info.name.split(|&byte| byte == 0).next().unwrap_or_default();
    Ok(Program {
        id,
        name: String::from_utf8_lossy(name).into_owned(),
        runs: info.run_cnt,
        missed: info.recursion_misses,
        time: info.run_time_ns,
    })
}

fn call(command: libc::c_long, attributes: &mut [u32]) -> std::io::Result<libc::c_long> {
    // SAFETY: the kernel reads and writes at most the stated size of `attributes`; what an address
    // among them points to lives in the caller's frame until this returns.
    let result = unsafe {
        libc::syscall(libc::SYS_bpf, command, attributes.as_mut_ptr(), size_of_val(attributes))
    };
    if result < 0 { Err(std::io::Error::last_os_error()) } else { Ok(result) }
}
