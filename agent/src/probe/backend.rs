//! Which hooks see the calls that move bytes: the backends, and the programs of each.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use vigie_common::policy::needs;

use super::order::Preemption;
use crate::kernel::btf::Btf;

/// A set of hooks that sees all sends and receives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Backend {
    /// `fentry` and `fexit` on the kernel's send and receive functions.
    SocketFentry,
    /// Kprobes and kretprobes on the same functions.
    SocketKprobe,
    /// The tracepoints that every send and receive passes, since 6.3.
    SocketTracepoint,
    /// The tracepoints of all system calls.
    Syscall,
}

impl Backend {
    /// All: first the one that sees what `io_uring` moves and costs little, then by cost. Which of
    /// them are exact is up to the kernel: [`Preemption`].
    pub const ALL: [Self; 4] =
        [Self::SocketFentry, Self::SocketTracepoint, Self::SocketKprobe, Self::Syscall];

    /// Name in the configuration and in reports.
    pub const fn name(self) -> &'static str {
        match self {
            Self::SocketFentry => "socket-fentry",
            Self::SocketKprobe => "socket-kprobe",
            Self::SocketTracepoint => "socket-tracepoint",
            Self::Syscall => "syscall",
        }
    }

    /// Its programs. Those that are required are attached first, each group in this order.
    pub(super) const fn probes(self) -> &'static [Probe] {
        match self {
            Self::SocketFentry => &FENTRY,
            Self::SocketKprobe => &KPROBE,
            Self::SocketTracepoint => &TRACEPOINT,
            Self::Syscall => &SYSCALL,
        }
    }
}

impl fmt::Display for Backend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Which backend is wanted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Choice {
    /// The first that the kernel takes of those that are exact on it, or else of the others.
    #[default]
    Auto,
    /// `fentry` and `fexit` on the kernel's send and receive functions.
    SocketFentry,
    /// Kprobes and kretprobes on the same functions.
    SocketKprobe,
    /// The tracepoints that every send and receive passes, since 6.3.
    SocketTracepoint,
    /// The tracepoints of all system calls.
    Syscall,
}

impl Choice {
    /// The backends to try, in order: the wanted one, then the others.
    pub fn candidates(self, preemption: Preemption) -> impl Iterator<Item = Backend> {
        let wanted = match self {
            Self::Auto => None,
            Self::SocketFentry => Some(Backend::SocketFentry),
            Self::SocketKprobe => Some(Backend::SocketKprobe),
            Self::SocketTracepoint => Some(Backend::SocketTracepoint),
            Self::Syscall => Some(Backend::Syscall),
        };
        let order = preemption.order().into_iter();
        let others = order.filter(move |backend| Some(*backend) != wanted);
        wanted.into_iter().chain(others)
    }
}

/// A kind of hook.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Hook {
    Tracepoint,
    Fentry,
    Fexit,
    Kprobe,
    Kretprobe,
}

impl Hook {
    /// As `vigie check` names it.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Tracepoint => "btf_raw_tracepoint",
            Self::Fentry => "fentry",
            Self::Fexit => "fexit",
            Self::Kprobe => "kprobe",
            Self::Kretprobe => "kretprobe",
        }
    }

    /// Whether the kernel has the function or tracepoint at all.
    pub(super) fn exists(self, btf: &Btf, function: &str) -> bool {
        match self {
            Self::Tracepoint => btf.has_typedef(&format!("btf_trace_{function}")),
            _ => btf.has_function(function),
        }
    }
}

/// When a program is attached, and what it means when it cannot be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Need {
    /// The backend is nothing without it.
    Required,
    /// Something is lost without it.
    Optional,
    /// When the kernel has met what these bits of [`needs`] say.
    OnDemand(u32),
    /// Until the threads have gone on that were in a receive at start, if there are any.
    WhileBlocked,
}

/// A program, its hook, and what is done without it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Probe {
    /// Name of the program in the object.
    pub(super) program: &'static str,
    /// Function or tracepoint.
    pub(super) function: &'static str,
    pub(super) hook: Hook,
    pub(super) need: Need,
    /// What takes its place.
    pub(super) fallback: Option<&'static str>,
}

/// The life of processes and TCP connections, for all backends.
pub(super) static LIFE: [Probe; 5] = [
    tracepoint("sched_process_exit", Need::Optional, Some("age")),
    tracepoint("sched_process_exec", Need::Optional, Some("first use")),
    tracepoint("sched_process_fork", Need::Optional, Some("first use")),
    tracepoint("tcp_destroy_sock", Need::Optional, Some("inet_sock_set_state")),
    tracepoint("inet_sock_set_state", Need::Optional, Some("age")),
];

static SYSCALL: [Probe; 2] = [
    tracepoint("sys_enter", Need::Optional, Some("time of return")),
    tracepoint("sys_exit", Need::Required, None),
];

static TRACEPOINT: [Probe; 4] = [
    tracepoint("sys_enter", Need::OnDemand(needs::UNIX_CLOSE), Some("age")),
    tracepoint("tcp_rcv_space_adjust", Need::Optional, Some("next receive")),
    tracepoint("sock_send_length", Need::Required, None),
    tracepoint("sock_recv_length", Need::Required, None),
];

const NO_IPV6: Option<&str> = Some("none: IPv6 sockets are not seen");
const NO_UNIX: Option<&str> = Some("none: unix sockets are not seen");
const UNIX_RETURN: Option<&str> = Some("unix_stream_recvmsg");
const NO_UDP: Option<&str> = Some("none: look-ups over UDP are not seen");
const LENGTHS: Option<&str> = Some("sequence numbers");

static FENTRY: [Probe; 13] = [
    probe(Hook::Fentry, "unix_release", "fentry_unix_release", Need::Optional, Some("age")),
    probe(
        Hook::Fentry,
        "unix_stream_sendmsg",
        "fentry_unix_stream_sendmsg",
        Need::Optional,
        RETURN,
    ),
    probe(Hook::Fexit, "inet_sendpage", "fexit_inet_sendpage", Need::Optional, None),
    probe(Hook::Fexit, "unix_stream_sendpage", "fexit_unix_stream_sendpage", Need::Optional, None),
    probe(Hook::Fexit, "tcp_splice_read", "fexit_tcp_splice_read", Need::Optional, LENGTHS),
    probe(Hook::Fexit, "unix_stream_sendmsg", "fexit_unix_stream_sendmsg", Need::Optional, NO_UNIX),
    probe(Hook::Fexit, "unix_stream_recvmsg", "fexit_unix_stream_recvmsg", Need::Optional, NO_UNIX),
    probe(Hook::Fexit, "inet6_sendmsg", "fexit_inet6_sendmsg", Need::Optional, NO_IPV6),
    probe(Hook::Fexit, "inet6_recvmsg", "fexit_inet6_recvmsg", Need::Optional, NO_IPV6),
    probe(Hook::Fexit, "inet_sendmsg", "fexit_inet_sendmsg", Need::Required, None),
    probe(Hook::Fexit, "inet_recvmsg", "fexit_inet_recvmsg", Need::Required, None),
    // Last: who enters a receive from here on is seen to return.
    probe(
        Hook::Fentry,
        "skb_consume_udp",
        "fentry_skb_consume_udp",
        Need::WhileBlocked,
        NOT_AT_START,
    ),
    probe(
        Hook::Fentry,
        "tcp_cleanup_rbuf",
        "fentry_tcp_cleanup_rbuf",
        Need::WhileBlocked,
        NOT_AT_START,
    ),
];

const NOT_AT_START: Option<&str> = Some("none: what threads wait for at start is not seen");
const RETURN: Option<&str> = Some("time of return");

/// Returns before entries: a call whose entry was seen is taken out when it returns.
static KPROBE: [Probe; 21] = [
    entry("unix_release", "kprobe_unix_release", Need::Optional, Some("age")),
    returns("unix_stream_sendpage", Need::Optional, None),
    returns("unix_stream_sendmsg", Need::Optional, NO_UNIX),
    returns("unix_stream_recvmsg", Need::Optional, NO_UNIX),
    returns("unix_stream_read_actor", Need::Optional, UNIX_RETURN),
    entry("unix_stream_read_actor", "kprobe_unix_piece", Need::Optional, UNIX_RETURN),
    returns("tcp_splice_read", Need::Optional, LENGTHS),
    probe(Hook::Kretprobe, "udp_sendmsg", "kretprobe_datagram_sent", Need::Optional, NO_UDP),
    probe(Hook::Kretprobe, "udpv6_sendmsg", "kretprobe_datagram_sent", Need::Optional, NO_UDP),
    entry("skb_consume_udp", "kprobe_skb_consume_udp", Need::Optional, NO_UDP),
    entry("release_sock", "kprobe_release_sock", Need::Required, None),
    entry("tcp_cleanup_rbuf", "kprobe_tcp_cleanup_rbuf", Need::Required, None),
    entry("unix_stream_sendpage", "kprobe_unix_sendpage", Need::Optional, None),
    entry("unix_stream_sendmsg", "kprobe_unix_send", Need::Optional, NO_UNIX),
    entry("unix_stream_recvmsg", "kprobe_unix_receive", Need::Optional, NO_UNIX),
    entry("tcp_splice_read", "kprobe_tcp_splice_read", Need::Optional, LENGTHS),
    entry("inet_sendpage", "kprobe_inet_sendpage", Need::Optional, None),
    entry("inet6_sendmsg", "kprobe_send", Need::Optional, NO_IPV6),
    entry("inet6_recvmsg", "kprobe_receive", Need::Optional, NO_IPV6),
    entry("inet_sendmsg", "kprobe_send", Need::Required, None),
    entry("inet_recvmsg", "kprobe_receive", Need::Required, None),
];

const fn tracepoint(name: &'static str, need: Need, fallback: Option<&'static str>) -> Probe {
    probe(Hook::Tracepoint, name, name, need, fallback)
}

const fn entry(
    function: &'static str,
    program: &'static str,
    need: Need,
    fallback: Option<&'static str>,
) -> Probe {
    probe(Hook::Kprobe, function, program, need, fallback)
}

/// One program for all returns.
const fn returns(function: &'static str, need: Need, fallback: Option<&'static str>) -> Probe {
    probe(Hook::Kretprobe, function, "kretprobe_returned", need, fallback)
}

const fn probe(
    hook: Hook,
    function: &'static str,
    program: &'static str,
    need: Need,
    fallback: Option<&'static str>,
) -> Probe {
    Probe { program, function, hook, need, fallback }
}
