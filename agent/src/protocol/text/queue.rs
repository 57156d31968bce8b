//! Requests in flight and what becomes of them.

use std::collections::VecDeque;

use super::lines::{Found, Next};
use super::{Answered, Asks, Belongs, Dialogue, Outcome, Pending, Says};
use crate::event::MonoNs;
use crate::protocol::in_flight::Look;
use crate::protocol::waiting::{Asked, Waiting};
use crate::protocol::{At, Call, Limits, Problem, Role, Sink};
use crate::span::Flags;
use crate::span::database::DatabaseError;

/// Answers that are kept until their requests come.
const MAX_EARLY: usize = 64;

/// An answer that came before its request. With several threads the record of a fast answer can
/// overtake that of its request's write; and a server may refuse what it has not read to its end.
#[derive(Debug)]
struct Early<A> {
    answer: A,
    begin: At,
    end: At,
}

/// Why no more answers are read as before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ended {
    /// It was the last one.
    Last,
    /// What looked like requests is no conversation.
    Foreign,
    /// The directions were taken for each other.
    Reversed,
}

/// The queue of one connection.
#[derive(Debug)]
pub(super) struct Queue<D: Dialogue> {
    role: Role,
    pub(super) dialogue: D,
    waiting: Waiting<Pending<D::Request>>,
    early: VecDeque<Early<D::Answer>>,
    /// Requests went by unseen, and answers to them may come.
    pub(super) hidden: bool,
    /// The first byte of the request that is being read.
    asking: Option<At>,
    /// The first byte of the answer that is being read.
    answering: Option<At>,
    /// An answer was read that belongs to a request.
    pub(super) confirmed: bool,
    /// An answer said that no more of them follow as before, and why.
    pub(super) ended: Option<Ended>,
}

impl<D: Dialogue> Queue<D> {
    pub(super) fn new(role: Role, limits: Limits, dialogue: D) -> Self {
        Self {
            role,
            dialogue,
            waiting: Waiting::new(limits.in_flight),
            early: VecDeque::new(),
            hidden: false,
            asking: None,
            answering: None,
            confirmed: false,
            ended: None,
        }
    }

    pub(super) fn role(&self) -> Role {
        self.role
    }

    /// Whether a request is being read.
    pub(super) fn is_asking(&self) -> bool {
        self.asking.is_some()
    }

    /// The next line or block of requests, which began at `begin` and is whole at `at`.
    pub(super) fn request(
        &mut self,
        found: Found<'_>,
        begin: &At,
        at: &At,
        sink: &mut dyn Sink,
    ) -> Option<Next> {
        let begin = *self.asking.get_or_insert(*begin);
        let asks = self.dialogue.ask(found)?;
        let next = match asks {
            Asks::More(next) => return Some(next),
            Asks::Nothing(next) => next,
            Asks::Request(next, request, answered) => {
                self.asked(request, answered, &begin, at, sink);
                next
            }
        };
        self.asking = None;
        Some(next)
    }

    fn asked(
        &mut self,
        request: D::Request,
        answered: Answered,
        begin: &At,
        at: &At,
        sink: &mut dyn Sink,
    ) {
        let mut asked = Asked::new(self.role, begin, Pending { request, unsure: self.hidden });
        if answered == Answered::Never {
            self.report_unseen(asked, Flags::none(), at.exit_ns, sink);
            return;
        }
        while self.waiting.is_empty()
            && let Some(early) = self.early.pop_front()
        {
            if begin.enter_ns <= early.begin.exit_ns {
                asked.answered(&early.begin);
                asked.answered(&early.end);
                self.report(asked, Outcome::Answer(early.answer), sink);
                return;
            }
            sink.problem(Problem::ResponseWithoutRequest);
        }
        if let Some(asked) = self.waiting.push(asked) {
            sink.problem(Problem::TooManyInFlight);
            self.report_unseen(asked, Flags::TRUNCATED, at.exit_ns, sink);
        }
    }

    /// Requests go by unseen, from within the one that is being read.
    pub(super) fn hide_requests(&mut self, why: Flags, at: &At, sink: &mut dyn Sink) {
        let begin = self.asking.take();
        if let Some((begin, request)) = begin.zip(self.dialogue.cut_request()) {
            self.asked(request, Answered::InTurn, &begin, at, sink);
            if let Some(asked) = self.waiting.back_mut() {
                asked.flags.set(why);
            }
        }
        self.hidden = true;
    }

    /// The next line or block of answers, which began at `begin` and is whole at `at`.
    pub(super) fn answer(
        &mut self,
        found: Found<'_>,
        begin: &At,
        at: &At,
        sink: &mut dyn Sink,
    ) -> Option<Next> {
        if self.answering.is_none()
            && let Found::Line { text, .. } = found
        {
            for _ in 0..self.dialogue.passed_over(text, &self.waiting) {
                let Some(asked) = self.waiting.pop() else { break };
                self.report_unseen(asked, Flags::none(), at.exit_ns, sink);
            }
        }
        let begin = *self.answering.get_or_insert(*begin);
        let asked = self.waiting.front().map(|asked| &asked.item.request);
        match self.dialogue.say(found, asked)? {
            Says::More(next) => Some(next),
            Says::Answer(next, answer) => {
                self.answering = None;
                self.whole(answer, &begin, at, sink);
                self.ended.is_none().then_some(next)
            }
        }
    }

    fn whole(&mut self, answer: D::Answer, begin: &At, at: &At, sink: &mut dyn Sink) {
        let asked = self.waiting.front_mut().map(|asked| &mut asked.item.request);
        self.confirmed |= asked.is_some();
        match self.dialogue.belongs(&answer, asked) {
            Belongs::Pushed => return,
            Belongs::Foreign => {
                self.ended = Some(Ended::Foreign);
                return;
            }
            Belongs::Reversed => {
                self.ended = Some(Ended::Reversed);
                return;
            }
            Belongs::Part => {
                if let Some(asked) = self.waiting.front_mut() {
                    asked.answered(begin);
                    asked.answered(at);
                }
                return;
            }
            Belongs::Whole => {}
            Belongs::Last => self.ended = Some(Ended::Last),
        }
        if self.waiting.is_empty() {
            self.orphan(answer, begin, at, sink);
        } else if let Some(mut asked) = self.waiting.pop() {
            asked.answered(begin);
            asked.answered(at);
            self.report(asked, Outcome::Answer(answer), sink);
        }
    }

    /// An answer to none of the requests that were seen.
    fn orphan(&mut self, answer: D::Answer, begin: &At, at: &At, sink: &mut dyn Sink) {
        if self.hidden {
            let request = self.dialogue.unknown_request();
            let mut asked = Asked::new(self.role, begin, Pending { request, unsure: true });
            asked.answered(begin);
            self.report_unseen(asked, Flags::TRUNCATED, at.exit_ns, sink);
        } else if (self.role == Role::Client || self.asking.is_some())
            && self.early.len() < MAX_EARLY
        {
            self.early.push_back(Early { answer, begin: *begin, end: *at });
        } else {
            sink.problem(Problem::ResponseWithoutRequest);
        }
    }

    /// Bytes of answers went by, whether or not they were seen.
    pub(super) fn touch(&mut self, at: &At) {
        if self.answering.is_some()
            && let Some(asked) = self.waiting.front_mut()
        {
            asked.answered(at);
        }
    }

    /// What comes of the answers is not read for a while. Whether it is the rest of an answer to the
    /// request at the front.
    pub(super) fn hide_answers(&mut self) -> bool {
        self.dialogue.forget();
        self.answering.take().is_some() && self.waiting.front().is_some()
    }

    /// More of the answer to the request at the front went by.
    pub(super) fn touch_front(&mut self, flags: Flags, at: &At) {
        if let Some(asked) = self.waiting.front_mut() {
            asked.flags.set(flags);
            asked.answered(at);
        }
    }

    /// Answers can be read again. `began`: that to the request at the front had begun.
    pub(super) fn found_again(
        &mut self,
        began: bool,
        why: Flags,
        time_ns: MonoNs,
        sink: &mut dyn Sink,
    ) {
        if began
            && self.waiting.len() == 1
            && let Some(asked) = self.waiting.pop()
        {
            self.report(asked, Outcome::Begun, sink);
        }
        self.report_all(why, time_ns, sink);
    }

    /// All that wait are reported without their answers.
    pub(super) fn report_all(&mut self, why: Flags, time_ns: MonoNs, sink: &mut dyn Sink) {
        for asked in self.waiting.drain() {
            self.report_unseen(asked, why, time_ns, sink);
        }
    }

    /// No answers come any more.
    pub(super) fn broken(&mut self, error: &DatabaseError, time_ns: MonoNs, sink: &mut dyn Sink) {
        for mut asked in self.waiting.drain() {
            if asked.flags.has(Flags::LOSSY) || asked.item.unsure {
                self.report_unseen(asked, Flags::none(), time_ns, sink);
                continue;
            }
            if !asked.is_answered() {
                asked.flags.set(Flags::NO_RESPONSE);
            }
            asked.ended(time_ns);
            self.report(asked, Outcome::Broken(error.clone()), sink);
        }
        for _ in self.early.drain(..) {
            sink.problem(Problem::ResponseWithoutRequest);
        }
    }

    /// All is forgotten, and was never there.
    pub(super) fn clear(&mut self) {
        self.waiting.drain();
        self.early.clear();
    }

    /// Requests and answers change places, as if nothing had been read.
    pub(super) fn reverse(&mut self) {
        self.clear();
        self.dialogue.forget();
        // What it knows of is no request.
        let _none = self.dialogue.cut_request();
        self.role = self.role.opposite();
        (self.asking, self.answering) = (None, None);
        (self.ended, self.confirmed) = (None, false);
    }

    /// No request is in flight.
    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Shows the requests that surely wait for their answers, in their order.
    pub(super) fn in_flight(&self, now: MonoNs, look: &mut dyn Look) {
        for asked in self.waiting.iter() {
            let Pending { request, unsure } = &asked.item;
            if !unsure && !self.dialogue.may_wait(request) {
                asked.show(now, look, |pending| {
                    Call::Database(Box::new(self.dialogue.so_far(&pending.request)))
                });
            }
        }
    }

    /// A record was lost. Where it was of requests, their answers come before that is noticed.
    pub(super) fn mark_lossy(&mut self) {
        self.hidden = true;
        self.waiting.iter_mut().for_each(|asked| asked.flags.set(Flags::LOSSY));
    }

    pub(super) fn memory(&self) -> usize {
        self.waiting.memory()
            + self.early.capacity() * size_of::<Early<D::Answer>>()
            + self.dialogue.memory()
    }

    fn report(
        &mut self,
        asked: Asked<Pending<D::Request>>,
        outcome: Outcome<D::Answer>,
        sink: &mut dyn Sink,
    ) {
        if asked.item.unsure {
            self.report_unseen(asked, Flags::TRUNCATED, 0, sink);
            return;
        }
        let dialogue = &mut self.dialogue;
        sink.exchange(asked.into_exchange(|pending| {
            Call::Database(Box::new(dialogue.call(pending.request, outcome)))
        }));
    }

    fn report_unseen(
        &mut self,
        asked: Asked<Pending<D::Request>>,
        why: Flags,
        time_ns: MonoNs,
        sink: &mut dyn Sink,
    ) {
        let dialogue = &mut self.dialogue;
        sink.exchange(asked.into_unseen(why, time_ns, |pending| {
            Call::Database(Box::new(dialogue.call(pending.request, Outcome::Unseen)))
        }));
    }
}
