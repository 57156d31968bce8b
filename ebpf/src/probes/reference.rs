//! Two empty programs on the hooks of the syscall backend: what the kernel takes for calling any
//! program at all, so that the benchmark can tell vigie's own cost from it. Never attached by
//! anything but `vigie debug reference`.

use aya_ebpf::{macros::btf_tracepoint, programs::BtfTracePointContext};

#[btf_tracepoint(function = "sys_enter")]
pub fn reference_enter(_: BtfTracePointContext) -> i32 {
    0
}

#[btf_tracepoint(function = "sys_exit")]
pub fn reference_exit(_: BtfTracePointContext) -> i32 {
    0
}
