//! One alert of one SLO from its beginning to its end, and how far each receiver has been told.

use serde::{Deserialize, Serialize};

use super::{Order, REPEAT_S, RESOLVED_S, Report};
use crate::notice::{Notice, State};

/// How far one transition has been told to one receiver.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Step {
    /// It is not to be told.
    #[default]
    No,
    /// It is to be told; it may have been, as far as is known.
    Pending,
    /// It was told.
    Done,
    /// It could not be told, and will not be.
    GaveUp,
}

/// One receiver of a case. There is one once it is told.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Line {
    pub(super) receiver: String,
    pub(super) fire: Step,
    #[serde(default)]
    pub(super) resolve: Step,
    /// Transitions that the senders have: not kept, so that a restart gives them out again.
    #[serde(skip)]
    handed: [bool; 2],
    /// When it is due again, for receivers that are told again and again.
    #[serde(skip, default = "at_once")]
    pub(super) next_at: i64,
}

fn at_once() -> i64 {
    i64::MIN
}

impl Line {
    /// Nobody reports on what is told again and again: that is done at once.
    pub(super) fn told(receiver: &str, repeats: bool) -> Self {
        Self {
            receiver: receiver.to_owned(),
            fire: if repeats { Step::Done } else { Step::Pending },
            resolve: Step::No,
            handed: [false; 2],
            next_at: at_once(),
        }
    }

    /// Whether the receiver knows, or may know.
    pub(super) fn was_told(&self) -> bool {
        matches!(self.fire, Step::Pending | Step::Done)
    }

    pub(super) fn is_pending(&self) -> bool {
        self.fire == Step::Pending || self.resolve == Step::Pending
    }

    pub(super) fn forget_handed(&mut self) {
        self.handed = [false; 2];
        self.next_at = at_once();
    }
}

/// See the module.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Case {
    pub(super) notice: Notice,
    pub(super) tell_resolved: bool,
    pub(super) lines: Vec<Line>,
}

impl Case {
    pub(super) fn new(notice: Notice, tell_resolved: bool) -> Self {
        Self { notice, tell_resolved, lines: Vec::new() }
    }

    /// Names an alert of an SLO, whichever case of it.
    pub(super) fn key(notice: &Notice) -> String {
        format!("{}/{}", notice.slo, notice.alert)
    }

    pub(super) fn line(&self, receiver: &str) -> Option<&Line> {
        self.lines.iter().find(|line| line.receiver == receiver)
    }

    /// Names it among all cases of all nodes: an alert that fires again is another case.
    fn name(&self) -> String {
        let Notice { slo, alert, node, fired_at, .. } = &self.notice;
        format!("{slo}/{alert}/{node}/{fired_at}")
    }

    pub(super) fn incident(&self) -> String {
        let Notice { slo, severity, node, .. } = &self.notice;
        format!("vigie/{slo}/{}/{node}", severity.word())
    }

    fn id(&self, state: State) -> String {
        format!("{}/{}", self.name(), state.word())
    }

    pub(super) fn end(&mut self, now: i64, last: Option<&Notice>) {
        let (starts_at, fired_at) = (self.notice.starts_at, self.notice.fired_at);
        let ended_at = last.and_then(|last| last.ended_at).unwrap_or(now);
        let mut notice = last.unwrap_or(&self.notice).clone();
        notice.bound();
        self.notice = Notice { starts_at, fired_at, ..notice }.resolved(ended_at);
    }

    /// Transitions that one line is to be told now; they count as handed out.
    pub(super) fn due(&mut self, at: usize, repeats: bool, now: i64) -> Vec<State> {
        let state = self.notice.state;
        let ended_at = self.notice.ended_at.unwrap_or(now);
        let Some(line) = self.lines.get_mut(at) else { return Vec::new() };
        if repeats {
            let is_due = match state {
                // A clock that was set back must not let it expire.
                State::Firing => now >= line.next_at || line.next_at > now.saturating_add(REPEAT_S),
                State::Resolved => {
                    line.resolve == Step::Pending
                        && now >= line.next_at
                        && now <= ended_at.saturating_add(RESOLVED_S)
                }
            };
            if !is_due {
                return Vec::new();
            }
            line.next_at = now + REPEAT_S;
            return vec![state];
        }
        let [fire, resolve] = &mut line.handed;
        let mut due = Vec::new();
        for (step, handed, state) in
            [(line.fire, fire, State::Firing), (line.resolve, resolve, State::Resolved)]
        {
            if step == Step::Pending && !*handed {
                *handed = true;
                due.push(state);
            }
        }
        due
    }

    pub(super) fn order(&self, receiver: &str, state: State, repeats: bool, now: i64) -> Order {
        let mut notice = self.notice.clone();
        if state == State::Firing {
            // Over already, before anybody could be told that it began.
            notice.state = State::Firing;
            notice.ended_at = None;
        }
        Order {
            receiver: receiver.to_owned(),
            id: self.id(state),
            case: self.name(),
            incident: self.incident(),
            state,
            repeats,
            at: now,
            notice,
        }
    }

    /// Whether the report was of this case and changed something.
    pub(super) fn report(&mut self, report: &Report, step: Step) -> bool {
        let Some(state) =
            [State::Firing, State::Resolved].into_iter().find(|state| report.id == self.id(*state))
        else {
            return false;
        };
        let Some(line) = self.lines.iter_mut().find(|line| line.receiver == report.receiver) else {
            return false;
        };
        match state {
            State::Firing if line.fire == Step::Pending => {
                line.fire = step;
                // What was never told does not end.
                if step == Step::GaveUp && line.resolve == Step::Pending {
                    line.resolve = Step::GaveUp;
                }
                true
            }
            State::Resolved if line.resolve == Step::Pending => {
                line.resolve = step;
                true
            }
            _ => false,
        }
    }

    /// Whether it is over and all who are to know it do.
    pub(super) fn is_finished(&self, now: i64, repeats: impl Fn(&Line) -> bool) -> bool {
        let Some(ended_at) = self.notice.ended_at else { return false };
        self.lines.iter().all(|line| {
            if repeats(line) {
                line.resolve != Step::Pending || now > ended_at.saturating_add(RESOLVED_S)
            } else {
                !line.is_pending()
            }
        })
    }
}
