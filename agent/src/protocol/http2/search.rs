//! Finding where a frame begins, where the place in the stream is not known: on a connection that is
//! older than vigie, and after a gap.
//!
//! A frame is looked for at the first byte of a system call only, where real peers mostly put one.
//! It is believed when several headers in a row are plausible, each where the one before says, or
//! when its length is exactly that of the call. Anything else is followed, without being read, to
//! where its next headers should be; and dropped at the first one that is not plausible.

use super::Flags;
use super::frame::{Frame, HEADER, Kind, flag};
use super::half::fill;
use crate::protocol::At;

/// Weight of evidence at which the place is believed to be found.
const ENOUGH: u32 = 6;

/// Attempts that may fail in a row. Each costs a look at nine bytes; in a long body each call is one.
const MAX_ATTEMPTS: u32 = 4096;

/// How far a stream's number may be ahead of the highest that was seen.
const MAX_AHEAD: u32 = 1 << 20;

/// What a stretch of bytes came to.
pub(super) enum Verdict {
    /// Not found, or not yet.
    Passed,
    /// A frame begins with the first byte.
    Here,
    /// This frame begins; so many bytes are used, its header the last of them.
    Frame(Frame, usize),
    /// Too many attempts have failed.
    GiveUp,
}

/// Frames that are followed without being read.
#[derive(Debug)]
struct Trail {
    weight: u32,
    /// The stream whose header block is not complete: CONTINUATION must follow.
    inside: Option<u32>,
    /// Bytes up to the next header.
    left: u64,
    header: [u8; HEADER],
    have: usize,
}

/// A search.
#[derive(Debug)]
pub(super) struct Search {
    /// Why the place is not known.
    why: Flags,
    counted: bool,
    begun: bool,
    failed: u32,
    trail: Option<Trail>,
}

/// What is known of the connection.
#[derive(Clone, Copy)]
struct Known {
    max_frame: Option<u32>,
    highest: u32,
}

impl Known {
    /// Adds what a header says for being one to a trail; `None` when it is none.
    fn weigh(self, frame: Frame, trail: &mut Trail) -> Option<()> {
        let far = self.highest != 0 && frame.stream > self.highest.saturating_add(MAX_AHEAD);
        if far || !frame.is_plausible(self.max_frame, trail.inside) {
            return None;
        }
        let opens = matches!(frame.kind, Kind::Headers | Kind::PushPromise | Kind::Continuation);
        trail.inside = (opens && !frame.has(flag::END_HEADERS)).then_some(frame.stream);
        // Small numbers in a body look like empty DATA frames; DATA has few bits that must be right.
        trail.weight += match frame.kind {
            Kind::Data | Kind::Continuation | Kind::Headers if frame.length == 0 => 0,
            Kind::Data | Kind::Continuation => 2,
            _ => 4,
        };
        Some(())
    }
}

impl Search {
    pub(super) fn new(why: Flags, counted: bool) -> Self {
        Self { why, counted, begun: false, failed: 0, trail: None }
    }

    /// Why the place is not known.
    pub(super) fn why(&self) -> Flags {
        self.why
    }

    /// Whether no bytes were looked at.
    pub(super) fn is_untouched(&self) -> bool {
        !self.begun
    }

    /// Whether finding the place is a problem to count.
    pub(super) fn is_counted(&self) -> bool {
        self.counted
    }

    /// Looks at bytes; `fresh`: the first of them is the first of a system call.
    pub(super) fn read(
        &mut self,
        bytes: &[u8],
        fresh: bool,
        max_frame: Option<u32>,
        highest: u32,
        at: &At,
    ) -> Verdict {
        self.begun = true;
        let known = Known { max_frame, highest };
        if let Some(trail) = &mut self.trail {
            match follow(trail, bytes, known) {
                Ok(None) => return Verdict::Passed,
                Ok(Some((frame, used))) => return Verdict::Frame(frame, used),
                Err(()) => self.trail = None,
            }
        }
        if !fresh {
            return Verdict::Passed;
        }
        let verdict = self.attempt(bytes, known, at.segment_end);
        if matches!(verdict, Verdict::Passed) && self.trail.is_none() {
            self.failed += 1;
            if self.failed > MAX_ATTEMPTS {
                return Verdict::GiveUp;
            }
        }
        verdict
    }

    /// So many bytes went by unseen.
    pub(super) fn gap(&mut self, count: Option<u64>) {
        self.begun = true;
        self.trail = self.trail.take().and_then(|mut trail| {
            trail.left = trail.left.checked_sub(count?)?;
            (trail.have == 0).then_some(trail)
        });
    }

    /// Follows the headers in `bytes`, from the first byte on.
    fn attempt(&mut self, bytes: &[u8], known: Known, is_whole_call: bool) -> Verdict {
        let mut trail = Trail { weight: 0, inside: None, left: 0, header: [0; HEADER], have: 0 };
        let mut rest = bytes;
        while let Some((header, after)) = rest.split_first_chunk::<HEADER>() {
            let frame = Frame::parse(*header);
            if known.weigh(frame, &mut trail).is_none() {
                return Verdict::Passed;
            }
            let length = usize::try_from(frame.length).unwrap_or(usize::MAX);
            trail.left = length.saturating_sub(after.len()) as u64;
            rest = after.get(length..).unwrap_or_default();
            if trail.weight >= ENOUGH {
                return Verdict::Here;
            }
        }
        if trail.weight == 0 {
            return Verdict::Passed;
        }
        if rest.is_empty() && trail.left == 0 && is_whole_call {
            return Verdict::Here;
        }
        fill(&mut trail.header, &mut trail.have, rest);
        self.trail = Some(trail);
        Verdict::Passed
    }
}

/// Follows frames over bytes that go on where the ones before ended. Gives the frame that makes it
/// enough, and how many bytes are used with its header.
fn follow(trail: &mut Trail, bytes: &[u8], known: Known) -> Result<Option<(Frame, usize)>, ()> {
    let mut used = 0;
    loop {
        let rest = bytes.get(used..).unwrap_or_default();
        if rest.is_empty() {
            return Ok(None);
        }
        let passed = usize::try_from(trail.left).unwrap_or(usize::MAX).min(rest.len());
        trail.left -= passed as u64;
        used += passed;
        if trail.left > 0 {
            return Ok(None);
        }
        used += fill(&mut trail.header, &mut trail.have, bytes.get(used..).unwrap_or_default());
        if trail.have < HEADER {
            return Ok(None);
        }
        let frame = Frame::parse(trail.header);
        known.weigh(frame, trail).ok_or(())?;
        // A block whose beginning was passed over cannot be read.
        if trail.weight >= ENOUGH && frame.kind != Kind::Continuation {
            return Ok(Some((frame, used)));
        }
        (trail.left, trail.have) = (u64::from(frame.length), 0);
    }
}
