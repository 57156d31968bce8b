//! Whether first bytes may be those of a protocol that user space tells by content: databases, caches,
//! brokers, DNS over TCP.
//!
//! Only what begins a request, or a server's greeting, is looked for. The rules here keep most other
//! traffic out at little cost; user space looks again, more closely (`protocol::conversation`), and has
//! a connection ignored that was taken in error.

/// None of them.
const NO: u64 = 0;
/// It may be.
pub(crate) const YES: u64 = 1;
/// Too few bytes to say, but the call is over: many programs read a header by itself.
pub(crate) const MORE: u64 = 2;

/// Types of PostgreSQL's messages that a client sends, as bits from `B` on: BCDEFHPQSXcdfp.
const POSTGRES_TYPES: u64 = bits(b"BCDEFHPQSXcdfp");

const fn bits(types: &[u8]) -> u64 {
    let mut bits = 0;
    let mut index = 0;
    while index < types.len() {
        bits |= 1 << (types[index] - b'B');
        index += 1;
    }
    bits
}

/// Looks at the first `length` (at most 8) bytes, which are the low bytes of `bytes`, of `total` bytes in
/// one call.
///
/// A global function in the verifier's sense (see [`crate::segment::vigie_moved`]).
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn vigie_candidate(bytes: u64, length: u64, total: u64) -> u64 {
    if length >= 5 && (postgres(bytes, total) || mysql(bytes, total)) {
        return YES;
    }
    if length >= 6 && (redis(bytes) || memcached(bytes)) {
        return YES;
    }
    if length == 8 {
        return u64::from(by_length(bytes, total));
    }
    if length == total && length > 0 { MORE } else { NO }
}

/// A message of PostgreSQL's client with its type, which is in the call as a whole.
#[inline(always)]
fn postgres(bytes: u64, total: u64) -> bool {
    let kind = (bytes as u8).wrapping_sub(b'B');
    let length = u64::from(((bytes >> 8) as u32).swap_bytes());
    kind < 64 && POSTGRES_TYPES >> kind & 1 != 0 && length >= 4 && length < total.min(1 << 24)
}

/// The one packet of a call: a command of MySQL's client (the last of the range is MariaDB's own), or its
/// server's greeting with a version that begins with a digit, or the error in its place.
#[inline(always)]
fn mysql(bytes: u64, total: u64) -> bool {
    let [length, sequence, first] = [bytes & 0xff_ffff, bytes >> 24 & 0xff, bytes >> 32 & 0xff];
    let is_greeting = first == 10 && ((bytes >> 40) as u8).is_ascii_digit();
    let is_command = (1..=0x20).contains(&first) || first == 0xfa;
    let is_known = is_greeting || is_command || first == 0xff;
    sequence == 0 && length > 0 && length + 4 == total && is_known
}

/// An array of bulk strings (`*2\r\n$3…`), or the one inline command that health checks use.
#[inline(always)]
fn redis(bytes: u64) -> bool {
    const PING: u64 = u64::from_le_bytes(*b"PING\r\n\0\0");
    if bytes << 16 == PING << 16 {
        return true;
    }
    if bytes as u8 != b'*' {
        return false;
    }
    let mut rest = bytes >> 8;
    let mut digits = 0;
    while digits < 4 {
        if !(rest as u8).is_ascii_digit() {
            break;
        }
        rest >>= 8;
        digits += 1;
    }
    const THEN: u64 = u64::from_le_bytes(*b"\r\n$\0\0\0\0\0");
    // With four digits the `$` is the eighth byte; with fewer, more may follow.
    digits > 0 && rest & 0xff_ffff == THEN
}

/// A command of memcached's text or meta protocol.
#[inline(always)]
fn memcached(bytes: u64) -> bool {
    const FOUR: [&[u8; 4]; 17] = [
        b"get ", b"gets", b"gat ", b"gats", b"set ", b"add ", b"cas ", b"repl", b"appe", b"prep",
        b"dele", b"incr", b"decr", b"touc", b"vers", b"stat", b"flus",
    ];
    const THREE: [&[u8; 3]; 5] = [b"mg ", b"ms ", b"md ", b"ma ", b"me "];
    let four = bytes as u32;
    let mut found = false;
    let mut index = 0;
    while index < FOUR.len() {
        found |= four == u32::from_le_bytes(*FOUR[index]);
        index += 1;
    }
    index = 0;
    while index < THREE.len() {
        let [a, b, c] = *THREE[index];
        found |= four & 0xff_ffff == u32::from_le_bytes([a, b, c, 0]);
        index += 1;
    }
    found
}

/// Protocols of which the first eight bytes hold a length that must fit the call.
#[inline(always)]
fn by_length(bytes: u64, total: u64) -> bool {
    let big = u64::from((bytes as u32).swap_bytes());
    let little = bytes & 0xffff_ffff;
    let second = ((bytes >> 32) as u32).swap_bytes();
    // PostgreSQL begins with a version of the protocol, or asks for something else first.
    let starts = second >> 16 == 3 || (80_877_102..=80_877_104).contains(&second);
    if big == total && starts {
        return true;
    }
    // Kafka: a known call in a known version, or the beginning of one: brokers read headers by
    // themselves.
    if (10..1 << 24).contains(&big)
        && big + 4 >= total
        && second >> 16 <= 100
        && second & 0xffff <= 20
    {
        return true;
    }
    // MongoDB: the whole message, or its header by itself.
    if (26..48 << 20).contains(&little) && (little == total || total == 16) {
        return true;
    }
    // DNS: a query or a response with one question, or two queries of one length (glibc asks for A and
    // AAAA in one call).
    let length = u64::from((bytes as u16).swap_bytes());
    let [opcode, questions] = [bytes >> 32 & 0x78, bytes >> 48];
    (length + 2 == total || 2 * (length + 2) == total)
        && length >= 17
        && opcode == 0
        && questions == 0x0100
}
