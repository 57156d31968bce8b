//! Discovery against real processes, and the table's bound and life.

use std::io::Read as _;
use std::process::{Child, ChildStdout, Command, Stdio};

use super::*;
use crate::config::Watch;

fn discoverer(capacity: usize) -> Discoverer {
    Discoverer::new(&[], Selection::new(&Watch::default()), capacity)
}

/// Ends the child with the test; its output stays open until then.
struct Running {
    child: Child,
    output: ChildStdout,
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Starts a command that prints a byte once it runs.
fn start(command: &mut Command) -> (Running, ProcessKey) {
    let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
    let mut output = child.stdout.take().unwrap();
    output.read_exact(&mut [0]).unwrap();
    let pid = child.id();
    (Running { child, output }, key(pid))
}

fn key(pid: u32) -> ProcessKey {
    let proc = Proc::new(Path::new("/proc"));
    // Somewhere inside the tick, as the kernel's own value is.
    let start_ns = proc.start_ns(proc.snapshot(pid).unwrap().start_ticks) + 1_234_567;
    ProcessKey { pid, start_ns }
}

const GONE: ProcessKey = ProcessKey { pid: u32::MAX, start_ns: 77 };

#[test]
fn own_process() {
    let mut discoverer = discoverer(10);
    let own = key(std::process::id());
    let process = discoverer.identify(own, &Hint::default());
    assert_eq!(process.language, Some("rust"));
    assert_eq!(process.start_ns, own.start_ns);
    assert!(process.executable.starts_with('/'));
    assert_eq!(discoverer.policy(own, &Hint::default()), ProcessPolicy::Ignore);
    assert!(Arc::ptr_eq(&process, &discoverer.identify(own, &Hint::default())));
    assert_eq!(discoverer.stats().inspected, 1);
    assert!(!discoverer.is_32_bit(own.pid));
}

#[test]
fn shell_with_a_name_in_its_environment() {
    let mut command = Command::new("/bin/sh");
    command.args(["-c", "echo x; read wait"]).stdin(Stdio::piped());
    command.env("OTEL_SERVICE_NAME", "named");
    command.env("OTEL_RESOURCE_ATTRIBUTES", "service.version=7,team=a%2Fb");
    let (_running, key) = start(&mut command);
    let process = discoverer(10).identify(key, &Hint::default());
    assert_eq!(&*process.service.name, "named");
    assert_eq!(process.version.as_deref(), Some("7"));
    assert_eq!(process.resource, [("team".into(), "a/b".into())]);
}

#[test]
fn python_script() {
    let folder = tempfile::tempdir().unwrap();
    let script = folder.path().join("orders.py");
    std::fs::write(&script, "print('x', flush=True)\nimport time\ntime.sleep(60)\n").unwrap();
    let mut command = Command::new("python3");
    command.arg("-u").arg(&script).env_remove("OTEL_SERVICE_NAME");
    if command.is_missing() {
        eprintln!("no python3 on this machine: not tested");
        return;
    }
    let (_running, key) = start(&mut command);
    let mut discoverer = discoverer(8192);
    let process = discoverer.identify(key, &Hint::default());
    assert_eq!(process.language, Some("python"));
    assert_eq!(&*process.service.name, "orders");
    let found = discoverer.scan();
    let found = found.iter().find(|found| found.key.pid == key.pid).unwrap();
    assert!(Arc::ptr_eq(&found.process, &process));
    assert_eq!(found.policy, ProcessPolicy::Watch);
}

trait Missing {
    fn is_missing(&self) -> bool;
}

impl Missing for Command {
    fn is_missing(&self) -> bool {
        Command::new(self.get_program()).arg("--version").output().is_err()
    }
}

#[test]
fn listening_process_is_found_by_port() {
    const LISTEN: &str = "import socket\ns = socket.create_server(('127.0.0.1', 0))\n\
                          print(' %05d' % s.getsockname()[1], flush=True)\ninput()\n";
    let mut command = Command::new("python3");
    if command.is_missing() {
        eprintln!("no python3 on this machine: not tested");
        return;
    }
    command.args(["-c", LISTEN]).stdin(Stdio::piped());
    let (mut running, key) = start(&mut command);
    let mut port = [0; 5];
    running.output.read_exact(&mut port).unwrap();
    let port: u16 = std::str::from_utf8(&port).unwrap().parse().unwrap();
    let selection = Selection::new(&Watch::default()).narrowed(&[], &[], &[port]);
    let mut discoverer = Discoverer::new(&[], selection, 8192);
    let watched =
        discoverer.scan().into_iter().filter(|found| found.policy == ProcessPolicy::Watch);
    assert_eq!(watched.map(|found| found.key.pid).collect::<Vec<_>>(), [key.pid]);
}

#[test]
fn reused_number_is_another_process() {
    let own = key(std::process::id());
    let other = ProcessKey { start_ns: own.start_ns + 1_000_000_000, ..own };
    let hint = Hint { comm: "gone", ..Hint::default() };
    let mut discoverer = discoverer(10);
    assert_eq!(&*discoverer.identify(other, &hint).service.name, "gone");
    assert_eq!(discoverer.identify(own, &hint).language, Some("rust"));
    let unknown = ProcessKey { start_ns: 0, ..own };
    assert_eq!(discoverer.identify(unknown, &hint).language, Some("rust"));
}

#[test]
fn exec_is_remembered_for_when_the_process_is_gone() {
    let mut discoverer = discoverer(10);
    let hint = Hint { comm: "sh", ..Hint::default() };
    assert_eq!(&*discoverer.identify(GONE, &hint).service.name, "sh");
    discoverer.exec(&Exec {
        process: GONE,
        time_ns: 1,
        filename: "/usr/bin/curl".to_owned(),
        arguments: vec!["curl".to_owned(), "http://x".to_owned()],
    });
    assert_eq!(&*discoverer.identify(GONE, &hint).service.name, "curl");
    assert_eq!(discoverer.stats().vanished, 2);
}

/// Records of one process come through several rings, in any order.
#[test]
fn records_out_of_order() {
    let hint = Hint { comm: "comm", ..Hint::default() };
    let exec = |process, time_ns| Exec {
        process,
        time_ns,
        filename: "/usr/bin/curl".to_owned(),
        arguments: vec!["curl".to_owned()],
    };
    let environment = |time_ns| Environment {
        process: GONE,
        time_ns,
        service_name: Some("own".to_owned()),
        resource_attributes: None,
    };
    let name = |discoverer: &mut Discoverer| discoverer.identify(GONE, &hint).service.name.clone();

    // Before and after somebody asked, in both orders.
    let mut discoverer = discoverer(10);
    assert_eq!(&*name(&mut discoverer), "comm");
    assert!(discoverer.environment(&environment(2)));
    assert_eq!(&*name(&mut discoverer), "own");
    assert!(discoverer.exec(&exec(GONE, 1)));
    let process = discoverer.identify(GONE, &hint);
    assert_eq!((&*process.service.name, &*process.executable), ("own", "/usr/bin/curl"));
    // A later program has an environment of its own.
    assert!(discoverer.exec(&exec(GONE, 3)));
    assert_eq!(&*name(&mut discoverer), "curl");

    // What was looked at since stays.
    let own = key(std::process::id());
    let process = discoverer.identify(own, &hint);
    assert!(!discoverer.exec(&exec(own, 1)));
    assert!(!discoverer.environment(&Environment { process: own, ..environment(2) }));
    assert!(Arc::ptr_eq(&process, &discoverer.identify(own, &hint)));
}

/// Without `CAP_SYS_PTRACE` the environment of others is not there to be read.
#[test]
fn an_environment_that_may_not_be_read_is_what_the_kernel_told() {
    let folder = tempfile::tempdir().unwrap();
    let process = folder.path().join("4242");
    std::fs::create_dir(&process).unwrap();
    let stat = format!("4242 (python3) S 1{} 100 0", " 0".repeat(17));
    for (file, text) in
        [("stat", stat.as_str()), ("cmdline", "python3\0orders.py\0"), ("cgroup", "0::/\n")]
    {
        std::fs::write(process.join(file), text).unwrap();
    }
    let watch = Selection::new(&Watch::default());
    let mut discoverer = Discoverer::with_root(folder.path(), &[], watch, 10);
    let found = discoverer.scan();
    let key = found.first().unwrap().key;
    let name = |discoverer: &mut Discoverer| {
        discoverer.identify(key, &Hint::default()).service.name.to_string()
    };
    assert_eq!(name(&mut discoverer), "orders");
    let told = Environment {
        process: key,
        time_ns: 1,
        service_name: Some("own".to_owned()),
        resource_attributes: None,
    };
    assert!(discoverer.environment(&told));
    assert_eq!(name(&mut discoverer), "own");
}

#[test]
fn forked_process_is_its_maker_until_it_says_otherwise() {
    let mut discoverer = discoverer(10);
    let child = ProcessKey { pid: GONE.pid - 1, start_ns: 99 };
    let hint = Hint { comm: "x", filename: "/usr/sbin/nginx", ..Hint::default() };
    discoverer.identify(GONE, &hint);
    discoverer.fork(&Fork { process: child, parent: GONE.pid, time_ns: 5 });
    let process = discoverer.identify(child, &Hint { comm: "worker", ..Hint::default() });
    assert_eq!(&*process.service.name, "nginx");
    assert_eq!((process.pid, process.start_ns), (child.pid, 99));
}

#[test]
fn ended_processes_linger_and_go() {
    const SECOND: u64 = 1_000_000_000;
    let mut discoverer = discoverer(10);
    let own = key(std::process::id());
    let process = discoverer.identify(own, &Hint::default());
    // The end of an earlier process of that number is no end of this one.
    let earlier = ProcessKey { start_ns: 1, ..own };
    discoverer.exit(&Exit { process: earlier, time_ns: 1 });
    discoverer.expire(u64::MAX);
    assert_eq!(discoverer.stats().known, 1);
    discoverer.exit(&Exit { process: own, time_ns: SECOND });
    discoverer.expire(6 * SECOND);
    assert!(Arc::ptr_eq(&process, &discoverer.identify(own, &Hint::default())));
    discoverer.expire(12 * SECOND);
    assert_eq!(discoverer.stats().known, 0);
}

#[test]
fn processes_that_were_gone_when_first_seen_go_too() {
    let mut discoverer = discoverer(10);
    discoverer.identify(GONE, &Hint::default());
    discoverer.expire(Clock::monotonic_now());
    assert_eq!(discoverer.stats().known, 1);
    discoverer.expire(Clock::monotonic_now() + 20_000_000_000);
    assert_eq!(discoverer.stats().known, 0);
}

#[test]
fn table_is_bounded_and_keeps_what_is_used() {
    let mut discoverer = discoverer(64);
    let hint = Hint { comm: "x", ..Hint::default() };
    let used = discoverer.identify(GONE, &hint);
    for pid in 0..1000 {
        let process = ProcessKey { pid: 0x7000_0000 + pid, start_ns: 5 };
        let (filename, arguments) = ("/bin/x".to_owned(), Vec::new());
        discoverer.exec(&Exec { process, time_ns: 1, filename, arguments });
        assert!(Arc::ptr_eq(&used, &discoverer.identify(GONE, &hint)));
        assert!(discoverer.stats().known <= 64);
    }
    assert!((1001 - 64..1001).contains(&discoverer.stats().evicted));
}
