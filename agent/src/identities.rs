//! Who the processes behind events are: the live ones, asked of `/proc`, or those of a recorded
//! stream.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use vigie_common::policy::ProcessPolicy;

use crate::config::ServiceRule;
use crate::discover::{Discoverer, Hint, Selection, Stats};
use crate::event::{Address, Event, Identity, MonoNs, Open, ProcessKey};
use crate::span::assemble::{Identified, Identify};
use crate::span::{Process, Service};

/// Identities of the processes of this machine, and the decisions on them.
pub struct Live {
    discoverer: Discoverer,
    /// Decisions so far; `None`: not watched.
    decided: HashMap<ProcessKey, Option<Identified>>,
    /// Most decisions that are remembered.
    capacity: usize,
    /// Processes that the kernel is to leave alone from now on.
    to_ignore: Vec<ProcessKey>,
    /// Processes that the kernel leaves alone already.
    ignored: HashSet<u32>,
    /// Ports named by rules on which processes were seen to serve, and were looked at for it.
    served: HashSet<(ProcessKey, u16)>,
    /// Identities for a recording; `None` when nobody records.
    found: Option<Found>,
    /// Watched processes, for who wants to look at their libraries; `None` when nobody does.
    watched: Option<Vec<u32>>,
}

/// Identities for a recording, each once.
#[derive(Default)]
struct Found {
    /// Since the last look.
    fresh: Vec<Identity>,
    /// What was said last of each process.
    said: HashMap<ProcessKey, Arc<Process>>,
}

impl Found {
    /// `capacity`: most processes that are remembered; of one that was forgotten the same is said
    /// once more.
    fn say(&mut self, key: ProcessKey, process: &Arc<Process>, capacity: usize) {
        if self.said.get(&key).is_some_and(|said| said == process) {
            return;
        }
        if self.said.len() >= capacity {
            self.said.clear();
        }
        self.said.insert(key, Arc::clone(process));
        self.fresh.push(identity_of(key, process));
    }
}

impl Live {
    /// With a discoverer and a bound on the decisions that are remembered.
    pub fn new(discoverer: Discoverer, capacity: usize) -> Self {
        Self {
            discoverer,
            decided: HashMap::new(),
            capacity: capacity.max(1),
            to_ignore: Vec::new(),
            ignored: HashSet::new(),
            served: HashSet::new(),
            found: None,
            watched: None,
        }
    }

    /// Keeps identities for a recording from now on.
    pub fn keep_found(&mut self) {
        self.found = Some(Found::default());
    }

    /// All processes there are, for who wants to look at their libraries, and keeps those that come to
    /// be watched from now on for [`Self::take_watched`].
    pub fn keep_watched(&mut self) -> Vec<u32> {
        self.watched = Some(Vec::new());
        self.discoverer.scan().into_iter().map(|found| found.key.pid).collect()
    }

    /// Processes that came to be watched since the last call, where they are kept.
    pub fn take_watched(&mut self) -> Vec<u32> {
        self.watched.as_mut().map(std::mem::take).unwrap_or_default()
    }

    /// Identities found since the last call, where they are kept.
    pub fn take_found(&mut self) -> Vec<Identity> {
        self.found.as_mut().map(|found| std::mem::take(&mut found.fresh)).unwrap_or_default()
    }

    /// What happened to processes so far.
    pub fn stats(&self) -> Stats {
        self.discoverer.stats()
    }

    /// Looks at every process that there is, so that the kernel leaves alone from the start what
    /// is not watched. Without rules there is nothing to look for.
    pub fn scan(&mut self) {
        if self.discoverer.selection().is_everything() {
            return;
        }
        for found in self.discoverer.scan() {
            if found.policy == ProcessPolicy::Ignore {
                self.to_ignore.push(found.key);
            }
        }
    }

    /// Decides by other rules from now on. Returns the processes that were left alone so far; those
    /// that still are will be named again.
    pub fn reconfigure(&mut self, services: &[ServiceRule], selection: Selection) -> Vec<u32> {
        self.discoverer.reconfigure(services, selection);
        self.decided.clear();
        self.served.clear();
        let before = std::mem::take(&mut self.ignored);
        self.scan();
        before.into_iter().collect()
    }

    /// Processes to leave alone, found since the last call.
    pub fn take_ignored(&mut self) -> Vec<ProcessKey> {
        self.ignored.extend(self.to_ignore.iter().map(|process| process.pid));
        std::mem::take(&mut self.to_ignore)
    }

    /// Takes note of what an event says of processes.
    pub fn event(&mut self, event: &Event<'_>) {
        match event {
            // The process is there now and may be gone soon.
            Event::Open(open) => self.opened(open),
            Event::Datagram(datagram) => {
                if !self.decided.contains_key(&datagram.unit.process) {
                    self.decide(datagram.unit.process, &datagram.comm);
                }
            }
            Event::Exec(exec) => {
                if self.discoverer.exec(exec) {
                    self.decided.remove(&exec.process);
                }
            }
            Event::Fork(fork) => self.discoverer.fork(fork),
            Event::Environment(environment) => {
                if self.discoverer.environment(environment) {
                    self.decided.remove(&environment.process);
                }
            }
            Event::Exit(exit) => {
                self.discoverer.exit(exit);
                self.ignored.remove(&exit.process.pid);
            }
            Event::Data(_) | Event::Close(_) | Event::Resolved(_) | Event::Identity(_) => {}
        }
    }

    fn opened(&mut self, open: &Open) {
        self.served_on(open);
        if !self.decided.contains_key(&open.process) {
            self.decide(open.process, &open.comm);
        }
    }

    /// Rules may name a port that a process did not listen on yet when it was looked at: when its
    /// first connection there comes, it is looked at again.
    fn served_on(&mut self, open: &Open) {
        let Address::Inet { port, .. } = open.local else { return };
        if !self.discoverer.names_port(port) {
            return;
        }
        if self.served.len() >= self.capacity {
            // Those that still serve are looked at once more.
            self.served.clear();
        }
        if self.served.insert((open.process, port)) && self.discoverer.look_again(open.process) {
            self.decided.remove(&open.process);
        }
    }

    /// To be called about once a second.
    pub fn expire(&mut self, now: MonoNs) {
        self.discoverer.expire(now);
    }

    /// When a process that runs began, in nanoseconds since boot; 0 where there is none.
    #[cfg(test)]
    pub(crate) fn start_of(&mut self, pid: u32) -> u64 {
        let found = self.discoverer.scan();
        found.iter().find(|found| found.key.pid == pid).map_or(0, |found| found.key.start_ns)
    }

    fn decide(&mut self, key: ProcessKey, comm: &str) -> Option<Identified> {
        let hint = Hint { comm, ..Hint::default() };
        let process = self.discoverer.identify(key, &hint);
        let decision = if self.discoverer.policy(key, &hint) == ProcessPolicy::Watch {
            if let Some(found) = &mut self.found {
                found.say(key, &process, self.capacity);
            }
            if let Some(watched) = &mut self.watched {
                watched.push(key.pid);
            }
            let routes = self.discoverer.route_set(key).map_or(0, |set| set + 1);
            Some(Identified { process, routes })
        } else {
            self.to_ignore.push(key);
            None
        };
        if self.decided.len() >= self.capacity {
            // What is still needed is decided again from the discoverer's own table.
            self.decided.clear();
        }
        self.decided.insert(key, decision.clone());
        decision
    }
}

impl Identify for Live {
    fn identify(&mut self, process: ProcessKey) -> Option<Identified> {
        match self.decided.get(&process) {
            Some(decision) => decision.clone(),
            None => self.decide(process, ""),
        }
    }
}

fn identity_of(key: ProcessKey, process: &Process) -> Identity {
    Identity {
        process: key,
        service: process.service.name.to_string(),
        namespace: process.service.namespace.to_string(),
        language: process.language.map(str::to_owned),
        executable: process.executable.to_string(),
        container: process.container.as_deref().map(str::to_owned),
        search: process.search.as_ref().map(|list| list.to_vec()),
    }
}

/// Identities of a recorded stream.
#[derive(Default)]
pub struct Recorded {
    known: HashMap<ProcessKey, Arc<Process>>,
}

impl Recorded {
    /// Takes note of what an event says of processes.
    pub fn event(&mut self, event: &Event<'_>) {
        if let Event::Identity(identity) = event {
            self.known.insert(identity.process, Arc::new(process_of(identity)));
        }
    }
}

impl Identify for Recorded {
    fn identify(&mut self, process: ProcessKey) -> Option<Identified> {
        let process = self.known.entry(process).or_insert_with(|| {
            Arc::new(process_of(&Identity {
                process,
                service: format!("process-{}", process.pid),
                namespace: String::new(),
                language: None,
                executable: String::new(),
                container: None,
                search: None,
            }))
        });
        Some(Identified { process: Arc::clone(process), routes: 0 })
    }
}

/// Languages that a recorded identity may name, as `telemetry.sdk.language` has them.
const LANGUAGES: [&str; 10] =
    ["cpp", "dotnet", "erlang", "go", "java", "nodejs", "php", "python", "ruby", "rust"];

fn process_of(identity: &Identity) -> Process {
    Process {
        pid: identity.process.pid,
        start_ns: identity.process.start_ns,
        service: Arc::new(Service {
            name: identity.service.as_str().into(),
            namespace: identity.namespace.as_str().into(),
        }),
        language: identity
            .language
            .as_deref()
            .and_then(|name| LANGUAGES.into_iter().find(|known| *known == name)),
        executable: identity.executable.as_str().into(),
        container: identity.container.as_deref().map(Into::into),
        version: None,
        resource: Vec::new(),
        search: identity.search.as_deref().map(Into::into),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Rule, Watch};
    use crate::event::ConnectionId;

    /// A program that runs until this is dropped. Not this process: that one is never watched.
    struct Program(std::process::Child);

    impl Program {
        fn start() -> Self {
            Self(std::process::Command::new("sleep").arg("60").spawn().unwrap())
        }

        fn key(&self, live: &mut Live) -> ProcessKey {
            let found = live.discoverer.scan();
            found.iter().find(|found| found.key.pid == self.0.id()).unwrap().key
        }
    }

    impl Drop for Program {
        fn drop(&mut self) {
            drop(self.0.kill());
            drop(self.0.wait());
        }
    }

    fn all_but(pid: u32) -> Selection {
        let rule = Rule { pid: Some(pid), ..Rule::default() };
        Selection::new(&Watch { include: Vec::new(), exclude: vec![rule] })
    }

    fn is_ignored(live: &mut Live, pid: u32) -> bool {
        live.take_ignored().iter().any(|process| process.pid == pid)
    }

    #[test]
    fn a_process_that_was_left_alone_is_watched_after_a_reload() {
        let program = Program::start();
        let (pid, nobody) = (program.0.id(), u32::MAX);
        let mut live = Live::new(Discoverer::new(&[], all_but(pid), 10_000), 10_000);
        live.scan();
        assert!(is_ignored(&mut live, pid));
        let key = program.key(&mut live);
        assert!(live.identify(key).is_none());
        assert!(is_ignored(&mut live, pid));

        let cleared = live.reconfigure(&[], all_but(nobody));
        assert!(cleared.contains(&pid));
        assert!(!is_ignored(&mut live, pid));
        assert!(live.identify(key).is_some());

        let cleared = live.reconfigure(&[], all_but(pid));
        assert!(!cleared.contains(&pid));
        assert!(is_ignored(&mut live, pid));
        assert!(live.identify(key).is_none());
    }

    /// A program of its own that listens when it is told to, on a port that it says.
    fn listener() -> (std::process::Child, u16) {
        // A free port; nobody else takes it in the meantime but by bad luck.
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let script = format!(
            "import socket,sys\nsys.stdin.readline()\ns=socket.create_server(('127.0.0.1',{port}))\n\
             print('listens',flush=True)\nsys.stdin.readline()"
        );
        let child = std::process::Command::new("python3")
            .args(["-c", &script])
            .stdin(std::process::Stdio::piped())
            .stdout(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        (child, port)
    }

    #[test]
    fn a_process_that_listens_later_gets_the_name_for_its_port() {
        use std::io::{BufRead as _, Write as _};
        let (child, port) = listener();
        let mut program = Program(child);
        let service = ServiceRule {
            rule: Rule { port: Some(port), ..Rule::default() },
            name: Some("by-port".to_owned()),
            namespace: None,
            routes: Vec::new(),
        };
        let everything = Selection::new(&Watch::default());
        let mut live = Live::new(Discoverer::new(&[service], everything, 10_000), 10_000);
        live.keep_found();
        let process = program.key(&mut live);
        let name =
            |live: &mut Live| live.identify(process).unwrap().process.service.name.to_string();
        let at = |port| Address::Inet { address: [127, 0, 0, 1].into(), port };
        let open = |port: u16, connection: u64| {
            Event::Open(Open {
                connection: ConnectionId(connection),
                time_ns: 0,
                process,
                comm: String::new(),
                from_start: true,
                network_namespace: 1,
                local: at(port),
                remote: at(40_000),
            })
        };
        live.event(&open(40_001, 1));
        let before = name(&mut live);
        assert_ne!(before, "by-port");
        program.0.stdin.as_mut().unwrap().write_all(b"go\n").unwrap();
        let mut said = String::new();
        std::io::BufReader::new(program.0.stdout.as_mut().unwrap()).read_line(&mut said).unwrap();
        assert_eq!(said, "listens\n");
        live.event(&open(40_002, 2));
        assert_eq!(name(&mut live), before);
        live.event(&open(port, 3));
        assert_eq!(name(&mut live), "by-port");
        let inspected = live.stats().inspected;
        live.event(&open(port, 4));
        assert_eq!(live.stats().inspected, inspected, "it is looked at once");
        let found: Vec<String> = live.take_found().into_iter().map(|found| found.service).collect();
        assert_eq!(found, [before.as_str(), "by-port"]);
    }

    #[test]
    fn a_recording_is_told_of_a_process_once() {
        let program = Program::start();
        let everything = Selection::new(&Watch::default());
        // One decision is remembered: each makes room for the next.
        let mut live = Live::new(Discoverer::new(&[], everything, 10_000), 2);
        live.keep_found();
        let key = program.key(&mut live);
        for _ in 0..3 {
            live.decided.clear();
            assert!(live.identify(key).is_some());
        }
        assert_eq!(live.take_found().len(), 1);
        assert_eq!(live.take_found(), []);
    }

    #[test]
    fn names_and_routes_of_services_change_with_a_reload() {
        let program = Program::start();
        let service = ServiceRule {
            rule: Rule { pid: Some(program.0.id()), ..Rule::default() },
            name: Some("renamed".to_owned()),
            namespace: None,
            routes: vec!["/a/{id}".parse().unwrap()],
        };
        let everything = || Selection::new(&Watch::default());
        let mut live = Live::new(Discoverer::new(&[], everything(), 10_000), 10_000);
        let key = program.key(&mut live);
        let before = live.identify(key).unwrap();
        assert_eq!(before.routes, 0);
        live.reconfigure(&[service], everything());
        let after = live.identify(key).unwrap();
        assert_eq!((&*after.process.service.name, after.routes), ("renamed", 1));
        assert_ne!(before.process.service.name, after.process.service.name);
    }
}
