//! The dynamic table: RFC 7541, section 2.3.2 and section 4, with entries that are not known.
//!
//! Indices count from the newest entry. So a table of which only the newest entries are known, in a
//! row, gives each of them its right index, and the older ones are just not there: what points
//! behind the known entries is [`Found::Unknown`]. How large the real table is does not matter for
//! that: a right encoder never points at what has gone from it.

use std::collections::VecDeque;

use super::super::Flags;

/// Size that a table has until a size update changes it (RFC 9113, section 6.5.2).
pub(super) const DEFAULT_SIZE: usize = 4096;

/// Size up to which entries are kept, whatever the peers agree on.
pub(super) const MAX_SIZE: usize = 64 * 1024;

/// What an entry costs besides its texts (RFC 7541, section 4.1).
pub(super) const OVERHEAD: usize = 32;

/// Length of the table up to which its memory is kept when it runs empty.
const KEPT_CAPACITY: usize = 16;

/// A field: its name, where that is known, and its value.
#[derive(Debug)]
pub(super) struct Entry {
    /// The name, then the value.
    texts: Box<[u8]>,
    /// Length of the name, `None` where it is not known.
    name: Option<usize>,
}

impl Entry {
    pub(super) fn new(name: Option<&[u8]>, value: &[u8]) -> Self {
        let texts = [name.unwrap_or_default(), value].concat().into_boxed_slice();
        Self { texts, name: name.map(<[u8]>::len) }
    }

    pub(super) fn name(&self) -> Option<&[u8]> {
        self.name.and_then(|length| self.texts.get(..length))
    }

    pub(super) fn value(&self) -> &[u8] {
        self.texts.get(self.name.unwrap_or(0)..).unwrap_or_default()
    }

    /// By the RFC's rule; too small where the name is not known.
    fn size(&self) -> usize {
        self.texts.len() + OVERHEAD
    }
}

/// What an index points at.
pub(super) enum Found<'a> {
    Entry(&'a Entry),
    /// An entry that vigie has not seen coming.
    Unknown,
    /// Nothing: the encoder is wrong, or these are no header blocks.
    Nothing,
}

/// One direction's table.
#[derive(Debug)]
pub(super) struct Table {
    /// The newest first.
    entries: VecDeque<Entry>,
    size: usize,
    /// Largest size, as far as is known.
    max: usize,
    /// Whether `max` is the encoder's, or a guess.
    max_is_known: bool,
    /// There may be older entries than those that are kept, and why they are not known.
    unknown: Option<Flags>,
}

impl Table {
    /// That of a new connection.
    pub(super) fn new() -> Self {
        Self {
            entries: VecDeque::new(),
            size: 0,
            max: DEFAULT_SIZE,
            max_is_known: true,
            unknown: None,
        }
    }

    /// Header blocks went by unseen.
    pub(super) fn forget(&mut self, why: Flags) {
        self.entries = VecDeque::new();
        self.size = 0;
        self.max_is_known = false;
        self.unknown = Some(self.unknown.map_or(why, |before| before | why));
    }

    /// Why older entries are not known, if there may be any.
    pub(super) fn unknown(&self) -> Option<Flags> {
        self.unknown
    }

    /// The entry with this index, from 0 for the newest.
    pub(super) fn get(&self, index: usize) -> Found<'_> {
        match self.entries.get(index) {
            Some(entry) => Found::Entry(entry),
            None if self.unknown.is_some() => Found::Unknown,
            None => Found::Nothing,
        }
    }

    pub(super) fn insert(&mut self, entry: Entry) {
        self.size += entry.size();
        self.entries.push_front(entry);
        self.evict();
    }

    /// The encoder's word on the largest size (RFC 7541, section 6.3).
    pub(super) fn resize(&mut self, max: usize) {
        self.max = max;
        self.max_is_known = true;
        self.evict();
    }

    fn evict(&mut self) {
        let bound = self.max.min(MAX_SIZE);
        while self.size > bound
            && let Some(oldest) = self.entries.pop_back()
        {
            self.size -= oldest.size();
            if self.max > MAX_SIZE && self.unknown.is_none() {
                self.unknown = Some(Flags::TRUNCATED);
            }
        }
        if self.entries.is_empty() && self.entries.capacity() > KEPT_CAPACITY {
            self.entries = VecDeque::new();
        }
        // Where not even the smallest entry finds room behind the known ones, there is none.
        if self.max_is_known && self.max <= MAX_SIZE && self.size + OVERHEAD > self.max {
            self.unknown = None;
        }
    }

    /// Memory in use besides the value itself.
    pub(super) fn memory(&self) -> usize {
        // The overhead of the RFC is what an allocation takes, about.
        self.entries.capacity() * size_of::<Entry>() + self.size
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(name: &str, value: &str) -> Entry {
        Entry::new(Some(name.as_bytes()), value.as_bytes())
    }

    fn is_unknown(table: &Table, index: usize) -> bool {
        matches!(table.get(index), Found::Unknown)
    }

    #[test]
    fn known_entries_keep_their_index_before_unknown_ones() {
        let mut table = Table::new();
        assert!(matches!(table.get(0), Found::Nothing));
        table.forget(Flags::MID_STREAM);
        assert!(is_unknown(&table, 0));
        table.insert(entry("a", "1"));
        table.insert(entry("b", "2"));
        let Found::Entry(found) = table.get(1) else { panic!() };
        assert_eq!((found.name(), found.value()), (Some(&b"a"[..]), &b"1"[..]));
        assert!(is_unknown(&table, 2));
        table.resize(0);
        assert!(matches!(table.get(0), Found::Nothing) && table.unknown().is_none());
    }

    #[test]
    fn a_table_full_of_known_entries_has_no_unknown_ones() {
        let mut table = Table::new();
        table.forget(Flags::LOSSY);
        let fill = |table: &mut Table| (0..100).for_each(|_| table.insert(entry("name", "value")));
        fill(&mut table);
        assert!(table.unknown().is_some(), "how large it is was not told");
        table.resize(400);
        assert!(table.unknown().is_none());
        assert_eq!((table.entries.len(), table.size), (9, 9 * 41));
    }

    #[test]
    fn memory_is_bounded_whatever_the_peers_agree_on() {
        let mut table = Table::new();
        table.resize(1 << 30);
        let value = "v".repeat(1000);
        (0..1000).for_each(|_| table.insert(entry("name", &value)));
        assert!(table.memory() < 2 * MAX_SIZE);
        assert!(is_unknown(&table, 999));
        table.insert(entry("huge", &"v".repeat(MAX_SIZE)));
        assert!(is_unknown(&table, 0) && table.memory() == 0);
    }
}
