//! The desk: which of what fires is told to whom. Each tick it is given all that fires and the time; it
//! gives out orders for the senders, and takes their reports.
//!
//! One *case* is one alert of one SLO from its beginning to its end, with one *line* per receiver. A line
//! goes from held (a silence, or a page of the same SLO before a ticket) to told, and on to resolved.
//! Receivers that want transitions get one order for each, which waits in the state until it is reported
//! as done; Alertmanager, which wants to be told again and again, gets what fires each minute.
//!
//! Nothing is lost or doubled by a kill at any time if each round is: [`Desk::tick`], write
//! [`Desk::unsaved`] if there is any, then send [`Desk::orders`]. An order whose report is not in the
//! state yet is given out again after a restart, with the same id.

mod case;
mod state;
#[cfg(test)]
mod tests;

use std::collections::{BTreeSet, HashMap, HashSet};

use vigie_slo::alert::{Alert, Severity};
use vigie_slo::model::Slo;

use crate::notice::{NO_DATA, Notice, State};
use crate::receiver::{Kind, Receiver};
use case::{Case, Line, Step};
pub use state::StateError;

/// Most cases that are kept: 1,000 SLOs with four alerts each that all fire.
pub const MAX_CASES: usize = 4_096;
/// Alertmanager is told so often of what fires, in seconds.
pub const REPEAT_S: i64 = 60;
/// And takes it for over so many seconds after it was told last: four times that.
pub const EXPIRES_S: i64 = 4 * REPEAT_S;
/// What is over is repeated for so many seconds: as long as a restart of Alertmanager may take.
pub const RESOLVED_S: i64 = 300;

/// An alert that fires, or one that has just ended.
#[derive(Clone, Debug)]
pub struct Firing<'a> {
    /// Its SLO, for silences and targets.
    pub slo: &'a Slo,
    /// The alert of the SLO; none: its no-data alert.
    pub alert: Option<&'a Alert>,
    /// What is to be told. One that is [`State::Resolved`] ends its case with these figures; without it
    /// a case that is not named any more ends with the figures that it had last.
    pub notice: Notice,
}

/// Something to be sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Order {
    /// Name of the receiver.
    pub receiver: String,
    /// What is told: the same for each try, after a restart, too.
    pub id: String,
    /// The case.
    pub case: String,
    /// What belongs together for `PagerDuty`: all alerts of one SLO and severity on one node.
    pub incident: String,
    /// Firing, or over.
    pub state: State,
    /// Told again and again: nobody reports on it.
    pub repeats: bool,
    /// When it was given out, in seconds since 1970.
    pub at: i64,
    /// What is told.
    pub notice: Notice,
}

/// What became of an order that is not repeated.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// Name of the receiver.
    pub receiver: String,
    /// The order's id.
    pub id: String,
    /// Whether it was taken. Otherwise it never will be.
    pub delivered: bool,
}

/// What was not told, since the start. Each is also logged by whoever exports it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Alerts that found [`MAX_CASES`] others.
    pub overflowed: u64,
    /// Orders that were not done when their receiver was taken out of the files.
    pub receiver_gone: u64,
    /// Orders that waited behind so many others that their case was forgotten.
    pub forgotten: u64,
    /// Names of targets that no receiver has, each time that an alert was to go there.
    pub unknown_targets: u64,
}

/// A receiver as the desk sees it.
#[derive(Clone, Debug)]
struct Reader {
    receiver: Receiver,
    manner: Manner,
}

/// How a receiver wants to be told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Manner {
    /// Again and again while it lasts.
    Repeat,
    /// Once for each transition.
    Once,
    /// Once, and what is of one incident is over when the last of it is.
    Incident,
}

/// Where the open case of each alert is, by its [`Case::key`].
type Open = HashMap<String, usize>;

/// See the module.
#[derive(Debug, Default)]
pub struct Desk {
    readers: Vec<Reader>,
    /// Oldest first.
    cases: Vec<Case>,
    is_unsaved: bool,
    counters: Counters,
}

impl Desk {
    /// One on which nothing lies.
    pub fn new(receivers: &[Receiver]) -> Self {
        let mut desk = Self::default();
        desk.set_receivers(receivers);
        desk
    }

    /// Takes other receivers, when the files have changed. Their senders are new, too: orders that were
    /// not done are given out again.
    pub fn set_receivers(&mut self, receivers: &[Receiver]) {
        let reader = |receiver: &Receiver| {
            let manner = match receiver.kind {
                Kind::Alertmanager { .. } => Manner::Repeat,
                Kind::PagerDuty { .. } => Manner::Incident,
                Kind::Slack { .. } | Kind::Webhook { .. } => Manner::Once,
            };
            Reader { receiver: receiver.clone(), manner }
        };
        self.readers = receivers.iter().map(reader).collect();
        for case in &mut self.cases {
            let readers = &self.readers;
            let before = case.lines.len();
            let mut lost = 0;
            case.lines.retain(|line| {
                let is_there = readers.iter().any(|reader| reader.receiver.name == line.receiver);
                lost += u64::from(!is_there && line.is_pending());
                is_there
            });
            self.counters.receiver_gone += lost;
            self.is_unsaved |= case.lines.len() < before;
            case.lines.iter_mut().for_each(Line::forget_handed);
        }
    }

    /// All that fires at `now`, in seconds since 1970. What fired before and is not there is over, so
    /// this is not to be called before evaluators have their state back.
    pub fn tick(&mut self, now: i64, firing: &[Firing<'_>]) {
        let (on, off): (Vec<_>, Vec<_>) =
            firing.iter().partition(|firing| firing.notice.state == State::Firing);
        let mut open = self.make_room(&on);
        for firing in &on {
            self.open(firing, &mut open);
        }
        self.end_all(now, &on, &off);
        let paging: BTreeSet<&str> = on
            .iter()
            .filter(|firing| firing.notice.severity == Severity::Page)
            .map(|firing| firing.slo.name.as_str())
            .collect();
        for firing in &on {
            self.tell(now, firing, &paging, &open);
        }
        self.tidy(now);
    }

    /// What is to be sent at `now`. Call it when [`Self::unsaved`] has been written.
    pub fn orders(&mut self, now: i64) -> Vec<Order> {
        let mut orders = Vec::new();
        for case in &mut self.cases {
            for reader in &self.readers {
                let name = &reader.receiver.name;
                let Some(at) = case.lines.iter().position(|line| line.receiver == *name) else {
                    continue;
                };
                for state in case.due(at, reader.manner == Manner::Repeat, now) {
                    orders.push(case.order(name, state, reader.manner == Manner::Repeat, now));
                }
            }
        }
        orders
    }

    /// What a sender says. Of an order that nobody knows any more: nothing.
    pub fn report(&mut self, report: &Report) {
        let step = if report.delivered { Step::Done } else { Step::GaveUp };
        for case in &mut self.cases {
            self.is_unsaved |= case.report(report, step);
        }
    }

    /// What is not told, counted.
    pub fn counters(&self) -> Counters {
        self.counters
    }

    /// Cases that fire or are being told.
    pub fn len(&self) -> usize {
        self.cases.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.cases.is_empty()
    }

    /// Where the open case of each alert is, once there is room for those that are new: the oldest that
    /// are over are forgotten for it.
    fn make_room(&mut self, on: &[&Firing<'_>]) -> Open {
        let open = self.index();
        let new = on.iter().filter(|firing| !open.contains_key(&Case::key(&firing.notice))).count();
        let mut surplus = (self.cases.len() + new).saturating_sub(MAX_CASES);
        if surplus == 0 {
            return open;
        }
        let forgotten = &mut self.counters.forgotten;
        self.cases.retain(|case| {
            let goes = surplus > 0 && case.notice.state == State::Resolved;
            if goes {
                surplus -= 1;
                *forgotten += case.lines.iter().filter(|line| line.is_pending()).count() as u64;
            }
            !goes
        });
        self.index()
    }

    fn index(&self) -> Open {
        let cases = self.cases.iter().enumerate();
        let open = cases.filter(|(_, case)| case.notice.state == State::Firing);
        open.map(|(index, case)| (Case::key(&case.notice), index)).collect()
    }

    /// Opens a case, or brings its figures up to date. Onset and beginning stay what they were first:
    /// Alertmanager would take another onset for another alert.
    fn open(&mut self, firing: &Firing<'_>, open: &mut Open) {
        let mut notice = firing.notice.clone();
        notice.bound();
        let key = Case::key(&notice);
        if let Some(case) = open.get(&key).and_then(|index| self.cases.get_mut(*index)) {
            notice.starts_at = case.notice.starts_at;
            notice.fired_at = case.notice.fired_at;
            case.notice = notice;
            return;
        }
        if self.cases.len() >= MAX_CASES {
            self.counters.overflowed += 1;
            return;
        }
        let targets = targets(firing);
        let is_there =
            |name: &&&str| self.readers.iter().any(|reader| reader.receiver.name == **name);
        let unknown = targets.iter().filter(|name| !is_there(name)).count();
        self.counters.unknown_targets += unknown as u64;
        let tell_resolved = firing.alert.is_none_or(|alert| alert.tell_resolved);
        open.insert(key, self.cases.len());
        self.cases.push(Case::new(notice, tell_resolved));
        self.is_unsaved = true;
    }

    /// Ends what does not fire any more.
    fn end_all(&mut self, now: i64, on: &[&Firing<'_>], off: &[&Firing<'_>]) {
        let on: HashSet<String> = on.iter().map(|firing| Case::key(&firing.notice)).collect();
        let off: HashMap<String, &Notice> =
            off.iter().map(|firing| (Case::key(&firing.notice), &firing.notice)).collect();
        let mut ended = Vec::new();
        for (index, case) in self.cases.iter_mut().enumerate() {
            let key = Case::key(&case.notice);
            if case.notice.state == State::Resolved || on.contains(&key) {
                continue;
            }
            case.end(now, off.get(&key).copied());
            ended.push(index);
        }
        self.is_unsaved |= !ended.is_empty();
        // After all have ended: the last of an incident ends it.
        for index in ended {
            for reader in 0..self.readers.len() {
                self.resolve(index, reader);
            }
        }
    }

    /// Makes the end of a case known to one receiver, if its beginning was.
    fn resolve(&mut self, index: usize, reader: usize) {
        let (Some(case), Some(reader)) = (self.cases.get(index), self.readers.get(reader)) else {
            return;
        };
        let name = &reader.receiver.name;
        let goes_on = reader.manner == Manner::Incident
            && self.cases.iter().any(|other| {
                other.notice.state == State::Firing
                    && other.incident() == case.incident()
                    && other.line(name).is_some_and(Line::was_told)
            });
        let tell = case.tell_resolved && !goes_on;
        let Some(case) = self.cases.get_mut(index) else { return };
        let Some(line) = case.lines.iter_mut().find(|line| line.receiver == *name) else { return };
        if tell && line.was_told() {
            line.resolve = Step::Pending;
            line.next_at = i64::MIN;
        }
    }

    /// Lets go what is held, where nothing holds it back any more.
    fn tell(&mut self, now: i64, firing: &Firing<'_>, paging: &BTreeSet<&str>, open: &Open) {
        let Self { readers, cases, .. } = self;
        let key = Case::key(&firing.notice);
        let Some(case) = open.get(&key).and_then(|index| cases.get_mut(*index)) else { return };
        let targets = targets(firing);
        let is_wanted = |reader: &&Reader| {
            let Receiver { name, .. } = &reader.receiver;
            (targets.is_empty() || targets.contains(name.as_str()))
                && reader.receiver.wants(&case.notice.severity)
        };
        let waiting: Vec<&Reader> = readers
            .iter()
            .filter(is_wanted)
            .filter(|reader| case.line(&reader.receiver.name).is_none())
            .collect();
        if waiting.is_empty() {
            return;
        }
        let is_behind =
            case.notice.severity == Severity::Ticket && paging.contains(firing.slo.name.as_str());
        if is_behind || firing.slo.silences.iter().any(|silence| silence.is_on(now)) {
            return;
        }
        let repeats = |reader: &&Reader| reader.manner == Manner::Repeat;
        let line = |reader: &&Reader| Line::told(&reader.receiver.name, repeats(reader));
        let lines: Vec<Line> = waiting.iter().map(line).collect();
        case.lines.extend(lines);
        // For Alertmanager both are one alert: the end of the last time must not end this one.
        let over = cases
            .iter_mut()
            .filter(|case| case.notice.state == State::Resolved && Case::key(&case.notice) == key);
        for line in over.flat_map(|case| &mut case.lines) {
            let is = |reader: &&&Reader| reader.receiver.name == line.receiver;
            if waiting.iter().find(is).is_some_and(repeats) {
                line.resolve = Step::Done;
            }
        }
        self.is_unsaved = true;
    }

    /// Takes away what is over and told.
    fn tidy(&mut self, now: i64) {
        let before = self.cases.len();
        let readers = &self.readers;
        let repeats = |line: &Line| {
            let is = |reader: &&Reader| reader.receiver.name == line.receiver;
            readers.iter().find(is).is_some_and(|reader| reader.manner == Manner::Repeat)
        };
        self.cases.retain(|case| !case.is_finished(now, repeats));
        self.is_unsaved |= self.cases.len() < before;
    }
}

/// Names of the targets that an alert is for. Empty: all. The no-data alert is for all that any alert of
/// its SLO is for.
fn targets<'a>(firing: &Firing<'a>) -> BTreeSet<&'a str> {
    match firing.alert {
        Some(alert) => alert.targets.iter().map(String::as_str).collect(),
        None if firing.slo.alerts.iter().any(|alert| alert.targets.is_empty()) => BTreeSet::new(),
        None => {
            let all = firing.slo.alerts.iter().flat_map(|alert| &alert.targets);
            all.map(String::as_str).collect()
        }
    }
}

/// Name of the alert that a notice of `alert` has.
pub fn alert_name(alert: Option<&Alert>) -> &str {
    alert.map_or(NO_DATA, |alert| &alert.name)
}
