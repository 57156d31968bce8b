//! A switch for tests: on SIGUSR1 the reader stops for a while, as if the machine had no time for it.
//!
//! Only with `VIGIE_DEBUG_STOP_READER`, a period such as `10s`.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crate::config::Period;

/// Name of the variable.
pub const VARIABLE: &str = "VIGIE_DEBUG_STOP_READER";

/// How often it is looked whether vigie is to end.
const STEP: Duration = Duration::from_millis(10);

/// The switch.
#[derive(Debug)]
pub struct Pause {
    period: Duration,
    asked: Arc<AtomicBool>,
}

impl Pause {
    /// The switch, where the variable asks for it.
    pub fn from_environment() -> Result<Option<Self>, PauseError> {
        let Some(value) = std::env::var_os(VARIABLE) else { return Ok(None) };
        let text = value.to_string_lossy();
        let Period(period) = text.parse().map_err(|_| PauseError::Value(text.into_owned()))?;
        let asked = Arc::new(AtomicBool::new(false));
        signal_hook::flag::register(signal_hook::consts::SIGUSR1, Arc::clone(&asked))
            .map_err(PauseError::Signal)?;
        Ok(Some(Self { period, asked }))
    }

    /// Sleeps if it was asked for, until the time is over or `stop` is set.
    pub(super) fn take(&self, stop: &AtomicBool) {
        if !self.asked.swap(false, Ordering::AcqRel) {
            return;
        }
        let begun = Instant::now();
        while begun.elapsed() < self.period && !stop.load(Ordering::Acquire) {
            std::thread::sleep(STEP.min(self.period));
        }
    }
}

/// Why the switch cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum PauseError {
    /// No period.
    #[error("`{0}` in {VARIABLE} is no period: write one like `10s`")]
    Value(String),
    /// The signal cannot be taken.
    #[error("SIGUSR1 cannot be taken: {0}; unset {VARIABLE}")]
    Signal(std::io::Error),
}
