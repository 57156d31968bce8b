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
    // `PRI * HTTP/2.0` is the preface of HTTP/2.
    if letters < 3 || bytes & 0xff_ffff == u64::from_le_bytes(*b"PRI\0\0\0\0\0") {
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
