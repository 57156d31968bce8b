//! Both directions of a connection: where requests and answers are read, and where they are found
//! again.

use super::Dialogue;
use super::lines::{Lines, Taken};
use super::queue::{Ended, Queue};
use crate::event::{Direction, MonoNs};
use crate::protocol::conversation::Conversation;
use crate::protocol::in_flight::Look;
use crate::protocol::{Advice, At, End, Limits, Piece, Problem, Role, Sink};
use crate::span::Flags;
use crate::span::database::DatabaseError;

/// After so long without a byte, an answer that ends like one is taken for ended.
const QUIET_NS: u64 = 1_000_000_000;

/// Messages in a row that make no sense after which a connection is given up.
const MAX_MALFORMED: u8 = 8;

/// The place in the answers is lost.
#[derive(Debug)]
struct Blind {
    /// The answer to the request at the front had begun.
    began: bool,
    /// Why.
    why: Flags,
    /// Whether the last bytes are the end of a line and of a call; `None` where they were not seen.
    ends: Option<bool>,
    last_ns: MonoNs,
    /// A request began, and still what was being answered had not ended.
    late: bool,
}

/// A connection.
#[derive(Debug)]
pub(crate) struct Text<D: Dialogue> {
    queue: Queue<D>,
    requests: Lines,
    answers: Lines,
    blind: Option<Blind>,
    /// Why the place in the requests is lost.
    lost_requests: Flags,
    from_start: bool,
    malformed: u8,
    wrong: bool,
    over: bool,
}

impl<D: Dialogue> Text<D> {
    /// Both directions are between messages, as far as is known.
    pub(crate) fn new(role: Role, limits: Limits, from_start: bool, dialogue: D) -> Self {
        Self {
            queue: Queue::new(role, limits, dialogue),
            requests: Lines::new(),
            answers: Lines::new(),
            blind: None,
            lost_requests: Flags::none(),
            from_start,
            malformed: 0,
            wrong: false,
            over: false,
        }
    }

    fn request_piece(&mut self, piece: Piece<'_>, at: &At, sink: &mut dyn Sink) {
        if at.turn && at.segment_start {
            self.begin_turn(piece, sink);
        }
        let queue = &mut self.queue;
        let taken =
            self.requests.push(piece, at, |found, begin| queue.request(found, begin, at, sink));
        match taken {
            Taken::All | Taken::Nothing => {}
            Taken::Gap => {
                let why = reason(piece);
                self.lost_requests = why;
                self.queue.hide_requests(why | Flags::TRUNCATED, at, sink);
            }
            Taken::Malformed => {
                self.lost_requests = Flags::TRUNCATED;
                self.queue.hide_requests(Flags::TRUNCATED, at, sink);
                self.note_malformed(true, at, sink);
            }
        }
    }

    /// The asking side begins after the answering side had the word.
    fn begin_turn(&mut self, piece: Piece<'_>, sink: &mut dyn Sink) {
        if let Some(blind) = &mut self.blind {
            let goes_on = blind.ends == Some(false) && !blind.late && !self.queue.is_empty();
            blind.late = true;
            if !goes_on {
                self.see(sink);
            }
        }
        if self.requests.is_lost() {
            let Piece::Bytes(bytes) = piece else { return };
            if !self.queue.dialogue.begins_request(bytes) {
                return;
            }
            self.requests.restart();
            if self.lost_requests.has(Flags::LOSSY) {
                sink.problem(Problem::Resynchronised);
            }
        } else if self.requests.is_inside() || self.queue.is_asking() {
            return;
        }
        if self.queue.is_empty() {
            self.queue.hidden = false;
        }
    }

    fn answer_piece(&mut self, piece: Piece<'_>, at: &At, sink: &mut dyn Sink) {
        if self.blind.is_some() {
            self.blind_piece(piece, at);
            return;
        }
        let queue = &mut self.queue;
        let taken =
            self.answers.push(piece, at, |found, begin| queue.answer(found, begin, at, sink));
        self.queue.touch(at);
        if let Some(ended) = self.queue.ended {
            self.ended(ended, piece, at, sink);
        } else if taken == Taken::Gap {
            let began = self.queue.hide_answers();
            self.lose_answers(began, reason(piece), at);
            self.blind_piece(piece, at);
        } else if taken == Taken::Malformed {
            self.queue.hide_answers();
            self.lose_answers(false, Flags::TRUNCATED, at);
            self.blind_piece(piece, at);
            self.note_malformed(false, at, sink);
        } else if self.queue.confirmed {
            self.malformed = 0;
        }
    }

    fn ended(&mut self, how: Ended, piece: Piece<'_>, at: &At, sink: &mut dyn Sink) {
        match how {
            Ended::Last => {
                self.queue.report_all(Flags::TRUNCATED, at.exit_ns, sink);
                self.stop(sink);
            }
            Ended::Foreign => {
                self.queue.clear();
                self.stop(sink);
            }
            Ended::Reversed => {
                self.reverse();
                self.request_piece(piece, at, sink);
            }
        }
    }

    /// The directions were taken for each other, in the middle of an older connection: begins anew.
    fn reverse(&mut self) {
        self.queue.reverse();
        self.requests.restart();
        self.answers.restart();
        self.lost_requests = Flags::none();
    }

    fn lose_answers(&mut self, began: bool, why: Flags, at: &At) {
        self.answers.lose();
        let last_ns = at.exit_ns;
        self.blind = Some(Blind { began, why, ends: None, last_ns, late: false });
    }

    /// More answers, which are not read.
    fn blind_piece(&mut self, piece: Piece<'_>, at: &At) {
        let Some(blind) = &mut self.blind else { return };
        blind.last_ns = at.exit_ns;
        blind.ends = match piece {
            Piece::Bytes(bytes) => Some(at.segment_end && bytes.ends_with(b"\n")),
            Piece::Skipped(_) | Piece::Lost(_) => None,
        };
        if matches!(piece, Piece::Lost(_)) {
            blind.why.set(Flags::LOSSY);
        }
        if blind.began {
            let lossy = blind.why.has(Flags::LOSSY);
            let flags =
                if lossy { Flags::LOSSY | Flags::DURATION_UNTRUSTED } else { Flags::none() };
            self.queue.touch_front(flags, at);
        }
    }

    /// The next byte of the answers begins one.
    fn see(&mut self, sink: &mut dyn Sink) {
        let Some(blind) = self.blind.take() else { return };
        self.queue.found_again(blind.began, blind.why, blind.last_ns, sink);
        self.answers.restart();
        if blind.why.has(Flags::LOSSY) {
            sink.problem(Problem::Resynchronised);
        }
    }

    fn note_malformed(&mut self, of_request: bool, at: &At, sink: &mut dyn Sink) {
        sink.problem(Problem::MalformedMessage);
        self.malformed = self.malformed.saturating_add(1);
        if !self.queue.confirmed && (of_request || self.from_start) {
            self.queue.clear();
            self.wrong = true;
            self.over = true;
        } else if self.malformed >= MAX_MALFORMED {
            self.queue.report_all(Flags::TRUNCATED, at.exit_ns, sink);
            self.stop(sink);
        }
    }

    /// Nothing more is read.
    fn stop(&mut self, sink: &mut dyn Sink) {
        self.over = true;
        self.blind = None;
        self.requests.lose();
        self.answers.lose();
        sink.advice(Advice::Ignore);
    }
}

/// What a gap does to what it hides.
fn reason(piece: Piece<'_>) -> Flags {
    if matches!(piece, Piece::Lost(_)) { Flags::LOSSY } else { Flags::TRUNCATED }
}

impl<D: Dialogue> Conversation for Text<D> {
    fn piece(&mut self, direction: Direction, piece: Piece<'_>, at: &At, sink: &mut dyn Sink) {
        if self.over {
            return;
        }
        if direction == self.queue.role().request_direction() {
            self.request_piece(piece, at, sink);
        } else {
            self.answer_piece(piece, at, sink);
        }
    }

    fn end(&mut self, end: End, time_ns: MonoNs, sink: &mut dyn Sink) {
        let (ended, reset) = match end {
            End::Received => (Some(Direction::Received), false),
            End::Sent => (Some(Direction::Sent), false),
            End::Both { reset } => (None, reset),
        };
        if self.over {
            return;
        }
        if ended == Some(self.queue.role().request_direction()) {
            // A request that is not whole is none.
            self.requests.lose();
            return;
        }
        match &self.blind {
            Some(blind) if blind.ends == Some(true) && !reset => self.see(sink),
            Some(blind) => {
                let why = blind.why;
                self.queue.report_all(why, time_ns, sink);
            }
            None => {}
        }
        let error =
            if reset { DatabaseError::ConnectionReset } else { DatabaseError::ConnectionClosed };
        self.queue.broken(&error, time_ns, sink);
        self.over = true;
        self.requests.lose();
        self.answers.lose();
    }

    fn settle(&mut self, now: MonoNs, sink: &mut dyn Sink) {
        let is_quiet = |blind: &Blind| {
            blind.began && blind.ends == Some(true) && now.saturating_sub(blind.last_ns) >= QUIET_NS
        };
        if self.blind.as_ref().is_some_and(is_quiet) {
            self.see(sink);
        }
    }

    fn abandon(&mut self, time_ns: MonoNs, sink: &mut dyn Sink) {
        self.settle(MonoNs::MAX, sink);
        self.queue.report_all(Flags::TRUNCATED, time_ns, sink);
        if !self.over {
            self.queue.hide_answers();
            self.answers.lose();
            let why = Flags::TRUNCATED;
            self.blind =
                Some(Blind { began: false, why, ends: None, last_ns: time_ns, late: false });
        }
    }

    fn mark_lossy(&mut self) {
        self.queue.mark_lossy();
    }

    fn is_over(&self) -> bool {
        self.over
    }

    fn is_wrong(&self) -> bool {
        self.wrong
    }

    fn is_waiting(&self) -> bool {
        !self.queue.is_empty()
    }

    fn in_flight(&self, now: MonoNs, look: &mut dyn Look) {
        // While answers are not read, nobody knows to which requests some came.
        if self.blind.is_none() {
            self.queue.in_flight(now, look);
        }
    }

    fn memory(&self) -> usize {
        self.requests.memory() + self.answers.memory() + self.queue.memory()
    }
}
