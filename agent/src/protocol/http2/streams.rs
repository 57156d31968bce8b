//! The streams of a connection that are open, of bounded number.

use hashbrown::HashMap;

use super::stream::Stream;
use crate::event::MonoNs;

/// Length of the table up to which its memory is kept when it runs empty.
const KEPT_CAPACITY: usize = 16;

/// The table.
#[derive(Debug)]
pub(super) struct Streams {
    open: HashMap<u32, Stream>,
    limit: usize,
    /// Responses that came before their requests, among those that are open.
    orphans: usize,
    /// Requests for which there was no room. They are reported already; their responses are passed
    /// over.
    pub(super) overflow: u64,
}

impl Streams {
    /// At most so many streams.
    pub(super) fn new(limit: usize) -> Self {
        Self { open: HashMap::new(), limit, orphans: 0, overflow: 0 }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.open.is_empty()
    }

    pub(super) fn has_room(&self) -> bool {
        self.open.len() < self.limit
    }

    pub(super) fn get_mut(&mut self, id: u32) -> Option<&mut Stream> {
        self.open.get_mut(&id)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Stream> {
        self.open.values()
    }

    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Stream> {
        self.open.values_mut()
    }

    /// Adds a stream. Ask [`Self::has_room`] first.
    pub(super) fn insert(&mut self, id: u32, stream: Stream) {
        self.orphans += usize::from(!stream.asked);
        self.open.insert(id, stream);
    }

    /// The request of an orphan has come.
    pub(super) fn adopted(&mut self) {
        self.orphans = self.orphans.saturating_sub(1);
    }

    pub(super) fn remove(&mut self, id: u32) -> Option<Stream> {
        let stream = self.open.remove(&id)?;
        self.orphans -= usize::from(!stream.asked).min(self.orphans);
        if self.open.is_empty() && self.open.capacity() > KEPT_CAPACITY {
            self.open = HashMap::new();
        }
        Some(stream)
    }

    /// Removes the orphans that `is_late` says of that no request comes for them any more; how many.
    pub(super) fn drop_orphans(&mut self, is_late: impl Fn(u32, &Stream) -> bool) -> usize {
        if self.orphans == 0 {
            return 0;
        }
        let before = self.open.len();
        self.open.retain(|id, stream| stream.asked || !is_late(*id, stream));
        let dropped = before - self.open.len();
        self.orphans -= dropped.min(self.orphans);
        dropped
    }

    /// Takes out the streams that `which` chooses, in the order of their numbers.
    pub(super) fn take(&mut self, which: impl Fn(u32, &Stream) -> bool) -> Vec<Stream> {
        let mut ids: Vec<u32> = self
            .open
            .iter()
            .filter(|(id, stream)| which(**id, stream))
            .map(|(id, _)| *id)
            .collect();
        ids.sort_unstable();
        ids.into_iter().filter_map(|id| self.remove(id)).collect()
    }

    /// Whether one may be open only because its end went by unseen, and nothing was seen of it since
    /// `before`.
    pub(super) fn has_hidden(&self, before: MonoNs) -> bool {
        self.open.values().any(|stream| stream.hidden.is_some() && stream.last_ns <= before)
    }

    /// Memory in use besides the value itself, texts estimated.
    pub(super) fn memory(&self) -> usize {
        const TEXTS: usize = 128;
        self.open.capacity() * size_of::<(u32, Stream)>() + self.open.len() * TEXTS
    }
}
