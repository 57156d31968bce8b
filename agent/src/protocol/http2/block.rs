//! Header blocks: the fragments of HEADERS, `PUSH_PROMISE` and CONTINUATION frames put together and
//! decoded (RFC 9113, section 4.3).

use super::Flags;
use super::fields::Fields;
use super::frame::{Frame, Kind, flag};
use super::half::{Item, Moment};
use super::hpack::Decoder;
use crate::protocol::Problem;

/// Frames of one block past which it is a flood. Peers send blocks of 16 KiB frames, and lists of
/// more than 1 MiB are refused by all of them.
const MAX_FRAMES: u32 = 64;

/// A decoded block.
#[derive(Debug)]
pub(super) struct Headers {
    pub(super) stream: u32,
    /// It ends its side of the stream.
    pub(super) end: bool,
    /// It is a promised request, which no client has sent.
    pub(super) promised: bool,
    /// When its first byte came.
    pub(super) start: Moment,
    pub(super) fields: Fields,
    /// None of its bytes are missing.
    pub(super) whole: bool,
    /// What was wrong with it.
    pub(super) problem: Option<Problem>,
}

/// The block that is being put together.
#[derive(Debug)]
struct Open {
    stream: u32,
    end: bool,
    promised: bool,
    start: Moment,
    frames: u32,
    damaged: Option<Flags>,
    too_long: bool,
}

/// Blocks of one direction.
#[derive(Debug)]
pub(super) struct Block {
    decoder: Decoder,
    open: Option<Open>,
    /// Fragments so far, where they are several.
    fragments: Vec<u8>,
    limit: usize,
    /// A block was decoded, or a part of one was missed.
    begun: bool,
}

impl Block {
    pub(super) fn new(limit: usize) -> Self {
        Self { decoder: Decoder::new(), open: None, fragments: Vec::new(), limit, begun: false }
    }

    /// Starts as on a new connection, unless a block was seen already. Whether it was none.
    pub(super) fn renew(&mut self) -> bool {
        if !self.begun {
            *self = Self::new(self.limit);
        }
        !self.begun
    }

    /// The stream of the block that is being put together.
    pub(super) fn stream(&self) -> Option<u32> {
        self.open.as_ref().map(|open| open.stream)
    }

    pub(super) fn memory(&self) -> usize {
        self.decoder.memory() + self.fragments.capacity()
    }

    /// Blocks went by unseen, or may have.
    pub(super) fn forget(&mut self, why: Flags) {
        self.open = None;
        self.fragments = Vec::new();
        self.decoder.forget(why);
    }

    /// A frame begins that may begin a block.
    pub(super) fn begin(&mut self, frame: Frame, start: Moment) {
        if !matches!(frame.kind, Kind::Headers | Kind::PushPromise) {
            return;
        }
        self.begun = true;
        self.open = Some(Open {
            stream: frame.stream,
            end: frame.kind == Kind::Headers && frame.has(flag::END_STREAM),
            promised: frame.kind == Kind::PushPromise,
            start,
            frames: 0,
            damaged: None,
            too_long: false,
        });
    }

    /// The payload of one of its frames, whole unless `damaged`: then what came before the first
    /// missing byte. Gives the block when this was its last frame; an error when the frame
    /// contradicts itself.
    pub(super) fn add(
        &mut self,
        frame: Frame,
        payload: &[u8],
        damaged: Option<Flags>,
    ) -> Result<Option<Item<'static>>, ()> {
        let fragment = fragment(frame, payload, damaged.is_some()).ok_or(())?;
        let Some(open) = &mut self.open else { return Err(()) };
        open.frames += 1;
        // Nothing can be decoded behind a hole.
        let usable = if open.damaged.is_some() || open.too_long { &[] } else { fragment };
        let room = self.limit.saturating_sub(self.fragments.len());
        open.too_long |= fragment.len() > room;
        if let Some(why) = damaged {
            open.damaged = Some(open.damaged.map_or(why, |before| before | why));
        }
        let usable = usable.get(..room).unwrap_or(usable);
        if !frame.has(flag::END_HEADERS) {
            let flood = open.frames == MAX_FRAMES;
            self.fragments.extend_from_slice(usable);
            return Ok(flood.then_some(Item::Problem(Problem::ContinuationFlood)));
        }
        let Some(open) = self.open.take() else { return Err(()) };
        if self.fragments.is_empty() {
            return Ok(Some(self.decode(&open, usable)));
        }
        let mut whole = std::mem::take(&mut self.fragments);
        whole.extend_from_slice(usable);
        Ok(Some(self.decode(&open, &whole)))
    }

    /// The rest of the block that is being put together went by unseen: gives what came of it.
    pub(super) fn cut(&mut self, why: Flags) -> Option<Item<'static>> {
        let mut open = self.open.take()?;
        open.damaged = Some(open.damaged.map_or(why, |before| before | why));
        let block = std::mem::take(&mut self.fragments);
        Some(self.decode(&open, &block))
    }

    fn decode(&mut self, open: &Open, block: &[u8]) -> Item<'static> {
        let mut fields = Fields::default();
        let mut problem = None;
        let mut unknown = None;
        let mut why = |flags: Flags| unknown = Some(unknown.map_or(flags, |before| before | flags));
        match self.decoder.decode(block, |name, value| fields.take(name, value)) {
            Ok(decoded) => {
                if decoded.too_long {
                    problem = Some(Problem::HeaderListTooLong);
                    why(Flags::TRUNCATED);
                }
                decoded.unknown.into_iter().for_each(&mut why);
            }
            Err(_) if open.damaged.is_some() || open.too_long => {}
            Err(_) => {
                problem = Some(Problem::MalformedHeaders);
                self.decoder.forget(Flags::TRUNCATED);
                why(Flags::TRUNCATED);
            }
        }
        if open.too_long {
            problem = Some(Problem::HeadTooLong);
        }
        let whole = open.damaged.is_none();
        let missing = open.damaged.or(open.too_long.then_some(Flags::TRUNCATED));
        if let Some(missing) = missing {
            self.decoder.forget(missing);
            why(missing);
        }
        fields.unknown = unknown;
        let Open { stream, end, promised, start, .. } = *open;
        Item::Headers(Box::new(Headers { stream, end, promised, start, fields, whole, problem }))
    }
}

/// The fragment in a payload: without padding, priority and promised stream (RFC 9113, sections 6.2
/// and 6.6). `None` when the payload is too short for them.
fn fragment(frame: Frame, payload: &[u8], damaged: bool) -> Option<&[u8]> {
    if frame.kind == Kind::Continuation {
        return Some(payload);
    }
    let padded = frame.has(flag::PADDED);
    let padding = if padded { payload.first().copied().unwrap_or(0) } else { 0 };
    let extra = match frame.kind {
        Kind::PushPromise => 4,
        _ if frame.has(flag::PRIORITY) => 5,
        _ => 0,
    };
    let begin = usize::from(padded) + extra;
    let end = usize::try_from(frame.length).ok()?.checked_sub(usize::from(padding))?;
    if begin > end {
        return None;
    }
    match payload.get(begin..end.min(payload.len())) {
        None if damaged => Some(&[]),
        fragment => fragment,
    }
}
