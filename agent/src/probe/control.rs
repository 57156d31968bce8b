//! What user space tells the programs while they run: who is watched, what need not be copied, and
//! which connections are forgotten.

use aya::maps::{Array, HashMap, MapData, MapError};
use thiserror::Error;
use vigie_common::policy::{
    CONNECTION_LAYOUT, HINT_SLOTS, Hint, ProcessEntry, ProcessPolicy, Tuning, process_flags,
};

use super::sweep::Swept;
use super::wire::Value;
use crate::event::{ConnectionId, Direction, ProcessKey};
use crate::governor::Level;
use crate::protocol::Advice;

/// A map that tells the programs what to do cannot be written.
#[derive(Debug, Error)]
#[error("a map of vigie's own programs cannot be written: {0}; please report this")]
pub struct PolicyError(#[from] MapError);

/// What user space tells the programs while they run.
pub struct Control {
    pub(super) connections: HashMap<MapData, u64, [u8; CONNECTION_LAYOUT.0]>,
    pub(super) max_connections: u64,
    pub(super) swept: Swept,
    pub(super) tuning: Array<MapData, Value<Tuning>>,
    pub(super) hints: Array<MapData, Value<Hint>>,
    pub(super) processes: HashMap<MapData, u32, Value<ProcessEntry>>,
}

/// Payload bytes copied per turn of requests when the budget is passed: the usual heads, also of a few
/// pipelined requests.
pub const SHED_REQUEST_BYTES: u32 = 4096;

/// The same of responses, whose bodies are of no interest.
pub const SHED_RESPONSE_BYTES: u32 = 1024;

impl Control {
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

    /// Has the programs do without what is given up at this level.
    pub fn set_level(&mut self, level: Level) -> Result<(), PolicyError> {
        let few = level >= Level::Payload;
        let tuning = Tuning {
            request_bytes: if few { SHED_REQUEST_BYTES } else { 0 },
            response_bytes: if few { SHED_RESPONSE_BYTES } else { 0 },
            shed: u32::from(level >= Level::Counts),
            reserved: 0,
        };
        Ok(self.tuning.set(0, Value(tuning), 0)?)
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
