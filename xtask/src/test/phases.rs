//! Where the time of a test run goes.

use std::fmt;
use std::time::{Duration, Instant};

/// The phases so far, in order.
#[derive(Debug, Default)]
pub(super) struct Phases {
    ended: Vec<(&'static str, Duration)>,
}

impl Phases {
    /// Does one phase and notes how long it took.
    pub(super) fn time<T>(&mut self, name: &'static str, phase: impl FnOnce() -> T) -> T {
        let start = Instant::now();
        let result = phase();
        self.ended.push((name, start.elapsed()));
        result
    }
}

impl fmt::Display for Phases {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (name, length) in &self.ended {
            write!(f, "{name} {:.0} s, ", length.as_secs_f64())?;
        }
        let all: Duration = self.ended.iter().map(|(_, length)| *length).sum();
        write!(f, "{:.0} s in all", all.as_secs_f64())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn phases_are_listed_and_summed() {
        let mut phases = Phases::default();
        assert_eq!(phases.time("set-up", || 7), 7);
        phases.ended =
            vec![("set-up", Duration::from_millis(900)), ("agent", Duration::from_millis(2600))];
        assert_eq!(phases.to_string(), "set-up 1 s, agent 3 s, 4 s in all");
    }
}
