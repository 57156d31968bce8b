//! What user space tells the programs while they run: who is watched, what need not be copied, and
//! which connections are forgotten.

use aya::maps::{Array, HashMap, MapData, MapError};
use thiserror::Error;
use vigie_common::counter::Counter;
use vigie_common::policy::{
    CONNECTION_LAYOUT, HINT_SLOTS, Hint, ProcessEntry, ProcessPolicy, process_flags,
};

use super::counters::Counts;
use super::wire::Value;
use crate::event::{ConnectionId, Direction, MonoNs, ProcessKey};
use crate::protocol::Advice;

/// The kernel's table of processes cannot be written.
#[derive(Debug, Error)]
#[error("the kernel's table of processes cannot be written: {0}")]
pub struct PolicyError(#[from] MapError);

/// What user space tells the programs while they run.
pub struct Control {
    pub(super) connections: HashMap<MapData, u64, [u8; CONNECTION_LAYOUT.0]>,
    pub(super) max_connections: u64,
    pub(super) swept: u64,
    pub(super) hints: Array<MapData, Value<Hint>>,
    pub(super) processes: HashMap<MapData, u32, Value<ProcessEntry>>,
}

/// A connection may be forgotten after so many nanoseconds without use.
const SWEEP_IDLE_NS: u64 = 900_000_000_000;

impl Control {
    /// Makes room in the kernel's table when it is more than half full: forgets connections that
    /// were not used for long. TCP connections leave by themselves when they end; a unix socket
    /// whose process was killed does not. One that is used again is seen as a new one.
    pub fn sweep(&mut self, counts: &Counts, now: MonoNs) {
        let left = counts.get(Counter::ConnectionsClosed) + self.swept;
        let used = counts.get(Counter::ConnectionsOpened).saturating_sub(left);
        if used <= self.max_connections / 2 {
            return;
        }
        let is_idle = |value: &[u8; CONNECTION_LAYOUT.0]| {
            let last = value.get(CONNECTION_LAYOUT.1..).and_then(|rest| rest.first_chunk::<8>());
            last.is_some_and(|last| now.saturating_sub(u64::from_ne_bytes(*last)) > SWEEP_IDLE_NS)
        };
        let entries = self.connections.iter().filter_map(Result::ok);
        let idle: Vec<u64> =
            entries.filter(|(_, value)| is_idle(value)).map(|(key, _)| key).collect();
        for key in idle {
            self.swept += u64::from(self.connections.remove(&key).is_ok());
        }
    }

    /// Sets whether a process, and those that it makes, are watched.
    pub fn set_policy(&mut self, process: ProcessKey, watch: bool) -> Result<(), PolicyError> {
        let policy = if watch { ProcessPolicy::Watch } else { ProcessPolicy::Ignore };
        let entry = ProcessEntry {
            start_boot_ns: process.start_ns,
            policy: policy as u32,
            flags: process_flags::EXPLICIT,
        };
        Ok(self.processes.insert(process.pid, Value(entry), 0)?)
    }

    /// Forgets the policy of a process.
    pub fn clear_policy(&mut self, pid: u32) {
        // It may have ended in the meantime, and then there is nothing to forget.
        drop(self.processes.remove(&pid));
    }

    /// Tells the kernel what it need not copy of a connection. An optimisation: a failure costs
    /// copying only.
    pub fn advise(&mut self, connection: ConnectionId, advice: Advice) {
        let slot = u32::try_from(connection.0 & u64::from(HINT_SLOTS - 1)).unwrap_or(0);
        let mut hint = match self.hints.get(&slot, 0) {
            Ok(Value(hint)) if hint.connection == connection.0 => hint,
            _ => Hint { connection: connection.0, ..Hint::default() },
        };
        match advice {
            Advice::SkipUntil(Direction::Received, position) => hint.skip_received = position,
            Advice::SkipUntil(Direction::Sent, position) => hint.skip_sent = position,
            Advice::Ignore => hint.ignore = 1,
        }
        drop(self.hints.set(slot, Value(hint), 0));
    }
}
