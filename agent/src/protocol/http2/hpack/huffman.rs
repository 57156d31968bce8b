//! The Huffman code: RFC 7541, section 5.2 and appendix B.
//!
//! The code is canonical: codes of one length are consecutive numbers, in the order of their symbols,
//! and those of the next length go on from there. So the lengths are all that is needed. Short codes,
//! which are those of all usual characters, are looked up; long ones found by their length.

use std::sync::LazyLock;

use super::Broken;

/// Symbols; the last one is EOS.
const SYMBOLS: usize = 257;

/// Longest code.
const LONGEST: usize = 30;

/// Codes up to this length are looked up.
const SHORT: u32 = 9;

/// Length of each symbol's code.
#[rustfmt::skip]
const LENGTHS: [u8; SYMBOLS] = [
    13, 23, 28, 28, 28, 28, 28, 28, 28, 24, 30, 28, 28, 30, 28, 28, 28, 28, 28, 28,
    28, 28, 30, 28, 28, 28, 28, 28, 28, 28, 28, 28, 6, 10, 10, 12, 13, 6, 8, 11,
    10, 10, 8, 11, 8, 6, 6, 6, 5, 5, 5, 6, 6, 6, 6, 6, 6, 6, 7, 8,
    15, 6, 12, 10, 13, 6, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7,
    7, 7, 7, 7, 7, 7, 7, 7, 8, 7, 8, 13, 19, 13, 14, 6, 15, 5, 6, 5,
    6, 5, 6, 6, 6, 5, 7, 7, 6, 6, 6, 5, 6, 7, 6, 5, 5, 6, 7, 7,
    7, 7, 7, 15, 11, 14, 13, 28, 20, 22, 20, 20, 22, 22, 22, 23, 22, 23, 23, 23,
    23, 23, 24, 23, 24, 24, 22, 23, 24, 23, 23, 23, 23, 21, 22, 23, 22, 23, 23, 24,
    22, 21, 20, 22, 22, 23, 23, 21, 23, 22, 22, 24, 21, 22, 23, 23, 21, 21, 22, 21,
    23, 22, 23, 23, 20, 22, 22, 22, 23, 22, 22, 23, 26, 26, 20, 19, 22, 23, 22, 25,
    26, 26, 26, 27, 27, 26, 24, 25, 19, 21, 26, 27, 27, 26, 27, 24, 21, 21, 26, 26,
    28, 27, 27, 27, 20, 24, 20, 21, 22, 21, 21, 23, 22, 22, 25, 25, 24, 24, 26, 23,
    26, 27, 26, 26, 27, 27, 27, 27, 27, 28, 27, 27, 27, 27, 27, 26, 30,
];

/// Codes of one length.
#[derive(Clone, Copy, Default)]
struct Row {
    /// The first of them, in its own number of bits.
    first: u32,
    count: u32,
    /// Place of its symbol among all symbols by length.
    place: usize,
}

struct Tables {
    /// By the next bits: a symbol and its code's length, 0 for a longer code.
    short: Vec<(u8, u8)>,
    rows: [Row; LONGEST + 1],
    /// Symbols by the length of their codes.
    symbols: Vec<u16>,
}

static TABLES: LazyLock<Tables> = LazyLock::new(Tables::new);

impl Tables {
    fn new() -> Self {
        let mut short = vec![(0, 0); 1 << SHORT];
        let mut rows = [Row::default(); LONGEST + 1];
        let mut symbols = Vec::with_capacity(SYMBOLS);
        let mut code = 0_u32;
        for (length, row) in (0_u32..).zip(&mut rows) {
            code <<= 1;
            *row = Row { first: code, count: 0, place: symbols.len() };
            for (symbol, _) in (0_u16..).zip(LENGTHS).filter(|(_, it)| u32::from(*it) == length) {
                if let (Some(rest), Ok(byte)) = (SHORT.checked_sub(length), u8::try_from(symbol)) {
                    let entries = short.iter_mut().skip(in_memory(code << rest)).take(1 << rest);
                    entries.for_each(|entry| *entry = (byte, length.to_le_bytes()[0]));
                }
                symbols.push(symbol);
                row.count += 1;
                code += 1;
            }
        }
        Self { short, rows, symbols }
    }

    /// The symbol whose code is at the start of `bits`, and the length of the code.
    fn find(&self, bits: u64) -> Option<(u16, u32)> {
        let (symbol, length) = *self.short.get(in_memory((bits >> (64 - SHORT)) as u32))?;
        if length > 0 {
            return Some((symbol.into(), length.into()));
        }
        for (length, row) in (0_u32..).zip(&self.rows).skip(in_memory(SHORT + 1)) {
            let code = u32::try_from(bits >> (64 - length)).ok()?;
            let rank = code.checked_sub(row.first)?;
            if rank < row.count {
                return Some((*self.symbols.get(row.place + in_memory(rank))?, length));
            }
        }
        None
    }
}

/// Adds the decoded string to `text`. An error for what no encoder makes: EOS, or padding other than
/// up to seven bits of one.
pub(super) fn decode(bytes: &[u8], text: &mut Vec<u8>) -> Result<(), Broken> {
    let tables = &*TABLES;
    let mut bytes = bytes.iter();
    // The next bits, from the highest on; `have` of them are from the string.
    let (mut bits, mut have) = (0_u64, 0_u32);
    loop {
        while have <= 56
            && let Some(byte) = bytes.next()
        {
            bits |= u64::from(*byte) << (56 - have);
            have += 8;
        }
        // What is behind the string's end is taken for padding.
        let padded = bits | u64::MAX.checked_shr(have).unwrap_or(0);
        match tables.find(padded) {
            Some((symbol, length)) if length <= have => {
                text.push(u8::try_from(symbol).map_err(|_| Broken)?);
                bits <<= length;
                have -= length;
            }
            _ if have < 8 && padded == u64::MAX => return Ok(()),
            _ => return Err(Broken),
        }
    }
}

fn in_memory(number: u32) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::testing::Random;

    #[test]
    fn decodes_what_another_library_encodes() {
        let mut random = Random(17);
        for _ in 0..5_000 {
            let length = random.below(40);
            let text: Vec<u8> =
                (0..length).map(|_| u8::try_from(random.below(256)).unwrap()).collect();
            let mut coded = Vec::new();
            httlib_huffman::encode(&text, &mut coded).unwrap();
            let mut decoded = Vec::new();
            assert_eq!(decode(&coded, &mut decoded), Ok(()));
            assert_eq!(decoded, text);
        }
    }

    #[test]
    fn refuses_what_no_encoder_makes() {
        let result = |bytes: &[u8]| decode(bytes, &mut Vec::new());
        assert_eq!(result(&[]), Ok(()));
        // `a` is 00011; the padding must be ones, and short.
        assert_eq!(result(&[0b0001_1111]), Ok(()));
        assert_eq!(result(&[0b0001_1000]), Err(Broken));
        assert_eq!(result(&[0b0001_1111, 0xff]), Err(Broken));
        assert_eq!(result(&[0xff]), Err(Broken));
        // EOS.
        assert_eq!(result(&[0xff, 0xff, 0xff, 0xff]), Err(Broken));
    }

    #[test]
    fn any_bytes_are_survived() {
        let mut random = Random(23);
        let mut text = Vec::new();
        for _ in 0..20_000 {
            let length = random.below(30);
            let bytes: Vec<u8> =
                (0..length).map(|_| u8::try_from(random.below(256)).unwrap()).collect();
            text.clear();
            let _ = decode(&bytes, &mut text);
            assert!(text.len() <= bytes.len() * 8 / 5);
        }
    }
}
