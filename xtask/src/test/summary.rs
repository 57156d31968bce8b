//! Sums of many `cargo test` suites, from what libtest prints.

use std::fmt;

/// Counts over all suites.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Summary {
    passed: u64,
    failed: u64,
    ignored: u64,
    skipped: Vec<String>,
}

impl Summary {
    /// Takes one line of output; every line but a suite's closing line changes nothing.
    pub(super) fn add_line(&mut self, line: &str) {
        let Some((_, counts)) = closing_line(line) else { return };
        for part in counts.split(';') {
            let Some((count, what)) = part.trim().split_once(' ') else { continue };
            let Ok(count) = count.parse::<u64>() else { continue };
            match what {
                "passed" => self.passed += count,
                "failed" => self.failed += count,
                "ignored" => self.ignored += count,
                _ => {}
            }
        }
    }

    /// Takes the lines `NAME: REASON` of tests that ended early because they cannot run here.
    /// Libtest has counted each of them as passed.
    pub(super) fn add_skipped(&mut self, lines: &str) {
        let lines = lines.lines().map(str::trim).filter(|line| !line.is_empty());
        for line in lines {
            self.passed = self.passed.saturating_sub(1);
            self.skipped.push(line.to_owned());
        }
    }

    /// Takes the results of the tests in virtual machines.
    pub(super) fn add_machines(&mut self, passed: u64, failed: u64, skipped: &[String]) {
        self.passed += passed;
        self.failed += failed;
        self.skipped.extend_from_slice(skipped);
    }

    /// A suite failed without a closing line.
    pub(super) fn add_crash(&mut self) {
        self.failed += 1;
    }

    /// Tests that failed.
    pub(super) fn failed(&self) -> u64 {
        self.failed
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for line in &self.skipped {
            writeln!(f, "skipped: {line}")?;
        }
        let skipped = self.ignored + self.skipped.len() as u64;
        writeln!(f, "{} passed, {} failed, {skipped} skipped", self.passed, self.failed)
    }
}

/// Verdict and counts of `test result: VERDICT. COUNTS`. With `--nocapture` a test's own unfinished
/// line may stand before it.
fn closing_line(line: &str) -> Option<(&str, &str)> {
    let start = line.find("test result: ")?;
    line.get(start..)?.strip_prefix("test result: ")?.split_once(". ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sum(lines: &[&str]) -> Summary {
        let mut summary = Summary::default();
        for line in lines {
            summary.add_line(line);
        }
        summary
    }

    #[test]
    fn sums_suites() {
        let summary = sum(&[
            "running 5 tests",
            "test passed ... ok",
            "test result: ok. 5 passed; 0 failed; 1 ignored; 0 measured; 2 filtered out; finished in 0.01s",
            "test result: FAILED. 2 passed; 3 failed; 0 ignored; 0 measured; 0 filtered out; finished in 1.20s\n",
        ]);
        assert_eq!(summary.to_string(), "7 passed, 3 failed, 1 skipped\n");
        assert_eq!(summary.failed(), 3);
    }

    #[test]
    fn other_lines_count_nothing() {
        assert_eq!(sum(&["test result:", "12 passed", "test result: ok"]), Summary::default());
    }

    #[test]
    fn skipped_tests_are_listed_and_not_passed() {
        let mut summary = sum(&["test result: ok. 3 passed; 0 failed; 0 ignored"]);
        summary.add_skipped("otlp: no rotel\n\n");
        assert_eq!(summary.to_string(), "skipped: otlp: no rotel\n2 passed, 0 failed, 1 skipped\n");
    }

    #[test]
    fn virtual_machines_are_counted() {
        let mut summary = sum(&["test result: ok. 3 passed; 0 failed; 0 ignored"]);
        summary.add_machines(7, 1, &["Linux 7.2: no package".to_owned()]);
        assert_eq!(
            summary.to_string(),
            "skipped: Linux 7.2: no package\n10 passed, 1 failed, 1 skipped\n"
        );
    }

    #[test]
    fn a_suite_that_dies_is_a_failure() {
        let mut summary = sum(&["test result: ok. 3 passed; 0 failed; 0 ignored"]);
        summary.add_crash();
        assert_eq!(summary.failed(), 1);
    }
}
