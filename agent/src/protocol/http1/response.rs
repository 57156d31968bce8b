//! The response direction: from heads and bodies to finished exchanges.

use super::framing::Framing;
use super::half::{Found, Skip, Start, State, Step};
use super::head::{self, Likeness, ResponseHead};
use super::{Http1, MAX_MALFORMED, Orphan, Target, Upgrade, skip_advice};
use crate::event::MonoNs;
use crate::protocol::{At, Problem, Sink};
use crate::span::Flags;
use crate::span::http::HttpError;

impl Http1 {
    pub(super) fn response_bytes(&mut self, bytes: &[u8], at: &At, sink: &mut impl Sink) {
        let mut rest = bytes;
        let mut fresh = at.segment_start;
        while !rest.is_empty() {
            let used = match self.responses.state {
                State::Head => self.response_head(rest, fresh, at, sink),
                State::Resync { counted } => self.find_response(rest, fresh, at, counted, sink),
                State::Over => break,
                _ => self.response_body(rest, fresh, at, sink),
            };
            rest = rest.get(used..).unwrap_or_default();
            fresh &= used == 0;
        }
        if let Some(upgrade) = &mut self.upgrade {
            upgrade.rest.extend_from_slice(rest);
        }
    }

    /// The connection becomes HTTP/2 (RFC 7540, section 3.2), and the request in front its stream 1.
    fn upgrade(&mut self, sink: &mut impl Sink) -> bool {
        let Some(entry) = self.queue.pop() else { return false };
        self.upgrade = Some(Upgrade { request: entry.into_exchange(), rest: Vec::new() });
        self.report_all(Flags::TRUNCATED, 0, sink);
        for half in [&mut self.requests, &mut self.responses] {
            half.forget_head();
            half.state = State::Over;
        }
        true
    }

    fn response_head(&mut self, bytes: &[u8], fresh: bool, at: &At, sink: &mut impl Sink) -> usize {
        match self.responses.read_head(bytes, Start::new(at, fresh), head::response) {
            Found::Head(head, used) => {
                self.begin_response(head, Flags::none(), at, sink);
                let direction = self.role.request_direction().opposite();
                let ahead = bytes.len().saturating_sub(used);
                if let State::Counted(length) = self.responses.state
                    && let Some(advice) =
                        skip_advice(direction, self.responses.position, ahead, length)
                {
                    sink.advice(advice);
                }
                used
            }
            Found::More => bytes.len(),
            Found::Malformed => {
                self.malformed_response(at.exit_ns, sink);
                bytes.len()
            }
            Found::TooLong => {
                sink.problem(Problem::HeadTooLong);
                self.cut_response(Flags::TRUNCATED, at, sink);
                bytes.len()
            }
        }
    }

    /// A response head is complete or, with the flag `TRUNCATED`, as complete as it gets.
    fn begin_response(&mut self, head: ResponseHead, flags: Flags, at: &At, sink: &mut impl Sink) {
        let Some(start) = self.responses.start.take() else { return };
        self.responses.malformed = 0;
        let upgraded = head.status == 101;
        if head.status < 200 && !upgraded {
            return;
        }
        self.report_orphan(sink);
        if upgraded && head.is_h2c && self.upgrade(sink) {
            return;
        }
        self.answering = self.standing.exchange;
        let mut framing = head.fields.response();
        let mut tunnel = upgraded;
        if let Some(entry) = self.queue.front_mut() {
            self.target = Target::Front;
            entry.first_byte_ns = Some(start.exit_ns);
            entry.end_ns = at.exit_ns;
            entry.call.status = Some(head.status);
            if let Some(rpc) = &mut entry.rpc {
                rpc.status = head.grpc_status;
            }
            entry.flags.set(flags);
            tunnel |= entry.is("CONNECT") && (200..300).contains(&head.status);
            if entry.is("HEAD") {
                framing = Framing::None;
            }
        } else if self.queue.overflow > 0 {
            self.queue.overflow -= 1;
            self.target = Target::Reported;
        } else {
            self.target = Target::Orphan;
            self.orphan = Some(Orphan {
                status: head.status,
                first_byte_ns: start.exit_ns,
                end_ns: at.exit_ns,
                body: None,
                whole: false,
                undelivered: false,
            });
        }
        if tunnel {
            self.finish_response(sink);
            self.report_orphan(sink);
            self.stop(sink);
            return;
        }
        if matches!(head.status, 204 | 304) {
            framing = Framing::None;
        }
        let truncated = flags.has(Flags::TRUNCATED);
        if truncated {
            framing = Framing::Faulty;
        } else if framing == Framing::Faulty {
            sink.problem(Problem::MalformedResponse);
        }
        self.responses.begin_body(framing);
        if framing == Framing::None {
            self.finish_response(sink);
        }
    }

    /// The response that is being read is over; its last byte was noted.
    pub(super) fn finish_response(&mut self, sink: &mut impl Sink) {
        let framed = self.responses.framed;
        match self.target {
            Target::None | Target::Reported => {}
            Target::Orphan => {
                if let Some(orphan) = &mut self.orphan {
                    orphan.whole = true;
                    orphan.body = framed;
                }
            }
            Target::Front => {
                let is_current = self.current == Some(self.queue.front_number());
                if let Some(mut entry) = self.queue.pop() {
                    entry.call.response_body = framed;
                    self.withheld = is_current && entry.expects_continue;
                    if self.shifted {
                        entry.flags.set(Flags::DURATION_UNTRUSTED);
                    }
                    sink.exchange(entry.into_exchange());
                }
            }
        }
        self.target = Target::None;
    }

    fn response_body(&mut self, bytes: &[u8], fresh: bool, at: &At, sink: &mut impl Sink) -> usize {
        if fresh && self.next_response_instead(bytes, at) {
            self.finish_response(sink);
            self.responses.state = State::Head;
            return 0;
        }
        // What follows a last chunk without being a head is more of the body, after all.
        match self.responses.read_body(bytes, fresh, at) {
            Step::More => {
                self.touch(at.exit_ns);
                bytes.len()
            }
            Step::Done(used) => {
                self.touch(at.exit_ns);
                self.finish_response(sink);
                used
            }
            Step::Malformed => {
                sink.problem(Problem::MalformedChunk);
                self.touch(at.exit_ns);
                self.flag_response(Flags::TRUNCATED);
                self.responses.go_blind();
                bytes.len()
            }
        }
    }

    /// Whether a response begins where more of a body was awaited.
    fn next_response_instead(&self, bytes: &[u8], at: &At) -> bool {
        let likely = match &self.responses.state {
            State::Blind(_) => true,
            // The length may be that of an answer to HEAD, whose body never comes.
            _ => self.target == Target::Orphan && at.turn,
        };
        likely && head::like_response(bytes) == Likeness::Head
    }

    fn find_response(
        &mut self,
        bytes: &[u8],
        fresh: bool,
        at: &At,
        counted: bool,
        sink: &mut impl Sink,
    ) -> usize {
        let likeness = if fresh { head::like_response(bytes) } else { Likeness::None };
        if likeness == Likeness::None || (likeness == Likeness::Short && !at.turn) {
            return bytes.len();
        }
        if counted {
            sink.problem(Problem::Resynchronised);
        }
        self.report_unseen(at.exit_ns, sink);
        self.responses.state = State::Head;
        0
    }

    fn malformed_response(&mut self, time_ns: MonoNs, sink: &mut impl Sink) {
        sink.problem(Problem::MalformedResponse);
        self.responses.forget_head();
        self.hide(Flags::TRUNCATED);
        self.responses.state = State::Resync { counted: true };
        self.responses.malformed += 1;
        if self.responses.malformed >= MAX_MALFORMED {
            self.report_all(Flags::TRUNCATED, time_ns, sink);
            self.stop(sink);
        }
    }

    /// The rest of a response head will not be seen.
    fn cut_response(&mut self, why: Flags, at: &At, sink: &mut impl Sink) {
        let head = head::truncated_response(&self.responses.partial);
        self.responses.forget_head();
        match head {
            Some(head) if head.status >= 200 => {
                self.begin_response(head, why | Flags::TRUNCATED, at, sink);
            }
            _ => {
                self.hide(why);
                self.responses.state = State::Resync { counted: true };
            }
        }
    }

    /// Bytes of the response direction went by unseen.
    pub(super) fn response_gap(
        &mut self,
        count: Option<u64>,
        why: Flags,
        at: &At,
        sink: &mut impl Sink,
    ) {
        let lossy = why == Flags::LOSSY;
        match self.responses.state {
            State::Over => {}
            State::Resync { .. } => self.hide(why),
            State::Head if self.responses.partial.is_empty() => {
                self.hide(why);
                self.responses.state = State::Resync { counted: lossy };
            }
            State::Head => self.cut_response(why, at, sink),
            _ => {
                let skip = self.responses.skip_body(count);
                self.touch(at.exit_ns);
                if lossy {
                    self.flag_response(Flags::LOSSY);
                    if skip != Skip::Within {
                        // The record with the last byte may be the one that was lost.
                        self.flag_response(Flags::DURATION_UNTRUSTED);
                    }
                }
                if matches!(skip, Skip::ToEnd | Skip::Beyond) {
                    self.finish_response(sink);
                }
                if skip == Skip::Beyond {
                    self.hide(why);
                    self.responses.state = State::Resync { counted: lossy };
                }
            }
        }
    }

    /// Responses may have gone by unseen: those to the requests that are in flight. After a loss
    /// only to those that were in flight when it was noticed, for later requests came after it.
    /// Never to the one that these bytes belong to, when the kernel says that it has lost nothing.
    fn hide(&mut self, why: Flags) {
        self.queue.overflow = 0;
        let here = self.standing;
        let noticed =
            why == Flags::LOSSY && self.queue.iter_mut().any(|entry| entry.flags.has(Flags::LOSSY));
        let mut hidden = 0_u32;
        for entry in self.queue.iter_mut() {
            if entry.number != 0 && entry.number == here.exchange && !here.lost {
                continue;
            }
            if !noticed || entry.flags.has(Flags::LOSSY) {
                entry.unseen.set(why);
                // Of those that the kernel counts it is known that they lost something.
                hidden += u32::from(!entry.undelivered);
            }
        }
        // How many of several responses went by cannot be said.
        self.shifted |= hidden > 1;
    }

    /// The answering side sends no more.
    pub(super) fn responses_end(
        &mut self,
        error: HttpError,
        time_ns: MonoNs,
        sink: &mut impl Sink,
    ) {
        let orderly = error == HttpError::ConnectionClosed;
        let finished = match &self.responses.state {
            State::UntilEnd => orderly,
            State::Blind(blind) => orderly || blind.ended,
            _ => false,
        };
        if self.target == Target::Front && !finished {
            self.target = Target::None;
            if let Some(entry) = self.queue.pop() {
                sink.exchange(entry.into_broken(error, time_ns));
            }
        }
        self.finish_response(sink);
        self.report_orphan(sink);
        self.responses.forget_head();
        self.responses.state = State::Over;
        self.queue.overflow = 0;
        while let Some(entry) = self.queue.pop() {
            let why = if entry.flags.has(Flags::LOSSY) {
                entry.unseen | Flags::LOSSY
            } else {
                entry.unseen
            };
            sink.exchange(if why == Flags::none() {
                entry.into_broken(error, time_ns)
            } else {
                entry.into_unseen(why, time_ns)
            });
        }
    }

    /// The last byte of the response so far.
    fn touch(&mut self, time_ns: MonoNs) {
        match self.target {
            Target::Front => {
                if let Some(entry) = self.queue.front_mut() {
                    entry.end_ns = time_ns;
                }
            }
            Target::Orphan => {
                if let Some(orphan) = &mut self.orphan {
                    orphan.end_ns = time_ns;
                }
            }
            Target::None | Target::Reported => {}
        }
    }

    fn flag_response(&mut self, flag: Flags) {
        if self.target == Target::Front
            && let Some(entry) = self.queue.front_mut()
        {
            entry.flags.set(flag);
        }
    }
}
