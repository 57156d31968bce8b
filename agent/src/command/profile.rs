//! `vigie profile`: watch for a while, report, exit.

use std::collections::HashMap;
use std::fs::File;
use std::io::{BufWriter, IsTerminal as _, Write as _};
use std::path::PathBuf;
use std::process::Child;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use clap::Args;

use super::{Common, Failure, outputs, require};
use crate::config::{Glob, Overrides, Period};
use crate::discover::host::Clock;
use crate::discover::{Host, Selection};
use crate::kernel::cost;
use crate::loss::Losses;
use crate::metrics::Store;
use crate::pipeline::TakeSpans;
use crate::report::{Meta, Report};
use crate::session::{self, Wishes};
use crate::slo::{self, Objectives};
use crate::span::Service;
use crate::watch::Watch;

#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// How long to watch
    #[arg(long, value_name = "TIME", default_value = "10s")]
    duration: Period,
    /// Watch this process only (may be given several times)
    #[arg(long, value_name = "N")]
    pid: Vec<u32>,
    /// Watch services with such a name only (may be given several times)
    #[arg(long, value_name = "GLOB")]
    service: Vec<Glob>,
    /// Watch processes that listen on this port only (may be given several times)
    #[arg(long, value_name = "N")]
    port: Vec<u16>,
    /// Print the report as JSON
    #[arg(long)]
    json: bool,
    /// Write each finished span as a JSON line to this file
    #[arg(long, value_name = "FILE")]
    spans: Option<PathBuf>,
    /// Judge the SLOs in these files over the watched time
    #[arg(long, value_name = "FILE", num_args = 1..)]
    slo: Vec<PathBuf>,
    /// Exit with 1 when an SLO is broken
    #[arg(long, requires = "slo")]
    fail_on_slo: bool,
    /// Start this command, watch it and its children, and end with it
    #[arg(last = true, value_name = "CMD")]
    command: Vec<String>,
}

/// Time between two measurements of what the programs cost.
const METER_PAUSE: Duration = Duration::from_secs(1);

/// How often it is looked whether the time is over or the command has ended.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// How long a command has to end by itself after a signal that may have gone to it, too.
const GRACE: Duration = Duration::from_secs(1);

/// After the command's end its last bytes may still be on their way to their readers.
const SETTLE: Duration = Duration::from_millis(100);

pub(super) fn run(common: &Common, arguments: &Arguments) -> Result<(), Failure> {
    let config = super::load(common, Overrides::default())?;
    let slos =
        if arguments.slo.is_empty() { Vec::new() } else { super::slo::load(&arguments.slo)?.slos };
    require::allowed()?;
    let mut takers: Vec<Box<dyn TakeSpans>> = Vec::new();
    if let Some(path) = &arguments.spans {
        let file = File::create(path).map_err(|error| {
            Failure::failed(
                format!("cannot write {}: {error}", path.display()),
                "choose another file with --spans",
            )
        })?;
        takers.push(Box::new(outputs::Lines::new(BufWriter::new(file))));
    }
    let interrupted = super::interruption()?;
    let selection =
        Selection::new(&config.watch).narrowed(&arguments.pid, &arguments.service, &arguments.port);
    let with_command = !arguments.command.is_empty();
    let store = Arc::new(Mutex::new(session::store(&config, &slos)));
    let slos =
        Objectives::new(Host::read().name, slos, None, &Clock::read(), Clock::monotonic_now());
    let slos = Arc::new(slos);
    let wishes = Wishes {
        selection,
        watch_unknown: !with_command,
        watch_children: with_command,
        slo: Some(Arc::clone(&slos)),
        takers,
        meter_pause: METER_PAUSE,
        recording: None,
    };
    let watch = session::start(&config, Arc::clone(&store), wishes)
        .map_err(|error| require::explain(&error))?;
    outputs::say_ready(&watch, "");
    let started_unix_nano = session::unix_now();
    let begun = Instant::now();
    let cpu_before = cost::cpu_of_processes();
    let exit_code = if with_command {
        let child = spawn(&arguments.command)?;
        Some(attend(child, &interrupted, &store)?)
    } else {
        wait(arguments.duration.0, begun, &interrupted, &store);
        None
    };
    let duration_s = begun.elapsed().as_secs_f64();
    let time = Time { started_unix_nano, duration_s };
    let mut report = finish(watch, &store, &slos, &cpu_before, time)?;
    report.exit_code = exit_code;
    print(&report, arguments.json)?;
    match exit_code {
        Some(code) if code != 0 => Err(Failure::passed_on(code)),
        _ if arguments.fail_on_slo => report.slo.iter().find(|slo| !slo.ok).map_or(Ok(()), |slo| {
            let todo = "see the endpoints and edges in the report";
            Err(Failure::failed(format!("{} is broken: {}", slo.name, slo.detail), todo))
        }),
        _ => Ok(()),
    }
}

fn spawn(command: &[String]) -> Result<Child, Failure> {
    let (program, arguments) = command
        .split_first()
        .ok_or_else(|| Failure::usage("no command", "write it behind `--`"))?;
    std::process::Command::new(program).args(arguments).spawn().map_err(|error| {
        Failure::failed(
            format!("cannot start {program}: {error}"),
            "give the command's path and arguments behind `--`",
        )
    })
}

/// Waits for the command. What ends vigie ends the command: from a terminal the signal went to both,
/// else it is passed on.
fn attend(
    mut child: Child,
    interrupted: &AtomicBool,
    store: &Mutex<Store>,
) -> Result<i32, Failure> {
    let begun = Instant::now();
    let mut progress = Progress::new();
    let mut asked_to_end: Option<Instant> = None;
    let mut passed_on = false;
    loop {
        let ended = child.try_wait().map_err(|error| {
            Failure::failed(format!("cannot wait for the command: {error}"), "please report this")
        })?;
        if let Some(status) = ended {
            progress.end();
            std::thread::sleep(SETTLE);
            // By a signal: as shells say it.
            let by_signal = std::os::unix::process::ExitStatusExt::signal(&status);
            return Ok(status.code().or(by_signal.map(|signal| 128 + signal)).unwrap_or(1));
        }
        if interrupted.load(Ordering::Relaxed) {
            let asked = *asked_to_end.get_or_insert_with(Instant::now);
            if !passed_on && asked.elapsed() >= GRACE {
                passed_on = true;
                let pid = rustix::process::Pid::from_child(&child);
                // It may have ended in this moment, and then the next look says so.
                let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
            }
        }
        progress.show(begun.elapsed(), None, store);
        std::thread::sleep(LOOK_EVERY);
    }
}

fn wait(duration: Duration, begun: Instant, interrupted: &AtomicBool, store: &Mutex<Store>) {
    let mut progress = Progress::new();
    while !interrupted.load(Ordering::Relaxed) {
        let left = duration.saturating_sub(begun.elapsed());
        if left.is_zero() {
            break;
        }
        progress.show(begun.elapsed(), Some(left), store);
        std::thread::sleep(left.min(LOOK_EVERY));
    }
    progress.end();
}

/// When was watched.
#[derive(Clone, Copy)]
struct Time {
    started_unix_nano: u64,
    duration_s: f64,
}

fn finish(
    watch: Watch,
    store: &Mutex<Store>,
    slos: &Objectives,
    cpu_before: &HashMap<u32, Duration>,
    time: Time,
) -> Result<Report, Failure> {
    let counters = Arc::clone(&watch.counters);
    let backend = watch.backend;
    let published = watch
        .stop()
        .map_err(|error| Failure::failed(error, "see the messages above; please report this"))?;
    let losses = Losses::of(&counters.read(), &published, None);
    let snapshot = session::bare_snapshot(store);
    let host = Host::read();
    let mut service_cpu_s: HashMap<Arc<Service>, f64> = HashMap::new();
    let cpu_after = cost::cpu_of_processes();
    for service in &snapshot.services {
        let spent: Duration = service
            .processes
            .iter()
            .filter_map(|process| {
                let after = cpu_after.get(&process.pid)?;
                Some(
                    after.saturating_sub(cpu_before.get(&process.pid).copied().unwrap_or_default()),
                )
            })
            .sum();
        service_cpu_s.insert(Arc::clone(&service.service), spent.as_secs_f64());
    }
    Ok(Report::new(
        &snapshot,
        Meta {
            host: host.name,
            kernel: host.kernel,
            backend: backend.name().to_owned(),
            started_unix_nano: time.started_unix_nano,
            duration_s: time.duration_s,
            service_cpu_s,
            exit_code: None,
            losses,
            connections_mid_stream: published.figures.flows.mid_stream,
            cost: outputs::cost_of(&published),
            budget: published.budget,
            slo: slo::verdicts(slos),
        },
    ))
}

fn print(report: &Report, json: bool) -> Result<(), Failure> {
    let text = if json {
        serde_json::to_string_pretty(report)
            .map_err(|error| Failure::failed(error, "please report this"))?
    } else {
        crate::report::table(report, 100)
    };
    let mut out = std::io::stdout().lock();
    writeln!(out, "{}", text.trim_end()).map_err(|error| {
        Failure::failed(format!("cannot write the report: {error}"), "look at standard output")
    })
}

/// A line on the terminal that says how far it is.
struct Progress {
    active: bool,
    shown: Option<Instant>,
}

impl Progress {
    fn new() -> Self {
        Self { active: std::io::stderr().is_terminal(), shown: None }
    }

    #[expect(clippy::print_stderr, reason = "progress for the person who waits")]
    fn show(&mut self, elapsed: Duration, left: Option<Duration>, store: &Mutex<Store>) {
        let due = self.shown.is_none_or(|shown| shown.elapsed() >= Duration::from_millis(500));
        if !self.active || !due {
            return;
        }
        self.shown = Some(Instant::now());
        let snapshot = session::bare_snapshot(store);
        let points = snapshot.services.iter().flat_map(|service| &service.points);
        let requests: u64 = points.map(|point| point.count).sum();
        match left {
            Some(left) => {
                eprint!("\rwatching: {:.0} s left, {requests} calls ", left.as_secs_f64().ceil());
            }
            None => eprint!("\rwatching: {:.0} s, {requests} calls ", elapsed.as_secs_f64()),
        }
    }

    #[expect(clippy::print_stderr, reason = "progress for the person who waits")]
    fn end(&mut self) {
        if self.shown.take().is_some() {
            eprint!("\r\x1b[K");
        }
    }
}
