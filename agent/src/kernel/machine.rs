//! What this machine allows: capabilities, lockdown, BTF.

use std::fs;

/// Capabilities that vigie has a use for, with what each is for and what is lost without it
/// (capabilities(7)); `docs/capabilities.md` has the details.
pub const CAPABILITIES: [Capability; 8] = [
    Capability {
        name: "CAP_BPF",
        bit: 39,
        need: Need::Required,
        purpose: "loading programs and maps",
        without: "nothing runs",
    },
    Capability {
        name: "CAP_PERFMON",
        bit: 38,
        need: Need::Required,
        purpose: "tracing programs, and the memory of kernel and processes in them",
        without: "nothing runs",
    },
    Capability {
        name: "CAP_SYS_PTRACE",
        bit: 19,
        need: Need::Expected,
        purpose: "executable, memory map and, with the next, descriptors and environment of other \
                  users' processes",
        without: "of other users' processes: no rule on port or executable matches, and no \
                  language is known of compiled programs",
    },
    Capability {
        name: "CAP_DAC_READ_SEARCH",
        bit: 2,
        need: Need::Expected,
        purpose: "descriptors and environment of other users' processes, and files that only their \
                  owners may read",
        without: "of other users' processes: no rule on port matches, and the environment is known \
                  from their first connection on",
    },
    Capability {
        name: "CAP_NET_ADMIN",
        bit: 12,
        need: Need::Optional,
        purpose: "programs on sockets, for context injection",
        without: "nothing in this version",
    },
    Capability {
        name: "CAP_CHECKPOINT_RESTORE",
        bit: 40,
        need: Need::Optional,
        purpose: "libraries that processes have mapped, for TLS",
        without: "nothing in this version",
    },
    Capability {
        name: "CAP_SYSLOG",
        bit: 34,
        need: Need::Optional,
        purpose: "addresses of kernel symbols, where kernel.kptr_restrict hides them",
        without: "one more read per call, to tell sockets from files",
    },
    Capability {
        name: "CAP_SYS_ADMIN",
        bit: SYS_ADMIN,
        need: Need::Optional,
        purpose: "the kernel's account of the time in its programs",
        without: "the programs' time is neither shown nor part of the budget",
    },
];

/// `CAP_SYS_ADMIN` stands for some of the others in the kernel's checks.
const SYS_ADMIN: u32 = 21;

/// Those that it stands for.
const STANDS_FOR: [&str; 4] = ["CAP_BPF", "CAP_PERFMON", "CAP_CHECKPOINT_RESTORE", "CAP_SYSLOG"];

/// How much vigie needs a capability.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Need {
    /// Nothing runs without it.
    Required,
    /// Something that people look at is lost without it.
    Expected,
    /// It brings a little more, or is for what this version does not do yet.
    Optional,
}

/// A capability of Linux.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Capability {
    /// Name.
    pub name: &'static str,
    bit: u32,
    /// How much vigie needs it.
    pub need: Need,
    /// What vigie needs it for.
    pub purpose: &'static str,
    /// What is lost without it.
    pub without: &'static str,
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
        has(capability.bit) || (has(SYS_ADMIN) && STANDS_FOR.contains(&capability.name))
    }

    /// Capabilities without which nothing runs and that are missing.
    pub fn missing(&self) -> Vec<Capability> {
        self.lacking().into_iter().filter(|capability| capability.need == Need::Required).collect()
    }

    /// Capabilities that are missing, required or not.
    pub fn lacking(&self) -> Vec<Capability> {
        CAPABILITIES.into_iter().filter(|capability| !self.has(*capability)).collect()
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
    fn sys_admin_stands_for_some_others() {
        let machine = |effective| Machine {
            kernel: String::new(),
            arch: "",
            has_btf: true,
            lockdown: String::new(),
            is_root: false,
            effective,
        };
        let names = |missing: Vec<Capability>| {
            missing.iter().map(|missing| missing.name).collect::<Vec<_>>()
        };
        assert_eq!(names(machine(u64::MAX).lacking()), Vec::<&str>::new());
        assert_eq!(
            names(machine(1 << SYS_ADMIN).lacking()),
            ["CAP_SYS_PTRACE", "CAP_DAC_READ_SEARCH", "CAP_NET_ADMIN"]
        );
        assert_eq!(names(machine(1 << SYS_ADMIN).missing()), Vec::<&str>::new());
        assert_eq!(names(machine(1 << 39).missing()), ["CAP_PERFMON"]);
        assert_eq!(names(machine(0).missing()), ["CAP_BPF", "CAP_PERFMON"]);
        assert_eq!(machine(0).lacking().len(), CAPABILITIES.len());
    }

    #[test]
    fn the_documents_list_every_capability() {
        let text = include_str!("../../../docs/capabilities.md");
        for capability in CAPABILITIES {
            assert!(text.contains(&format!("| `{}` |", capability.name)), "{}", capability.name);
        }
    }
}
