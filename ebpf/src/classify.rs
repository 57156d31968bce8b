//! What the first bytes of a turn say about a connection.

/// Too few bytes to say.
pub(crate) const UNDECIDED: u64 = 0;
/// An HTTP/1.x request begins.
pub(crate) const REQUEST: u64 = 1;
/// An HTTP/1.x response begins.
pub(crate) const RESPONSE: u64 = 2;
/// A TLS record begins.
pub(crate) const ENCRYPTED: u64 = 3;
/// None of these.
pub(crate) const OTHER: u64 = 4;
/// The preface of an HTTP/2 client begins.
pub(crate) const PREFACE: u64 = 5;
/// A frame of HTTP/2 may begin.
pub(crate) const FRAME: u64 = 6;

/// `PRI * HT`, of the preface of HTTP/2 (RFC 9113, section 3.4), in the order of memory.
pub(crate) const PREFACE_START: u64 = u64::from_le_bytes(*b"PRI * HT");

/// `HTTP/1.` in the order of memory.
const STATUS_LINE: u64 = u64::from_le_bytes(*b"HTTP/1.\0");

/// Looks at the first `length` (at most 8) bytes, which are the low bytes of `bytes`.
///
/// A request begins with a token of capital letters or `-` (RFC 9110, section 9.1 allows more;
/// nobody uses more), at least three, then a space, then the first byte of a target. A token that
/// fills all eight bytes counts as a request: user space looks again.
///
/// A global function in the verifier's sense (see [`crate::segment::vigie_moved`]).
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn vigie_classify(bytes: u64, length: u64) -> u64 {
    if length == 0 {
        return UNDECIDED;
    }
    let first = bytes as u8;
    if (0x14..=0x17).contains(&first) {
        if length < 3 {
            return UNDECIDED;
        }
        let version = (bytes >> 8) as u16;
        return if version & 0xff == 3 && version >> 8 <= 4 { ENCRYPTED } else { OTHER };
    }
    if first == 0 {
        return if length < 8 { UNDECIDED } else { frame(bytes) };
    }
    if bytes == PREFACE_START {
        return PREFACE;
    }
    if (4..8).contains(&length) && (bytes ^ PREFACE_START) & ((1u64 << (length * 8)) - 1) == 0 {
        return UNDECIDED;
    }
    // Compared under a mask of the bytes that are there.
    let mask = if length >= 7 { (1 << 56) - 1 } else { (1u64 << (length * 8)) - 1 };
    if (bytes ^ STATUS_LINE) & mask == 0 && first == b'H' {
        if length >= 7 {
            return RESPONSE;
        }
        if length >= 5 {
            return UNDECIDED;
        }
    }
    let mut rest = bytes;
    let mut index = 0;
    while index < 8 {
        if index >= length {
            return UNDECIDED;
        }
        let byte = rest as u8;
        rest >>= 8;
        if byte == b' ' {
            return target(bytes, rest, index, length);
        }
        if !byte.is_ascii_uppercase() && byte != b'-' {
            return OTHER;
        }
        index += 1;
    }
    REQUEST
}

/// A token of `letters` letters and a space were seen; `rest` begins with the target.
#[inline(always)]
fn target(bytes: u64, rest: u64, letters: u64, length: u64) -> u64 {
    // `PRI` is no method but begins the preface of HTTP/2.
    if letters < 3 || bytes & 0xff_ffff == PREFACE_START & 0xff_ffff {
        return OTHER;
    }
    // `CONNECT host:port` may begin with anything, and so may what no longer fits.
    if letters >= 7 {
        return REQUEST;
    }
    if letters + 1 >= length {
        return UNDECIDED;
    }
    match rest as u8 {
        b'/' | b'*' | b'h' | b'H' => REQUEST,
        _ => OTHER,
    }
}

/// What a frame's first eight bytes (RFC 9113, section 4.1) allow: a frame of control, of which only
/// those with few forms are taken, or a header block in one frame. What the call holds besides must fit,
/// see [`crate::http2::fits`].
#[inline(always)]
fn frame(bytes: u64) -> u64 {
    let Head { length, kind, flags } = head(bytes);
    // Streams above 2^24 are not met on a connection of which nothing is known.
    if (bytes >> 40) as u8 != 0 {
        return OTHER;
    }
    let stream = bytes >> 48;
    let plausible = match kind {
        HEADERS => length > 0 && length <= 16384 && flags & !0x2d == 0 && flags & 4 != 0,
        SETTINGS if stream != 0 => false,
        SETTINGS if flags == 1 => length == 0,
        SETTINGS => flags == 0 && length <= 240 && length % 6 == 0,
        PING => flags <= 1 && length == 8 && stream == 0,
        WINDOW_UPDATE => flags == 0 && length == 4,
        _ => false,
    };
    if plausible { FRAME } else { OTHER }
}

/// Kinds of frames.
pub(crate) const DATA: u8 = 0;
pub(crate) const HEADERS: u8 = 1;
pub(crate) const SETTINGS: u8 = 4;
const PING: u8 = 6;
const WINDOW_UPDATE: u8 = 8;

/// The first bytes of a frame.
#[derive(Clone, Copy)]
pub(crate) struct Head {
    /// Bytes of the payload.
    pub(crate) length: u32,
    pub(crate) kind: u8,
    pub(crate) flags: u8,
}

/// From the first bytes of a frame, in the order of memory.
#[inline(always)]
pub(crate) fn head(bytes: u64) -> Head {
    Head {
        length: (bytes as u32).swap_bytes() >> 8,
        kind: (bytes >> 24) as u8,
        flags: (bytes >> 32) as u8,
    }
}
