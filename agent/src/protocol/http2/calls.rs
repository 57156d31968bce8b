//! What frames mean for the streams: from heads, DATA and resets to finished exchanges.

use super::block::Headers;
use super::half::Item;
use super::stream::{Ended, Stream};
use super::{Http2, MAX_MALFORMED, RAPID_RESETS};
use crate::event::MonoNs;
use crate::protocol::{At, Problem, Role, Sink};
use crate::span::Flags;

/// `REFUSED_STREAM`: what a stream above the last one of a GOAWAY came to.
const REFUSED: u32 = 7;

impl Http2 {
    /// Takes in what came out of a direction's bytes.
    pub(super) fn item(&mut self, asks: bool, item: Item<'_>, at: &At, sink: &mut impl Sink) {
        match item {
            Item::Headers(headers) => self.headers(asks, *headers, at, sink),
            Item::Data { stream, bytes, end } => {
                if let Some(open) = self.streams.get_mut(stream) {
                    let side = if asks { &mut open.request } else { &mut open.response };
                    side.read(bytes);
                    self.moved(asks, stream, end, at, sink);
                }
            }
            Item::Gap { stream, count, end, why } => {
                if let Some(open) = self.streams.get_mut(stream) {
                    let side = if asks { &mut open.request } else { &mut open.response };
                    side.gap(count);
                    if why == Flags::LOSSY {
                        open.flags.set(Flags::LOSSY);
                        if end && !asks {
                            // The record with the last byte is the one that was lost.
                            open.flags.set(Flags::DURATION_UNTRUSTED);
                        }
                    }
                    self.moved(asks, stream, end, at, sink);
                }
            }
            Item::Reset { stream, code } => self.reset(asks, stream, code, at, sink),
            Item::GoAway { last } if !asks => {
                for stream in self.streams.take(|id, stream| id > last && stream.asked) {
                    sink.exchange(stream.into_exchange(Ended::Reset(Some(REFUSED)), at.exit_ns));
                }
            }
            Item::GoAway { .. } => {}
            Item::MaxFrame(length) => self.half(!asks).allow(length),
            Item::Problem(problem) => self.problem(problem, at.exit_ns, sink),
            Item::Preface => {
                self.guessed = false;
                self.responses.renew();
            }
            // The responses of such a connection were taken for lost from the start.
            Item::NoPreface if self.midway => self.half(asks).start_midway(),
            Item::NoPreface => {
                self.requests.start_midway();
                if self.responses.is_untouched() {
                    self.responses.start_midway();
                } else {
                    self.responses.block.forget(Flags::MID_STREAM);
                }
            }
            Item::GiveUp => self.stop(at.exit_ns, sink),
        }
    }

    fn problem(&mut self, problem: Problem, time_ns: MonoNs, sink: &mut impl Sink) {
        sink.problem(problem);
        if matches!(problem, Problem::MalformedFrame | Problem::MalformedHeaders) {
            self.malformed += 1;
            if self.malformed >= MAX_MALFORMED {
                self.stop(time_ns, sink);
            }
        }
    }

    /// A header block of one direction.
    fn headers(&mut self, asks: bool, headers: Headers, at: &At, sink: &mut impl Sink) {
        match headers.problem {
            Some(problem) => self.problem(problem, at.exit_ns, sink),
            None if headers.whole => self.malformed = 0,
            None => {}
        }
        let asks = asks ^ self.mend_role(asks, &headers);
        // Promised responses are no answers to a request.
        if self.is_over() || headers.promised || headers.stream.is_multiple_of(2) {
            return;
        }
        if asks {
            self.request(headers, at, sink);
        } else {
            self.resets = 0;
            self.response(headers, at, sink);
        }
    }

    /// Of a connection whose beginning was not seen the kernel could only guess which end this is. The
    /// first block that says whether it asks or answers decides. Returns whether the guess was wrong.
    fn mend_role(&mut self, asks: bool, headers: &Headers) -> bool {
        let says = match (headers.fields.asks, headers.fields.status.is_some()) {
            (true, false) => true,
            (false, true) => false,
            _ => return false,
        };
        let is_wrong = std::mem::take(&mut self.guessed) && says != asks;
        if is_wrong {
            self.role = self.role.opposite();
            std::mem::swap(&mut self.requests, &mut self.responses);
            if self.responses.awaits_preface() {
                self.responses.start_midway();
            }
        }
        is_wrong
    }

    fn request(&mut self, headers: Headers, at: &At, sink: &mut impl Sink) {
        let Headers { stream: id, end, start, fields, whole, .. } = headers;
        if let Some(open) = self.streams.get_mut(id) {
            if open.asked {
                open.take_common(&fields);
            } else {
                // The record of the response was faster.
                open.ask(fields, start);
                self.streams.adopted();
            }
            self.moved(true, id, end, at, sink);
            return;
        }
        if id <= self.highest {
            // Trailers of a stream that has ended.
            return;
        }
        self.highest = id;
        self.drop_orphans(|orphan, _| orphan < id, sink);
        if whole && !fields.asks && end {
            // Trailers of a stream that is older than vigie, or whose beginning was lost.
            return;
        }
        let mut stream = Stream::new(self.role, id, start);
        stream.ask(fields, start);
        stream.request.ended = end;
        if let Some(why) = self.responses.lost() {
            stream.hide(false, why);
        }
        if !self.streams.has_room() {
            self.report_hidden(MonoNs::MAX, sink);
        }
        if self.streams.has_room() {
            self.streams.insert(id, stream);
        } else {
            // Counted now; its response is passed over when it comes.
            self.streams.overflow += 1;
            sink.problem(Problem::TooManyInFlight);
            sink.exchange(stream.into_exchange(Ended::Unseen(Flags::TRUNCATED), at.exit_ns));
        }
    }

    fn response(&mut self, headers: Headers, at: &At, sink: &mut impl Sink) {
        let Headers { stream: id, end, start, fields, .. } = headers;
        let is_interim = fields.status.is_some_and(|status| status < 200);
        if is_interim && !end {
            return;
        }
        if let Some(open) = self.streams.get_mut(id) {
            open.answer(&fields, start);
            let end = end || open.is_tunnel();
            self.moved(false, id, end, at, sink);
            return;
        }
        if fields.status.is_none() {
            // Trailers of a stream that is older than vigie or was reported already.
            return;
        }
        if id <= self.highest && self.streams.overflow > 0 {
            self.streams.overflow -= 1;
        } else if self.role == Role::Client && id > self.highest && self.streams.has_room() {
            // With several threads the record of a fast answer can overtake that of its request.
            let mut stream = Stream::new(self.role, id, start);
            stream.answer(&fields, start);
            self.streams.insert(id, stream);
            self.moved(false, id, end, at, sink);
        } else {
            sink.problem(Problem::ResponseWithoutRequest);
        }
    }

    /// Something of a stream's direction came; `end` with the last of it.
    fn moved(&mut self, asks: bool, id: u32, end: bool, at: &At, sink: &mut impl Sink) {
        let Some(open) = self.streams.get_mut(id) else { return };
        open.last_ns = open.last_ns.max(at.exit_ns);
        if asks {
            open.request.ended |= end;
        } else {
            // It has not ended yet, after all.
            open.hidden = None;
            open.note_message(at.exit_ns);
            if end {
                open.response.ended = true;
                open.end_ns = at.exit_ns;
            }
        }
        if open.asked && open.response.ended {
            let late = asks;
            if let Some(mut stream) = self.streams.remove(id) {
                if late && !stream.request.ended {
                    // Its response came before the records that tell the rest.
                    stream.request.lose();
                }
                let end_ns = stream.end_ns;
                sink.exchange(stream.into_exchange(Ended::Whole, end_ns));
            }
        }
    }

    /// RFC 9113, section 6.4.
    fn reset(&mut self, asks: bool, id: u32, code: Option<u32>, at: &At, sink: &mut impl Sink) {
        if self.streams.get_mut(id).is_some_and(|open| !open.asked) {
            // Its request may still come; it will be known by the end of the connection.
            return;
        }
        let Some(stream) = self.streams.remove(id) else { return };
        if asks && stream.is_unanswered() {
            self.resets += 1;
            if self.resets.is_multiple_of(RAPID_RESETS) {
                sink.problem(Problem::RapidResets);
            }
        }
        sink.exchange(stream.into_exchange(Ended::Reset(code), at.exit_ns));
    }
}
