//! Everything that the kernel programs count, in one per-CPU array indexed by [`Counter`].
//!
//! The list is append-only: the index is the identity.

macro_rules! counters {
    ($($(#[$doc:meta])* $name:ident = $text:literal,)*) => {
        /// Index into the per-CPU array `COUNTERS`.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[repr(u32)]
        pub enum Counter {
            $($(#[$doc])* $name,)*
        }

        impl Counter {
            /// All counters in the order of their index.
            pub const ALL: &'static [Counter] = &[$(Counter::$name,)*];

            /// Name as exported: lower case, words joined by `_`.
            pub const fn name(self) -> &'static str {
                match self {
                    $(Counter::$name => $text,)*
                }
            }
        }
    };
}

counters! {
    /// Sends and receives of watched processes that were looked at: those that moved bytes and those
    /// that say the connection is over.
    Syscalls = "syscalls",
    /// Bytes that watched processes received on classified connections.
    BytesReceived = "bytes_received",
    /// Bytes that watched processes sent on classified connections.
    BytesSent = "bytes_sent",
    /// Records handed to user space.
    Records = "records",
    /// Payload bytes handed to user space.
    BytesCopied = "bytes_copied",
    /// Connections first seen.
    ConnectionsOpened = "connections_opened",
    /// Connections removed.
    ConnectionsClosed = "connections_closed",
    /// Connections marked as encrypted.
    ConnectionsEncrypted = "connections_encrypted",
    /// Connections marked as of no interest.
    ConnectionsUninteresting = "connections_uninteresting",
    /// Loss: no room in the ring.
    LostRingFull = "ring_full",
    /// Loss: the table of connections was full.
    LostConnectionsFull = "connection_map_full",
    /// Times that the table of processes was full: the process is watched all the same, and looked
    /// at again at its next call.
    ProcessesFull = "process_map_full",
    /// Loss: bytes that user memory did not give (page not present, wrong address).
    LostUserMemory = "user_memory_unread",
    /// Loss: more iovec entries than the programs look at, and bytes in them that mattered.
    LostIovecBound = "iovec_bound",
    /// Loss: more messages in one sendmmsg or recvmmsg than the programs look at.
    LostMessageBound = "message_bound",
    /// Loss: a kernel structure could not be read on the way from descriptor to socket.
    LostKernelMemory = "kernel_memory_unread",
    /// Loss: what a 32-bit program did, whose system calls have other numbers.
    LostCompatSyscall = "compat_syscall",
    /// Bytes moved by sendfile or splice, which have no user memory to read: counted by length.
    BytesUnread = "bytes_unread",
    /// Loss: a call that came while another thread's was in the middle on the same CPU.
    LostScratchBusy = "scratch_busy",
    /// Loss: the contents of a call whose bytes are where they cannot be read (io_uring with
    /// registered buffers, or with tracepoints only): its length is known.
    LostIteratorUnread = "iterator_unread",
    /// Loss: a call that no room was left for in the table of calls that have not returned.
    LostInFlightFull = "in_flight_full",
    /// Loss: the kernel did not follow a call to its return.
    LostReturnMissed = "return_missed",
    /// Loss: records that were not made because vigie's budget is spent.
    LostShed = "shed",
    /// Loss: an exchange that lost a record could not be counted, its table was full.
    LostUndeliveredFull = "undelivered_map_full",
    /// Loss: the end of a connection found room neither in the ring nor in its table.
    LostClosesFull = "close_map_full",
    /// Loss: socket calls on connections that speak HTTP/2 of which a record was lost. The kernel
    /// does not count the calls of HTTP/2 in them.
    LostHttp2 = "http2_lost",
    /// Loss: socket calls on connections of databases and the like of which a record was lost. The
    /// kernel does not count the calls in them.
    LostDatabase = "database_lost",
    /// Loss: datagrams of DNS that found no room in the ring, or that the budget left out.
    LostDns = "dns_lost",
}

impl Counter {
    /// Number of counters, and length of the per-CPU array.
    pub const COUNT: u32 = Counter::ALL.len() as u32;
}
