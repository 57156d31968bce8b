//! HPACK, the compression of header fields: RFC 7541.
//!
//! A decoder follows one direction of a connection. It can start in the middle, or miss a part: the
//! dynamic [`table`] then has entries that are not known, and fields that point at them are given
//! without name and value. Nothing is ever guessed; what is known again, and when:
//!
//! - a literal field is known at once, and its entry from then on, at its right index;
//! - all is known after a size update to 0, or when entries that were seen fill the table.
//!
//! Why not a crate: no decoder on crates.io can start in the middle of a connection. Besides, `hpack`
//! and its successors (`fluke-hpack`, `loona-hpack`) build their Huffman table anew for each string,
//! `httlib-hpack` moves the rest of the block for each field and takes 6 µs for the strings of a call
//! (its Huffman code is what [`huffman`] is tested against), and the decoder of `h2` is private.

mod huffman;
mod statics;
mod table;

use super::Flags;
use table::{Entry, Found, OVERHEAD, Table};

/// Size of a list of fields (RFC 9113, section 6.5.2) up to which fields are given out: a few bytes
/// of a block can stand for large fields, over and over.
const MAX_LIST: usize = 1 << 20;

/// The block is none, or not whole. The table is not to be trusted from then on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Broken;

/// What a block came to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Decoded {
    /// Why fields were given without name or value, if any were.
    pub(super) unknown: Option<Flags>,
    /// The list was longer than what is looked at.
    pub(super) too_long: bool,
}

/// Decoder of one direction.
#[derive(Debug)]
pub(super) struct Decoder {
    table: Table,
    name: Vec<u8>,
    value: Vec<u8>,
}

/// A string of a block: as it stands there, or decoded.
enum Text<'a> {
    Plain(&'a [u8]),
    Huffman,
}

impl<'a> Text<'a> {
    fn bytes(self, decoded: &'a [u8]) -> &'a [u8] {
        match self {
            Self::Plain(bytes) => bytes,
            Self::Huffman => decoded,
        }
    }
}

impl Decoder {
    /// For a connection that is seen from its start.
    pub(super) fn new() -> Self {
        Self { table: Table::new(), name: Vec::new(), value: Vec::new() }
    }

    /// Header blocks went by unseen, or may have.
    pub(super) fn forget(&mut self, why: Flags) {
        self.table.forget(why);
        self.name = Vec::new();
        self.value = Vec::new();
    }

    /// Memory in use besides the value itself.
    pub(super) fn memory(&self) -> usize {
        self.table.memory() + self.name.capacity() + self.value.capacity()
    }

    /// Decodes a block; `each` gets name and value of each field, `None` where not known.
    pub(super) fn decode(
        &mut self,
        block: &[u8],
        mut each: impl FnMut(Option<&[u8]>, Option<&[u8]>),
    ) -> Result<Decoded, Broken> {
        let mut rest = block;
        let mut decoded = Decoded::default();
        let mut list = 0_usize;
        let mut begun = false;
        while let Some(first) = rest.first() {
            if first & 0xe0 == 0x20 {
                // Only at the start of a block (RFC 7541, section 4.2).
                if begun {
                    return Err(Broken);
                }
                self.table.resize(integer(&mut rest, 5)?);
                continue;
            }
            begun = true;
            let unknown = self.table.unknown();
            let mut give = |name: Option<&[u8]>, value: Option<&[u8]>| {
                let size = name.map_or(0, <[u8]>::len) + value.map_or(0, <[u8]>::len);
                list += size + OVERHEAD;
                if name.is_none() || value.is_none() {
                    decoded.unknown = decoded.unknown.or(unknown);
                }
                if list <= MAX_LIST {
                    each(name, value);
                } else {
                    decoded.too_long = true;
                }
            };
            if first & 0x80 != 0 {
                self.indexed(&mut rest, &mut give)?;
            } else if first & 0x40 != 0 {
                self.literal(&mut rest, 6, true, &mut give)?;
            } else {
                self.literal(&mut rest, 4, false, &mut give)?;
            }
        }
        Ok(decoded)
    }

    /// RFC 7541, section 6.1.
    fn indexed(
        &self,
        rest: &mut &[u8],
        give: &mut impl FnMut(Option<&[u8]>, Option<&[u8]>),
    ) -> Result<(), Broken> {
        let index = integer(rest, 7)?;
        if let Some((name, value)) = statics::entry(index) {
            give(Some(name), Some(value));
            return Ok(());
        }
        match self.dynamic(index)? {
            Some(entry) => give(entry.name(), Some(entry.value())),
            None => give(None, None),
        }
        Ok(())
    }

    /// RFC 7541, section 6.2: the index of a name, or a name, then a value.
    fn literal(
        &mut self,
        rest: &mut &[u8],
        prefix: u32,
        keep: bool,
        give: &mut impl FnMut(Option<&[u8]>, Option<&[u8]>),
    ) -> Result<(), Broken> {
        let index = integer(rest, prefix)?;
        let literal = if index == 0 { Some(string(rest, &mut self.name)?) } else { None };
        let value = string(rest, &mut self.value)?.bytes(&self.value);
        let name = match literal {
            Some(name) => Some(name.bytes(&self.name)),
            None => match statics::entry(index) {
                Some((name, _)) => Some(name),
                None => self.dynamic(index)?.and_then(Entry::name),
            },
        };
        give(name, Some(value));
        if keep {
            let entry = Entry::new(name, value);
            self.table.insert(entry);
        }
        Ok(())
    }

    /// `None` for an entry that is not known.
    fn dynamic(&self, index: usize) -> Result<Option<&Entry>, Broken> {
        match self.table.get(index.checked_sub(statics::COUNT + 1).ok_or(Broken)?) {
            Found::Entry(entry) => Ok(Some(entry)),
            Found::Unknown => Ok(None),
            Found::Nothing => Err(Broken),
        }
    }
}

/// RFC 7541, section 5.1, up to 32 bits.
fn integer(rest: &mut &[u8], prefix: u32) -> Result<usize, Broken> {
    let (first, mut after) = rest.split_first().ok_or(Broken)?;
    let mask = (1_u32 << prefix) - 1;
    let mut value = u32::from(*first) & mask;
    if value == mask {
        let mut shift = 0;
        loop {
            let (byte, more) = after.split_first().ok_or(Broken)?;
            after = more;
            let part = u64::from(byte & 0x7f) << shift;
            let sum = u64::from(value).checked_add(part).ok_or(Broken)?;
            value = u32::try_from(sum).map_err(|_| Broken)?;
            if byte & 0x80 == 0 {
                break;
            }
            shift += 7;
            if shift > 28 {
                return Err(Broken);
            }
        }
    }
    *rest = after;
    usize::try_from(value).map_err(|_| Broken)
}

/// RFC 7541, section 5.2. A Huffman string is decoded into `decoded`.
fn string<'a>(rest: &mut &'a [u8], decoded: &mut Vec<u8>) -> Result<Text<'a>, Broken> {
    let huffman = rest.first().is_some_and(|first| first & 0x80 != 0);
    let length = integer(rest, 7)?;
    let (bytes, after) = rest.split_at_checked(length).ok_or(Broken)?;
    *rest = after;
    if !huffman {
        return Ok(Text::Plain(bytes));
    }
    decoded.clear();
    huffman::decode(bytes, decoded)?;
    Ok(Text::Huffman)
}

#[cfg(test)]
mod tests;
