//! What the kernel knows of an exchange (a request and its response), and how it counts those that
//! user space cannot, because a record of theirs found no room.
//!
//! An exchange begins with the request direction's first turn after a final response; of pipelined
//! responses each call that begins with a status line begins the next one. The kernel numbers them
//! per connection, and every record says which exchange it belongs to, how many before it lost
//! records, and whether this one has. Both sides follow one rule: **an exchange that lost a record
//! is counted by the kernel, any other by user space.**
//!
//! HTTP/2 has many exchanges at once, and the kernel does not know which records are whose. There the
//! rule is: an exchange is counted by the kernel if the record with the first byte of its request found
//! no room. On such a connection `number` is how often the kernel lost its place among the frames.

/// Bits of [`Exchange::flags`].
pub mod exchange_flags {
    /// A record of it found no room: the kernel counts it.
    pub const LOST: u8 = 1;
    /// The status of its final response is known.
    pub const RESPONSE: u8 = 2;
    /// Some bytes went by in the direction of responses.
    pub const RESPONDED: u8 = 4;
}

/// The current exchange of a connection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Exchange {
    /// First byte of the request: read by a server, about to be written by a client.
    pub start_ns: u64,
    /// Start of the process; only when something was lost.
    pub process_start_ns: u64,
    /// First bytes of the request.
    pub request: u64,
    /// First bytes of the response.
    pub response: [u64; 2],
    /// Its number on the connection, from 1; 0 before the first request.
    pub number: u32,
    /// Exchanges before it that lost records.
    pub lost_before: u32,
    /// Process; only when something was lost.
    pub tgid: u32,
    /// Status of the final response, 0 while not known.
    pub status: u16,
    /// Bits from [`exchange_flags`].
    pub flags: u8,
    /// Bytes in `request`.
    pub request_length: u8,
    /// Bytes in `response`.
    pub response_length: u8,
    /// [`crate::record::Class`] of the connection; only when something was lost.
    pub class: u8,
    /// Reserved, zero.
    pub reserved: [u8; 2],
    /// HTTP/2: the highest stream that the client has opened.
    pub stream: u32,
}

impl Exchange {
    /// What it is counted under.
    pub const fn key(&self) -> UndeliveredKey {
        UndeliveredKey {
            process_start_ns: self.process_start_ns,
            tgid: self.tgid,
            status: self.status,
            class: self.class,
            method: method_code(self.request, self.request_length),
        }
    }
}

/// What undelivered exchanges are counted under, key of the map `UNDELIVERED`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[repr(C)]
pub struct UndeliveredKey {
    /// Start of the process.
    pub process_start_ns: u64,
    /// Process.
    pub tgid: u32,
    /// Status of the final response, 0 where it is not known.
    pub status: u16,
    /// A [`crate::record::Class`], which tells the role.
    pub class: u8,
    /// 0, or the position in [`METHODS`] plus 1.
    pub method: u8,
}

/// Exchanges counted in the kernel, value of the map `UNDELIVERED`. Sums since the key was made.
///
/// Each exchange is counted by one addition, to `untimed` or to a class: user space may read between any
/// two of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct Undelivered {
    /// How many have no duration.
    pub untimed: u64,
    /// Sum of the durations of the others.
    pub sum_ns: u64,
    /// Largest duration. Two CPUs at the same moment may cost the larger one.
    pub max_ns: u64,
    /// How many have a duration in each class, see [`class_of`].
    pub classes: [u64; CLASSES],
}

impl Default for Undelivered {
    fn default() -> Self {
        Self { untimed: 0, sum_ns: 0, max_ns: 0, classes: [0; CLASSES] }
    }
}

impl Undelivered {
    /// How many have a duration.
    pub fn timed(&self) -> u64 {
        self.classes.iter().fold(0, |sum, class| sum.wrapping_add(*class))
    }

    /// How many.
    pub fn count(&self) -> u64 {
        self.untimed.wrapping_add(self.timed())
    }
}

/// Keys of `UNDELIVERED`.
pub const UNDELIVERED_KEYS: u32 = 512;

/// Methods that the kernel tells apart, as the conventions know them.
pub const METHODS: [&str; 10] =
    ["GET", "POST", "HEAD", "PUT", "DELETE", "OPTIONS", "PATCH", "CONNECT", "TRACE", "QUERY"];

/// A method and the blank behind it in the order of memory, and the mask of its bytes.
const fn token(method: &str) -> (u64, u64) {
    let bytes = method.as_bytes();
    let (mut value, mut index) = (0, 0);
    while index < bytes.len() {
        value |= (bytes[index] as u64) << (8 * index);
        index += 1;
    }
    value |= (b' ' as u64) << (8 * index);
    let mask = if index >= 7 { u64::MAX } else { (1 << (8 * (index + 1))) - 1 };
    (value, mask)
}

/// The method that the first `length` bytes of a request name: 0 where it is none of [`METHODS`]
/// or there are too few bytes, else its position plus 1.
pub const fn method_code(bytes: u64, length: u8) -> u8 {
    macro_rules! one_of {
        ($($position:literal)*) => {$({
            const TOKEN: (u64, u64) = token(METHODS[$position]);
            const LENGTH: u8 = METHODS[$position].len() as u8 + 1;
            if bytes & TOKEN.1 == TOKEN.0 && length >= LENGTH {
                return $position + 1;
            }
        })*};
    }
    one_of!(0 1 2 3 4 5 6 7 8 9);
    0
}

/// The status in the first 12 bytes of a response (`HTTP/1.1 200`); 0 where they are none.
pub const fn status_of(bytes: [u64; 2]) -> u16 {
    const START: u64 = u64::from_le_bytes(*b"HTTP/1.\0");
    const START_BYTES: u64 = (1 << 56) - 1;
    if bytes[0] & START_BYTES != START || bytes[1] as u8 != b' ' {
        return 0;
    }
    let digits = bytes[1] >> 8;
    let (a, b, c) = (
        (digits as u8).wrapping_sub(b'0'),
        ((digits >> 8) as u8).wrapping_sub(b'0'),
        ((digits >> 16) as u8).wrapping_sub(b'0'),
    );
    if a == 0 || a > 9 || b > 9 || c > 9 {
        return 0;
    }
    a as u16 * 100 + b as u16 * 10 + c as u16
}

/// Whether a response with this status ends the exchange: all but the interim ones (RFC 9110,
/// section 15.2), and 101, after which the connection is something else.
pub const fn is_final(status: u16) -> bool {
    status >= 200 || status == 101
}

/// Classes of durations: one up to a microsecond, then four per power of two, up to 274 s.
pub const CLASSES: usize = 113;

/// Power of two of nanoseconds below which all durations are one class.
const SHORTEST: u32 = 10;

/// The class of a duration in nanoseconds.
pub const fn class_of(duration_ns: u64) -> usize {
    if duration_ns >> SHORTEST == 0 {
        return 0;
    }
    let power = 63 - duration_ns.leading_zeros();
    let quarter = (duration_ns >> (power - 2)) & 3;
    let class = 1 + (power - SHORTEST) as usize * 4 + quarter as usize;
    if class < CLASSES { class } else { CLASSES - 1 }
}

/// The shortest duration of a class and that of the next one, in nanoseconds.
pub const fn class_bounds(class: usize) -> (u64, u64) {
    const fn lower(class: usize) -> u64 {
        if class == 0 {
            return 0;
        }
        let (power, quarter) = ((class - 1) / 4 + SHORTEST as usize, (class - 1) as u64 % 4);
        (4 + quarter) << (power - 2)
    }
    (lower(class), lower(class + 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn low(text: &[u8]) -> u64 {
        let mut bytes = [0; 8];
        bytes[..text.len()].copy_from_slice(text);
        u64::from_le_bytes(bytes)
    }

    #[test]
    fn methods_are_whole_tokens() {
        for (text, expected) in [
            (&b"GET / HT"[..], 1),
            (b"GET ", 1),
            (b"GET", 0),
            (b"GETX / H", 0),
            (b"OPTIONS ", 6),
            (b"CONNECT ", 8),
            (b"QUERY /x", 10),
            (b"PURGE /x", 0),
            (b"get / HT", 0),
            (b"", 0),
        ] {
            let found = method_code(low(text), text.len() as u8);
            assert_eq!(found, expected, "{}", text.escape_ascii());
        }
    }

    #[test]
    fn statuses_are_three_digits() {
        for (text, expected) in [
            (b"HTTP/1.1 200 OK\r", 200),
            (b"HTTP/1.0 404\r\n\r\n", 404),
            (b"HTTP/1.1 100 Con", 100),
            (b"HTTP/1.1 020 xxx", 0),
            (b"HTTP/1.1 2x0 xxx", 0),
            (b"HTTP/2.0 200 OK\r", 0),
            (b"xxxxxxxxxxxxxxxx", 0),
        ] {
            let bytes = [low(&text[..8]), low(&text[8..])];
            assert_eq!(status_of(bytes), expected, "{}", text.escape_ascii());
        }
    }

    #[test]
    fn classes_follow_each_other() {
        assert_eq!((class_of(0), class_of(1023), class_of(1024)), (0, 0, 1));
        assert_eq!(class_of(u64::MAX), CLASSES - 1);
        for class in 0..CLASSES - 1 {
            let (from, to) = class_bounds(class);
            assert_eq!((class_of(from), class_of(to - 1), class_of(to)), (class, class, class + 1));
            assert!(class == 0 || (to - from) * 4 <= from, "a class is at most a quarter wide");
        }
    }
}
