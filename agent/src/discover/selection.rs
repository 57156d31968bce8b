//! Which processes are watched: the rules of the configuration and the flags of `vigie profile`.

use std::cell::OnceCell;

use vigie_common::policy::ProcessPolicy;

use crate::config::{Glob, Rule, Watch};

/// The rules in force. The agent's own process is never watched.
#[derive(Clone, Debug)]
pub struct Selection {
    include: Vec<Rule>,
    exclude: Vec<Rule>,
    own_pid: u32,
}

/// A process as rules see it.
pub(super) struct Candidate<'a> {
    /// Process id.
    pub(super) pid: u32,
    /// Path of the executable, empty where it is not known.
    pub(super) executable: &'a str,
    /// Command line.
    pub(super) arguments: &'a [String],
    /// Name of its service.
    pub(super) service: &'a str,
    /// Whether it listens on a port; asked only where a rule has that key.
    pub(super) listens: &'a dyn Fn(u16) -> bool,
    /// The arguments joined by blanks, made only where a rule asks.
    pub(super) line: OnceCell<String>,
}

impl Selection {
    /// By the configuration's `watch`.
    pub fn new(watch: &Watch) -> Self {
        Self {
            include: watch.include.clone(),
            exclude: watch.exclude.clone(),
            own_pid: std::process::id(),
        }
    }

    /// Narrowed by the flags `--pid`, `--service` and `--port`: processes that any one of them
    /// names, instead of those that `watch.include` names. `watch.exclude` stays in force for
    /// services and ports, but a process that is named by its id is watched.
    #[must_use]
    pub fn narrowed(mut self, pids: &[u32], services: &[Glob], ports: &[u16]) -> Self {
        if pids.is_empty() && services.is_empty() && ports.is_empty() {
            return self;
        }
        let by_pid = pids.iter().map(|pid| Rule { pid: Some(*pid), ..Rule::default() });
        let by_service =
            services.iter().map(|glob| Rule { service: Some(glob.clone()), ..Rule::default() });
        let by_port = ports.iter().map(|port| Rule { port: Some(*port), ..Rule::default() });
        self.include = by_pid.chain(by_service).chain(by_port).collect();
        self
    }

    /// What happens to a process of which nothing is known yet. Where something is to be
    /// included, it is left alone until it is known to match.
    pub fn default_policy(&self) -> ProcessPolicy {
        if self.include.is_empty() { ProcessPolicy::Watch } else { ProcessPolicy::Ignore }
    }

    /// Whether there are no rules: every process but the agent is watched, and none has to be
    /// looked at before it does something.
    pub fn is_everything(&self) -> bool {
        self.include.is_empty() && self.exclude.is_empty()
    }

    /// Whether a rule asks for a port. Programs begin to listen some time after they start, so the
    /// processes have to be looked at again ([`super::Discoverer::scan`]) from time to time.
    pub fn has_ports(&self) -> bool {
        self.include.iter().chain(&self.exclude).any(|rule| rule.port.is_some())
    }

    pub(super) fn decide(&self, candidate: &Candidate<'_>) -> ProcessPolicy {
        let is_match = |rules: &[Rule]| rules.iter().any(|rule| candidate.matches(rule));
        let by_pid = self.include.iter().any(|rule| rule.pid == Some(candidate.pid));
        let watched = candidate.pid != self.own_pid
            && (self.include.is_empty() || is_match(&self.include))
            && (by_pid || !is_match(&self.exclude));
        if watched { ProcessPolicy::Watch } else { ProcessPolicy::Ignore }
    }
}

impl Candidate<'_> {
    /// Whether every key that a rule has fits. The cheap keys are looked at first.
    pub(super) fn matches(&self, rule: &Rule) -> bool {
        fn fits<T>(wanted: Option<&T>, is_fit: impl FnOnce(&T) -> bool) -> bool {
            wanted.is_none_or(is_fit)
        }
        let line = || self.line.get_or_init(|| self.arguments.join(" "));
        fits(rule.pid.as_ref(), |pid| *pid == self.pid)
            && fits(rule.executable.as_ref(), |glob| glob.matches_path(self.executable))
            && fits(rule.service.as_ref(), |glob| glob.matches(self.service))
            && fits(rule.arguments.as_ref(), |glob| glob.matches(line()))
            && fits(rule.port.as_ref(), |port| (self.listens)(*port))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn watch(yaml: &str) -> Watch {
        serde_yaml_ng::from_str(yaml).unwrap()
    }

    /// `wrk` of pid 7 as service `load`, listening on 80.
    #[track_caller]
    fn check(selection: &Selection, expected: ProcessPolicy) {
        let arguments = ["wrk".to_owned(), "-c4".to_owned()];
        let candidate = Candidate {
            pid: 7,
            executable: "/usr/bin/wrk",
            arguments: &arguments,
            service: "load",
            listens: &|port| port == 80,
            line: OnceCell::new(),
        };
        assert_eq!(selection.decide(&candidate), expected, "{selection:?}");
    }

    #[test]
    fn rules() {
        use ProcessPolicy::{Ignore, Watch};
        for (yaml, expected) in [
            ("{}", Watch),
            ("exclude: [{executable: '*/wrk'}]", Ignore),
            ("exclude: [{executable: wrk}]", Ignore),
            ("exclude: [{executable: wrk, service: other}]", Watch),
            ("exclude: [{executable: wrk, service: l*}]", Ignore),
            ("include: [{executable: nginx}]", Ignore),
            ("include: [{executable: nginx}, {arguments: '*-c4'}]", Watch),
            ("include: [{pid: 7}]", Watch),
            ("include: [{pid: 8}]", Ignore),
            ("include: [{port: 80}]", Watch),
            ("include: [{port: 80, pid: 8}]", Ignore),
            ("{include: [{port: 80}], exclude: [{service: load}]}", Ignore),
        ] {
            check(&Selection::new(&watch(yaml)), expected);
        }
    }

    #[test]
    fn flags() {
        use ProcessPolicy::{Ignore, Watch};
        let all = || Selection::new(&watch("{}"));
        let glob = |text: &str| [text.parse::<Glob>().unwrap()];
        check(&all().narrowed(&[], &[], &[]), Watch);
        check(&all().narrowed(&[8], &[], &[]), Ignore);
        check(&all().narrowed(&[8, 7], &[], &[]), Watch);
        check(&all().narrowed(&[8], &glob("lo*"), &[]), Watch);
        check(&all().narrowed(&[], &[], &[443, 80]), Watch);
        let excluding = || Selection::new(&watch("exclude: [{executable: wrk}]"));
        check(&excluding().narrowed(&[], &glob("load"), &[]), Ignore);
        check(&excluding().narrowed(&[7], &[], &[]), Watch);
        assert_eq!(all().default_policy(), Watch);
        assert_eq!(all().narrowed(&[7], &[], &[]).default_policy(), Ignore);
        assert!(all().narrowed(&[], &[], &[80]).has_ports() && all().is_everything());
    }

    #[test]
    fn never_itself() {
        let mut own = Selection::new(&watch("{}")).narrowed(&[7], &[], &[]);
        own.own_pid = 7;
        check(&own, ProcessPolicy::Ignore);
    }
}
