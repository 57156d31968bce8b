//! `cargo xtask vm`: the tests on stock kernels, each in a virtual machine.
//!
//! The guest's side is `tests/vm`: what a test does, and the lines that come back ([`results`]).

mod console;
mod cpio;
pub(crate) mod image;
mod kvm;
pub(crate) mod machine;
mod results;

use std::collections::VecDeque;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};

use self::machine::{Boot, End, Processors};
use self::results::{Line, Results};
use crate::advice::Advice;
use crate::command;
use crate::setup::kernels::{KERNELS, Kernel};
use crate::setup::{self, Purpose};
use crate::workspace::Workspace;

/// Arguments of `cargo xtask vm`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Only these tests, by their names in `tests/vm/src/tests.rs`
    tests: Vec<String>,
    /// Only this kernel, such as 6.12 (may be given several times)
    #[arg(long, value_name = "VERSION")]
    kernel: Vec<String>,
    /// Only this backend, or `any` for tests that are about none (may be given several times)
    #[arg(long)]
    backend: Vec<String>,
    /// Virtual machines side by side
    #[arg(long, default_value_t = JOBS)]
    jobs: u8,
    /// Test this agent, a static one, instead of building the one in this checkout
    #[arg(long, value_name = "FILE")]
    agent: Option<PathBuf>,
}

impl Default for Args {
    fn default() -> Self {
        Self { tests: Vec::new(), kernel: Vec::new(), backend: Vec::new(), jobs: JOBS, agent: None }
    }
}

/// Longest time without a line from the guest: longer than the longest test may take.
const SILENCE: Duration = Duration::from_secs(400);
/// Longest time of one kernel.
const LIMIT: Duration = Duration::from_mins(30);
/// The kernel on which the long tests run; `tests/vm/src/tests.rs` says the same.
const THOROUGH: &str = "6.12";
/// Virtual machines side by side: each keeps one processor busy.
const JOBS: u8 = 2;

/// `cargo xtask vm`.
pub(crate) fn task(workspace: &Workspace, args: &Args) -> Result<()> {
    setup::ensure(workspace, Purpose::Test)?;
    let results = run(workspace, args)?;
    print!("\n{results}");
    if results.failed() > 0 {
        bail!("{} tests in virtual machines failed", results.failed());
    }
    Ok(())
}

/// Runs the tests, with set-up done. What cannot run is among the results as skipped.
pub(crate) fn run(workspace: &Workspace, args: &Args) -> Result<Results> {
    let mut results = Results::default();
    let chosen = choose(&args.kernel)?;
    for program in ["qemu-system-x86_64", "setpriv", "strip", "nginx", "ab", "h2load", "ip"] {
        if command::which(program).is_none() {
            results.skip("virtual machines", &format!("no {program}, see set-up's messages"));
            return Ok(results);
        }
    }
    image::build(workspace)?;
    let folder = folder(workspace)?;
    let initramfs = folder.join("tests.cpio");
    image::write(workspace, &initramfs, args.agent.as_deref())?;
    let setup = workspace.setup();
    let mut queue = VecDeque::new();
    for kernel in chosen {
        if kernel.image(&setup).is_file() {
            queue.extend(parts(kernel, &args.backend));
        } else {
            let why = "its package could not be had, see set-up's messages";
            results.skip(&format!("Linux {}", kernel.version), why);
        }
    }
    let tests = if args.tests.is_empty() { "all".to_owned() } else { args.tests.join(",") };
    let shared = Shared {
        tests,
        processors: match queue.front() {
            Some(Part { kernel, .. })
                if kvm::works(&kernel.image(&setup), &initramfs, &folder)? =>
            {
                Processors::Kvm
            }
            _ => Processors::Software,
        },
        setup,
        initramfs,
        folder,
        queue: Mutex::new(queue),
        results: Mutex::new(results),
    };
    let start = Instant::now();
    thread::scope(|scope| -> Result<()> {
        let jobs = args.jobs.max(1);
        let workers: Vec<_> = (0..jobs).map(|_| scope.spawn(|| shared.work_off())).collect();
        for worker in workers {
            match worker.join() {
                Ok(result) => result?,
                Err(_) => bail!("a thread of xtask panicked"),
            }
        }
        Ok(())
    })?;
    let mut results = shared.results.into_inner().unwrap_or_else(PoisonError::into_inner);
    results.time = start.elapsed();
    Ok(results)
}

/// Where initramfs and logs go.
pub(crate) fn folder(workspace: &Workspace) -> Result<PathBuf> {
    let folder = workspace.target().join("vm");
    fs::create_dir_all(&folder).with_context(|| format!("creating {}", folder.display()))?;
    Ok(folder)
}

/// What one virtual machine runs: a kernel, with some or all backends.
#[derive(Debug)]
struct Part {
    kernel: &'static Kernel,
    /// Joined by commas, or `all`; `-` stands for the tests that are about none.
    backends: String,
    /// Tells the log from that of another part of the same kernel.
    suffix: &'static str,
}

/// The kernel of the long tests is halved, as nothing else takes as long as it does.
fn parts(kernel: &'static Kernel, backends: &[String]) -> Vec<Part> {
    const HALVES: [(&str, &str); 2] =
        [("-,syscall,socket-tracepoint", "-a"), ("socket-fentry,socket-kprobe", "-b")];
    if !backends.is_empty() {
        let words: Vec<&str> =
            backends.iter().map(|word| if word == "any" { "-" } else { word.as_str() }).collect();
        return vec![Part { kernel, backends: words.join(","), suffix: "" }];
    }
    if kernel.version != THOROUGH {
        return vec![Part { kernel, backends: "all".to_owned(), suffix: "" }];
    }
    HALVES.map(|(backends, suffix)| Part { kernel, backends: backends.to_owned(), suffix }).into()
}

/// What the virtual machines that run side by side have in common.
struct Shared {
    /// Joined by commas, or `all`.
    tests: String,
    processors: Processors,
    setup: PathBuf,
    initramfs: PathBuf,
    folder: PathBuf,
    queue: Mutex<VecDeque<Part>>,
    results: Mutex<Results>,
}

impl Shared {
    /// Takes kernels from the queue until there are no more.
    fn work_off(&self) -> Result<()> {
        loop {
            let next = self.queue.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
            let Some(part) = next else { return Ok(()) };
            self.test(&part).with_context(|| format!("Linux {}", part.kernel.version))?;
        }
    }

    fn test(&self, part: &Part) -> Result<()> {
        let (version, image) = (part.kernel.version, part.kernel.image(&self.setup));
        let log = self.folder.join(format!("{version}{}.log", part.suffix));
        let work = format!("test:{}:{}", self.tests, part.backends);
        let boot = Boot {
            kernel: &image,
            initramfs: &self.initramfs,
            work: &work,
            processors: self.processors,
            silence: SILENCE,
            limit: LIMIT,
            log: &log,
        };
        let outcome = boot.run(|text| {
            let mut results = self.results.lock().unwrap_or_else(PoisonError::into_inner);
            match Line::parse(text) {
                Some(line) => {
                    if let Some(shown) = line.shown() {
                        println!("{version:>5} {shown}");
                    }
                    if matches!(line, Line::Failed { .. }) {
                        println!("{version:>5} its output is in {}", shown(&log));
                    }
                    results.take(version, &line);
                }
                None => eprintln!("{version:>5} unknown line: {text}"),
            }
        })?;
        let mut results = self.results.lock().unwrap_or_else(PoisonError::into_inner);
        let trouble = match outcome.end {
            End::Done => None,
            End::NoBoot(how) => Some(format!("did not boot: {how}")),
            End::Crash(line) => Some(format!("kernel crash: {line}")),
            End::Hang(how) => Some(format!("hang: {how}")),
            End::Gone => Some("the machine went away without a word".to_owned()),
        };
        let stalls = outcome.stalls.iter().map(|line| format!("stall: {line}"));
        for what in trouble.into_iter().chain(stalls) {
            println!("{version:>5} FAILED {what}, see {}", shown(&log));
            results.trouble(version, &what);
        }
        results.kernel_time(version, outcome.time);
        Ok(())
    }
}

/// A path as one would type it in the checkout.
fn shown(path: &Path) -> String {
    let here = std::env::current_dir().ok();
    let below = here.and_then(|here| path.strip_prefix(here).ok().map(Path::to_owned));
    below.unwrap_or_else(|| path.to_owned()).display().to_string()
}

fn choose(versions: &[String]) -> Result<Vec<&'static Kernel>> {
    for version in versions {
        if !KERNELS.iter().any(|kernel| kernel.version == *version) {
            let all: Vec<&str> = KERNELS.iter().map(|kernel| kernel.version).collect();
            return Err(Advice::error(
                format!("no kernel {version} in the matrix"),
                format!("choose from: {}", all.join(", ")),
            ));
        }
    }
    let is_wanted = |kernel: &&Kernel| {
        versions.is_empty() || versions.iter().any(|version| version == kernel.version)
    };
    let mut chosen: Vec<&Kernel> = KERNELS.iter().filter(is_wanted).collect();
    // What takes longest begins first.
    chosen.sort_by_key(|kernel| kernel.version != THOROUGH);
    Ok(chosen)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kernels_are_chosen_by_version() {
        assert_eq!(choose(&[]).unwrap().len(), KERNELS.len());
        assert_eq!(choose(&[]).unwrap()[0].version, "6.12");
        assert_eq!(choose(&["5.10".to_owned()]).unwrap()[0].version, "5.10");
        let error = choose(&["5.1".to_owned()]).unwrap_err();
        assert!(crate::advice::remedy(&error).unwrap().contains("5.10, 6.1"));
    }

    #[test]
    fn the_long_kernel_is_halved_unless_backends_are_named() {
        let long = choose(&["6.12".to_owned()]).unwrap()[0];
        let halves = parts(long, &[]);
        assert_eq!(halves.len(), 2);
        assert!(halves[0].suffix != halves[1].suffix);
        let named = parts(long, &["any".to_owned(), "syscall".to_owned()]);
        assert_eq!((named.len(), named[0].backends.as_str()), (1, "-,syscall"));
    }
}
