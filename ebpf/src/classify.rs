//! What the first bytes of a turn say about a connection.

/// Verdict on up to eight bytes.
#[derive(Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Verdict {
    /// Too few bytes to say.
    Undecided,
    /// An HTTP/1.x request begins.
    Request,
    /// An HTTP/1.x response begins.
    Response,
    /// A TLS record begins.
    Encrypted,
    /// None of these.
    Other,
}

/// `HTTP/1.` in the order of memory.
const STATUS_LINE: u64 = u64::from_le_bytes(*b"HTTP/1.\0");

/// Looks at the first `length` (at most 8) bytes, which are the low bytes of `bytes`.
///
/// A request begins with a token of capital letters or `-` (RFC 9110, section 9.1 allows more;
/// nobody uses more), at least three, then a space, then the first byte of a target. A token that
/// fills all eight bytes counts as a request: user space looks again.
#[inline(always)]
pub(crate) fn classify(bytes: u64, length: u32) -> Verdict {
    if length == 0 {
        return Verdict::Undecided;
    }
    let first = bytes as u8;
    if (0x14..=0x17).contains(&first) {
        if length < 3 {
            return Verdict::Undecided;
        }
        let version = (bytes >> 8) as u16;
        return if version & 0xff == 3 && version >> 8 <= 4 {
            Verdict::Encrypted
        } else {
            Verdict::Other
        };
    }
    // Compared under a mask of the bytes that are there.
    let mask = if length >= 7 { (1 << 56) - 1 } else { (1u64 << (length * 8)) - 1 };
    if (bytes ^ STATUS_LINE) & mask == 0 && first == b'H' {
        if length >= 7 {
            return Verdict::Response;
        }
        if length >= 5 {
            return Verdict::Undecided;
        }
    }
    let mut rest = bytes;
    let mut index = 0;
    while index < 8 {
        if index >= length {
            return Verdict::Undecided;
        }
        let byte = rest as u8;
        rest >>= 8;
        if byte == b' ' {
            return target(bytes, rest, index, length);
        }
        if !byte.is_ascii_uppercase() && byte != b'-' {
            return Verdict::Other;
        }
        index += 1;
    }
    Verdict::Request
}

/// A token of `letters` letters and a space were seen; `rest` begins with the target.
#[inline(always)]
fn target(bytes: u64, rest: u64, letters: u32, length: u32) -> Verdict {
    // `PRI * HTTP/2.0` is the preface of HTTP/2.
    if letters < 3 || bytes & 0xff_ffff == u64::from_le_bytes(*b"PRI\0\0\0\0\0") {
        return Verdict::Other;
    }
    // `CONNECT host:port` may begin with anything, and so may what no longer fits.
    if letters >= 7 {
        return Verdict::Request;
    }
    if letters + 1 >= length {
        return Verdict::Undecided;
    }
    match rest as u8 {
        b'/' | b'*' | b'h' | b'H' => Verdict::Request,
        _ => Verdict::Other,
    }
}
