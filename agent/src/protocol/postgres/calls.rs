//! Requests and the answers that belong to them.
//!
//! The server answers messages in their order, so each that is answered waits in a queue of
//! [`Step`]s, and those that are calls in a second one. An answer that does not fit the front of the
//! queue shows that something went by unseen: then all calls in flight are reported as such, and
//! answers are passed over until the server has answered everything ([`Step::Unseen`]).

use std::collections::VecDeque;
use std::sync::Arc;

use super::message::{self, string};
use super::names::{Names, unknown};
use super::step::{Failure, Item, Step};
use super::unseen::Unseen;
use crate::event::MonoNs;
use crate::protocol::in_flight::Look;
use crate::protocol::statement::{Sql, shared};
use crate::protocol::waiting::{Asked, Waiting};
use crate::protocol::{At, Limits, Problem, Role, Sink};
use crate::span::Flags;
use crate::span::database::{DatabaseError, Statement};

/// Steps in the queue for each call that may be in flight: `Parse`, `Bind`, `Describe`, `Execute`, `Close`,
/// `Sync` and two more.
pub(super) const STEPS_PER_CALL: usize = 8;

/// A connection's requests and answers.
#[derive(Debug)]
#[expect(clippy::struct_excessive_bools, reason = "they change independently")]
pub(super) struct Calls {
    pub(super) role: Role,
    pub(super) limits: Limits,
    pub(super) steps: VecDeque<Step>,
    pub(super) waiting: Waiting<Item>,
    pub(super) names: Names,
    pub(super) namespace: Option<Arc<str>>,
    /// The group in which something failed, until its `Sync` is seen.
    pub(super) failure: Option<Failure>,
    /// The client copies into a table.
    pub(super) copies_in: bool,
    /// The last message of the server was `ReadyForQuery`.
    pub(super) ready: bool,
    /// Messages of an unseen part: a call was begun by `BindComplete`, or ended without one.
    pub(super) unseen: Unseen,
    /// What is in flight is known: the connection was seen from its beginning, or all requests were
    /// answered once.
    pub(super) settled: bool,
    /// Nothing is read any more.
    pub(super) over: bool,
}

impl Calls {
    pub(super) fn new(role: Role, limits: Limits) -> Self {
        Self {
            role,
            limits,
            steps: VecDeque::new(),
            waiting: Waiting::new(limits.in_flight),
            names: Names::default(),
            namespace: None,
            failure: None,
            copies_in: false,
            ready: false,
            unseen: Unseen::default(),
            settled: false,
            over: false,
        }
    }

    pub(super) fn is_over(&self) -> bool {
        self.over
    }

    pub(super) fn stop(&mut self) {
        self.over = true;
    }

    pub(super) fn is_waiting(&self) -> bool {
        !self.waiting.is_empty()
    }

    pub(super) fn copies_in(&self) -> bool {
        self.copies_in
    }

    /// Whether the last that the server said is that it is ready.
    pub(super) fn is_ready(&self) -> bool {
        self.ready
    }

    /// The end of a call of the server looks like `ReadyForQuery`.
    pub(super) fn seems_ready(&mut self) {
        self.ready = true;
    }

    /// Whether the server has said that it is ready while requests wait that were seen before anything
    /// was settled: answers to them went by before vigie saw both directions.
    pub(super) fn is_behind(&self) -> bool {
        !self.settled && self.ready && !self.steps.is_empty()
    }

    /// Whether answers are passed over.
    pub(super) fn is_unseen(&self) -> bool {
        // Nothing is put behind it.
        matches!(self.steps.back(), Some(Step::Unseen))
    }

    /// Requests that `ReadyForQuery` answers.
    pub(super) fn ready_to_come(&self) -> usize {
        self.steps.iter().filter(|step| step.has_ready()).count()
    }

    pub(super) fn mark_lossy(&mut self) {
        self.waiting.iter_mut().for_each(|call| call.flags.set(Flags::LOSSY));
    }

    /// Shows the calls that surely wait for their answers, in their order.
    pub(super) fn in_flight(&self, now: MonoNs, look: &mut dyn Look) {
        if self.is_unseen() || self.is_behind() {
            return;
        }
        for call in self.waiting.iter() {
            call.show(now, look, |item| {
                Item::new(Arc::clone(&item.statement), item.namespace.clone()).into_call()
            });
        }
    }

    pub(super) fn memory(&self) -> usize {
        self.steps.capacity() * size_of::<Step>() + self.waiting.memory() + self.names.memory()
    }

    // === What the client sends ===

    /// The client's first message, without length and version.
    pub(super) fn startup(&mut self, parameters: &[u8]) {
        let database = message::parameter(parameters, b"database")
            .or_else(|| message::parameter(parameters, b"user"));
        self.namespace = database.map(|name| String::from_utf8_lossy(name).into());
        self.settled = true;
        self.steps.push_back(Step::Startup);
    }

    /// A message of the client that began at `at`.
    pub(super) fn request(
        &mut self,
        kind: u8,
        payload: &[u8],
        cut: bool,
        at: &At,
        sink: &mut dyn Sink,
    ) {
        match kind {
            b'Q' => {
                let statement = self.statement(payload, cut);
                self.call(Step::Query, statement, at, sink);
            }
            b'P' => self.parse(payload, cut, at, sink),
            b'B' => {
                if let Some((portal, rest)) = string(payload)
                    && let Some((statement, _)) = string(rest)
                    && !self.names.bind(portal, statement)
                {
                    sink.problem(Problem::TooManyStatements);
                }
                self.step(Step::Bind, sink);
            }
            b'D' => {
                let name = payload.split_first().and_then(|(_, name)| string(name));
                let statement = match (payload.first(), name) {
                    (Some(b'S'), Some((name, _))) => self.names.statement(name),
                    (Some(b'P'), Some((name, _))) => self.names.portal(name),
                    _ => unknown(),
                };
                self.step(Step::Describe(statement), sink);
            }
            b'C' => {
                if let Some((kind, name)) = payload.split_first()
                    && let Some((name, _)) = string(name)
                {
                    self.names.close(*kind, name);
                }
                self.step(Step::Close, sink);
            }
            b'E' => {
                let name = string(payload).map(|(name, _)| name);
                let statement = name.map_or_else(unknown, |name| self.names.portal(name));
                self.call(Step::Execute, statement, at, sink);
            }
            b'F' => self.call(Step::Function, unknown(), at, sink),
            b'S' if self.copies_in => {}
            b'S' => {
                self.give_failure(sink);
                self.step(Step::Sync, sink);
            }
            b'c' | b'f' => self.copies_in = false,
            _ => {}
        }
    }

    fn statement(&self, text: &[u8], cut: bool) -> Arc<Statement> {
        let end = text.iter().position(|byte| *byte == 0).unwrap_or(text.len());
        let text = text.get(..end).unwrap_or(text);
        shared(Sql::Postgresql, text, cut, self.limits.query_text)
    }

    fn parse(&mut self, payload: &[u8], cut: bool, at: &At, sink: &mut dyn Sink) {
        let (name, statement) = match string(payload) {
            Some((name, text)) => (name, self.statement(text, cut && !text.contains(&0))),
            None => (&b""[..], unknown()),
        };
        if !self.names.parse(name, statement.clone()) {
            sink.problem(Problem::TooManyStatements);
        }
        self.step(Step::Parse(Box::new(Asked::new(self.role, at, statement))), sink);
    }

    fn call(&mut self, step: Step, statement: Arc<Statement>, at: &At, sink: &mut dyn Sink) {
        let mut call = Asked::new(self.role, at, Item::new(statement, self.namespace.clone()));
        if let Some(failure) = &mut self.failure {
            // The server passes over it.
            pass_over(&mut call, failure);
            // The error was there first.
            call.flags.set(Flags::DURATION_UNTRUSTED);
            sink.exchange(call.into_exchange(Item::into_call));
        } else if self.step(step, sink) {
            if let Some(call) = self.waiting.push(call) {
                sink.problem(Problem::TooManyInFlight);
                sink.exchange(call.into_unseen(Flags::TRUNCATED, at.exit_ns, Item::into_call));
            }
        } else {
            sink.exchange(call.into_unseen(Flags::TRUNCATED, at.exit_ns, Item::into_call));
        }
    }

    /// Adds a step. False when its answer is not waited for.
    fn step(&mut self, step: Step, sink: &mut dyn Sink) -> bool {
        let is_passed_over = self.failure.is_some() && !matches!(step, Step::Sync);
        if is_passed_over || self.is_unseen() {
            return false;
        }
        let limit = self.limits.in_flight.saturating_mul(STEPS_PER_CALL).max(STEPS_PER_CALL);
        if self.steps.len() >= limit {
            sink.problem(Problem::TooManyInFlight);
            self.lose(Flags::TRUNCATED, false, 0, sink);
            return false;
        }
        self.ready = false;
        self.steps.push_back(step);
        true
    }
}

impl Failure {
    /// Whether this is the call of what failed: the first behind it, of the same statement.
    fn takes(&self, statement: &Arc<Statement>) -> bool {
        self.open && self.asked.as_ref().is_none_or(|asked| Arc::ptr_eq(&asked.item, statement))
    }
}

/// A call that the server passed over, because something before it failed, or a part of itself.
pub(super) fn pass_over(call: &mut Asked<Item>, failure: &mut Failure) {
    call.item.answered = true;
    if failure.takes(&call.item.statement) {
        failure.open = false;
        call.item.error = Some(failure.error.clone());
    } else {
        // It was never executed, so its time says nothing.
        call.flags.set(Flags::DURATION_UNTRUSTED);
        call.item.error = Some(DatabaseError::PipelineAborted);
    }
}
