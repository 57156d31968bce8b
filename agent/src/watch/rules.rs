//! New rules for a running watch: every stage that goes by rules takes them over, and the kernel
//! leaves alone the processes that they leave out, and no others.

use crate::config::ServiceRule;
use crate::discover::Selection;
use crate::event::ProcessKey;
use crate::flow::Ports;
use crate::identities::Live;
use crate::pipeline::Pipeline;
use crate::probe::control::{Control, PolicyError};
use crate::span::route::Routes;

/// New rules for a running watch.
pub struct Reload {
    /// Names and routes of services.
    pub services: Vec<ServiceRule>,
    /// Which processes are watched.
    pub selection: Selection,
    /// Sets of routes.
    pub routes: Vec<Routes>,
    /// Ports whose protocol is configured.
    pub ports: Ports,
}

/// The kernel's table of decisions on processes.
pub(super) trait Policies {
    /// Leaves a process alone from now on.
    fn ignore(&mut self, process: ProcessKey) -> Result<(), PolicyError>;

    /// Forgets what was decided on a process.
    fn forget(&mut self, pid: u32);
}

impl Policies for Control {
    fn ignore(&mut self, process: ProcessKey) -> Result<(), PolicyError> {
        self.set_policy(process, false)
    }

    fn forget(&mut self, pid: u32) {
        if let Err(error) = self.clear_policy(pid) {
            tracing::debug!(pid, %error, "the policy of a process was not forgotten");
        }
    }
}

/// Takes over new rules.
pub(super) fn take_over(
    new: Reload,
    pipeline: &mut Pipeline,
    identities: &mut Live,
    policies: &mut impl Policies,
) {
    pipeline.set_routes(new.routes);
    pipeline.set_ports(new.ports);
    for pid in identities.reconfigure(&new.services, new.selection) {
        policies.forget(pid);
    }
    // After that: a process may be among both.
    apply(identities, policies);
}

/// Has the kernel leave alone what was found to be left alone.
pub(super) fn apply(identities: &mut Live, policies: &mut impl Policies) {
    for process in identities.take_ignored() {
        if let Err(error) = policies.ignore(process) {
            // Its spans are dropped later all the same; only the copying is not saved.
            tracing::debug!(pid = process.pid, %error, "the policy of a process was not set");
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::sync::{Arc, Mutex};

    use super::*;
    use crate::config::{Config, Rule, Watch};
    use crate::discover::Discoverer;
    use crate::discover::host::Clock;
    use crate::event::stream::Reader;
    use crate::flow;
    use crate::metrics::{Limits, Store};
    use crate::pipeline::{Outputs, TakeSpans};
    use crate::session;
    use crate::span::Span;
    use crate::span::assemble::Assembler;

    /// A program that runs until this is dropped. Not this process: that one is never watched.
    struct Program(std::process::Child);

    impl Program {
        fn start() -> Self {
            Self(std::process::Command::new("sleep").arg("60").spawn().unwrap())
        }

        fn rule(&self) -> Rule {
            Rule { pid: Some(self.0.id()), ..Rule::default() }
        }
    }

    impl Drop for Program {
        fn drop(&mut self) {
            drop(self.0.kill());
            drop(self.0.wait());
        }
    }

    /// Processes that are left alone, as the kernel's table would have them.
    #[derive(Default)]
    struct Table(BTreeSet<u32>);

    impl Policies for Table {
        fn ignore(&mut self, process: ProcessKey) -> Result<(), PolicyError> {
            self.0.insert(process.pid);
            Ok(())
        }

        fn forget(&mut self, pid: u32) {
            self.0.remove(&pid);
        }
    }

    /// Service and name of each span.
    #[derive(Clone, Default)]
    struct Names(Arc<Mutex<Vec<String>>>);

    impl TakeSpans for Names {
        fn take(&mut self, spans: &mut Vec<Span>) {
            let mut names = self.0.lock().unwrap();
            names.extend(
                spans.iter().map(|span| format!("{} {}", span.process.service.name, span.name())),
            );
        }
    }

    struct Stages {
        pipeline: Pipeline,
        identities: Live,
        table: Table,
        names: Names,
    }

    impl Stages {
        fn new(selection: Selection) -> Self {
            let names = Names::default();
            let store = Store::new(Limits::default(), &[], 0);
            let outputs = Outputs {
                store: Arc::new(Mutex::new(store)),
                slo: None,
                takers: vec![Box::new(names.clone())],
            };
            let assembler = Assembler::new(session::routes(&Config::default()), 100);
            let pipeline = Pipeline::new(flow::Limits::default(), assembler, outputs);
            let mut identities = Live::new(Discoverer::new(&[], selection, 10_000), 10_000);
            let mut table = Table::default();
            identities.scan();
            apply(&mut identities, &mut table);
            Self { pipeline, identities, table, names }
        }

        fn reload(&mut self, config: &Config, selection: Selection) {
            let new = Reload {
                services: config.services.clone(),
                selection,
                routes: session::routes(config),
                ports: session::ports(config),
            };
            take_over(new, &mut self.pipeline, &mut self.identities, &mut self.table);
        }

        fn ignores(&self, program: &Program) -> bool {
            self.table.0.contains(&program.0.id())
        }

        /// What comes out of a request to a program on a connection of this number.
        fn request(&mut self, to: &Program, connection: u32) -> Vec<String> {
            let pid = to.0.id();
            let start_ns = self.identities.start_of(pid);
            let process = format!(r#"{{"pid":{pid},"start_ns":{start_ns}}}"#);
            let data = format!(
                r#"{{"event":"data","connection":{connection},"class":"http1_server","unit":{{"process":{process},"tid":{pid}}}"#
            );
            let text = format!(
                concat!(
                    r#"{{"event":"open","connection":{connection},"time_ns":1000,"process":{process},"comm":"sleep","from_start":true,"network_namespace":1,"local":{{"address":"10.0.0.9","port":8080}},"remote":{{"address":"10.0.0.1","port":40000}}}}"#,
                    "\n",
                    r#"{data},"direction":"received","exit_ns":2000,"position":0,"length":30,"head":"GET /a/b HTTP/1.1\r\nHost: x\r\n\r\n"}}"#,
                    "\n",
                    r#"{data},"direction":"sent","exit_ns":3000,"position":0,"length":27,"head":"HTTP/1.1 204 No Content\r\n\r\n"}}"#,
                    "\n",
                ),
                connection = connection,
                process = process,
                data = data,
            );
            for event in Reader::new(text.as_bytes()) {
                let event = event.unwrap();
                self.identities.event(&event);
                self.pipeline.event(&event);
            }
            let clock = Clock::fixed(0, 0);
            self.pipeline.finish(10_000, &clock, &mut self.identities);
            apply(&mut self.identities, &mut self.table);
            std::mem::take(&mut self.names.0.lock().unwrap())
        }
    }

    fn all_but(program: &Program) -> Selection {
        Selection::new(&Watch { include: Vec::new(), exclude: vec![program.rule()] })
    }

    #[test]
    fn the_kernel_leaves_alone_what_the_new_rules_leave_out() {
        let (one, other) = (Program::start(), Program::start());
        let mut stages = Stages::new(all_but(&one));
        assert!(stages.ignores(&one) && !stages.ignores(&other));
        assert_eq!(stages.request(&one, 1), [""; 0]);
        assert_eq!(stages.request(&other, 2), ["sleep GET /a/b"]);

        stages.reload(&Config::default(), all_but(&other));
        assert!(!stages.ignores(&one) && stages.ignores(&other));
        assert_eq!(stages.request(&one, 3), ["sleep GET /a/b"]);
        assert_eq!(stages.request(&other, 4), [""; 0]);

        // The same once more: forgotten, and decided again.
        stages.reload(&Config::default(), all_but(&other));
        assert!(!stages.ignores(&one) && stages.ignores(&other));

        stages.reload(&Config::default(), Selection::new(&Watch::default()));
        assert!(!stages.ignores(&one) && !stages.ignores(&other));
    }

    #[test]
    fn names_and_routes_are_those_of_the_new_rules() {
        let (one, other) = (Program::start(), Program::start());
        let everything = || Selection::new(&Watch::default());
        let mut stages = Stages::new(everything());
        assert_eq!(stages.request(&one, 1), ["sleep GET /a/b"]);
        let mut config = Config::default();
        config.services.push(ServiceRule {
            rule: one.rule(),
            name: Some("renamed".to_owned()),
            namespace: None,
            routes: vec!["/a/{id}".parse().unwrap()],
        });
        stages.reload(&config, everything());
        assert_eq!(stages.request(&one, 2), ["renamed GET /a/{id}"]);
        assert_eq!(stages.request(&other, 3), ["sleep GET /a/b"]);
        stages.reload(&Config::default(), everything());
        assert_eq!(stages.request(&one, 4), ["sleep GET /a/b"]);
    }
}
