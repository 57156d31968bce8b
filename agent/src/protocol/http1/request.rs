//! The request direction: from heads and bodies to entries of the queue.

use super::framing::Framing;
use super::half::{Found, Skip, Start, State, Step};
use super::head::{self, Likeness, RequestHead};
use super::in_flight::InFlight;
use super::{Http1, MAX_MALFORMED, Target, skip_advice};
use crate::event::MonoNs;
use crate::protocol::{At, Problem, Role, Sink};
use crate::span::Flags;
use crate::span::http::Method;

impl Http1 {
    pub(super) fn request_bytes(&mut self, bytes: &[u8], at: &At, sink: &mut impl Sink) {
        let mut rest = bytes;
        let mut fresh = at.segment_start;
        while !rest.is_empty() {
            let used = match self.requests.state {
                State::Head => self.request_head(rest, fresh, at, sink),
                State::Resync { counted } => self.find_request(rest, fresh, at, counted, sink),
                State::Over => return,
                _ => self.request_body(rest, fresh, at, sink),
            };
            rest = rest.get(used..).unwrap_or_default();
            fresh &= used == 0;
        }
    }

    fn request_head(&mut self, bytes: &[u8], fresh: bool, at: &At, sink: &mut impl Sink) -> usize {
        match self.requests.read_head(bytes, Start::new(at, fresh), head::request) {
            Found::Head(head, used) => {
                let framing = head.fields.request();
                self.begin_request(head, framing, Flags::none(), sink);
                let direction = self.role.request_direction();
                let ahead = bytes.len().saturating_sub(used);
                if let State::Counted(length) = self.requests.state
                    && let Some(advice) =
                        skip_advice(direction, self.requests.position, ahead, length)
                {
                    sink.advice(advice);
                }
                used
            }
            Found::More => bytes.len(),
            Found::Malformed => {
                self.malformed_request(bytes, at.exit_ns, sink);
                bytes.len()
            }
            Found::TooLong => {
                sink.problem(Problem::HeadTooLong);
                self.cut_request(Flags::TRUNCATED, sink);
                bytes.len()
            }
        }
    }

    /// A request head is complete, or as complete as it gets.
    fn begin_request(
        &mut self,
        head: RequestHead,
        framing: Framing,
        flags: Flags,
        sink: &mut impl Sink,
    ) {
        let Some(start) = self.requests.start.take() else { return };
        self.requests.malformed = 0;
        self.withheld = false;
        if framing == Framing::Faulty && !flags.has(Flags::TRUNCATED) {
            sink.problem(Problem::MalformedRequest);
        }
        self.requests.begin_body(framing);
        if head.method == Method::Known("CONNECT") {
            // What follows is the tunnel's or, if it is refused, the next request.
            self.requests.state = State::Resync { counted: false };
        }
        let mut entry = InFlight::new(self.role, head, start, flags);
        entry.call.request_body = self.requests.framed;
        self.queue_request(entry, start, sink);
    }

    fn queue_request(&mut self, mut entry: InFlight, start: Start, sink: &mut impl Sink) {
        self.current = None;
        entry.number = self.standing.exchange;
        if start.turn {
            self.unmatched = None;
            self.begin_turn(start.exit_ns, sink);
        } else if matches!(&self.responses.state, State::Blind(blind) if blind.ended) {
            self.begin_turn(start.exit_ns, sink);
        }
        if let Some(why) = self.unmatched {
            sink.exchange(entry.into_unseen(why, start.exit_ns));
            return;
        }
        if let Some(orphan) = self.orphan
            && self.role == Role::Client
            && entry.start_ns <= orphan.first_byte_ns
        {
            self.orphan = None;
            entry.call.status = Some(orphan.status);
            entry.call.response_body = orphan.body;
            entry.first_byte_ns = Some(orphan.first_byte_ns);
            entry.end_ns = orphan.end_ns;
            entry.undelivered = orphan.undelivered;
            if entry.is("HEAD") && !orphan.whole {
                self.responses.state = State::Head;
            }
            if orphan.whole || entry.is("HEAD") {
                self.target = Target::None;
                sink.exchange(entry.into_exchange());
                return;
            }
            self.target = Target::Front;
        } else {
            self.report_orphan(sink);
            if self.target == Target::Orphan && start.turn {
                // Perhaps it answered HEAD and has no body.
                self.target = Target::None;
                self.responses.state = State::Resync { counted: false };
            }
        }
        if self.queue.has_room() {
            self.current = Some(self.queue.push(entry));
        } else {
            // Counted now; its response is passed over when it comes.
            self.queue.overflow += 1;
            sink.problem(Problem::TooManyInFlight);
            sink.exchange(entry.into_unseen(Flags::TRUNCATED, start.exit_ns));
        }
    }

    /// The asking side begins an exchange after the answering side had the word: what that side
    /// had begun without framing is over.
    fn begin_turn(&mut self, time_ns: MonoNs, sink: &mut impl Sink) {
        match self.responses.state {
            State::Blind(_) => {
                self.finish_response(sink);
                self.responses.state = State::Resync { counted: false };
            }
            State::Resync { .. } => self.report_unseen(time_ns, sink),
            _ => {}
        }
        if self.queue.is_empty() {
            self.shifted = false;
        }
    }

    fn request_body(&mut self, bytes: &[u8], fresh: bool, at: &At, sink: &mut impl Sink) -> usize {
        if fresh && self.next_request_instead(bytes, at) {
            self.requests.state = State::Head;
            return 0;
        }
        match self.requests.read_body(bytes, fresh, at) {
            Step::More => bytes.len(),
            Step::Done(used) => {
                if let Some(entry) = self.current.and_then(|number| self.queue.numbered(number)) {
                    entry.call.request_body = self.requests.framed;
                }
                self.current = None;
                used
            }
            Step::Malformed => {
                sink.problem(Problem::MalformedChunk);
                self.flag_request(Flags::TRUNCATED);
                self.requests.go_blind();
                bytes.len()
            }
        }
    }

    /// Whether a request begins where the body of the one before was awaited.
    fn next_request_instead(&self, bytes: &[u8], at: &At) -> bool {
        let likely = match &self.requests.state {
            State::Blind(blind) => blind.ended || at.turn,
            _ => self.withheld && at.turn && !self.requests.body_begun,
        };
        likely && head::like_request(bytes) == Likeness::Head
    }

    fn find_request(
        &mut self,
        bytes: &[u8],
        fresh: bool,
        at: &At,
        counted: bool,
        sink: &mut impl Sink,
    ) -> usize {
        let likeness = if fresh { head::like_request(bytes) } else { Likeness::None };
        if likeness == Likeness::None || (likeness == Likeness::Short && !at.turn) {
            return bytes.len();
        }
        if counted {
            sink.problem(Problem::Resynchronised);
            if !at.turn {
                // Requests of this turn went by unseen: the order of the responses is unknown.
                self.unmatched = Some(Flags::TRUNCATED);
            }
        }
        self.requests.state = State::Head;
        0
    }

    fn malformed_request(&mut self, bytes: &[u8], time_ns: MonoNs, sink: &mut impl Sink) {
        self.requests.forget_head();
        if bytes.starts_with(b"PRI * HTTP/2") {
            // HTTP/2 without an upgrade (RFC 9113, section 3.3).
            self.stop(sink);
            return;
        }
        sink.problem(Problem::MalformedRequest);
        self.requests.state = State::Resync { counted: true };
        self.requests.malformed += 1;
        if self.requests.malformed >= MAX_MALFORMED {
            self.report_all(Flags::TRUNCATED, time_ns, sink);
            self.stop(sink);
        }
    }

    /// The rest of a request head will not be seen.
    fn cut_request(&mut self, why: Flags, sink: &mut impl Sink) {
        let head = head::truncated_request(&self.requests.partial);
        self.requests.forget_head();
        match head {
            Some(head) => {
                self.begin_request(head, Framing::Faulty, why | Flags::TRUNCATED, sink);
            }
            None => self.requests.state = State::Resync { counted: true },
        }
    }

    /// Bytes of the request direction went by unseen.
    pub(super) fn request_gap(
        &mut self,
        count: Option<u64>,
        why: Flags,
        _at: &At,
        sink: &mut impl Sink,
    ) {
        match self.requests.state {
            State::Over | State::Resync { .. } => {}
            State::Head if self.requests.partial.is_empty() => {
                self.requests.state = State::Resync { counted: true };
            }
            State::Head => self.cut_request(why, sink),
            _ => {
                if why == Flags::LOSSY {
                    self.flag_request(Flags::LOSSY);
                }
                match self.requests.skip_body(count) {
                    Skip::Within | Skip::Blinded => {}
                    Skip::ToEnd => self.current = None,
                    Skip::Beyond => {
                        self.current = None;
                        self.requests.state = State::Resync { counted: true };
                    }
                }
            }
        }
    }

    fn flag_request(&mut self, flag: Flags) {
        if let Some(entry) = self.current.and_then(|number| self.queue.numbered(number)) {
            entry.flags.set(flag);
        }
    }
}
