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
mod resolver;
mod selection;
mod table;
#[cfg(test)]
mod tests;

use std::cell::OnceCell;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use vigie_common::policy::ProcessPolicy;

pub use self::host::{Clock, Host};
pub use self::selection::Selection;

use self::binary::Binaries;
use self::identity::Identity;
use self::proc::{Proc, Snapshot};
use self::selection::Candidate;
use self::table::{Pending, Start, Table};
use crate::config::ServiceRule;
use crate::event::{Environment, Exec, Exit, Fork, MonoNs, ProcessKey};
use crate::span::Process;

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
    /// `OTEL_SERVICE_NAME` of its environment.
    pub service_name: Option<&'a str>,
    /// `OTEL_RESOURCE_ATTRIBUTES` of its environment.
    pub resource_attributes: Option<&'a str>,
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
    table: Table,
    stats: Stats,
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
        let proc = Proc::new(root);
        Self {
            table: Table::new(capacity, proc.tick_ns()),
            proc,
            binaries: Binaries::default(),
            services: services.to_vec(),
            selection,
            stats: Stats::default(),
        }
    }

    /// Rules changed: everything is looked at again when it is asked for.
    pub fn reconfigure(&mut self, services: &[ServiceRule], selection: Selection) {
        self.services = services.to_vec();
        self.selection = selection;
        self.table.clear();
    }

    /// The rules in force.
    pub fn selection(&self) -> &Selection {
        &self.selection
    }

    /// Counts.
    pub fn stats(&self) -> Stats {
        Stats { known: self.table.len(), evicted: self.table.evicted(), ..self.stats }
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
        let identity = self.table.identity(key.pid)?;
        let has_routes = |entry: &ServiceRule| !entry.routes.is_empty();
        self.ask(key.pid, identity, |candidate| {
            self.services
                .iter()
                .position(|entry| has_routes(entry) && candidate.matches(&entry.rule))
        })
    }

    /// Whether a process is a 32-bit program, as far as that is known.
    pub fn is_32_bit(&self, pid: u32) -> bool {
        self.table.identity(pid).is_some_and(|identity| identity.is_32_bit)
    }

    /// Whether a rule of a service names a port. A process may listen on it only after it was looked
    /// at.
    pub fn names_port(&self, port: u16) -> bool {
        self.services.iter().any(|service| service.rule.port == Some(port))
    }

    /// Looks at a process once more. One that is gone stays what it was. Returns whether it was
    /// there.
    pub fn look_again(&mut self, key: ProcessKey) -> bool {
        let start = Start::Exact(key.start_ns);
        let known = self.table.find(key.pid, start);
        let pending = known.map(|entry| entry.pending.clone()).unwrap_or_default();
        let looked_ns = Clock::monotonic_now();
        let Some((identity, hides_environment)) = self.inspect(key, &pending) else { return false };
        let entry = self.table.enter(key.pid, start);
        (entry.identity, entry.looked_ns) = (Some(identity), looked_ns);
        entry.hides_environment = hides_environment;
        true
    }

    /// A process became another program: what was known of it is no longer so. Returns whether
    /// anything was forgotten.
    ///
    /// Records of different rings come in any order: a process may have been looked at since.
    pub fn exec(&mut self, exec: &Exec) -> bool {
        let entry = self.table.enter(exec.process.pid, Start::Exact(exec.process.start_ns));
        if entry.looked_ns > exec.time_ns {
            return false;
        }
        entry.identity = None;
        let since = (entry.pending.environment_ns > exec.time_ns).then_some(&mut entry.pending);
        entry.pending = Pending {
            filename: exec.filename.clone(),
            arguments: exec.arguments.clone(),
            ..since.map(std::mem::take).unwrap_or_default()
        };
        entry.pending.parent = None;
        true
    }

    /// A process made another one, which is what its maker is until it says otherwise.
    pub fn fork(&mut self, fork: &Fork) {
        // Where nothing is known of the maker, there is nothing that `/proc` would not tell.
        let Some(parent) = self.table.identity(fork.parent) else { return };
        let parent = Some((Arc::clone(&parent.process), parent.arguments.clone()));
        let entry = self.table.enter(fork.process.pid, Start::Exact(fork.process.start_ns));
        entry.pending.parent = parent;
    }

    /// What a process was told by who started it, for when it is gone before it is looked at, or may
    /// not be asked.
    /// Returns whether what was known of it was forgotten, because this says more.
    pub fn environment(&mut self, environment: &Environment) -> bool {
        let Environment { process, service_name, resource_attributes, time_ns } = environment;
        let entry = self.table.enter(process.pid, Start::Exact(process.start_ns));
        if entry.looked_ns > 0 && !entry.hides_environment {
            return false;
        }
        entry.pending.environment_ns = *time_ns;
        entry.pending.service_name.clone_from(service_name);
        entry.pending.resource_attributes.clone_from(resource_attributes);
        entry.identity.take().is_some()
    }

    /// A process ended. It is remembered for some seconds more ([`Self::expire`]).
    pub fn exit(&mut self, exit: &Exit) {
        let start = Start::Exact(exit.process.start_ns);
        if let Some(entry) = self.table.find(exit.process.pid, start) {
            entry.exited_ns = Some(exit.time_ns);
        }
    }

    /// Forgets processes that ended some seconds ago. To be called about once a second.
    pub fn expire(&mut self, now_ns: MonoNs) {
        self.table.expire(now_ns);
    }

    /// All processes that there are now, but kernel threads, with what is to be done with each.
    pub fn scan(&mut self) -> Vec<Found> {
        let pids = self.proc.pids();
        pids.into_iter().filter_map(|pid| self.find(pid)).collect()
    }

    fn find(&mut self, pid: u32) -> Option<Found> {
        let looked_ns = Clock::monotonic_now();
        let snapshot = self.proc.snapshot(pid)?;
        if snapshot.executable.is_empty() && snapshot.arguments.is_empty() {
            return None;
        }
        let start_ns = self.proc.start_ns(snapshot.start_ticks);
        let (key, start) = (ProcessKey { pid, start_ns }, Start::Tick(start_ns));
        let known = self.table.find(pid, start).is_some_and(|entry| entry.identity.is_some());
        if !known {
            let hides_environment = snapshot.hides_environment;
            let identity = self.of_snapshot(key, snapshot);
            let entry = self.table.enter(pid, start);
            (entry.identity, entry.looked_ns) = (Some(identity), looked_ns);
            entry.hides_environment = hides_environment;
        }
        let policy = self.decide(pid);
        let identity = self.table.identity(pid)?;
        let (process, is_32_bit) = (Arc::clone(&identity.process), identity.is_32_bit);
        Some(Found { key, process, policy, is_32_bit })
    }

    /// What the rules say of a process that was identified.
    fn decide(&self, pid: u32) -> ProcessPolicy {
        let Some(identity) = self.table.identity(pid) else {
            return self.selection.default_policy();
        };
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
        let start = Start::Exact(key.start_ns);
        let known = self.table.find(key.pid, start);
        let is_known = known.as_ref().is_some_and(|entry| entry.identity.is_some());
        if !is_known {
            let pending = known.map(|entry| entry.pending.clone()).unwrap_or_default();
            let looked_ns = Clock::monotonic_now();
            let found = self.inspect(key, &pending);
            let entry = self.table.enter(key.pid, start);
            entry.looked_ns = if found.is_some() { looked_ns } else { 0 };
            entry.hides_environment = found.as_ref().is_some_and(|(_, hides)| *hides);
            entry.identity = found.map(|(identity, _)| identity);
            if entry.identity.is_none() {
                self.stats.vanished += 1;
                // Its end was reported before it was entered here, or will be soon.
                entry.exited_ns = entry.exited_ns.or_else(|| Some(Clock::monotonic_now()));
                entry.identity = Some(gone(key, hint, &pending, &self.services));
            }
        }
        let entry = self.table.enter(key.pid, start);
        entry.identity.get_or_insert_with(|| identity::of_hint(key, hint, &[]))
    }

    /// Looks at a process; `None` when it is gone. Where its environment may not be read, what the
    /// kernel told of it is taken, and the second value is true.
    fn inspect(&mut self, key: ProcessKey, pending: &Pending) -> Option<(Identity, bool)> {
        let mut snapshot = self.proc.snapshot(key.pid)?;
        let hides_environment = snapshot.hides_environment;
        if hides_environment {
            snapshot.service_name.clone_from(&pending.service_name);
            snapshot.resource_attributes.clone_from(&pending.resource_attributes);
        }
        let start = Start::Tick(self.proc.start_ns(snapshot.start_ticks));
        let is_same = start.is_same(Start::Exact(key.start_ns), self.proc.tick_ns());
        is_same.then(|| (self.of_snapshot(key, snapshot), hides_environment))
    }

    fn of_snapshot(&mut self, key: ProcessKey, snapshot: Snapshot) -> Identity {
        self.stats.inspected += 1;
        identity::of_snapshot(key, snapshot, &self.proc, &mut self.binaries, &self.services)
    }
}

/// Identity of a process that is gone: its maker's where it was still what its maker is, else by
/// the best hint there is.
fn gone(key: ProcessKey, hint: &Hint<'_>, pending: &Pending, services: &[ServiceRule]) -> Identity {
    if let Some((parent, arguments)) = &pending.parent {
        return identity::of_parent(key, parent, arguments);
    }
    let hint = Hint {
        comm: hint.comm,
        filename: if hint.filename.is_empty() { &pending.filename } else { hint.filename },
        arguments: if hint.arguments.is_empty() { &pending.arguments } else { hint.arguments },
        service_name: hint.service_name.or(pending.service_name.as_deref()),
        resource_attributes: hint.resource_attributes.or(pending.resource_attributes.as_deref()),
    };
    identity::of_hint(key, &hint, services)
}
