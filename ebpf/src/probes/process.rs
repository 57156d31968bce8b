//! The life of processes.
//!
//! - Hooks: BTF raw tracepoints `sched_process_exec`, `sched_process_fork`, `sched_process_exit`.
//! - Records: `Exec`, `Fork` (of processes, not threads), `Exit` (of watched processes).
//! - Kernel: 5.5. Without them processes are found when they first use a connection.
//! - Cost: one record per exec and fork; nothing per thread.

use aya_ebpf::{
    helpers::generated::{bpf_ktime_get_ns, bpf_probe_read_kernel_str, bpf_probe_read_user},
    macros::btf_tracepoint,
    programs::BtfTracePointContext,
};
use vigie_common::{
    policy::{ProcessEntry, ProcessPolicy, process_flags},
    record::{Exec, Exit, Fork, Kind},
};

use crate::{emit, kernel::read, maps::PROCESSES, params::offset, process, process::start_of};

#[btf_tracepoint(function = "sched_process_exec")]
pub fn sched_process_exec(ctx: BtfTracePointContext) -> i32 {
    let task: u64 = ctx.arg(0);
    let program: u64 = ctx.arg(2);
    let Some(tgid) = read::<u32>(task, offset!(task_tgid)) else { return 0 };
    let start_ns = start_of(task);
    // What the program was no longer says what it is: user space looks again. Only that it is to be
    // watched, whatever it becomes, stays.
    if let Some(entry) = PROCESSES.get_ptr(tgid) {
        // SAFETY: map values stay valid while the program runs.
        let entry = unsafe { *entry };
        if entry.flags & process_flags::EXPLICIT == 0 || entry.policy != ProcessPolicy::Watch as u32
        {
            let _ = PROCESSES.remove(tgid);
            process::changed(tgid);
        }
    }
    let filename = read::<u64>(program, offset!(binprm_filename)).unwrap_or(0);
    // Not an option of a pair: 5.10 refuses what the compiler makes of one.
    let memory = read::<u64>(task, offset!(task_mm)).unwrap_or(0);
    let start = read::<u64>(memory, offset!(mm_arg_start)).unwrap_or(0);
    let end = read::<u64>(memory, offset!(mm_arg_end)).unwrap_or(0);
    emit::plain::<Exec>(u64::from(tgid), false, |record| {
        // SAFETY: the record is reserved and large enough; the helpers write at most as many bytes
        // as they are told.
        unsafe {
            (&raw mut (*record).kind).write(Kind::Exec as u32);
            (&raw mut (*record).tgid).write(tgid);
            (&raw mut (*record).time_ns).write(bpf_ktime_get_ns());
            (&raw mut (*record).process_start_ns).write(start_ns);
            let length = bpf_probe_read_kernel_str(
                (&raw mut (*record).filename).cast(),
                128,
                filename as usize as *const _,
            );
            let length = if length > 0 { length as u32 - 1 } else { 0 };
            (&raw mut (*record).filename_length).write(length);
            let length = end.wrapping_sub(start).min(256) as u32;
            let into = (&raw mut (*record).arguments).cast();
            let is_read =
                length > 0 && bpf_probe_read_user(into, length, start as usize as *const _) == 0;
            (&raw mut (*record).arguments_length).write(if is_read { length } else { 0 });
        }
    });
    0
}

#[btf_tracepoint(function = "sched_process_fork")]
pub fn sched_process_fork(ctx: BtfTracePointContext) -> i32 {
    let parent: u64 = ctx.arg(0);
    let child: u64 = ctx.arg(1);
    let (Some(parent_tgid), Some(tgid), Some(pid)) = (
        read::<u32>(parent, offset!(task_tgid)),
        read::<u32>(child, offset!(task_tgid)),
        read::<u32>(child, offset!(task_pid)),
    ) else {
        return 0;
    };
    if tgid != pid {
        return 0;
    }
    let start_ns = read::<u64>(child, offset!(task_start_boottime)).unwrap_or(0);
    if let Some(entry) = PROCESSES.get_ptr(parent_tgid) {
        // SAFETY: map values stay valid while the program runs.
        let entry = unsafe { *entry };
        if entry.flags & process_flags::EXPLICIT != 0 {
            let flags = process_flags::EXPLICIT;
            let child = ProcessEntry { start_boot_ns: start_ns, flags, ..entry };
            let _ = PROCESSES.insert(tgid, child, 0);
        }
    }
    process::changed(tgid);
    emit::plain::<Fork>(u64::from(tgid), false, |record| {
        // SAFETY: the record is reserved and large enough.
        unsafe {
            record.write(Fork {
                kind: Kind::Fork as u32,
                tgid,
                parent: parent_tgid,
                reserved: 0,
                time_ns: bpf_ktime_get_ns(),
                process_start_ns: start_ns,
            });
        }
    });
    0
}

#[btf_tracepoint(function = "sched_process_exit")]
pub fn sched_process_exit(ctx: BtfTracePointContext) -> i32 {
    let task: u64 = ctx.arg(0);
    let (Some(tgid), Some(pid)) =
        (read::<u32>(task, offset!(task_tgid)), read::<u32>(task, offset!(task_pid)))
    else {
        return 0;
    };
    if tgid != pid {
        return 0;
    }
    let Some(entry) = PROCESSES.get_ptr(tgid) else { return 0 };
    // SAFETY: map values stay valid while the program runs.
    let start_ns = unsafe { (*entry).start_boot_ns };
    let _ = PROCESSES.remove(tgid);
    process::changed(tgid);
    emit::plain::<Exit>(u64::from(tgid), false, |record| {
        // SAFETY: the record is reserved and large enough.
        unsafe {
            record.write(Exit {
                kind: Kind::Exit as u32,
                tgid,
                time_ns: bpf_ktime_get_ns(),
                process_start_ns: start_ns,
            });
        }
    });
    0
}
