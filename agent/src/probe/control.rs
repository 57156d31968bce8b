//! What user space tells the programs while they run: who is watched, what need not be copied, and
//! which connections are forgotten.

use aya::maps::{Array, HashMap, MapData, MapError};
use thiserror::Error;
use vigie_common::policy::{
    Hint, ProcessEntry, ProcessPolicy, Tuning, connection_layout, hint_slot, process_flags,
};

use super::shared::Shared;
use super::sweep::Swept;
use super::wire::{self, Entry, Value};
use crate::event::{ConnectionId, Direction, ProcessKey};
use crate::governor::Level;
use crate::protocol::Advice;

/// A map that tells the programs what to do cannot be written.
#[derive(Debug, Error)]
#[error("a map of vigie's own programs cannot be written: {0}; please report this")]
pub struct PolicyError(#[from] MapError);

/// What user space tells the programs while they run.
pub struct Control {
    pub(super) connections: HashMap<MapData, u64, [u8; connection_layout::SIZE]>,
    pub(super) max_connections: u64,
    pub(super) swept: Swept,
    pub(super) tuning: Array<MapData, Value<Tuning>>,
    /// What the map holds.
    pub(super) tuned: Tuning,
    pub(super) hints: Shared<Value<Hint>>,
    pub(super) processes: HashMap<MapData, u32, Value<ProcessEntry>>,
}

/// Payload bytes copied per turn of requests when the budget is passed: the usual heads, also of a few
/// pipelined requests.
pub const SHED_REQUEST_BYTES: u32 = 4096;

/// The same of responses, whose bodies are of no interest.
pub const SHED_RESPONSE_BYTES: u32 = 1024;

impl Control {
    /// The kernel's table of connections with the addresses that it goes by.
    pub(super) fn entries(&self) -> impl Iterator<Item = (u64, Entry)> + '_ {
        let entries = self.connections.iter().filter_map(Result::ok);
        entries.filter_map(|(key, bytes)| Some((key, wire::entry(&bytes)?)))
    }

    /// One entry of it.
    pub(super) fn entry(&self, key: u64) -> Option<Entry> {
        wire::entry(&self.connections.get(&key, 0).ok()?)
    }

    /// All programs are attached: they look at calls from now on.
    pub(super) fn begin(&mut self) -> Result<(), PolicyError> {
        self.policies_changed()
    }

    /// Sets whether a process, and those that it makes, are watched.
    pub fn set_policy(&mut self, process: ProcessKey, watch: bool) -> Result<(), PolicyError> {
        let policy = if watch { ProcessPolicy::Watch } else { ProcessPolicy::Ignore };
        let entry = ProcessEntry {
            start_boot_ns: process.start_ns,
            policy: policy as u32,
            flags: process_flags::EXPLICIT,
        };
        self.processes.insert(process.pid, Value(entry), 0)?;
        self.policies_changed()
    }

    /// Forgets the policy of a process.
    pub fn clear_policy(&mut self, pid: u32) -> Result<(), PolicyError> {
        // It may have ended in the meantime, and then there is nothing to forget.
        drop(self.processes.remove(&pid));
        self.policies_changed()
    }

    /// Has the programs look at all policies again. To be called after the change: what they look up
    /// before they remember under the number before.
    fn policies_changed(&mut self) -> Result<(), PolicyError> {
        // The programs compare 31 bits of it, and 0 is before the start.
        self.tuned.generation = (self.tuned.generation % (u32::MAX >> 1)) + 1;
        Ok(self.tuning.set(0, Value(self.tuned), 0)?)
    }

    /// Has the programs do without what is given up at this level.
    pub fn set_level(&mut self, level: Level) -> Result<(), PolicyError> {
        let few = level >= Level::Payload;
        self.tuned = Tuning {
            request_bytes: if few { SHED_REQUEST_BYTES } else { 0 },
            response_bytes: if few { SHED_RESPONSE_BYTES } else { 0 },
            shed: u32::from(level >= Level::Counts),
            ..self.tuned
        };
        Ok(self.tuning.set(0, Value(self.tuned), 0)?)
    }

    /// Tells the kernel what it need not copy of a connection. An optimisation: a failure costs
    /// copying only.
    pub fn advise(&mut self, connection: ConnectionId, advice: Advice) {
        let slot = hint_slot(connection.0);
        let mut hint = match self.hints.get(slot) {
            Some(Value(hint)) if hint.connection == connection.0 => hint,
            _ => {
                // No program may take the positions of one connection for those of another: the slot
                // speaks of none while they are changed.
                self.hints.set(slot, Value(Hint::default()));
                Hint::default()
            }
        };
        match advice {
            Advice::SkipUntil(Direction::Received, position) => hint.skip_received = position,
            Advice::SkipUntil(Direction::Sent, position) => hint.skip_sent = position,
            Advice::Ignore => hint.ignore = 1,
        }
        self.hints.set(slot, Value(hint));
        hint.connection = connection.0;
        self.hints.set(slot, Value(hint));
    }
}
