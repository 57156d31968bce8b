//! What the guests say, and the table of it.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

/// One line from a guest; see `tests/vm/src/say.rs`.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Line {
    Begin,
    Passed { test: String, backend: String, seconds: f64 },
    Failed { test: String, backend: String, seconds: f64, reason: String },
    Skipped { test: String, backend: String, reason: String },
    Log,
    Done,
}

impl Line {
    /// `None` where it is no such line.
    pub(crate) fn parse(line: &str) -> Option<Self> {
        let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
        let mut parts = rest.splitn(4, ' ').map(str::to_owned);
        let mut next = || parts.next();
        match word {
            "begin" => Some(Self::Begin),
            "done" => Some(Self::Done),
            "log" => Some(Self::Log),
            "ok" => {
                let (test, backend, seconds) = (next()?, next()?, next()?.parse().ok()?);
                Some(Self::Passed { test, backend, seconds })
            }
            "fail" => {
                let (test, backend, seconds) = (next()?, next()?, next()?.parse().ok()?);
                Some(Self::Failed { test, backend, seconds, reason: next().unwrap_or_default() })
            }
            "skip" => {
                let mut parts = rest.splitn(3, ' ').map(str::to_owned);
                let (test, backend) = (parts.next()?, parts.next()?);
                Some(Self::Skipped { test, backend, reason: parts.next().unwrap_or_default() })
            }
            _ => None,
        }
    }

    /// What is shown while it goes on.
    pub(crate) fn shown(&self) -> Option<String> {
        match self {
            Self::Passed { test, backend, seconds } => {
                Some(format!("{:<14} {test} ok ({seconds:.1} s)", place(backend)))
            }
            Self::Failed { test, backend, seconds, reason } => {
                let place = place(backend);
                Some(format!("{place:<14} {test} FAILED ({seconds:.1} s): {reason}"))
            }
            Self::Skipped { test, backend, reason } => {
                Some(format!("{:<14} {test} skipped: {reason}", place(backend)))
            }
            // In the log file, for those who look further than the reason.
            Self::Log | Self::Begin | Self::Done => None,
        }
    }
}

/// The backend, where a test is about one.
fn place(backend: &str) -> &str {
    if backend == "-" { "any" } else { backend }
}

/// Counts of one kernel and backend.
#[derive(Clone, Debug, Default)]
struct Row {
    passed: u64,
    failed: u64,
    skipped: u64,
    seconds: f64,
}

/// Results of all kernels.
#[derive(Debug, Default)]
pub(crate) struct Results {
    /// By kernel, in the order of the versions, then by backend.
    rows: BTreeMap<((u32, u32), String), Row>,
    /// Time of each kernel, its boot included.
    kernels: BTreeMap<(u32, u32), Duration>,
    skipped: Vec<String>,
    failures: Vec<String>,
    /// Time of the whole matrix.
    pub(crate) time: Duration,
}

impl Results {
    /// Takes one line of a guest.
    pub(crate) fn take(&mut self, kernel: &str, line: &Line) {
        match line {
            Line::Passed { backend, seconds, .. } => {
                let row = self.row(kernel, backend);
                row.passed += 1;
                row.seconds += seconds;
            }
            Line::Failed { test, backend, seconds, reason } => {
                let row = self.row(kernel, backend);
                row.failed += 1;
                row.seconds += seconds;
                let place = place(backend);
                self.failures.push(format!("Linux {kernel}, {place}, {test}: {reason}"));
            }
            Line::Skipped { test, backend, reason } => {
                self.row(kernel, backend).skipped += 1;
                let place = place(backend);
                self.skipped.push(format!("Linux {kernel}, {place}, {test}: {reason}"));
            }
            Line::Begin | Line::Log | Line::Done => {}
        }
    }

    /// Something that could not run at all.
    pub(crate) fn skip(&mut self, what: &str, why: &str) {
        self.skipped.push(format!("{what}: {why}"));
    }

    /// A failure of the machine instead of a test.
    pub(crate) fn trouble(&mut self, kernel: &str, what: &str) {
        self.row(kernel, "-").failed += 1;
        self.failures.push(format!("Linux {kernel}: {what}"));
    }

    /// How long a kernel, or a part of its tests, took.
    pub(crate) fn kernel_time(&mut self, kernel: &str, time: Duration) {
        *self.kernels.entry(numbers(kernel)).or_default() += time;
    }

    pub(crate) fn passed(&self) -> u64 {
        self.rows.values().map(|row| row.passed).sum()
    }

    pub(crate) fn failed(&self) -> u64 {
        self.rows.values().map(|row| row.failed).sum()
    }

    /// What was skipped, with the reasons.
    pub(crate) fn skipped(&self) -> &[String] {
        &self.skipped
    }

    fn row(&mut self, kernel: &str, backend: &str) -> &mut Row {
        self.rows.entry((numbers(kernel), place(backend).to_owned())).or_default()
    }
}

fn numbers(version: &str) -> (u32, u32) {
    let mut numbers = version.split('.').filter_map(|part| part.parse().ok());
    (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0))
}

impl fmt::Display for Results {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for failure in &self.failures {
            writeln!(f, "FAILED: {failure}")?;
        }
        for skipped in &self.skipped {
            writeln!(f, "skipped: {skipped}")?;
        }
        writeln!(f, "kernel  backend            tests failed skipped seconds")?;
        for (((major, minor), backend), row) in &self.rows {
            writeln!(
                f,
                "{:<7} {backend:<17} {:>6} {:>6} {:>7} {:>7.0}",
                format!("{major}.{minor}"),
                row.passed + row.failed,
                row.failed,
                row.skipped,
                row.seconds
            )?;
        }
        let times: Vec<String> = self
            .kernels
            .iter()
            .map(|((major, minor), time)| format!("{major}.{minor}: {:.0} s", time.as_secs_f64()))
            .collect();
        writeln!(f, "with boot: {}; in all {:.0} s", times.join(", "), self.time.as_secs_f64())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_become_rows() {
        let mut results = Results::default();
        for line in [
            "begin check syscall",
            "ok check syscall 1.5",
            "fail accuracy syscall 20.0 kept: 9 instead of 10",
            "log something",
            "skip io_uring syscall before Linux 6.1",
            "ok without_btf - 0.5",
            "done",
        ] {
            results.take("5.10", &Line::parse(line).unwrap());
        }
        assert_eq!((results.passed(), results.failed(), results.skipped().len()), (2, 1, 1));
        let text = results.to_string();
        assert!(text.contains("FAILED: Linux 5.10, syscall, accuracy: kept: 9 instead of 10"));
        assert!(text.contains("5.10    syscall                2      1       1      22"), "{text}");
        assert!(text.contains("5.10    any                    1      0       0"), "{text}");
    }

    #[test]
    fn other_lines_are_none() {
        assert_eq!(Line::parse("hello"), None);
        assert_eq!(Line::parse("ok check syscall soon"), None);
    }

    #[test]
    fn kernels_are_in_the_order_of_their_versions() {
        let mut results = Results::default();
        for kernel in ["6.12", "5.10", "6.1"] {
            results.take(kernel, &Line::parse("ok check syscall 1").unwrap());
        }
        let text = results.to_string();
        assert!(
            text.find("\n5.10") < text.find("\n6.1 ") && text.find("\n6.1 ") < text.find("\n6.12")
        );
    }
}
