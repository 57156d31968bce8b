//! Who a process is: its service, its language, where it runs, and whether it is watched.
//!
//! A process is looked at when something asks for it, once; after an exec it is looked at again.
//! What `/proc` cannot tell any more, because the process is gone, comes from what the kernel
//! programs told of its exec ([`Hint`]) or from its parent.

#![forbid(unsafe_code)]

pub(crate) mod attributes;
mod binary;
mod cgroup;
pub mod host;
mod identity;
mod interpreter;
mod proc;
mod program;
mod selection;
#[cfg(test)]
mod tests;

use std::cell::OnceCell;
use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use vigie_common::policy::ProcessPolicy;

pub use self::host::{Clock, Host};
pub use self::selection::Selection;

use self::binary::Binaries;
use self::identity::Identity;
use self::proc::Proc;
use self::selection::Candidate;
use crate::config::ServiceRule;
use crate::event::{Exec, Exit, Fork, MonoNs, ProcessKey};
use crate::span::Process;

/// How long an ended process is remembered: its last spans may still be on their way, through the
/// rings (at most a second) and through connections that another process goes on using.
const LINGER: Duration = Duration::from_secs(10);

/// What the kernel programs told of a process, for when `/proc` cannot tell any more. Empty where
/// nothing is known.
#[derive(Clone, Copy, Debug, Default)]
pub struct Hint<'a> {
    /// Name of a thread.
    pub comm: &'a str,
    /// Name given to execve.
    pub filename: &'a str,
    /// The first arguments, the program's own name first.
    pub arguments: &'a [String],
}

/// A process found by [`Discoverer::scan`].
#[derive(Clone, Debug)]
pub struct Found {
    /// The process. Its start has the resolution of `/proc`: the beginning of a clock tick
    /// ([`Discoverer::tick`]), at most one tick before the kernel's own value.
    pub key: ProcessKey,
    /// Its identity.
    pub process: Arc<Process>,
    /// Whether it is watched.
    pub policy: ProcessPolicy,
    /// Whether it is a 32-bit program, whose system calls are not read.
    pub is_32_bit: bool,
}

/// What happened since the start, and what there is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Processes known now.
    pub known: usize,
    /// Processes looked at in `/proc`.
    pub inspected: u64,
    /// Processes that were gone before they could be looked at, and are known from hints.
    pub vanished: u64,
    /// Processes forgotten, while they may still have been running, because there were too many.
    pub evicted: u64,
}

/// Finds and remembers the identities of processes.
pub struct Discoverer {
    proc: Proc,
    binaries: Binaries,
    services: Vec<ServiceRule>,
    selection: Selection,
    capacity: usize,
    entries: HashMap<u32, Entry>,
    /// Counts the uses, to tell what was not used for long.
    uses: u64,
    stats: Stats,
}

/// What is remembered of a process.
struct Entry {
    start: Start,
    identity: Option<Identity>,
    pending: Pending,
    exited_ns: Option<MonoNs>,
    last_use: u64,
}

/// When a process began.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Start {
    /// As the kernel has it.
    Exact(u64),
    /// From `/proc`: within the clock tick that began then.
    Tick(u64),
}

/// What is known of a process that was not looked at yet.
#[derive(Default)]
struct Pending {
    filename: String,
    arguments: Vec<String>,
    /// Identity of the process that made it, where it did not exec since.
    parent: Option<(Arc<Process>, Vec<String>)>,
}

impl Discoverer {
    /// With the rules of the configuration and a bound on the processes that are remembered.
    pub fn new(services: &[ServiceRule], selection: Selection, capacity: usize) -> Self {
        Self::with_root(Path::new("/proc"), services, selection, capacity)
    }

    fn with_root(
        root: &Path,
        services: &[ServiceRule],
        selection: Selection,
        capacity: usize,
    ) -> Self {
        Self {
            proc: Proc::new(root),
            binaries: Binaries::default(),
            services: services.to_vec(),
            selection,
            capacity: capacity.max(1),
            entries: HashMap::new(),
            uses: 0,
            stats: Stats::default(),
        }
    }

    /// Rules changed: everything is looked at again when it is asked for.
    pub fn reconfigure(&mut self, services: &[ServiceRule], selection: Selection) {
        self.services = services.to_vec();
        self.selection = selection;
        self.entries.clear();
    }

    /// The rules in force.
    pub fn selection(&self) -> &Selection {
        &self.selection
    }

    /// Counts.
    pub fn stats(&self) -> Stats {
        Stats { known: self.entries.len(), ..self.stats }
    }

    /// Resolution of the starts that [`Self::scan`] reports.
    pub fn tick(&self) -> Duration {
        Duration::from_nanos(self.proc.tick_ns())
    }

    /// Identity of a process. A look-up in a table when it is known; else a few reads of `/proc`
    /// (about 50 µs).
    pub fn identify(&mut self, key: ProcessKey, hint: &Hint<'_>) -> Arc<Process> {
        Arc::clone(&self.identity(key, hint).process)
    }

    /// Whether a process is watched. Ports are looked up each time, everything else is remembered.
    pub fn policy(&mut self, key: ProcessKey, hint: &Hint<'_>) -> ProcessPolicy {
        self.identity(key, hint);
        self.decide(key.pid)
    }

    /// Position in the configuration's `services` of the entry whose routes a process uses: the
    /// first that matches and has any.
    pub fn route_set(&self, key: ProcessKey) -> Option<usize> {
        let identity = self.entries.get(&key.pid)?.identity.as_ref()?;
        let has_routes = |entry: &ServiceRule| !entry.routes.is_empty();
        self.ask(key.pid, identity, |candidate| {
            self.services
                .iter()
                .position(|entry| has_routes(entry) && candidate.matches(&entry.rule))
        })
    }

    /// Whether a process is a 32-bit program, as far as that is known.
    pub fn is_32_bit(&self, key: ProcessKey) -> bool {
        let identity = self.entries.get(&key.pid).and_then(|entry| entry.identity.as_ref());
        identity.is_some_and(|identity| identity.is_32_bit)
    }

    /// A process became another program: what was known of it is no longer so.
    pub fn exec(&mut self, exec: &Exec) {
        let pending = Pending {
            filename: exec.filename.clone(),
            arguments: exec.arguments.clone(),
            parent: None,
        };
        self.insert(exec.process, None, pending);
    }

    /// A process made another one, which is what its maker is until it says otherwise.
    pub fn fork(&mut self, fork: &Fork) {
        let parent = self.entries.get(&fork.parent).and_then(|entry| entry.identity.as_ref());
        let parent = parent.map(|parent| (Arc::clone(&parent.process), parent.arguments.clone()));
        // Nothing is known that `/proc` would not tell: no entry is needed.
        if parent.is_some() {
            self.insert(fork.process, None, Pending { parent, ..Pending::default() });
        }
    }

    /// A process ended. It is remembered for some seconds more ([`Self::expire`]).
    pub fn exit(&mut self, exit: &Exit) {
        let tick_ns = self.proc.tick_ns();
        let entry = self.entries.get_mut(&exit.process.pid);
        if let Some(entry) = entry.filter(|entry| entry.start.is(exit.process, tick_ns)) {
            entry.exited_ns = Some(exit.time_ns);
        }
    }

    /// Forgets processes that ended some seconds ago. To be called about once a second.
    pub fn expire(&mut self, now_ns: MonoNs) {
        let linger = u64::try_from(LINGER.as_nanos()).unwrap_or(u64::MAX);
        self.entries.retain(|_, entry| {
            entry.exited_ns.is_none_or(|exited| now_ns.saturating_sub(exited) < linger)
        });
    }

    /// All processes that there are now, but kernel threads, with what is to be done with each.
    pub fn scan(&mut self) -> Vec<Found> {
        let pids = self.proc.pids();
        pids.into_iter().filter_map(|pid| self.find(pid)).collect()
    }

    fn find(&mut self, pid: u32) -> Option<Found> {
        let snapshot = self.proc.snapshot(pid)?;
        if snapshot.executable.is_empty() && snapshot.arguments.is_empty() {
            return None;
        }
        let start_ns = self.proc.start_ns(snapshot.start_ticks);
        let key = ProcessKey { pid, start_ns };
        let tick_ns = self.proc.tick_ns();
        let known = self.entries.get(&pid).filter(|entry| {
            entry.start.is_same(Start::Tick(start_ns), tick_ns) && entry.identity.is_some()
        });
        if known.is_none() {
            self.stats.inspected += 1;
            let identity = identity::of_snapshot(
                key,
                snapshot,
                &self.proc,
                &mut self.binaries,
                &self.services,
            );
            self.insert(key, Some(identity), Pending::default());
            if let Some(entry) = self.entries.get_mut(&pid) {
                entry.start = Start::Tick(start_ns);
            }
        }
        let policy = self.decide(pid);
        let identity = self.entries.get(&pid)?.identity.as_ref()?;
        let (process, is_32_bit) = (Arc::clone(&identity.process), identity.is_32_bit);
        Some(Found { key, process, policy, is_32_bit })
    }

    /// What the rules say of a process that was identified.
    fn decide(&self, pid: u32) -> ProcessPolicy {
        let identity = self.entries.get(&pid).and_then(|entry| entry.identity.as_ref());
        let Some(identity) = identity else { return self.selection.default_policy() };
        self.ask(pid, identity, |candidate| self.selection.decide(candidate))
    }

    /// Puts a process before rules.
    fn ask<T>(&self, pid: u32, identity: &Identity, rules: impl FnOnce(&Candidate<'_>) -> T) -> T {
        rules(&Candidate {
            pid,
            executable: &identity.process.executable,
            arguments: &identity.arguments,
            service: &identity.process.service.name,
            listens: &|port| self.proc.listens(pid, port),
            line: OnceCell::new(),
        })
    }

    fn identity(&mut self, key: ProcessKey, hint: &Hint<'_>) -> &Identity {
        self.uses += 1;
        let (uses, tick_ns) = (self.uses, self.proc.tick_ns());
        let entry = self.entries.get_mut(&key.pid);
        let entry = entry.filter(|entry| entry.start.is(key, tick_ns));
        let is_known = entry.as_ref().is_some_and(|entry| entry.identity.is_some());
        let pending = entry.map(|entry| {
            entry.last_use = uses;
            std::mem::take(&mut entry.pending)
        });
        if !is_known {
            let pending = pending.unwrap_or_default();
            let identity = self.inspect(key, hint, &pending);
            self.insert(key, Some(identity), Pending::default());
        }
        let entry = self.entries.entry(key.pid).or_insert_with(|| Entry::new(key, uses));
        entry.identity.get_or_insert_with(|| identity::of_hint(key, hint, &[]))
    }

    /// Looks at a process, or at what is left of it.
    fn inspect(&mut self, key: ProcessKey, hint: &Hint<'_>, pending: &Pending) -> Identity {
        let snapshot = self.proc.snapshot(key.pid).filter(|snapshot| {
            let tick = Start::Tick(self.proc.start_ns(snapshot.start_ticks));
            tick.is(key, self.proc.tick_ns())
        });
        if let Some(snapshot) = snapshot {
            self.stats.inspected += 1;
            let services = &self.services;
            return identity::of_snapshot(key, snapshot, &self.proc, &mut self.binaries, services);
        }
        self.stats.vanished += 1;
        if let Some((parent, arguments)) = &pending.parent {
            return identity::of_parent(key, parent, arguments);
        }
        let hint = Hint {
            comm: hint.comm,
            filename: if hint.filename.is_empty() { &pending.filename } else { hint.filename },
            arguments: if hint.arguments.is_empty() { &pending.arguments } else { hint.arguments },
        };
        identity::of_hint(key, &hint, &self.services)
    }

    fn insert(&mut self, key: ProcessKey, identity: Option<Identity>, pending: Pending) {
        if self.entries.len() >= self.capacity && !self.entries.contains_key(&key.pid) {
            self.evict();
        }
        self.uses += 1;
        let entry = Entry { identity, pending, ..Entry::new(key, self.uses) };
        self.entries.insert(key.pid, entry);
    }

    /// Forgets the sixteenth of the processes that was not used for the longest time, at least
    /// one: so many at once that looking through all of them is paid for by the next insertions.
    fn evict(&mut self) {
        let mut uses: Vec<u64> = self.entries.values().map(|entry| entry.last_use).collect();
        let nth = self.capacity / 16;
        if nth >= uses.len() {
            return;
        }
        let (_, limit, _) = uses.select_nth_unstable(nth);
        let limit = *limit;
        let evicted = &mut self.stats.evicted;
        self.entries.retain(|_, entry| {
            let is_kept = entry.last_use > limit;
            // One that ended would soon have been forgotten anyway.
            *evicted += u64::from(!is_kept && entry.exited_ns.is_none());
            is_kept
        });
    }
}

impl Entry {
    fn new(key: ProcessKey, last_use: u64) -> Self {
        let start = Start::Exact(key.start_ns);
        Self { start, identity: None, pending: Pending::default(), exited_ns: None, last_use }
    }
}

impl Start {
    /// Whether a process with this start is the one that the kernel calls `key`.
    fn is(self, key: ProcessKey, tick_ns: u64) -> bool {
        self.is_same(Self::Exact(key.start_ns), tick_ns)
    }

    /// Whether two starts can be of one process. One that is not known fits all. `/proc` rounds
    /// down to ticks; one tick more is allowed on each side, for rounding inside the kernel.
    fn is_same(self, other: Self, tick_ns: u64) -> bool {
        match (self, other) {
            (Self::Exact(0), _) | (_, Self::Exact(0)) => true,
            (Self::Exact(one), Self::Exact(other)) | (Self::Tick(one), Self::Tick(other)) => {
                one == other
            }
            (Self::Tick(tick), Self::Exact(exact)) | (Self::Exact(exact), Self::Tick(tick)) => {
                exact.saturating_add(tick_ns) >= tick
                    && exact < tick.saturating_add(tick_ns.saturating_mul(2))
            }
        }
    }
}
