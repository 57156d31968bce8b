//! The budget: what vigie does without when it costs more than it may, and when it comes back.
//!
//! The decision is here and knows no clock: it is told what was used in a stretch of time
//! ([`usage`] measures that). Past the budget for [`Budget::shed_after`], one more thing is given up, in the
//! order of [`Level`]; well below it for long enough, the last one comes back. Giving something up
//! lowers the use, so a return may be followed by the next excess: the wait before the next return is
//! then doubled, up to a bound.

#![forbid(unsafe_code)]

pub mod usage;

use std::time::Duration;

/// What is given up, each level with all before it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// Nothing.
    #[default]
    Full,
    /// Large messages: less of each is copied.
    Payload,
    /// Spans: they are counted, and neither printed nor exported.
    Spans,
    /// Records: nothing but the kernel's counts is left.
    Counts,
}

impl Level {
    /// All levels in their order.
    pub const ALL: [Self; 4] = [Self::Full, Self::Payload, Self::Spans, Self::Counts];

    /// Name as messages and reports have it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Full => "full",
            Self::Payload => "payload",
            Self::Spans => "spans",
            Self::Counts => "counts",
        }
    }

    /// What is given up at this level, as a person reads it.
    pub const fn gives_up(self) -> &'static str {
        match self {
            Self::Full => "nothing",
            Self::Payload => "less of each message is copied",
            Self::Spans => "less is copied, and spans are neither printed nor exported",
            Self::Counts => "no records are made: only what the kernel programs count remains",
        }
    }

    fn next(self) -> Self {
        match self {
            Self::Full => Self::Payload,
            Self::Payload => Self::Spans,
            Self::Spans | Self::Counts => Self::Counts,
        }
    }

    fn previous(self) -> Self {
        match self {
            Self::Full | Self::Payload => Self::Full,
            Self::Spans => Self::Payload,
            Self::Counts => Self::Spans,
        }
    }
}

/// What may be used.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Budget {
    /// CPU time of vigie and of its kernel programs, as a share of all CPUs of the machine: 0 to 1.
    pub cpu: f64,
    /// Resident memory in bytes.
    pub memory: u64,
    /// How long it must be passed before the next thing is given up. Time below counts against it.
    pub shed_after: Duration,
    /// How long the use must be low before something comes back, at first.
    pub return_after: Duration,
}

impl Budget {
    /// Memory above this is not little.
    fn calm_memory(self) -> u64 {
        #[expect(clippy::cast_sign_loss, clippy::cast_possible_truncation, reason = "saturates")]
        let memory = (self.memory as f64 * CALM_MEMORY) as u64;
        memory
    }
}

/// What is used.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Usage {
    /// As in [`Budget::cpu`].
    pub cpu: f64,
    /// As in [`Budget::memory`].
    pub memory: u64,
}

impl Usage {
    fn is_over(self, budget: Budget) -> bool {
        self.cpu > budget.cpu || self.memory > budget.memory
    }

    fn is_calm(self, budget: Budget) -> bool {
        self.cpu <= budget.cpu * CALM_CPU && self.memory <= budget.calm_memory()
    }
}

/// An excess within so many times [`Budget::return_after`] after a return was made by it.
const RELAPSE: u32 = 4;

/// The longest wait is so many times [`Budget::return_after`].
const MOST_PATIENCE: u32 = 20;

/// Low is below this part of the budget of CPU time.
const CALM_CPU: f64 = 0.7;

/// Low is below this part of the budget of memory, which allocators give back slowly.
const CALM_MEMORY: f64 = 0.9;

/// What has become of the budget so far.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct State {
    /// What may be used.
    pub budget: Budget,
    /// Now.
    pub level: Level,
    /// The highest level so far.
    pub highest: Level,
    /// Time above [`Level::Full`].
    pub shed_for: Duration,
    /// What was used last.
    pub usage: Usage,
}

/// A change of level.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Change {
    /// The level before.
    pub from: Level,
    /// The level from now on.
    pub to: Level,
}

/// Decides.
#[derive(Clone, Debug)]
pub struct Governor {
    state: State,
    over_for: Duration,
    calm_for: Duration,
    patience: Duration,
    /// Since something came back.
    since_return: Duration,
}

impl Governor {
    /// Nothing is given up yet.
    pub fn new(budget: Budget) -> Self {
        Self {
            state: State { budget, ..State::default() },
            over_for: Duration::ZERO,
            calm_for: Duration::ZERO,
            patience: budget.return_after,
            since_return: Duration::MAX,
        }
    }

    /// Takes note of what was used in the last `elapsed`, and decides.
    pub fn observe(&mut self, usage: Usage, elapsed: Duration) -> Option<Change> {
        self.state.usage = usage;
        if self.state.level > Level::Full {
            self.state.shed_for += elapsed;
        }
        self.since_return = self.since_return.saturating_add(elapsed);
        let calm = usage.is_calm(self.state.budget);
        self.calm_for = if calm { self.calm_for + elapsed } else { Duration::ZERO };
        self.over_for = if usage.is_over(self.state.budget) {
            self.over_for + elapsed
        } else {
            self.over_for.saturating_sub(elapsed)
        };
        let from = self.state.level;
        let Budget { shed_after, return_after, .. } = self.state.budget;
        if self.over_for >= shed_after && from < Level::Counts {
            if self.since_return < return_after * RELAPSE {
                self.patience = (self.patience * 2).min(return_after * MOST_PATIENCE);
            } else if from == Level::Full {
                self.patience = return_after;
            }
            Some(self.change(from.next()))
        } else if self.calm_for >= self.patience && from > Level::Full {
            self.since_return = Duration::ZERO;
            Some(self.change(from.previous()))
        } else {
            None
        }
    }

    /// What has become of it.
    pub fn state(&self) -> State {
        self.state
    }

    /// Whether more than half of the budget is used: it is then worth to look more often.
    pub fn is_near(&self) -> bool {
        self.state.level > Level::Full || self.state.usage.cpu > self.state.budget.cpu / 2.0
    }

    fn change(&mut self, to: Level) -> Change {
        let from = self.state.level;
        self.state.level = to;
        self.state.highest = self.state.highest.max(to);
        (self.over_for, self.calm_for) = (Duration::ZERO, Duration::ZERO);
        Change { from, to }
    }
}

#[cfg(test)]
mod tests;
