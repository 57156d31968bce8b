//! What the kernel's console says of the kernel's own health.

/// A kernel in trouble, with the line that says so.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Trouble {
    /// Panic, oops, or a failed assertion: the kernel is broken, and ends.
    Crash(String),
    /// A processor or a task that got no further for long; the kernel may recover.
    Stall(String),
}

/// Signs of a crash.
const CRASHES: [&str; 6] = [
    "Kernel panic",
    "Oops:",
    "general protection fault",
    "BUG: unable to handle",
    "kernel BUG at",
    "double fault:",
];
/// Signs of a stall: RCU's, the watchdogs', the hung-task detector's.
const STALLS: [&str; 4] =
    ["detected stall", "self-detected stall", "soft lockup", "blocked for more than"];

/// The trouble that one line tells of.
pub(crate) fn read(line: &str) -> Option<Trouble> {
    let has = |signs: &[&str]| signs.iter().any(|sign| line.contains(sign));
    if has(&CRASHES) {
        Some(Trouble::Crash(line.trim().to_owned()))
    } else if has(&STALLS) {
        Some(Trouble::Stall(line.trim().to_owned()))
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn crashes_and_stalls_are_told_apart() {
        let crash = "[    2.1] Kernel panic - not syncing: Attempted to kill init! exitcode=0x100";
        assert!(matches!(read(crash), Some(Trouble::Crash(_))));
        assert!(matches!(read("Oops: 0000 [#1] PREEMPT SMP PTI"), Some(Trouble::Crash(_))));
        let stall = "rcu: INFO: rcu_preempt self-detected stall on CPU";
        assert!(matches!(read(stall), Some(Trouble::Stall(_))));
        let stall = "watchdog: BUG: soft lockup - CPU#0 stuck for 62s! [vigie:88]";
        assert!(matches!(read(stall), Some(Trouble::Stall(_))));
        assert_eq!(read("Run /init as init process"), None);
    }
}
