//! Whether first bytes are MySQL: a greeting, or a command of a connection that is older than vigie.
//!
//! A command is taken for one only if its call is exactly that packet, or a chain of packets, and what
//! is in it is what the command asks for; any binary protocol may come by.

use bytes::Buf as _;

use super::command::{self, Code};
use super::handshake::VERSION;
use super::packet::{self, ERR, HEADER};
use crate::protocol::conversation::{ENOUGH, Opening, Recognition};
use crate::protocol::statement;

/// Whose bytes these may be.
pub(super) fn recognise(opening: &Opening<'_>) -> Recognition {
    match greeting(opening) {
        Recognition::No if is_refusal(opening) => {
            return Recognition::Yes(opening.role_if_response());
        }
        Recognition::No => {}
        known => return known,
    }
    match request(opening.bytes) {
        Likely::No => Recognition::No,
        Likely::More if opening.bytes.len() >= ENOUGH => Recognition::No,
        Likely::More => Recognition::More,
        Likely::Yes => Recognition::Yes(opening.role_if_request()),
    }
}

/// A greeting has a version of the server, which begins with a digit, and is one packet.
fn greeting(opening: &Opening<'_>) -> Recognition {
    /// Shortest and longest payload: versions are short, and so is the name of a plugin.
    const LENGTHS: std::ops::RangeInclusive<u64> = 30..=400;
    let Some((head, payload)) = opening.bytes.split_at_checked(HEADER) else {
        return Recognition::No;
    };
    let Some((length, 0)) = packet::header(head) else { return Recognition::No };
    if !LENGTHS.contains(&length) || payload.len() as u64 > length {
        return Recognition::No;
    }
    let Some((version, rest)) = payload.split_first() else {
        // A header of its own: a server writes its greeting at once.
        return Recognition::No;
    };
    let text = rest.split(|byte| *byte == 0).next().unwrap_or_default();
    let is_text = text.first().is_none_or(u8::is_ascii_digit)
        && text.iter().all(|byte| matches!(byte, b' '..=b'~'));
    let is_whole = text.len() < rest.len() || opening.bytes.len() >= ENOUGH;
    if *version != VERSION || !is_text || is_whole && !text.contains(&b'.') {
        return Recognition::No;
    }
    if is_whole { Recognition::Yes(opening.role_if_response()) } else { Recognition::More }
}

/// An error in the place of a greeting: its number, which is of the server's, and a text.
fn is_refusal(opening: &Opening<'_>) -> bool {
    let Some((head, [ERR, low, high, text @ ..])) = opening.bytes.split_at_checked(HEADER) else {
        return false;
    };
    let is_packet = packet::header(head) == Some((text.len() as u64 + 3, 0));
    let is_known = (1000..6000).contains(&u16::from_le_bytes([*low, *high]));
    let is_text = text.len() > 8 && text.iter().all(|byte| *byte >= b' ');
    opening.from_start && opening.whole && is_packet && is_known && is_text
}

/// Whether bytes are commands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Likely {
    No,
    /// The next bytes tell.
    More,
    Yes,
}

/// Whether these bytes, the first of a turn, are one command, or several of which all but the last have
/// no answer.
pub(super) fn request(bytes: &[u8]) -> Likely {
    let Some((head, rest)) = bytes.split_at_checked(HEADER) else { return Likely::More };
    let Some((payload, 0)) = packet::header(head) else { return Likely::No };
    if payload == 0 {
        return Likely::No;
    }
    let Some((code, arguments)) = rest.split_first() else { return Likely::More };
    let here = usize::try_from(payload - 1).unwrap_or(usize::MAX).min(arguments.len());
    let Some((arguments, after)) = arguments.split_at_checked(here) else { return Likely::No };
    let is_all_here = arguments.len() as u64 == payload - 1;
    match one(Code(*code), arguments, payload - 1, is_all_here) {
        // Another packet in the same call.
        Likely::Yes if !after.is_empty() => {
            if matches!(Code(*code), Code::CLOSE | Code::SEND_LONG_DATA | Code::RESET) {
                request(after)
            } else {
                Likely::No
            }
        }
        likely => likely,
    }
}

/// Whether a command may have these arguments, of `length` bytes in all.
fn one(code: Code, arguments: &[u8], length: u64, is_all_here: bool) -> Likely {
    match code {
        Code::QUERY | Code::PREPARE => text(arguments, is_all_here),
        Code::PING | Code::STATISTICS | Code::RESET_CONNECTION => sure(length == 0),
        Code::CLOSE | Code::RESET => {
            exactly(arguments, length, 4, |mut rest| rest.try_get_u32_le().is_ok_and(is_statement))
        }
        Code::FETCH => exactly(arguments, length, 8, |mut rest| {
            rest.try_get_u32_le().is_ok_and(is_statement)
                && rest.try_get_u32_le().is_ok_and(|rows| rows > 0)
        }),
        Code::SET_OPTION => exactly(arguments, length, 2, |rest| matches!(rest, [0 | 1, 0])),
        Code::EXECUTE if length < 9 => Likely::No,
        Code::SEND_LONG_DATA | Code::BULK_EXECUTE if length < 6 => Likely::No,
        // Flags, and how often: always once.
        Code::EXECUTE => exactly(arguments, 9, 9, |mut rest| {
            rest.try_get_u32_le().is_ok_and(is_statement)
                && rest.try_get_u8().is_ok_and(|flags| flags < 0x10)
                && rest.try_get_u32_le() == Ok(1)
        }),
        Code::SEND_LONG_DATA => exactly(arguments, 6, 6, |mut rest| {
            rest.try_get_u32_le().is_ok_and(is_statement)
                && rest.try_get_u16_le().is_ok_and(|parameter| parameter < 1024)
        }),
        Code::BULK_EXECUTE => exactly(arguments, 6, 6, |mut rest| {
            rest.try_get_u32_le().is_ok_and(is_statement)
                && rest.try_get_u16_le().is_ok_and(|flags| flags != 0 && flags & !0xf0 == 0)
        }),
        Code::INIT_DB => {
            let is_name = |byte: &u8| byte.is_ascii_alphanumeric() || b"_-$".contains(byte);
            if !(1..=64).contains(&length) || !arguments.iter().all(is_name) {
                return Likely::No;
            }
            if is_all_here { Likely::Yes } else { Likely::More }
        }
        _ => Likely::No,
    }
}

fn sure(is_so: bool) -> Likely {
    if is_so { Likely::Yes } else { Likely::No }
}

/// The first `wanted` bytes of arguments are what `check` says.
fn exactly(arguments: &[u8], length: u64, wanted: usize, check: impl Fn(&[u8]) -> bool) -> Likely {
    if length != wanted as u64 {
        return Likely::No;
    }
    arguments.get(..wanted).map_or(Likely::More, |arguments| sure(check(arguments)))
}

/// Servers count statements up from 1. MariaDB's clients name the last one by the largest number.
fn is_statement(id: u32) -> bool {
    (1..1 << 24).contains(&id) || id == u32::MAX
}

/// SQL begins with a word that is known, behind comments and the like.
fn text(arguments: &[u8], is_all_here: bool) -> Likely {
    let Some(text) = command::text(arguments, None) else {
        return if is_all_here { Likely::No } else { Likely::More };
    };
    let mut rest = text.trim_ascii_start();
    loop {
        let after = match rest {
            [b'(' | b';', after @ ..] => Some(after),
            [b'/', b'*', after @ ..] => {
                after.windows(2).position(|two| two == b"*/").and_then(|end| after.get(end + 2..))
            }
            [b'#', after @ ..] | [b'-', b'-', after @ ..] => {
                after.iter().position(|byte| *byte == b'\n').and_then(|end| after.get(end + 1..))
            }
            _ => break,
        };
        let Some(after) = after else {
            // A comment that is longer than what is here: it has begun as one.
            let is_text = rest.iter().all(|byte| *byte >= b' ' || byte.is_ascii_whitespace());
            return if is_all_here || !is_text {
                Likely::No
            } else if rest.len() + 16 >= ENOUGH {
                Likely::Yes
            } else {
                Likely::More
            };
        };
        rest = after.trim_ascii_start();
    }
    let end = rest.iter().position(|byte| !byte.is_ascii_alphabetic());
    let word = rest.get(..end.unwrap_or(rest.len())).unwrap_or_default();
    if end.is_none() && !is_all_here && word.len() < 32 {
        return Likely::More;
    }
    sure(std::str::from_utf8(word).is_ok_and(|word| statement::operation(word).is_some()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Direction;
    use crate::protocol::Role;

    fn opening(bytes: &[u8], direction: Direction) -> Opening<'_> {
        Opening { bytes, whole: true, direction, from_start: false, local_port: 0, remote_port: 0 }
    }

    fn told(bytes: &[u8]) -> Recognition {
        recognise(&opening(bytes, Direction::Sent))
    }

    #[test]
    fn greetings() {
        let greeting = b"\x4a\0\0\0\x0a5.5.5-10.11.19-MariaDB\0\x07\0\0\0abcdefgh\0\xfe\xf7";
        for cut in 0..greeting.len() {
            // A greeting is one call, of which the first bytes are here.
            let opening = opening(&greeting[..cut], Direction::Sent);
            let expected = match cut {
                0..28 => Recognition::More,
                _ => Recognition::Yes(Role::Server),
            };
            assert_eq!(recognise(&opening), expected, "{cut} bytes");
        }
        let received = recognise(&opening(greeting, Direction::Received));
        assert_eq!(received, Recognition::Yes(Role::Client));
        let long = [greeting.as_slice(), &[1; 64]].concat();
        assert_eq!(told(&long), Recognition::No, "more than the packet");
    }

    #[test]
    fn refusals() {
        let refusal = b"\x17\0\0\0\xff\x10\x04Too many connections";
        let seen = opening(refusal, Direction::Received);
        assert_eq!(recognise(&seen), Recognition::No, "not at the start");
        let first = Opening { from_start: true, ..seen };
        assert_eq!(recognise(&first), Recognition::Yes(Role::Client));
        let cut = Opening { bytes: &refusal[..20], ..first };
        assert_eq!(recognise(&cut), Recognition::No);
    }

    #[test]
    fn commands() {
        let yes = Recognition::Yes(Role::Client);
        assert_eq!(told(b"\x01\0\0\0\x0e"), yes);
        assert_eq!(told(b"\x01\0\0\0"), Recognition::More);
        assert_eq!(told(b"\x09\0\0\0\x03SELECT 1"), yes);
        assert_eq!(told(b"\x0b\0\0\0\x03\0\x01SELECT 1"), yes);
        assert_eq!(told(b"\x16\0\0\0\x03/* a comment */DO 42"), yes);
        assert_eq!(told(b"\x16\0\0\0\x03/* a comme"), Recognition::More);
        assert_eq!(told(b"\x09\0\0\0\x03SELE"), Recognition::More);
        assert_eq!(told(b"\x09\0\0\0\x16(select 1"), Recognition::No, "more than the packet");
        assert_eq!(told(b"\x0a\0\0\0\x17\x01\0\0\0\0\x01\0\0\0"), yes);
        assert_eq!(told(b"\x0a\0\0\0\x17\x01\0\0\0\0\x02\0\0\0"), Recognition::No);
        assert_eq!(told(b"\x05\0\0\0\x19\x01\0\0\0"), yes);
        assert_eq!(told(b"\x05\0\0\0\x19\x01\0\0\0\x01\0\0\0\x0e"), yes);
        assert_eq!(told(b"\x05\0\0\0\x19\x01\0\0\0\x01\0\0\x01\x0e"), Recognition::No);
        assert_eq!(told(b"\x05\0\0\0\x02shop"), yes);
        let received = opening(b"\x01\0\0\0\x0e", Direction::Received);
        assert_eq!(recognise(&received), Recognition::Yes(Role::Server));
    }

    #[test]
    fn other_protocols() {
        let check = |bytes: &[u8]| assert_eq!(told(bytes), Recognition::No, "{bytes:x?}");
        check(b"GET / HTTP/1.1\r\n");
        check(b"*1\r\n$4\r\nPING\r\n");
        check(b"Q\0\0\0\rSELECT 1\0");
        check(b"\0\0\0\x08\x04\xd2\x16\x2f");
        // MongoDB, Kafka.
        check(b"\x5d\0\0\0\x01\0\0\0\0\0\0\0\xdd\x07\0\0\0\0\0\0");
        check(b"\0\0\0\x20\0\x03\0\x09\0\0\0\x01");
        check(b"\x09\0\0\0\x03HELLO WO");
        check(b"\x03\0\0\0\x03abc");
    }

    /// Bytes without a meaning are hardly ever taken for a command.
    #[test]
    fn random_bytes() {
        let mut random = crate::protocol::testing::Random(0x5eed);
        let mut taken = 0;
        for _ in 0..100_000 {
            let mut bytes: Vec<u8> = (0..64).map(|_| random.byte()).collect();
            // A small number in front, as many protocols have it.
            bytes[1..4].fill(0);
            taken += u32::from(matches!(told(&bytes), Recognition::Yes(_)));
        }
        assert_eq!(taken, 0);
    }
}
