//! Calls of which the request or the answer went by unseen.

use std::collections::VecDeque;

use super::answers::error;
use super::calls::Calls;
use super::message;
use super::names::unknown;
use super::step::{Item, Step};
use super::tail::Ending;
use crate::event::MonoNs;
use crate::protocol::statement::of_operation;
use crate::protocol::waiting::Asked;
use crate::protocol::{At, Sink};
use crate::span::Flags;
use crate::span::database::DatabaseError;

/// What is known of calls whose requests were not seen.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Unseen {
    /// Such calls are counted: their requests went by without a record, and nobody else counts them.
    counts: bool,
    /// A portal was bound since the last command.
    bound: bool,
    /// Portals were bound since the last `ReadyForQuery`.
    extended: bool,
    /// A command ended since the last `ReadyForQuery`.
    ended: Option<&'static str>,
}

impl Calls {
    /// Calls in flight are reported without their answers; what the server says is passed over until it
    /// has answered everything. `counts`: requests went by, too, and are counted by their answers.
    pub(super) fn lose(&mut self, why: Flags, counts: bool, time_ns: MonoNs, sink: &mut dyn Sink) {
        self.report_unseen(why, time_ns, sink);
        self.steps.push_back(Step::Unseen);
        self.unseen = Unseen { counts, ..Unseen::default() };
        self.settled = false;
    }

    /// Requests behind those in the queue went by.
    pub(super) fn lose_requests(&mut self) {
        self.steps.push_back(Step::Unseen);
        self.unseen = Unseen { counts: true, ..Unseen::default() };
    }

    /// The server has answered everything: the next request is answered next.
    pub(super) fn resume(&mut self, time_ns: MonoNs, sink: &mut dyn Sink) {
        self.report_unseen(Flags::TRUNCATED, time_ns, sink);
    }

    /// Everything in flight is reported as it is.
    pub(super) fn report_unseen(&mut self, why: Flags, time_ns: MonoNs, sink: &mut dyn Sink) {
        self.give_failure(sink);
        self.steps = VecDeque::new();
        self.copies_in = false;
        for call in self.waiting.drain() {
            sink.exchange(call.into_unseen(why, time_ns, Item::into_call));
        }
    }

    /// The connection ended.
    pub(super) fn end(&mut self, error: &DatabaseError, time_ns: MonoNs, sink: &mut dyn Sink) {
        if self.is_unseen() {
            return self.report_unseen(Flags::TRUNCATED, time_ns, sink);
        }
        self.give_failure(sink);
        self.steps = VecDeque::new();
        for mut call in self.waiting.drain() {
            if !call.is_answered() {
                call.flags.set(Flags::NO_RESPONSE);
            }
            call.item.error.get_or_insert_with(|| error.clone());
            call.ended(time_ns);
            sink.exchange(call.into_exchange(Item::into_call));
        }
    }

    /// The end of an answer of which the middle was not copied. False when it cannot be said whose end
    /// it is.
    pub(super) fn answered_blindly(
        &mut self,
        ending: &Ending,
        why: Flags,
        at: &At,
        sink: &mut dyn Sink,
    ) -> bool {
        if self.is_unseen() || self.ready_to_come() != 1 {
            return false;
        }
        let in_group = self.steps.iter().take_while(|step| !matches!(step, Step::Sync));
        let is_single = in_group.filter(|step| step.is_call()).count() == 1;
        while let Some(step) = self.steps.front() {
            let is_last = step.has_ready();
            let is_call = step.is_call();
            self.pop();
            if is_call && let Some(mut call) = self.waiting.pop() {
                call.flags.set(why);
                if is_single {
                    call.answered(at);
                    call.item.answered = ending.outcome.is_some();
                    match &ending.outcome {
                        Some(Ok(rows)) => call.item.completed(None, *rows),
                        Some(Err(code)) => call.item.failed(DatabaseError::Code(code.clone())),
                        None => {}
                    }
                    sink.exchange(call.into_exchange(Item::into_call));
                } else {
                    sink.exchange(call.into_unseen(why, at.exit_ns, Item::into_call));
                }
            }
            if is_last {
                break;
            }
        }
        self.ready = true;
        self.copies_in = false;
        true
    }

    /// An answer to a request that was not seen.
    pub(super) fn unseen_response(
        &mut self,
        kind: u8,
        payload: &[u8],
        at: &At,
        sink: &mut dyn Sink,
    ) {
        let unseen = &mut self.unseen;
        if !unseen.counts {
            return;
        }
        let done = match kind {
            b'2' => {
                unseen.extended = true;
                unseen.bound = true;
                return;
            }
            b'C' => {
                let operation = message::tag(payload).0.unwrap_or("");
                if unseen.extended {
                    std::mem::take(&mut unseen.bound).then_some((operation, None))
                } else {
                    unseen.ended.get_or_insert(operation);
                    return;
                }
            }
            b'I' | b's' if unseen.extended => {
                std::mem::take(&mut unseen.bound).then_some(("", None))
            }
            b'E' => {
                unseen.bound = false;
                unseen.extended = true;
                Some((unseen.ended.take().unwrap_or(""), Some(error(payload))))
            }
            b'Z' => {
                let ended = std::mem::take(&mut unseen.ended);
                *unseen = Unseen { counts: true, ..Unseen::default() };
                ended.map(|operation| (operation, None))
            }
            _ => return,
        };
        if let Some((operation, error)) = done {
            let statement = if operation.is_empty() { unknown() } else { of_operation(operation) };
            let mut item = Item::new(statement, self.namespace.clone());
            item.error = error;
            item.answered = true;
            let call = Asked::new(self.role, at, item);
            sink.exchange(call.into_unseen(Flags::TRUNCATED, at.exit_ns, Item::into_call));
        }
    }
}
