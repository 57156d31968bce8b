//! Fields of Kafka's messages, of which only the beginning may be there. Numbers are big-endian; in
//! flexible versions lengths are variable and structures end with tagged fields (KIP-482).

/// What is left to be read. Everything gives `None` past the end of what is there.
#[derive(Clone, Copy, Debug)]
pub(super) struct Fields<'a> {
    rest: &'a [u8],
    /// Whether the version is a flexible one.
    flexible: bool,
}

impl<'a> Fields<'a> {
    pub(super) fn new(rest: &'a [u8], flexible: bool) -> Self {
        Self { rest, flexible }
    }

    /// With the other way of lengths from here on.
    pub(super) fn with_flexible(self, flexible: bool) -> Self {
        Self { flexible, ..self }
    }

    pub(super) fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.rest.split_at_checked(count)?;
        self.rest = rest;
        Some(taken)
    }

    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        self.take(N)?.try_into().ok()
    }

    pub(super) fn i16(&mut self) -> Option<i16> {
        self.array().map(i16::from_be_bytes)
    }

    pub(super) fn i32(&mut self) -> Option<i32> {
        self.array().map(i32::from_be_bytes)
    }

    pub(super) fn uuid(&mut self) -> Option<[u8; 16]> {
        self.array()
    }

    /// An unsigned number of variable length, of 32 bits.
    fn varint(&mut self) -> Option<u32> {
        let mut number = 0u32;
        for shift in [0, 7, 14, 21, 28] {
            let [byte] = self.array()?;
            number |= u32::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Some(number);
            }
        }
        None
    }

    /// Bytes of a string, or entries of an array; `Some(None)` for null.
    #[expect(clippy::option_option, reason = "not there, or null")]
    fn length(&mut self, is_string: bool) -> Option<Option<usize>> {
        let length = if self.flexible {
            i64::from(self.varint()?) - 1
        } else if is_string {
            self.i16()?.into()
        } else {
            self.i32()?.into()
        };
        Some(usize::try_from(length).ok())
    }

    /// A string; empty for null.
    pub(super) fn string(&mut self) -> Option<&'a str> {
        match self.length(true)? {
            Some(length) => std::str::from_utf8(self.take(length)?).ok(),
            None => Some(""),
        }
    }

    /// Entries of an array, 0 for null.
    pub(super) fn entries(&mut self) -> Option<usize> {
        Some(self.length(false)?.unwrap_or(0))
    }

    /// An array of entries of a fixed size.
    pub(super) fn skip_array(&mut self, size: usize) -> Option<()> {
        let count = self.entries()?;
        self.take(count.checked_mul(size)?).map(|_| ())
    }

    /// The tagged fields at the end of a structure.
    pub(super) fn tags(&mut self) -> Option<()> {
        if !self.flexible {
            return Some(());
        }
        for _ in 0..self.varint()? {
            let _tag = self.varint()?;
            let length = usize::try_from(self.varint()?).ok()?;
            self.take(length)?;
        }
        Some(())
    }
}
