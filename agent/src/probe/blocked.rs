//! Threads that were in a receive when the hooks were attached: the socket backends on functions do
//! not see such a call return, so the kernel programs are told who they are.

use std::fs;
use std::io::ErrorKind;
use std::time::{Duration, Instant};

use aya::maps::{HashMap, MapData};
use vigie_common::policy::MAX_BLOCKED;

/// read, readv, recvfrom, recvmsg, preadv2 of x86-64.
const RECEIVES: [&str; 5] = ["0", "19", "45", "47", "327"];

/// How often to see who is left: two system calls for each.
const LOOK_EVERY: Duration = Duration::from_secs(30);

/// The threads that have not gone on.
pub(super) struct Blocked {
    table: HashMap<MapData, u32, u32>,
    threads: Vec<u32>,
    looked: Instant,
}

impl Blocked {
    /// Whether there is any now: without one the program that serves them need not be loaded.
    pub(super) fn is_any() -> bool {
        receiving(std::process::id()).next().is_some()
    }

    /// Looks at all threads but those of this process. To be called when the hooks are attached.
    pub(super) fn look(mut table: HashMap<MapData, u32, u32>) -> Self {
        let mut threads: Vec<u32> = receiving(std::process::id()).collect();
        threads.truncate(MAX_BLOCKED as usize);
        threads.retain(|thread| table.insert(thread, 0, 0).is_ok());
        Self { table, threads, looked: Instant::now() }
    }

    /// Forgets the threads that went on or ended; whether there may be others. Looks now and then,
    /// however often it is called.
    pub(super) fn may_any_be_left(&mut self) -> bool {
        let Self { table, threads, looked } = self;
        if !threads.is_empty() && looked.elapsed() < LOOK_EVERY {
            return true;
        }
        *looked = Instant::now();
        threads.retain(|thread| {
            let waits = table.get(thread, 0).is_ok();
            let lives = waits && fs::metadata(format!("/proc/{thread}")).is_ok();
            if waits && !lives {
                // It may be gone in the meantime.
                drop(table.remove(thread));
            }
            lives
        });
        !threads.is_empty()
    }
}

/// Threads of other processes than this that are in a system call that receives from a socket. Those
/// that may not be looked at are left out.
fn receiving(own: u32) -> impl Iterator<Item = u32> {
    numbers("/proc").filter(move |process| *process != own).flat_map(|process| {
        numbers(&format!("/proc/{process}/task")).filter(move |thread| {
            let call = fs::read_to_string(format!("/proc/{process}/task/{thread}/syscall"));
            call.is_ok_and(|call| is_receive(process, &call))
        })
    })
}

/// Whether a call as `/proc/PID/task/TID/syscall` has it, a number and the arguments in hexadecimal,
/// receives from a socket. Where it cannot be seen what a descriptor is, it counts as one.
fn is_receive(process: u32, call: &str) -> bool {
    let mut words = call.split(' ');
    if !words.next().is_some_and(|number| RECEIVES.contains(&number)) {
        return false;
    }
    let descriptor = words.next().and_then(|word| word.strip_prefix("0x"));
    let descriptor = descriptor.and_then(|word| u64::from_str_radix(word, 16).ok());
    let target = descriptor.map(|number| fs::read_link(format!("/proc/{process}/fd/{number}")));
    match target {
        Some(Ok(target)) => target.to_str().is_some_and(|target| target.starts_with("socket:")),
        // Kernel threads show a call of zeros, and have no descriptors.
        Some(Err(error)) => error.kind() != ErrorKind::NotFound,
        None => true,
    }
}

/// Names in a folder that are numbers.
fn numbers(folder: &str) -> impl Iterator<Item = u32> + use<> {
    let entries = fs::read_dir(folder).into_iter().flatten().filter_map(Result::ok);
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok())
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;
    use std::os::fd::AsRawFd as _;
    use std::os::unix::net::UnixStream;

    use super::*;

    #[test]
    fn a_thread_in_a_read_is_found() {
        let (mut ours, theirs) = UnixStream::pair().unwrap();
        let thread = std::thread::spawn(move || ours.read(&mut [0]).unwrap());
        // Any process but this one is looked at, so this pretends to be another.
        let is_found =
            || receiving(0).any(|id| fs::metadata(format!("/proc/self/task/{id}")).is_ok());
        while !is_found() {
            std::thread::yield_now();
        }
        drop(theirs);
        assert_eq!(thread.join().unwrap(), 0);
    }

    #[test]
    fn only_receives_from_sockets_count() {
        let (socket, _other) = UnixStream::pair().unwrap();
        let (pipe, _writer) = std::io::pipe().unwrap();
        let own = std::process::id();
        let call =
            |number: u32, fd: i32| format!("{number} {fd:#x} 0x7f00 0x10 0x0 0x0 0x0 0x7f 0x7f");
        assert!(is_receive(own, &call(0, socket.as_raw_fd())));
        assert!(is_receive(own, &call(45, socket.as_raw_fd())));
        assert!(!is_receive(own, &call(1, socket.as_raw_fd())), "a write");
        assert!(!is_receive(own, &call(0, pipe.as_raw_fd())), "a pipe");
        assert!(!is_receive(own, &call(0, 1_000_000)), "no such descriptor");
        assert!(is_receive(own, "0"), "arguments that are not shown");
        assert!(!is_receive(own, "running"));
    }
}
