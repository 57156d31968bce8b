//! What user space tells the programs while they run.

/// What is done with a process, value of the map `PROCESSES`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct ProcessEntry {
    /// Start of the process in nanoseconds since boot, its identity together with the process id.
    pub start_boot_ns: u64,
    /// A [`ProcessPolicy`].
    pub policy: u32,
    /// Bits from [`process_flags`].
    pub flags: u32,
}

/// Bits of [`ProcessEntry::flags`].
pub mod process_flags {
    /// The policy was set by user space, or inherited from a process whose policy was.
    pub const EXPLICIT: u32 = 1;
    /// User space was woken for the first connection of the process, to look who it is while it
    /// is there.
    pub const INTRODUCED: u32 = 2;
}

/// Whether a process is watched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum ProcessPolicy {
    /// Its system calls are left alone.
    Ignore = 0,
    /// Its connections are captured.
    Watch = 1,
}

/// What user space knows of a connection that saves the kernel copying, one slot of `HINTS`.
///
/// A slot belongs to the connection whose id it holds; the slot of a connection is
/// [`hint_slot`]. Two connections on one slot cost an optimisation, never data.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Hint {
    /// The connection that this slot speaks of.
    pub connection: u64,
    /// Bytes received below this position need not be copied.
    pub skip_received: u64,
    /// Bytes sent below this position need not be copied.
    pub skip_sent: u64,
    /// 1: nothing on this connection is of interest any more.
    pub ignore: u64,
}

/// What user space changes for all connections while the programs run, the one slot of `TUNING`. All
/// zero: everything as [`crate::params::Settings`] says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Tuning {
    /// Payload bytes copied per turn of the request direction at most; 0: as set.
    pub request_bytes: u32,
    /// Payload bytes copied per turn of the response direction at most; 0: as set.
    pub response_bytes: u32,
    /// 1: no records of traffic are made; what would have been one is counted as
    /// [`crate::counter::Counter::LostShed`].
    pub shed: u32,
    /// Moves with every policy that is set or forgotten in `PROCESSES`: the programs remember what they
    /// found there. 0 until all programs are attached: nobody is watched until then.
    pub generation: u32,
}

/// What user space needs to know of the kernel's entry of a connection, to forget what was not used
/// for long and to count what was lost. Its id is at offset 0.
pub mod connection_layout {
    /// Bytes of an entry.
    pub const SIZE: usize = 176;
    /// Offset of the time of its last use.
    pub const LAST_NS: usize = 16;
    /// Offset of its current [`Exchange`](crate::exchange::Exchange).
    pub const EXCHANGE: usize = 112;
}

/// Threads that were in a receive when the hooks were attached, entries of `BLOCKED`.
pub const MAX_BLOCKED: u32 = 8192;

/// Ends of connections that wait for user space because the ring had no room for them, entries of
/// `CLOSES`.
pub const MAX_CLOSES: u32 = 8192;

/// Exchanges that user space counted because their connection fell silent, entries of `SETTLED`.
pub const MAX_SETTLED: u32 = 4096;

/// Number of slots in `HINTS`, a power of two.
pub const HINT_SLOTS: u32 = 8192;

/// The slot of a connection: its id is a number above 12 bits of a CPU.
pub const fn hint_slot(connection: u64) -> u32 {
    (connection >> 12 ^ connection << 6) as u32 & (HINT_SLOTS - 1)
}

/// What the kernel programs met, most of which needs hooks that are not attached from the start: bits of
/// the one value of the map `NEEDS`.
pub mod needs {
    /// A unix stream connection of interest, whose end only its close tells.
    pub const UNIX_CLOSE: u32 = 1;
    /// Bytes on their way out of a unix socket, seen by kprobes: what a thread receives is known before
    /// it returns. Needs nothing more.
    pub const UNIX_PIECE: u32 = 2;
}
