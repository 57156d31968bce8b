//! Whether a segment of a path names a thing (an identifier) or a kind of things (a word).
//!
//! Only the segment itself is looked at, so that one path always gives one route. Where it is not
//! clear, a segment that may vary is taken for an identifier: a route that says too little costs
//! detail, one that says too much costs a series per request.

use std::borrow::Cow;

/// Longest segment in bytes that can be a word.
const MAX_WORD: usize = 64;

/// Words that look like identifiers.
const KNOWN: [&str; 10] = [
    "x86_64", "utf-8", "sha-1", "sha-256", "sha-512", "sha256", "sha384", "sha512", "x509", "i386",
];

/// Whether a segment, percent-encoded as it was sent and without parameters, is an identifier.
pub(super) fn is_identifier(segment: &str) -> bool {
    if segment.len() > MAX_WORD {
        return true;
    }
    let text = decoded(segment);
    // Blanks and slashes that had to be encoded are somebody's text, or a path in a path.
    if text.contains(|c: char| c.is_whitespace() || c.is_control() || c == '/') {
        return true;
    }
    // `17:activate` is a thing and a verb.
    text.split(':').any(part_is_identifier)
}

fn part_is_identifier(text: &str) -> bool {
    if KNOWN.iter().any(|known| known.eq_ignore_ascii_case(text)) || is_version(text) {
        return false;
    }
    if is_email(text) || is_uuid(text) || (text.len() >= 8 && text.ends_with('=')) {
        return true;
    }
    let stem = without_extension(text);
    if !stem.contains(char::is_alphabetic) {
        // Numbers, dates, coordinates, addresses; but not `-` or `...`.
        return stem.contains(|c: char| c.is_ascii_digit());
    }
    let mut tokens =
        stem.split(|c: char| !c.is_alphanumeric()).filter(|token| !token.is_empty()).peekable();
    while let Some(token) = tokens.next() {
        let numbered = tokens.peek().is_none() && token.bytes().all(|byte| byte.is_ascii_digit());
        if numbered || token_is_identifier(token) {
            return true;
        }
    }
    false
}

/// Judges letters and digits without anything between them.
fn token_is_identifier(token: &str) -> bool {
    if KNOWN.iter().any(|known| known.eq_ignore_ascii_case(token)) {
        return false;
    }
    let digits = token.bytes().filter(u8::is_ascii_digit).count();
    if digits == token.len() {
        // `top-10-films` is a word, `2024-summer` and `order-12345-paid` are not.
        return digits >= 4;
    }
    let is_hex = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    if token.strip_prefix("0x").is_some_and(is_hex) {
        return true;
    }
    if digits > 0 && token.len() >= 8 && is_hex(token) {
        return true;
    }
    let bytes = token.as_bytes();
    let changes = bytes
        .iter()
        .zip(bytes.iter().skip(1))
        .filter(|(a, b)| a.is_ascii_digit() != b.is_ascii_digit())
        .count();
    digits >= 3 || changes >= 3 || (changes == 2 && token.len() >= 8) || is_random(token)
}

/// `v1`, `v2.1`, `v1beta2`, `1.1`.
fn is_version(text: &str) -> bool {
    let small = |digits: &str| {
        (1..=3).contains(&digits.len()) && digits.bytes().all(|byte| byte.is_ascii_digit())
    };
    let Some(rest) = text.strip_prefix(['v', 'V']) else {
        return matches!(text.as_bytes(), [a, b'.', b] if a.is_ascii_digit() && b.is_ascii_digit());
    };
    let end = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
    let (number, stage) = rest.split_at_checked(end).unwrap_or((rest, ""));
    let after_stage = ["alpha", "beta", "rc"].into_iter().find_map(|name| stage.strip_prefix(name));
    small(number)
        && match after_stage {
            Some(count) => count.is_empty() || small(count),
            None => {
                stage.is_empty() || stage.strip_prefix('.').is_some_and(|s| s.split('.').all(small))
            }
        }
}

fn is_email(text: &str) -> bool {
    text.split_once('@').is_some_and(|(user, host)| {
        // `logo@2x.png` is an image for a fine screen.
        let is_image = matches!(host.as_bytes(), [b'1'..=b'4', b'x', b'.', ..]);
        !user.is_empty() && host.contains('.') && !host.contains('@') && !is_image
    })
}

/// 8-4-4-4-12 hex digits (RFC 9562, section 4), braces allowed.
fn is_uuid(text: &str) -> bool {
    let text = text.trim_matches(['{', '}']);
    text.len() == 36
        && text.bytes().enumerate().all(|(position, byte)| match position {
            8 | 13 | 18 | 23 => byte == b'-',
            _ => byte.is_ascii_hexdigit(),
        })
}

/// `main.js` without `.js`.
fn without_extension(text: &str) -> &str {
    match text.rsplit_once('.') {
        Some((stem, extension))
            if !stem.is_empty()
                && (1..=5).contains(&extension.len())
                && extension.bytes().all(|byte| byte.is_ascii_alphanumeric())
                && extension.bytes().any(|byte| byte.is_ascii_alphabetic()) =>
        {
            stem
        }
        _ => text,
    }
}

/// For each letter the letters that often follow it, as bits from `a` upwards: the pairs found in
/// at least 25 of 15,700 words of technical English (manuals, identifiers, read-me files).
const USUAL_PAIRS: [u32; 26] = [
    0x3fe_bdfe, // a: bcdefghiklmnprstuvwxyz
    0x11e_db17, // b: abceijlmoprstuy
    0x11e_dd9d, // c: acdehiklmoprstuy
    0x11e_f97f, // d: abcdefgilmnoprstuy
    0x3ff_fdff, // e: abcdefghiklmnopqrstuvwxyz
    0x11e_493d, // f: acdefilorstuy
    0x01e_79d5, // g: aceghilmnorstu
    0x11e_7911, // h: aeilmnorstuy
    0x2ae_fc7f, // i: abcdefgklmnoprstvxz
    0x010_4011, // j: aeou
    0x05e_6991, // k: aehilnorstuw
    0x13c_fd7f, // l: abcdefgiklmnopstuvy
    0x11c_f91b, // m: abdeilmnopstuy
    0x13e_ffff, // n: abcdefghijklmnoprstuvy
    0x1fe_fdff, // o: abcdefghiklmnoprstuvwxy
    0x11e_c99d, // p: acdehiloprstuy
    0x010_0000, // q: u
    0x17e_fd7f, // r: abcdefgiklmnoprstuvwy
    0x17e_fdfd, // s: acdefghiklmnoprstuvwy
    0x37e_fdbf, // t: abcdefhiklmnoprstuvwyz
    0x00e_f97f, // u: abcdefgilmnoprst
    0x020_4111, // v: aeiov
    0x006_6191, // w: aehinors
    0x008_8115, // x: aceipt
    0x00e_f915, // y: aceilmnoprst
    0x000_4111, // z: aeio
];

/// Whether letters were drawn, not written: at least 8 of them, with at least 3 and a fifth of all
/// pairs unusual. Of random words with 12 letters that finds seven in eight.
fn is_random(token: &str) -> bool {
    let letter = |byte: u8| byte.is_ascii_alphabetic().then(|| byte.to_ascii_lowercase() - b'a');
    if token.bytes().filter(u8::is_ascii_alphabetic).count() < 8 {
        return false;
    }
    let (mut pairs, mut unusual) = (0, 0);
    for (first, second) in token.bytes().zip(token.bytes().skip(1)) {
        if let (Some(first), Some(second)) = (letter(first), letter(second)) {
            pairs += 1;
            let usual = USUAL_PAIRS.get(usize::from(first)).copied().unwrap_or(0);
            unusual += usize::from(usual >> second & 1 == 0);
        }
    }
    unusual >= 3 && unusual * 5 >= pairs
}

/// Percent-decoding (RFC 3986, section 2.1); what is not UTF-8 becomes U+FFFD.
fn decoded(segment: &str) -> Cow<'_, str> {
    if !segment.contains('%') {
        return Cow::Borrowed(segment);
    }
    let mut bytes = Vec::with_capacity(segment.len());
    let mut rest = segment.as_bytes();
    while let Some((&byte, after)) = rest.split_first() {
        let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|d| u8::try_from(d).ok());
        rest = after;
        match (byte, after) {
            (b'%', [high, low, after @ ..]) => match (digit(*high), digit(*low)) {
                (Some(high), Some(low)) => {
                    bytes.push(high * 16 + low);
                    rest = after;
                }
                _ => bytes.push(byte),
            },
            _ => bytes.push(byte),
        }
    }
    Cow::Owned(String::from_utf8_lossy(&bytes).into_owned())
}

#[cfg(test)]
mod tests;
