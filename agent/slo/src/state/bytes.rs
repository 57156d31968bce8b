//! Numbers to bytes and back.

use super::Unusable;

/// Appends to a buffer.
#[derive(Debug, Default)]
pub struct Writer {
    bytes: Vec<u8>,
}

impl Writer {
    /// What was appended.
    pub fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }

    /// One byte.
    pub fn u8(&mut self, value: u8) {
        self.bytes.push(value);
    }

    /// Two bytes, little endian.
    pub fn u16(&mut self, value: u16) {
        self.bytes.extend(value.to_le_bytes());
    }

    /// Eight bytes, little endian.
    pub fn u64(&mut self, value: u64) {
        self.bytes.extend(value.to_le_bytes());
    }

    /// LEB128.
    pub fn varint(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.bytes.push((value & 0x7f) as u8 | 0x80);
            value >>= 7;
        }
        self.bytes.push((value & 0x7f) as u8);
    }

    /// LEB128 of the zigzag form.
    pub fn signed(&mut self, value: i64) {
        self.varint(value.wrapping_shl(1).cast_unsigned() ^ (value >> 63).cast_unsigned());
    }

    /// Whether there is one, and it.
    pub fn optional(&mut self, value: Option<i64>) {
        self.u8(u8::from(value.is_some()));
        if let Some(value) = value {
            self.signed(value);
        }
    }

    /// As they are.
    pub fn raw(&mut self, bytes: &[u8]) {
        self.bytes.extend(bytes);
    }

    /// Its length, and the text.
    pub fn text(&mut self, text: &str) {
        self.varint(text.len() as u64);
        self.bytes.extend(text.as_bytes());
    }
}

/// Takes from bytes that nobody vouches for.
#[derive(Debug)]
pub struct Reader<'a> {
    bytes: &'a [u8],
}

impl<'a> Reader<'a> {
    /// Takes from the beginning on.
    pub const fn new(bytes: &'a [u8]) -> Self {
        Self { bytes }
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Unusable> {
        let (array, rest) = self.bytes.split_first_chunk().ok_or(Unusable::Cut)?;
        self.bytes = rest;
        Ok(*array)
    }

    /// One byte.
    pub fn u8(&mut self) -> Result<u8, Unusable> {
        self.array().map(|[byte]| byte)
    }

    /// Two bytes, little endian.
    pub fn u16(&mut self) -> Result<u16, Unusable> {
        self.array().map(u16::from_le_bytes)
    }

    /// Eight bytes, little endian.
    pub fn u64(&mut self) -> Result<u64, Unusable> {
        self.array().map(u64::from_le_bytes)
    }

    /// A byte that is 0 or 1.
    pub fn flag(&mut self) -> Result<bool, Unusable> {
        match self.u8()? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(Unusable::Invalid("a flag")),
        }
    }

    /// LEB128.
    pub fn varint(&mut self) -> Result<u64, Unusable> {
        let mut value = 0;
        for shift in (0..64).step_by(7) {
            let byte = self.u8()?;
            let part = u64::from(byte & 0x7f);
            if part << shift >> shift != part {
                break;
            }
            value |= part << shift;
            if byte < 0x80 {
                return Ok(value);
            }
        }
        Err(Unusable::Invalid("a number"))
    }

    /// LEB128 of the zigzag form.
    pub fn signed(&mut self) -> Result<i64, Unusable> {
        let value = self.varint()?;
        Ok((value >> 1).cast_signed() ^ (value & 1).cast_signed().wrapping_neg())
    }

    /// A time in seconds since 1970, within some ten thousand years.
    pub fn time(&mut self) -> Result<i64, Unusable> {
        let t = self.signed()?;
        if t.unsigned_abs() < 1 << 40 { Ok(t) } else { Err(Unusable::Invalid("a time")) }
    }

    /// Such a time, if there is one.
    pub fn optional_time(&mut self) -> Result<Option<i64>, Unusable> {
        if self.flag()? { self.time().map(Some) } else { Ok(None) }
    }

    /// A number of things that take at least a byte each.
    pub fn length(&mut self) -> Result<usize, Unusable> {
        let length = usize::try_from(self.varint()?).map_err(|_| Unusable::Cut)?;
        if length <= self.bytes.len() { Ok(length) } else { Err(Unusable::Cut) }
    }

    /// A text with its length before it.
    pub fn text(&mut self) -> Result<&'a str, Unusable> {
        let length = self.length()?;
        let (text, rest) = self.bytes.split_at_checked(length).ok_or(Unusable::Cut)?;
        self.bytes = rest;
        std::str::from_utf8(text).map_err(|_| Unusable::Invalid("a name"))
    }

    /// All that is left.
    pub const fn rest(&self) -> &'a [u8] {
        self.bytes
    }

    /// Nothing must be left.
    pub const fn end(&self) -> Result<(), Unusable> {
        if self.bytes.is_empty() { Ok(()) } else { Err(Unusable::Trailing) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_come_back() {
        let numbers = [0, 1, -1, 63, 64, -65, 1 << 39, i64::MAX, i64::MIN];
        let mut writer = Writer::default();
        for number in numbers {
            writer.signed(number);
            writer.varint(number.cast_unsigned());
        }
        let bytes = writer.into_bytes();
        let mut reader = Reader::new(&bytes);
        for number in numbers {
            assert_eq!(reader.signed(), Ok(number));
            assert_eq!(reader.varint(), Ok(number.cast_unsigned()));
        }
        assert_eq!(reader.end(), Ok(()));
    }

    #[test]
    fn numbers_that_are_none() {
        assert_eq!(Reader::new(&[0xff; 11]).varint(), Err(Unusable::Invalid("a number")));
        assert_eq!(Reader::new(&[0xff; 5]).varint(), Err(Unusable::Cut));
        let mut two_to_the_64 = [0x80; 10];
        two_to_the_64[9] = 2;
        assert_eq!(Reader::new(&two_to_the_64).varint(), Err(Unusable::Invalid("a number")));
        assert_eq!(Reader::new(&[200, 1, 0]).text(), Err(Unusable::Cut));
    }
}
