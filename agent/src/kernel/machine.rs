//! What this machine allows: capabilities, lockdown, BTF.

use std::fs;

/// Capabilities that vigie needs, with what each is for (capabilities(7)).
pub const NEEDED: [Capability; 4] = [
    Capability { name: "CAP_BPF", bit: 39, purpose: "to load programs and maps" },
    Capability {
        name: "CAP_PERFMON",
        bit: 38,
        purpose: "to read the memory of kernel and processes",
    },
    Capability {
        name: "CAP_SYS_PTRACE",
        bit: 19,
        purpose: "to see who the processes of others are",
    },
    Capability {
        name: "CAP_DAC_READ_SEARCH",
        bit: 2,
        purpose: "to read executables and environments of others",
    },
];

/// `CAP_SYS_ADMIN` stands for `CAP_BPF` and `CAP_PERFMON` in the kernel's checks.
const SYS_ADMIN: u32 = 21;

/// A capability of Linux.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Capability {
    /// Name.
    pub name: &'static str,
    bit: u32,
    /// What vigie needs it for.
    pub purpose: &'static str,
}

/// What was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Machine {
    /// Release of the kernel.
    pub kernel: String,
    /// Architecture.
    pub arch: &'static str,
    /// Whether the kernel shows its type information.
    pub has_btf: bool,
    /// `none`, `integrity`, `confidentiality`, or `unknown` where it cannot be read.
    pub lockdown: String,
    /// Whether this is root.
    pub is_root: bool,
    /// Effective capabilities, a bit each.
    effective: u64,
}

impl Machine {
    /// Looks around.
    pub fn look() -> Self {
        let text = |path: &str| fs::read_to_string(path).map(|text| text.trim().to_owned());
        let status = text("/proc/self/status").unwrap_or_default();
        let effective = status
            .lines()
            .find_map(|line| line.strip_prefix("CapEff:"))
            .and_then(|hex| u64::from_str_radix(hex.trim(), 16).ok())
            .unwrap_or(0);
        Self {
            kernel: text("/proc/sys/kernel/osrelease").unwrap_or_default(),
            arch: std::env::consts::ARCH,
            has_btf: fs::metadata("/sys/kernel/btf/vmlinux").is_ok(),
            lockdown: lockdown(text("/sys/kernel/security/lockdown").ok().as_deref()),
            is_root: rustix::process::geteuid().is_root(),
            effective,
        }
    }

    /// Whether a capability is in force.
    pub fn has(&self, capability: Capability) -> bool {
        let has = |bit: u32| self.effective >> bit & 1 == 1;
        has(capability.bit) || (capability.bit >= 38 && has(SYS_ADMIN))
    }

    /// Needed capabilities that are missing.
    pub fn missing(&self) -> Vec<Capability> {
        NEEDED.into_iter().filter(|capability| !self.has(*capability)).collect()
    }
}

/// The choice in brackets: `none [integrity] confidentiality`.
fn lockdown(text: Option<&str>) -> String {
    text.and_then(|text| text.split_once('[')?.1.split_once(']'))
        .map_or_else(|| "unknown".to_owned(), |(chosen, _)| chosen.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lockdown_is_what_stands_in_brackets() {
        assert_eq!(lockdown(Some("none [integrity] confidentiality")), "integrity");
        assert_eq!(lockdown(Some("[none] integrity confidentiality")), "none");
        assert_eq!(lockdown(Some("")), "unknown");
        assert_eq!(lockdown(None), "unknown");
    }

    #[test]
    fn sys_admin_stands_for_bpf_and_perfmon_only() {
        let machine = |effective| Machine {
            kernel: String::new(),
            arch: "",
            has_btf: true,
            lockdown: String::new(),
            is_root: false,
            effective,
        };
        let names = |effective| {
            machine(effective).missing().iter().map(|missing| missing.name).collect::<Vec<_>>()
        };
        assert_eq!(names(u64::MAX), Vec::<&str>::new());
        assert_eq!(names(1 << 21), ["CAP_SYS_PTRACE", "CAP_DAC_READ_SEARCH"]);
        assert_eq!(names(0).len(), 4);
    }
}
