//! From what is known of a process to its identity.
//!
//! `service.name` comes from the first of: the configuration's `services`; the process's own
//! `OTEL_SERVICE_NAME`; `service.name` in its `OTEL_RESOURCE_ATTRIBUTES`; its systemd unit; its
//! program. A container's name is not to be seen from outside, so a process in one goes by its
//! program, with the container's id beside it.

use std::cell::OnceCell;
use std::path::Path;
use std::sync::Arc;

use super::binary::Binaries;
use super::cgroup::{self, Placement};
use super::proc::{Proc, Snapshot, text};
use super::program::{Family, Program, base, clean};
use super::resolver;
use super::selection::Candidate;
use super::{Hint, attributes};
use crate::config::ServiceRule;
use crate::event::ProcessKey;
use crate::span::{Process, Service};

/// Largest `package.json` that is read, in bytes.
const MAX_PACKAGE: u64 = 64 << 10;

/// An identity, and what rules ask for besides.
pub(super) struct Identity {
    pub(super) process: Arc<Process>,
    pub(super) arguments: Vec<String>,
    pub(super) is_32_bit: bool,
}

/// Identity of a process that is there to be looked at.
pub(super) fn of_snapshot(
    key: ProcessKey,
    snapshot: Snapshot,
    proc: &Proc,
    binaries: &mut Binaries,
    services: &[ServiceRule],
) -> Identity {
    let pid = key.pid;
    let program = Program {
        executable: &snapshot.executable,
        arguments: &snapshot.arguments,
        comm: &snapshot.comm,
    };
    let Placement { unit, container } = cgroup::placement(&snapshot.cgroup);
    let mut asked =
        Asked::read(snapshot.service_name.as_deref(), snapshot.resource_attributes.as_deref());
    let name = asked.name.take().or(unit);
    let name = name.unwrap_or_else(|| program.name(&|path| directory(proc, pid, path)));

    let binary = binaries.inspect(&proc.executable(pid));
    let language = match (program.family(), binary.language) {
        (Some(family), _) => family.language(),
        (None, Some("go" | "rust")) => binary.language,
        (None, other) => proc.mapped(pid, |file| runtime(file, &snapshot.executable)).or(other),
    };
    let candidate = Candidate {
        pid,
        executable: &snapshot.executable,
        arguments: &snapshot.arguments,
        service: &name,
        listens: &|port| proc.listens(pid, port),
        line: OnceCell::new(),
    };
    let service = service(&candidate, asked.namespace.as_deref(), services);
    let process = Process {
        pid,
        start_ns: key.start_ns,
        service,
        language,
        executable: snapshot.executable.into(),
        container: container.map(Into::into),
        version: asked.version.map(Into::into),
        resource: asked.resource,
        search: if snapshot.has_own_search { None } else { resolver::search_list(proc, pid) },
    };
    Identity {
        process: Arc::new(process),
        arguments: snapshot.arguments,
        is_32_bit: binary.is_32_bit,
    }
}

/// Identity of a process that is gone, from what the kernel programs told of it.
pub(super) fn of_hint(key: ProcessKey, hint: &Hint<'_>, services: &[ServiceRule]) -> Identity {
    // The name given to execve is the script's where a script was started; the arguments then
    // begin with its interpreter. A program that got another name for its first argument is better
    // known by its file.
    let as_given = Program { executable: "", arguments: hint.arguments, comm: hint.comm };
    let is_interpreter = as_given.family().is_some();
    let executable = if is_interpreter { "" } else { hint.filename };
    let program = Program { executable, ..as_given };
    let mut asked = Asked::read(hint.service_name, hint.resource_attributes);
    let name = asked.name.take().unwrap_or_else(|| program.name(&|_| None));
    let candidate = Candidate {
        pid: key.pid,
        executable,
        arguments: hint.arguments,
        service: &name,
        listens: &|_| false,
        line: OnceCell::new(),
    };
    let service = service(&candidate, asked.namespace.as_deref(), services);
    let process = Process {
        pid: key.pid,
        start_ns: key.start_ns,
        service,
        language: program.family().and_then(Family::language),
        executable: if executable.starts_with('/') { executable.into() } else { "".into() },
        container: None,
        version: asked.version.map(Into::into),
        resource: asked.resource,
        search: None,
    };
    Identity { process: Arc::new(process), arguments: hint.arguments.to_vec(), is_32_bit: false }
}

/// Identity of a process that is gone and of which nothing is known but who made it: a copy of
/// its maker, under its own number.
pub(super) fn of_parent(key: ProcessKey, parent: &Process, arguments: &[String]) -> Identity {
    let process = Process { pid: key.pid, start_ns: key.start_ns, ..parent.clone() };
    Identity { process: Arc::new(process), arguments: arguments.to_vec(), is_32_bit: false }
}

/// What a process asks for itself in its environment.
#[derive(Default)]
struct Asked {
    name: Option<String>,
    namespace: Option<String>,
    version: Option<String>,
    resource: Vec<(Arc<str>, Arc<str>)>,
}

impl Asked {
    fn read(service_name: Option<&str>, resource_attributes: Option<&str>) -> Self {
        let mut asked = Self::default();
        let list = resource_attributes.unwrap_or_default();
        // A list that is malformed is ignored as a whole, as the process's own SDK does.
        for (name, value) in attributes::pairs(list).unwrap_or_default() {
            let value = clean(&value);
            match name.as_str() {
                _ if value.is_empty() => {}
                "service.name" => asked.name = Some(value),
                "service.namespace" => asked.namespace = Some(value),
                "service.version" => asked.version = Some(value),
                _ => asked.resource.push((name.into(), value.into())),
            }
        }
        let own = service_name.map(clean).filter(|name| !name.is_empty());
        asked.name = own.or(asked.name);
        asked
    }
}

/// The service of a process that would be called `candidate.service`, after the configuration had
/// its say.
fn service(
    candidate: &Candidate<'_>,
    namespace: Option<&str>,
    services: &[ServiceRule],
) -> Arc<Service> {
    let (mut given_name, mut given_namespace) = (None, None);
    for entry in services {
        let is_wanted = (given_name.is_none() && entry.name.is_some())
            || (given_namespace.is_none() && entry.namespace.is_some());
        if is_wanted && candidate.matches(&entry.rule) {
            given_name = given_name.or(entry.name.as_deref());
            given_namespace = given_namespace.or(entry.namespace.as_deref());
        }
    }
    Arc::new(Service {
        name: given_name.unwrap_or(candidate.service).into(),
        namespace: given_namespace.or(namespace).unwrap_or_default().into(),
    })
}

/// Language by a library that only runs programs of that language. Libraries that are also
/// embedded for scripting count only in the servers made for them.
fn runtime(library: &str, executable: &str) -> Option<&'static str> {
    let server = base(executable);
    let begins = |name: &str| library.starts_with(name);
    if begins("libjvm.so") {
        Some("java")
    } else if begins("libcoreclr.so") {
        Some("dotnet")
    } else if begins("libnode.so") {
        Some("nodejs")
    } else if begins("libpython") && server.starts_with("uwsgi") {
        Some("python")
    } else if begins("libphp") && (server.starts_with("apache2") || server == "httpd") {
        Some("php")
    } else if begins("libruby") && server.starts_with("passenger") {
        Some("ruby")
    } else {
        None
    }
}

/// Name of what is in a directory that a process was given as its program: what its
/// `package.json` says, else the directory's own name. `None` where the path is no directory.
fn directory(proc: &Proc, pid: u32, path: &str) -> Option<String> {
    let path = proc.absolute(pid, path)?;
    let is_dir = proc.open_inside(pid, &path)?.metadata().ok()?.is_dir();
    if !is_dir {
        return None;
    }
    package(proc, pid, &path).or_else(|| {
        // `.` and `..` at the end have no name of their own.
        let name = path.components().next_back()?.as_os_str().to_str()?;
        (!matches!(name, "." | ".." | "/")).then(|| name.to_owned())
    })
}

fn package(proc: &Proc, pid: u32, directory: &Path) -> Option<String> {
    let file = proc.open_inside(pid, &directory.join("package.json"))?;
    if !file.metadata().ok()?.is_file() {
        return None;
    }
    let package: serde_json::Value = serde_json::from_str(&text(file, MAX_PACKAGE)?).ok()?;
    let name = clean(package.get("name")?.as_str()?);
    (!name.is_empty()).then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: ProcessKey = ProcessKey { pid: u32::MAX, start_ns: 5 };

    fn services(yaml: &str) -> Vec<ServiceRule> {
        serde_yaml_ng::from_str(yaml).unwrap()
    }

    /// Name and namespace of a process with these facts.
    #[track_caller]
    fn check(snapshot: &Snapshot, rules: &str, name: &str, namespace: &str) {
        let proc = Proc::new(Path::new("/proc"));
        let rules = services(rules);
        let identity = of_snapshot(KEY, snapshot.clone(), &proc, &mut Binaries::default(), &rules);
        let service = &identity.process.service;
        assert_eq!((&*service.name, &*service.namespace), (name, namespace), "{snapshot:?}");
    }

    fn facts() -> Snapshot {
        Snapshot {
            executable: "/usr/bin/api".to_owned(),
            arguments: vec!["api".to_owned(), "--x".to_owned()],
            cgroup: "0::/system.slice/shop.service".to_owned(),
            service_name: Some("own".to_owned()),
            resource_attributes: Some("service.name=listed,service.namespace=ns".to_owned()),
            ..Snapshot::default()
        }
    }

    #[test]
    fn order_of_names() {
        let mut facts = facts();
        check(&facts, "[{match: {executable: api}, name: rule}]", "rule", "ns");
        check(&facts, "[{match: {service: own}, namespace: rule}]", "own", "rule");
        check(
            &facts,
            "[{match: {pid: 1}, name: a}, {match: {executable: api}, namespace: b}, \
             {match: {arguments: '*--x'}, name: c, namespace: d}]",
            "c",
            "b",
        );
        check(&facts, "[]", "own", "ns");
        facts.service_name = Some("  ".to_owned());
        check(&facts, "[]", "listed", "ns");
        facts.resource_attributes = Some("service.name=listed,malformed".to_owned());
        check(&facts, "[]", "shop", "");
        facts.cgroup = "0::/user.slice/session-1.scope".to_owned();
        check(&facts, "[]", "api", "");
        facts.executable.clear();
        facts.arguments.clear();
        facts.comm = "kworker/0:1".to_owned();
        check(&facts, "[]", "kworker/0:1", "");
    }

    #[test]
    fn attributes_of_the_process_are_kept() {
        let mut facts = facts();
        facts.resource_attributes =
            Some("service.version=1.2,deployment.environment.name=a%20b,empty=".to_owned());
        facts.cgroup = format!("0::/docker/{}", "ab".repeat(32));
        let proc = Proc::new(Path::new("/proc"));
        let Identity { process, .. } =
            of_snapshot(KEY, facts, &proc, &mut Binaries::default(), &[]);
        assert_eq!(process.version.as_deref(), Some("1.2"));
        assert_eq!(process.resource, [("deployment.environment.name".into(), "a b".into())]);
        assert_eq!(process.container.as_deref(), Some(&*"ab".repeat(32)));
        assert_eq!((process.pid, process.start_ns), (KEY.pid, KEY.start_ns));
    }

    #[test]
    fn hints() {
        let check = |filename: &str, arguments: &[&str], name: &str, language: Option<&str>| {
            let arguments: Vec<String> = arguments.iter().map(|text| (*text).to_owned()).collect();
            let hint = Hint { comm: "comm", filename, arguments: &arguments, ..Hint::default() };
            let process = of_hint(KEY, &hint, &[]).process;
            assert_eq!(&*process.service.name, name, "{filename} {arguments:?}");
            assert_eq!(process.language, language);
        };
        check("/usr/bin/curl", &["curl", "http://x"], "curl", None);
        check("/usr/bin/curl", &["renamed"], "curl", None);
        check("/usr/bin/python3", &["python3", "a.py"], "a", Some("python"));
        check(
            "/usr/bin/flask",
            &["/usr/bin/python3", "/usr/bin/flask", "run"],
            "flask",
            Some("python"),
        );
        check("/usr/bin/curl", &[], "curl", None);
        check("", &[], "comm", None);
    }

    #[test]
    fn runtimes() {
        assert_eq!(runtime("libjvm.so", "/app/bin/shop"), Some("java"));
        assert_eq!(runtime("libpython3.11.so.1.0", "/usr/bin/uwsgi-core"), Some("python"));
        assert_eq!(runtime("libpython3.11.so.1.0", "/usr/bin/vim"), None);
    }
}
