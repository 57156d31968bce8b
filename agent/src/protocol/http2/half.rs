//! One direction of a connection: from bytes to whole header blocks, pieces of DATA, and the few
//! other frames that matter.
//!
//! Frames come over any boundary. What does not matter is passed over by its length; DATA is given
//! on as it comes, without being kept; the other frames are read in place where they come whole,
//! else collected, up to a bound.

mod gaps;

use super::Flags;
use super::block::{Block, Headers};
use super::frame::{DEFAULT_MAX, Frame, HEADER, Kind, PREFACE, flag};
use super::search::{Search, Verdict};
use crate::event::{MonoNs, Unit};
use crate::protocol::{At, Problem};

/// Bytes that are kept of a frame that carries no fields.
const MAX_CONTROL: usize = 256;

/// When and by whom a frame was begun.
#[derive(Clone, Copy, Debug)]
pub(super) struct Moment {
    pub(super) enter_ns: MonoNs,
    pub(super) exit_ns: MonoNs,
    pub(super) unit: Unit,
}

impl From<&At> for Moment {
    fn from(at: &At) -> Self {
        Self { enter_ns: at.enter_ns, exit_ns: at.exit_ns, unit: at.unit }
    }
}

/// Where a direction stands.
#[derive(Debug)]
enum State {
    /// So many bytes of the client's preface have come.
    Preface(usize),
    /// So many bytes of a frame header have come.
    Header { bytes: [u8; HEADER], have: usize },
    /// In a frame whose payload is collected, with so many bytes to come.
    Collect { left: usize },
    /// In a DATA frame. Whether the byte that tells how much of it is padding is to come.
    Data { content: u32, padding: u32, awaits_padding: bool },
    /// So many bytes to pass over.
    Pass { left: u32 },
    /// The place is lost, or was never known.
    Search(Search),
    /// Nothing more is read.
    Over,
}

/// What came out of a direction's bytes.
#[derive(Debug)]
pub(super) enum Item<'a> {
    /// A header block; boxed, because it is much larger than the others.
    Headers(Box<Headers>),
    /// Bytes of a stream's DATA; `end` with the last of the stream.
    Data { stream: u32, bytes: &'a [u8], end: bool },
    /// So many bytes of a stream's DATA went by unseen, `None` for an unknown number.
    Gap { stream: u32, count: Option<u32>, end: bool, why: Flags },
    /// `RST_STREAM`, with its code where it was seen.
    Reset { stream: u32, code: Option<u32> },
    /// `GOAWAY`: streams above `last` are not processed.
    GoAway { last: u32 },
    /// The peer may send frames of this length.
    MaxFrame(u32),
    /// Something that made no sense.
    Problem(Problem),
    /// Not HTTP/2 with prior knowledge from its start.
    NoPreface,
    /// The preface came whole.
    Preface,
    /// The place could not be found again.
    GiveUp,
}

/// One direction.
#[derive(Debug)]
pub(super) struct Half {
    state: State,
    frame: Frame,
    /// When the current frame began.
    start: Moment,
    /// Payload of the current frame that came in parts.
    payload: Vec<u8>,
    /// Bytes of the payload went by unseen, or are not kept.
    damaged: Option<Flags>,
    pub(super) block: Block,
    /// Longest payload that this direction may have, where it is known.
    max_frame: Option<u32>,
    head_bytes: usize,
    /// [`Place::epoch`](crate::event::Place) when the place was last known here as in the kernel.
    agreed: Option<u32>,
    /// The place is where the kernel said: the beginning of a block may have gone by.
    resumed: bool,
}

impl Half {
    pub(super) fn new(head_bytes: usize) -> Self {
        let unit = Unit {
            process: crate::event::ProcessKey { pid: 0, start_ns: 0 },
            tid: 0,
            goroutine: 0,
        };
        Self {
            state: State::Header { bytes: [0; HEADER], have: 0 },
            frame: Frame::parse([0; HEADER]),
            start: Moment { enter_ns: 0, exit_ns: 0, unit },
            payload: Vec::new(),
            damaged: None,
            block: Block::new(head_bytes),
            max_frame: Some(DEFAULT_MAX),
            head_bytes,
            agreed: None,
            resumed: false,
        }
    }

    /// The client's preface is to come.
    pub(super) fn expect_preface(&mut self) {
        self.state = State::Preface(0);
    }

    /// The bytes before were not seen: begins wherever a frame does.
    pub(super) fn start_midway(&mut self) {
        self.max_frame = None;
        self.lose(Flags::MID_STREAM, false);
    }

    /// Whether the client's preface may still come.
    pub(super) fn awaits_preface(&self) -> bool {
        matches!(self.state, State::Preface(_))
    }

    /// Whether nothing has come yet.
    pub(super) fn is_untouched(&self) -> bool {
        matches!(self.state, State::Header { have: 0, .. } | State::Preface(0))
            && self.start.exit_ns == 0
    }

    /// The bytes before were not seen, but with these a frame begins, if they look like one.
    pub(super) fn start_here(&mut self, bytes: &[u8]) {
        let header = bytes.first_chunk().map(|bytes| Frame::parse(*bytes));
        if header.is_some_and(|frame| frame.is_plausible(None, None)) {
            self.start_midway();
            self.next_header();
        }
    }

    /// Why it is not known where frames begin, if so.
    pub(super) fn lost(&self) -> Option<Flags> {
        match &self.state {
            State::Search(search) => Some(search.why()),
            _ => None,
        }
    }

    pub(super) fn is_over(&self) -> bool {
        matches!(self.state, State::Over)
    }

    pub(super) fn close(&mut self) {
        self.payload = Vec::new();
        self.block.forget(Flags::TRUNCATED);
        self.state = State::Over;
    }

    /// The connection began with this direction's next byte, if nothing that matters has come.
    pub(super) fn renew(&mut self) {
        if self.block.renew() {
            self.max_frame = Some(DEFAULT_MAX);
            if matches!(&self.state, State::Search(search) if search.is_untouched()) {
                self.next_header();
            }
        }
    }

    /// The peer has allowed frames of this length.
    pub(super) fn allow(&mut self, length: u32) {
        // Where it is not known, more may have been allowed before.
        self.max_frame = self.max_frame.map(|max| max.max(length));
    }

    /// Memory in use besides the value itself.
    pub(super) fn memory(&self) -> usize {
        self.payload.capacity() + self.block.memory()
    }

    /// The place is lost; whether finding it again is a problem to count.
    pub(super) fn lose(&mut self, why: Flags, counted: bool) {
        self.payload = Vec::new();
        self.damaged = None;
        self.block.forget(why);
        if !self.is_over() {
            self.state = State::Search(Search::new(why, counted));
        }
    }

    /// Reads on: how many bytes were used, and what they came to. `fresh`: the first of them is the
    /// first of a system call. `highest`: the highest stream so far.
    pub(super) fn read<'b>(
        &mut self,
        bytes: &'b [u8],
        fresh: bool,
        highest: u32,
        at: &At,
    ) -> (usize, Option<Item<'b>>) {
        match &mut self.state {
            State::Preface(have) => {
                let rest = PREFACE.get(*have..).unwrap_or_default();
                let length = rest.len().min(bytes.len());
                if bytes.get(..length) != rest.get(..length) {
                    return (0, Some(Item::NoPreface));
                }
                *have += length;
                if *have < PREFACE.len() {
                    return (length, None);
                }
                self.state = State::Header { bytes: [0; HEADER], have: 0 };
                (length, Some(Item::Preface))
            }
            State::Header { bytes: header, have } => {
                if *have == 0 {
                    self.start = at.into();
                }
                let used = fill(header, have, bytes);
                if *have < HEADER {
                    return (used, None);
                }
                let frame = Frame::parse(*header);
                (used, self.begin(frame))
            }
            State::Collect { left } => {
                let used = bytes.len().min(*left);
                *left -= used;
                let whole = *left == 0;
                let bytes = bytes.get(..used).unwrap_or_default();
                if self.damaged.is_none() {
                    if whole && self.payload.is_empty() {
                        return (used, self.collected(bytes));
                    }
                    let room = self.room().saturating_sub(self.payload.len());
                    self.payload.extend_from_slice(bytes.get(..room).unwrap_or(bytes));
                }
                (used, if whole { self.end_collected() } else { None })
            }
            State::Data { .. } => self.data(bytes),
            State::Pass { left } => {
                let used = bytes.len().min(in_memory(*left));
                *left -= u32::try_from(used).unwrap_or(*left);
                if *left == 0 {
                    self.next_header();
                }
                (used, None)
            }
            State::Search(search) => match search.read(bytes, fresh, self.max_frame, highest, at) {
                Verdict::Passed => (bytes.len(), None),
                Verdict::Here => (0, self.found()),
                Verdict::Frame(frame, used) => {
                    self.start = at.into();
                    let problem = self.found();
                    // One thing at a time: the frame begins with what comes next.
                    let begun = self.begin(frame);
                    (used, begun.or(problem))
                }
                Verdict::GiveUp => (bytes.len(), Some(Item::GiveUp)),
            },
            State::Over => (bytes.len(), None),
        }
    }

    /// The place is found again.
    fn found(&mut self) -> Option<Item<'static>> {
        let State::Search(search) = &self.state else { return None };
        let counted = search.is_counted();
        self.next_header();
        counted.then_some(Item::Problem(Problem::Resynchronised))
    }

    fn next_header(&mut self) {
        self.state = State::Header { bytes: [0; HEADER], have: 0 };
    }

    /// A frame header has come whole.
    fn begin(&mut self, frame: Frame) -> Option<Item<'static>> {
        self.resumed &= frame.kind == Kind::Continuation;
        if self.resumed {
            self.state = State::Pass { left: frame.length };
            if frame.length == 0 {
                self.next_header();
            }
            return None;
        }
        if frame.is_malformed(self.block.stream()) {
            return Some(self.malformed());
        }
        self.frame = frame;
        self.damaged = None;
        match frame.kind {
            Kind::Data => {
                self.state = State::Data {
                    content: frame.length,
                    padding: 0,
                    awaits_padding: frame.has(flag::PADDED),
                };
                (frame.length == 0).then(|| self.data_end(&[]))
            }
            Kind::Headers
            | Kind::PushPromise
            | Kind::Continuation
            | Kind::Reset
            | Kind::Settings
            | Kind::GoAway => {
                if frame.kind != Kind::Continuation {
                    self.block.begin(frame, self.start);
                }
                self.state = State::Collect { left: in_memory(frame.length) };
                if frame.length == 0 { self.collected(&[]) } else { None }
            }
            Kind::Priority | Kind::Ping | Kind::WindowUpdate | Kind::Other(_) => {
                self.state = State::Pass { left: frame.length };
                if frame.length == 0 {
                    self.next_header();
                }
                None
            }
        }
    }

    fn malformed(&mut self) -> Item<'static> {
        self.lose(Flags::TRUNCATED, true);
        Item::Problem(Problem::MalformedFrame)
    }

    /// Bytes of a payload that are kept: a block's, and what may stand around it.
    fn room(&self) -> usize {
        match self.frame.kind {
            Kind::Headers | Kind::PushPromise | Kind::Continuation => self.head_bytes + MAX_CONTROL,
            _ => MAX_CONTROL,
        }
    }

    fn end_collected(&mut self) -> Option<Item<'static>> {
        let payload = std::mem::take(&mut self.payload);
        self.collected(&payload)
    }

    /// A frame's payload is complete, or as complete as it gets.
    fn collected(&mut self, payload: &[u8]) -> Option<Item<'static>> {
        self.next_header();
        let word = |at: usize| {
            let bytes = payload.get(at..at + 4)?;
            Some(u32::from_be_bytes(bytes.try_into().ok()?))
        };
        match self.frame.kind {
            Kind::Headers | Kind::PushPromise | Kind::Continuation => {
                match self.block.add(self.frame, payload, self.damaged) {
                    Ok(headers) => headers,
                    Err(()) => Some(self.malformed()),
                }
            }
            Kind::Reset => Some(Item::Reset { stream: self.frame.stream, code: word(0) }),
            Kind::GoAway => word(0).map(|last| Item::GoAway { last: last & 0x7fff_ffff }),
            // Of the settings only SETTINGS_MAX_FRAME_SIZE matters, and only for finding the place
            // again: a table's size is told in the header blocks, too.
            Kind::Settings => payload.as_chunks::<6>().0.iter().rev().find_map(|setting| {
                let [0, 5, value @ ..] = setting else { return None };
                Some(Item::MaxFrame(u32::from_be_bytes(*value)))
            }),
            _ => None,
        }
    }

    /// Reads on in a DATA frame.
    fn data<'b>(&mut self, bytes: &'b [u8]) -> (usize, Option<Item<'b>>) {
        let State::Data { content, padding, awaits_padding } = &mut self.state else {
            return (0, None);
        };
        if *awaits_padding {
            let Some(length) = bytes.first() else { return (0, None) };
            let Some(rest) = content.checked_sub(1 + u32::from(*length)) else {
                return (1, Some(self.malformed()));
            };
            (*content, *padding, *awaits_padding) = (rest, u32::from(*length), false);
            let is_end = *content + *padding == 0;
            return (1, is_end.then(|| self.data_end(&[])));
        }
        if *content > 0 {
            let used = bytes.len().min(in_memory(*content));
            *content -= u32::try_from(used).unwrap_or(*content);
            let is_end = *content + *padding == 0;
            let bytes = bytes.get(..used).unwrap_or_default();
            let stream = self.frame.stream;
            let item = if is_end {
                self.data_end(bytes)
            } else {
                Item::Data { stream, bytes, end: false }
            };
            return (used, Some(item));
        }
        let used = bytes.len().min(in_memory(*padding));
        *padding -= u32::try_from(used).unwrap_or(*padding);
        let is_end = *padding == 0;
        (used, is_end.then(|| self.data_end(&[])))
    }

    fn data_end<'b>(&mut self, bytes: &'b [u8]) -> Item<'b> {
        self.next_header();
        let end = self.frame.has(flag::END_STREAM);
        Item::Data { stream: self.frame.stream, bytes, end }
    }
}

/// Adds bytes to a frame header and gives the number of those used.
pub(super) fn fill(header: &mut [u8; HEADER], have: &mut usize, bytes: &[u8]) -> usize {
    let used = bytes.len().min(HEADER.saturating_sub(*have));
    if let (Some(into), Some(from)) = (header.get_mut(*have..*have + used), bytes.get(..used)) {
        into.copy_from_slice(from);
    }
    *have += used;
    used
}

fn in_memory(count: u32) -> usize {
    usize::try_from(count).unwrap_or(usize::MAX)
}
