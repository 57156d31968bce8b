//! What the server sends, held against what waits for it.

use std::collections::VecDeque;

use super::calls::{Calls, STEPS_PER_CALL, pass_over};
use super::message;
use super::names::unknown;
use super::step::{Failure, Item, Step};
use crate::protocol::waiting::Asked;
use crate::protocol::{At, Problem, Sink};
use crate::span::Flags;
use crate::span::database::DatabaseError;

/// `error.type` of an error whose code was not captured.
const NO_CODE: &str = "_OTHER";

/// The error of an `ErrorResponse`.
pub(super) fn error(payload: &[u8]) -> DatabaseError {
    DatabaseError::Code(message::sqlstate(payload).unwrap_or(NO_CODE).into())
}

impl Calls {
    /// A message of the server that began at `begin` and ended at `at`.
    pub(super) fn response(
        &mut self,
        kind: u8,
        payload: &[u8],
        begin: &At,
        at: &At,
        sink: &mut dyn Sink,
    ) {
        // These may come at any time, and belong to no request.
        if matches!(kind, b'N' | b'A' | b'S' | b'R' | b'K' | b'v') {
            return;
        }
        self.ready = kind == b'Z';
        if matches!(self.steps.front(), Some(Step::Unseen)) {
            self.unseen_response(kind, payload, at, sink);
            return;
        }
        if self.steps.front().is_some_and(Step::is_call)
            && let Some(call) = self.waiting.front_mut()
        {
            call.answered(begin);
            call.answered(at);
        }
        let fits = match (kind, self.steps.front()) {
            (b'E', _) => {
                self.failed(payload, at, sink);
                true
            }
            (_, None) => {
                if kind == b'Z' {
                    sink.problem(Problem::ResponseWithoutRequest);
                    self.settled = false;
                }
                true
            }
            (b'1', Some(Step::Parse(_)))
            | (b'2', Some(Step::Bind))
            | (b'3', Some(Step::Close))
            | (b'T' | b'n', Some(Step::Describe(_))) => self.pop(),
            (b't', Some(Step::Describe(_)))
            | (b'T' | b'D' | b'H' | b'd' | b'c', Some(Step::Query | Step::Execute))
            | (b'V', Some(Step::Function)) => true,
            (b'G', Some(Step::Query | Step::Execute)) => {
                self.copies_in = true;
                if matches!(self.steps.front(), Some(Step::Execute)) {
                    // The server passes over what was sent behind it.
                    self.steps.retain(|step| !matches!(step, Step::Sync));
                }
                true
            }
            (b'W', Some(Step::Query | Step::Execute)) => {
                self.replicates(sink);
                true
            }
            (b'C' | b'I', Some(Step::Query)) => {
                self.complete(kind, payload);
                true
            }
            (b'C' | b'I' | b's', Some(Step::Execute)) => {
                self.complete(kind, payload);
                self.copies_in = false;
                self.finish(sink)
            }
            (b'Z', Some(step)) if step.has_ready() => {
                let is_call = step.is_call();
                if payload == b"I" && self.steps.len() == 1 {
                    self.names.close_portals();
                }
                self.copies_in = false;
                let fits = if is_call { self.finish(sink) } else { self.pop() };
                self.settled |= self.steps.is_empty();
                fits
            }
            _ => false,
        };
        if !fits {
            sink.problem(Problem::Resynchronised);
            self.lose(Flags::TRUNCATED, false, at.exit_ns, sink);
        }
    }

    pub(super) fn pop(&mut self) -> bool {
        self.steps.pop_front();
        if self.steps.is_empty() && self.steps.capacity() > STEPS_PER_CALL {
            self.steps = VecDeque::new();
        }
        true
    }

    fn complete(&mut self, kind: u8, payload: &[u8]) {
        if let Some(call) = self.waiting.front_mut() {
            let (operation, rows) = if kind == b'C' { message::tag(payload) } else { (None, None) };
            call.item.completed(operation, rows);
        }
    }

    /// The call at the front is answered.
    fn finish(&mut self, sink: &mut dyn Sink) -> bool {
        if let Some(mut call) = self.waiting.pop() {
            call.item.answered = true;
            // With others behind it, this may be the answer to one of them.
            if !self.settled && self.ready_to_come() > 1 {
                call.flags.set(Flags::DURATION_UNTRUSTED);
            }
            sink.exchange(call.into_exchange(Item::into_call));
        }
        self.pop()
    }

    /// A replication stream begins: the connection is none of calls any more.
    fn replicates(&mut self, sink: &mut dyn Sink) {
        if let Some(call) = self.waiting.front_mut() {
            call.item.waits = true;
        }
        self.finish(sink);
        self.over = true;
    }

    fn failed(&mut self, payload: &[u8], at: &At, sink: &mut dyn Sink) {
        let error = error(payload);
        self.copies_in = false;
        let asked = match self.steps.front() {
            // Of the connection, not of a call: a wrong password, the server shuts down.
            None | Some(Step::Startup | Step::Unseen) => return,
            Some(Step::Query | Step::Function) => {
                if let Some(call) = self.waiting.front_mut() {
                    call.item.failed(error);
                }
                return;
            }
            Some(Step::Execute) => {
                if let Some(mut call) = self.waiting.pop() {
                    call.item.failed(error.clone());
                    call.item.answered = true;
                    sink.exchange(call.into_exchange(Item::into_call));
                }
                self.pop();
                self.skip_group(Failure { error, asked: None, at: *at, open: false }, sink);
                return;
            }
            // The transaction of the group could not be committed.
            Some(Step::Sync) => None,
            Some(Step::Parse(_) | Step::Describe(_) | Step::Bind | Step::Close) => {
                match self.steps.pop_front() {
                    Some(Step::Parse(mut asked)) => {
                        asked.answered(at);
                        Some(asked)
                    }
                    Some(Step::Describe(statement)) => {
                        let mut asked = Box::new(Asked::new(self.role, at, statement));
                        asked.flags.set(Flags::DURATION_UNTRUSTED);
                        Some(asked)
                    }
                    _ => None,
                }
            }
        };
        self.skip_group(Failure { error, asked, at: *at, open: true }, sink);
    }

    /// The server passes over everything up to the next `Sync`.
    fn skip_group(&mut self, mut failure: Failure, sink: &mut dyn Sink) {
        while let Some(step) = self.steps.front() {
            if matches!(step, Step::Sync | Step::Unseen) {
                self.failure = Some(failure);
                return self.give_failure(sink);
            }
            if step.is_call()
                && let Some(mut call) = self.waiting.pop()
            {
                pass_over(&mut call, &mut failure);
                call.answered(&failure.at);
                sink.exchange(call.into_exchange(Item::into_call));
            }
            self.pop();
        }
        // It was not sent yet: what comes before it is passed over, too.
        self.failure = Some(failure);
    }

    /// A failure that no call took is one of its own.
    pub(super) fn give_failure(&mut self, sink: &mut dyn Sink) {
        let Some(failure) = self.failure.take().filter(|failure| failure.open) else { return };
        let asked = failure.asked.map_or_else(
            || {
                let mut asked = Asked::new(self.role, &failure.at, unknown());
                asked.flags.set(Flags::DURATION_UNTRUSTED);
                asked
            },
            |asked| *asked,
        );
        let namespace = self.namespace.clone();
        sink.exchange(asked.into_exchange(|statement| {
            let mut item = Item::new(statement, namespace);
            item.error = Some(failure.error);
            item.answered = true;
            item.into_call()
        }));
    }
}
