//! HTTP/2: RFC 9113, with HPACK (RFC 7541) and gRPC.
//!
//! A push parser for both directions of one connection. Each direction is a sequence of frames
//! ([`half`]) with header blocks ([`block`], [`hpack`]); what these mean for the streams that are open
//! ([`streams`]) is in [`calls`]. A stream that has ended is an exchange ([`stream`]).
//!
//! The capture is not the whole stream of bytes: the payload of DATA is mostly skipped by design,
//! records may be lost, and connections may be older than vigie. What is reported stays true:
//!
//! - A gap within a frame changes nothing but that frame. Where its end goes by unseen, the place is
//!   lost, and found again where the kernel knows it ([`Http2::placed`]), else only where several frame
//!   headers in a row prove it ([`search`]).
//! - Where header blocks went by unseen, fields that refer to them are not known ([`hpack`]). What is
//!   not known is left out, and the span has the flag that says why: `mid_stream` on a connection that
//!   is older than vigie, `lossy` after a loss, `truncated` after too large a block.
//! - On an older connection the heads themselves tell which direction is that of the requests; the
//!   kernel can only guess.
//! - Streams are matched by their numbers, so nothing that is missing can mix them up. A response
//!   whose request was before vigie is no exchange.
//! - A stream whose end may have gone by unseen is reported, without a duration, once nothing was
//!   seen of it for [`HIDDEN_NS`], or when its place in the table is needed.
//!
//! Of the peers' SETTINGS only the frame size matters: a table's size is told in the header blocks as
//! well, and the number of streams is bounded by vigie's own limit.
#![forbid(unsafe_code)]

mod block;
mod calls;
mod fields;
mod frame;
mod grpc;
mod half;
mod hpack;
mod search;
mod stream;
mod streams;
#[cfg(test)]
mod tests;

use half::Half;
use stream::{Ended, Stream};
use streams::Streams;

use super::in_flight::Look;
use super::{Advice, At, End, Exchange, Limits, Piece, Problem, Role, Sink};
use crate::event::{Direction, MonoNs, Place};
use crate::span::Flags;
use crate::span::http::HttpError;

/// Frames or blocks in a row that made no sense after which a connection is given up.
pub const MAX_MALFORMED: u8 = 8;

/// A stream whose end may have gone by unseen is reported after so long without a sign of it.
pub const HIDDEN_NS: u64 = 60_000_000_000;

/// How long a response waits for its request, whose record may be late.
pub const ORPHAN_NS: u64 = 1_000_000_000;

/// Streams reset by the client in a row, without any response between, that are a problem.
pub const RAPID_RESETS: u32 = 100;

/// Where a parser begins.
#[derive(Debug)]
pub enum Begin {
    /// With the first byte of the connection.
    Start,
    /// Somewhere: the connection is older than vigie, or its first bytes were not seen.
    Midway,
    /// After the response 101 to this request of HTTP/1.1, which has become stream 1.
    Upgrade(Box<Exchange>),
}

/// Parser of one connection.
#[derive(Debug)]
pub struct Http2 {
    role: Role,
    /// Whether the connection's beginning was not seen.
    midway: bool,
    /// Whether the role is a guess.
    guessed: bool,
    /// Whether a byte has come.
    begun: bool,
    requests: Half,
    responses: Half,
    streams: Streams,
    /// The highest stream that the client has begun.
    highest: u32,
    /// Frames and blocks that made no sense, without a good block between.
    malformed: u8,
    /// Streams that the client has reset since the last response.
    resets: u32,
    /// Where a frame begins in the bytes of a direction that come next.
    place: Option<(Direction, Place)>,
}

impl Http2 {
    /// A parser that expects both directions where `begin` says.
    pub fn new(role: Role, limits: Limits, begin: Begin) -> Self {
        let mut parser = Self {
            role,
            midway: matches!(begin, Begin::Midway),
            guessed: matches!(begin, Begin::Midway),
            begun: false,
            requests: Half::new(limits.head_bytes),
            responses: Half::new(limits.head_bytes),
            streams: Streams::new(limits.in_flight),
            highest: 0,
            malformed: 0,
            resets: 0,
            place: None,
        };
        parser.requests.expect_preface();
        match begin {
            Begin::Start => {}
            Begin::Midway => parser.responses.start_midway(),
            Begin::Upgrade(exchange) => {
                if let Some(stream) = Stream::upgraded(*exchange) {
                    parser.streams.insert(1, stream);
                    parser.highest = 1;
                }
            }
        }
        parser
    }

    /// The next piece of one direction.
    pub fn piece(&mut self, direction: Direction, piece: Piece<'_>, at: &At, sink: &mut impl Sink) {
        let asks = self.asks(direction);
        match piece {
            Piece::Bytes(bytes) => self.bytes(direction, bytes, at, sink),
            Piece::Skipped(count) => self.gap(asks, Some(count), Flags::TRUNCATED, at, sink),
            Piece::Lost(count) => self.gap(asks, count, Flags::LOSSY, at, sink),
        }
    }

    /// Where the kernel knows that a frame begins in the next bytes of a direction. After a loss the
    /// place is known at once, so that every request is counted whose first byte was captured: the kernel
    /// counts the others.
    pub fn placed(&mut self, direction: Direction, place: Option<Place>) {
        self.place = place.map(|place| (direction, place));
    }

    /// Whether requests go in this direction.
    fn asks(&self, direction: Direction) -> bool {
        direction == self.role.request_direction()
    }

    fn half(&mut self, asks: bool) -> &mut Half {
        if asks { &mut self.requests } else { &mut self.responses }
    }

    fn bytes(&mut self, direction: Direction, bytes: &[u8], at: &At, sink: &mut impl Sink) {
        if !std::mem::replace(&mut self.begun, true) && self.midway {
            // The kernel recognised the connection by these bytes.
            self.half(self.asks(direction)).start_here(bytes);
        }
        let place = self.place.take().filter(|(of, _)| *of == direction).map(|(_, place)| place);
        let (mut rest, mut fresh) = (bytes, at.segment_start);
        if let Some(place) = place {
            let half = self.half(self.asks(direction));
            let offset = place.offset as usize;
            if half.resume(place, bytes) {
                rest = bytes.get(offset..).unwrap_or_default();
                fresh &= offset == 0;
            } else if place.epoch > 0 && half.lost().is_none() {
                // Whether it is the same here is seen where the frame begins.
                let (before, behind) = bytes.split_at(offset.min(bytes.len()));
                self.read(direction, before, fresh, at, sink);
                self.half(self.asks(direction)).agree(place);
                rest = behind;
                fresh &= before.is_empty();
            }
        }
        self.read(direction, rest, fresh, at, sink);
    }

    /// Reads bytes of a direction; `fresh`: the first of them is the first of a system call.
    fn read(
        &mut self,
        direction: Direction,
        bytes: &[u8],
        mut fresh: bool,
        at: &At,
        sink: &mut impl Sink,
    ) {
        let mut rest = bytes;
        while !rest.is_empty() {
            // A header block may show that it is the other end.
            let asks = self.asks(direction);
            let highest = self.highest;
            let half = self.half(asks);
            if half.is_over() {
                return;
            }
            let was_placed = half.lost().is_none();
            let (used, item) = half.read(rest, fresh, highest, at);
            if was_placed && let Some(why) = half.lost() {
                self.lost_place(asks, why);
            }
            if let Some(item) = item {
                self.item(asks, item, at, sink);
            }
            rest = rest.get(used..).unwrap_or_default();
            fresh &= used == 0;
        }
    }

    fn gap(&mut self, asks: bool, count: Option<u64>, why: Flags, at: &At, sink: &mut impl Sink) {
        let half = self.half(asks);
        let was_placed = half.lost().is_none();
        let item = half.gap(count, why);
        let is_lost = was_placed && half.lost().is_some();
        if let Some(item) = item {
            self.item(asks, item, at, sink);
        }
        if is_lost {
            self.lost_place(asks, why);
        }
    }

    /// Frames of this direction may have gone by unseen, among them the ends of streams.
    fn lost_place(&mut self, asks: bool, why: Flags) {
        for stream in self.streams.iter_mut() {
            stream.hide(asks, why);
        }
    }

    /// Records of this connection were lost; where is told by [`Piece::Lost`], if ever.
    pub fn mark_lossy(&mut self) {
        self.streams.iter_mut().for_each(|stream| stream.flags.set(Flags::LOSSY));
    }

    /// One direction or both are over.
    pub fn end(&mut self, end: End, time_ns: MonoNs, sink: &mut impl Sink) {
        let (ended, reset) = match end {
            End::Received => (Some(Direction::Received), false),
            End::Sent => (Some(Direction::Sent), false),
            End::Both { reset } => (None, reset),
        };
        let requests = self.role.request_direction();
        if ended.is_none_or(|ended| ended == requests) {
            self.requests.close();
        }
        if ended.is_none_or(|ended| ended != requests) {
            self.responses.close();
            let error =
                if reset { HttpError::ConnectionReset } else { HttpError::ConnectionClosed };
            self.drop_orphans(|_, _| true, sink);
            for stream in self.streams.take(|_, _| true) {
                let lossy = stream.flags.has(Flags::LOSSY).then_some(Flags::LOSSY);
                let how = match stream.hidden.or(lossy) {
                    Some(why) => Ended::Unseen(why),
                    None => Ended::Broken(error),
                };
                sink.exchange(stream.into_exchange(how, time_ns));
            }
        }
    }

    /// Gives out streams of which nothing more can be expected. With the largest value all of which
    /// the end may have gone by.
    pub fn settle(&mut self, now: MonoNs, sink: &mut impl Sink) {
        let orphans = now.saturating_sub(ORPHAN_NS);
        self.drop_orphans(|_, stream| stream.last_ns <= orphans, sink);
        let hidden = now.saturating_sub(HIDDEN_NS);
        if self.streams.has_hidden(hidden) {
            self.report_hidden(hidden, sink);
        }
    }

    /// Forgets everything in flight, because there is no room or no time to wait for it. What was
    /// not seen is reported as such.
    pub fn abandon(&mut self, time_ns: MonoNs, sink: &mut impl Sink) {
        self.report_all(time_ns, sink);
        for half in [&mut self.requests, &mut self.responses] {
            half.lose(Flags::TRUNCATED, true);
        }
    }

    /// Whether nothing more will be read.
    pub fn is_over(&self) -> bool {
        self.requests.is_over() && self.responses.is_over()
    }

    /// Whether requests are in flight.
    pub fn is_waiting(&self) -> bool {
        !self.streams.is_empty()
    }

    /// Shows the requests that surely wait for their responses, in no certain order.
    pub fn in_flight(&self, now: MonoNs, look: &mut dyn Look) {
        for stream in self.streams.iter() {
            if stream.surely_waits() && look.wants(stream.start_ns()) {
                look.show(stream.so_far(now));
            }
        }
    }

    /// Memory in use besides the value itself, in bytes. Bounded by the limits of this module.
    pub fn memory(&self) -> usize {
        self.requests.memory() + self.responses.memory() + self.streams.memory()
    }

    /// The connection makes no sense.
    fn stop(&mut self, time_ns: MonoNs, sink: &mut impl Sink) {
        self.report_all(time_ns, sink);
        self.requests.close();
        self.responses.close();
        sink.advice(Advice::Ignore);
    }

    fn report_all(&mut self, time_ns: MonoNs, sink: &mut impl Sink) {
        self.streams.overflow = 0;
        self.drop_orphans(|_, _| true, sink);
        for stream in self.streams.take(|_, _| true) {
            sink.exchange(stream.into_exchange(Ended::Unseen(Flags::TRUNCATED), time_ns));
        }
    }

    /// Gives out the streams whose end may have gone by, if nothing was seen of them since `before`.
    fn report_hidden(&mut self, before: MonoNs, sink: &mut impl Sink) {
        let is_hidden = |stream: &Stream| stream.hidden.is_some() && stream.last_ns <= before;
        for stream in self.streams.take(|_, stream| is_hidden(stream)) {
            let (why, time_ns) = (stream.hidden.unwrap_or(Flags::LOSSY), stream.last_ns);
            sink.exchange(stream.into_exchange(Ended::Unseen(why), time_ns));
        }
    }

    /// No request comes any more that these responses could belong to.
    fn drop_orphans(&mut self, is_late: impl Fn(u32, &Stream) -> bool, sink: &mut impl Sink) {
        for _ in 0..self.streams.drop_orphans(is_late) {
            sink.problem(Problem::ResponseWithoutRequest);
        }
    }
}
